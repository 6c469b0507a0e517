"""What holds when values are passed from memory to memory, whatever the guests do."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from abi_reference import FakeContext

from p3host.abi.columns import MIN_ELEMENTS
from p3host.abi.layout import MAX_LIST_BYTE_LENGTH
from p3host.abi.options import AbiOptions
from p3host.abi.passing import compile_pass, compile_pass_elements, compile_pass_result
from p3host.errors import Trap
from p3host.types import (
    EnumType,
    ListType,
    OptionType,
    OwnType,
    PrimitiveType,
    RecordType,
    ResourceType,
    TupleType,
    ValType,
)

P = PrimitiveType
ABI = AbiOptions()
SIZE = 1 << 12
ITEM = RecordType((("id", P.U32), ("live", P.BOOL), ("kind", EnumType(("a", "b"))), ("weight", P.F64)))
THING = OwnType(ResourceType("thing"))


def passed(types: tuple[ValType, ...], source: FakeContext, target: FakeContext, core_values: list[Any]) -> Any:
    return compile_pass(types, ABI, ABI, 16)(source, target, core_values)


@pytest.mark.parametrize(
    ("second", "core_value"),
    [(P.CHAR, 0xD800), (EnumType(("a",)), 1), (OptionType(P.U8), 2)],
)
def test_all_arguments_are_taken_before_any_is_given(second: ValType, core_value: int) -> None:
    source, target = FakeContext(SIZE), FakeContext(SIZE)
    core_values = [0, 1, core_value, 0][: 4 if isinstance(second, OptionType) else 3]
    with pytest.raises(Trap, match="invalid"):
        passed((ListType(P.U8), second), source, target, core_values)
    assert target.allocations == []


def test_handles_are_lifted_before_any_is_lowered() -> None:
    source = FakeContext(SIZE)
    struct.pack_into("<II", source.memory.data, 16, 5, 6)
    with pytest.raises(Trap, match="invalid char"):
        passed((ListType(THING), P.CHAR), source, target := FakeContext(SIZE), [16, 2, 0xD800])
    assert source.lifted == [("own", 5), ("own", 6)]
    assert target.lowered == []


def test_nothing_of_a_string_is_written_if_it_is_invalid() -> None:
    source, target = FakeContext(SIZE), FakeContext(SIZE)
    source.memory.data[16:18] = b"a\xff"
    with pytest.raises(Trap, match="invalid utf-8 in a string"):
        passed((P.STRING,), source, target, [16, 2])
    assert target.allocations == []


def test_views_are_refreshed_on_both_sides() -> None:
    source, target = FakeContext(SIZE, visible=64), FakeContext(SIZE, visible=64)
    source.memory.data[2000:2100] = b"x" * 100
    for t in (P.STRING, ListType(P.U8), ListType(P.BOOL)):
        pointer, length = passed((t,), source, target, [2000, 100])
        assert target.memory.data[pointer : pointer + length] == (b"\1" if t == ListType(P.BOOL) else b"x") * 100
        source.memory.view, target.memory.view = source.memory.view[:64], target.memory.view[:64]


def test_source_and_target_may_be_the_same_memory() -> None:
    context = FakeContext(SIZE)
    context.memory.data[16:48] = bytes(range(32))
    context.top = 20
    assert passed((ListType(P.U8),), context, context, [16, 32]) == [20, 32]
    assert context.memory.data[20:52] == bytes(range(32))
    compile_pass_elements(P.U8, ABI, ABI)(context, context, 20, 18, 32)
    assert context.memory.data[18:50] == bytes(range(32))


@pytest.mark.parametrize("t", [P.U8, P.BOOL, TupleType((P.U8,)), ListType(P.U8), P.STRING, ITEM])
def test_a_list_is_too_long_wherever_its_elements_go(t: ValType) -> None:
    with pytest.raises(Trap, match=f"longer than {MAX_LIST_BYTE_LENGTH}"):
        passed((ListType(t),), FakeContext(SIZE), FakeContext(SIZE), [16, 1 << 28])


@pytest.mark.parametrize("t", [P.U16, ITEM, TupleType((P.CHAR, P.BOOL)), P.STRING])
def test_a_list_is_aligned_wherever_its_elements_go(t: ValType) -> None:
    for count in (0, 1, MIN_ELEMENTS):
        with pytest.raises(Trap, match="unaligned pointer: a list at 0x11"):
            passed((ListType(t),), FakeContext(SIZE), FakeContext(SIZE), [17, count])


@pytest.mark.parametrize("t", [ListType(P.U8), P.STRING, ListType(P.U32), ListType(P.BOOL), ListType(P.CHAR)])
def test_a_list_of_the_same_bytes_many_times_over_is_bounded(t: ValType) -> None:
    source, target = FakeContext(1 << 16), FakeContext(1 << 16)
    source.memory.data[:8000] = struct.pack("<II", 8000, 10_000) * 1000
    small = AbiOptions(lift_limit=1_000_000)
    with pytest.raises(Trap, match="more than 1000000 bytes of the host"):
        compile_pass((ListType(t),), small, ABI, 16)(source, target, [0, 1000])
    assert target.allocations == []


@pytest.mark.parametrize("t", [P.STRING, OptionType(P.U8), ListType(P.BOOL)])
def test_the_elements_of_a_stream_are_bounded(t: ValType) -> None:
    small = AbiOptions(lift_limit=10_000)
    passer = compile_pass_elements(t, small, ABI)
    passer(FakeContext(), FakeContext(), 0, 0, 50)
    with pytest.raises(Trap, match="more than 10000 bytes of the host"):
        passer(FakeContext(), FakeContext(), 0, 0, 1000)


@pytest.mark.parametrize("answer", [SIZE + 8, SIZE - 8, 0xFFFFFFF8, 3])
@pytest.mark.parametrize("t", [ListType(P.U16), P.STRING, ListType(ITEM), ListType(P.STRING)])
def test_passing_traps_if_realloc_answers_nonsense(t: ValType, answer: int) -> None:
    class BadAllocator(FakeContext):
        def realloc(self, old: int, old_size: int, alignment: int, new_size: int) -> int:
            return answer

    source, target = FakeContext(SIZE), BadAllocator(SIZE)
    if t is P.STRING and answer == 3:
        assert passed((t,), source, target, [16, 32]) == [3, 32]  # a string of bytes may lie anywhere
        return
    with pytest.raises(Trap, match="the result of realloc"):
        passed((t,), source, target, [16, 32])


@pytest.mark.parametrize("pointer", [1, SIZE - 4, 0xFFFFFFFC])
def test_a_result_traps_if_the_out_pointer_is_wrong(pointer: int) -> None:
    passer = compile_pass_result(TupleType((P.U32, P.U32)), ABI, 16, ABI, 1)
    source, target = FakeContext(SIZE), FakeContext(SIZE)
    taken = passer.take(source, [1, 2])
    with pytest.raises(Trap, match="the result"):
        passer.give(source, target, taken, pointer)


@pytest.mark.parametrize("count", [1, MIN_ELEMENTS])
def test_neither_padding_nor_an_absent_payload_is_passed_on(count: int) -> None:
    for t, element in (
        (ITEM, struct.pack("<IBBHd", 1, 7, 1, 0xEEEE, 1.5)),
        (OptionType(P.U32), struct.pack("<BBHI", 0, 0xEE, 0xEEEE, 0xEEEEEEEE)),
    ):
        source, target = FakeContext(SIZE), FakeContext(SIZE)
        source.memory.data[16 : 16 + count * len(element)] = element * count
        passed((ListType(t),), source, target, [16, count])
        compile_pass_elements(t, ABI, ABI)(source, target, 16, 2048, count)
        assert 0xEE not in target.memory.data


def test_a_nan_in_memory_keeps_its_bits() -> None:
    source, target = FakeContext(SIZE), FakeContext(SIZE)
    nan = (0xFFF4_0000_0000_0001).to_bytes(8, "little")
    source.memory.data[16:24] = nan
    for t in (P.F64, TupleType((P.F64,)), RecordType((("a", P.F64), ("b", P.BOOL)))):
        pointer, _ = passed((ListType(t),), source, target, [16, 1])
        assert target.memory.data[pointer : pointer + 8] == nan

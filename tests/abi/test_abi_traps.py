"""What a guest can get wrong when values are lifted, and when its allocator answers."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from abi_reference import FakeContext

from p3host.abi.layout import MAX_LIST_BYTE_LENGTH, MAX_STRING_BYTE_LENGTH
from p3host.abi.lift import compile_lift, compile_lift_result, compile_load, compile_load_elements
from p3host.abi.lower import compile_lower, compile_lower_result
from p3host.abi.options import AbiOptions
from p3host.abi.strings import load_string
from p3host.errors import Trap
from p3host.types import (
    EnumType,
    FlagsType,
    ListType,
    MapType,
    OptionType,
    PointerType,
    PrimitiveType,
    ResultType,
    StringEncoding,
    TupleType,
    ValType,
    VariantType,
)
from p3host.values import flags_class

P = PrimitiveType
SIZE = 1 << 12
U32_OR_NOTHING = VariantType((("a", P.U32), ("b", None)))


@pytest.mark.parametrize(
    ("t", "core_values", "message"),
    [
        (P.CHAR, [0x110000], "invalid char"),
        (P.CHAR, [0xD800], "invalid char 0xd800"),
        (P.CHAR, [0xDFFF], "invalid char"),
        (P.CHAR, [0xFFFFFFFF], "invalid char"),
        (EnumType(("a", "b")), [2], "invalid variant discriminant 2"),
        (EnumType(("a", "b")), [0x100], "invalid variant discriminant"),
        (OptionType(P.U8), [2, 0], "invalid variant discriminant"),
        (ResultType(None, P.U8), [7, 0], "invalid variant discriminant"),
        (ResultType(), [0xFFFFFFFF], "invalid variant discriminant"),
        (U32_OR_NOTHING, [2, 0], "invalid variant discriminant"),
        (ListType(P.U16), [1, 0], "unaligned pointer"),
        (ListType(P.U64), [4, 0], "unaligned pointer"),
        (ListType(P.STRING), [2, 1], "unaligned pointer"),
        (MapType(P.U8, P.U32), [2, 1], "unaligned pointer"),
        (ListType(P.U8), [SIZE + 1, 0], "out of bounds"),
        (ListType(P.U8), [0, SIZE + 1], "out of bounds"),
        (ListType(P.U32), [SIZE - 4, 2], "out of bounds"),
        (ListType(P.U8), [0xFFFFFFFF, 1], "out of bounds"),
        (ListType(P.U8), [0, MAX_LIST_BYTE_LENGTH + 1], "longer than"),
        (ListType(P.U64), [0, (MAX_LIST_BYTE_LENGTH + 1) // 8], "longer than"),
        (ListType(P.U64), [0, 0xFFFFFFFF], "longer than"),
        (ListType(P.U64), [0, 0x20000000], "longer than"),
        (P.STRING, [SIZE + 1, 0], "out of bounds"),
        (P.STRING, [SIZE - 1, 2], "out of bounds"),
        (P.STRING, [0xFFFFFFFF, 0xFFFFFFFF], "longer than"),
        (P.STRING, [0, MAX_STRING_BYTE_LENGTH + 1], "longer than"),
    ],
)
def test_lifting_core_values_traps(t: ValType, core_values: list[int], message: str) -> None:
    with pytest.raises(Trap, match=message):
        compile_lift((t,), AbiOptions(), 16)(FakeContext(SIZE), core_values)
    with pytest.raises(Trap, match=message):
        compile_lift_result(t, AbiOptions(), 16)(FakeContext(SIZE), core_values)


@pytest.mark.parametrize("pointer", ["i32", "i64"])
@pytest.mark.parametrize(
    ("encoding", "data", "length", "message"),
    [
        ("utf8", b"\xff", 1, "invalid utf-8"),
        ("utf8", b"\xe2\x82", 2, "invalid utf-8"),
        ("utf8", b"\xed\xa0\x80", 3, "invalid utf-8"),
        ("utf8", b"\xc0\x80", 2, "invalid utf-8"),
        ("utf8", b"\xf4\x90\x80\x80", 4, "invalid utf-8"),
        ("utf16", b"\x00\xd8", 1, "invalid utf-16-le"),
        ("utf16", b"\x00\xdc\x00\xd8", 2, "invalid utf-16-le"),
        ("utf16", b"", MAX_STRING_BYTE_LENGTH // 2 + 1, "longer than"),
        ("utf16", b"", SIZE // 2, "out of bounds"),
        ("latin1+utf16", b"\x00\xd8", "tagged 1", "invalid utf-16-le"),
        ("latin1+utf16", b"", f"tagged {SIZE}", "out of bounds"),
        ("latin1+utf16", b"", SIZE, "out of bounds"),
    ],
)
def test_lifting_strings_traps(
    pointer: PointerType, encoding: StringEncoding, data: bytes, length: int | str, message: str
) -> None:
    if isinstance(length, str):
        length = int(length.removeprefix("tagged ")) | (1 << 31 if pointer == "i32" else 1 << 63)
    context = FakeContext(SIZE)
    context.memory.data[16 : 16 + len(data)] = data
    with pytest.raises(Trap, match=message):
        compile_lift((P.STRING,), AbiOptions(pointer, encoding), 16)(context, [16, length])
    with pytest.raises(Trap, match=message):
        load_string(context, 16, length, AbiOptions(pointer, encoding))


@pytest.mark.parametrize("encoding", ["utf16", "latin1+utf16"])
def test_strings_of_two_byte_units_are_aligned(encoding: StringEncoding) -> None:
    lift = compile_lift((P.STRING,), AbiOptions("i32", encoding), 16)
    assert lift(FakeContext(SIZE), [2, 0]) == ("",)
    for length in (0, 1, 1 << 31) if encoding == "latin1+utf16" else (0, 1):
        with pytest.raises(Trap, match="unaligned"):
            lift(FakeContext(SIZE), [3, length])


@pytest.mark.parametrize("pointer", [1, 2, SIZE - 4, SIZE, 0xFFFFFFFC])
def test_spilled_values_trap_if_the_pointer_is_wrong(pointer: int) -> None:
    types = (P.U32, P.U32)
    with pytest.raises(Trap, match=r"unaligned|out of bounds"):
        compile_lift(types, AbiOptions(), 1)(FakeContext(SIZE), [pointer])
    with pytest.raises(Trap, match=r"unaligned|out of bounds"):
        compile_lower_result(TupleType(types), AbiOptions(), 1)(FakeContext(SIZE), (1, 2), pointer)


@pytest.mark.parametrize(
    ("t", "data"),
    [
        (EnumType(("a",)), b"\x01"),
        (EnumType(tuple(f"l{i}" for i in range(257))), b"\x01\x01"),
        (OptionType(P.STRING), b"\x02"),
        (ResultType(P.U8, P.STRING), b"\xff"),
        (U32_OR_NOTHING, b"\x02"),
        (P.CHAR, b"\x00\xd8\x00\x00"),
        (ListType(P.U32), struct.pack("<II", 2, 1)),
        (P.STRING, struct.pack("<II", SIZE, 1)),
    ],
)
def test_loading_traps(t: ValType, data: bytes) -> None:
    context = FakeContext(SIZE)
    context.memory.data[16 : 16 + len(data)] = data
    with pytest.raises(Trap):
        compile_load(t, AbiOptions())(context, 16)
    with pytest.raises(Trap):
        compile_load_elements(t, AbiOptions())(context, 16, 1)


def test_bits_beyond_the_labels_of_flags_are_ignored() -> None:
    t = FlagsType(("a", "b", "c"))
    assert compile_lift((t,), AbiOptions(), 16)(FakeContext(), [0xFFFFFFFD]) == (flags_class(t)(5),)


def test_a_bool_is_any_bit_of_its_own() -> None:
    assert compile_lift((P.BOOL, P.BOOL, P.BOOL), AbiOptions(), 16)(FakeContext(), [0, 2, 0x100]) == (False, True, True)


@pytest.mark.parametrize(("t", "bits", "size"), [(P.F32, 0xFFA00001, 4), (P.F64, 0xFFF4000000000001, 8)])
def test_a_nan_is_lifted_to_the_canonical_one(t: PrimitiveType, bits: int, size: int) -> None:
    context = FakeContext()
    context.memory.data[16 : 16 + size] = bits.to_bytes(size, "little")
    joined = ResultType(t, P.U32 if size == 4 else P.U64)
    lifted = [
        compile_load(t, AbiOptions())(context, 16),
        compile_load_elements(t, AbiOptions())(context, 16, 1)[0],
        compile_lift((joined,), AbiOptions(), 16)(context, [0, bits])[0].value,
        compile_lift((t,), AbiOptions(), 16)(context, [struct.unpack_from("<d", b"\1\0\0\0\0\0\xf4\xff")[0]])[0],
    ]
    for value in lifted:
        assert struct.pack("<d", value) == struct.pack("<d", math.nan)


def test_infinities_in_a_list_of_floats_stay() -> None:
    context = FakeContext()
    struct.pack_into("<3d", context.memory.data, 16, math.inf, -math.inf, 1.5)
    assert compile_load_elements(P.F64, AbiOptions())(context, 16, 3) == [math.inf, -math.inf, 1.5]


@pytest.mark.parametrize(
    ("t", "value", "answer", "message"),
    [
        (P.STRING, "abc", SIZE - 2, "realloc .* out of bounds"),
        (P.STRING, "", SIZE + 1, "realloc .* out of bounds"),
        (P.STRING, "abc", 0xFFFFFFFF, "realloc .* out of bounds"),
        (ListType(P.U8), b"", SIZE + 1, "realloc .* out of bounds"),
        (ListType(P.U32), [1], 6, "unaligned pointer: the result of realloc"),
        (ListType(P.U32), [], 2, "unaligned pointer: the result of realloc"),
        (ListType(P.STRING), ["a"], 2, "unaligned"),
        (TupleType((P.U32,) * 17), (0,) * 17, 2, "unaligned"),
        (TupleType((P.U32,) * 17), (0,) * 17, SIZE - 64, "out of bounds"),
    ],
)
def test_lowering_traps_if_realloc_answers_nonsense(t: ValType, value: Any, answer: int, message: str) -> None:
    class BadAllocator(FakeContext):
        def realloc(self, old: int, old_size: int, alignment: int, new_size: int) -> int:
            return answer

    with pytest.raises(Trap, match=message):
        compile_lower((t,), AbiOptions(), 16)(BadAllocator(SIZE), (value,))


def test_a_list_of_the_same_bytes_many_times_over_is_bounded() -> None:
    context = FakeContext(1 << 16)
    count = 1000
    context.memory.data[: 8 * count] = struct.pack("<II", 8 * count, 50_000) * count
    t = ListType(ListType(P.U8))
    with pytest.raises(Trap, match="more than 1000000 bytes of the host"):
        compile_lift((t,), AbiOptions(lift_limit=1_000_000), 16)(context, [0, count])
    assert len(compile_lift((t,), AbiOptions(), 16)(context, [0, count])[0]) == count
    with pytest.raises(Trap, match="more than"):
        compile_lift((ListType(P.STRING),), AbiOptions(lift_limit=1_000_000), 16)(context, [0, count])


def test_a_short_list_of_small_elements_is_bounded_by_what_it_makes() -> None:
    with pytest.raises(Trap, match="more than"):
        compile_lift((ListType(P.BOOL),), AbiOptions(lift_limit=1000), 16)(FakeContext(), [0, 200])


def test_a_stale_view_is_refreshed_before_it_traps() -> None:
    context = FakeContext(1 << 12, visible=64)
    context.memory.data[2000:2003] = b"abc"
    assert compile_lift((P.STRING,), AbiOptions(), 16)(context, [2000, 3]) == ("abc",)
    assert context.memory.refreshes == 1
    context = FakeContext(1 << 12, visible=64)
    assert compile_lift((P.U32,) * 17, AbiOptions(), 16)(context, [1024]) == (0,) * 17
    context = FakeContext(1 << 12, visible=8)
    assert compile_lower((P.STRING,), AbiOptions(), 16)(context, ("x" * 100,)) == [8, 100]
    assert context.memory.data[8:108] == b"x" * 100
    context = FakeContext(1 << 12, visible=8)
    assert compile_load_elements(P.U8, AbiOptions())(context, 100, 10) == bytes(10)

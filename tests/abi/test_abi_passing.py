"""Values passed from memory to memory, against lifting and then lowering them: for random types and values, and for
whatever bytes a guest may have written."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from abi_reference import FakeContext, Reference, python
from abi_strategies import labels, record, types, values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p3host.abi.layout import MAX_FLAT_PARAMS, elem_size, flatten
from p3host.abi.lift import compile_lift, compile_lift_result, compile_load_elements
from p3host.abi.lower import compile_lower, compile_lower_result, compile_store_elements
from p3host.abi.options import AbiOptions
from p3host.abi.passing import compile_pass, compile_pass_elements, compile_pass_result
from p3host.errors import Trap
from p3host.types import EnumType, FlagsType, ListType, PrimitiveType, ResultType, TupleType, ValType

every_options = st.builds(
    AbiOptions, st.sampled_from(["i32", "i64"]), st.sampled_from(["utf8", "utf16", "latin1+utf16"])
)
typed_values = types.flatmap(lambda t: st.tuples(st.just(t), values(t)))
relaxed = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
BASE = 64
OUT = 1 << 15
CORE_VALUES = {
    "i32": st.integers(0, 3) | st.integers(0, 2**32 - 1),
    "i64": st.integers(0, 3) | st.integers(0, 2**64 - 1),
    "f32": st.floats(width=32),
    "f64": st.floats(),
}


def same(a: Any, b: Any) -> bool:
    """Equality by repr, which tells 0 from False and takes NaN for itself."""
    return repr(a) == repr(b)


class Sides:
    """The source and the target of a value, each with a memory of its own."""

    def __init__(self, source: AbiOptions, target: AbiOptions) -> None:
        self.source_options, self.target_options = source, target
        self.source, self.target = FakeContext(), FakeContext()

    def fill(self, data: bytes) -> None:
        size = len(self.source.memory.data) // 8
        self.source.memory.data[:size] = (data * size)[:size]

    def copy_of(self) -> Sides:
        other = Sides(self.source_options, self.target_options)
        other.source.memory.data[:] = self.source.memory.data
        return other

    def passed(self, pass_value: Callable[[Sides], Any]) -> Any:
        """What comes of it: the answer or the trap's message, and all that the contexts have seen."""
        try:
            answer = pass_value(self)
        except Trap as trap:
            answer = str(trap)
        seen = [(size, alignment) for _, alignment, size in self.target.allocations]
        return answer, seen, self.source.lifted, self.target.lowered, self.target.top

    def bytes_outside(self, *ranges: tuple[int, int]) -> bytes:
        """What was written to the target outside of its allocations and of these ranges."""
        for pointer, size in [*ranges, *((pointer, size) for pointer, _, size in self.target.allocations)]:
            self.target.memory.data[pointer : pointer + size] = bytes(size)
        return bytes(self.target.memory.data).strip(b"\0")


def number_equal(a: int | float, b: int | float) -> bool:
    return a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


def check_arguments(t: ValType, sides: Sides, core_values: list[Any], max_flat: int) -> None:
    """Passes `t` and a byte as the arguments of a call, and lifts and lowers them."""
    typed = (t, PrimitiveType.U8)
    other = sides.copy_of()
    passer = compile_pass(typed, sides.source_options, sides.target_options, max_flat)
    answer = sides.passed(lambda to: passer(to.source, to.target, core_values))
    lift = compile_lift(typed, other.source_options, max_flat)
    lower = compile_lower(typed, other.target_options, MAX_FLAT_PARAMS)
    expected = other.passed(lambda to: lower(to.target, lift(to.source, core_values)))
    assert answer[1:] == expected[1:]
    if isinstance(expected[0], str):
        assert answer[0] == expected[0]
        return
    assert all(map(number_equal, answer[0], expected[0])), (answer, expected)
    read = [compile_lift(typed, to.target_options, MAX_FLAT_PARAMS)(to.target, expected[0]) for to in (sides, other)]
    assert same(*read)
    assert not sides.bytes_outside()


@relaxed
@given(typed_values, every_options, every_options, st.sampled_from([16, 4, 0]))
def test_arguments_are_passed_as_lifting_and_lowering_pass_them(
    typed: tuple[ValType, Any], source: AbiOptions, target: AbiOptions, max_flat: int
) -> None:
    t, value = typed
    sides = Sides(source, target)
    lowered = compile_lower((t, PrimitiveType.U8), source, max_flat)(sides.source, (python(t, value), 200))
    check_arguments(t, sides, lowered, max_flat)


@relaxed
@given(typed_values, every_options, every_options, st.sampled_from([1, 16]), st.sampled_from([0, 1]))
def test_results_are_passed_as_lifting_and_lowering_pass_them(
    typed: tuple[ValType, Any], source: AbiOptions, target: AbiOptions, max_source: int, max_target: int
) -> None:
    t, value = typed
    sides = Sides(source, target)
    sides.source.top = BASE + elem_size(t, source.pointer)
    fits = len(flatten(t, source.pointer)) <= max_source
    core_values = compile_lower_result(t, source, max_source)(
        sides.source, python(t, value), None if fits else BASE
    ) or [BASE]
    other = sides.copy_of()
    out = None if len(flatten(t, target.pointer)) <= max_target else OUT
    passer = compile_pass_result(t, source, max_source, target, max_target)
    answer = sides.passed(lambda to: passer.give(to.source, to.target, passer.take(to.source, core_values), out))
    lift, lower = compile_lift_result(t, source, max_source), compile_lower_result(t, target, max_target)
    expected = other.passed(lambda to: lower(to.target, lift(to.source, core_values), out))
    assert answer[1:] == expected[1:]
    assert len(answer[0]) == len(expected[0])
    assert all(map(number_equal, answer[0], expected[0]))
    given_back = [compile_lift_result(t, target, max_target)(to.target, expected[0] or [OUT]) for to in (sides, other)]
    assert same(*given_back)
    assert not sides.bytes_outside((OUT, elem_size(t, target.pointer)))


@relaxed
@given(types.flatmap(lambda t: st.tuples(st.just(t), st.lists(values(t), max_size=4))), every_options, every_options)
def test_elements_are_passed_as_loading_and_storing_pass_them(
    typed: tuple[ValType, list[Any]], source: AbiOptions, target: AbiOptions
) -> None:
    t, elements = typed
    sides = Sides(source, target)
    sides.source.top = BASE + elem_size(t, source.pointer) * len(elements)
    reference = Reference(sides.source, source)
    for i, element in enumerate(elements):
        reference.store(t, element, BASE + i * elem_size(t, source.pointer))
    check_elements(t, sides, len(elements))


def check_elements(t: ValType, sides: Sides, count: int) -> None:
    other = sides.copy_of()
    passer = compile_pass_elements(t, sides.source_options, sides.target_options)
    answer = sides.passed(lambda to: passer(to.source, to.target, BASE, OUT, count))
    load = compile_load_elements(t, other.source_options)
    store = compile_store_elements(t, other.target_options)
    expected = other.passed(lambda to: store(to.target, load(to.source, BASE, count), OUT))
    assert answer == expected
    if expected[0] is None:
        loaded = [compile_load_elements(t, to.target_options)(to.target, OUT, count) for to in (sides, other)]
        assert same(*loaded)
        assert not sides.bytes_outside((OUT, elem_size(t, sides.target_options.pointer) * count))


@relaxed
@given(types, every_options, every_options, st.binary(min_size=1, max_size=256), st.integers(0, 3))
def test_arbitrary_elements_are_passed_or_trap_alike(
    t: ValType, source: AbiOptions, target: AbiOptions, data: bytes, count: int
) -> None:
    sides = Sides(source, target)
    sides.fill(data)
    check_elements(t, sides, count)


@relaxed
@given(types, every_options, every_options, st.binary(min_size=1, max_size=256), st.data())
def test_arbitrary_core_values_are_passed_or_trap_alike(
    t: ValType, source: AbiOptions, target: AbiOptions, data: bytes, drawn: st.DataObject
) -> None:
    sides = Sides(source, target)
    sides.fill(data)
    flat = flatten(TupleType((t, PrimitiveType.U8)), source.pointer)
    core_values = [drawn.draw(CORE_VALUES[t]) for t in flat] if len(flat) <= MAX_FLAT_PARAMS else [BASE]
    check_arguments(t, sides, core_values, MAX_FLAT_PARAMS)


columns = st.recursive(
    st.sampled_from([t for t in PrimitiveType if t not in (PrimitiveType.STRING, PrimitiveType.ERROR_CONTEXT)])
    | st.sampled_from([1, 3, 256, 257]).map(lambda n: EnumType(tuple(labels(n))))
    | st.sampled_from([1, 8, 9, 17, 32]).map(lambda n: FlagsType(tuple(labels(n))))
    | st.just(ResultType()),
    lambda inner: st.builds(ListType, inner, st.integers(1, 3)) | st.lists(inner, min_size=1, max_size=5).map(record),
    max_leaves=8,
)


@relaxed
@given(
    columns.flatmap(lambda t: st.tuples(st.just(t), st.lists(values(t), min_size=14, max_size=40))),
    every_options,
    every_options,
    st.none() | st.tuples(st.integers(0, 1000), st.integers(0, 255)),
)
def test_many_elements_are_passed_or_trap_alike(
    typed: tuple[ValType, list[Any]], source: AbiOptions, target: AbiOptions, wrong: tuple[int, int] | None
) -> None:
    t, elements = typed
    size = elem_size(t, source.pointer) * len(elements)
    sides = Sides(source, target)
    sides.fill(b"\xee")  # so that padding is no zero
    reference = Reference(sides.source, source)
    for i, element in enumerate(elements):
        reference.store(t, element, BASE + i * elem_size(t, source.pointer))
    if wrong is not None:
        offset, byte = wrong
        sides.source.memory.data[BASE + offset % size] = byte
    check_elements(t, sides.copy_of(), len(elements))
    list_and_byte = [BASE, len(elements), 1]
    check_arguments(ListType(t), sides, list_and_byte, MAX_FLAT_PARAMS)

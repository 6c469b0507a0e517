"""The compiled converters against the plain reference, for random types and values."""

from __future__ import annotations

from typing import Any

import pytest
from abi_reference import FakeContext, Reference, python
from abi_strategies import types, values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p3host.abi.layout import FLAT_CUT, alignment, elem_size, flatten
from p3host.abi.lift import compile_lift, compile_lift_result, compile_load, compile_load_elements
from p3host.abi.lower import compile_lower, compile_lower_result, compile_store, compile_store_elements
from p3host.abi.options import AbiOptions
from p3host.errors import Trap
from p3host.types import ListType, PrimitiveType, ValType

every_options = st.builds(
    AbiOptions, st.sampled_from(["i32", "i64"]), st.sampled_from(["utf8", "utf16", "latin1+utf16"])
)
typed_values = types.flatmap(lambda t: st.tuples(st.just(t), values(t)))
relaxed = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
BASE = 64


def same(a: Any, b: Any) -> bool:
    """Equality by repr, which tells 0 from False and takes NaN for itself."""
    return repr(a) == repr(b)


@relaxed
@given(types, every_options)
def test_layout_is_the_references(t: ValType, options: AbiOptions) -> None:
    reference = Reference(FakeContext(), options)
    assert alignment(t, options.pointer) == reference.alignment(t)
    assert elem_size(t, options.pointer) == reference.size(t)
    assert flatten(t, options.pointer) == tuple(reference.flat(t)[:FLAT_CUT])


@relaxed
@given(typed_values, every_options)
def test_load_is_the_references(typed: tuple[ValType, Any], options: AbiOptions) -> None:
    t, value = typed
    context = FakeContext()
    context.top = BASE + elem_size(t, options.pointer)
    reference = Reference(context, options)
    reference.store(t, value, BASE)
    assert same(compile_load(t, options)(context, BASE), python(t, reference.load(t, BASE)))
    assert same(compile_load(t, options)(context, BASE), python(t, value))


@relaxed
@given(typed_values, every_options)
def test_store_is_the_references(typed: tuple[ValType, Any], options: AbiOptions) -> None:
    t, value = typed
    context = FakeContext()
    context.top = BASE + elem_size(t, options.pointer)
    compile_store(t, options)(context, python(t, value), BASE)
    other = FakeContext()
    other.top = BASE + elem_size(t, options.pointer)
    Reference(other, options).store(t, value, BASE)
    assert (context.allocations, context.lowered) == (other.allocations, other.lowered)
    loaded = Reference(context, options).load(t, BASE)
    assert same(python(t, loaded), python(t, value))
    used = [(BASE, elem_size(t, options.pointer)), *((p, size) for p, _, size in context.allocations)]
    for pointer, size in used:
        context.memory.data[pointer : pointer + size] = bytes(size)
    assert not any(context.memory.data), "a byte outside of all allocations was written"


@relaxed
@given(typed_values, every_options)
def test_flat_values_are_the_references(typed: tuple[ValType, Any], options: AbiOptions) -> None:
    t, value = typed
    for max_flat in (16, 4, 0):
        context, other = FakeContext(), FakeContext()
        reference = Reference(other, options)
        lowered = compile_lower((t, PrimitiveType.U8), options, max_flat)(context, (python(t, value), 200))
        if len(reference.flat(t)) + 1 > max_flat:
            assert lowered == [context.allocations[0][0]]
            assert same(python(t, Reference(context, options).load(t, int(lowered[0]))), python(t, value))
        else:
            expected = [*reference.lower_flat(t, value), 200]
            assert same(list(map(float, lowered)), list(map(float, expected)))
            lifted = python(t, Reference(context, options).lift_flat(t, list(lowered)))
            assert same(lifted, python(t, value))
        assert same(compile_lift((t, PrimitiveType.U8), options, max_flat)(context, lowered), (python(t, value), 200))


@relaxed
@given(typed_values, every_options)
def test_results_come_back(typed: tuple[ValType, Any], options: AbiOptions) -> None:
    t, value = typed
    for max_flat in (1, 16):
        context = FakeContext()
        context.top = BASE + elem_size(t, options.pointer)
        fits = len(flatten(t, options.pointer)) <= max_flat
        lowered = compile_lower_result(t, options, max_flat)(context, python(t, value), None if fits else BASE)
        assert (lowered == []) is not fits
        lifted = compile_lift_result(t, options, max_flat)(context, lowered if fits else [BASE])
        assert same(lifted, python(t, value))


@relaxed
@given(types.flatmap(lambda t: st.tuples(st.just(t), st.lists(values(t), max_size=4))), every_options)
def test_elements_are_the_references(typed: tuple[ValType, list[Any]], options: AbiOptions) -> None:
    t, elements = typed
    context = FakeContext()
    size = elem_size(t, options.pointer)
    context.top = BASE + size * len(elements)
    expected = python(ListType(t), elements)
    compile_store_elements(t, options)(context, expected, BASE)
    reference = Reference(context, options)
    stored = [reference.load(t, BASE + i * size) for i in range(len(elements))]
    assert same(python(ListType(t), stored), expected)
    assert same(compile_load_elements(t, options)(context, BASE, len(elements)), expected)


@relaxed
@given(types, every_options, st.binary(min_size=64, max_size=512))
def test_arbitrary_bytes_load_as_the_reference_says(t: ValType, options: AbiOptions, data: bytes) -> None:
    context = FakeContext(8192)
    context.memory.data[: 512 * 8] = (data * 64)[: 512 * 8]
    try:
        expected = python(t, Reference(context, options).load(t, BASE))
    except Trap:
        with pytest.raises(Trap):
            compile_load(t, options)(context, BASE)
    else:
        assert same(compile_load(t, options)(context, BASE), expected)


@relaxed
@given(types, every_options, st.data())
def test_arbitrary_core_values_lift_as_the_reference_says(t: ValType, options: AbiOptions, data: st.DataObject) -> None:
    reference = Reference(FakeContext(4096), options)
    flat = reference.flat(t)
    if len(flat) > 16:
        return
    small = st.integers(0, 3)
    kinds = {
        "i32": small | st.integers(0, 2**32 - 1),
        "i64": small | st.integers(0, 2**64 - 1),
        "f32": st.floats(width=32),
        "f64": st.floats(),
    }
    core_values = [data.draw(kinds[core_type]) for core_type in flat]
    try:
        expected = python(t, reference.lift_flat(t, list(core_values)))
    except Trap:
        with pytest.raises(Trap):
            compile_lift((t,), options, 16)(FakeContext(4096), core_values)
    else:
        assert same(compile_lift((t,), options, 16)(FakeContext(4096), core_values), (expected,))

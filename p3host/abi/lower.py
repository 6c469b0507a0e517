"""Converters that lower: to core values and linear memory (CanonicalABI.md, "Lifting and Lowering Values")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from ..types import PrimitiveType, TupleType, ValType
from .codegen import FunctionSource, Mismatch, Place, tuple_text
from .context import Context
from .layout import NUMBER_FORMATS, alignment, elem_size, flatten, flatten_types
from .lowering import FlatLowering, StoreLowering, elements_storer, storer
from .memory import aligned_view, allocate, checked_view
from .options import AbiOptions


def flat_statements(
    source: FunctionSource, types: Sequence[ValType], names: Sequence[str], places: Sequence[Place], options: AbiOptions
) -> None:
    leaves = FlatLowering(source, options).sequence(types, names, places, 0)
    source.emit(f"return [{', '.join(leaf.value for leaf in leaves)}]")


def located(source: FunctionSource) -> Callable[..., Any]:
    """The finished converter, whose body is inside a `try:`, with the handler that says where in the value it failed.

    The error is raised outside the handler, so that it has no context.
    """
    source.depth = 1
    with source.block(f"except {source.constant(Mismatch)} as mismatch:"):
        source.emit("error = mismatch.located()")
    source.emit("raise error")
    return source.build()


@lru_cache(maxsize=1 << 12)
def compile_lower(
    types: tuple[ValType, ...], options: AbiOptions, max_flat: int, labels: tuple[str, ...] = ()
) -> Callable[[Context, Sequence[Any]], list[int | float]]:
    """The function `(context, values) -> core values`, for one value of each of `types`.

    Values that flatten to more than `max_flat` core values are stored in a new allocation of the guest's, whose
    pointer is the only core value. `labels` names the values in messages. Raises TypeError and ValueError for values
    that aren't of their types, and `Trap` where the guest's allocator answers nonsense.
    """
    places = [f"parameter {label!r}" for label in labels] or [f"value {i}" for i in range(len(types))]
    source = FunctionSource("lower", "c, values")
    source.emit("try:")
    source.depth = 2
    with source.block(f"if len(values) != {len(types)}:"):
        source.emit(f"raise {source.constant(wrong_count)}({len(types)}, len(values))")
    names = [f"v{i}" for i in range(len(types))]
    if names:
        source.emit(f"{tuple_text(names)} = values")
    if len(flatten_types(types, options.pointer)) <= max_flat:
        flat_statements(source, types, names, places, options)
        return located(source)
    t = TupleType(types)
    size, align = elem_size(t, options.pointer), alignment(t, options.pointer)
    source.emit(f"p = {source.constant(allocate)}(c, {align}, {size})")
    source.emit("m = c.memory.view")
    lowering = StoreLowering(source, options)
    lowering.pack(lowering.sequence(types, names, places, 0), size)
    source.emit("return [p]")
    return located(source)


def wrong_count(expected: int, got: int) -> Mismatch:
    return Mismatch(f"expected {expected} values, got {got}")


@lru_cache(maxsize=1 << 12)
def compile_lower_result(
    t: ValType | None, options: AbiOptions, max_flat: int
) -> Callable[[Context, Any, int | None], list[int | float]]:
    """The function `(context, value, out pointer) -> core values` of a single result, or of None.

    Where the result flattens to more than `max_flat` core values, it is stored at the out pointer, which the guest
    gave: it traps where that is unaligned or out of bounds. A `result` type takes `Ok` or `Err`.
    """
    source = FunctionSource("lower_result", "c, v, p")
    source.emit("try:")
    source.depth = 2
    if t is None:
        with source.block("if v is not None:"):
            source.emit(f"raise {source.constant(no_result)}(v)")
        source.emit("return []")
    elif len(flatten(t, options.pointer)) <= max_flat:
        flat_statements(source, (t,), ["v"], ["result"], options)
    else:
        size, align = elem_size(t, options.pointer), alignment(t, options.pointer)
        source.emit(f"m = {source.constant(aligned_view)}(c, p, {align}, {size}, 'the result')")
        lowering = StoreLowering(source, options)
        lowering.pack(lowering.sequence((t,), ["v"], ["result"], 0), size)
        source.emit("return []")
    return located(source)


def no_result(value: object) -> Mismatch:
    return Mismatch(f"the function has no result, got {value!r}")


@lru_cache(maxsize=1 << 12)
def compile_store(t: ValType, options: AbiOptions) -> Callable[[Context, Any, int], None]:
    """The function `(context, value, pointer)`. The caller has checked alignment and range of the pointer."""
    store = storer(t, options)
    size = elem_size(t, options.pointer)

    def store_value(context: Context, value: Any, pointer: int) -> None:
        view = checked_view(context, pointer, size, "a value")
        try:
            store(context, view, value, pointer)
        except Mismatch as mismatch:
            error = mismatch.located()
        else:
            return
        raise error

    return store_value


@lru_cache(maxsize=1 << 12)
def compile_store_elements(t: ValType, options: AbiOptions) -> Callable[[Context, Any, int], None]:
    """The function `(context, values, pointer)`, where `values` is what a list of `t` is lowered from: bytes for u8.

    The caller has checked alignment and range for as many elements as there are.
    """
    counted, store = elements_storer(t, options)
    size = 1 if isinstance(t, PrimitiveType) and t in NUMBER_FORMATS else elem_size(t, options.pointer)

    def store_elements(context: Context, values: Any, pointer: int) -> None:
        try:
            values = counted(values)
            store(context, checked_view(context, pointer, len(values) * size, "the elements"), values, pointer)
        except Mismatch as mismatch:
            error = mismatch.located()
        else:
            return
        raise error

    return store_elements

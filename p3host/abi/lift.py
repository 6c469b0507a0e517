"""Converters that lift: from core values and linear memory (CanonicalABI.md, "Lifting and Lowering Values")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from ..types import FutureType, ListType, MapType, PrimitiveType, StreamType, TupleType, ValType
from .codegen import FunctionSource, tuple_text
from .context import Context
from .layout import alignment, elem_size, flatten_types
from .lifting import FlatExpression, LoadExpression, elements_loader, loader
from .memory import aligned_view, checked_view
from .options import AbiOptions


@lru_cache(maxsize=1 << 12)
def reads_memory(t: ValType) -> bool:
    """Whether lifting a `t` from core values can read memory."""
    match t:
        case PrimitiveType.STRING | ListType(length=None) | MapType():
            return True
        case PrimitiveType() | StreamType() | FutureType():
            return False
        case _:
            return any(map(reads_memory, t.parts()))


def takes_memory(types: tuple[ValType, ...]) -> bool:
    """Whether what is lifted can take more of the host's memory than its core values."""
    return any(map(reads_memory, types))


def lift_source(types: tuple[ValType, ...], options: AbiOptions, max_flat: int) -> tuple[FunctionSource, list[str]]:
    """The beginning of a converter, and the expression of each value; the core values are in `v`."""
    source = FunctionSource("lift", "c, v")
    core_types = flatten_types(types, options.pointer)
    spilled = len(core_types) > max_flat
    if spilled or takes_memory(types):
        source.emit("m = c.memory.view")
        source.emit(f"b = [{options.lift_limit}]")
    else:
        source.emit("m = b = None")
    if not spilled:
        names = [f"v{i}" for i in range(len(core_types))]
        if names:
            source.emit(f"{tuple_text(names)} = v")
        return source, FlatExpression(source, options).values(types, list(zip(core_types, names, strict=True)))
    t = TupleType(types)
    size, align = elem_size(t, options.pointer), alignment(t, options.pointer)
    source.emit("(p,) = v")
    with source.block(f"if p & {align - 1} or p + {size} > len(m):"):
        source.emit(f"m = {source.constant(aligned_view)}(c, p, {align}, {size}, 'the values passed in memory')")
    expression = LoadExpression(source, options)
    values = expression.values(types, 0)
    expression.unpack(size)
    return source, values


@lru_cache(maxsize=1 << 12)
def compile_lift(
    types: tuple[ValType, ...], options: AbiOptions, max_flat: int
) -> Callable[[Context, Sequence[int | float]], tuple[Any, ...]]:
    """The function `(context, core values) -> values`, one value for each of `types`.

    Values that flatten to more than `max_flat` core values are loaded from the pointer that is the only core value.
    Where they hold lists or strings, their bytes are left in `context.lifted_bytes`. Raises `Trap` for whatever the
    specification traps on.
    """
    source, values = lift_source(types, options, max_flat)
    if takes_memory(types):
        source.emit(f"values = {tuple_text(values)}")
        source.emit(f"c.lifted_bytes = {options.lift_limit} - b[0]")
        source.emit("return values")
    else:
        source.emit(f"return {tuple_text(values)}")
    return source.build()


@lru_cache(maxsize=1 << 12)
def compile_lift_result(
    t: ValType | None, options: AbiOptions, max_flat: int
) -> Callable[[Context, Sequence[int | float]], Any]:
    """Like `compile_lift` for a single result, or None; a `result` type gives `Ok` or `Err`."""
    source, values = lift_source(() if t is None else (t,), options, max_flat)
    source.emit(f"return {values[0] if values else None}")
    return source.build()


@lru_cache(maxsize=1 << 12)
def compile_load(t: ValType, options: AbiOptions) -> Callable[[Context, int], Any]:
    """The function `(context, pointer) -> value`. The caller has checked alignment and range of the pointer."""
    load = loader(t, options)
    size = elem_size(t, options.pointer)
    limit = options.lift_limit
    return lambda context, pointer: load(context, checked_view(context, pointer, size, "a value"), [limit], pointer)


@lru_cache(maxsize=1 << 12)
def compile_load_elements(t: ValType, options: AbiOptions) -> Callable[[Context, int, int], bytes | list[Any]]:
    """The function `(context, pointer, count)`: bytes where `t` is u8, else a list.

    The caller has checked alignment and range.
    """
    load = elements_loader(t, options)
    size = elem_size(t, options.pointer)
    limit = options.lift_limit

    def load_elements(context: Context, pointer: int, count: int) -> bytes | list[Any]:
        view = checked_view(context, pointer, count * size, "the elements")
        elements: bytes | list[Any] = load(context, view, [limit], pointer, count)
        return elements

    return load_elements

"""Converters for values that pass from guest to guest: lifting and lowering at once, without Python's values.

What a value is made of is first *taken* from its source, with all the checks of lifting, and then *given* to its
target, with the allocations of lowering. Numbers and lists of them are copied as they are, where a NaN may keep its
bits, and so are strings if both sides have the same encoding. Handles are lifted and lowered by the contexts. A `str`
is made of a string to check it, and kept only where it changes its encoding, or may.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from ..types import TupleType, ValType
from .cargo import Cargo, Route, all_variables
from .codegen import FunctionSource, tuple_text
from .columns import MIN_ELEMENTS, columns_of
from .context import Context
from .copy import copy_elements
from .giving import FlatGiving, MemoryGiving, elements_giver
from .layout import MAX_FLAT_PARAMS, alignment, elem_size, flatten, flatten_types
from .lift import takes_memory
from .memory import aligned_view, allocate, checked_view
from .options import AbiOptions
from .taking import FlatTaking, MemoryTaking, elements_taker


def emit_taking(source: FunctionSource, types: tuple[ValType, ...], route: Route) -> tuple[Cargo, ...]:
    """What takes the values that the core values in `v` stand for."""
    options = route.source
    if not route.flat_source or takes_memory(types):
        source.emit("m = c.memory.view")
        source.emit(f"b = [{options.lift_limit}]")
    else:
        source.emit("m = b = None")
    if route.flat_source:
        core_types = flatten_types(types, options.pointer)
        names = [f"v{i}" for i in range(len(core_types))]
        if names:
            source.emit(f"{tuple_text(names)} = v")
        taking = FlatTaking(source, route)
        cargos = taking.parts(types, list(zip(core_types, names, strict=True))).parts
        lines = taking.lines
    else:
        t = TupleType(types)
        size, align = elem_size(t, options.pointer), alignment(t, options.pointer)
        source.emit("(p,) = v")
        with source.block(f"if p & {align - 1} or p + {size} > len(m):"):
            source.emit(f"m = {source.constant(aligned_view)}(c, p, {align}, {size}, 'the values passed in memory')")
        from_memory = MemoryTaking(source, route)
        cargos = from_memory.parts(types, 0).parts
        lines = from_memory.finished(size)
    for line in lines:
        source.emit(line)
    return cargos


def emit_giving(source: FunctionSource, types: tuple[ValType, ...], cargos: tuple[Cargo, ...], route: Route) -> None:
    """What gives the values as core values, or to the memory at `q`."""
    if route.flat_target:
        leaves = FlatGiving(source, route).sequence(types, cargos, 0)
        source.emit(f"return [{', '.join(value for _, value in leaves)}]")
    else:
        giving = MemoryGiving(source, route)
        giving.sequence(types, cargos, 0)
        giving.pack(elem_size(TupleType(types), route.target.pointer))


@lru_cache(maxsize=1 << 12)
def compile_pass(
    types: tuple[ValType, ...], source_options: AbiOptions, target_options: AbiOptions, max_flat: int
) -> Callable[[Context, Context, Sequence[int | float]], list[int | float]]:
    """The function `(source, target, core values) -> core values` for the arguments of a call.

    It does what `compile_lift` with `max_flat` and then `compile_lower` do. All is taken before anything is given.
    """
    route = Route(
        source_options,
        target_options,
        flat_source=len(flatten_types(types, source_options.pointer)) <= max_flat,
        flat_target=len(flatten_types(types, target_options.pointer)) <= MAX_FLAT_PARAMS,
    )
    source = FunctionSource("pass_arguments", "c, d, v")
    cargos = emit_taking(source, types, route)
    if not route.flat_target:
        t = TupleType(types)
        size, align = elem_size(t, target_options.pointer), alignment(t, target_options.pointer)
        source.emit(f"q = {source.constant(allocate)}(d, {align}, {size})")
        source.emit("w = d.memory.view")
    emit_giving(source, types, cargos, route)
    if not route.flat_target:
        source.emit("return [q]")
    return source.build()


class ResultPasser(NamedTuple):
    """`take(source, core values)` checks a result and answers what `give(source, target, taken, out pointer)` makes
    the caller's core results of. In between the callee's task ends."""

    take: Callable[[Context, Sequence[int | float]], Any]
    give: Callable[[Context, Context, Any, int | None], list[int | float]]


@lru_cache(maxsize=1 << 12)
def compile_pass_result(
    t: ValType | None,
    source_options: AbiOptions,
    max_flat_source: int,
    target_options: AbiOptions,
    max_flat_target: int,
) -> ResultPasser:
    """What `compile_lift_result` and `compile_lower_result` do, each with its own number of core values."""
    if t is None:
        return ResultPasser(lambda source, core_values: None, lambda source, target, taken, pointer: [])
    route = Route(
        source_options,
        target_options,
        flat_source=len(flatten(t, source_options.pointer)) <= max_flat_source,
        flat_target=len(flatten(t, target_options.pointer)) <= max_flat_target,
    )
    source = FunctionSource("take_result", "c, v")
    cargos = emit_taking(source, (t,), route)
    source.emit(f"return {tuple_text(all_variables(cargos))}")
    take = source.build()
    source = FunctionSource("give_result", "c, d, x, q")
    source.emit(f"{tuple_text(all_variables(cargos))} = x")
    if not route.flat_target:
        size, align = elem_size(t, target_options.pointer), alignment(t, target_options.pointer)
        source.emit(f"w = {source.constant(aligned_view)}(d, q, {align}, {size}, 'the result')")
    emit_giving(source, (t,), cargos, route)
    if not route.flat_target:
        source.emit("return []")
    return ResultPasser(take, source.build())


@lru_cache(maxsize=1 << 12)
def compile_pass_elements(
    t: ValType, source_options: AbiOptions, target_options: AbiOptions
) -> Callable[[Context, Context, int, int, int], None]:
    """The function `(source, target, source pointer, target pointer, count)` for elements of a stream.

    The caller has checked alignment and range of both.
    """
    route = Route(source_options, target_options)
    take, _ = elements_taker(t, route)
    give = elements_giver(t, route)
    source_size = elem_size(t, source_options.pointer)
    target_size = elem_size(t, target_options.pointer)
    limit = source_options.lift_limit
    columns = columns_of(t)

    def pass_elements(source: Context, target: Context, source_pointer: int, target_pointer: int, count: int) -> None:
        m = checked_view(source, source_pointer, count * source_size, "the elements")
        w = checked_view(target, target_pointer, count * target_size, "the elements")
        if columns is not None and count >= MIN_ELEMENTS and columns.are_valid(m, source_pointer, count):
            copy_elements(m, source_pointer, w, target_pointer, count * source_size)
            columns.change(w, target_pointer, count)
            return
        taken = take(source, m, [limit], source_pointer, count)
        give(source, target, w, taken, target_pointer)

    return pass_elements

"""Instances and aliases (Binary.md, "Instance Definitions" and "Alias Definitions")."""

from __future__ import annotations

from ...errors import DecodeError
from ..definitions import (
    AliasCoreExport,
    AliasExport,
    AliasOuter,
    CoreInlineExports,
    CoreInstantiate,
    CoreSort,
    CoreSortIndex,
    ExternName,
    InlineExports,
    Instantiate,
    Sort,
    SortIndex,
)
from ..reader import Reader
from .externs import component_level, core_sort, nameattributes, sort, sortidx

MAX_ARGS = 100_000

CORE_EXPORT_SORTS = (CoreSort.FUNC, CoreSort.TABLE, CoreSort.MEMORY, CoreSort.GLOBAL, CoreSort.TAG)
OUTER_ALIAS_SORTS = (CoreSort.MODULE, CoreSort.TYPE, Sort.TYPE, Sort.COMPONENT)


def core_instance(reader: Reader) -> CoreInstantiate | CoreInlineExports:
    offset = reader.position
    form = reader.byte("a core instance")
    if form == 0x00:
        module = reader.u32("a module index")
        return CoreInstantiate(module, reader.vec(core_instantiatearg, "arguments", MAX_ARGS), offset=offset)
    if form == 0x01:
        return CoreInlineExports(reader.vec(core_inlineexport, "exports", MAX_ARGS), offset=offset)
    raise reader.unexpected(form, "0x00 (instantiate) or 0x01 (exports) for a core instance")


def core_instantiatearg(reader: Reader) -> tuple[str, int]:
    name = reader.name("an argument's name")
    kind = reader.byte("an argument's sort")
    if kind != CoreSort.INSTANCE.value:
        raise reader.unexpected(kind, "0x12 (instance) for an argument's sort")
    return name, reader.u32("a core instance index")


def core_sortidx(reader: Reader) -> CoreSortIndex:
    start = reader.position
    found = core_sort(reader)
    if found not in CORE_EXPORT_SORTS:
        raise DecodeError(f"a core {found.name.lower()} can't be exported from a core instance", start)
    return CoreSortIndex(found, reader.u32(f"a core {found.name.lower()} index"))


def core_inlineexport(reader: Reader) -> tuple[str, CoreSortIndex]:
    return reader.name("an export's name"), core_sortidx(reader)


def instance(reader: Reader) -> Instantiate | InlineExports:
    offset = reader.position
    form = reader.byte("an instance")
    if form == 0x00:
        component = reader.u32("a component index")
        return Instantiate(component, reader.vec(instantiatearg, "arguments", MAX_ARGS), offset=offset)
    if form == 0x01:
        return InlineExports(reader.vec(inlineexport, "exports", MAX_ARGS), offset=offset)
    raise reader.unexpected(form, "0x00 (instantiate) or 0x01 (exports) for an instance")


def instantiatearg(reader: Reader) -> tuple[str, SortIndex]:
    return reader.name("an argument's name"), sortidx(reader)


def inlineexport(reader: Reader) -> tuple[ExternName, SortIndex]:
    return nameattributes(reader), sortidx(reader)


def alias(reader: Reader) -> AliasExport | AliasCoreExport | AliasOuter:
    offset = reader.position
    found = sort(reader)
    target = reader.byte("an alias target")
    if target == 0x00:
        component_level(found, offset)
        index = reader.u32("an instance index")
        return AliasExport(found, index, reader.name("an export's name"), offset=offset)
    if target == 0x01:
        if not isinstance(found, CoreSort) or found not in CORE_EXPORT_SORTS:
            raise DecodeError(f"a core instance can't export a {found.name.lower()}", offset)
        index = reader.u32("a core instance index")
        return AliasCoreExport(found, index, reader.name("an export's name"), offset=offset)
    if target == 0x02:
        if found not in OUTER_ALIAS_SORTS:
            raise DecodeError(f"an outer alias can't refer to a {found.name.lower()}", offset)
        count = reader.u32("an outer alias count")
        return AliasOuter(found, count, reader.u32("an index"), offset=offset)
    raise reader.unexpected(target, "0x00 (export), 0x01 (core export) or 0x02 (outer) for an alias target")

"""Imports and exports: their sorts, names and types (Binary.md, "Import and Export Definitions" and `externtype`)."""

from __future__ import annotations

from ...errors import DecodeError
from ...types import Attributes
from ..definitions import (
    CoreSort,
    Export,
    ExternDesc,
    ExternName,
    ExternTypeDesc,
    Import,
    Sort,
    SortIndex,
    SubResource,
    ValueDesc,
)
from ..reader import Reader
from .value_types import valtype

CORE_SORTS = {sort.value: sort for sort in CoreSort}
SORTS = {sort.value: sort for sort in Sort}
ATTRIBUTES = ("implements", "versionsuffix", "external-id")


def core_sort(reader: Reader) -> CoreSort:
    opcode = reader.byte("a core sort")
    found = CORE_SORTS.get(opcode)
    if found is None:
        raise reader.unexpected(opcode, "a core sort")
    return found


def sort(reader: Reader) -> Sort | CoreSort:
    opcode = reader.byte("a sort")
    if opcode == 0x00:
        return core_sort(reader)
    found = SORTS.get(opcode)
    if found is None:
        raise reader.unexpected(opcode, "a sort")
    return found


def sortidx(reader: Reader) -> SortIndex:
    start = reader.position
    found = component_level(sort(reader), start)
    return SortIndex(found, reader.u32(f"a {found.name.lower()} index"))


def component_level(found: Sort | CoreSort, offset: int) -> Sort | CoreSort:
    """Of the core sorts, modules alone cross the boundary of a component."""
    if isinstance(found, CoreSort) and found is not CoreSort.MODULE:
        raise DecodeError(f"a core {found.name.lower()} can't be imported or exported, or be an argument", offset)
    return found


def nameattributes(reader: Reader) -> ExternName:
    form = reader.byte("an extern name")
    if form > 0x02:
        raise reader.unexpected(form, "0x00, 0x01 or 0x02 for an extern name")
    name = reader.name("an extern name")
    if form < 0x02:
        return ExternName(name)
    attributes: dict[str, str] = {}
    for _ in range(reader.count("attributes", len(ATTRIBUTES) * 2)):
        attribute(reader, attributes)
    if not attributes:
        return ExternName(name)
    values = (attributes.get("implements"), attributes.get("versionsuffix"), attributes.get("external-id"))
    return ExternName(name, Attributes(*values))


def attribute(reader: Reader, attributes: dict[str, str]) -> None:
    kind = reader.byte("an attribute")
    if kind >= len(ATTRIBUTES):
        raise reader.unexpected(kind, "0x00 (implements), 0x01 (versionsuffix) or 0x02 (external-id)")
    if ATTRIBUTES[kind] in attributes:
        raise DecodeError(f"duplicate attribute `{ATTRIBUTES[kind]}` of a name", reader.position - 1)
    attributes[ATTRIBUTES[kind]] = reader.name(f"an attribute `{ATTRIBUTES[kind]}`")


def externtype(reader: Reader) -> ExternTypeDesc:
    opcode = reader.byte("an extern type")
    if opcode == 0x00:
        sort = reader.byte("a core extern type")
        if sort != CoreSort.MODULE.value:
            raise reader.unexpected(sort, "0x11 (module) for a core extern type")
        return ExternDesc(CoreSort.MODULE, reader.u32("a core type index"))
    if opcode == Sort.FUNC.value:
        return ExternDesc(Sort.FUNC, reader.u32("a type index"))
    if opcode == Sort.VALUE.value:
        return valuebound(reader)
    if opcode == Sort.TYPE.value:
        return typebound(reader)
    if opcode == Sort.COMPONENT.value:
        return ExternDesc(Sort.COMPONENT, reader.u32("a type index"))
    if opcode == Sort.INSTANCE.value:
        return ExternDesc(Sort.INSTANCE, reader.u32("a type index"))
    raise reader.unexpected(opcode, "an extern type (0x00 to 0x05)")


def typebound(reader: Reader) -> ExternDesc | SubResource:
    bound = reader.byte("a type bound")
    if bound == 0x00:
        return ExternDesc(Sort.TYPE, reader.u32("a type index"))
    if bound == 0x01:
        return SubResource()
    raise reader.unexpected(bound, "0x00 (eq) or 0x01 (sub resource) for a type bound")


def valuebound(reader: Reader) -> ValueDesc:
    bound = reader.byte("a value bound")
    if bound == 0x00:
        return ValueDesc(reader.u32("a value index"), None)
    if bound == 0x01:
        return ValueDesc(None, valtype(reader))
    raise reader.unexpected(bound, "0x00 (eq) or 0x01 (a type) for a value bound (component values are not supported)")


def import_definition(reader: Reader) -> Import:
    offset = reader.position
    return Import(nameattributes(reader), externtype(reader), offset=offset)


def export_definition(reader: Reader) -> Export:
    offset = reader.position
    name = nameattributes(reader)
    target = sortidx(reader)
    return Export(name, target, reader.optional(externtype, "an export's type"), offset=offset)

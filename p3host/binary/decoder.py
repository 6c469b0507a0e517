"""Decodes a component's bytes into definitions (Binary.md, "Component Definitions", "Start Definitions", "Value
Definitions" and "Name Section").

Only the form is checked here. Whether indices, types, names and options fit together is up to validation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ..errors import DecodeError
from .definitions import (
    AnyDefinition,
    Component,
    CoreModule,
    CoreSort,
    NestedComponent,
    Sort,
    Start,
    Value,
)
from .reader import Reader
from .sections.canons import canon
from .sections.component_types import type_definition
from .sections.core_types import core_type
from .sections.externs import export_definition, import_definition, sort
from .sections.instances import alias, core_instance, instance
from .sections.value_types import valtype

MAGIC = b"\0asm"
COMPONENT_VERSION = b"\x0d\x00"
COMPONENT_LAYER = b"\x01\x00"
CORE_MODULE_VERSION = b"\x01\x00\x00\x00"
NAME_SECTION = "component-name"

CUSTOM_SECTION = 0
LAST_SECTION = 12
MAX_START_ARGS = 1_000

Names: TypeAlias = dict[tuple[Sort | CoreSort, int], str]


def decode(data: bytes | bytearray | memoryview) -> Component:
    """Decodes a component from the bytes of a file.

    The core modules in the result are views of `data` (of a copy, unless `data` is `bytes`).

    :raises DecodeError: if the bytes are not a component, with the offset of what is wrong.
    """
    return component(Reader(data if isinstance(data, bytes) else bytes(data)))


def component(reader: Reader) -> Component:
    """A component, from its preamble to the reader's end."""
    offset = reader.position
    preamble(reader)
    reader.enter()
    definitions: list[AnyDefinition] = []
    name, names = "", Names()
    while reader.remaining:
        section_id = reader.byte("a section id")
        if section_id > LAST_SECTION:
            raise DecodeError(f"malformed section id {section_id}", reader.position - 1)
        section = reader.part(reader.u32("the size of a section"), f"section {section_id}")
        if section_id == CUSTOM_SECTION:
            if section.name("a custom section's name") == NAME_SECTION:
                name, names = name_section(section) or (name, names)
        elif section_id in SINGLE_SECTIONS:
            definitions.append(SINGLE_SECTIONS[section_id](section))
        else:
            what, item = VECTOR_SECTIONS[section_id]
            definitions += section.vec(item, what)
            section.finish(f"a section of {what}")
    reader.leave()
    return Component(tuple(definitions), name, names, offset=offset)


def preamble(reader: Reader) -> None:
    offset = reader.position
    magic, version, layer = (bytes(reader.part(size, "the preamble").view()) for size in (4, 2, 2))
    if magic != MAGIC:
        raise DecodeError("not a WebAssembly file: expected the magic number `\\0asm`", offset)
    if version + layer == CORE_MODULE_VERSION:
        raise DecodeError(
            "expected a component, found a core module: make a component of it (`wasm-tools component new`, "
            "`jco new` or your language's component tooling)",
            offset + 4,
        )
    if layer != COMPONENT_LAYER:
        raise DecodeError("expected the layer of a component (0x01 0x00) in the preamble", offset + 6)
    if version != COMPONENT_VERSION:
        raise DecodeError("unknown version of the component format: expected 0x0d 0x00", offset + 4)


def core_module(reader: Reader) -> CoreModule:
    """A core module, of which the engine decodes all but the preamble."""
    offset = reader.position
    data = reader.view()
    if bytes(data[:8]) != MAGIC + CORE_MODULE_VERSION:
        raise DecodeError("expected the preamble of a core module of version 1", offset)
    return CoreModule(data, offset=offset)


def nested_component(reader: Reader) -> NestedComponent:
    offset = reader.position
    return NestedComponent(component(reader), offset=offset)


def start(reader: Reader) -> Start:
    offset = reader.position
    function = reader.u32("a function index")
    args = reader.vec(valueidx, "arguments", MAX_START_ARGS)
    results = reader.u32("the number of results")
    reader.finish("the start section")
    return Start(function, args, results, offset=offset)


def valueidx(reader: Reader) -> int:
    return reader.u32("a value index")


def value(reader: Reader) -> Value:
    offset = reader.position
    t = valtype(reader)
    data = reader.part(reader.u32("the size of a value"), "a value").view()
    return Value(t, bytes(data), offset=offset)


def name_section(reader: Reader) -> tuple[str, Names] | None:
    """The component's own name and those of its definitions, or None where the section is malformed."""
    name, names = "", Names()
    try:
        while reader.remaining:
            kind = reader.byte("a subsection id")
            subsection = reader.part(reader.u32("the size of a subsection"), "a subsection")
            if kind == 0:
                name = subsection.name("the component's name")
            elif kind == 1:
                of = sort(subsection)
                names.update(((of, index), text) for index, text in subsection.vec(nameassoc, "names"))
            else:
                raise reader.unexpected(kind, "0x00 or 0x01 for a subsection")
            subsection.finish("a subsection")
    except DecodeError:
        return None
    return name, names


def nameassoc(reader: Reader) -> tuple[int, str]:
    return reader.u32("an index"), reader.name("a name")


SINGLE_SECTIONS: dict[int, Callable[[Reader], AnyDefinition]] = {
    1: core_module,
    4: nested_component,
    9: start,
}
VECTOR_SECTIONS: dict[int, tuple[str, Callable[[Reader], AnyDefinition]]] = {
    2: ("core instances", core_instance),
    3: ("core types", core_type),
    5: ("instances", instance),
    6: ("aliases", alias),
    7: ("types", type_definition),
    8: ("canonical definitions", canon),
    10: ("imports", import_definition),
    11: ("exports", export_definition),
    12: ("values", value),
}

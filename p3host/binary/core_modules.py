"""Reads what a core module imports and exports, with types (core specification, "Modules" of the binary format).

Only the sections that say so are read, and only as far as this needs: whether a module is valid is the engine's to say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import DecodeError
from ..types import CoreExternType, CoreFuncType, CoreGlobalType, CoreMemoryType, CoreTableType, CoreTagType, ModuleType
from .definitions import CoreGcType, CoreRecursiveTypes, CoreSort
from .reader import Reader
from .resolve import core_extern_type, item
from .sections.core_types import core_externtype, core_valtype, memory_type, rectype, reftype, table_limits

PREAMBLE = b"\0asm\x01\0\0\0"
TYPE, IMPORT, FUNCTION, TABLE, MEMORY, GLOBAL, EXPORT = 1, 2, 3, 4, 5, 6, 7
TAG = 13
# The order that sections have to be in, custom sections (0) aside: tags stand before globals, the data count (12)
# before code (10) and data (11).
SECTION_ORDER = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 13: 6, 6: 7, 7: 8, 8: 9, 9: 10, 12: 11, 10: 12, 11: 13}

MAX_TYPES = 1_000_000
MAX_ITEMS = 1_000_000  # functions, globals, tags, imports, exports
MAX_TABLES = 100
MAX_MEMORIES = 100


@dataclass
class ModuleSpaces:
    """The index spaces of a module, as far as it has been read."""

    types: list[CoreFuncType | CoreGcType] = field(default_factory=list)
    funcs: list[int | CoreFuncType] = field(default_factory=list)  # a type index where the module defines it
    tables: list[CoreTableType] = field(default_factory=list)
    memories: list[CoreMemoryType] = field(default_factory=list)
    globals: list[CoreGlobalType] = field(default_factory=list)
    tags: list[CoreTagType] = field(default_factory=list)
    imports: dict[tuple[str, str], CoreExternType] = field(default_factory=dict)
    exports: dict[str, CoreExternType] = field(default_factory=dict)


def module_type(data: memoryview, offset: int = 0) -> ModuleType:
    """The type of the core module in `data`, which starts at `offset` in the file that errors refer to.

    :raises DecodeError: if what is read is malformed.
    """
    try:
        return read_module(Reader(data))
    except DecodeError as error:
        raise DecodeError(f"in a core module: {error.message}", offset + error.offset) from None


def read_module(reader: Reader) -> ModuleType:
    if reader.data[: len(PREAMBLE)] != PREAMBLE:
        raise DecodeError("expected the version header of a core module", 0)
    reader.position = len(PREAMBLE)
    spaces = ModuleSpaces()
    last = 0
    while reader.remaining:
        section_id = reader.byte("a section id")
        section = reader.part(reader.u32("the size of a section"), f"section {section_id}")
        if section_id == 0:
            continue
        order = SECTION_ORDER.get(section_id)
        if order is None:
            raise DecodeError(f"malformed section id {section_id}", section.position)
        if order <= last:
            raise DecodeError(f"section out of order: section {section_id}", section.position)
        last = order
        read = SECTIONS.get(section_id)
        if read is not None:
            read(section, spaces)
            section.finish(f"section {section_id}")
    return ModuleType(spaces.imports, spaces.exports)


def read_types(reader: Reader, spaces: ModuleSpaces) -> None:
    for _ in range(reader.count("types", MAX_TYPES)):
        t = rectype(reader)
        spaces.types += t.types if isinstance(t, CoreRecursiveTypes) else (t,)


def read_imports(reader: Reader, spaces: ModuleSpaces) -> None:
    for _ in range(reader.count("imports", MAX_ITEMS)):
        start = reader.position
        key = (reader.name("an import's module name"), reader.name("an import's name"))
        desc = core_externtype(reader)
        if key in spaces.imports:
            raise DecodeError(f"duplicate import name `{key[0]}:{key[1]}`", start)
        extern = spaces.imports[key] = core_extern_type(spaces.types, desc, start)
        match extern:
            case CoreFuncType():
                spaces.funcs.append(extern)
            case CoreTableType():
                spaces.tables.append(extern)
            case CoreMemoryType():
                spaces.memories.append(extern)
            case CoreGlobalType():
                spaces.globals.append(extern)
            case CoreTagType():
                spaces.tags.append(extern)


def read_functions(reader: Reader, spaces: ModuleSpaces) -> None:
    for _ in range(reader.count("functions", MAX_ITEMS)):
        spaces.funcs.append(reader.u32("a type index"))


def read_tables(reader: Reader, spaces: ModuleSpaces) -> None:
    for _ in range(reader.count("tables", MAX_TABLES)):
        has_initial = reader.peek("a table") == 0x40
        if has_initial:
            reader.position += 1
            reader.zero("a table with an initial value")
        elem_type = reftype(reader)
        spaces.tables.append(CoreTableType(elem_type, table_limits(reader)))
        if has_initial:
            skip_constant(reader)


def read_memories(reader: Reader, spaces: ModuleSpaces) -> None:
    spaces.memories += [memory_type(reader) for _ in range(reader.count("memories", MAX_MEMORIES))]


def read_globals(reader: Reader, spaces: ModuleSpaces) -> None:
    for _ in range(reader.count("globals", MAX_ITEMS)):
        value_type = core_valtype(reader)
        spaces.globals.append(CoreGlobalType(value_type, reader.flag("the mutability of a global")))
        skip_constant(reader)


def read_tags(reader: Reader, spaces: ModuleSpaces) -> None:
    for _ in range(reader.count("tags", MAX_ITEMS)):
        reader.zero("a tag's attribute")
        index = reader.u32("a type index")
        spaces.tags.append(CoreTagType(plain_function(spaces, index, reader.position)))


def read_exports(reader: Reader, spaces: ModuleSpaces) -> None:
    for _ in range(reader.count("exports", MAX_ITEMS)):
        start = reader.position
        name = reader.name("an export's name")
        if name in spaces.exports:
            raise DecodeError(f"export name `{name}` already defined", start)
        sort = reader.byte("an export's sort")
        index = reader.u32("an export's index")
        spaces.exports[name] = export_type(spaces, sort, index, start)


def export_type(spaces: ModuleSpaces, sort: int, index: int, offset: int) -> CoreExternType:
    match sort:
        case CoreSort.FUNC.value:
            func = item(spaces.funcs, index, "function", offset)
            return func if isinstance(func, CoreFuncType) else plain_function(spaces, func, offset)
        case CoreSort.TABLE.value:
            return item(spaces.tables, index, "table", offset)
        case CoreSort.MEMORY.value:
            return item(spaces.memories, index, "memory", offset)
        case CoreSort.GLOBAL.value:
            return item(spaces.globals, index, "global", offset)
        case CoreSort.TAG.value:
            return item(spaces.tags, index, "tag", offset)
    raise DecodeError(f"invalid byte {sort:#04x}: expected the sort of an export", offset)


def plain_function(spaces: ModuleSpaces, index: int, offset: int) -> CoreFuncType:
    t = item(spaces.types, index, "type", offset)
    if not isinstance(t, CoreFuncType):
        raise DecodeError(f"type {index} is not a plain function type", offset)
    return t


def skip_constant(reader: Reader) -> None:
    """Passes over a constant expression (core specification, "Constant Expressions")."""
    while True:
        opcode = reader.byte("an instruction of a constant expression")
        match opcode:
            case 0x0B:  # end
                return
            case 0x41:  # i32.const
                reader.signed(32, "a constant")
            case 0x42:  # i64.const
                reader.signed(64, "a constant")
            case 0x43:  # f32.const
                reader.part(4, "a constant")
            case 0x44:  # f64.const
                reader.part(8, "a constant")
            case 0x23 | 0xD2:  # global.get, ref.func
                reader.u32("an index")
            case 0xD0:  # ref.null
                reader.s33("a heap type")
            case 0x6A | 0x6B | 0x6C | 0x7C | 0x7D | 0x7E:  # add, sub, mul of i32 and i64
                pass
            case 0xFB:  # struct and array instructions, conversions of references
                instruction = reader.u32("an instruction")
                for _ in range(GC_IMMEDIATES.get(instruction, 0)):
                    reader.u32("an immediate")
            case 0xFD:  # v128.const
                reader.u32("an instruction")
                reader.part(16, "a constant")
            case _:
                raise reader.unexpected(opcode, "an instruction of a constant expression")


GC_IMMEDIATES = {0x00: 1, 0x01: 1, 0x06: 1, 0x07: 1, 0x08: 2}  # struct.new, array.new and their forms

SECTIONS: dict[int, Callable[[Reader, ModuleSpaces], None]] = {
    TYPE: read_types,
    IMPORT: read_imports,
    FUNCTION: read_functions,
    TABLE: read_tables,
    MEMORY: read_memories,
    TAG: read_tags,
    GLOBAL: read_globals,
    EXPORT: read_exports,
}

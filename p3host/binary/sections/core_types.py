"""Core types (Binary.md, "Type Definitions": `core:type`; the core specification's binary format of types)."""

from __future__ import annotations

from ...errors import DecodeError
from ...types import CoreFuncType, CoreGlobalType, CoreMemoryType, CoreTableType, CoreValType, Limits
from ..definitions import (
    CoreDefType,
    CoreExportDecl,
    CoreExternDesc,
    CoreFuncRef,
    CoreGcType,
    CoreImportDecl,
    CoreOuterAlias,
    CoreRecursiveTypes,
    CoreSort,
    CoreTypeDefinition,
    ModuleTypeDef,
)
from ..reader import Reader

MAX_PARTS = 1_000  # parameters, results, supertypes
MAX_FIELDS = 10_000
MAX_TYPES = 100_000
MAX_DECLARATIONS = 100_000

NUMBER_TYPES = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128"}
# Abstract heap types, with the short form of the nullable reference to each.
HEAP_TYPES = {
    0x74: ("noexn", "nullexnref"),
    0x73: ("nofunc", "nullfuncref"),
    0x72: ("noextern", "nullexternref"),
    0x71: ("none", "nullref"),
    0x70: ("func", "funcref"),
    0x6F: ("extern", "externref"),
    0x6E: ("any", "anyref"),
    0x6D: ("eq", "eqref"),
    0x6C: ("i31", "i31ref"),
    0x6B: ("struct", "structref"),
    0x6A: ("array", "arrayref"),
    0x69: ("exn", "exnref"),
}
PACKED_TYPES = {0x78: "i8", 0x77: "i16"}

MODULE_TYPE = 0x50
SUB = 0x50  # not final; has the opcode of a module type, and so a prefix of 0x00 where that can stand
SUB_FINAL = 0x4F
REC = 0x4E
FUNC = 0x60
STRUCT = 0x5F
ARRAY = 0x5E
OUTER = 0x01


def core_valtype(reader: Reader) -> CoreValType:
    opcode = reader.peek("a core value type")
    if opcode in NUMBER_TYPES:
        reader.position += 1
        return NUMBER_TYPES[opcode]
    return reftype(reader)


def reftype(reader: Reader) -> CoreValType:
    """A reference type in text form, always in its shortest one: `(ref null func)` is "funcref"."""
    opcode = reader.byte("a core reference type")
    if opcode in HEAP_TYPES:
        return HEAP_TYPES[opcode][1]
    if opcode not in (0x63, 0x64):
        raise reader.unexpected(opcode, "a core value type")
    nullable = opcode == 0x63
    heap_type = reader.peek("a heap type")
    if heap_type in HEAP_TYPES:
        reader.position += 1
        name, nullable_reference = HEAP_TYPES[heap_type]
        return nullable_reference if nullable else f"(ref {name})"
    start = reader.position
    index = reader.s33("a heap type")
    if index < 0:
        raise DecodeError("expected a heap type: an abstract heap type or a type index", start)
    return f"(ref null {index})" if nullable else f"(ref {index})"


def storage_type(reader: Reader) -> str:
    opcode = reader.peek("a storage type")
    if opcode in PACKED_TYPES:
        reader.position += 1
        return PACKED_TYPES[opcode]
    return core_valtype(reader)


def field_type(reader: Reader) -> str:
    storage = storage_type(reader)
    return f"(mut {storage})" if reader.flag("the mutability of a field") else storage


def comptype(reader: Reader) -> CoreFuncType | CoreGcType:
    opcode = reader.byte("a core type")
    if opcode == FUNC:
        params = reader.vec(core_valtype, "parameters", MAX_PARTS)
        return CoreFuncType(params, reader.vec(core_valtype, "results", MAX_PARTS))
    if opcode == STRUCT:
        fields = reader.vec(field_type, "fields of a struct", MAX_FIELDS)
        return CoreGcType(" ".join(("(struct", *(f"(field {f})" for f in fields))) + ")")
    if opcode == ARRAY:
        return CoreGcType(f"(array {field_type(reader)})")
    raise reader.unexpected(opcode, "0x60 (func), 0x5f (struct) or 0x5e (array) for a core type")


def core_typeidx(reader: Reader) -> int:
    return reader.u32("a core type index")


def subtype(reader: Reader) -> CoreFuncType | CoreGcType:
    opcode = reader.peek("a core type")
    if opcode not in (SUB, SUB_FINAL):
        return comptype(reader)
    reader.position += 1
    supertypes = reader.vec(core_typeidx, "supertypes", MAX_PARTS)
    inner = comptype(reader)
    if opcode == SUB_FINAL and not supertypes:
        return inner
    final = " final" if opcode == SUB_FINAL else ""
    above = "".join(f" {index}" for index in supertypes)
    return CoreGcType(f"(sub{final}{above} {type_text(inner)})")


def type_text(t: CoreFuncType | CoreGcType) -> str:
    if isinstance(t, CoreGcType):
        return t.text
    return "(func" + "".join(f" (param {p})" for p in t.params) + "".join(f" (result {r})" for r in t.results) + ")"


def rectype(reader: Reader) -> CoreFuncType | CoreGcType | CoreRecursiveTypes:
    if reader.peek("a core type") == REC:
        reader.position += 1
        return CoreRecursiveTypes(reader.vec(subtype, "types of a rec group", MAX_TYPES))
    return subtype(reader)


def core_type(reader: Reader) -> CoreTypeDefinition:
    offset = reader.position
    return CoreTypeDefinition(core_deftype(reader), offset=offset)


def core_deftype(reader: Reader) -> CoreDefType:
    opcode = reader.peek("a core type")
    if opcode == MODULE_TYPE:
        reader.position += 1
        return ModuleTypeDef(reader.vec(moduledecl, "declarations of a module type", MAX_DECLARATIONS))
    return module_free_type(reader)


def module_free_type(reader: Reader) -> CoreFuncType | CoreGcType | CoreRecursiveTypes:
    """A core type that is no module type: all that a module type can declare."""
    opcode = reader.peek("a core type")
    if opcode == MODULE_TYPE:
        raise DecodeError("a module type can't define another module type", reader.position)
    if opcode == 0x00:
        reader.position += 1
        if reader.peek("a core type") != SUB:
            raise DecodeError("expected 0x50 (sub) after the prefix 0x00 of a core type", reader.position)
    return rectype(reader)


def moduledecl(reader: Reader) -> CoreImportDecl | CoreExportDecl | CoreOuterAlias | CoreTypeDefinition:
    offset = reader.position
    kind = reader.byte("a declaration of a module type")
    if kind == 0x00:
        module = reader.name("an import's module name")
        name = reader.name("an import's name")
        return CoreImportDecl(module, name, core_externtype(reader))
    if kind == 0x01:
        return CoreTypeDefinition(module_free_type(reader), offset=offset)
    if kind == 0x02:
        return core_alias(reader)
    if kind == 0x03:
        return CoreExportDecl(reader.name("an export's name"), core_externtype(reader))
    raise reader.unexpected(kind, "0x00 (import), 0x01 (type), 0x02 (alias) or 0x03 (export) for a declaration")


def core_alias(reader: Reader) -> CoreOuterAlias:
    sort = reader.byte("an alias's sort")
    if sort != CoreSort.TYPE.value:
        raise reader.unexpected(sort, "0x10 (type) for an alias's sort")
    target = reader.byte("an alias target")
    if target != OUTER:
        raise reader.unexpected(target, "0x01 (outer) for an alias target")
    count = reader.u32("an outer alias count")
    return CoreOuterAlias(count, core_typeidx(reader))


def core_externtype(reader: Reader) -> CoreExternDesc:
    kind = reader.byte("a core extern type")
    if kind == CoreSort.FUNC.value:
        return CoreFuncRef(CoreSort.FUNC, core_typeidx(reader))
    if kind == CoreSort.TABLE.value:
        elem_type = reftype(reader)
        return CoreTableType(elem_type, table_limits(reader))
    if kind == CoreSort.MEMORY.value:
        return memory_type(reader)
    if kind == CoreSort.GLOBAL.value:
        value_type = core_valtype(reader)
        return CoreGlobalType(value_type, reader.flag("the mutability of a global"))
    if kind == CoreSort.TAG.value:
        reader.zero("a tag's attribute")
        return CoreFuncRef(CoreSort.TAG, core_typeidx(reader))
    raise reader.unexpected(kind, "a core extern type (0x00 to 0x04)")


def table_limits(reader: Reader) -> Limits:
    flags = reader.byte("the limits of a table")
    if flags > 0x07:
        raise reader.unexpected(flags, "the flags of a table's limits (0x00 to 0x07)")
    return limits(reader, flags)


def memory_type(reader: Reader) -> CoreMemoryType:
    flags = reader.byte("the limits of a memory")
    if flags > 0x0F:
        raise reader.unexpected(flags, "the flags of a memory's limits (0x00 to 0x0f)")
    bounds = limits(reader, flags)
    if not flags & 0x08:
        return CoreMemoryType(bounds)
    start = reader.position
    page_size_log2 = reader.u32("a page size")
    if page_size_log2 > 16:
        raise DecodeError(f"a page size of 2^{page_size_log2} bytes is larger than 2^16", start)
    return CoreMemoryType(bounds, page_size_log2)


def limits(reader: Reader, flags: int) -> Limits:
    """Bit 0 says whether there is a maximum, bit 1 whether it is shared, bit 2 whether indices have 64 bits."""
    bits = 64 if flags & 0x04 else 32
    minimum = reader.unsigned(bits, "a minimum")
    maximum = reader.unsigned(bits, "a maximum") if flags & 0x01 else None
    return Limits(minimum, maximum, "i64" if bits == 64 else "i32", bool(flags & 0x02))

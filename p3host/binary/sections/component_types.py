"""Component-level types with declarations, function types and resource types (Binary.md, "Type Definitions")."""

from __future__ import annotations

from ..definitions import (
    ComponentTypeDef,
    Declaration,
    DefType,
    ExportDecl,
    FuncDef,
    ImportDecl,
    InstanceTypeDef,
    ResourceDef,
    TypeDefinition,
    ValTypeRef,
)
from ..reader import Reader
from .core_types import core_type, core_valtype
from .externs import externtype, nameattributes
from .instances import alias
from .value_types import COMPOUND_TYPES, MAX_PARTS, PRIMITIVE_TYPES, labelvaltype, valtype

MAX_DECLARATIONS = 100_000

RESOURCE = 0x3F
FUNC = 0x40
COMPONENT = 0x41
INSTANCE = 0x42
ASYNC_FUNC = 0x43


def type_definition(reader: Reader) -> TypeDefinition:
    offset = reader.position
    return TypeDefinition(deftype(reader), offset=offset)


def deftype(reader: Reader) -> DefType:
    opcode = reader.byte("a type")
    if opcode in PRIMITIVE_TYPES:
        return PRIMITIVE_TYPES[opcode]
    if opcode in COMPOUND_TYPES:
        return COMPOUND_TYPES[opcode](reader)
    if opcode == FUNC:
        return functype(reader, is_async=False)
    if opcode == ASYNC_FUNC:
        return functype(reader, is_async=True)
    if opcode == INSTANCE:
        return instancetype(reader)
    if opcode == COMPONENT:
        return componenttype(reader)
    if opcode == RESOURCE:
        return resourcetype(reader)
    raise reader.unexpected(opcode, "the opcode of a type")


def resourcetype(reader: Reader) -> ResourceDef:
    rep = core_valtype(reader)
    return ResourceDef(rep, reader.optional(core_funcidx, "a destructor"))


def core_funcidx(reader: Reader) -> int:
    return reader.u32("a core function index")


def functype(reader: Reader, *, is_async: bool) -> FuncDef:
    params = reader.vec(labelvaltype, "parameters", MAX_PARTS)
    return FuncDef(params, resultlist(reader), is_async)


def resultlist(reader: Reader) -> ValTypeRef | None:
    form = reader.byte("the result of a function")
    if form == 0x00:
        return valtype(reader)
    if form == 0x01:
        reader.zero("the number of named results")
        return None
    raise reader.unexpected(form, "0x00 (a type) or 0x01 (none) for the result of a function")


def instancetype(reader: Reader) -> InstanceTypeDef:
    reader.enter()
    declarations = reader.vec(instancedecl, "declarations of an instance type", MAX_DECLARATIONS)
    reader.leave()
    return InstanceTypeDef(declarations)


def componenttype(reader: Reader) -> ComponentTypeDef:
    reader.enter()
    declarations = reader.vec(componentdecl, "declarations of a component type", MAX_DECLARATIONS)
    reader.leave()
    return ComponentTypeDef(declarations)


def componentdecl(reader: Reader) -> Declaration:
    offset = reader.position
    if reader.peek("a declaration") == 0x03:
        reader.position += 1
        return ImportDecl(nameattributes(reader), externtype(reader), offset=offset)
    return instancedecl(reader)


def instancedecl(reader: Reader) -> Declaration:
    offset = reader.position
    kind = reader.byte("a declaration")
    if kind == 0x00:
        return core_type(reader)
    if kind == 0x01:
        return type_definition(reader)
    if kind == 0x02:
        return alias(reader)
    if kind == 0x04:
        return ExportDecl(nameattributes(reader), externtype(reader), offset=offset)
    raise reader.unexpected(kind, "a declaration that can stand in this type (core type, type, alias, import, export)")

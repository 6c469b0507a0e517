"""Value types (Binary.md, "Type Definitions": `valtype` and `defvaltype`)."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import DecodeError
from ...types import PrimitiveType
from ..definitions import (
    BorrowDef,
    DefValType,
    EnumDef,
    FlagsDef,
    FutureDef,
    ListDef,
    MapDef,
    OptionDef,
    OwnDef,
    RecordDef,
    ResultDef,
    StreamDef,
    TupleDef,
    ValTypeRef,
    VariantDef,
)
from ..reader import Reader

MAX_PARTS = 1_000  # of one record, variant, tuple, enum or function
MAX_FLAGS = 32

PRIMITIVE_TYPES = {
    0x7F: PrimitiveType.BOOL,
    0x7E: PrimitiveType.S8,
    0x7D: PrimitiveType.U8,
    0x7C: PrimitiveType.S16,
    0x7B: PrimitiveType.U16,
    0x7A: PrimitiveType.S32,
    0x79: PrimitiveType.U32,
    0x78: PrimitiveType.S64,
    0x77: PrimitiveType.U64,
    0x76: PrimitiveType.F32,
    0x75: PrimitiveType.F64,
    0x74: PrimitiveType.CHAR,
    0x73: PrimitiveType.STRING,
    0x64: PrimitiveType.ERROR_CONTEXT,
}


def valtype(reader: Reader) -> ValTypeRef:
    """A primitive type's opcode (a negative number of one byte), or a type index."""
    start = reader.position
    primitive = PRIMITIVE_TYPES.get(reader.peek("a value type"))
    if primitive is not None:
        reader.position += 1
        return primitive
    index = reader.s33("a value type")
    if index < 0:
        raise DecodeError("expected a value type: a primitive type or a type index", start)
    return index


def optional_valtype(reader: Reader) -> ValTypeRef | None:
    return reader.optional(valtype, "a value type")


def label(reader: Reader) -> str:
    return reader.name("a label")


def labelvaltype(reader: Reader) -> tuple[str, ValTypeRef]:
    return label(reader), valtype(reader)


def case(reader: Reader) -> tuple[str, ValTypeRef | None]:
    name = label(reader)
    payload = optional_valtype(reader)
    reader.zero("the end of a case")
    return name, payload


def typeidx(reader: Reader) -> int:
    return reader.u32("a type index")


def record(reader: Reader) -> RecordDef:
    start = reader.position
    fields = reader.vec(labelvaltype, "fields of a record", MAX_PARTS)
    if not fields:
        raise DecodeError("a record type must have at least one field", start)
    return RecordDef(fields)


def variant(reader: Reader) -> VariantDef:
    start = reader.position
    cases = reader.vec(case, "cases of a variant", MAX_PARTS)
    if not cases:
        raise DecodeError("a variant type must have at least one case", start)
    return VariantDef(cases)


def list_type(reader: Reader) -> ListDef:
    return ListDef(valtype(reader))


def fixed_length_list(reader: Reader) -> ListDef:
    elem_type = valtype(reader)
    start = reader.position
    length = reader.u32("the length of a fixed-length list")
    if length == 0:
        raise DecodeError("a fixed-length list must have at least one element", start)
    return ListDef(elem_type, length)


def tuple_type(reader: Reader) -> TupleDef:
    start = reader.position
    types = reader.vec(valtype, "types of a tuple", MAX_PARTS)
    if not types:
        raise DecodeError("a tuple type must have at least one type", start)
    return TupleDef(types)


def flags(reader: Reader) -> FlagsDef:
    start = reader.position
    labels = reader.vec(label, "flags", MAX_PARTS)
    if not 0 < len(labels) <= MAX_FLAGS:
        raise DecodeError(f"a flags type must have 1 to {MAX_FLAGS} labels, this one has {len(labels)}", start)
    return FlagsDef(labels)


def enum(reader: Reader) -> EnumDef:
    start = reader.position
    labels = reader.vec(label, "cases of an enum", MAX_PARTS)
    if not labels:
        raise DecodeError("an enum type must have at least one case", start)
    return EnumDef(labels)


def option(reader: Reader) -> OptionDef:
    return OptionDef(valtype(reader))


def result(reader: Reader) -> ResultDef:
    return ResultDef(optional_valtype(reader), optional_valtype(reader))


def own(reader: Reader) -> OwnDef:
    return OwnDef(typeidx(reader))


def borrow(reader: Reader) -> BorrowDef:
    return BorrowDef(typeidx(reader))


def stream(reader: Reader) -> StreamDef:
    return StreamDef(optional_valtype(reader))


def future(reader: Reader) -> FutureDef:
    return FutureDef(optional_valtype(reader))


def map_type(reader: Reader) -> MapDef:
    return MapDef(valtype(reader), valtype(reader))


COMPOUND_TYPES: dict[int, Callable[[Reader], DefValType]] = {
    0x72: record,
    0x71: variant,
    0x70: list_type,
    0x67: fixed_length_list,
    0x6F: tuple_type,
    0x6E: flags,
    0x6D: enum,
    0x6B: option,
    0x6A: result,
    0x69: own,
    0x68: borrow,
    0x66: stream,
    0x65: future,
    0x63: map_type,
}

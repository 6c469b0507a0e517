"""Where the parts of a value lie in memory and among core values (CanonicalABI.md, "Alignment" to "Flattening").

Every function is memoised by type, so a type that shares its parts costs no more than its parts; and flattening stops
past the largest limit, so a fixed-length list of any length is cheap.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

from ..types import (
    CoreFuncType,
    CoreValType,
    EnumType,
    FlagsType,
    FuncType,
    ListType,
    MapType,
    OptionType,
    PointerType,
    PrimitiveType,
    RecordType,
    ResultType,
    TupleType,
    ValType,
    VariantType,
)

MAX_FLAT_PARAMS = 16
MAX_FLAT_ASYNC_PARAMS = 4
MAX_FLAT_RESULTS = 1
MAX_LIST_BYTE_LENGTH = (1 << 28) - 1
MAX_STRING_BYTE_LENGTH = (1 << 28) - 1
REALLOC_I32_MAX = (1 << 32) - 1

PRIMITIVE_SIZES: dict[PrimitiveType, int] = {
    PrimitiveType.BOOL: 1,
    PrimitiveType.S8: 1,
    PrimitiveType.U8: 1,
    PrimitiveType.S16: 2,
    PrimitiveType.U16: 2,
    PrimitiveType.S32: 4,
    PrimitiveType.U32: 4,
    PrimitiveType.S64: 8,
    PrimitiveType.U64: 8,
    PrimitiveType.F32: 4,
    PrimitiveType.F64: 8,
    PrimitiveType.CHAR: 4,
    PrimitiveType.ERROR_CONTEXT: 4,
}
NUMBER_FORMATS: dict[PrimitiveType, str] = {
    PrimitiveType.S8: "b",
    PrimitiveType.U8: "B",
    PrimitiveType.S16: "h",
    PrimitiveType.U16: "H",
    PrimitiveType.S32: "i",
    PrimitiveType.U32: "I",
    PrimitiveType.S64: "q",
    PrimitiveType.U64: "Q",
    PrimitiveType.F32: "f",
    PrimitiveType.F64: "d",
}
"""The letter of each number type, as the standard library's `struct` (with "<") and `array` write it."""

UNSIGNED = {1: "B", 2: "H", 4: "I", 8: "Q"}
"""The letter of an unsigned number by its size in bytes."""

WIDE: dict[PrimitiveType, CoreValType] = {
    PrimitiveType.S64: "i64",
    PrimitiveType.U64: "i64",
    PrimitiveType.F32: "f32",
    PrimitiveType.F64: "f64",
}


def pointer_size(pointer: PointerType) -> int:
    return 4 if pointer == "i32" else 8


def align_to(offset: int, alignment: int) -> int:
    """The next multiple of `alignment`, a power of two."""
    return (offset + alignment - 1) & -alignment


def discriminant_size(case_count: int) -> int:
    """The bytes of the discriminant of a variant with so many cases: 1, 2 or 4."""
    return 1 if case_count <= 1 << 8 else 2 if case_count <= 1 << 16 else 4


def flags_size(label_count: int) -> int:
    """The bytes of flags with so many labels: 1, 2 or 4."""
    assert 0 < label_count <= 32
    return 1 if label_count <= 8 else 2 if label_count <= 16 else 4


def case_payloads(t: VariantType | OptionType | ResultType) -> tuple[ValType | None, ...]:
    """The payload type of each case, in the order of their discriminants."""
    if isinstance(t, OptionType):
        return (None, t.payload)
    if isinstance(t, ResultType):
        return (t.ok, t.error)
    return tuple(payload for _, payload in t.cases)


@lru_cache(maxsize=1 << 14)
def alignment(t: ValType, pointer: PointerType) -> int:
    """The alignment of a value of type `t` in bytes: 1, 2, 4 or 8."""
    match t:
        case PrimitiveType.STRING | ListType(length=None) | MapType():
            return pointer_size(pointer)
        case PrimitiveType():
            return PRIMITIVE_SIZES[t]
        case RecordType() | TupleType() | ListType():
            return max((alignment(part, pointer) for part in t.parts()), default=1)
        case VariantType() | OptionType() | ResultType():
            return max(discriminant_size(len(case_payloads(t))), payload_alignment(t, pointer))
        case EnumType():
            return discriminant_size(len(t.labels))
        case FlagsType():
            return flags_size(len(t.labels))
        case _:
            return 4


def payload_alignment(t: VariantType | OptionType | ResultType, pointer: PointerType) -> int:
    return max((alignment(part, pointer) for part in t.parts()), default=1)


def payload_offset(t: VariantType | OptionType | ResultType, pointer: PointerType) -> int:
    """Where the payload of a variant lies, in bytes from the variant's start."""
    return align_to(discriminant_size(len(case_payloads(t))), payload_alignment(t, pointer))


@lru_cache(maxsize=1 << 14)
def elem_size(t: ValType | None, pointer: PointerType) -> int:
    """The bytes of a value of type `t` as an element of a list; 0 for None, a stream or future without payload."""
    match t:
        case None:
            return 0
        case PrimitiveType.STRING | ListType(length=None) | MapType():
            return 2 * pointer_size(pointer)
        case PrimitiveType():
            return PRIMITIVE_SIZES[t]
        case ListType(elem_type=elem_type, length=int(length)):
            return length * elem_size(elem_type, pointer)
        case RecordType() | TupleType():
            return align_to(record_offsets(t.parts(), pointer)[-1], alignment(t, pointer))
        case VariantType() | OptionType() | ResultType():
            largest = max((elem_size(part, pointer) for part in t.parts()), default=0)
            return align_to(payload_offset(t, pointer) + largest, alignment(t, pointer))
        case EnumType() | FlagsType():
            return alignment(t, pointer)
        case _:
            return 4


def record_offsets(types: Iterable[ValType], pointer: PointerType) -> list[int]:
    """Where each part of a record lies, in bytes from the record's start, and where the last one ends."""
    offsets, end = [], 0
    for part in types:
        offset = align_to(end, alignment(part, pointer))
        offsets.append(offset)
        end = offset + elem_size(part, pointer)
    return [*offsets, end]


def join(a: CoreValType, b: CoreValType) -> CoreValType:
    """The core type whose bits can hold those of either."""
    if a == b:
        return a
    return "i32" if {a, b} == {"i32", "f32"} else "i64"


FLAT_CUT = MAX_FLAT_PARAMS + 1


@lru_cache(maxsize=1 << 14)
def flatten(t: ValType, pointer: PointerType) -> tuple[CoreValType, ...]:
    """The core types that a value of type `t` is passed as.

    At most `MAX_FLAT_PARAMS + 1` of them: a longer answer is cut, so it can still be told that they don't fit.
    """
    match t:
        case PrimitiveType.STRING | ListType(length=None) | MapType():
            return (pointer, pointer)
        case PrimitiveType():
            return (WIDE.get(t, "i32"),)
        case ListType(elem_type=elem_type, length=int(length)):
            return (flatten(elem_type, pointer) * min(length, FLAT_CUT))[:FLAT_CUT]
        case RecordType() | TupleType():
            return flatten_types(t.parts(), pointer)
        case VariantType() | OptionType() | ResultType():
            flat: list[CoreValType] = []
            for part in t.parts():
                for i, core_type in enumerate(flatten(part, pointer)):
                    if i < len(flat):
                        flat[i] = join(flat[i], core_type)
                    else:
                        flat.append(core_type)
            return ("i32", *flat)[:FLAT_CUT]
        case _:
            return ("i32",)


def flatten_types(types: Iterable[ValType], pointer: PointerType) -> tuple[CoreValType, ...]:
    """The core types of several values in sequence, cut like those of one."""
    flat: tuple[CoreValType, ...] = ()
    for t in types:
        flat = (flat + flatten(t, pointer))[:FLAT_CUT]
        if len(flat) == FLAT_CUT:
            break
    return flat


def flatten_count(types: Iterable[ValType], pointer: PointerType, limit: int = MAX_FLAT_PARAMS) -> int:
    """How many core values several values are passed as; `limit + 1` stands for any number beyond the limit."""
    assert limit <= MAX_FLAT_PARAMS
    return min(len(flatten_types(types, pointer)), limit + 1)


def flatten_func(
    ft: FuncType, pointer: PointerType, context: Literal["lift", "lower"], is_async: bool, has_callback: bool
) -> CoreFuncType:
    """The core type of a lifted or lowered function; `is_async` and `has_callback` are its canonical options."""
    params = flatten_types(ft.param_types, pointer)
    results = () if ft.result is None else flatten(ft.result, pointer)
    max_params = MAX_FLAT_ASYNC_PARAMS if is_async and context == "lower" else MAX_FLAT_PARAMS
    if len(params) > max_params:
        params = (pointer,)
    if is_async:
        if context == "lift":
            return CoreFuncType(params, ("i32",) if has_callback else ())
        return CoreFuncType((*params, pointer) if results else params, ("i32",))
    if len(results) > MAX_FLAT_RESULTS:
        return CoreFuncType(params, (pointer,)) if context == "lift" else CoreFuncType((*params, pointer), ())
    return CoreFuncType(params, results)


INLINE_WEIGHT = 24


@lru_cache(maxsize=1 << 14)
def weight(t: ValType) -> int:
    """How much code it takes to convert a value of type `t` in place; what has a function of its own counts 1."""
    match t:
        case ListType(elem_type=elem_type, length=int(length)) if elem_type is not PrimitiveType.U8:
            return length * weight(elem_type)
        case RecordType() | TupleType() | OptionType() | ResultType():
            return 1 + sum(map(weight, t.parts()))
        case _:
            return 1


def is_inline(t: ValType) -> bool:
    """Whether converters for the types that contain `t` convert it in place, not through a function of its own.

    The bound keeps the code of one converter in proportion to the definition of its type.
    """
    return weight(t) <= INLINE_WEIGHT

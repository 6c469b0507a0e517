"""Values copied from one memory to another as they are (CanonicalABI.md, "Loading" and "Storing", fused)."""

from __future__ import annotations

from functools import lru_cache

from ..types import ListType, PrimitiveType, RecordType, TupleType, ValType
from .context import Context
from .layout import NUMBER_FORMATS, PRIMITIVE_SIZES, elem_size
from .memory import allocate


@lru_cache(maxsize=1 << 12)
def is_plain(t: ValType | None) -> bool:
    """Whether every bit pattern is a value of type `t`, and the same one in every instance: such values are copied as
    bytes. A record's padding is copied with it, and a NaN keeps its bits."""
    match t:
        case PrimitiveType():
            return t in NUMBER_FORMATS
        case RecordType() | TupleType():
            return all(map(is_plain, t.parts()))
        case ListType(elem_type=elem_type, length=int()):
            return is_plain(elem_type)
        case _:
            return False


@lru_cache(maxsize=1 << 12)
def is_packed(t: ValType) -> bool:
    """Whether values of type `t` are plain and have no padding, so that nothing but them is copied."""
    return is_plain(t) and packed_size(t) == elem_size(t, "i32")


@lru_cache(maxsize=1 << 12)
def packed_size(t: ValType) -> int:
    """The bytes of the numbers in a plain type."""
    match t:
        case PrimitiveType():
            return PRIMITIVE_SIZES[t]
        case ListType(elem_type=elem_type, length=int(length)):
            return length * packed_size(elem_type)
        case _:
            assert isinstance(t, RecordType | TupleType)
            return sum(map(packed_size, t.parts()))


def copy_elements(
    source: memoryview, source_pointer: int, target: memoryview, target_pointer: int, byte_count: int
) -> None:
    """Copies bytes between two memories, or within one where the ranges may overlap. The caller has checked both."""
    target[target_pointer : target_pointer + byte_count] = source[source_pointer : source_pointer + byte_count]


def copy_block(source: Context, target: Context, pointer: int, size: int, alignment: int) -> int:
    """Copies a checked range of the source's memory to a new allocation in the target's, and answers where that is."""
    allocated = allocate(target, alignment, size)
    copy_elements(source.memory.view, pointer, target.memory.view, allocated, size)
    return allocated

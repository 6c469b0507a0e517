"""Values copied from one memory to another as they are (CanonicalABI.md, "Loading" and "Storing", fused)."""

from __future__ import annotations

from functools import lru_cache

from ..types import ListType, PrimitiveType, RecordType, TupleType, ValType
from .context import Context
from .layout import NUMBER_FORMATS, PRIMITIVE_SIZES, elem_size
from .memory import allocate


@lru_cache(maxsize=1 << 12)
def is_plain(t: ValType | None) -> bool:
    """Whether every bit pattern is a value of type `t`, the same one in every instance, and has no padding: such values
    are copied as bytes, where a NaN keeps its bits."""
    return t is not None and plain_size(t) == elem_size(t, "i32")


@lru_cache(maxsize=1 << 12)
def plain_size(t: ValType) -> int:
    """The bytes of the numbers in a type that is made of nothing else, or -1."""
    match t:
        case PrimitiveType():
            return PRIMITIVE_SIZES[t] if t in NUMBER_FORMATS else -1
        case ListType(elem_type=elem_type, length=int(length)):
            return length * plain_size(elem_type)
        case RecordType() | TupleType():
            sizes = list(map(plain_size, t.parts()))
            return -1 if min(sizes, default=0) < 0 else sum(sizes)
        case _:
            return -1


def copy_elements(
    source: memoryview, source_pointer: int, target: memoryview, target_pointer: int, byte_count: int
) -> None:
    """Copies bytes between two memories, or within one where the ranges may overlap. The caller has checked both."""
    target[target_pointer : target_pointer + byte_count] = source[source_pointer : source_pointer + byte_count]


def copy_block(source: Context, target: Context, pointer: int, size: int, alignment: int) -> int:
    """Copies a checked range of the source's memory to a new allocation in the target's, and answers where that is."""
    allocated = allocate(target, alignment, size)
    target.memory.view[allocated : allocated + size] = source.memory.view[pointer : pointer + size]
    return allocated

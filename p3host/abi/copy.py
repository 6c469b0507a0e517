"""Values copied from one memory to another as they are (CanonicalABI.md, "Loading" and "Storing", fused)."""

from __future__ import annotations

from functools import lru_cache

from ..types import ListType, PrimitiveType, RecordType, TupleType, ValType
from .layout import NUMBER_FORMATS


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


def copy_elements(
    source: memoryview, source_pointer: int, target: memoryview, target_pointer: int, byte_count: int
) -> None:
    """Copies bytes between two memories, or within one where the ranges may overlap. The caller has checked both."""
    target[target_pointer : target_pointer + byte_count] = source[source_pointer : source_pointer + byte_count]

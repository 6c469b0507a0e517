"""Many elements of one type copied at once, where their layout is the same in every memory.

The elements are copied as bytes. What not every bit pattern is a value of, or what has to become the same bits for the
same value, is looked at column by column: all bytes that lie at one offset of each element.
"""

from __future__ import annotations

from functools import lru_cache

from ..types import (
    EnumType,
    FlagsType,
    ListType,
    OptionType,
    PrimitiveType,
    RecordType,
    ResultType,
    TupleType,
    ValType,
    VariantType,
)
from .copy import is_plain
from .layout import align_to, alignment, case_payloads, elem_size, record_offsets

MAX_COLUMNS = 32
MIN_ELEMENTS = 16  # fewer are converted faster one by one
ALL_BYTES = bytes(range(256))
ZEROS = bytes(256)
BOOLS = bytes([0]) + bytes([1]) * 255


class Columns:
    """The columns of a type: `changed` have a table that says what becomes of each byte, `limited` the bytes that are
    valid, and `chars` are the offsets of Unicode scalar values."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.changed: list[tuple[int, bytes]] = []
        self.limited: list[tuple[int, bytes]] = []
        self.chars: list[int] = []

    @property
    def count(self) -> int:
        return len(self.changed) + len(self.limited) + len(self.chars)

    def are_valid(self, memory: memoryview, pointer: int, count: int) -> bool:
        elements = memory[pointer : pointer + count * self.size]
        for offset, valid in self.limited:
            if elements[offset :: self.size].tobytes().translate(None, valid):
                return False
        for offset in self.chars:
            try:
                str(elements.cast("I")[offset // 4 :: self.size // 4].tobytes(), "utf-32-le")
            except UnicodeDecodeError:
                return False
        return True

    def change(self, memory: memoryview, pointer: int, count: int) -> None:
        """Changes elements that have been copied."""
        elements = memory[pointer : pointer + count * self.size]
        for offset, table in self.changed:
            column = elements[offset :: self.size]
            column[:] = column.tobytes().translate(table)


@lru_cache(maxsize=1 << 12)
def columns_of(t: ValType) -> Columns | None:
    """The columns of a type whose values hold no pointer, no handle and no payload of a variant; else None."""
    columns = Columns(elem_size(t, "i32"))
    if is_plain(t) or not add_columns(columns, t, 0):
        return None
    return columns


def add_columns(columns: Columns, t: ValType, at: int) -> bool:
    """Adds those of a value at an offset, unless there are too many of them or it has other parts."""
    if is_plain(t):
        return True
    match t:
        case PrimitiveType.BOOL:
            columns.changed.append((at, BOOLS))
        case PrimitiveType.CHAR:
            columns.chars.append(at)
        case RecordType() | TupleType():
            return add_parts(columns, t, t.parts(), at)
        case ListType(elem_type=elem_type, length=int(length)):
            return length <= MAX_COLUMNS and add_parts(columns, t, (elem_type,) * length, at)
        case FlagsType():
            mask = (1 << len(t.labels)) - 1
            for i, valid in enumerate(mask.to_bytes(elem_size(t, "i32"), "little")):
                if valid != 0xFF:
                    columns.changed.append((at + i, bytes(byte & valid for byte in ALL_BYTES)))
        case EnumType():
            return add_discriminant(columns, len(t.labels), at)
        case VariantType() | OptionType() | ResultType():
            return not t.parts() and add_discriminant(columns, len(case_payloads(t)), at)
        case _:
            return False
    return columns.count <= MAX_COLUMNS


def add_discriminant(columns: Columns, count: int, at: int) -> bool:
    if count < 1 << 8:
        columns.limited.append((at, ALL_BYTES[:count]))
    return count <= 1 << 8 and columns.count <= MAX_COLUMNS


def add_parts(columns: Columns, t: ValType, parts: tuple[ValType, ...], at: int) -> bool:
    """Those of the parts, and of the padding after each, which becomes zeros."""
    *offsets, end = record_offsets(parts, "i32")
    for part, offset, following in zip(parts, offsets, [*offsets[1:], align_to(end, alignment(t, "i32"))], strict=True):
        if not add_columns(columns, part, at + offset):
            return False
        padding = range(at + offset + elem_size(part, "i32"), at + following)
        columns.changed += [(byte, ZEROS) for byte in padding]
    return columns.count <= MAX_COLUMNS

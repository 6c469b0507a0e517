"""Reads the primitive productions of the binary format: bytes, LEB128 integers, names and vectors.

A position is always an offset from the start of the file, also in a reader of one section or of a nested component.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..errors import DecodeError

T = TypeVar("T")

MAX_NAME_LENGTH = 100_000  # bytes; the specification sets no limit, other implementations take this one
MAX_NESTING = 50  # of components and types in one another


class Reader:
    """A position in a file, with the end of what may be read from there.

    `depth` counts the components and types that the position is nested in. Whatever is malformed is a `DecodeError`
    with the offset of the first byte that is wrong.
    """

    __slots__ = ("data", "depth", "end", "position")

    def __init__(self, data: bytes | memoryview, start: int = 0, end: int | None = None) -> None:
        self.data = data
        self.position = start
        self.end = len(data) if end is None else end
        self.depth = 0
        assert 0 <= self.position <= self.end <= len(data)

    @property
    def remaining(self) -> int:
        return self.end - self.position

    def byte(self, what: str) -> int:
        position = self.position
        if position >= self.end:
            raise self.unexpected_end(what)
        self.position = position + 1
        return self.data[position]

    def peek(self, what: str) -> int:
        if self.position >= self.end:
            raise self.unexpected_end(what)
        return self.data[self.position]

    def flag(self, what: str) -> bool:
        """A byte that is 0x00 or 0x01."""
        value = self.byte(what)
        if value > 1:
            raise self.unexpected(value, f"0x00 or 0x01 for {what}")
        return value == 1

    def zero(self, what: str) -> None:
        value = self.byte(what)
        if value != 0:
            raise self.unexpected(value, f"0x00 for {what}")

    def u32(self, what: str) -> int:
        position = self.position
        if position < self.end and self.data[position] < 0x80:
            self.position = position + 1
            return self.data[position]
        return self.unsigned(32, what)

    def unsigned(self, bits: int, what: str) -> int:
        """An unsigned LEB128 integer below 2^bits. It may be padded, but not beyond the bytes that `bits` can need."""
        start = self.position
        value = 0
        for shift in range(0, bits, 7):
            byte = self.byte(what)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> bits:
                    raise DecodeError(f"integer too large: {what} has more than {bits} bits", start)
                return value
        raise DecodeError(f"integer representation too long: {what} has at most {bits} bits", start)

    def signed(self, bits: int, what: str) -> int:
        """A signed LEB128 integer of two's complement in `bits` bits."""
        start = self.position
        value = 0
        for shift in range(0, bits, 7):
            byte = self.byte(what)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte & 0x40:
                    value -= 1 << (shift + 7)
                if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
                    raise DecodeError(f"integer too large: {what} has more than {bits} bits", start)
                return value
        raise DecodeError(f"integer representation too long: {what} has at most {bits} bits", start)

    def s33(self, what: str) -> int:
        return self.signed(33, what)

    def name(self, what: str) -> str:
        start = self.position
        length = self.u32(f"the length of {what}")
        if length > self.remaining:
            raise DecodeError(f"unexpected end: {what} has {length} bytes, only {self.remaining} remain", start)
        if length > MAX_NAME_LENGTH:
            raise DecodeError(f"{what} has {length} bytes, more than the {MAX_NAME_LENGTH} that are supported", start)
        encoded = self.data[self.position : self.position + length]
        try:
            text = str(encoded, "utf-8")
        except UnicodeDecodeError as error:
            raise DecodeError(f"malformed UTF-8 encoding in {what}", self.position + error.start) from None
        self.position += length
        return text

    def count(self, what: str, limit: int) -> int:
        """The length of a vector. Each element has a byte at least, so what remains bounds it."""
        start = self.position
        count = self.u32(f"the number of {what}")
        if count > self.remaining:
            raise DecodeError(f"unexpected end: {count} {what} don't fit into {self.remaining} bytes", start)
        if count > limit:
            raise DecodeError(f"{count} {what}, more than the {limit} that are supported", start)
        return count

    def vec(self, item: Callable[[Reader], T], what: str, limit: int = 1_000_000) -> tuple[T, ...]:
        items = []
        for _ in range(self.count(what, limit)):
            items.append(item(self))
        return tuple(items)

    def optional(self, item: Callable[[Reader], T], what: str) -> T | None:
        return item(self) if self.flag(f"whether {what} is present") else None

    def part(self, size: int, what: str) -> Reader:
        """A reader of the next `size` bytes, which this one passes over."""
        if size > self.remaining:
            raise DecodeError(
                f"unexpected end: {what} has {size} bytes, but only {self.remaining} remain", self.position
            )
        start = self.position
        self.position += size
        part = Reader(self.data, start, self.position)
        part.depth = self.depth
        return part

    def enter(self) -> None:
        """A component or a type with declarations begins."""
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise DecodeError(f"components and types nest more than {MAX_NESTING} deep", self.position)

    def leave(self) -> None:
        self.depth -= 1

    def view(self) -> memoryview:
        """What remains, without a copy."""
        return memoryview(self.data)[self.position : self.end]

    def finish(self, what: str) -> None:
        if self.position != self.end:
            raise DecodeError(f"{self.remaining} unexpected bytes at the end of {what}", self.position)

    def unexpected(self, byte: int, expected: str) -> DecodeError:
        """The error for the byte that was just read."""
        return DecodeError(f"invalid byte {byte:#04x}: expected {expected}", self.position - 1)

    def unexpected_end(self, expected: str) -> DecodeError:
        return DecodeError(f"unexpected end: expected {expected}", self.end)

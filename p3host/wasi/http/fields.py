"""`wasi:http/types`: the resource `fields`, as it is in 0.3 and what 0.2 makes its own of; what fields take of the
host's memory."""

from __future__ import annotations

import math
from typing import ClassVar, Self

from ...errors import Err, Trap
from .messages import ErrorCode, HeaderList
from .syntax import FIELD_VALUE, FORBIDDEN, NO_TRAILERS, end_to_end, is_token

MAX_FIELDS = 1024
MAX_BYTES = 128 << 10  # of all names and values together
MAX_HELD = 64 << 20  # bytes of the host's memory that an instance's fields and requests may take
FIELD_OVERHEAD = 128  # bytes that a field takes beside its name and value, about


class Allowance:
    """How many bytes of the host's memory the fields and requests of one instance may yet take, all together."""

    def __init__(self, left: float = math.inf) -> None:
        self.left = left


class Charged:
    """An object whose memory is taken from an allowance for as long as it lives."""

    allowance = Allowance()
    charged = 0

    def charge(self, size: int) -> bool:
        """Says how many bytes the object is going to take, or returns False if that is too much."""
        change = size - self.charged
        if change > self.allowance.left:
            return False
        self.allowance.left -= change
        self.charged = size
        return True

    def __del__(self) -> None:
        self.allowance.left += self.charged


class Fields(Charged):
    """The resource `fields`: headers or trailers.

    A name keeps the case in which it was first used. Its errors are the cases of `header-error`.
    """

    too_large: ClassVar[str] = "size-exceeded"

    def __init__(self) -> None:
        self.lines: list[tuple[str, bytes]] = []
        self.size = 0
        self.mutable = True

    @classmethod
    def from_list(cls, entries: list[tuple[str, bytes]]) -> Self:
        fields = cls()
        known: dict[str, str] = {}
        for name, value in entries:
            check_settable(name)
            check_value(value)
            known.setdefault(name.lower(), name)
        fields.account(len(entries), size_of(entries))
        fields.lines = [(known[name.lower()], value) for name, value in entries]
        return fields

    def get(self, name: str) -> list[bytes]:
        name = name.lower()
        return [value for known, value in self.lines if known.lower() == name]

    def has(self, name: str) -> bool:
        name = name.lower()
        return any(known.lower() == name for known, _ in self.lines)

    def set(self, name: str, value: list[bytes]) -> None:
        self.check_mutable()
        check_settable(name)
        for each in value:
            check_value(each)
        self.replace([*self.without(name), *((name, each) for each in value)])

    def delete(self, name: str) -> None:
        self.get_and_delete(name)

    def get_and_delete(self, name: str) -> list[bytes]:
        self.check_mutable()
        check_name(name)
        values = self.get(name)
        self.replace(self.without(name))
        return values

    def append(self, name: str, value: bytes) -> None:
        self.check_mutable()
        check_settable(name)
        check_value(value)
        self.account(len(self.lines) + 1, self.size + len(name) + len(value))
        lowered = name.lower()
        self.lines.append((next((known for known, _ in self.lines if known.lower() == lowered), name), value))

    def copy_all(self) -> list[tuple[str, bytes]]:
        return self.lines

    def clone(self) -> Self:
        copy = type(self)()
        copy.allowance = self.allowance
        try:
            copy.account(len(self.lines), self.size)
        except Err:
            raise Trap("the fields of an instance take too much of the host's memory") from None
        copy.lines = list(self.lines)
        return copy

    # What the WIT does not name

    @classmethod
    def received(cls, entries: HeaderList, kind: str, allowance: Allowance | None = None) -> Self:
        """Immutable fields of a message from outside, without those that tell of its connection. `kind` is the error
        for too many of them, such as `HTTP-response-header-section-size`.

        :raises Err: they are malformed or too many; with an `ErrorCode`
        """
        fields = cls()
        if allowance is not None:
            fields.allowance = allowance
        lines: list[tuple[str, bytes]] = []
        for name, value in entries:
            if not is_token(name) or not FIELD_VALUE.fullmatch(value):
                raise Err(ErrorCode("HTTP-protocol-error"))
            lines.append((name, bytes(value)))
        fields.lines = end_to_end(lines)
        size = size_of(fields.lines)
        try:
            fields.account(len(fields.lines), size)
        except Err:
            raise Err(ErrorCode(kind, min(size, 0xFFFFFFFF))) from None
        return fields.frozen()

    def sent(self) -> HeaderList:
        """As they go out: whitespace around a value is no part of it."""
        return [(name, value.strip(b" \t")) for name, value in self.lines]

    def sent_as_trailers(self) -> HeaderList:
        return [(name, value) for name, value in self.sent() if name.lower() not in NO_TRAILERS]

    def frozen(self) -> Self:
        self.mutable = False
        return self

    def check_mutable(self) -> None:
        if not self.mutable:
            raise Err("immutable")

    def account(self, count: int, size: int) -> None:
        """Accounts for the number and the size that the fields are about to have."""
        if count > MAX_FIELDS or size > MAX_BYTES or not self.charge(size + count * FIELD_OVERHEAD):
            raise Err(self.too_large)
        self.size = size

    def without(self, name: str) -> list[tuple[str, bytes]]:
        name = name.lower()
        return [(known, value) for known, value in self.lines if known.lower() != name]

    def replace(self, entries: list[tuple[str, bytes]]) -> None:
        self.account(len(entries), size_of(entries))
        self.lines = entries


def size_of(entries: HeaderList) -> int:
    return sum(len(name) + len(value) for name, value in entries)


def check_name(name: str) -> None:
    if not is_token(name):
        raise Err("invalid-syntax")


def check_settable(name: str) -> None:
    check_name(name)
    if name.lower() in FORBIDDEN:
        raise Err("forbidden")


def check_value(value: bytes) -> None:
    if not FIELD_VALUE.fullmatch(value):
        raise Err("invalid-syntax")

"""`wasi:http/types` 0.3: the resource `fields`."""

from __future__ import annotations

from collections.abc import Iterable

from ...errors import Err
from ..http_messages import ErrorCode, HeaderList
from .http_syntax import FIELD_VALUE, FORBIDDEN, is_token

MAX_FIELDS = 1024
MAX_BYTES = 128 << 10  # of all names and values together


class Fields:
    """The resource `fields`: headers or trailers.

    A name keeps the case in which it was first used. Its errors are the cases of `header-error`.
    """

    def __init__(self) -> None:
        self.entries: list[tuple[str, bytes]] = []
        self.size = 0
        self.mutable = True

    @staticmethod
    def from_list(entries: list[tuple[str, bytes]]) -> Fields:
        fields = Fields()
        known: dict[str, str] = {}
        for name, value in entries:
            check_settable(name)
            check_value(value)
            fields.grow(name, [value])
            fields.entries.append((known.setdefault(name.lower(), name), value))
        return fields

    def get(self, name: str) -> list[bytes]:
        name = name.lower()
        return [value for known, value in self.entries if known.lower() == name]

    def has(self, name: str) -> bool:
        name = name.lower()
        return any(known.lower() == name for known, _ in self.entries)

    def set(self, name: str, value: list[bytes]) -> None:
        self.check_mutable()
        check_settable(name)
        for each in value:
            check_value(each)
        before = self.entries, self.size
        self.remove(name)
        try:
            self.grow(name, value)
        except Err:
            self.entries, self.size = before
            raise
        self.entries += [(name, each) for each in value]

    def delete(self, name: str) -> None:
        self.get_and_delete(name)

    def get_and_delete(self, name: str) -> list[bytes]:
        self.check_mutable()
        check_name(name)
        values = self.get(name)
        self.remove(name)
        return values

    def append(self, name: str, value: bytes) -> None:
        self.check_mutable()
        check_settable(name)
        check_value(value)
        self.grow(name, [value])
        lowered = name.lower()
        self.entries.append((next((known for known, _ in self.entries if known.lower() == lowered), name), value))

    def copy_all(self) -> list[tuple[str, bytes]]:
        return self.entries

    def clone(self) -> Fields:
        copy = Fields()
        copy.entries, copy.size = list(self.entries), self.size
        return copy

    # What the WIT does not name

    @classmethod
    def received(cls, entries: HeaderList, kind: str) -> Fields:
        """Immutable fields of a message from outside, without those that tell of its connection. `kind` is the error
        for too many of them, such as `HTTP-response-header-section-size`.

        :raises Err: they are malformed or too many; with an `ErrorCode`
        """
        fields = cls()
        for name, value in entries:
            if not is_token(name) or not FIELD_VALUE.fullmatch(value):
                raise Err(ErrorCode("HTTP-protocol-error"))
            if name.lower() not in FORBIDDEN:
                fields.entries.append((name, bytes(value)))
                fields.size += len(name) + len(value)
        if len(fields.entries) > MAX_FIELDS or fields.size > MAX_BYTES:
            raise Err(ErrorCode(kind, min(fields.size, 0xFFFFFFFF)))
        return fields.frozen()

    def sent(self) -> HeaderList:
        """As they go out: whitespace around a value is no part of it."""
        return [(name, value.strip(b" \t")) for name, value in self.entries]

    def frozen(self) -> Fields:
        self.mutable = False
        return self

    def check_mutable(self) -> None:
        if not self.mutable:
            raise Err("immutable")

    def grow(self, name: str, values: Iterable[bytes]) -> None:
        """Accounts for values that are about to be added."""
        sizes = [len(name) + len(value) for value in values]
        if len(self.entries) + len(sizes) > MAX_FIELDS or self.size + sum(sizes) > MAX_BYTES:
            raise Err("size-exceeded")
        self.size += sum(sizes)

    def remove(self, name: str) -> None:
        name = name.lower()
        self.size -= sum(len(known) + len(value) for known, value in self.entries if known.lower() == name)
        self.entries = [(known, value) for known, value in self.entries if known.lower() != name]


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

"""Index tables of handles and threads (CanonicalABI.md, "Table State")."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from ..errors import Trap

Entry = TypeVar("Entry")

MAX_LENGTH = 2**28 - 1


class Table(Generic[Entry]):
    """Entries by index, starting at 1. The index freed last is given out first, as the specification says.

    `limit` bounds the number of indices, so that a guest that never drops a handle ends with a trap.
    """

    __slots__ = ("array", "free", "kind", "limit")

    def __init__(self, kind: str, limit: int = MAX_LENGTH) -> None:
        self.array: list[Entry | None] = [None]
        self.free: list[int] = []
        self.kind = kind
        self.limit = min(limit, MAX_LENGTH)

    def __iter__(self) -> Iterator[Entry]:
        return (entry for entry in self.array if entry is not None)

    def __len__(self) -> int:
        return len(self.array) - 1 - len(self.free)

    def get(self, index: int) -> Entry:
        """Traps when nothing has that index."""
        array = self.array
        entry = array[index] if index < len(array) else None
        if entry is None:
            raise Trap(f"unknown {self.kind} index {index}")
        return entry

    def add(self, entry: Entry) -> int:
        """Traps when the table is full."""
        if self.free:
            index = self.free.pop()
            self.array[index] = entry
            return index
        index = len(self.array)
        if index > self.limit:
            raise Trap(f"the {self.kind} table is full: {self.limit} entries are in use")
        self.array.append(entry)
        return index

    def remove(self, index: int) -> Entry:
        entry = self.get(index)
        self.array[index] = None
        self.free.append(index)
        return entry


class WatchedTable(Table[Entry]):
    """One that tells of each entry when it is added."""

    __slots__ = ("on_add",)

    def __init__(self, kind: str, limit: int, on_add: Callable[[object], None]) -> None:
        super().__init__(kind, limit)
        self.on_add = on_add

    def add(self, entry: Entry) -> int:
        index = super().add(entry)
        self.on_add(entry)
        return index

"""What lifting and lowering need of the world around them (CanonicalABI.md, "Lifting and Lowering Context").

`runtime/` implements these protocols for guests; the tests implement them over a bytearray.
"""

from __future__ import annotations

from typing import Any, Protocol

from ..types import BorrowType, FutureType, OwnType, StreamType


class Memory(Protocol):
    """A linear memory. `view` (writable, of format "B") covers at least the bytes that the memory had when it was last
    refreshed: a memory only grows and never moves, so a check against a stale view can only fail too early. Check
    against `view`; where that fails, check again against what `refresh()` returns."""

    view: memoryview

    def refresh(self) -> memoryview:
        """Sets and returns a `view` of the memory's present size."""


class Context(Protocol):
    """The memory, the allocator and the handle tables of the component instance on whose side a value is lifted or
    lowered. What a handle is lifted to, and what can be lowered as one, is up to the implementation.

    `lifted_bytes` is what the lists and strings of the last arguments took of the host's memory, about."""

    memory: Memory
    lifted_bytes: int

    def realloc(self, old: int, old_size: int, alignment: int, new_size: int) -> int:
        """Calls the guest's `realloc`. The result isn't checked yet. The memory may have grown."""

    def lift_own(self, handle: int, t: OwnType) -> Any: ...

    def lift_borrow(self, handle: int, t: BorrowType) -> Any: ...

    def lift_stream(self, handle: int, t: StreamType) -> Any: ...

    def lift_future(self, handle: int, t: FutureType) -> Any: ...

    def lift_error_context(self, handle: int) -> Any: ...

    def lower_own(self, value: Any, t: OwnType) -> int: ...

    def lower_borrow(self, value: Any, t: BorrowType) -> int: ...

    def lower_stream(self, value: Any, t: StreamType) -> int: ...

    def lower_future(self, value: Any, t: FutureType) -> int: ...

    def lower_error_context(self, value: Any) -> int: ...

"""What the specification says of the ends of streams and futures, as a model that knows nothing of the runtime.

(CanonicalABI.md, "Stream State", "Future State", "Waitable State", and the built-ins of streams and futures.)

A channel's elements are numbered in the order in which a reader has to see them: a writer always offers the first
numbers that have not been copied yet. So nothing is lost or doubled, and the order is kept, exactly if a reader that
has read n elements has read 0 to n - 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

COMPLETED, DROPPED, CANCELLED = range(3)

IN_PROGRESS = "cannot start a copy on a .* while another is in progress"
GONE = "cannot copy on a .* after its other end was dropped or it is done"
IN_SET = "is used synchronously while added to a waitable set"
NO_COPY = "no copy to cancel is in progress"
WAITED_FOR = "that a thread waits for"
WHILE_COPYING = "cannot drop a .* while a copy is in progress"
NOT_WRITTEN = "that was not written to"
SAME_INSTANCE = "within one instance, unless its values are numbers"
PASSED_COPYING = "cannot pass on a .* while it is copying"
PASSED_DONE = "cannot pass on a .* whose other end was dropped or is done"
PASSED_IN_SET = "cannot pass on a .* while it is in a waitable set"
JOIN_WAITED_FOR = "cannot join a waitable to a set while a thread waits for it"


class State(Enum):
    IDLE = 1
    COPYING = 2
    DONE = 3


@dataclass(eq=False)
class Copy:
    """A copy that an end has started and whose outcome it was not told yet. `size` is the length of its buffer,
    `result` the outcome that it is owed. While the buffer is `offered`, the other end may copy with it."""

    size: int
    is_sync: bool
    moved: list[int] = field(default_factory=list)
    result: int | None = None
    offered: bool = False

    @property
    def room(self) -> int:
        return self.size - len(self.moved)


@dataclass(eq=False)
class End:
    """One end of a channel. `holder` is the guest, or the host, that has it."""

    channel: Channel
    reads: bool
    holder: str
    state: State = State.IDLE
    copy: Copy | None = None
    in_set: int = 0
    dropped: bool = False

    @property
    def other(self) -> End:
        return self.channel.writer if self.reads else self.channel.reader

    @property
    def waits(self) -> bool:
        """Whether a thread of a guest is blocked in a copy of this end."""
        return self.copy is not None and self.copy.is_sync

    # What would trap

    def problem_of_copy(self, is_sync: bool) -> str | None:
        if self.state is not State.IDLE:
            return IN_PROGRESS if self.state is State.COPYING else GONE
        if is_sync and self.in_set:
            return IN_SET
        met = self.other.copy is not None and self.other.copy.offered
        if met and self.holder == self.other.holder != "host" and not self.channel.of_numbers:
            return SAME_INSTANCE
        return None

    def problem_of_cancel(self, is_sync: bool) -> str | None:
        if self.state is not State.COPYING:
            return NO_COPY
        if self.waits:
            return WAITED_FOR
        return IN_SET if is_sync and self.in_set else None

    def problem_of_drop(self) -> str | None:
        if self.state is State.COPYING:
            return WHILE_COPYING
        if self.channel.is_future and not self.reads and self.state is not State.DONE:
            return NOT_WRITTEN
        return None

    def problem_of_transfer(self) -> str | None:
        if self.state is not State.IDLE:
            return PASSED_COPYING if self.state is State.COPYING else PASSED_DONE
        return PASSED_IN_SET if self.in_set else None

    def problem_of_join(self) -> str | None:
        return JOIN_WAITED_FOR if self.waits else None

    # Operations that don't trap

    def start(self, size: int, is_sync: bool) -> None:
        """Starts a copy. It is over if it is owed a result then, else it waits for the other end."""
        self.state = State.COPYING
        copy = self.copy = Copy(size, is_sync)
        met = self.other.copy
        if self.other.dropped:
            copy.result = DROPPED
        elif met is None or not met.offered:
            copy.offered = True
        elif met.room:
            self.channel.move(copy, met)
            copy.result = COMPLETED
            if self.channel.is_future:
                met.offered = False
        elif not self.reads and met.size == size == 0:
            copy.result = COMPLETED
        else:
            met.result = COMPLETED
            met.offered = False
            copy.offered = True

    def finish(self, cancelled: bool = False) -> tuple[int, list[int]]:
        """The end is told of its copy: what came out of it, and which elements were copied."""
        copy, self.copy = self.copy, None
        assert copy is not None
        result = copy.result
        if cancelled and (result is None or (result == COMPLETED and not self.channel.is_future)):
            # One cancelled after a part was copied is "cancelled", as the specification's test cancel-stream has it.
            result = CANCELLED
        assert result is not None
        is_last = result == DROPPED or (self.channel.is_future and result == COMPLETED)
        self.state = State.DONE if is_last else State.IDLE
        if self.reads:
            self.channel.received += copy.moved
        return result, copy.moved

    def drop(self) -> None:
        self.dropped = True
        self.in_set = 0
        copy = self.other.copy
        if copy is not None and copy.offered:
            copy.offered = False
            copy.result = DROPPED


class Channel:
    """A stream or future. `element` names its type."""

    def __init__(self, element: str, is_future: bool, of_numbers: bool, reader: str, writer: str) -> None:
        self.element = element
        self.is_future = is_future
        self.of_numbers = of_numbers
        self.reader = End(self, True, reader)
        self.writer = End(self, False, writer)
        self.num_copied = 0
        self.received: list[int] = []

    @property
    def ends(self) -> list[End]:
        return [end for end in (self.reader, self.writer) if not end.dropped]

    def move(self, copy: Copy, met: Copy) -> None:
        count = min(copy.room, met.room)
        numbers = range(self.num_copied, self.num_copied + count)
        self.num_copied += count
        copy.moved += numbers
        met.moved += numbers
        if count:
            met.result = COMPLETED

"""Waitables, waitable sets and their events (CanonicalABI.md, "Waitable State").

A waitable holds at most one pending event. Whoever makes an event pending wakes the threads that wait for it, so no
set is ever searched: a set keeps those of its members that have an event in the order in which they got it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, TypeAlias

from ..errors import trap_if

if TYPE_CHECKING:
    from .store import Store
    from .thread import Routine, Thread


class EventCode(IntEnum):
    NONE = 0
    SUBTASK = 1
    STREAM_READ = 2
    STREAM_WRITE = 3
    FUTURE_READ = 4
    FUTURE_WRITE = 5
    TASK_CANCELLED = 6


Event: TypeAlias = tuple[int, int, int]  # code, index of the waitable, payload
NO_EVENT: Event = (EventCode.NONE, 0, 0)
TASK_CANCELLED: Event = (EventCode.TASK_CANCELLED, 0, 0)


class Waitable:
    """Something that can have an event: a subtask, or an end of a stream or future."""

    __slots__ = ("pending_event", "sync_waiter", "waitable_set")

    def __init__(self) -> None:
        self.pending_event: Callable[[], Event] | None = None
        self.waitable_set: WaitableSet | None = None
        self.sync_waiter: Thread | None = None

    def set_pending_event(self, event: Callable[[], Event]) -> None:
        """`event` is called when the event is delivered. A newer event replaces one that was not delivered yet."""
        self.pending_event = event
        if self.waitable_set is not None:
            self.waitable_set.add_pending(self)
        elif self.sync_waiter is not None:
            self.sync_waiter.wake()

    def get_pending_event(self) -> Event:
        event = self.pending_event
        assert event is not None
        self.pending_event = None
        if self.waitable_set is not None:
            self.waitable_set.pending.pop(self, None)
        return event()

    def wait_for_pending_event(self, thread: Thread) -> Routine[None]:
        assert self.waitable_set is None
        assert self.sync_waiter is None
        self.sync_waiter = thread
        yield from thread.wait_until(lambda: self.pending_event is not None, False, "an event of a waitable")
        self.sync_waiter = None

    def join(self, waitable_set: WaitableSet | None) -> None:
        assert self.sync_waiter is None
        if self.waitable_set is not None:
            self.waitable_set.elems.pop(self)
            self.waitable_set.pending.pop(self, None)
        self.waitable_set = waitable_set
        if waitable_set is not None:
            waitable_set.elems[self] = None
            if self.pending_event is not None:
                waitable_set.add_pending(self)

    def leave_set(self) -> None:
        """What the specification does when a waitable is dropped."""
        assert self.pending_event is None
        assert self.sync_waiter is None
        self.join(None)


class WaitableSet:
    __slots__ = ("elems", "pending", "store", "waiters")

    def __init__(self, store: Store) -> None:
        self.store = store
        self.elems: dict[Waitable, None] = {}  # in the order in which they joined
        self.pending: dict[Waitable, None] = {}  # those with an event, oldest event first
        self.waiters: list[Thread] = []

    def add_pending(self, waitable: Waitable) -> None:
        self.pending[waitable] = None
        for thread in self.waiters:
            thread.wake()

    def get_pending_event(self) -> Event:
        choose = self.store.choose
        if choose is not None:
            return list(self.pending)[choose(len(self.pending))].get_pending_event()
        return next(iter(self.pending)).get_pending_event()

    def wait_for_event(self, thread: Thread, cancellable: bool, wants_exclusive: bool = False) -> Routine[Event]:
        """Blocks the thread until a member has an event, and delivers it. One that is already there is delivered
        without blocking, except between two callbacks, where others of the instance are to have their turn."""
        if self.pending and not wants_exclusive:
            if thread.task.deliver_pending_cancel(cancellable):
                return TASK_CANCELLED
            choose = self.store.choose
            if choose is None or choose(2) == 0:
                return self.get_pending_event()
        self.waiters.append(thread)
        cancelled = yield from thread.wait_until(self.has_pending_event, cancellable, "a waitable set", wants_exclusive)
        event = TASK_CANCELLED if cancelled else self.get_pending_event()
        self.waiters.remove(thread)
        return event

    def has_pending_event(self) -> bool:
        return bool(self.pending)

    def poll(self, thread: Thread, cancellable: bool) -> Event:
        if thread.task.deliver_pending_cancel(cancellable):
            return TASK_CANCELLED
        return self.get_pending_event() if self.pending else NO_EVENT

    def check_droppable(self) -> None:
        trap_if(self.elems, "cannot drop a waitable set that still has members")
        trap_if(self.waiters, "cannot drop a waitable set that a thread waits for")

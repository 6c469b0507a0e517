"""Component instances (CanonicalABI.md, "Component Instances")."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from ..errors import Trap
from .choice import Choice
from .table import Table, WatchedTable
from .task import PENDING_CANCEL

if TYPE_CHECKING:
    from .resource import ResourceHandle
    from .store import Store
    from .task import Task
    from .thread import Thread
    from .waitable import Waitable, WaitableSet


class ErrorContext:
    """An `error-context` value: a message that helps to debug."""

    __slots__ = ("debug_message",)

    def __init__(self, debug_message: str = "") -> None:
        self.debug_message = debug_message

    def __repr__(self) -> str:
        return f"ErrorContext({self.debug_message!r})"


if TYPE_CHECKING:
    HandleEntry: TypeAlias = ResourceHandle | Waitable | WaitableSet | ErrorContext


class ComponentInstance:
    """One instance of one component definition, nested ones included.

    At most one thread that needs exclusivity (of a sync lift or a callback lift) is inside at a time:
    `exclusive_thread`. Threads that wait for nothing else stand in `exclusive_queue`. Threads of tasks that were not
    let in yet stand in `entry_queue`, tasks that the host will ask to cancel when the instance is free in
    `cancel_queue`.
    """

    __slots__ = (
        "ancestry",
        "backpressure",
        "cancel_queue",
        "entry_queue",
        "exclusive_queue",
        "exclusive_thread",
        "handles",
        "may_enter",
        "may_leave",
        "name",
        "num_waiting_to_enter",
        "scratch_thread",
        "store",
        "threads",
    )

    def __init__(self, store: Store, parent: ComponentInstance | None = None, name: str = "") -> None:
        self.store = store
        self.name = name
        self.ancestry: tuple[ComponentInstance, ...] = (self, *(parent.ancestry if parent else ()))
        self.handles: Table[HandleEntry]
        if store.on_handle is None:
            self.handles = Table("handle", store.max_handles)
        else:
            self.handles = WatchedTable("handle", store.max_handles, store.on_handle)
        self.threads: Table[Thread] = Table("thread", store.max_handles)
        self.may_enter = True
        self.may_leave = True
        self.backpressure = 0
        self.cancel_queue: deque[Task] = deque()
        self.num_waiting_to_enter = 0
        self.exclusive_thread: Thread | None = None
        self.scratch_thread: Thread | None = None
        self.exclusive_queue: dict[Thread, None] = {}
        self.entry_queue: dict[Thread, None] = {}

    def enter_from(self, caller: ComponentInstance | None) -> tuple[ComponentInstance, ...]:
        """Marks all instances that a call from `caller` enters, and returns them for `leave`. Traps on re-entry."""
        entered = self.ancestry
        if caller is not None:
            entered = () if caller is self else tuple(i for i in entered if i not in caller.ancestry)
        for instance in entered:
            if not instance.may_enter:
                raise Trap(f"cannot enter component instance {self.describe()}: it is already running")
        for instance in entered:
            instance.may_enter = False
        return entered

    def may_enter_from(self, caller: ComponentInstance | None) -> bool:
        outside = caller.ancestry if caller is not None else ()
        return all(instance.may_enter for instance in self.ancestry if instance not in outside)

    def check_may_leave(self) -> None:
        if not self.may_leave:
            raise Trap(f"cannot leave component instance {self.describe()} from realloc or post-return")

    def release_exclusive(self) -> None:
        self.exclusive_thread = None
        while self.cancel_queue:
            task = self.cancel_queue.popleft()
            if task.state is PENDING_CANCEL:
                self.store.post(None, task.retry_cancellation)
                break
        if self.exclusive_queue:
            self.offer_exclusive()

    def offer_exclusive(self) -> None:
        """Wakes the first of those that wait only for the instance to be free. One that can't use the chance when its
        turn comes offers it again."""
        choose = self.store.choose
        while self.exclusive_thread is None and self.exclusive_queue:
            waiting = list(self.exclusive_queue) if choose else [next(iter(self.exclusive_queue))]
            thread = waiting[choose(Choice.TURN, waiting) if choose else 0]
            del self.exclusive_queue[thread]
            if thread.wants_exclusive and thread.is_ready:
                thread.wake()
                return

    def release_backpressure(self) -> None:
        for thread in self.entry_queue:
            thread.wake()

    def describe(self) -> str:
        return f"{self.name!r}" if self.name else "(unnamed)"


def leave(entered: tuple[ComponentInstance, ...]) -> None:
    for instance in entered:
        instance.may_enter = True

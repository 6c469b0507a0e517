"""Tasks and subtasks: one call, seen by its callee and by its caller (CanonicalABI.md, "Tasks", "Subtask State")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ..errors import Exit, Trap, trap_if
from .thread import Routine, Thread
from .waitable import Event, EventCode, Waitable

if TYPE_CHECKING:
    from ..types import FuncType
    from .function import LoweredFunc
    from .instance import ComponentInstance
    from .options import CanonicalOptions
    from .resource import ResourceHandle


class Cancelled(Enum):
    """What `on_resolve` takes in place of a result when the callee acknowledged a cancellation."""

    CANCELLED = 1


CANCELLED = Cancelled.CANCELLED

OnCancel: TypeAlias = "Callable[[ComponentInstance | None], None]"


class Call(Protocol):
    """A call as its caller sees it: what a function, a guest's or the host's, is called with.

    `context` holds the context variables of the host's call that led to it; host functions run in a copy of it.
    """

    context: Context | None

    def on_start(self) -> Sequence[Any]:
        """Gives the arguments when the callee is ready for them."""

    def on_resolve(self, result: Any) -> None:
        """Takes the result, or `CANCELLED`."""

    def on_fail(self, error: BaseException) -> None:
        """The call can have no result: a host function raised, or a guest of another store trapped."""


FuncInst: TypeAlias = "Callable[[Call, ComponentInstance | None], OnCancel]"
"""The one shape of all functions: called with a call and the instance it comes from (None for the host), it starts,
runs as far as it can, and returns a way to request its cancellation."""


class TaskState(Enum):
    INITIAL = 1
    STARTED = 2
    PENDING_CANCEL = 3
    CANCEL_DELIVERED = 4
    RESOLVED = 5


class Function(Protocol):
    """What a task has to know of the function that it is a call of."""

    @property
    def name(self) -> str: ...

    @property
    def type(self) -> FuncType: ...

    @property
    def inst(self) -> ComponentInstance: ...

    @property
    def options(self) -> CanonicalOptions | None: ...

    @property
    def needs_exclusive(self) -> bool: ...


class Task:
    """One call of a lifted function, as the callee sees it."""

    __slots__ = ("call", "func", "implicit_thread", "inst", "num_borrows", "state", "threads")

    def __init__(self, func: Function, call: Call) -> None:
        self.func = func
        self.inst = func.inst
        self.call = call
        self.state = TaskState.INITIAL
        self.num_borrows = 0
        self.threads: list[Thread] = []
        self.implicit_thread: Thread

    def enter(self) -> Routine[bool]:
        """Waits until backpressure and others let the implicit thread in; False if it was cancelled before."""
        inst = self.inst
        thread = self.implicit_thread
        exclusive = self.func.needs_exclusive
        if self.func.type.is_async:
            if (
                inst.backpressure > 0
                or (exclusive and inst.exclusive_thread is not None)
                or inst.num_waiting_to_enter > 0
            ):
                inst.num_waiting_to_enter += 1
                inst.entry_queue[thread] = None
                cancelled = yield from thread.wait_until(
                    lambda: inst.backpressure == 0, True, "being let into its instance", exclusive
                )
                del inst.entry_queue[thread]
                inst.num_waiting_to_enter -= 1
                if cancelled:
                    self.cancel()
                    return False
            if exclusive:
                inst.exclusive_thread = thread
        self.register_thread(thread)
        return True

    def register_thread(self, thread: Thread) -> None:
        self.threads.append(thread)
        self.inst.store.threads[thread] = None

    def exit(self) -> None:
        """The end of the implicit thread."""
        self.unregister_thread(self.implicit_thread)
        if self.func.needs_exclusive and self.func.type.is_async:
            assert self.inst.exclusive_thread is self.implicit_thread
            self.inst.release_exclusive()
        del self.implicit_thread  # which knows its task: an ended call is no garbage for the collector to find

    def unregister_thread(self, thread: Thread) -> None:
        self.threads.remove(thread)
        del self.inst.store.threads[thread]
        if not self.threads:
            trap_if(
                self.state is not TaskState.RESOLVED,
                f"{self.describe()} ended without calling task.return or task.cancel",
            )
        if thread.index:
            self.inst.threads.remove(thread.index)

    def request_cancellation(self, caller: ComponentInstance | None) -> None:
        if self.state is TaskState.INITIAL:
            self.state = TaskState.CANCEL_DELIVERED
            self.implicit_thread.resume(True)
            return
        if self.state is not TaskState.STARTED:
            return
        inst = self.inst
        candidates = [thread for thread in self.threads if thread.cancellable and not thread.running]
        if self.func.needs_exclusive and inst.exclusive_thread not in (None, self.implicit_thread):
            candidates = [thread for thread in candidates if thread is not self.implicit_thread]
        if candidates and inst.may_enter_from(caller):
            self.state = TaskState.CANCEL_DELIVERED
            choose = inst.store.choose
            thread = candidates[choose(len(candidates)) if choose else 0]
            entered = inst.enter_from(caller)
            thread.resume(True)
            inst.store.when_thawed_leave(entered)
        else:
            self.state = TaskState.PENDING_CANCEL

    def deliver_pending_cancel(self, cancellable: bool) -> bool:
        if cancellable and self.state is TaskState.PENDING_CANCEL:
            self.state = TaskState.CANCEL_DELIVERED
            return True
        return False

    def start(self) -> Sequence[Any]:
        assert self.state is TaskState.INITIAL
        self.state = TaskState.STARTED
        return self.call.on_start()

    def return_(self, result: Any) -> None:
        trap_if(self.state is TaskState.RESOLVED, "task.return called after the task was resolved")
        self.check_borrows()
        self.state = TaskState.RESOLVED
        self.call.on_resolve(result)

    def cancel(self) -> None:
        trap_if(self.state is not TaskState.CANCEL_DELIVERED, "task.cancel called without a cancellation delivered")
        self.check_borrows()
        self.state = TaskState.RESOLVED
        self.call.on_resolve(CANCELLED)

    def check_borrows(self) -> None:
        trap_if(self.num_borrows, f"borrow handles still remain at the end of the call: {self.num_borrows}")

    def describe(self) -> str:
        return f"the task of {self.func.name!r}"


class SubtaskState(IntEnum):
    STARTING = 0
    STARTED = 1
    RETURNED = 2
    CANCELLED_BEFORE_STARTED = 3
    CANCELLED_BEFORE_RETURNED = 4


class Subtask(Waitable):
    """One call of a lowered function, as the caller sees it. `options` is the caller's side of the values."""

    __slots__ = (
        "cancellation_requested",
        "context",
        "failure",
        "flat_args",
        "flat_result",
        "func",
        "index",
        "lenders",
        "on_cancel",
        "options",
        "state",
        "thread",
    )

    def __init__(self, func: LoweredFunc, options: CanonicalOptions, thread: Thread, flat_args: Sequence[Any]) -> None:
        super().__init__()
        self.func = func
        self.options = options.with_scope(self) if func.borrows else options
        self.context = thread.task.call.context
        self.thread = thread
        self.flat_args = flat_args
        self.state = SubtaskState.STARTING
        self.on_cancel: OnCancel | None = None
        self.lenders: list[ResourceHandle] | None = []
        self.cancellation_requested = False
        self.flat_result: int | float | None = None
        self.index = 0  # in the handle table, once an async lower has put it there
        self.failure: BaseException | None = None

    @property
    def resolved(self) -> bool:
        return self.state >= SubtaskState.RETURNED

    def on_start(self) -> Sequence[Any]:
        if self.index:
            self.set_pending_event(self.event)
        assert self.state is SubtaskState.STARTING
        self.state = SubtaskState.STARTED
        return self.func.lift_params(self.options, self.flat_args)

    def on_resolve(self, result: Any) -> None:
        if self.index:
            self.set_pending_event(self.event)
        if result is CANCELLED:
            assert self.cancellation_requested
            starting = self.state is SubtaskState.STARTING
            self.state = SubtaskState.CANCELLED_BEFORE_STARTED if starting else SubtaskState.CANCELLED_BEFORE_RETURNED
        else:
            assert self.state is SubtaskState.STARTED
            self.flat_result = self.func.lower_result(self.options, result, self.flat_args)
            self.state = SubtaskState.RETURNED
        if not self.index:
            self.thread.wake()

    def on_fail(self, error: BaseException) -> None:
        """The callee failed: a host function raised, or a guest linked from elsewhere trapped. The caller traps: in the
        middle of its call where it waits there, else all of it at once."""
        self.failure = error
        if self.index:
            raise failed_call(self.func.name, error) from error
        self.thread.wake()

    def event(self) -> Event:
        if self.resolved:
            self.deliver_resolve()
        return (EventCode.SUBTASK, self.index, self.state)

    def add_lender(self, handle: ResourceHandle) -> None:
        assert self.lenders is not None
        handle.num_lends += 1
        self.lenders.append(handle)

    def deliver_resolve(self) -> None:
        assert self.lenders is not None
        for handle in self.lenders:
            handle.num_lends -= 1
        self.lenders = None

    @property
    def resolve_delivered(self) -> bool:
        return self.lenders is None

    def check_droppable(self) -> None:
        trap_if(not self.resolve_delivered, "cannot drop a subtask which has not yet resolved")


def failed_call(name: str, error: BaseException) -> BaseException:
    """What a failed callee is for the caller that called it: its own trap if it trapped, else a new one."""
    if isinstance(error, (Trap, Exit)) or not isinstance(error, Exception):
        return error
    return Trap(f"the host function {name!r} raised {type(error).__name__}: {error}")

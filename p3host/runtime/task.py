"""Tasks and subtasks: one call, seen by its callee and by its caller (CanonicalABI.md, "Tasks", "Subtask State")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from ..errors import Exit, TooManyCalls, Trap, trap_if
from .choice import Choice
from .thread import Routine, Thread
from .waitable import Event, EventCode, Waitable

if TYPE_CHECKING:
    from ..types import FuncType
    from .function import LoweredFunc
    from .instance import ComponentInstance
    from .options import CanonicalOptions
    from .resource import Resource, ResourceHandle
    from .store import Store


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


# A member of an enumeration by a global name costs a tenth of one that is looked up in its class.
INITIAL: Final = TaskState.INITIAL
STARTED: Final = TaskState.STARTED
PENDING_CANCEL: Final = TaskState.PENDING_CANCEL
CANCEL_DELIVERED: Final = TaskState.CANCEL_DELIVERED
RESOLVED: Final = TaskState.RESOLVED


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

    __slots__ = ("borrowed", "call", "func", "implicit_thread", "inst", "num_borrows", "state", "threads")

    def __init__(self, func: Function, call: Call) -> None:
        self.func = func
        self.inst = func.inst
        self.call = call
        self.state = INITIAL
        self.num_borrows = 0
        self.borrowed: list[Resource] | None = None  # what the host holds and lends to this call
        self.threads: list[Thread] = []
        self.implicit_thread: Thread

    def is_kept_out(self) -> bool:
        """Whether backpressure, or those that are inside or came first, keep the implicit thread from entering."""
        inst, func = self.inst, self.func
        return func.type.is_async and (
            inst.backpressure > 0
            or (func.needs_exclusive and inst.exclusive_thread is not None)
            or inst.num_waiting_to_enter > 0
        )

    def wait_to_enter(self) -> Routine[bool]:
        """Waits until the implicit thread may enter; False if it was cancelled before."""
        inst = self.inst
        thread = self.implicit_thread
        inst.num_waiting_to_enter += 1
        inst.entry_queue[thread] = None
        cancelled = yield from thread.wait_until(
            lambda: inst.backpressure == 0, True, "being let into its instance", self.func.needs_exclusive
        )
        del inst.entry_queue[thread]
        inst.num_waiting_to_enter -= 1
        if cancelled:
            self.cancel()
        return not cancelled

    def enter(self) -> None:
        """The beginning of the implicit thread's work in the instance."""
        thread = self.implicit_thread
        if self.func.needs_exclusive and self.func.type.is_async:
            self.inst.exclusive_thread = thread
        self.threads.append(thread)
        self.inst.store.threads[thread] = None

    def register_thread(self, thread: Thread) -> None:
        """The beginning of another thread."""
        store = self.inst.store
        if len(store.threads) >= store.max_tasks:
            raise Trap(too_many_tasks(store))
        self.threads.append(thread)
        store.threads[thread] = None

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
        if not self.threads and self.state is not RESOLVED:
            raise Trap(f"{self.describe()} ended without calling task.return or task.cancel")
        if thread.index:
            self.inst.threads.remove(thread.index)

    def request_cancellation(self, caller: ComponentInstance | None) -> None:
        if self.state is INITIAL:
            self.state = CANCEL_DELIVERED
            self.implicit_thread.resume(True)
            return
        if self.state is not STARTED:
            return
        inst = self.inst
        waiting = [thread for thread in self.threads if thread.cancellable and not thread.running]
        candidates = [thread for thread in waiting if not thread.wants_exclusive or inst.exclusive_thread is None]
        if candidates and inst.may_enter_from(caller):
            self.state = CANCEL_DELIVERED
            choose = inst.store.choose
            thread = candidates[choose(Choice.CANCEL, candidates) if choose else 0]
            entered = inst.enter_from(caller)
            thread.resume(True)
            inst.store.when_thawed_leave(entered)
            return
        self.state = PENDING_CANCEL
        if candidates:
            inst.store.post(None, self.retry_cancellation)
        elif waiting:
            inst.cancel_queue.append(self)

    def retry_cancellation(self) -> None:
        """A thread that waits where it can be cancelled learns of it as soon as the instance is free: it might wait for
        nothing else (WebAssembly/component-model#707)."""
        if self.state is PENDING_CANCEL:
            self.state = STARTED
            self.request_cancellation(None)

    def deliver_pending_cancel(self, cancellable: bool) -> bool:
        if cancellable and self.state is PENDING_CANCEL:
            self.state = CANCEL_DELIVERED
            return True
        return False

    def start(self) -> Sequence[Any]:
        assert self.state is INITIAL
        self.state = STARTED
        return self.call.on_start()

    def start_passing(self, options: CanonicalOptions) -> Sequence[int | float]:
        """Like `start`, of a call by a guest whose arguments pass as core values; `options` are the callee's."""
        assert self.state is INITIAL
        assert isinstance(self.call, Subtask)
        self.state = STARTED
        return self.call.pass_arguments(options)

    def check_returnable(self) -> None:
        """Called before a result is lifted: what that takes from the guest would be lost."""
        if self.state is RESOLVED:
            raise Trap("task.return called after the task was resolved")
        if self.num_borrows:
            self.check_borrows()

    def return_(self, result: Any) -> None:
        self.state = RESOLVED
        if self.borrowed is not None:
            self.give_back()
        self.call.on_resolve(result)

    def cancel(self) -> None:
        trap_if(self.state is not CANCEL_DELIVERED, "task.cancel called without a cancellation delivered")
        self.check_borrows()
        self.state = RESOLVED
        self.give_back()
        self.call.on_resolve(CANCELLED)

    def borrow(self, resource: Resource) -> None:
        resource.num_lends += 1
        if self.borrowed is None:
            self.borrowed = []
        self.borrowed.append(resource)

    def give_back(self) -> None:
        for resource in self.borrowed or ():
            resource.num_lends -= 1
        self.borrowed = None

    def check_borrows(self) -> None:
        if self.num_borrows:
            raise Trap(f"borrow handles still remain at the end of the call: {self.num_borrows}")

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
        "argument_bytes",
        "borrowed",
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
        "since",
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
        self.borrowed: list[Resource] | None = None  # what the host sees of guests' resources, while the call lasts
        self.cancellation_requested = False
        self.flat_result: int | float | None = None
        self.index = 0  # in the handle table, once an async lower has put it there
        self.since = 0.0  # when that was
        self.failure: BaseException | None = None
        self.argument_bytes = 0  # what the host keeps of its arguments, as counted by the store

    def describe(self) -> str:
        return f"the call of {self.func.name!r}"

    @property
    def resolved(self) -> bool:
        return self.state >= SubtaskState.RETURNED

    def on_start(self) -> Sequence[Any]:
        self.begin()
        return self.func.lift_params(self.options, self.flat_args)

    def pass_arguments(self, callee_options: CanonicalOptions) -> Sequence[int | float]:
        """In place of `on_start`: the core arguments of a callee that is a guest too."""
        self.begin()
        passer = self.func.passer
        assert passer is not None
        return passer.pass_params(self.options, callee_options, self.flat_args[: self.func.out_index])

    def begin(self) -> None:
        if self.index:
            self.set_pending_event(self.event)
        assert self.state is SubtaskState.STARTING
        self.state = SubtaskState.STARTED

    def keep_arguments(self) -> None:
        """The host goes on with the call, and keeps what it was given until the call has resolved."""
        if not self.func.takes_memory or self.state is not SubtaskState.STARTED:
            return
        store = self.options.store
        self.argument_bytes = self.options.lifted_bytes
        store.argument_bytes += self.argument_bytes
        trap_if(
            store.argument_bytes > store.max_argument_bytes,
            f"the lists and strings given to calls of imports that are in progress take more than "
            f"{store.max_argument_bytes} bytes of the host",
        )

    def on_resolve(self, result: Any) -> None:
        if self.argument_bytes:
            self.options.store.argument_bytes -= self.argument_bytes
        if self.borrowed is not None:
            for resource in self.borrowed:
                resource.alive = False
        if self.index:
            self.options.store.num_pending_subtasks -= 1
            self.set_pending_event(self.event)
        if result is CANCELLED:
            assert self.cancellation_requested
            starting = self.state is SubtaskState.STARTING
            self.state = SubtaskState.CANCELLED_BEFORE_STARTED if starting else SubtaskState.CANCELLED_BEFORE_RETURNED
        else:
            assert self.state is SubtaskState.STARTED
            try:
                self.flat_result = self.func.lower_result(self.options, result, self.flat_args)
            except (TypeError, ValueError) as error:
                raise failed_call(self.func.name, error) from error
            self.state = SubtaskState.RETURNED
        if not self.index:
            self.thread.wake()

    def on_fail(self, error: BaseException) -> None:
        """The callee failed: a host function raised, or a guest linked from elsewhere trapped. The caller traps: in the
        middle of its call where it waits there, else all of it at once."""
        self.failure = error
        if self.index:
            raise failed_call(self.func.name, error)
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


def too_many_tasks(store: Store) -> str:
    return f"more than {store.max_tasks} tasks or threads are in progress"


def failed_call(name: str, error: BaseException) -> BaseException:
    """What a failed callee is for the caller that called it: its own trap if it trapped, else a new one, with what the
    callee raised as its cause."""
    if isinstance(error, (Trap, Exit)) or not isinstance(error, Exception):
        return error
    told_by_itself = isinstance(error, TooManyCalls)
    failure = Trap(
        str(error) if told_by_itself else f"the host function {name!r} raised {type(error).__name__}: {error}"
    )
    failure.__cause__ = error
    return failure

"""Threads: what runs guest code, and what suspends and resumes it (CanonicalABI.md, "Stack Switching", "Threads").

A thread's work is a stack of *routines* and *fibers*. A routine is a generator: host code written like the
specification's own, which yields where it would block. A fiber is a call of core wasm on a stack of its own. The bottom
of the stack is the routine of the lifted function; it yields a fiber to enter guest code. Where that guest calls a
built-in which has to wait, the built-in's routine stands above the fiber. To resume a thread is to go on with the top
of its stack. So no Python frame is ever kept on a suspended wasm stack.

A routine yields one of
- a `Fiber`: enter it, and send back the core result;
- `BLOCK`: the specification's blocking: others run, until the thread is resumed (sends back whether it was cancelled);
- `FREEZE`: something that it called left the store frozen: go on when that is over.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from enum import Enum
from types import GeneratorType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from .task import Task

Result = TypeVar("Result")


class Status(Enum):
    """How a step of a fiber ended: it returned, a built-in suspended it, or its time slice was over."""

    DONE = 1
    SUSPENDED = 2
    PREEMPTED = 3


DONE: Final = Status.DONE
SUSPENDED: Final = Status.SUSPENDED


class Fiber(Protocol):
    """One call of core wasm on a stack of its own. A step raises what ended the call otherwise, as a `Trap`. One that
    is done, or has raised, holds nothing any more; `close` is for those that will not go on."""

    result: Any

    def step(self) -> Status: ...

    def answer(self, value: Any) -> None:
        """The result of the built-in that suspended the fiber; the next step goes on with it."""

    def fail(self, error: BaseException) -> None:
        """Makes the next step unwind the call because the built-in that suspended it failed."""

    def close(self) -> None: ...


class CoreFunc(Protocol):
    """A core function of a guest. `call` is for entries that may never block, such as realloc."""

    def fiber(self, args: Sequence[int | float]) -> Fiber: ...

    def call(self, *args: int | float) -> Any: ...


class Request(Enum):
    BLOCK = 1
    FREEZE = 2


BLOCK = Request.BLOCK
FREEZE = Request.FREEZE
Routine: TypeAlias = Generator["Request | Fiber", Any, Result]


class Suspend(Enum):
    """What a host function returns to have the fiber that called it suspended."""

    SUSPEND = 1


SUSPEND = Suspend.SUSPEND


class Awaited(Protocol):
    """What a thread can wait for."""

    def describe(self) -> str: ...


class Thread:
    """A thread of a task. `stack` holds routines and fibers, the innermost last. `ready` tells whether what it waits
    for is there: None while it runs, and while it is suspended until another thread resumes it. `waits_for` is what it
    waits for, or waited for last, `since` the time at which it began to."""

    __slots__ = (
        "cancellable",
        "index",
        "queued",
        "ready",
        "request",
        "running",
        "since",
        "stack",
        "storage",
        "store",
        "switch_to",
        "task",
        "waits_for",
        "wants_exclusive",
    )

    def __init__(self, task: Task, routine: Routine[None] | None = None) -> None:
        self.task = task
        self.store = task.inst.store
        self.stack: list[Any] = [] if routine is None else [routine]
        self.ready: Callable[[], bool] | None = None
        self.wants_exclusive = False
        self.cancellable = False
        self.running = False
        self.queued = False
        self.request: Request = BLOCK
        self.switch_to: Thread | None = None
        self.storage = [0, 0]
        self.index = 0  # in the instance's table of threads; 0 while nobody asked for it
        self.waits_for: Awaited | str = ""
        self.since = 0.0

    @property
    def suspended(self) -> bool:
        return not self.running and self.ready is None and bool(self.stack)

    @property
    def is_ready(self) -> bool:
        """Whether it waits, and what it waits for is there."""
        if self.ready is None or not self.ready():
            return False
        return not self.wants_exclusive or self.task.inst.exclusive_thread is None

    # What the thread asks of itself: routines that block

    def wait_until(
        self, ready: Callable[[], bool], cancellable: bool, waits_for: Awaited | str, wants_exclusive: bool = False
    ) -> Routine[bool]:
        """Blocks until `ready` (and until the instance is free, for one that wants it exclusively), and tells
        whether it was cancelled. Whoever makes `ready` true has to `wake` the thread."""
        if self.task.deliver_pending_cancel(cancellable):
            return True
        self.start_waiting(ready, waits_for, wants_exclusive)
        self.cancellable = cancellable
        return bool((yield BLOCK))

    def yield_(self, cancellable: bool, wants_exclusive: bool = False) -> Routine[bool]:
        return (yield from self.wait_until(always, cancellable, "its next turn", wants_exclusive))

    def suspend(self, cancellable: bool, switch_to: Thread | None = None) -> Routine[bool]:
        """Blocks until another thread resumes this one, running `switch_to` next if given."""
        if self.task.deliver_pending_cancel(cancellable):
            return True
        self.switch_to = switch_to
        self.cancellable = cancellable
        self.waits_for = "being resumed by another thread"
        self.since = self.store.now()
        return bool((yield BLOCK))

    def yield_then_resume(self, cancellable: bool, other: Thread) -> Routine[bool]:
        if self.task.deliver_pending_cancel(cancellable):
            return True
        self.start_waiting(always, "its next turn")
        self.switch_to = other
        self.cancellable = cancellable
        return bool((yield BLOCK))

    # What others ask of the thread

    def start_waiting(self, ready: Callable[[], bool], waits_for: Awaited | str, wants_exclusive: bool = False) -> None:
        assert self.ready is None
        self.ready = ready
        self.waits_for = waits_for
        self.since = self.store.now()
        self.wants_exclusive = wants_exclusive
        if ready():
            self.wake()

    def stop_waiting(self) -> None:
        self.ready = None
        self.wants_exclusive = False

    def wake(self) -> None:
        """Has the store look at the thread: it may be ready now."""
        if self.ready is not None and not self.queued:
            self.queued = True
            self.store.enqueue(self)

    def take_turn(self) -> bool:
        """Whether a thread whose turn has come can run. One that can't is woken again when that changes."""
        if self.is_ready:
            return True
        inst = self.task.inst
        if self.wants_exclusive and inst.exclusive_thread is not None:
            inst.exclusive_queue[self] = None
        else:
            inst.offer_exclusive()  # it may have been offered to this thread, which can't use it any more
        return False

    def resume_later(self) -> None:
        self.start_waiting(always, "its next turn")

    def resume(self, cancelled: bool = False) -> None:
        """Runs the thread until it blocks or ends, or the store freezes; then the one it switched to, and so on."""
        if self.ready is not None:
            self.stop_waiting()
        self.run(cancelled or None)  # a thread that has not begun can be sent nothing else

    def run(self, value: Any) -> None:
        thread = self
        while True:
            thread.advance(value)
            following = thread.switch_to
            if following is None or thread.running:
                return
            thread.switch_to = None
            thread = following
            value = None

    def thaw(self) -> None:
        self.run(None)

    def advance(self, value: Any) -> None:
        """Goes on with the top of the stack, sending it `value`, as far as it goes now."""
        store = self.store
        outer = store.current
        store.current = self
        self.running = True
        stack = self.stack
        error: BaseException | None = None
        try:
            while True:
                top = stack[-1]
                if isinstance(top, GeneratorType):
                    try:
                        request = top.send(value) if error is None else top.throw(error)
                    except StopIteration as stop:
                        value, error = stop.value, None
                    except BaseException as raised:
                        error = raised
                    else:
                        if request is BLOCK:
                            self.running = False
                            return
                        if request is FREEZE:
                            store.frozen.append(self.thaw)
                            return
                        stack.append(request)
                        continue
                    stack.pop()
                    if not stack:
                        self.running = False
                        if error is not None:
                            raise error
                        return
                    below = stack[-1]
                    if not isinstance(below, GeneratorType):
                        if error is not None:
                            below.fail(error)
                        else:
                            below.answer(value)
                        error = None
                else:
                    try:
                        status = top.step()
                    except BaseException as raised:
                        stack.pop()
                        error = raised
                        continue
                    if status is DONE:
                        stack.pop()
                        value, error = top.result, None
                    elif status is SUSPENDED:
                        if self.request is BLOCK:
                            self.running = False
                        else:
                            store.frozen.append(self.thaw)
                        return
                    else:
                        store.frozen.append(self.thaw)
                        store.preempted = self
                        return
        finally:
            store.current = outer

    def describe(self) -> str:
        if self.running:
            return "runs"
        waits_for = self.waits_for
        return f"waits for {waits_for if isinstance(waits_for, str) else waits_for.describe()}"


def always() -> bool:
    return True


def call_routine(thread: Thread, routine: Routine[Any]) -> Any:
    """What a built-in that may block does when a guest calls it: starts its routine, and suspends the guest's fiber
    where the routine doesn't end at once."""
    try:
        request = routine.send(None)
    except StopIteration as stop:
        return stop.value
    assert isinstance(request, Request)
    thread.request = request
    thread.stack.append(routine)
    return SUSPEND

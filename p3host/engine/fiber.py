"""Entries into guest code. Each runs on a stack of its own, so that it can be left in the middle and gone on with.

The states of a fiber, and what a step makes of them:

    READY, SUSPENDED (once answered), PREEMPTED  ->  RUNNING  ->  DONE, SUSPENDED, PREEMPTED, FAILED
    any but RUNNING  ->  CLOSED by `close`

An epoch tick makes a running fiber yield too. It goes on at once until its slice is used up: deadlines belong to the
store and not to the entry, so the first tick that an entry sees may have come too early. A fiber that was entered from
within another one leaves the deadline passed whenever it yielded, so that the outer one looks at its own clock.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from threading import get_ident
from time import monotonic, thread_time
from typing import TYPE_CHECKING, Any, Final

from ..errors import Trap
from ..runtime.thread import Status
from . import native
from .failures import failure, trap_from
from .host_functions import UNFINISHED, WAITS, running
from .native import future_delete, poll_released, set_epoch_deadline
from .signatures import Frame, Slots

if TYPE_CHECKING:
    from .machine import Machine


class State(Enum):
    READY = "not started"
    RUNNING = "running"
    SUSPENDED = "suspended"
    PREEMPTED = "preempted"
    DONE = "done"
    FAILED = "failed"
    CLOSED = "closed"


READY: Final = State.READY
RUNNING: Final = State.RUNNING
SUSPENDED: Final = State.SUSPENDED
PREEMPTED: Final = State.PREEMPTED
DONE: Final = State.DONE
FAILED: Final = State.FAILED
CLOSED: Final = State.CLOSED
OVER = (DONE, FAILED, CLOSED)
STATUS_DONE, STATUS_SUSPENDED, STATUS_PREEMPTED = Status.DONE, Status.SUSPENDED, Status.PREEMPTED

UNANSWERED: Final = object()


class Fiber:
    """One entry into a guest. `result` is the core result once it is done, and None for a function without one.

    Made by `Func.fiber` and `Machine.instantiate`, never directly. `state` is one of those above.
    """

    state = READY
    may_block = True
    result: Any = None
    raised: tuple[BaseException, str] | None = None
    suspension: tuple[Slots, Callable[[Slots, Any], None]] | None = None
    answered: Any = None
    future: native.FutureHandle
    outer: Fiber | None

    def __init__(self, machine: Machine, frame: Frame) -> None:
        self.machine = machine
        self.frame = frame

    def step(self) -> Status:
        """Runs until the entry is `DONE`, `SUSPENDED` by a host function, or `PREEMPTED` at the end of its slice.

        :raises Trap: if the guest traps, or a host function raises an `Exception`, which is the trap's cause.
        :raises BaseException: what a host function raised that is no `Exception`.
        """
        machine = self.machine
        if machine.thread != get_ident():
            raise machine.unusable()
        before = self.state
        frame = self.frame
        poll = machine.poll
        if before is READY:
            self.future = future = frame.enter(*frame.arguments)
        else:
            if before is SUSPENDED:
                self.deliver()
            elif before is PREEMPTED:
                poll = poll_released
            else:
                raise RuntimeError(f"a fiber that is {before.value} can't go on")
            future = self.future
        self.outer = outer = running.fiber
        self.state = RUNNING
        running.fiber = self
        try:
            done = poll(future) or (self.suspension is None and self.go_on(poll))
        except BaseException:
            if self.state is RUNNING:  # nobody knows how far it came: all that is left is to close it
                machine.unfinished.add(self)
            raise
        finally:
            running.fiber = outer
        if done:
            self.state = DONE  # first, so that an interrupt can't make anyone delete the future again
            future_delete(future)
            if before is not READY:
                machine.unfinished.discard(self)
            error = frame.error
            if frame.u64[error] or frame.u64[error + 1]:
                raise self.fail_from(frame)
            self.result = frame.read(frame)
            frame.pool.append(frame)
            return STATUS_DONE
        if before is READY:
            machine.unfinished.add(self)
        if self.suspension is None:
            self.state = PREEMPTED
            return STATUS_PREEMPTED
        self.state = SUSPENDED
        return STATUS_SUSPENDED

    def go_on(self, poll: Callable[[native.FutureHandle], bool]) -> bool:
        """Goes on after an epoch tick, as long as the entry may. Answers whether it is over."""
        engine = self.machine.engine
        share = engine.config.slice_seconds * 0.4  # ticks are half a slice apart
        started, cpu_started = monotonic(), thread_time()
        while True:
            done = poll(self.future)
            if done or self.suspension is not None:
                break
            if monotonic() - started >= share:
                if self.may_block:
                    break
                poll = poll_released
                if thread_time() - cpu_started > engine.config.entry_budget_seconds:
                    self.abandon()
        if self.outer is not None:
            set_epoch_deadline(self.machine.context_argument, native.NOW)
        return done

    def abandon(self) -> None:
        budget = self.machine.engine.config.entry_budget_seconds
        future_delete(self.future)
        self.end(FAILED)
        raise Trap(f"a call that may not block used more than {budget} s of processor time")

    def suspend(self, mailbox: Slots, write: Callable[[Slots, Any], None]) -> None:
        """Called by a host function's callback: the shim is to yield when the callback returns."""
        if not self.may_block:
            raise Trap("a call that may not block called a function that blocks")
        self.suspension = (mailbox, write)
        self.answered = UNANSWERED
        set_epoch_deadline(self.machine.context_argument, native.NOW)
        mailbox.u32[0] = WAITS

    def answer(self, value: Any = None) -> None:
        """The core result of the host function that returned `SUSPEND`. The next step goes on with it."""
        self.check_suspended()
        self.answered = value

    def fail(self, exception: BaseException) -> None:
        """Like `answer`, but the host function raises. The next step unwinds the guest."""
        self.check_suspended()
        self.answered = None
        self.raised = (exception, "that blocked")

    def check_suspended(self) -> None:
        if self.state is not SUSPENDED:
            raise RuntimeError(f"only a suspended fiber can be answered; this one is {self.state.value}")

    def deliver(self) -> None:
        assert self.suspension is not None
        mailbox, write = self.suspension
        if self.raised is not None:
            mailbox.u32[0] = UNFINISHED
        elif self.answered is UNANSWERED:
            raise RuntimeError("a suspended fiber needs an answer before it can go on")
        else:
            write(mailbox, self.answered)
        self.suspension = None

    def fail_from(self, frame: Frame) -> BaseException:
        """The exception that wasmtime's trap or error stands for."""
        error = frame.error
        reported = trap_from(frame.u64[error], frame.u64[error + 1])
        frame.u64[error] = frame.u64[error + 1] = 0
        exception = failure(self.raised, reported)
        self.end(FAILED)
        return exception

    def end(self, state: State) -> None:
        self.state = state
        self.suspension = self.raised = self.answered = None
        self.machine.unfinished.discard(self)
        self.frame.pool.append(self.frame)

    def close(self) -> None:
        """Unwinds what is left of the entry. Does nothing where that is over.

        :raises RuntimeError: if the fiber is running.
        """
        if self.state in OVER:
            return
        if self in running_fibers():
            raise RuntimeError("a running fiber can't be closed")
        machine = self.machine
        if machine.closed:
            self.state = CLOSED
            return
        if machine.thread != get_ident():
            raise machine.unusable()
        before, self.state = self.state, CLOSED
        if before is not READY:
            future_delete(self.future)
        self.end(CLOSED)


def running_fibers() -> list[Fiber]:
    """The fibers that run on this thread, the innermost first."""
    fibers = []
    fiber = running.fiber
    while fiber is not None:
        fibers.append(fiber)
        fiber = fiber.outer
    return fibers

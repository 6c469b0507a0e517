"""A call of a guest's export by the host: from start to result, failure or cancellation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from enum import Enum
from typing import TYPE_CHECKING, Any

import anyio

from ..errors import CallCancelled, Deadlock, Trap
from ..runtime.task import CANCELLED

if TYPE_CHECKING:
    from ..runtime.task import FuncInst, OnCancel
    from .driver import Driver


class Outcome(Enum):
    PENDING = 1
    RETURNED = 2
    CANCELLED = 3
    FAILED = 4


class HostCall:
    """The host's end of a call. `wait` is awaited only if the call hasn't ended at once."""

    __slots__ = (
        "args",
        "caller_done",
        "context",
        "driver",
        "ended",
        "func",
        "name",
        "on_cancel",
        "on_stuck",
        "outcome",
        "value",
    )

    def __init__(self, driver: Driver, func: FuncInst, name: str, args: Sequence[Any]) -> None:
        self.driver = driver
        self.func = func
        self.name = name
        self.args = args
        self.context: Context | None = copy_context()
        self.outcome = Outcome.PENDING
        self.value: Any = None
        self.on_cancel: OnCancel | None = None
        self.ended: anyio.Event | None = None
        self.on_stuck: Callable[[], None] | None = None
        self.caller_done: Callable[[], None] | None = None

    @property
    def pending(self) -> bool:
        return self.outcome is Outcome.PENDING

    # The caller's end, as the runtime sees it

    def begin(self) -> None:
        if self.outcome is Outcome.PENDING:
            on_cancel = self.func(self, None)
            if self.outcome is Outcome.PENDING:
                self.on_cancel = on_cancel

    def on_start(self) -> Sequence[Any]:
        return self.args

    def on_resolve(self, result: Any) -> None:
        if result is CANCELLED:
            self.end(Outcome.CANCELLED, None)
        else:
            self.end(Outcome.RETURNED, result)

    def on_fail(self, error: BaseException) -> None:
        self.fail(error)

    def fail(self, error: BaseException) -> None:
        if self.outcome is Outcome.PENDING:
            self.end(Outcome.FAILED, error)

    def end(self, outcome: Outcome, value: Any) -> None:
        self.outcome = outcome
        self.value = value
        self.on_cancel = None  # it leads back here by way of the task
        self.driver.calls.pop(self, None)
        if self.caller_done is not None:
            self.caller_done()
        if self.ended is not None:
            self.ended.set()

    # The host's side

    def start(self) -> None:
        """Starts the call and runs what is ready. Most calls have ended when this returns."""
        driver = self.driver
        driver.check_usable()
        trap = driver.store.trap
        if trap is not None:
            failure = Trap(f"cannot enter the instance after it trapped: {trap.message}", trap.backtrace)
            raise failure from trap
        driver.calls[self] = None
        driver.step(self.begin)

    async def wait(self, detect_deadlock: bool = False) -> None:
        """Waits for the end. When cancelled, asks the guest to cancel, and gives it the grace period for that."""
        if detect_deadlock:
            self.on_stuck = self.check_stuck
            self.check_stuck()
        if self.outcome is not Outcome.PENDING:
            return
        self.ended = anyio.Event()
        try:
            await self.ended.wait()
        except BaseException:
            if self.outcome is Outcome.PENDING:
                self.request_cancellation()
                try:
                    with anyio.move_on_after(self.driver.grace_seconds, shield=True):
                        await self.ended.wait()
                finally:
                    self.abandon()
            raise

    def request_cancellation(self) -> None:
        if self.on_cancel is None:  # the guest has not seen the call yet
            self.end(Outcome.CANCELLED, None)
        else:
            self.driver.step(self.cancel)

    def cancel(self) -> None:
        if self.outcome is Outcome.PENDING and self.on_cancel is not None:
            self.on_cancel(None)

    def abandon(self) -> None:
        """The caller is gone. A call that is blocked goes on, and its result is thrown away; one that still runs on the
        CPU is killed, and its instance with it."""
        if self.outcome is not Outcome.PENDING:
            return
        store = self.driver.store
        preempted = store.preempted
        if preempted is not None and self.owns(preempted.task.call):
            store.poison(Trap(f"{self.name!r} went on running after it was cancelled, and was killed"))
        self.driver.calls.pop(self, None)

    def owns(self, call: object) -> bool:
        """Whether a call was made on behalf of this one, by however many guests in between."""
        while call is not self:
            thread = getattr(call, "thread", None)
            if thread is None:
                return False
            call = thread.task.call
        return True

    def check_stuck(self) -> None:
        driver = self.driver
        if self.outcome is Outcome.PENDING and driver.is_stuck:
            waits = "\n".join(driver.store.describe_waits()) or "no task is left"
            driver.step(
                lambda: raise_deadlock(f"{self.name!r} can never return, as nothing is left to wait for:\n{waits}")
            )

    def result(self) -> Any:
        match self.outcome:
            case Outcome.RETURNED:
                return self.value
            case Outcome.CANCELLED:
                raise CallCancelled(f"{self.name!r} was cancelled by the guest")
            case _:
                assert isinstance(self.value, BaseException)
                raise self.value


def raise_deadlock(message: str) -> None:
    raise Deadlock(message)

"""A call of a guest's export by the host: from start to result, failure or cancellation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio

from ..errors import CallCancelled, Deadlock, Trap
from ..runtime.task import CANCELLED
from .driver import root_of
from .tasks import task_tree

if TYPE_CHECKING:
    from ..runtime.task import FuncInst, OnCancel
    from .driver import Driver
    from .events import Event


class Outcome(Enum):
    PENDING = 1
    RETURNED = 2
    CANCELLED = 3
    FAILED = 4


PENDING: Final = Outcome.PENDING
RETURNED: Final = Outcome.RETURNED


class HostCall:
    """The host's end of a call. `wait` is awaited only if the call hasn't ended at once."""

    __slots__ = (
        "args",
        "context",
        "driver",
        "ended",
        "func",
        "name",
        "on_cancel",
        "on_stuck",
        "on_unwanted",
        "outcome",
        "since",
        "value",
    )

    def __init__(self, driver: Driver, func: FuncInst, name: str, args: Sequence[Any]) -> None:
        self.driver = driver
        self.func = func
        self.name = name
        self.args = args
        self.context: Context | None = copy_context()
        self.outcome = PENDING
        self.value: Any = None
        self.on_cancel: OnCancel | None = None
        self.ended: Event | None = None
        self.since = 0.0  # when it began to be waited for
        self.on_stuck: Callable[[], None] | None = None
        self.on_unwanted: Callable[[Any], None] | None = None

    @property
    def pending(self) -> bool:
        return self.outcome is PENDING

    # The caller's end, as the runtime sees it

    def begin(self) -> None:
        if self.outcome is PENDING:
            on_cancel = self.func(self, None)
            if self.outcome is PENDING:
                self.on_cancel = on_cancel

    def on_start(self) -> Sequence[Any]:
        return self.args

    def on_resolve(self, result: Any) -> None:
        if result is CANCELLED:
            self.end(Outcome.CANCELLED, None)
        else:
            self.end(RETURNED, result)

    def on_fail(self, error: BaseException) -> None:
        self.fail(error)

    def fail(self, error: BaseException) -> None:
        if self.outcome is PENDING:
            self.end(Outcome.FAILED, error)

    def end(self, outcome: Outcome, value: Any) -> None:
        self.outcome = outcome
        self.value = value
        self.on_cancel = None  # it leads back here by way of the task
        self.driver.calls.pop(self, None)
        if self.ended is not None:
            self.ended.set()
        if self.on_unwanted is not None and outcome is RETURNED:
            self.on_unwanted(value)

    # The host's side

    def start(self) -> None:
        """Starts the call and runs what is ready. Most calls have ended when this returns."""
        driver = self.driver
        driver.check_usable()
        trap = driver.store.trap
        if trap is not None:
            failure = Trap(f"cannot enter the instance after it trapped: {trap.message}", trap.backtrace)
            raise failure from trap
        if driver.store.held is not None:
            driver.check_not_waited_for(f"the call of {self.name!r}")
        driver.calls[self] = None
        driver.step(self.begin)

    async def wait(self, detect_deadlock: bool = False) -> None:
        """Waits for the end. When cancelled, asks the guest to cancel, and gives it the grace period for that."""
        if detect_deadlock:
            self.on_stuck = self.check_stuck
            self.driver.watched = True
            self.check_stuck()
        if self.outcome is not PENDING:
            return
        ended = self.will_end()
        try:
            await ended.wait()
        except BaseException:
            await self.give_up()
            raise

    def will_end(self) -> Event:
        """The event of the call's end. A call that has one is waited for."""
        if self.ended is None:
            self.ended = self.driver.event_class()
            self.since = self.driver.store.now()
        return self.ended

    def forget(self, on_unwanted: Callable[[Any], None]) -> None:
        """Nobody wants the result, which `on_unwanted` gets if there is one or when there is one."""
        if self.outcome is RETURNED:
            on_unwanted(self.value)
        else:
            self.on_unwanted = on_unwanted

    async def give_up(self) -> None:
        """Asks the guest to cancel a call that has not ended, and gives it the grace period for that."""
        if self.outcome is not PENDING:
            return
        ended = self.will_end()
        self.request_cancellation()
        try:
            with anyio.move_on_after(self.driver.grace_seconds, shield=True):
                await ended.wait()
        finally:
            self.abandon()

    def request_cancellation(self) -> None:
        if self.on_cancel is None:  # the guest has not seen the call yet
            self.end(Outcome.CANCELLED, None)
        else:
            self.driver.step(self.cancel)

    def cancel(self) -> None:
        if self.outcome is PENDING and self.on_cancel is not None:
            self.on_cancel(None)

    def abandon(self) -> None:
        """The caller is gone. A call that is blocked goes on, and its result is thrown away. One that keeps all others
        out of the store, as it computes or waits in a call of a sync type, is killed, and its instance with it."""
        if self.outcome is not PENDING:
            return
        store = self.driver.store
        held = store.held.thread if store.held is not None else None
        for thread, doing in ((store.preempted, "running"), (held, "waiting in a call of a sync type")):
            if thread is not None and root_of(thread.task.call) is self:
                store.poison(Trap(f"{self.name!r} went on {doing} after it was cancelled, and was killed"))
        self.driver.calls.pop(self, None)

    @property
    def orphaned(self) -> bool:
        """Whether the call goes on although nobody waits for it: it was abandoned, or is one of a destructor."""
        return self.outcome is PENDING and (self.ended is None or self not in self.driver.calls)

    def check_stuck(self) -> None:
        driver = self.driver
        if self.outcome is PENDING and driver.is_stuck:
            message = f"{self.name!r} can never return, as nothing is left to wait for:\n{task_tree(driver)}"
            driver.step(partial(raise_deadlock, message))

    def result(self) -> Any:
        if self.outcome is RETURNED:
            return self.value
        if self.outcome is Outcome.CANCELLED:
            raise CallCancelled(f"{self.name!r} was cancelled by the guest")
        assert isinstance(self.value, BaseException)
        raise self.value


class RunningCall(HostCall):
    """A call that goes on by itself. `on_ended` is told of its end at once, and of what it failed with, if it has;
    `finish` can be awaited at any time, once."""

    __slots__ = ("on_ended",)

    def __init__(
        self,
        driver: Driver,
        func: FuncInst,
        name: str,
        args: Sequence[Any],
        on_ended: Callable[[BaseException | None], None],
    ) -> None:
        super().__init__(driver, func, name, args)
        self.on_ended = on_ended
        self.will_end()

    async def finish(self) -> Any:
        """Waits for the end, as the caller of an export does, and gives the result."""
        await self.wait()
        return self.result()

    def end(self, outcome: Outcome, value: Any) -> None:
        super().end(outcome, value)
        self.on_ended(value if outcome is Outcome.FAILED else None)


def raise_deadlock(message: str) -> None:
    raise Deadlock(message)

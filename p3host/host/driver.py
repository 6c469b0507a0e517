"""The driver of one store: it calls `tick`, starts and ends host tasks, and lets the event loop have its turns."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from ..errors import Err, Exit, InstanceClosed, Trap
from ..runtime.store import Store
from ..runtime.task import CANCELLED, Call
from ..values import Ok
from .interrupts import guard

if TYPE_CHECKING:
    from ..runtime.instance import ComponentInstance


class HostTask:
    """One `async def` function, iterable or awaitable of the host that a guest waits for, in a task of its own."""

    __slots__ = ("cancelled", "context", "name", "run", "scope")

    def __init__(self, name: str, run: Callable[[], Awaitable[None]], context: Context | None) -> None:
        self.name = name
        self.run = run
        self.context = context
        self.scope: anyio.CancelScope | None = None
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True
        if self.scope is not None:
            self.scope.cancel()


class OpenCall(Protocol):
    """A call into a store that has not ended."""

    on_stuck: Callable[[], None] | None

    def fail(self, error: BaseException) -> None: ...


class OutgoingCall(Protocol):
    """A call out of a store into another one."""

    def request_cancellation(self, caller: ComponentInstance | None) -> None: ...


class LoopShare(threading.local):
    """How long guests have kept this thread's event loop since it last had a turn, all stores together."""

    seconds = 0.0


class Driver:
    """Runs one store on the event loop that it was opened in. Only the thread of that loop may use it.

    Whoever makes something ready calls `step`, which runs guests until nothing is ready. What is left (a guest that was
    preempted, one that yields, all that comes when guests have had the loop for a slice already) is continued by a
    background task, one step for each turn of the loop.
    """

    share = LoopShare()

    def __init__(self, store: Store, grace_seconds: float) -> None:
        self.store = store
        self.grace_seconds = grace_seconds
        self.thread = threading.get_ident()
        self.task_group: TaskGroup | None = None
        self.calls: dict[OpenCall, None] = {}
        self.outgoing: dict[OutgoingCall, None] = {}  # those that this store's guests have made of other stores
        self.starting: list[HostTask] = []
        self.host_tasks: dict[HostTask, None] = {}
        self.background_idle: anyio.Event | None = None
        self.closing = False
        store.on_poison = self.poisoned
        store.on_wake = self.wake

    # Life

    def check_usable(self) -> None:
        if threading.get_ident() != self.thread:
            raise RuntimeError(
                "an instance may be used only in the thread of its event loop: call anyio.from_thread.run there"
            )
        if self.closing:
            raise InstanceClosed("the instance was used after its 'async with' block was left")

    def open(self, task_group: TaskGroup) -> None:
        self.task_group = task_group
        guard.install()
        task_group.start_soon(self.run_background, name="p3host: a store's background task")

    def close(self) -> None:
        """Ends all that runs in the store. Pending calls raise `InstanceClosed`."""
        if self.closing:
            return
        self.closing = True
        for call in list(self.calls):
            call.fail(InstanceClosed("the instance was closed while this call was running"))
        self.store.poison(Trap("the instance was closed"))
        for foreign in list(self.outgoing):
            foreign.request_cancellation(None)
        guard.uninstall()

    # Steps

    def step(self, action: Callable[[], None] | None = None) -> None:
        """Does `action` as soon as guests may be entered, and runs what is ready."""
        store, share = self.store, self.share
        if share.seconds > store.slice_seconds:
            if action is not None:
                store.post(None, action)
            self.wake()
            return
        started = monotonic()
        outer = guard.enter()
        try:
            store.tick(action)
        finally:
            guard.leave(outer)
            share.seconds += monotonic() - started
        if self.starting and not self.store.ticking:
            self.start_host_tasks()
        if self.background_idle is not None and self.store.has_work:
            self.background_idle.set()

    def wake(self) -> None:
        """Has the background task take a step soon."""
        if self.background_idle is not None:
            self.background_idle.set()

    async def run_background(self) -> None:
        while True:
            if self.store.has_work:
                await checkpoint()
                self.share.seconds = 0.0
                self.step()
            else:
                self.background_idle = anyio.Event()
                await self.background_idle.wait()
                self.background_idle = None

    async def breathe(self) -> None:
        """For hosts that could go on without ever waiting: gives the loop a turn when guests have had their share."""
        if self.share.seconds > self.store.slice_seconds:
            await checkpoint()
            self.share.seconds = 0.0

    # Host tasks

    def start(self, task: HostTask) -> HostTask:
        """Starts a host task after the present step."""
        self.starting.append(task)
        if not self.store.ticking:
            self.start_host_tasks()
        return task

    def start_host_tasks(self) -> None:
        assert self.task_group is not None
        starting, self.starting = self.starting, []
        for task in starting:
            self.host_tasks[task] = None
            if task.context is not None:
                task.context.copy().run(self.task_group.start_soon, self.run_host_task, task)
            else:
                self.task_group.start_soon(self.run_host_task, task)

    async def run_host_task(self, task: HostTask) -> None:
        try:
            with anyio.CancelScope() as scope:
                task.scope = scope
                if task.cancelled:
                    scope.cancel()
                await task.run()
        finally:
            self.host_tasks.pop(task, None)
            self.report_if_stuck()

    def answer(self, call: Call, action: Callable[[], None]) -> None:
        """Ends a guest's call of the host."""
        self.store.post(call, action)
        self.step()

    async def serve_call(self, task: HostTask, call: Call, awaitable: Awaitable[Any], returns_result: bool) -> None:
        """Awaits what an `async def` host function returned, and ends the guest's call with it."""
        try:
            value = await awaitable
        except Exception as error:
            known = returns_result and isinstance(error, Err)
            self.answer(call, partial(call.on_resolve if known else call.on_fail, error))
        except BaseException:
            if task.cancelled and not self.closing:
                self.answer(call, partial(call.on_resolve, CANCELLED))
            raise
        else:
            self.answer(call, partial(call.on_resolve, Ok(value) if returns_result else value))

    # Failure

    def poisoned(self, error: BaseException) -> None:
        """After a trap: every pending call gets it, and every host task ends."""
        for call in list(self.calls):
            call.fail(failure_for(error, self.store.trap))
        for task in self.host_tasks:
            task.cancel()
        for task in self.starting:
            task.cancel()

    def report_if_stuck(self) -> None:
        for call in list(self.calls):
            if call.on_stuck is not None:
                call.on_stuck()

    @property
    def is_stuck(self) -> bool:
        """Whether nothing can ever happen again unless the host does something of its own accord."""
        return not self.store.has_work and not self.host_tasks and not self.starting


def failure_for(error: BaseException, trap: Trap | None) -> BaseException:
    """Each caller's own exception object: tracebacks are not shared. A guest that left is no failure of its own."""
    left = error.__cause__ if isinstance(error, Trap) else error
    if isinstance(left, Exit):
        return Exit(left.status)
    assert trap is not None
    failure = type(trap)(trap.message, trap.backtrace)
    failure.__cause__ = trap.__cause__
    return failure

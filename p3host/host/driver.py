"""The driver of one store: it calls `tick`, starts and ends host tasks, and lets the event loop have its turns."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary, WeakSet

import anyio
from anyio import TaskHandle, current_effective_deadline, get_cancelled_exc_class
from anyio.abc import TaskGroup
from anyio.lowlevel import RunVar, checkpoint

from ..errors import Deadlock, Err, Exit, InstanceClosed, Trap
from ..runtime.store import Store
from ..runtime.task import CANCELLED, Call, Subtask
from ..values import Ok
from .events import Event, event_class, loop_clock
from .interrupts import guard

if TYPE_CHECKING:
    from ..runtime.instance import ComponentInstance
    from ..runtime.thread import Thread
    from .scheduling import Scheduler
    from .sources import HostSource
    from .streams import Arrival, HostEnd


class HostTask:
    """One `async def` function, iterable or awaitable of the host that a guest waits for, in a task of its own. `call`
    is the call that it answers, if it answers one; `since` is when it was started. `waits_for` gives what only a guest
    of the store could do something about, while the task waits for that alone, else None."""

    __slots__ = ("answer_late", "call", "cancelled", "context", "handle", "name", "run", "since", "waits_for")

    def __init__(
        self,
        name: str,
        run: Callable[[], Awaitable[None]],
        context: Context | None,
        call: Call | None = None,
        waits_for: Callable[[], object] | None = None,
    ) -> None:
        self.name = name
        self.run = run
        self.context = context
        self.call = call
        self.waits_for = waits_for
        self.since = 0.0
        self.handle: TaskHandle[None, Any] | None = None
        self.cancelled = False
        self.answer_late: Callable[[], None] | None = None  # how a guest that cancels it learns that it has ended

    def cancel(self) -> None:
        self.cancelled = True
        if self.answer_late is not None:
            answer, self.answer_late = self.answer_late, None
            answer()
        elif self.handle is not None:
            self.handle.cancel()


class OpenCall(Protocol):
    """A call into a store that has not ended."""

    on_stuck: Callable[[], None] | None

    def fail(self, error: BaseException) -> None: ...


class OutgoingCall(Protocol):
    """A call out of a store into another one. It is the callee's end of `call`, and the caller's end there."""

    context: Context | None

    @property
    def call(self) -> Call: ...

    @property
    def callee(self) -> Driver: ...

    def on_start(self) -> Sequence[Any]: ...

    def on_resolve(self, result: Any) -> None: ...

    def on_fail(self, error: BaseException) -> None: ...

    def request_cancellation(self, caller: ComponentInstance | None) -> None: ...


holding: ContextVar[tuple[Subtask, ...]] = ContextVar("holding", default=())
"""The guests' calls that hold their stores until the present host function, or one that led to it, has answered."""


TURNS = 3
"""Of the loop, between two slices: a timer needs so many on asyncio to wake the task that waits for it."""


class LoopShare:
    """How long guests have kept one event loop since it last had turns of its own, all stores together. `turn` passes
    the right to go on from store to store."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.turn = anyio.Lock(fast_acquire=True)

    async def breathe(self) -> None:
        self.seconds = 0.0  # now, so that whatever is short can be done meanwhile
        for _ in range(TURNS):
            await checkpoint()


loop_shares: RunVar[LoopShare] = RunVar("loop_shares")


def loop_share() -> LoopShare:
    """The share of the event loop that runs here."""
    try:
        return loop_shares.get()
    except LookupError:
        share = LoopShare()
        loop_shares.set(share)
        return share


def root_of(call: object) -> object:
    """The call on whose behalf a call was made, by however many guests in between."""
    thread: Thread | None = getattr(call, "thread", None)
    while thread is not None:
        call = thread.task.call
        thread = getattr(call, "thread", None)
    return call


class Driver:
    """Runs one store on the event loop that it was opened in. Only the thread of that loop may use it.

    Whoever makes something ready calls `step`, which runs guests until nothing is ready. What is left (a guest that was
    preempted, one that yields, all that comes when guests have had the loop for a slice already) is continued by a
    background task, one step for each turn of the loop.
    """

    def __init__(self, store: Store, grace_seconds: float, scheduler: Scheduler | None = None) -> None:
        self.store = store
        self.scheduler = scheduler
        self.share = loop_share()
        self.grace_seconds = grace_seconds
        self.thread = threading.get_ident()
        self.task_group: TaskGroup | None = None
        self.calls: dict[OpenCall, None] = {}
        self.outgoing: dict[OutgoingCall, None] = {}  # those that this store's guests have made of other stores
        self.readers: dict[object, Arrival] = {}  # the host's ends of streams and futures that wait
        self.starting: list[HostTask] = []
        self.host_tasks: dict[HostTask, None] = {}
        self.host_ends: WeakSet[HostEnd] = WeakSet()
        self.sources: WeakKeyDictionary[HostSource, None] = WeakKeyDictionary()  # Python's streams and futures
        self.event_class: Callable[[], Event] = anyio.Event
        self.watched = False  # whether a call wants to know of a deadlock
        self.peers: set[Driver] = set()  # of stores whose guests have had to do with guests of this one
        self.background_idle: anyio.Event | None = None
        self.background_ended = False
        self.orphan: tuple[Thread, float] | None = None  # which runs although nobody waits for it, and since when
        self.closing = False
        store.on_poison = self.poisoned
        store.on_wake = self.wake

    # Life

    def check_usable(self) -> None:
        if threading.get_ident() != self.thread:
            raise RuntimeError(
                "an instance may be used only in the thread of its event loop: call it from another one with "
                "anyio.from_thread.run(function, *args, token=anyio.lowlevel.current_token() of that loop)"
            )
        if self.closing:
            raise InstanceClosed("the instance was used after its 'async with' block was left")

    def check_not_waited_for(self, what: str) -> None:
        """Called before the host waits for a guest. A guest that can't go on before the host has answered must not be
        waited for by that answer."""
        held = self.store.held
        if held is not None and held in holding.get():
            raise Deadlock(
                f"{what} can't be waited for here: its guest is held until the host function {held.func.name!r}, which "
                "was called in a function whose type is not async, returns"
            )

    def open(self, task_group: TaskGroup) -> None:
        self.task_group = task_group
        self.event_class = event_class()
        self.store.now = loop_clock()
        guard.install()
        task_group.start_soon(self.keep_going, name="p3host: a store's background task")

    def close(self) -> None:
        """Ends all that runs in the store. Pending calls raise `InstanceClosed`. Raises what a destructor of the host
        raised for a resource that a guest still had."""
        if self.closing:
            return
        self.closing = True
        for call in list(self.calls):
            call.fail(InstanceClosed("the instance was closed while this call was running"))
        failures = self.store.release_resources()
        self.store.poison(Trap("the instance was closed"))
        self.wake_readers()
        for foreign in list(self.outgoing):
            foreign.request_cancellation(None)
        for peer in self.peers:
            peer.peers.discard(self)
        self.peers.clear()
        guard.uninstall()
        if failures:
            raise failures[0]

    # Steps

    def step(self, action: Callable[[], None] | None = None) -> None:
        """Does `action` as soon as guests may be entered, and runs what is ready."""
        if self.scheduler is not None or self.share.seconds > self.store.slice_seconds:
            if action is not None:
                self.store.post(None, action)
            if self.background_ended:
                self.tick()
            else:
                self.wake()
        else:
            self.tick(action)

    def tick(self, action: Callable[[], None] | None = None) -> None:
        """A step of the store, now."""
        store, share = self.store, self.share
        if store.ticking:  # the step that is under way goes on with it
            store.tick(action)
            return
        started = monotonic()
        outer = guard.enter()
        try:
            store.tick(action)
        finally:
            guard.leave(outer)
            share.seconds += monotonic() - started
        if self.starting:
            self.start_host_tasks()
        if self.background_idle is not None and store.has_work:
            self.background_idle.set()

    def wake(self) -> None:
        """Has the background task take a step soon."""
        if self.background_idle is not None:
            self.background_idle.set()

    async def keep_going(self) -> None:
        try:
            await self.run_background()
        finally:
            self.background_ended = True  # with the scope around the instance: who has something to do does it himself
            if self.store.has_work and not self.closing:
                self.tick()

    async def run_background(self) -> None:
        while True:
            if self.store.has_work and self.scheduler is not None:
                await self.take_turn(self.scheduler)
            elif self.store.has_work:
                await checkpoint()
                async with self.share.turn:
                    if self.share.seconds > self.store.slice_seconds / 2:  # too much to add a slice to it
                        await self.share.breathe()
                    self.step()
                self.end_orphan()
            else:
                self.report_if_stuck()
                if self.store.has_work:  # the report of a deadlock, when guests have used up their share of the loop
                    continue
                self.background_idle = anyio.Event()
                await self.background_idle.wait()
                self.background_idle = None

    async def take_turn(self, scheduler: Scheduler) -> None:
        await scheduler.turn(self)
        self.tick()
        while self.store.preempted is not None:  # how often that is depends on the machine, not on the schedule
            await checkpoint()
            self.tick()
            self.end_orphan()

    def end_orphan(self) -> None:
        """Kills a guest that keeps the store to itself for a call that nobody waits for, after the grace period."""
        thread = self.store.preempted
        if thread is None or not getattr(root_of(thread.task.call), "orphaned", False):
            self.orphan = None
        elif self.orphan is None or self.orphan[0] is not thread:
            self.orphan = thread, monotonic()
        elif monotonic() - self.orphan[1] > self.grace_seconds:
            self.store.poison(
                Trap(f"{thread.task.describe()}, which nobody waits for, went on running, and was killed")
            )

    async def breathe(self) -> None:
        """For hosts that could go on without ever waiting: gives the loop a turn when guests have had their share. With
        a scheduler they wait for each turn of their guest, and nothing may depend on how long anything takes."""
        if self.scheduler is None and self.share.seconds > self.store.slice_seconds:
            await self.share.breathe()

    @contextmanager
    def taking_time(self) -> Iterator[None]:
        """Counts what is done in the block as time that guests have taken of the loop."""
        started = monotonic()
        try:
            yield
        finally:
            self.share.seconds += monotonic() - started

    # Host tasks

    def start(self, task: HostTask) -> HostTask:
        """Starts a host task after the present step."""
        task.since = self.store.now()
        self.starting.append(task)
        if not self.store.ticking:
            self.start_host_tasks()
        return task

    def start_task(self, name: str, run: Callable[[], Awaitable[None]]) -> HostTask:
        """Starts what goes on beside the guests' calls, and ends with the instance."""
        return self.start(HostTask(name, run, copy_context()))

    def start_host_tasks(self) -> None:
        assert self.task_group is not None
        starting, self.starting = self.starting, []
        for task in starting:
            self.host_tasks[task] = None
            start_soon = self.task_group.start_soon
            if task.context is not None:  # of which the new task gets a copy
                task.handle = task.context.run(start_soon, self.run_host_task, task)
            else:
                task.handle = start_soon(self.run_host_task, task)
            if task.cancelled:
                task.handle.cancel()

    async def run_host_task(self, task: HostTask) -> None:
        try:
            await task.run()
        except Exception as error:
            if self.store.trap is not None:
                raise
            trap = Trap(f"{task.name} raised {type(error).__name__}: {error}")
            trap.__cause__ = error
            self.store.poison(trap)
        except BaseException as error:
            if not isinstance(error, get_cancelled_exc_class()):  # what the guest waits for will never come
                self.store.poison(error)
            raise
        finally:
            self.host_tasks.pop(task, None)
            self.report_if_stuck()

    def answer(self, call: Call, action: Callable[[], None]) -> None:
        """Ends a guest's call of the host."""
        self.store.post(call, action)
        self.step()

    async def serve_call(self, task: HostTask, call: Call, awaitable: Awaitable[Any], returns_result: bool) -> None:
        """Awaits what an `async def` host function returned, and ends the guest's call with it."""
        held = self.store.held
        if held is call:
            holding.set((*(outer for outer in holding.get() if not outer.resolved), held))
        try:
            value = await awaitable
        except Exception as error:
            known = returns_result and isinstance(error, Err)
            self.answer(call, partial(call.on_resolve if known else call.on_fail, error))
        except BaseException as error:
            if task.cancelled and not self.closing:
                self.answer(call, partial(call.on_resolve, CANCELLED))
            elif isinstance(error, get_cancelled_exc_class()) and current_effective_deadline() != -inf:
                # Nobody has cancelled it but itself, which is no reason to cancel what else runs here.
                failure = RuntimeError("it cancelled its own task")
                failure.__cause__ = error
                self.answer(call, partial(call.on_fail, failure))
                return
            else:  # with the scope around the instance, whose guests have the grace period yet
                task.answer_late = partial(self.answer, call, partial(call.on_resolve, CANCELLED))
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
        for source in list(self.sources):
            source.end_with_store()
        self.wake_readers()

    def wake_readers(self) -> None:
        for arrived in list(self.readers.values()):
            arrived.set()

    def meet(self, other: Driver) -> None:
        """From now on, guests of the one store may wait for guests of the other."""
        if other is not self and other not in self.peers:
            self.peers.add(other)
            other.peers.add(self)

    def connected(self) -> set[Driver]:
        """This driver, and those of all stores whose guests may wait for each other."""
        found, new = {self}, [self]
        while new:
            peers = new.pop().peers - found
            found |= peers
            new += peers
        return found

    def report_if_stuck(self) -> None:
        drivers = self.connected() if self.peers else {self}
        if any(driver.watched for driver in drivers) and self.is_stuck:
            for driver in drivers:
                for call in list(driver.calls):
                    if call.on_stuck is not None:
                        call.on_stuck()

    def is_waiting_again(self) -> None:
        """A host task is about to wait for a guest: perhaps nothing else is left."""
        if self.watched or self.peers:
            self.wake()

    @property
    def is_stuck(self) -> bool:
        """Whether nothing can ever happen again: all host tasks wait for guests themselves, and there is no end that
        Python could read or drop."""
        drivers = self.connected()
        awaited = set()
        for driver in drivers:
            if driver.store.has_work or driver.starting:
                return False
            for task in driver.host_tasks:
                waits_for = None if task.waits_for is None else task.waits_for()
                if waits_for is None:
                    return False
                awaited.add(waits_for)
        return all(end.shared is None or end in awaited for driver in drivers for end in driver.host_ends)


def failure_for(error: BaseException, trap: Trap | None) -> BaseException:
    """Each caller's own exception object: tracebacks are not shared. A guest that left is no failure of its own."""
    left = error.__cause__ if isinstance(error, Trap) else error
    if isinstance(left, Exit):
        return Exit(left.status)
    assert trap is not None
    failure = type(trap)(trap.message, trap.backtrace)
    failure.__cause__ = trap.__cause__
    return failure

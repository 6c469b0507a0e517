"""Built-ins that a cancellation can end, and `subtask.cancel` at every state of its callee (CanonicalABI.md,
"Threads", "Tasks", `canon subtask.cancel`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from runtime_fakes import BYTES, THREAD_START, Core, FakeTable, Guest, HostImport, World, blocker

from p3host.runtime import canon
from p3host.runtime.stream import BLOCKED
from p3host.runtime.task import CANCELLED, SubtaskState
from p3host.runtime.thread import Thread
from p3host.runtime.waitable import EventCode

EXIT, YIELD, WAIT = 0, 1, 2
STARTING, STARTED, RETURNED, CANCELLED_BEFORE_STARTED, CANCELLED_BEFORE_RETURNED = SubtaskState
SWITCHES = ("suspend_then_resume", "yield_then_resume", "suspend_then_promote", "yield_then_promote")
BLOCKING = ("wait", "yield", "suspend", *SWITCHES)
TOLD = {"wait": EventCode.TASK_CANCELLED, "poll": EventCode.TASK_CANCELLED}  # the others answer 1


@pytest.fixture
def world() -> World:
    return World()


class Callee:
    """A guest with a second thread, which only logs that it ran, and an empty waitable set."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.guest: Guest = world.guest("callee")
        self.set_index = self.guest.set_new()()
        self.other = 0

    def new_thread(self) -> Callable[[], int]:
        table = FakeTable(lambda argument: self.world.log.append("other"))
        return lambda: canon.canon_thread_new_indirect(self.guest.thread(), table, THREAD_START, 0, 0)

    def other_thread(self) -> Thread:
        return self.guest.inst.threads.get(self.other)

    def call(self, name: str, cancellable: bool) -> Callable[[], Any]:
        match name:
            case "wait":
                return self.guest.set_wait(self.set_index, 0, cancellable)
            case "poll":
                return self.guest.set_poll(self.set_index, 0, cancellable)
            case "yield":
                return self.guest.yield_(cancellable)
            case "suspend":
                return self.guest.suspend(cancellable)
        return self.guest.switch(name, self.other, cancellable)

    def begin(self, name: str) -> Core:
        """Makes the second thread, ready where it is to be promoted."""
        self.other = yield self.new_thread()
        if name.endswith("promote"):
            yield lambda: canon.canon_thread_resume_later(self.guest.thread(), self.other)


@pytest.mark.parametrize("name", ["poll", *BLOCKING])
def test_a_cancellation_that_is_pending_is_told_at_once_and_once(world: World, name: str) -> None:
    """Whatever the built-in would do is not done: neither is an event taken, nor is the other thread switched to."""
    callee, gate = Callee(world), HostImport(world.store)
    guest = callee.guest
    held = guest.lower(gate)

    def body() -> Core:
        yield held()
        yield from callee.begin(name)
        readable, writable = yield guest.new(BYTES)
        yield guest.write(BYTES, writable, 64, 1)
        yield guest.read(BYTES, readable, 65, 1)
        yield guest.join(writable, callee.set_index)
        world.log.append((yield callee.call(name, True)))
        assert callee.other_thread().ready is not None or callee.other_thread().suspended
        world.log.append((yield guest.set_poll(callee.set_index, 0, True)))
        yield guest.task_cancel()

    caller = world.call(guest.lift(body))
    world.cancel(caller)
    assert caller.results == []
    gate.resolve()
    assert world.log[:2] == [TOLD.get(name, 1), EventCode.STREAM_WRITE]
    assert caller.results == [CANCELLED]


@pytest.mark.parametrize("name", ["poll", *BLOCKING])
def test_a_built_in_that_is_not_cancellable_is_not_told(world: World, name: str) -> None:
    callee, gate = Callee(world), HostImport(world.store)
    guest = callee.guest
    held = guest.lower(gate)

    def body() -> Core:
        yield held()
        yield from callee.begin(name)
        yield callee.call(name, False)
        world.log.append("went on")
        assert (yield guest.yield_(True)) == 1
        yield guest.task_cancel()

    caller = world.call(guest.lift(body))
    world.cancel(caller)
    gate.resolve()
    blocks_for_good = name in ("wait", "suspend", "suspend_then_resume", "suspend_then_promote")
    assert ("went on" in world.log) is not blocks_for_good
    assert caller.results == ([] if blocks_for_good else [CANCELLED])
    assert world.store.trap is None


@pytest.mark.parametrize("name", BLOCKING)
@pytest.mark.parametrize("cancellable", [False, True])
def test_a_cancellation_resumes_a_thread_that_is_blocked_cancellably(
    world: World, name: str, cancellable: bool
) -> None:
    callee, caller = Callee(world), world.guest("caller")
    guest = callee.guest

    def body() -> Core:
        yield from callee.begin(name)
        world.log.append((yield callee.call(name, cancellable)))
        assert (yield guest.set_poll(callee.set_index, 0, True)) == (0 if cancellable else EventCode.TASK_CANCELLED)
        yield guest.task_cancel()

    call = caller.lower(guest.lift(body), is_async=True)
    answers: list[int] = []

    def cancels() -> Core:
        index = (yield call()) >> 4
        answers.append((yield caller.subtask_cancel(index, True)))
        yield caller.task_return()

    world.call(caller.lift(cancels))
    assert world.store.trap is None
    if cancellable:
        assert answers == [CANCELLED_BEFORE_RETURNED]
        assert [entry for entry in world.log if entry != "other"] == [TOLD.get(name, 1)]
    else:
        assert answers == [BLOCKED]
        goes_on = name in ("yield", "yield_then_resume", "yield_then_promote")
        assert [entry for entry in world.log if entry != "other"] == ([0] if goes_on else [])


def test_one_of_several_threads_that_can_be_cancelled_is(world: World) -> None:
    """The first in the order of their beginning, as nothing else is asked for."""
    callee = Callee(world)
    guest = callee.guest

    def worker(argument: int) -> Core:
        world.log.append((argument, (yield guest.suspend(argument != 1))))
        yield guest.task_cancel()

    table = FakeTable(worker)

    def body() -> Core:
        for argument in (1, 2, 3):
            index = yield lambda argument=argument: canon.canon_thread_new_indirect(
                guest.thread(), table, THREAD_START, 0, argument
            )
            yield lambda index=index: canon.canon_thread_resume_later(guest.thread(), index)
        yield guest.suspend()

    caller = world.call(guest.lift(body))
    world.cancel(caller)
    assert world.log == [(2, 1)]
    assert caller.results == [CANCELLED]


# What becomes of a call when `subtask.cancel` finds it in each state. A callee acknowledges by task.cancel.


def kept_out(world: World, guest: Guest, gate: HostImport) -> Any:
    canon.canon_backpressure_inc(guest.inst)
    return guest.lift(lambda: None, abi="sync")


def between_callbacks(code: int, acknowledges: bool) -> Callable[[World, Guest, HostImport], Any]:
    def make(world: World, guest: Guest, gate: HostImport) -> Any:
        call = guest.lower(gate)

        def body() -> Core:
            return code | (yield guest.set_new()) << 4

        def callback(event: int, *rest: int) -> Core:
            if event != EventCode.TASK_CANCELLED:
                return code | (yield guest.set_new()) << 4
            if acknowledges:
                yield guest.task_cancel()
            else:
                yield call()
                yield guest.task_return()
            return EXIT

        return guest.lift(body, callback=callback)

    return make


def in_a_sync_call(abi: str) -> Callable[[World, Guest, HostImport], Any]:
    def make(world: World, guest: Guest, gate: HostImport) -> Any:
        return blocker(world, guest, "callee", abi, gate)

    return make


def in_a_sync_read(world: World, guest: Guest, gate: HostImport) -> Any:
    call = guest.lower(gate, is_async=True)

    def body() -> Core:
        index = (yield call()) >> 4
        set_index = yield guest.set_new()
        yield guest.join(index, set_index)
        yield guest.set_wait(set_index)
        assert (yield guest.yield_(True)) == 1
        yield guest.task_cancel()

    return guest.lift(body)


def returned(world: World, guest: Guest, gate: HostImport) -> Any:
    """It returns in the turn after the one in which it was called."""

    def body() -> Core:
        yield guest.yield_()
        yield guest.task_return()

    return guest.lift(body)


@pytest.mark.parametrize(
    ("make", "begins", "answer", "ends"),
    [
        (kept_out, STARTING, CANCELLED_BEFORE_STARTED, None),
        (between_callbacks(WAIT, True), STARTED, CANCELLED_BEFORE_RETURNED, None),
        (between_callbacks(YIELD, True), STARTED, CANCELLED_BEFORE_RETURNED, None),
        (between_callbacks(WAIT, False), STARTED, BLOCKED, RETURNED),
        (in_a_sync_call("sync"), STARTED, BLOCKED, RETURNED),
        (in_a_sync_call("callback"), STARTED, BLOCKED, RETURNED),
        (in_a_sync_call("stackful"), STARTED, BLOCKED, RETURNED),
        (in_a_sync_read, STARTED, BLOCKED, CANCELLED_BEFORE_RETURNED),
        (returned, STARTED, RETURNED, None),
    ],
    ids=[
        "kept out",
        "waits, acknowledges",
        "yields, acknowledges",
        "waits, returns later",
        "sync lift in a sync call",
        "callback lift in a sync call",
        "stackful lift in a sync call",
        "in a wait that is not cancellable",
        "has returned, not delivered",
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_subtask_cancel(
    world: World, make: Any, begins: SubtaskState, answer: int, ends: SubtaskState | None, is_async: bool
) -> None:
    """`answer` is that of the async form; `ends` is told by an event after `BLOCKED`, and is what the sync form answers
    when it has waited."""
    callee, guest, gate = world.guest("callee"), world.guest(), HostImport(world.store)
    call = guest.lower(make(world, callee, gate), is_async=True)
    answers: list[int] = []

    def body() -> Core:
        packed = yield call()
        answers.append(packed & 0xF)
        if make is returned:
            yield guest.yield_()
            yield guest.yield_()
        answers.append((yield guest.subtask_cancel(packed >> 4, is_async)))
        if answers[-1] == BLOCKED:
            set_index = yield guest.set_new()
            yield guest.join(packed >> 4, set_index)
            yield guest.set_wait(set_index, 8)
            answers.append(guest.memory.u32(12))
        yield guest.subtask_drop(packed >> 4)
        yield guest.task_return()

    caller = world.call(guest.lift(body))
    if ends is not None:
        assert answers == ([begins, BLOCKED] if is_async else [begins])
        gate.resolve()
    assert answers == [
        begins,
        *([answer] if answer != BLOCKED or is_async else []),
        *([ends] if ends is not None else []),
    ]
    assert caller.results == [None]

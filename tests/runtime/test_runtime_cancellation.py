"""The cancellation of tasks, at every stage (CanonicalABI.md, "Tasks")."""

from __future__ import annotations

from typing import Any

import pytest
from runtime_fakes import (
    PREEMPT,
    U32,
    Core,
    HostCaller,
    HostImport,
    World,
    at_once,
    blocker,
)

from p3host.runtime.stream import BLOCKED
from p3host.runtime.task import CANCELLED, SubtaskState
from p3host.runtime.waitable import EventCode

EXIT, YIELD, WAIT = 0, 1, 2
NO_EVENT, TASK_CANCELLED = (0, 0, 0), (6, 0, 0)


@pytest.fixture
def world() -> World:
    return World()


def test_a_task_cancelled_before_it_was_let_in_never_starts(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    first = world.call(blocker(world, guest, "a", "sync", gate))
    second = world.call(blocker(world, guest, "b", "sync", gate))
    world.cancel(second)
    assert second.results == [CANCELLED]
    assert not second.started
    assert guest.inst.num_waiting_to_enter == 0
    gate.resolve()
    assert first.results == [None]
    assert world.log == ["a in", "a out"]


def test_one_cancelled_when_it_was_just_offered_the_instance_passes_the_offer_on(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    world.call(blocker(world, guest, "a", "sync", gate))
    second = world.call(blocker(world, guest, "b", "sync", gate))
    third = world.call(blocker(world, guest, "c", "sync", gate))
    world.store.post(gate.calls[0], lambda: gate.calls[0].on_resolve(None))
    world.store.tick(at_once(run_once_then_cancel, world, second))
    assert second.results == [CANCELLED]
    assert third.started


def run_once_then_cancel(world: World, caller: Any) -> None:
    """Lets the thread that holds the instance end, and cancels the next one before its turn."""
    (holder,) = [thread for thread in world.store.queue if thread.task.call is not caller]
    world.store.queue.remove(holder)
    holder.queued = False
    entered = holder.task.inst.enter_from(None)
    holder.resume()
    world.store.when_thawed_leave(entered)
    caller.cancel()


def test_a_callback_that_waits_gets_the_cancellation_as_an_event(world: World) -> None:
    guest = world.guest()

    def body() -> Core:
        return WAIT | (yield guest.set_new()) << 4

    def callback(*event: int) -> Core:
        world.log.append(event)
        yield guest.task_cancel()
        return EXIT

    caller = world.call(guest.lift(body, callback=callback))
    world.cancel(caller)
    assert world.log == [TASK_CANCELLED]
    assert caller.results == [CANCELLED]


def test_a_task_may_answer_a_cancellation_with_a_result(world: World) -> None:
    guest = world.guest()

    def body() -> Core:
        return WAIT | (yield guest.set_new()) << 4

    def callback(*event: int) -> Core:
        yield guest.task_return(8, result=U32)
        return EXIT

    caller = world.call(guest.lift(body, (), U32, callback=callback))
    world.cancel(caller)
    assert caller.results == [8]


def test_a_cancellation_waits_for_the_next_point_where_it_can_be_delivered(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    call = guest.lower(gate)

    def body() -> Core:
        set_index = yield guest.set_new()
        yield call()
        return WAIT | set_index << 4

    def callback(*event: int) -> Core:
        world.log.append(event)
        yield guest.task_cancel()
        return EXIT

    caller = world.call(guest.lift(body, callback=callback))
    world.cancel(caller)
    assert caller.results == []
    gate.resolve()
    assert world.log == [TASK_CANCELLED]
    assert caller.results == [CANCELLED]


def test_a_yield_between_callbacks_delivers_a_cancellation(world: World) -> None:
    guest = world.guest()
    caller: Any = None

    def callback(*event: int) -> Core:
        world.log.append(event)
        if event == TASK_CANCELLED:
            yield guest.task_cancel()
            return EXIT
        caller.cancel()
        return YIELD

    caller = HostCaller(guest.lift(lambda: YIELD, callback=callback))
    world.store.tick(caller.begin)
    assert world.log == [NO_EVENT, TASK_CANCELLED]
    assert caller.results == [CANCELLED]


def test_a_callback_is_not_cancelled_while_another_task_holds_the_instance(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)

    def waits() -> Core:
        return WAIT | (yield guest.set_new()) << 4

    def callback(*event: int) -> Core:
        world.log.append(event)
        yield guest.task_cancel()
        return EXIT

    waiting = world.call(guest.lift(waits, callback=callback))
    world.call(blocker(world, guest, "a", "sync", gate))
    world.cancel(waiting)
    assert waiting.results == []


def test_a_blocked_stackful_task_ignores_a_cancellation(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    caller = world.call(blocker(world, guest, "a", "stackful", gate))
    world.cancel(caller)
    assert caller.results == []
    gate.resolve()
    assert caller.results == [None]


def test_a_task_that_has_returned_is_not_cancelled(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    call = guest.lower(gate)

    def body() -> Core:
        yield guest.task_return()
        yield call()

    caller = world.call(guest.lift(body))
    world.cancel(caller)
    gate.resolve()
    assert caller.results == [None]
    assert world.store.trap is None


def test_a_preempted_task_is_asked_to_cancel_after_it_has_gone_on(world: World) -> None:
    guest = world.guest()

    def body() -> Core:
        set_index = yield guest.set_new()
        yield PREEMPT
        return WAIT | set_index << 4

    def callback(*event: int) -> Core:
        yield guest.task_cancel()
        return EXIT

    caller = HostCaller(guest.lift(body, callback=callback))
    caller.begin()
    assert world.store.preempted is not None
    world.cancel(caller)
    assert caller.results == [CANCELLED]


def test_a_guests_cancellation_is_delivered_once_the_instance_is_free(world: World) -> None:
    """The callee waits between callbacks, but another task holds its instance when its caller asks."""
    callee, caller, gate = world.guest("callee"), world.guest("caller"), HostImport(world.store)

    def waits() -> Core:
        return WAIT | (yield callee.set_new()) << 4

    def callback(*event: int) -> Core:
        world.log.append(event)
        yield callee.task_cancel()
        return EXIT

    call = caller.lower(callee.lift(waits, callback=callback), is_async=True)
    holder = blocker(world, callee, "a", "sync", gate)

    def body() -> Core:
        index = (yield call()) >> 4
        yield caller.lower(holder, is_async=True)()
        assert (yield caller.subtask_cancel(index, is_async=True)) == BLOCKED
        set_index = yield caller.set_new()
        yield caller.join(index, set_index)
        assert (yield caller.set_wait(set_index)) == EventCode.SUBTASK
        world.log.append(caller.memory.u32(4))
        yield caller.task_return()

    cancelling = world.call(caller.lift(body))
    assert world.log == ["a in"]
    gate.resolve()
    assert world.log == ["a in", "a out", TASK_CANCELLED, SubtaskState.CANCELLED_BEFORE_RETURNED]
    assert cancelling.results == [None]


def test_a_cancellation_by_one_that_the_callee_has_called_is_delivered_after_it_has_left(world: World) -> None:
    """The instance can't be entered while it is on the stack (may_enter_from)."""
    callee, caller = world.guest("callee"), world.guest("caller")
    subtasks: list[int] = []

    def waits() -> Core:
        return WAIT | (yield callee.set_new()) << 4

    def callback(*event: int) -> Core:
        world.log.append(event)
        yield callee.task_cancel()
        return EXIT

    start = caller.lower(callee.lift(waits, callback=callback), is_async=True)

    def cancels() -> Core:
        assert (yield caller.subtask_cancel(subtasks[0], is_async=True)) == BLOCKED
        yield caller.task_return()

    def starts() -> Core:
        subtasks.append((yield start()) >> 4)
        yield caller.task_return()

    world.call(caller.lift(starts))
    ask = callee.lower(caller.lift(cancels))

    def through() -> Core:
        yield ask()
        world.log.append("back")
        yield callee.task_return()

    world.call(callee.lift(through))
    assert world.log == ["back", TASK_CANCELLED]

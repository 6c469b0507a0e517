"""What freezes a store: a guest that was preempted, and one that waits in an import of a sync type."""

from __future__ import annotations

from typing import Any

import pytest
from runtime_fakes import (
    PREEMPT,
    THREAD_START,
    U32,
    Core,
    FakeTable,
    Guest,
    HostCaller,
    HostImport,
    World,
    blocked,
    yielding,
)

from p3host.runtime import canon
from p3host.runtime.resource import Resource
from p3host.types import OwnType


@pytest.fixture
def world() -> World:
    return World()


# Preempted


def test_a_preempted_guest_freezes_its_store_until_it_has_gone_on(world: World) -> None:
    guest, other = world.guest(), world.guest("other")

    def spins() -> Core:
        world.log.append("spin")
        yield PREEMPT
        world.log.append("spun")
        yield guest.task_return()

    func = guest.lift(spins)
    caller = HostCaller(func)
    caller.begin()
    assert world.store.preempted is not None
    assert world.store.has_work
    assert not guest.inst.may_enter
    later = HostCaller(yielding(world, other, "other", 1))
    world.store.tick(later.begin)
    assert world.log == ["spin", "spun", "other"]
    assert caller.results == later.results == [None]
    assert guest.inst.may_enter
    assert world.store.preempted is None


def test_a_guest_that_is_preempted_again_keeps_the_store_frozen(world: World) -> None:
    guest = world.guest()

    def spins() -> Core:
        for _ in range(5):
            yield PREEMPT
        yield guest.task_return()

    caller = HostCaller(guest.lift(spins))
    caller.begin()
    other = HostCaller(yielding(world, guest, "other", 1))
    ticks = 0
    while not caller.results:
        world.store.tick(other.begin if ticks == 0 else None)
        ticks += 1
        assert bool(caller.results) == bool(other.results) or not other.results
    assert ticks == 5
    assert other.results == [None]


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync lower", "async lower"])
def test_callers_of_a_preempted_guest_go_on_after_it(world: World, depth: int, is_async: bool) -> None:
    innermost = world.guest("0")

    def spins() -> Core:
        yield PREEMPT
        yield PREEMPT
        world.log.append(0)
        yield innermost.task_return()

    func = innermost.lift(spins)
    guests = [innermost]
    for level in range(1, depth + 1):
        guest = world.guest(str(level))
        call = guest.lower(func, is_async=is_async)

        def body(guest: Guest = guest, call: Any = call, level: int = level) -> Core:
            answer = yield call()
            assert answer == (2 if is_async else None)
            world.log.append(level)
            yield guest.task_return()

        func = guest.lift(body, name=str(level))
        guests.append(guest)
    caller = HostCaller(func)
    caller.begin()
    assert not any(guest.inst.may_enter for guest in guests)
    while world.store.frozen:
        world.store.tick()
    assert world.log == list(range(depth + 1))
    assert caller.results == [None]
    assert all(guest.inst.may_enter for guest in guests)


def test_a_preempted_function_of_a_sync_type_is_resolved_when_its_call_returns_to_the_guest(world: World) -> None:
    callee, guest = world.guest("callee"), world.guest()

    def spins() -> Core:
        yield PREEMPT
        return 6

    call = guest.lower(callee.lift(spins, (), U32, abi="sync", is_async=False), (), U32, async_type=False)

    def body() -> Core:
        return (yield call())

    caller = HostCaller(guest.lift(body, (), U32, abi="sync", is_async=False))
    caller.begin()
    while world.store.frozen:
        world.store.tick()
    assert caller.results == [6]


def test_a_preempted_destructor_is_over_before_the_drop_returns(world: World) -> None:
    owner, guest = world.guest("owner"), world.guest()

    def destructor(rep: int) -> Core:
        yield PREEMPT
        world.log.append("destroyed")

    runtime, static = owner.resource(destructor=destructor)
    index = guest.options().lower_own(Resource(runtime, 6, own=True), OwnType(static))

    def body() -> Core:
        yield guest.resource_drop(runtime, index)
        world.log.append("dropped")

    caller = HostCaller(guest.lift(body, abi="sync", is_async=False))
    caller.begin()
    world.store.tick()
    assert world.log == ["destroyed", "dropped"]
    assert caller.results == [None]


def test_a_callee_that_is_preempted_while_it_is_cancelled_ends_before_the_cancel_answers(world: World) -> None:
    guest, callee = world.guest(), world.guest("callee")

    def waits() -> Core:
        return 2 | (yield callee.set_new()) << 4

    def callback(*event: int) -> Core:
        yield PREEMPT
        yield callee.task_cancel()
        return 0

    call = guest.lower(callee.lift(waits, callback=callback), is_async=True)

    def body() -> Core:
        index = (yield call()) >> 4
        world.log.append((yield guest.subtask_cancel(index)))
        yield guest.task_return()

    caller = HostCaller(guest.lift(body))
    caller.begin()
    assert world.store.preempted is not None
    world.store.tick()
    assert world.log == [4]
    assert caller.results == [None]
    assert callee.inst.may_enter


def test_a_thread_that_is_switched_to_and_preempted_goes_on_first(world: World) -> None:
    guest = world.guest()

    def worker(argument: int) -> Core:
        yield PREEMPT
        world.log.append("worker")

    table = FakeTable(worker)

    def body() -> Core:
        index = yield lambda: canon.canon_thread_new_indirect(guest.thread(), table, THREAD_START, 0, 0)
        yield guest.switch("yield_then_resume", index)
        world.log.append("main")
        yield guest.task_return()

    caller = HostCaller(guest.lift(body))
    caller.begin()
    world.store.tick()
    assert world.log == ["worker", "main"]
    assert caller.results == [None]


# Held


def held_call(world: World, guest: Guest, gate: HostImport) -> HostCaller:
    """A call of a guest that waits in an import whose type is not async."""
    call = guest.lower(gate, (), U32, async_type=False)

    def body() -> Core:
        answer = yield call()
        world.log.append(answer)
        return answer

    caller = HostCaller(guest.lift(body, (), U32, abi="sync", is_async=False))
    caller.begin()
    return caller


def test_a_guest_that_waits_in_an_import_of_a_sync_type_holds_its_store(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    held = held_call(world, guest, gate)
    assert not world.store.has_work
    other = HostCaller(yielding(world, world.guest("other"), "other", 1))
    world.store.tick(other.begin)
    world.store.tick()
    assert not other.started
    assert not world.store.has_work
    gate.resolve(3)
    assert held.results == [3]
    assert other.results == [None]
    assert world.log == [3, "other"]
    assert guest.inst.may_enter


def test_the_answers_of_other_calls_wait_until_the_held_one_is_answered(world: World) -> None:
    guest, other, gate, slow = world.guest(), world.guest("other"), HostImport(world.store), HostImport(world.store)
    waiting = world.call(blocked(world, other, slow))
    held = held_call(world, guest, gate)
    slow.resolve()
    assert waiting.results == []
    gate.resolve(4)
    assert held.results == [4]
    assert waiting.results == [None]
    assert world.log == [4, "went on"]


def test_a_held_call_that_fails_traps_its_guest(world: World) -> None:
    gate = HostImport(world.store)
    held_call(world, world.guest(), gate)
    gate.fail(OSError("no"))
    assert "raised OSError: no" in world.trap()


def test_a_guest_can_be_held_again_and_preempted_in_between(world: World) -> None:
    guest = world.guest()
    gates = [HostImport(world.store), HostImport(world.store)]
    calls = [guest.lower(gate, (), U32, async_type=False) for gate in gates]

    def body() -> Core:
        first = yield calls[0]()
        yield PREEMPT
        return first + (yield calls[1]())

    caller = HostCaller(guest.lift(body, (), U32, abi="sync", is_async=False))
    caller.begin()
    gates[0].resolve(1)
    world.store.tick()
    gates[1].resolve(2)
    assert caller.results == [3]
    assert not world.store.frozen
    assert world.store.held is None


def test_a_cancellation_of_a_held_call_waits_for_its_answer(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    caller = held_call(world, guest, gate)
    world.cancel(caller)
    assert caller.results == []
    gate.resolve(5)
    assert caller.results == [5]

"""The store: its queue, and what ends it (CanonicalABI.md, "Embedding API")."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from itertools import permutations
from typing import Any

import pytest
from runtime_fakes import (
    BYTES,
    PREEMPT,
    U32,
    Core,
    HostCaller,
    HostImport,
    World,
    blocked,
    yielding,
)

from p3host.errors import Exit, Trap
from p3host.runtime.choice import Choice
from p3host.runtime.resource import RuntimeResource
from p3host.runtime.task import CANCELLED
from p3host.runtime.thread import Thread
from p3host.types import OwnType


@pytest.fixture
def world() -> World:
    return World()


def begin_all(world: World, funcs: list[Any]) -> list[HostCaller]:
    """Begins the calls in one step, so that none is ahead of another."""
    callers = [HostCaller(func) for func in funcs]

    def begin() -> None:
        for caller in callers:
            caller.begin()

    world.store.tick(begin)
    return callers


# Order


def test_threads_have_their_turns_in_the_order_in_which_they_became_ready(world: World) -> None:
    guest = world.guest()
    begin_all(world, [yielding(world, guest, name) for name in "abc"])
    assert "".join(world.log) == "abcabc"


def test_what_has_happened_comes_before_those_that_merely_yield(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    call = guest.lower(gate)

    def waits() -> Core:
        yield call()
        world.log.append("answered")
        yield guest.task_return()

    def answers() -> Core:
        gate.calls[0].on_resolve(None)
        yield guest.yield_()
        world.log.append("yielded")
        yield guest.task_return()

    world.call(guest.lift(waits))
    world.call(guest.lift(answers))
    assert world.log == ["answered", "yielded"]


@pytest.mark.parametrize("wanted", list(permutations("abc")), ids="".join)
def test_choose_can_bring_about_any_order(wanted: tuple[str, ...]) -> None:
    names = list("abc")

    def choose(choice: Choice, options: Sequence[Any]) -> int:
        assert choice is Choice.TURN
        ready = [thread.task.func.name for thread in options]
        return ready.index(next(name for name in wanted if name in ready))

    world = World(choose=choose)
    guest = world.guest()

    def once(name: str) -> Any:
        def body() -> Core:
            world.log.append(name)
            yield guest.yield_()
            world.log.append(name)
            yield guest.task_return()

        return guest.lift(body, name=name)

    begin_all(world, [once(name) for name in names])
    while world.store.has_work:
        world.store.tick()
    assert tuple(world.log[3:]) == wanted


def test_with_a_chooser_a_tick_takes_one_turn_of_what_the_host_has_done_or_of_what_is_ready() -> None:
    asked: list[list[str]] = []

    def last(choice: Choice, options: Sequence[Any]) -> int:
        asked.append(["thread" if isinstance(option, Thread) else "host" for option in options])
        return len(options) - 1

    world = World(choose=last)
    guest = world.guest()
    world.call(yielding(world, guest, "a", turns=1))
    for name in "xy":
        world.store.post(None, partial(world.log.append, name))
    assert world.log == ["a"]
    while world.store.has_work:
        world.store.tick()
    assert asked == [["thread"], ["host", "host"], ["host"]]
    assert world.log == ["a", "y", "x"]


def test_a_tick_ends_when_its_slice_is_over_and_the_next_one_goes_on(world: World) -> None:
    guest = world.guest()
    world.store.slice_seconds = 0.0

    def body() -> Core:
        for turn in range(3):
            world.log.append(turn)
            time.sleep(0.001)
            yield guest.yield_()
        yield guest.task_return()

    caller = world.call(guest.lift(body))
    ticks = 0
    while world.store.has_work:
        assert world.log
        world.store.tick()
        ticks += 1
    assert caller.results == [None]
    assert ticks >= 2


def test_an_action_within_a_tick_is_done_later_in_the_same_tick(world: World) -> None:
    guest = world.guest()

    def body() -> Core:
        world.store.tick(lambda: world.log.append("later"))
        world.log.append("first")
        yield guest.task_return()

    world.call(guest.lift(body))
    assert world.log == ["first", "later"]


def test_waking_a_thread_outside_of_a_tick_tells_the_driver(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    call = guest.lower(gate)
    woken: list[bool] = []
    world.store.on_wake = lambda: woken.append(True)

    def body() -> Core:
        yield call()

    caller = world.call(guest.lift(body, abi="sync"))
    assert not woken
    gate.calls[0].on_resolve(None)
    assert woken
    assert world.store.has_work
    world.store.tick()
    assert caller.results == [None]


def test_one_that_was_woken_twice_runs_once(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    call = guest.lower(gate)

    def body() -> Core:
        yield call()
        world.log.append("ran")
        yield guest.yield_()

    world.call(guest.lift(body, abi="sync"))
    (thread,) = world.store.threads
    gate.calls[0].on_resolve(None)
    thread.wake()
    assert len(world.store.queue) == 1
    world.store.tick()
    assert world.log == ["ran"]


# The end


@pytest.mark.parametrize("error", [Trap("bad"), ValueError("a bug"), Exit(3)], ids=lambda error: type(error).__name__)
def test_an_error_ends_the_store_and_nothing_runs_after_it(world: World, error: Exception) -> None:
    guest = world.guest()

    def fails() -> Core:
        yield guest.yield_()
        raise error

    begin_all(world, [guest.lift(fails), yielding(world, guest, "other", 9)])
    assert world.failures == [error]
    assert world.store.trap is not None
    assert not world.store.has_work
    seen = list(world.log)
    world.store.tick()
    late = HostCaller(yielding(world, guest, "late"))
    world.store.tick(late.begin)
    assert not late.started
    assert world.log == seen


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()], ids=lambda error: type(error).__name__)
def test_an_interrupt_ends_the_store_and_goes_on_to_the_driver(world: World, error: BaseException) -> None:
    def body() -> None:
        raise error

    caller = HostCaller(world.guest().lift(body))
    with pytest.raises(type(error)):
        world.store.tick(caller.begin)
    assert world.store.trap is not None
    assert not world.store.ticking


def test_a_trap_while_the_store_is_frozen_ends_those_that_wait_too(world: World) -> None:
    callee, guest = world.guest("callee"), world.guest()

    def spins() -> Core:
        yield PREEMPT
        raise Trap("after a while")

    call = guest.lower(callee.lift(spins))

    def body() -> Core:
        yield call()
        world.log.append("never")

    caller = HostCaller(guest.lift(body))
    caller.begin()
    world.store.tick()
    assert world.trap() == "after a while"
    assert world.log == []
    assert world.store.frozen == []


def test_a_trap_of_a_callee_unwinds_its_caller(world: World) -> None:
    callee, guest = world.guest("callee"), world.guest()

    def traps() -> None:
        raise Trap("inside")

    call = guest.lower(callee.lift(traps, abi="sync"))

    def body() -> Core:
        yield call()
        world.log.append("never")

    world.call(guest.lift(body))
    assert world.trap() == "inside"
    assert world.log == []


def test_a_trap_after_the_result_leaves_the_result_with_its_caller(world: World) -> None:
    guest = world.guest()

    def body() -> Core:
        yield guest.task_return(5, result=U32)
        raise Trap("afterwards")

    caller = world.call(guest.lift(body, (), U32))
    assert caller.results == [5]
    assert world.trap() == "afterwards"


def test_the_host_gets_back_what_a_trapped_guest_owned(world: World) -> None:
    guest = world.guest()
    released: list[object] = []
    _, static = guest.add_resource(RuntimeResource("file", None, drop=released.append))
    guest.options().lower_own("a file", OwnType(static))
    world.store.poison(Trap("bad"))
    assert released == ["a file"]


# Waits


def test_each_wait_is_explained(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    readable, _ = guest.new(BYTES)()

    def reads() -> Core:
        yield guest.read(BYTES, readable, 0, 4, is_async=False)

    def suspends() -> Core:
        yield guest.suspend()

    world.call(blocked(world, guest, gate))
    world.call(guest.lift(reads, name="reads"))
    world.call(guest.lift(suspends, name="suspends"))
    assert world.waits() == [
        "the task of 'f' waits for the call of 'import'",
        "the task of 'reads' waits for an event of a waitable",
        "the task of 'suspends' waits for being resumed by another thread",
    ]


def test_a_cancelled_thread_that_still_stands_in_the_queue_does_not_run_twice(world: World) -> None:
    guest = world.guest()

    def callback(*event: int) -> Core:
        world.log.append(event[0])
        yield guest.task_cancel()
        return 0

    caller = HostCaller(guest.lift(lambda: 1, callback=callback))

    def begin_and_cancel() -> None:
        caller.begin()
        caller.cancel()

    world.store.tick(begin_and_cancel)
    assert world.log == [6]
    assert caller.results == [CANCELLED]
    assert not world.store.has_work

"""Waitable sets and their events (CanonicalABI.md, "Waitable State")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from runtime_fakes import BYTE, BYTES, Core, HostImport, World

from p3host.runtime.choice import Choice

STREAM_READ, STREAM_WRITE, FUTURE_READ, FUTURE_WRITE = 2, 3, 4, 5


@pytest.fixture
def world() -> World:
    return World()


def play(world: World, body: Any) -> Any:
    """Calls a stackful function of the guest's that runs `body(guest)`."""
    guest = world.guest()

    def core() -> Core:
        yield from body(guest)
        yield guest.task_return()

    return world.call(guest.lift(core))


@pytest.mark.parametrize("operation", ["set_wait", "set_poll", "set_drop"])
@pytest.mark.parametrize(("index", "message"), [("readable", "is no waitable set"), (0, "unknown"), (99, "unknown")])
def test_what_is_no_set_traps(world: World, operation: str, index: int | str, message: str) -> None:
    def body(guest: Any) -> Core:
        readable, _ = yield guest.new(BYTES)
        yield getattr(guest, operation)(readable if index == "readable" else index)

    play(world, body)
    assert message in world.trap()


@pytest.mark.parametrize(
    ("what", "into", "message"),
    [
        ("set", "set", "is no waitable"),
        ("nothing", "set", "unknown handle index 99"),
        ("readable", "readable", "is no waitable set"),
        ("readable", "nothing", "unknown handle index 99"),
        ("readable", "set", None),
        ("writable", "set", None),
        ("writable", "no set", None),
    ],
)
def test_what_can_join_what(world: World, what: str, into: str, message: str | None) -> None:
    def body(guest: Any) -> Core:
        readable, writable = yield guest.new(BYTES)
        names = {"readable": readable, "writable": writable, "nothing": 99, "no set": 0, "set": (yield guest.set_new())}
        yield guest.join(names[what], names[into])

    caller = play(world, body)
    if message is None:
        assert caller.results == [None]
    else:
        assert message in world.trap()


def test_poll_answers_none_where_nothing_has_happened(world: World) -> None:
    def body(guest: Any) -> Core:
        guest.memory.data[8:16] = b"\xff" * 8
        world.log.append((yield guest.set_poll((yield guest.set_new()), 8)))
        world.log.append(bytes(guest.memory.data[8:16]))

    play(world, body)
    assert world.log == [0, bytes(8)]


def test_a_set_with_members_is_not_dropped(world: World) -> None:
    def body(guest: Any) -> Core:
        readable, _ = yield guest.new(BYTES)
        set_index = yield guest.set_new()
        yield guest.join(readable, set_index)
        yield guest.set_drop(set_index)

    play(world, body)
    assert "still has members" in world.trap()


def test_a_set_that_a_thread_waits_for_is_not_dropped(world: World) -> None:
    guest = world.guest()
    set_index = guest.set_new()()

    def waits() -> Core:
        yield guest.set_wait(set_index)

    def drops() -> Core:
        yield guest.set_drop(set_index)

    world.call(guest.lift(waits))
    world.call(guest.lift(drops))
    assert "that a thread waits for" in world.trap()


@pytest.mark.parametrize(
    ("pointer", "message"), [(2, "not aligned"), (4096, "out of bounds"), (4092, "out of bounds"), (4088, None)]
)
@pytest.mark.parametrize("operation", ["set_wait", "set_poll"])
def test_the_event_buffer_is_checked(world: World, operation: str, pointer: int, message: str | None) -> None:
    def body(guest: Any) -> Core:
        readable, writable = yield guest.new(BYTES)
        set_index = yield guest.set_new()
        yield guest.join(readable, set_index)
        yield guest.read(BYTES, readable, 0, 4)
        yield guest.drop_writable(BYTES, writable)
        world.log.append((yield getattr(guest, operation)(set_index, pointer)))

    play(world, body)
    if message is None:
        assert world.log == [STREAM_READ]
    else:
        assert message in world.trap()


def test_an_event_that_is_there_is_delivered_without_blocking(world: World) -> None:
    def body(guest: Any) -> Core:
        readable, writable = yield guest.new(BYTES)
        set_index = yield guest.set_new()
        yield guest.join(readable, set_index)
        yield guest.read(BYTES, readable, 0, 4)
        yield guest.write(BYTES, writable, 16, 2)
        wait = guest.set_wait(set_index, 32)
        world.log.append(wait())

    play(world, body)
    assert world.log == [STREAM_READ]


def test_events_are_delivered_in_the_order_in_which_they_came(world: World) -> None:
    def body(guest: Any) -> Core:
        set_index = yield guest.set_new()
        pairs = []
        for _ in range(3):
            pairs.append((yield guest.new(BYTES)))
            yield guest.join(pairs[-1][0], set_index)
            yield guest.read(BYTES, pairs[-1][0], 0, 4)
        for pair in (pairs[2], pairs[0], pairs[1]):
            yield guest.write(BYTES, pair[1], 16, 1)
        for _ in range(3):
            yield guest.set_wait(set_index, 32)
            world.log.append([pair[0] for pair in pairs].index(guest.memory.u32(32)))

    play(world, body)
    assert world.log == [2, 0, 1]


def test_choose_picks_among_the_events() -> None:
    asked: list[int] = []

    def last(choice: Choice, options: Sequence[Any]) -> int:
        if choice is Choice.EVENT:
            asked.append(len(options))
            return len(options) - 1
        return 0

    world = World(choose=last)

    def body(guest: Any) -> Core:
        set_index = yield guest.set_new()
        ends = []
        for _ in range(3):
            readable, writable = yield guest.new(BYTES)
            ends.append(readable)
            yield guest.join(readable, set_index)
            yield guest.read(BYTES, readable, 0, 4)
            yield guest.write(BYTES, writable, 16, 1)
        yield guest.set_poll(set_index, 32)
        world.log.append(ends.index(guest.memory.u32(32)))

    play(world, body)
    assert world.log == [2]
    assert asked == [3]


def test_an_event_moves_with_its_waitable_to_another_set(world: World) -> None:
    def body(guest: Any) -> Core:
        first, second = (yield guest.set_new()), (yield guest.set_new())
        readable, writable = yield guest.new(BYTES)
        yield guest.join(readable, first)
        yield guest.read(BYTES, readable, 0, 4)
        yield guest.write(BYTES, writable, 16, 1)
        yield guest.join(readable, second)
        world.log.append((yield guest.set_poll(first, 32)))
        world.log.append((yield guest.set_poll(second, 32)))
        yield guest.join(readable, 0)
        yield guest.set_drop(first)
        yield guest.set_drop(second)

    caller = play(world, body)
    assert world.log == [0, STREAM_READ]
    assert caller.results == [None]


def test_an_event_wakes_one_of_those_that_wait_and_the_others_wait_on(world: World) -> None:
    guest = world.guest()
    set_index = guest.set_new()()
    readable, writable = guest.new(BYTES)()
    guest.join(readable, set_index)()

    def waits(name: str) -> Any:
        def body() -> Core:
            yield guest.set_wait(set_index, 32)
            world.log.append(name)
            yield guest.task_return()

        return guest.lift(body)

    callers = [world.call(waits(name)) for name in "ab"]
    for expected in (["a"], ["a", "b"]):
        world.store.tick(guest.read(BYTES, readable, 0, 1))
        world.store.tick(guest.write(BYTES, writable, 16, 1))
        assert world.log == expected
    assert [caller.results for caller in callers] == [[None], [None]]


def test_a_waitable_that_a_thread_waits_for_can_not_join_a_set(world: World) -> None:
    guest = world.guest()
    readable, _ = guest.new(BYTES)()

    def reads() -> Core:
        yield guest.read(BYTES, readable, 0, 4, is_async=False)

    def joins() -> Core:
        yield guest.join(readable, (yield guest.set_new()))

    world.call(guest.lift(reads))
    world.call(guest.lift(joins))
    assert "while a thread waits for it" in world.trap()


def test_all_kinds_of_copies_have_their_event_codes(world: World) -> None:
    def body(guest: Any) -> Core:
        set_index = yield guest.set_new()
        for t, starts, ends in (
            (BYTES, guest.read, guest.write),
            (BYTES, guest.write, guest.read),
            (BYTE, guest.read, guest.write),
            (BYTE, guest.write, guest.read),
        ):
            pair = yield guest.new(t)
            first, second = pair if starts == guest.read else reversed(pair)
            yield guest.join(first, set_index)
            yield starts(t, first, 0, 1)
            yield ends(t, second, 16, 1)
            world.log.append((yield guest.set_wait(set_index, 32)))

    play(world, body)
    assert world.log == [STREAM_READ, STREAM_WRITE, FUTURE_READ, FUTURE_WRITE]


def test_a_thread_that_waits_is_woken_by_a_call_of_another_thread(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    call = guest.lower(gate, is_async=True)

    def body() -> Core:
        packed = yield call()
        set_index = yield guest.set_new()
        yield guest.join(packed >> 4, set_index)
        world.log.append((yield guest.set_wait(set_index, 32)))
        yield guest.task_return()

    caller = world.call(guest.lift(body))
    assert world.waits() == ["the task of 'f' waits for a waitable set"]
    gate.resolve()
    assert world.log == [1]
    assert caller.results == [None]
    assert world.waits() == []

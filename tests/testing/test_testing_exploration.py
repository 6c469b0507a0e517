"""Exploration: what a schedule decides, that it decides the same each time, and how failures are found and told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from guest_text import BEHAVIOURS
from hypothesis import given, settings
from hypothesis import strategies as st

import p3host
from p3host import Deadlock, Engine, EngineConfig, Trap
from p3host.runtime.choice import Choice
from p3host.testing import (
    Schedule,
    Testbed,
    double,
    explore,
    from_picks,
    from_seed,
    parse_picks,
    replay,
)
from p3host.testing.exploration import run, shrink
from p3host.testing.schedule import departures, picks_text

GUESTS = Path(__file__).parents[2] / "guests"
ACCOUNT = GUESTS / "text/account.wat"
REACTOR = GUESTS / "go-reactor/go-reactor.wasm"
C1, C4 = GUESTS / "c1/c1.wasm", GUESTS / "c4/c4.wasm"

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])
Test = Callable[[], Awaitable[None]]


def deposits(testbed: Testbed, count: int = 3) -> Test:
    """A test of a guest that loses updates when the host's answer doesn't come at once."""

    async def test() -> None:
        recorded: list[int] = []
        async with testbed.instantiate(ACCOUNT, {"record": recorded.append}) as guest:
            async with anyio.create_task_group() as calls:
                for _ in range(count):
                    calls.start_soon(guest.exports.deposit, 1)
            assert await guest.exports.balance() == count

    return test


def many_things(testbed: Testbed, log: list[Any]) -> Test:
    """A test in which much can happen in any order: calls, threads, sleeps, streams, cancellation."""

    async def pieces() -> AsyncIterator[bytes]:
        for letter in (b"a", b"b", b"c"):
            await anyio.sleep(0.003)
            yield letter * 10

    async def work(ms: int) -> int:
        await anyio.sleep(ms / 1000)
        log.append(("work", ms))
        return ms

    async def test() -> None:
        log.clear()
        one = {"p3host:c1/host": {"work": double("done", after=0.002), "plain": double(1)}}
        four = {"p3host:c4/host": {"work": work}}
        async with (
            testbed.instantiate(C1, one, allow_leaks=True) as first,
            testbed.instantiate(C4, four) as second,
            anyio.create_task_group() as calls,
        ):
            c1, c4 = first.exports["p3host:c1/guest"], second.exports["p3host:c4/guest"]

            async def note(name: str, function: Any, *args: Any) -> None:
                with anyio.move_on_after(0.004) as scope:
                    log.append((name, await function(*args)))
                log.append((name, scope.cancelled_caught))

            calls.start_soon(note, "many", c1.run_many, 3)
            calls.start_soon(note, "workers", c4.workers, 3)
            calls.start_soon(note, "add", c1.add, 1, 2)
            with anyio.CancelScope(shield=True):
                stream, _ = await c1.pipe(pieces())
                async for piece in stream:
                    log.append(piece)

    return test


def go_calls(testbed: Testbed, reactor: p3host.Component, log: list[Any]) -> Test:
    """A test of a Go guest, calls of which compute, sleep and call imports."""

    async def test() -> None:
        log.clear()
        imports = {"wait": double(after=0.001), "lookup": lambda name: f"hello, {name}"}
        async with testbed.instantiate(reactor, imports, allow_leaks=True) as guest:

            async def note(function: Any, *args: Any) -> None:
                log.append(await function(*args))

            async with anyio.create_task_group() as calls:
                for number in range(3):
                    calls.start_soon(note, guest.exports.sleep_echo, 1, f"call {number}")
                calls.start_soon(note, guest.exports.checksum, bytes(100_000))
            assert await guest.exports.fan_out(["a", "b"]) == ["hello, a", "hello, b"]

    return test


def traced(test: Test, schedule: Schedule, backend: str) -> list[str]:
    failure = run(test, schedule, backend)
    if failure is not None:
        raise failure
    assert schedule.trace is not None
    return schedule.trace.lines


# What a schedule decides


@backends
@pytest.mark.parametrize("seed", range(12))
def test_a_seed_gives_the_same_run_to_the_last_event(testbed: Testbed, backend: str, seed: int) -> None:
    logs: list[list[Any]] = [[], []]
    traces = [traced(many_things(testbed, log), from_seed(seed, tracing=True), backend) for log in logs]
    assert logs[0] == logs[1]
    assert traces[0] == traces[1]
    assert len(traces[0]) > 20


@backends
@pytest.mark.parametrize("seed", range(4))
def test_how_fast_the_machine_is_does_not_matter(testbed: Testbed, backend: str, seed: int) -> None:
    """Guests whose time slices are over again and again run as those that are never interrupted."""
    slow = Engine(EngineConfig(slice_seconds=1e-4))
    logs: list[list[Any]] = [[], []]
    traces = []
    for log, engine in zip(logs, (Engine.default(), slow), strict=True):
        reactor = p3host.Component.load(REACTOR, engine=engine)
        traces.append(traced(go_calls(testbed, reactor, log), from_seed(seed, tracing=True), backend))
    assert logs[0] == logs[1]
    assert traces[0] == traces[1]


@backends
def test_what_a_seed_did_is_replayed_by_what_it_picked(testbed: Testbed, backend: str) -> None:
    log: list[Any] = []
    schedule = from_seed(5, tracing=True)
    trace = traced(many_things(testbed, log), schedule, backend)
    again = from_picks(departures(schedule.picks), tracing=True)
    assert traced(many_things(testbed, log), again, backend) == trace
    assert again.picks == schedule.picks


@backends
def test_seeds_give_different_runs(testbed: Testbed, backend: str) -> None:
    log: list[Any] = []
    logs = set()
    for seed in range(20):
        traced(many_things(testbed, log), from_seed(seed, tracing=True), backend)
        logs.add(str(log))
    assert len(logs) > 10


@backends
def test_the_first_seed_is_the_usual_order(testbed: Testbed, backend: str) -> None:
    log: list[Any] = []
    schedule = from_seed(0)
    assert run(many_things(testbed, log), schedule, backend) is None
    assert departures(schedule.picks) == {}


class Noting(Schedule):
    """A schedule that notes what it is asked about."""

    asked: set[Choice]

    def choose(self, choice: Choice, options: Any) -> int:
        if len(options) > 1:
            self.asked.add(choice)
        return super().choose(choice, options)


@backends
def test_every_kind_of_choice_comes_up(testbed: Testbed, backend: str) -> None:
    asked: set[Choice] = set()
    tests = [
        many_things(testbed, []),
        deposits(testbed, 1),
        lambda: waits_on_its_stack(testbed),
    ]
    for seed in range(1, 30):
        for test in tests:
            schedule = Noting(from_seed(seed).pick_one)
            schedule.asked = asked
            run(test, schedule, backend)
    # No task has two threads that can be told of a cancellation, since built-ins can't be cancellable any more.
    assert asked == set(Choice) - {Choice.CANCEL}


async def waits_on_its_stack(testbed: Testbed) -> None:
    imports = {"p3host:c2/host": {"work": double("x", after=0.001), "source": double()}}
    async with testbed.instantiate(GUESTS / "c2/c2.wasm", imports) as guest:
        assert await guest.exports["p3host:c2/guest"].stackful(3) == ["x", "x", "x"]


@backends
def test_copies_of_any_size_lose_nothing(testbed: Testbed, backend: str) -> None:
    async def test() -> None:
        imports = {"p3host:c1/host": {"work": double(""), "plain": double(0)}}
        async with testbed.instantiate(C1, imports) as guest:
            stream, total = await guest.exports["p3host:c1/guest"].pipe(b"abcdefghij" * 5)
            assert await stream.read_all() == b"ABCDEFGHIJ" * 5
            assert await total == 50

    explore(test, schedules=40, backend=backend)


@backends
def test_a_cancellation_may_land_anywhere(testbed: Testbed, backend: str) -> None:
    outcomes = set()

    async def test() -> None:
        async with testbed.instantiate(BEHAVIOURS, {"wait": double(7, after=0.0005)}) as guest:
            with anyio.move_on_after(0.001) as scope:
                assert await guest.exports.nap(1) == 7
            outcomes.add(scope.cancelled_caught)

    explore(test, schedules=60, backend=backend)
    assert outcomes == {True, False}


@backends
def test_go_guests_withstand_any_schedule(testbed: Testbed, backend: str) -> None:
    explore(go_calls(testbed, testbed.load(REACTOR), []), schedules=8, backend=backend)


# Failures


@backends
def test_a_lost_update_is_found_within_a_hundred_schedules(testbed: Testbed, backend: str) -> None:
    assert run(deposits(testbed), from_seed(0), backend) is None
    with pytest.raises(AssertionError) as caught:
        explore(deposits(testbed), backend=backend)
    (note,) = caught.value.__notes__
    assert "To replay: seed=" in note
    assert "'record' answers call 1 of 'deposit'" in note
    assert "<- choice" in note


@backends
def test_what_was_found_is_replayed_by_its_seed_and_by_its_schedule(testbed: Testbed, backend: str) -> None:
    with pytest.raises(AssertionError) as caught:
        explore(deposits(testbed), backend=backend)
    (note,) = caught.value.__notes__
    seed = int(note.partition("seed=")[2].partition(",")[0])
    picks = parse_picks(note.partition("schedule='")[2].partition("'")[0])
    with pytest.raises(AssertionError) as by_seed:
        explore(deposits(testbed), schedules=1, seed=seed, backend=backend)
    assert by_seed.value.__notes__ == [note]
    with pytest.raises(AssertionError) as by_schedule:
        replay(deposits(testbed), picks, backend=backend)
    assert by_schedule.value.__notes__[0].partition("What happens")[2] == note.partition("What happens")[2]
    replay(deposits(testbed), {}, backend=backend)


@backends
def test_the_schedule_of_a_failure_is_made_simple(testbed: Testbed, backend: str) -> None:
    """Any of the answers but the last may come late; one is enough."""
    for seed in range(1, 12):
        schedule = from_seed(seed)
        if run(deposits(testbed, 6), schedule, backend) is not None and len(departures(schedule.picks)) > 3:
            break
    with pytest.raises(AssertionError) as caught:
        explore(deposits(testbed, 6), schedules=1, seed=seed, backend=backend)
    (note,) = caught.value.__notes__
    assert "The simplest one found that fails departs once." in note


@backends
def test_the_traceback_of_a_failure_is_the_tests_own(testbed: Testbed, backend: str) -> None:
    with pytest.raises(AssertionError) as caught:
        explore(deposits(testbed), backend=backend)
    names = [entry.name for entry in caught.traceback]
    assert names[-1] == "test"
    assert "run_test" not in names


@backends
def test_a_test_that_hangs_under_a_schedule_fails(testbed: Testbed, backend: str) -> None:
    async def test() -> None:
        async with testbed.instantiate(ACCOUNT, {"record": double()}) as guest:
            got = []

            async def deposit() -> None:
                await guest.exports.deposit(1)
                got.append(1)

            async with anyio.create_task_group() as calls:
                calls.start_soon(deposit)
                calls.start_soon(deposit)
                await guest.exports.balance()
                if len(got) < 2:  # which is so where an answer comes late
                    await anyio.Event().wait()

    with pytest.raises((Deadlock, ExceptionGroup)) as caught:
        explore(test, backend=backend)
    failure = caught.value
    while isinstance(failure, ExceptionGroup):
        (failure,) = failure.exceptions
    assert isinstance(failure, Deadlock)
    assert "the test waits for what can never happen" in str(failure)


@backends
def test_calls_that_can_never_return_tell_who_waits_for_what(testbed: Testbed, backend: str) -> None:
    async def test() -> None:
        async with testbed.instantiate(BEHAVIOURS, {"wait": double(0)}) as guest:
            await guest.exports.forever()

    with pytest.raises(Deadlock, match=r"(?s)no task can ever go on.*'forever'.*waits for a waitable set"):
        explore(test, schedules=1, backend=backend)


@backends
def test_a_guest_that_yields_forever_ends_the_test(
    testbed: Testbed, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p3host.testing.schedule.MAX_TURNS", 100)

    async def test() -> None:
        async with testbed.instantiate(BEHAVIOURS, {"wait": double(0)}) as guest:
            await guest.exports.yielding()

    with pytest.raises(Trap, match="after 100 turns the test has not ended"):
        explore(test, schedules=1, backend=backend)


@backends
def test_a_test_that_depends_on_more_than_the_schedule_is_told_so(testbed: Testbed, backend: str) -> None:
    runs = []

    async def test() -> None:
        runs.append(1)
        assert len(runs) != 3

    with pytest.raises(AssertionError) as caught:
        explore(test, backend=backend)
    assert "depends on more than the schedule" in caught.value.__notes__[0]


def test_what_is_passed_on_ends_the_exploration() -> None:
    async def test() -> None:
        raise LookupError

    with pytest.raises(LookupError) as caught:
        explore(test, passed_on=(LookupError,))
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.anyio
async def test_a_schedule_in_real_time_is_refused(testbed: Testbed) -> None:
    async def enter() -> None:
        async with testbed.instantiate(ACCOUNT, {"record": double()}, schedule=from_seed(1)):
            pass

    with pytest.raises(RuntimeError, match="needs virtual time"):
        await enter()


# Shrinking and the texts of schedules


@given(st.dictionaries(st.integers(1, 200), st.integers(1, 5), max_size=30), st.data())
@settings(max_examples=50, deadline=None, derandomize=True)
def test_shrinking_keeps_what_the_failure_needs_and_nothing_else(picks: dict[int, int], data: st.DataObject) -> None:
    needed = data.draw(st.sets(st.sampled_from(sorted(picks)))) if picks else set()

    def fails(candidate: Mapping[int, int]) -> bool:
        return needed <= candidate.keys()

    assert shrink(picks, fails) == dict.fromkeys(needed, 1)


def test_shrinking_ends_after_a_number_of_runs() -> None:
    runs = []

    def fails(candidate: Mapping[int, int]) -> bool:
        runs.append(1)
        return False

    shrink(dict.fromkeys(range(1, 2000), 2), fails)
    assert len(runs) == 200


@given(st.dictionaries(st.integers(1, 1000), st.integers(1, 100)))
def test_a_schedule_as_text_is_read_back(picks: dict[int, int]) -> None:
    assert parse_picks(picks_text(picks)) == picks


@pytest.mark.parametrize("text", ["1", "a:b", "0:1", "1:-1", "1:2:3", "1.5:1"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no schedule"):
        parse_picks(text)

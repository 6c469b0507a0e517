"""Schedules as objects: what they pick, and what they tell of it, line by line."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from guest_text import BEHAVIOURS
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.errors import StopTest

from p3host import Trap
from p3host.runtime.choice import Choice, choose_amount, promptly
from p3host.testing import Schedule, Testbed, current_schedule, double, explore, from_picks, from_seed
from p3host.testing.exploration import run
from p3host.testing.schedule import SLACK, departures
from p3host.testing.strategies import MOST_DRAWN, drawn, schedules
from p3host.testing.trace import LONGEST, Trace

GUESTS = Path(__file__).parents[2] / "guests"
ACCOUNT = GUESTS / "text/account.wat"
C1 = GUESTS / "c1/c1.wasm"

Test = Callable[[], Awaitable[None]]
backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


# What a schedule picks


def test_a_single_possibility_is_no_choice() -> None:
    def pick(count: int) -> int:
        raise AssertionError

    schedule = Schedule(pick)
    assert schedule.choose(Choice.EVENT, ["only"]) == 0
    assert schedule.picks == []


def test_what_is_picked_is_recorded_and_kept_within_what_is_possible() -> None:
    numbers = iter([1, 5, 0])
    schedule = Schedule(lambda count: next(numbers))
    assert [schedule.choose(Choice.EVENT, "abc") for _ in range(3)] == [1, 2, 0]
    assert schedule.picks == [1, 2, 0]
    assert departures(schedule.picks) == {1: 1, 2: 2}


def test_picks_are_replayed_by_their_numbers() -> None:
    schedule = from_picks({2: 1, 4: 9})
    assert [schedule.choose(Choice.EVENT, "abc") for _ in range(5)] == [0, 1, 0, 2, 0]


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_seed_picks_the_same_each_time_and_the_usual_most_often(seed: int) -> None:
    first, second = from_seed(seed), from_seed(seed)
    picked = [[schedule.choose(Choice.EVENT, range(4)) for _ in range(200)] for schedule in (first, second)]
    assert picked[0] == picked[1]
    assert set(picked[0]) == {0, 1, 2, 3}
    assert picked[0].count(0) == max(map(picked[0].count, range(4)))


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        (from_seed(0), "Schedule('seed 0')"),
        (from_seed(7), "Schedule('seed 7')"),
        (from_picks({3: 1, 7: 2}), "Schedule('3:1 7:2')"),
        (Schedule(lambda count: 0), "Schedule('')"),
    ],
)
def test_a_schedule_is_called_after_what_it_was_made_of(schedule: Schedule, text: str) -> None:
    assert repr(schedule) == text


@pytest.mark.parametrize(
    ("waiting", "seconds", "asked"),
    [
        (["a"], None, None),
        (["a"], SLACK * 2, None),
        (["a"], SLACK / 2, 2),
        (["a", "b"], None, 2),
        (["a", "b"], SLACK * 2, 2),
        (["a", "b"], 0.0, 3),
    ],
)
def test_time_is_a_possibility_where_a_timer_is_near(
    waiting: list[str], seconds: float | None, asked: int | None
) -> None:
    counts: list[int] = []

    def last(count: int) -> int:
        counts.append(count)
        return count - 1

    assert Schedule(last).pick(waiting, seconds) == (0 if asked is None else asked - 1)
    assert counts == ([] if asked is None else [asked])


@pytest.mark.parametrize(
    ("count", "options"), [(0, None), (1, None), (2, (2, 1)), (3, (3, 1)), (4, (4, 1, 2)), (100, (100, 1, 50))]
)
def test_amounts_are_all_one_or_half(count: int, options: tuple[int, ...] | None) -> None:
    asked: list[Sequence[object]] = []

    def choose(choice: Choice, options: Sequence[object]) -> int:
        assert choice is Choice.AMOUNT
        asked.append(options)
        return len(options) - 1

    assert choose_amount(choose, count) == (count if options is None else options[-1])
    assert asked == ([] if options is None else [options])
    assert choose_amount(None, count) == count


@pytest.mark.parametrize(("picked", "at_once"), [(0, True), (1, False)])
def test_answers_come_at_once_or_later(picked: int, at_once: bool) -> None:
    assert promptly(lambda choice, options: picked, Choice.ANSWER, "it") is at_once
    assert promptly(None, Choice.ANSWER, "it")


# Failures of a schedule itself, and of what it runs


class Wrong(BaseException):
    """As an interrupt is, no mere Exception."""


def deposits(testbed: Testbed) -> Test:
    async def test() -> None:
        async with testbed.instantiate(ACCOUNT, {"record": double()}) as guest, anyio.create_task_group() as calls:
            for _ in range(3):
                calls.start_soon(guest.exports.deposit, 1)

    return test


@backends
@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_schedule_that_fails_ends_the_run(testbed: Testbed, backend: str, at: int) -> None:
    asked: list[int] = []

    def pick(count: int) -> int:
        asked.append(count)
        if len(asked) == at:
            raise ZeroDivisionError("the schedule is broken")
        return 0

    assert run(deposits(testbed), Schedule(pick), backend) is not None
    assert run(deposits(testbed), from_seed(0), backend) is None


@backends
def test_what_is_no_failure_ends_the_exploration_out_of_a_group_too(backend: str) -> None:
    runs: list[int] = []

    async def interrupt() -> None:
        raise KeyboardInterrupt

    async def test() -> None:
        runs.append(1)
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 1)
            group.start_soon(interrupt)

    with pytest.raises(KeyboardInterrupt):
        explore(test, backend=backend)
    assert len(runs) == 1


@backends
def test_what_is_passed_on_does_not_hide_a_failure_beside_it(backend: str) -> None:
    async def fail(kind: type[Exception]) -> None:
        raise kind

    async def test() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(fail, LookupError)
            group.start_soon(fail, ZeroDivisionError)

    with pytest.raises(ExceptionGroup):
        explore(test, backend=backend, passed_on=(LookupError,))
    with pytest.raises((LookupError, ZeroDivisionError)):
        explore(test, backend=backend, passed_on=(LookupError, ZeroDivisionError))


@backends
def test_what_is_passed_on_does_not_hide_a_failure_that_is_made_simple(testbed: Testbed, backend: str) -> None:
    """While it is made simple, the test may run into something else: here, by the simplest schedules."""

    async def test() -> None:
        await deposits(testbed)()
        schedule = current_schedule.get()
        assert schedule is not None
        count = len(departures(schedule.picks))
        if count == 1:
            raise LookupError
        assert count == 0

    seed = next(seed for seed in range(1, 100) if isinstance(run(test, from_seed(seed), backend), AssertionError))
    with pytest.raises(AssertionError) as caught:
        explore(test, schedules=1, seed=seed, backend=backend, passed_on=(LookupError,))
    assert "The simplest one found that fails departs 2 times." in caught.value.__notes__[0]


@pytest.mark.parametrize("count", [0, -1])
def test_an_exploration_of_no_schedules_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"under {count} schedules shows nothing"):
        explore(deposits(Testbed()), schedules=count)


@backends
def test_trio_gets_its_own_order_back(testbed: Testbed, backend: str) -> None:
    from trio._core import _run as trio_run

    before = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r

    async def fail() -> None:
        raise Wrong

    assert isinstance(run(fail, from_seed(1), backend), Wrong)
    assert (trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r) == before


@pytest.mark.anyio
async def test_an_exploration_within_an_event_loop_has_one_of_its_own(testbed: Testbed) -> None:
    with pytest.raises(AssertionError) as caught:
        explore(partial(lost_update, testbed))
    assert "To replay: seed=" in caught.value.__notes__[0]


async def lost_update(testbed: Testbed) -> None:
    async with testbed.instantiate(ACCOUNT, {"record": double()}) as guest:
        async with anyio.create_task_group() as calls:
            calls.start_soon(guest.exports.deposit, 1)
            calls.start_soon(guest.exports.deposit, 1)
        assert await guest.exports.balance() == 2


# Schedules of hypothesis


@given(schedules())
@settings(max_examples=20, database=None, derandomize=True)
def test_hypothesis_draws_any_possibility(schedule: Schedule) -> None:
    for count in (2, 3, 100):
        assert 0 <= schedule.choose(Choice.AMOUNT, range(count)) < count
    assert schedule.trace is not None


class Ended(random.Random):
    """A source of chance that hypothesis ends after some numbers."""

    def __init__(self, numbers: int) -> None:
        super().__init__(1)
        self.numbers = numbers

    def randrange(self, *args: Any) -> int:
        self.numbers -= 1
        if self.numbers < 0:
            raise StopTest(0)
        return 1


def test_the_usual_order_follows_when_hypothesis_ends_the_test() -> None:
    chance = Ended(2)
    schedule = drawn(chance)
    assert [schedule.choose(Choice.EVENT, "ab") for _ in range(5)] == [1, 1, 0, 0, 0]
    assert chance.numbers == -1


def test_the_usual_order_follows_when_enough_was_drawn() -> None:
    schedule = drawn(Ended(MOST_DRAWN * 2))
    picked = [schedule.choose(Choice.EVENT, "ab") for _ in range(MOST_DRAWN + 2)]
    assert picked == [1] * MOST_DRAWN + [0, 0]


@backends
@pytest.mark.parametrize("numbers", [0, 1, 3, 8])
def test_a_run_that_hypothesis_ends_comes_to_its_end(testbed: Testbed, backend: str, numbers: int) -> None:
    assert run(deposits(testbed), drawn(Ended(numbers)), backend) is None


# The trace


def lines_of(test: Test, schedule: Schedule, backend: str = "asyncio") -> list[str]:
    failure = run(test, schedule, backend)
    if failure is not None:
        raise failure
    assert schedule.trace is not None
    return schedule.trace.lines


def seen_in(test: Test, seeds: range = range(60)) -> set[str]:
    """Every kind of line that the schedules of some seeds tell, without its choice."""
    return {
        line.partition("   <- ")[0].strip() for seed in seeds for line in lines_of(test, from_seed(seed, tracing=True))
    }


async def pieces() -> AsyncIterator[bytes]:
    yield b"abcdefgh"
    await anyio.sleep(0.001)
    yield b"ijkl"


def test_lines_of_streams_and_futures(testbed: Testbed) -> None:
    async def test() -> None:
        imports = {"p3host:c1/host": {"work": double("x"), "plain": double(1)}}
        async with testbed.instantiate(C1, imports) as guest:
            stream, total = await guest.exports["p3host:c1/guest"].pipe(pieces())
            assert await stream.read_all() == b"ABCDEFGHIJKL"
            assert await total == 12

    seen = seen_in(test)
    assert {
        "call 1 of 'pipe' begins",
        "call 1 of 'pipe' goes on after a waitable set",
        "the stream async_generator gives a piece",
        "the stream async_generator ends",
        "the host reads from a stream",
        "the host reads from a future",
        "time passes: 0.001000 s, until the next timer",
        "amount: 1",
        "amount: 4",
    } <= seen
    assert any(line.startswith("answer: the stream async_generator: later") for line in seen)


def test_lines_of_calls_and_their_cancellation(testbed: Testbed) -> None:
    async def test() -> None:
        async with testbed.instantiate(BEHAVIOURS, {"wait": double(7, after=0.0005)}) as guest:
            with anyio.move_on_after(0.001):
                await guest.exports.nap(1)
            with anyio.move_on_after(0.001):
                await guest.exports["nap-stackful"](1)

    assert {
        "call 1 of 'nap' begins",
        "call 1 of 'nap' is asked to cancel",
        "call 1 of 'nap' goes on after a waitable set",
        "'wait' answers call 1 of 'nap'",
        "call 1 of 'nap-stackful' goes on after the call of 'wait'",
    } <= seen_in(test)


def test_lines_of_events_and_deliveries(testbed: Testbed) -> None:
    async def test() -> None:
        imports = {"p3host:c1/host": {"work": double("x", after=0.001), "plain": double(1)}}
        async with testbed.instantiate(C1, imports, allow_leaks=True) as guest:
            await guest.exports["p3host:c1/guest"].run_many(3)

    async def test_on_its_stack() -> None:
        imports = {"p3host:c2/host": {"work": double("x", after=0.001), "source": double()}}
        async with testbed.instantiate(GUESTS / "c2/c2.wasm", imports) as guest:
            assert await guest.exports["p3host:c2/guest"].stackful(3) == ["x", "x", "x"]

    assert any(line.startswith("event: the call of 'p3host:c1/host@0.1.0#work'") for line in seen_in(test))
    assert any(line.startswith("delivery: ") and line.endswith(": later") for line in seen_in(test_on_its_stack))


def test_lines_of_several_instances_and_calls_between_them(testbed: Testbed) -> None:
    async def test() -> None:
        async with (
            testbed.instantiate(BEHAVIOURS, {"wait": double(1, after=0.001)}) as one,
            testbed.instantiate(BEHAVIOURS, {"wait": one.exports.nap}) as two,
            anyio.create_task_group() as calls,
        ):
            calls.start_soon(two.exports.nap, 1)
            calls.start_soon(one.exports.nap, 1)

    seen = seen_in(test)
    assert {"call 1 of 'nap' begins", "call 2 of 'nap' begins", "call 3 of 'nap' begins"} <= seen
    assert any(line.startswith("a turn of the instance ") for line in seen)


def test_a_choice_is_told_with_its_number_and_what_it_was_in_place_of() -> None:
    trace = Trace()
    trace.add(Choice.AMOUNT, [8, 1, 4], 2, 17)
    trace.add(Choice.AMOUNT, [8, 1, 4], 0, 18)  # the usual one
    trace.add(Choice.TURN, [(None, raise_nothing)], 0, None)
    trace.add(Choice.TURN, [(None, raise_nothing), "another"], 1, 19)
    assert trace.lines == [
        "  amount: 4   <- choice 17, in place of: 8",
        "raise_nothing",
        "another   <- choice 19, in place of: raise_nothing",
    ]


def raise_nothing() -> None:
    pass


class Owner:
    def method(self) -> None:
        pass


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (raise_nothing, "raise_nothing"),
        (partial(raise_nothing), "raise_nothing"),
        (Owner().method, "Owner.method"),
        (partial(Owner().method), "Owner.method"),
        (partial(print, "x"), "print"),
    ],
)
def test_actions_of_any_kind_have_a_line(action: Callable[[], None], text: str) -> None:
    assert Trace().describe((None, action)) == text


def test_only_the_end_of_a_long_trace_is_shown() -> None:
    trace = Trace()
    for number in range(LONGEST + 3):
        trace.add(Choice.TURN, [str(number)], 0, None)
    lines = trace.text().splitlines()
    assert lines[:2] == ["  (3 lines before)", "  3"]
    assert len(lines) == LONGEST + 1
    short = Trace()
    short.add(Choice.TURN, ["0"], 0, None)
    assert short.text() == "  0"


@given(st.integers(1, 50))
@settings(max_examples=10, database=None, derandomize=True)
def test_a_trace_is_kept_only_if_it_is_asked_for(seed: int) -> None:
    assert from_seed(seed).trace is None
    assert from_seed(seed, tracing=True).trace is not None


@backends
def test_too_many_turns_end_a_run(testbed: Testbed, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p3host.testing.schedule.MAX_TURNS", 3)
    failure = run(deposits(testbed), from_seed(0), backend)
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    assert isinstance(failure, Trap)
    assert "after 3 turns" in str(failure)

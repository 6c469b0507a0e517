"""`wasi:clocks`, both versions."""

from __future__ import annotations

import asyncio
import itertools
import time

import anyio
import pytest
from trio.testing import MockClock
from wasi_fakes import ManualClock, finish

from p3host.wasi.clock import LoopClock, RealTime, Timestamp
from p3host.wasi.p2 import clocks as p2
from p3host.wasi.p3 import clocks as p3

pytestmark = pytest.mark.anyio

MILLISECOND = 10**6
LONGEST = 2**64 - 1


class FixedTime:
    resolution = 1_500_000_000

    def __init__(self, now: int) -> None:
        self.time = now

    def now(self) -> int:
        return self.time


async def test_the_loop_clock_goes_forward() -> None:
    clock = LoopClock()
    marks = [clock.now() for _ in range(100)]
    assert marks == sorted(marks)
    assert 0 < marks[0] < marks[-1] + 1 < 2**64
    assert clock.resolution > 0


@pytest.mark.parametrize("use_uvloop", [False, True])
def test_a_tick_of_the_loop_clock_is_as_short_as_it_says(use_uvloop: bool) -> None:
    if use_uvloop:
        pytest.importorskip("uvloop")

    async def main() -> None:
        clock = LoopClock()
        marks = {clock.now()}
        while len(marks) < 50:
            marks.add(clock.now())
        times = sorted(marks)
        assert min(later - sooner for sooner, later in itertools.pairwise(times)) < MILLISECOND
        assert abs(times[0] - anyio.current_time() * 1e9) < 3600 * 10**9

    anyio.run(main, backend_options={"use_uvloop": use_uvloop})


class FixedLoop(asyncio.SelectorEventLoop):
    def time(self) -> float:
        return 42.5


def test_an_asyncio_loop_with_a_clock_of_its_own_sets_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def now() -> int:
        return LoopClock().now()

    with asyncio.Runner(loop_factory=FixedLoop) as runner:
        assert runner.run(now()) == 42_500_000_000
    with asyncio.Runner() as runner:
        monkeypatch.setattr(runner.get_loop(), "time", lambda: 1.25)
        assert runner.run(now()) == 1_250_000_000


@pytest.mark.parametrize("nanoseconds", [1, 1000, MILLISECOND, 15 * MILLISECOND])
async def test_a_wait_is_never_shorter_than_asked(nanoseconds: int) -> None:
    clock = p3.Monotonic(LoopClock())
    start, real = clock.now(), time.monotonic_ns()
    await finish(clock.wait_for(nanoseconds))
    assert clock.now() - start >= nanoseconds
    assert time.monotonic_ns() - real < 5 * 10**9


async def test_waits_that_are_over_answer_at_once() -> None:
    clock = p3.Monotonic(LoopClock())
    assert clock.wait_for(0) is None
    assert clock.wait_until(0) is None
    assert clock.wait_until(clock.now()) is None


def test_a_loop_with_a_clock_of_its_own_sets_the_time() -> None:
    clock = p3.Monotonic(LoopClock())

    async def main() -> int:
        start = clock.now()
        await finish(clock.wait_for(400 * 86400 * 10**9))
        return clock.now() - start

    options = {"clock": MockClock(autojump_threshold=0)}
    assert anyio.run(main, backend="trio", backend_options=options) >= 400 * 86400 * 10**9


@pytest.mark.parametrize("how_long", [10**15, 2**63, LONGEST])
async def test_a_wait_of_centuries_waits_and_can_be_cancelled(how_long: int) -> None:
    clock = p3.Monotonic(LoopClock())
    for wait in clock.wait_for(how_long), clock.wait_until(clock.now() + how_long):
        with anyio.move_on_after(0.01) as scope:
            await finish(wait)
        assert scope.cancelled_caught


async def test_an_injected_clock_is_read_and_waited_on() -> None:
    source = ManualClock(100)
    clock = p3.Monotonic(source)
    assert clock.now() == 100
    assert clock.get_resolution() == 7
    done: list[str] = []

    async def wait(name: str, until: int) -> None:
        await finish(clock.wait_until(until))
        done.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, "late", 120)
        tasks.start_soon(wait, "early", 110)
        await anyio.wait_all_tasks_blocked()
        for _ in range(2):
            source.advance(10)
            await anyio.wait_all_tasks_blocked()
    assert done == ["early", "late"]


@pytest.mark.parametrize(
    ("now", "instant"),
    [(0, (0, 0)), (1_500_000_001, (1, 500_000_001)), (-1, (-1, 999_999_999)), (-(10**9), (-1, 0))],
)
def test_an_instant_counts_nanoseconds_forward(now: int, instant: tuple[int, int]) -> None:
    clock = p3.System(FixedTime(now))
    assert clock.now() == Timestamp(*instant)
    assert clock.get_resolution() == 1_500_000_000


@pytest.mark.parametrize(("now", "datetime"), [(0, (0, 0)), (1_500_000_001, (1, 500_000_001)), (-1, (0, 0))])
def test_a_datetime_does_not_go_before_1970(now: int, datetime: tuple[int, int]) -> None:
    clock = p2.Wall(FixedTime(now))
    assert clock.now() == Timestamp(*datetime)
    assert clock.resolution() == Timestamp(1, 500_000_000)


def test_the_real_time_is_told() -> None:
    before = time.time_ns()
    assert before <= RealTime().now() <= time.time_ns()
    assert RealTime().resolution >= 1


def test_no_time_zone_is_exposed() -> None:
    instant = Timestamp(0, 0)
    assert (p3.Timezone().iana_id(), p3.Timezone().utc_offset(instant)) == (None, None)
    assert p3.Timezone().to_debug_string() == "UTC"
    datetime = Timestamp(0, 0)
    assert p2.Timezone().display(datetime) == p2.TimezoneDisplay(0, "UTC", False)
    assert p2.Timezone().utc_offset(datetime) == 0


async def test_a_timer_of_0_2_becomes_ready_and_stays_so() -> None:
    source = ManualClock(100)
    clock = p2.Monotonic(source)
    assert (clock.now(), clock.resolution()) == (100, 7)
    timer = clock.subscribe_duration(10)
    assert clock.subscribe_duration(0).ready()
    assert clock.subscribe_instant(99).ready()
    assert not timer.ready()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(finish, timer.block())
        await anyio.wait_all_tasks_blocked()
        source.advance(10)
    assert timer.ready()


@pytest.mark.parametrize("duration", [10**15, LONGEST])
async def test_a_timer_of_centuries_is_not_ready(duration: int) -> None:
    timer = p2.Monotonic(LoopClock()).subscribe_duration(duration)
    assert not timer.ready()
    with anyio.move_on_after(0.01) as scope:
        await finish(timer.block())
    assert scope.cancelled_caught

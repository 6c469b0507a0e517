"""Virtual time: it stands still while something can run, and jumps when nothing can."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint

from p3host import Trap
from p3host.testing import Testbed, current_virtual_time, double, virtual_time
from p3host.testing.virtual_time import PATIENCE

pytestmark = pytest.mark.virtual_time

GUESTS = Path(__file__).parents[2] / "guests"
REACTOR = GUESTS / "go-reactor/go-reactor.wasm"
HOUR = 3600.0


def is_about(seconds: float) -> Any:
    return pytest.approx(seconds, abs=1e-3)


async def test_sleeps_and_time_outs_of_the_host_take_their_time_of_the_clock() -> None:
    started = anyio.current_time()
    with anyio.move_on_after(HOUR) as scope:
        await anyio.sleep(2 * HOUR)
    assert scope.cancelled_caught
    assert anyio.current_time() - started == is_about(HOUR)


async def test_timers_fire_in_their_order() -> None:
    woken: list[float] = []

    async def sleep(seconds: float) -> None:
        await anyio.sleep(seconds)
        woken.append(seconds)

    async with anyio.create_task_group() as group:
        for seconds in (3.0, 1.0, 2.5, 0.0, 86400.0 * 400):
            group.start_soon(sleep, seconds)
    assert woken == [0.0, 1.0, 2.5, 3.0, 86400.0 * 400]


async def test_a_sleep_without_end_is_no_timer() -> None:
    started = anyio.current_time()
    now = current_virtual_time()
    assert now is not None
    with anyio.move_on_after(5.0):
        await anyio.sleep_forever()
    with now.until_stuck() as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert anyio.current_time() - started == is_about(5.0)


async def test_who_is_stuck_is_asked_from_the_innermost_on() -> None:
    now = current_virtual_time()
    assert now is not None
    with now.until_stuck() as outer:
        with now.until_stuck() as inner:
            await anyio.sleep_forever()
        assert (inner.cancelled_caught, outer.cancel_called) == (True, False)
        await anyio.sleep_forever()
    assert outer.cancelled_caught
    assert now.on_stuck == {}


async def test_who_waits_for_all_to_settle_can_be_cancelled() -> None:
    now = current_virtual_time()
    assert now is not None

    class Never:
        def pick(self, waiting: Sequence[object], seconds_to_timer: float | None) -> int:
            return len(waiting)  # let time pass

    async with anyio.create_task_group() as group:
        group.start_soon(now.idle, Never(), "one")
        with anyio.move_on_after(1.0) as scope:
            await now.settled()
        group.cancel_scope.cancel()
    assert scope.cancelled_caught
    assert now.settlers == {}


async def test_sleeps_of_guests_take_their_time_of_the_clock(testbed: Testbed) -> None:
    started = anyio.current_time()
    imports = {"wait": double(), "lookup": double("there", after=HOUR)}
    # Go's time.Sleep can't be interrupted: the goroutine of the call that is cancelled sleeps on.
    async with testbed.instantiate(REACTOR, imports, allow_leaks=True) as guest:
        await guest.exports.plain_sleep(3_600_000)
        assert anyio.current_time() - started == is_about(HOUR)
        assert await guest.exports.fan_out(["a", "b"]) == ["there", "there"]
        assert anyio.current_time() - started == is_about(2 * HOUR)
        with anyio.move_on_after(HOUR):
            await guest.exports.plain_sleep(7_200_000)
        assert anyio.current_time() - started == is_about(3 * HOUR)


async def test_a_guest_that_sleeps_by_wasi_0_2_takes_its_time_of_the_clock(testbed: Testbed) -> None:
    started = anyio.current_time()
    command = await testbed.run(GUESTS / "go-command/go-command.wasm")
    assert command.stdout.lines[-1] == "end, slept long enough: true"
    assert anyio.current_time() - started == is_about(1.0)


async def test_time_stands_still_while_a_worker_thread_works() -> None:
    go_on = threading.Event()

    async def release() -> None:
        for _ in range(50):
            await checkpoint()
        go_on.set()

    async with anyio.create_task_group() as group:
        group.start_soon(release)
        with anyio.move_on_after(1.0) as scope:
            await anyio.to_thread.run_sync(go_on.wait)
    assert not scope.cancelled_caught


async def test_a_loop_that_never_waits_sees_time_pass_in_the_end() -> None:
    started = anyio.current_time()
    with anyio.move_on_after(0.05) as scope:
        while True:
            await checkpoint()
    assert scope.cancelled_caught
    assert anyio.current_time() - started >= 0.05
    assert PATIENCE > 0.05


async def test_a_guest_that_computes_without_end_is_killed_after_its_time_out(testbed: Testbed) -> None:
    async with testbed.instantiate(REACTOR, {"wait": double(), "lookup": double("")}, grace_seconds=0.1) as guest:
        with anyio.move_on_after(0.05) as scope:
            await guest.exports.spin(2**62)
        assert scope.cancelled_caught
        with pytest.raises(Trap, match="was killed"):
            await guest.exports.plain_sleep(1)


class Last:
    """Lets the last of those that wait go on, and notes who waited and how far the next timer was."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, float | None]] = []

    def pick(self, waiting: Sequence[object], seconds_to_timer: float | None) -> int:
        self.asked.append((len(waiting), seconds_to_timer))
        return len(waiting) - 1


async def test_who_waits_for_idleness_goes_on_before_time_jumps_one_at_a_time() -> None:
    now = current_virtual_time()
    assert now is not None
    last, log = Last(), []

    async def wait(number: int) -> None:
        await now.idle(last, number)
        log.append((number, anyio.current_time()))

    started = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 5.0)
        for number in range(3):
            group.start_soon(wait, number)
            await checkpoint()
        await now.settled()
        log.append(("settled", anyio.current_time()))
    assert [name for name, _ in log] == [2, 1, 0, "settled"]
    assert {time for _, time in log} == {started}
    assert last.asked == [(3, 5.0), (2, 5.0), (1, 5.0)]


async def test_who_waits_for_idleness_can_be_cancelled() -> None:
    now = current_virtual_time()
    assert now is not None

    class Never:
        def pick(self, waiting: Sequence[object], seconds_to_timer: float | None) -> int:
            return len(waiting)  # let time pass

    with anyio.move_on_after(1.0) as scope:
        await now.idle(Never(), "one")
    assert scope.cancelled_caught
    assert now.idlers == {}


def test_unknown_backends_are_refused() -> None:
    with pytest.raises(ValueError, match="no backend 'curio'"):
        virtual_time("curio")


def test_there_is_none_outside_of_an_event_loop_that_has_it() -> None:
    async def find() -> object:
        return current_virtual_time()

    assert anyio.run(find) is None
    assert anyio.run(find, backend="trio") is None

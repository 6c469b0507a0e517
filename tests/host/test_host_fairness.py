"""Guests that compute share the event loop with each other, with guests that wait, and with the rest of the program."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import groupby
from statistics import median
from time import thread_time
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from guest_text import SECONDS, behaviours, let_others_run

from p3host import Instance, Trap
from p3host.host.driver import Driver

pytestmark = pytest.mark.anyio

SLICE = 0.010
GRACE = 0.05
FEW_SLICES = 30


async def wait(ms: int) -> int:
    await anyio.sleep(ms / 1000)
    return ms


class Turns:
    """Who had the event loop, turn by turn: "loop" stands for a turn that any task can have, a driver for a slice in
    which its guest computed. `seconds` is the processor time of each slice: neither depends on what else the machine
    does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.had: list[object] = []
        self.seconds: list[float] = []
        tick = Driver.tick

        def counted(driver: Driver, *arguments: Any) -> None:
            started = thread_time()
            tick(driver, *arguments)
            seconds = thread_time() - started
            if seconds > SLICE / 4:
                self.had.append(driver)
                self.seconds.append(seconds)

        monkeypatch.setattr(Driver, "tick", counted)

    async def run(self) -> None:
        while True:
            await checkpoint()
            self.had.append("loop")

    def slices_of(self, instance: Instance) -> int:
        return self.had.count(instance.driver)

    @property
    def most_in_a_row(self) -> int:
        """How many slices there were at most between two turns of the loop."""
        return max(len([*run]) if who else 0 for who, run in groupby(self.had, lambda each: each != "loop"))


@contextmanager
def busy_thread() -> Iterator[None]:
    stop = False

    def work() -> None:
        while not stop:
            sum(range(1000))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop = True
        thread.join()


@pytest.mark.parametrize("with_busy_thread", [False, True])
async def test_spinning_guests_share_the_loop(with_busy_thread: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(monkeypatch)
    with busy_thread() if with_busy_thread else nullcontext():
        async with (
            behaviours().instantiate({"wait": wait}, grace_seconds=GRACE) as one,
            behaviours().instantiate({"wait": wait}, grace_seconds=GRACE) as two,
            behaviours().instantiate({"wait": wait}) as sleeper,
            anyio.create_task_group() as group,
        ):
            group.start_soon(turns.run)
            async with anyio.create_task_group() as spinners:
                spinners.start_soon(one.exports.spin)
                spinners.start_soon(two.exports.spin)
                naps = 0
                while naps < 3 or len(turns.seconds) < FEW_SLICES:
                    assert await sleeper.exports.nap(5) == 5
                    naps += 1
                spinners.cancel_scope.cancel()
            for instance in (one, two):
                with pytest.raises(Trap, match="killed"):
                    await instance.exports.add(1, 2)
            assert await sleeper.exports.nap(1) == 1
            group.cancel_scope.cancel()
    assert turns.most_in_a_row <= 2
    assert median(turns.seconds) <= 3 * SLICE
    assert min(turns.slices_of(one), turns.slices_of(two)) * 3 > max(turns.slices_of(one), turns.slices_of(two))


async def test_long_computation_ends_with_the_right_result(monkeypatch: pytest.MonkeyPatch) -> None:
    async with behaviours().instantiate({"wait": wait}) as one, behaviours().instantiate({"wait": wait}) as two:
        turns = Turns(monkeypatch)
        results = {}
        async with anyio.create_task_group() as group:

            async def count(name: str, instance: object, n: int) -> None:
                results[name] = await instance.exports.count(n)  # type: ignore[attr-defined]

            async with anyio.create_task_group() as counting:
                group.start_soon(turns.run)
                counting.start_soon(count, "one", one, 60_000_000)
                counting.start_soon(count, "two", two, 50_000_000)
                counting.start_soon(count, "three", one, 40_000_000)
            group.cancel_scope.cancel()
        assert results == {"one": 60_000_000, "two": 50_000_000, "three": 40_000_000}
        assert turns.most_in_a_row <= 2
        assert len(turns.seconds) > 2


async def test_guest_that_always_has_a_turn_leaves_turns_to_others() -> None:
    async with behaviours().instantiate({"wait": wait}) as instance, anyio.create_task_group() as group:
        group.start_soon(instance.exports.yielding)
        with anyio.fail_after(SECONDS):
            naps = 0
            while naps < 4 or await instance.exports.counter() <= 100:
                assert await instance.exports.nap(1) == 1
                naps += 1
        group.cancel_scope.cancel()


async def test_guest_that_sleeps_is_called_while_another_task_of_its_instance_waits() -> None:
    awake = anyio.Event()

    async def wait_until_awake(ms: int) -> int:
        await awake.wait()
        return ms

    async with behaviours().instantiate({"wait": wait_until_awake}) as instance, anyio.create_task_group() as group:
        group.start_soon(instance.exports.nap, 20)
        await let_others_run()
        for number in range(10):
            assert await instance.exports.add(number, 1) == number + 1
        awake.set()

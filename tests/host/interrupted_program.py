"""A program that Ctrl-C interrupts again and again at random moments: `BACKEND TIMES SEED`.

Prints how often it arrived.
Its tasks call guests that compute, sleep, and call the host, and check every result.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import anyio
import trio
from anyio.lowlevel import checkpoint
from guest_text import behaviours

from p3host import Trap
from p3host.host.interrupts import guard

calls = 0


async def wait(ms: int) -> int:
    await anyio.sleep(ms / 1000)
    return ms + 1


def answer(ms: int) -> int:
    return sum(1 for _ in range(3000)) - 2999 + ms  # long enough to be interrupted in


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def check(result: int, expected: int) -> None:
    global calls
    calls += 1
    if result != expected:
        say(f"wrong result {result}, expected {expected}")
        os._exit(3)


def task_group() -> Any:
    """On trio its own: anyio's has moments at which an interrupt makes it forget its tasks."""
    return trio.open_nursery() if trio.lowlevel.in_trio_run() else anyio.create_task_group()


async def work(chance: random.Random) -> None:
    component = behaviours()
    interrupt_soon(chance)
    async with (
        component.instantiate({"wait": wait}, grace_seconds=0.05) as waiting,
        component.instantiate({"wait": answer}, grace_seconds=0.05) as answering,
        task_group() as group,
    ):

        async def nap() -> None:
            while True:
                check(await waiting.exports.nap(1), 2)

        async def ask() -> None:
            while True:
                for number in range(50):
                    check(await answering.exports.nap_stackful(number), number + 1)
                    check(await answering.exports.add(number, 5), number + 5)
                await checkpoint()

        async def count() -> None:
            while True:
                check(await waiting.exports.count(100_000), 100_000)
                await checkpoint()

        for task in (nap, nap, ask, count):
            group.start_soon(task)


def interrupt_soon(chance: random.Random) -> None:
    interrupt_after(chance.random() * 0.008)


def interrupt_after(delay: float) -> None:
    def send() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(delay, send)
    timer.daemon = True
    timer.start()


def is_interrupt(error: BaseException) -> bool:
    """On trio it is raised in whichever task runs, and so may come in a group, with the traps of those whose guest was
    interrupted in a host function."""
    if not isinstance(error, BaseExceptionGroup):
        return isinstance(error, KeyboardInterrupt)
    interrupts, rest = error.split(KeyboardInterrupt)
    others = rest.split(lambda other: isinstance(other, Trap) and "interrupted" in other.message)[1] if rest else None
    return interrupts is not None and others is None


def report_unraisable(report: sys.UnraisableHookArgs) -> None:
    """Python itself loses an exception that is raised in a finalizer, so the interrupt has to come again."""
    if report.exc_type is KeyboardInterrupt:
        interrupt_after(0.05)
        return
    say(f"unraisable: {report}")
    os._exit(4)


def main(backend: str, times: int, seed: int) -> None:
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "coroutine '.*' was never awaited")  # interrupted between its call and await
    sys.unraisablehook = report_unraisable
    chance = random.Random(seed)
    handler = signal.getsignal(signal.SIGINT)
    behaviours()
    anyio.run(checkpoint, backend=backend)
    arrived = 0
    for _ in range(times):
        try:
            anyio.run(work, chance, backend=backend)
        except BaseException as error:
            if not is_interrupt(error):
                raise
            arrived += 1
        if guard.depth or guard.users or guard.pending or signal.getsignal(signal.SIGINT) != handler:
            say(f"left behind: {vars(guard)}")
            sys.exit(5)
    gc.collect()
    say(f"{arrived} of {times}, {'some' if calls else 'no'} calls")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

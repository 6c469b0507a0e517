"""Ctrl-C: it arrives as KeyboardInterrupt, no guest sees a wrong result, and nothing is left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from p3host.host.interrupts import InterruptGuard

PROGRAM = Path(__file__).with_name("interrupted_program.py")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_interrupt_at_a_random_moment_arrives_each_of_a_hundred_times(backend: str) -> None:
    run = subprocess.run(
        [sys.executable, str(PROGRAM), backend, "100", "7"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "100 of 100, some calls\n", "")


ENDLESS = """
import anyio, sys
sys.path.insert(0, {tests!r})
from guest_text import behaviours
async def work():
    async with behaviours().instantiate({{"wait": lambda ms: ms}}, grace_seconds=0.1) as instance:
        print("spinning", flush=True)
        await instance.exports.{name}()
try:
    anyio.run(work, backend={backend!r})
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("name", ["spin", "spin_sync", "forever"])
def test_interrupt_ends_a_program_whose_guest_never_would(name: str, backend: str) -> None:
    program = ENDLESS.format(tests=str(PROGRAM.parents[1]), name=name, backend=backend)
    run = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with run:
        assert run.stdout is not None
        assert run.stdout.readline() == "spinning\n"
        run.send_signal(signal.SIGINT)
        out, error = run.communicate(timeout=20)
    assert (run.returncode, out, error) == (0, "interrupted\n", "")


@pytest.fixture
def guard() -> Iterator[InterruptGuard]:
    before = signal.getsignal(signal.SIGINT)
    guard = InterruptGuard()
    guard.install()
    yield guard
    guard.uninstall()
    assert signal.getsignal(signal.SIGINT) is before


def test_interrupt_waits_for_the_end_of_the_outermost_step(guard: InterruptGuard) -> None:
    outer = guard.enter()
    inner = guard.enter()
    signal.raise_signal(signal.SIGINT)
    guard.leave(inner)
    with pytest.raises(KeyboardInterrupt):
        guard.leave(outer)
    assert (guard.depth, guard.pending) == (0, False)


def test_interrupt_arrives_at_once_outside_of_steps_and_in_host_functions(guard: InterruptGuard) -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    outer = guard.enter()
    guard.open()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    guard.leave(outer)


def test_interrupt_that_came_before_a_host_function_waits_for_the_end_of_the_step(guard: InterruptGuard) -> None:
    outer = guard.enter()
    signal.raise_signal(signal.SIGINT)
    guard.open()
    guard.depth = 1
    with pytest.raises(KeyboardInterrupt):
        guard.leave(outer)
    assert (guard.depth, guard.pending) == (0, False)


def test_programs_own_handler_is_called_and_put_back() -> None:
    seen: list[int] = []

    def handler(signum: int, frame: FrameType | None) -> None:
        seen.append(signum)

    before = signal.signal(signal.SIGINT, handler)
    try:
        guard = InterruptGuard()
        guard.install()
        guard.install()
        outer = guard.enter()
        signal.raise_signal(signal.SIGINT)
        assert seen == []
        guard.leave(outer)
        assert seen == [signal.SIGINT]
        guard.uninstall()
        signal.raise_signal(signal.SIGINT)
        assert len(seen) == 2
        guard.uninstall()
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_handler_that_the_program_has_set_meanwhile_stays() -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        guard = InterruptGuard()
        guard.install()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        guard.uninstall()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)

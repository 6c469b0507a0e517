"""Processes that serve side by side on one socket, and the one that starts them and waits for them.

It has neither threads nor an event loop, so that it can fork at any time.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from time import monotonic

STOPPING = {signal.SIGINT, signal.SIGTERM}
WATCHED = {*STOPPING, signal.SIGCHLD}
SOON = 1.0  # seconds: a worker that is killed within them is not replaced at once
LONG = 3600.0
SET_PARENT_DEATH_SIGNAL = 1  # of prctl


class Workers:
    """Runs `work(number)` in each of `count` processes, and `aside` in one more, until this one is told to stop by
    SIGINT or SIGTERM; then they are told, and have `grace_seconds` to end. Told again, it ends them at once. All this
    goes on in a block of `holding_signals`.

    A worker that is killed is replaced. One that ends by itself ends all. `on_end` is told the id of each process that
    has ended. `on_stop` is called when no worker will be started any more.
    """

    def __init__(
        self, work: Callable[[int], None], count: int, grace_seconds: float, say: Callable[[str], None]
    ) -> None:
        self.work = work
        self.count = count
        self.grace_seconds = grace_seconds
        self.say = say
        self.aside: Callable[[], None] | None = None
        self.on_end: Callable[[int], None] | None = None
        self.on_stop: Callable[[], None] | None = None
        self.context = multiprocessing.get_context("fork")
        self.processes: dict[int, tuple[BaseProcess, float]] = {}  # each with when it was started
        self.killed: set[BaseProcess] = set()  # those that are to be replaced

    def run(self) -> int:
        """Returns the exit status: 0 if it was told to stop."""
        try:
            if self.aside is not None:
                self.start(-1)
            for number in range(self.count):
                self.start(number)
            while True:
                received = signal.sigtimedwait(WATCHED, self.patience())
                if received is not None and received.si_signo in STOPPING:
                    return 0
                status = self.look_after()
                if status is not None:
                    return status
        finally:
            self.stop()

    def start(self, number: int) -> None:
        process = self.context.Process(target=self.child, args=(number, os.getpid()), name=f"worker {number}")
        process.start()
        self.processes[number] = process, monotonic()

    def child(self, number: int, parent: int) -> None:
        # A terminal interrupts all processes, but it is the parent that tells them to end.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED - {signal.SIGINT})
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit()
        if number < 0:
            assert self.aside is not None
            self.aside()
        else:
            self.work(number)

    def patience(self) -> float:
        """How long there is nothing to do unless a signal comes."""
        due = [since + SOON - monotonic() for process, since in self.processes.values() if process in self.killed]
        return max(0.0, min(due, default=LONG))

    def look_after(self) -> int | None:
        """Replaces workers that were killed; the exit status if all has to end."""
        for number, (process, since) in list(self.processes.items()):
            status = process.exitcode
            if status is None:
                continue
            if process not in self.killed:
                assert process.pid is not None
                if self.on_end is not None:
                    self.on_end(process.pid)
                if status >= 0:
                    return status
                self.say(f"process {process.pid} was killed by signal {-status}")
                self.killed.add(process)
            if monotonic() - since >= SOON:
                self.killed.discard(process)
                self.start(number)
        return None

    def stop(self) -> None:
        if self.on_stop is not None:
            self.on_stop()
        deadline = monotonic() + self.grace_seconds + SOON
        processes = [process for process, _ in self.processes.values()]
        for process in processes:
            if process.is_alive():
                process.terminate()
        while any(process.is_alive() for process in processes):
            received = signal.sigtimedwait(WATCHED, max(0.0, deadline - monotonic()))
            if received is None or received.si_signo in STOPPING:
                break
        for process in processes:
            if process.is_alive():
                process.kill()
            process.join()


@contextmanager
def holding_signals() -> Iterator[None]:
    """Within the block signals come only when they are waited for; those that were not, have no effect."""
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    try:
        yield
    finally:
        while signal.sigtimedwait(WATCHED, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)

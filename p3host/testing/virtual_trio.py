"""A clock for trio in virtual time, and an order of tasks that is the same each time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

import trio
from trio._core import _run as trio_run

from .virtual_time import VirtualTime


class VirtualTimeClock(trio.abc.Clock, trio.abc.Instrument):
    """Trio asks it only when no task can run; whether one has run since it last asked, which may have made I/O ready,
    the instrument tells."""

    def __init__(self) -> None:
        self.virtual_time = VirtualTime()
        self.stepped = True

    def start_clock(self) -> None:
        self.virtual_time.reset()

    def current_time(self) -> float:
        return self.virtual_time.now

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.stepped = True

    def before_io_wait(self, timeout: float) -> None:
        if self.stepped:
            self.virtual_time.ran()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        if self.stepped or deadline <= self.virtual_time.now:
            self.stepped = False
            return 0
        pause = self.virtual_time.rest(None if deadline == inf else deadline)
        return inf if pause is None else pause


class OldestFirst(random.Random):
    """What trio shuffles its ready tasks with, which it takes from the end: here the oldest task comes first."""

    def shuffle(self, x: Any) -> None:
        x.reverse()


@contextmanager
def fixed_order() -> Iterator[None]:
    """Trio takes ready tasks in random order, to keep programs from counting on any. A schedule that is to be replayed
    needs one; trio has a switch for that, which hypothesis sets too, and no public name for it."""
    kept = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r = True, OldestFirst()  # type: ignore[misc]
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r = kept  # type: ignore[misc]

"""What every benchmark shares: rounds, the best of them, and the rows of the table."""

from __future__ import annotations

import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

GUESTS = Path(__file__).parents[2] / "guests"


@dataclass(frozen=True)
class Scale:
    """How much to measure. `count` makes a number of repetitions, `rounds` is how often the best is looked for: many
    short rounds find a quiet moment on a busy machine too."""

    factor: float = 1.0
    rounds: int = 40
    backend: str = "asyncio"

    def count(self, usual: int) -> int:
        return max(int(usual * self.factor), 1)


TINY = Scale(factor=0.0001, rounds=1)


@dataclass(frozen=True)
class Row:
    """One line of the table. `measured` and `beside` are in `unit`; `goal` bounds their ratio or, when it stands alone,
    `measured` itself, from above (or below, when `more_is_better`)."""

    name: str
    measured: float
    unit: str
    beside_name: str = ""
    beside: float | None = None
    ratio_goal: float | None = None
    goal: float | None = None
    more_is_better: bool = False

    @property
    def ratio(self) -> float | None:
        return self.measured / self.beside if self.beside else None

    @property
    def met(self) -> bool | None:
        if self.ratio_goal is not None:
            return self.ratio is not None and self.ratio <= self.ratio_goal
        if self.goal is not None:
            return self.measured >= self.goal if self.more_is_better else self.measured <= self.goal
        return None

    def cells(self) -> list[str]:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        goal = ""
        if self.ratio_goal is not None:
            goal = f"ratio <= {self.ratio_goal:.3g}"
        elif self.goal is not None:
            goal = f"{'>=' if self.more_is_better else '<='} {self.goal:g} {self.unit}"
        beside = "" if self.beside is None else f"{number(self.beside)} {self.unit}"
        met = {True: "yes", False: "no", None: ""}[self.met]
        return [self.name, f"{number(self.measured)} {self.unit}", self.beside_name, beside, ratio, goal, met]


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


HEAD = ["benchmark", "p3host", "beside", "", "ratio", "goal", "met"]


def print_table(rows: list[Row]) -> None:
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write(text.rstrip() + "\n")


Measured = Callable[[int], Awaitable[None]]


async def best(scale: Scale, count: int, *measured: Measured) -> list[float]:
    """The seconds of one repetition of each, in the best round. A function is given how often to repeat its work; those
    that are compared take turns, so that a disturbance meets them alike."""
    times = [float("inf")] * len(measured)
    for function in measured:
        await function(min(count, 10))
    for _ in range(scale.rounds):
        for index, function in enumerate(measured):
            started = perf_counter()
            await function(count)
            times[index] = min(times[index], (perf_counter() - started) / count)
    return times


def repeated(function: Callable[..., Awaitable[Any]], *args: Any) -> Measured:
    """Awaits one call after the other."""

    async def repeat(count: int) -> None:
        for _ in range(count):
            await function(*args)

    return repeat


def repeated_plain(function: Callable[..., Any], *args: Any) -> Measured:
    async def repeat(count: int) -> None:
        for _ in range(count):
            function(*args)

    return repeat


@contextmanager
def busy_thread() -> Iterator[None]:
    """Another Python thread of the process computes without a pause."""
    stopped = threading.Event()

    def spin() -> None:
        while not stopped.is_set():
            sum(range(100))

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def resident_bytes() -> int:
    """The memory of this process that is resident now."""
    if sys.platform != "linux":
        raise OSError("the resident memory is read from /proc, which only Linux has")
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096

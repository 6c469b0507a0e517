"""One order in which everything happens in a test's instances: made of choices, recorded, and replayed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from ..errors import Trap
from ..runtime.choice import Choice
from ..wasi.filesystem.brief_work import moment
from .trace import Trace
from .virtual_time import current_virtual_time

if TYPE_CHECKING:
    from ..host.driver import Driver

MAX_TURNS = 20_000
SLACK = 0.01  # seconds that guests may take for what they do, so that a timer may fire before they have done it
EAGERNESS = (0.25, 0.5, 0.9)  # how often a schedule departs from the usual order, one of these for each seed


class Schedule:
    """Picks among what could happen: each time one turn of one instance. It is what `instantiate` takes as `scheduler`.

    `pick(n)` gives a number below n; 0 stands for what happens without a schedule. `picks` records what was picked,
    one for each choice among several possibilities.
    """

    def __init__(self, pick: Callable[[int], int], name: str = "", *, tracing: bool = False) -> None:
        self.pick_one = pick
        self.name = name
        self.picks: list[int] = []
        self.turns = 0
        self.trace = Trace() if tracing else None

    def __repr__(self) -> str:
        return f"Schedule({self.name or picks_text(self.picks)!r})"

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """What fails within the block gets a note with the trace, if there is one."""
        try:
            yield
        except BaseException as error:
            if self.trace is not None:
                self.explain(error, f"The schedule {picks_text(self.picks)!r} fails.")
            raise

    def explain(self, failure: BaseException, headline: str) -> None:
        assert self.trace is not None
        failure.add_note(f"{headline}\nWhat happens, turn by turn:\n{self.trace.text()}")

    # As a scheduler

    def choose(self, choice: Choice, options: Sequence[object]) -> int:
        picked = 0
        if len(options) > 1:
            picked = min(self.pick_one(len(options)), len(options) - 1)
            self.picks.append(picked)
        if self.trace is not None:
            self.trace.add(choice, options, picked, len(self.picks) if len(options) > 1 else None)
        return picked

    async def turn(self, driver: Driver) -> None:
        virtual_time = current_virtual_time()
        if virtual_time is None:
            raise RuntimeError("a schedule needs virtual time: see p3host.testing.virtual_time")
        moment.set(None)
        await virtual_time.idle(self, driver)
        self.turns += 1
        if self.turns > MAX_TURNS:
            driver.store.poison(
                Trap(f"after {MAX_TURNS} turns the test has not ended: a guest may wait by yielding again and again")
            )

    # As one that waits in virtual time

    def pick(self, waiting: Sequence[object], seconds_to_timer: float | None) -> int:
        if seconds_to_timer is None or seconds_to_timer > SLACK:
            return self.choose(Choice.TURN, waiting) if len(waiting) > 1 else 0
        return self.choose(Choice.TURN, (*waiting, TimePasses(seconds_to_timer)))


class TimePasses:
    """Among what may happen next: nothing, until the next timer."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


def from_seed(seed: int, *, tracing: bool = False) -> Schedule:
    """The schedule of a seed. That of 0 is the order in which things happen without a schedule."""
    if seed == 0:
        return Schedule(lambda count: 0, "seed 0", tracing=tracing)
    chance = random.Random(seed)
    eagerness = chance.choice(EAGERNESS)
    return Schedule(
        lambda count: chance.randrange(count) if chance.random() < eagerness else 0, f"seed {seed}", tracing=tracing
    )


def from_picks(picks: Mapping[int, int], *, tracing: bool = False) -> Schedule:
    """The schedule that takes these positions at these choices, counted from 1, and 0 everywhere else."""
    schedule: Schedule
    schedule = Schedule(lambda count: picks.get(len(schedule.picks) + 1, 0), picks_text(picks), tracing=tracing)
    return schedule


def departures(picks: Sequence[int]) -> dict[int, int]:
    """What `from_picks` takes, of what a schedule has recorded."""
    return {number: picked for number, picked in enumerate(picks, 1) if picked}


def picks_text(picks: Mapping[int, int] | Sequence[int]) -> str:
    """A schedule's departures from the usual order as text: "3:1 7:2"."""
    if not isinstance(picks, Mapping):
        picks = departures(picks)
    return " ".join(f"{number}:{picked}" for number, picked in sorted(picks.items()))


def parse_picks(text: str) -> dict[int, int]:
    """
    :raises ValueError: if it is no such text.
    """
    try:
        picks = {int(number): int(picked) for number, picked in (pair.split(":") for pair in text.split())}
    except ValueError:
        picks = {0: 0}
    if any(number < 1 or picked < 0 for number, picked in picks.items()):
        raise ValueError(f"{text!r} is no schedule: it reads like '3:1 7:2', choice and position by turns")
    return picks


current_schedule: ContextVar[Schedule | None] = ContextVar("current_schedule", default=None)
"""The schedule that `Testbed.instantiate` gives to instances, if a test is explored."""

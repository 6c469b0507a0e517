"""Schedules drawn by hypothesis, which then finds a simple one that fails by itself."""

from __future__ import annotations

import random

from hypothesis import strategies
from hypothesis.errors import StopTest

from .schedule import Schedule

MOST_DRAWN = 1000  # choices of a schedule: hypothesis gives up on tests that draw much more


def schedules() -> strategies.SearchStrategy[Schedule]:
    """Schedules for `Testbed.instantiate(..., schedule=schedule)`, in a test that is marked `virtual_time`."""
    return strategies.randoms(use_true_random=False).map(drawn)


def drawn(chance: random.Random) -> Schedule:
    """The schedule that takes what `chance` gives, and the usual order once it has given enough, or hypothesis has no
    more. Hypothesis says that by an exception that ends the test; it would end the event loop in place of the test,
    which has to come to its end first."""
    left = MOST_DRAWN

    def pick(count: int) -> int:
        nonlocal left
        if not left:
            return 0
        try:
            left -= 1
            return chance.randrange(count)
        except StopTest:
            left = 0
            return 0

    return Schedule(pick, tracing=True)

"""Schedules drawn by hypothesis, which then finds a simple one that fails by itself."""

from __future__ import annotations

import random

from hypothesis import strategies

from .schedule import Schedule


def schedules() -> strategies.SearchStrategy[Schedule]:
    """Schedules for `Testbed.instantiate(..., schedule=schedule)`, in a test that is marked `virtual_time`."""
    return strategies.randoms(use_true_random=False).map(drawn)


def drawn(chance: random.Random) -> Schedule:
    return Schedule(chance.randrange, tracing=True)

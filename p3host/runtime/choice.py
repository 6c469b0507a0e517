"""Where the specification leaves a choice: the one seam through which it is made.

Without a chooser the first possibility is taken, in order of arrival, so that a program runs the same way each time. A
chooser is asked each time, what for and among what; the possibility that is taken without it stands first.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Protocol


class Choice(Enum):
    """What a choice is about, and what its possibilities are."""

    TURN = "turn"
    """What goes on next: threads that are ready, and what the host has done (a tuple of the inbox)."""
    EVENT = "event"
    """Which member of a waitable set has its event delivered: waitables."""
    DELIVERY = "delivery"
    """Whether an event that is there is delivered at once, or when others have had their turn: as `promptly` says."""
    AMOUNT = "amount"
    """How many elements a copy moves at once: integers."""
    CANCEL = "cancel"
    """Which thread of a task is told of its cancellation: threads."""
    ANSWER = "answer"
    """Whether the host answers at once what it could answer at once: as `promptly` says."""


class Chooser(Protocol):
    """Picks one possibility, by its position in `options`, which has at least one."""

    def __call__(self, choice: Choice, options: Sequence[object], /) -> int: ...


def promptly(choose: Chooser | None, choice: Choice, subject: str) -> bool:
    """Whether an answer or a delivery that could be at once is; otherwise it comes when others have had their turn."""
    return choose is None or choose(choice, (f"{subject}: at once", f"{subject}: later")) == 0


def choose_amount(choose: Chooser | None, count: int) -> int:
    """How many of the `count` elements that a copy could move it moves: all, one, or half of them."""
    if choose is None or count < 2:
        return count
    options = tuple(dict.fromkeys((count, 1, count // 2)))
    return options[choose(Choice.AMOUNT, options)]

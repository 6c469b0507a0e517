"""The seam through which a test takes over what happens when: without one, everything happens as early as it can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ..runtime.choice import Choice

if TYPE_CHECKING:
    from .driver import Driver


class Scheduler(Protocol):
    """Decides the order of all that happens in an instance, and between instances that share one."""

    def choose(self, choice: Choice, options: Sequence[object], /) -> int:
        """The position of the possibility that is taken. The one that is taken without a scheduler stands first."""

    async def turn(self, driver: Driver, /) -> None:
        """Returns when the driver's store, which has something to do, may take one turn."""

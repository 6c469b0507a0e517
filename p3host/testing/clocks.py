"""Clocks for guests in tests."""

from __future__ import annotations

from datetime import UTC, datetime

import anyio

NEW_YEAR = datetime(2000, 1, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nanoseconds_of(moment: datetime) -> int:
    """
    :raises ValueError: if it names no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} could be any moment: give it a time zone, as in tzinfo=datetime.UTC")
    since = moment - EPOCH
    return (since.days * 86400 + since.seconds) * 10**9 + since.microseconds * 1000


class LoopTimeOfDay:
    """A time of day that begins at a given moment and goes on with the clock of the event loop."""

    resolution = 1

    def __init__(self, begins: datetime = NEW_YEAR) -> None:
        self.offset = nanoseconds_of(begins)
        self.started = anyio.current_time()

    def now(self) -> int:
        return self.offset + round((anyio.current_time() - self.started) * 1e9)


class ManualClock:
    """A clock that goes on when the test says so: both a monotonic clock and a time of day, in nanoseconds."""

    resolution = 1

    def __init__(self, begins: datetime = NEW_YEAR) -> None:
        self.time = nanoseconds_of(begins)
        self.sleepers: dict[anyio.Event, int] = {}

    def now(self) -> int:
        return self.time

    def advance(self, seconds: float) -> None:
        """Wakes all whose sleep is over then."""
        if seconds < 0:
            raise ValueError("a clock does not go back")
        self.time += round(seconds * 1e9)
        for event, when in list(self.sleepers.items()):
            if when <= self.time:
                event.set()

    async def sleep_until(self, when: int) -> None:
        if when <= self.time:
            return
        event = anyio.Event()
        self.sleepers[event] = when
        try:
            await event.wait()
        finally:
            del self.sleepers[event]

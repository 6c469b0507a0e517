"""`wasi:clocks` 0.2."""

from __future__ import annotations

from collections.abc import Mapping

from ...records import Record
from ..clock import MonotonicClock, SystemClock, Timestamp
from .io import Pollable


class TimezoneDisplay(Record):
    """The offset from UTC in seconds, the zone's name, and whether daylight saving time is active."""

    utc_offset: int
    name: str
    in_daylight_saving_time: bool


class Monotonic:
    """`wasi:clocks/monotonic-clock`; all times are in nanoseconds."""

    def __init__(self, clock: MonotonicClock) -> None:
        self.clock = clock

    def now(self) -> int:
        return self.clock.now()

    def resolution(self) -> int:
        return self.clock.resolution

    def subscribe_instant(self, when: int) -> Pollable:
        return Pollable(lambda: self.clock.now() >= when, lambda: self.clock.sleep_until(when))

    def subscribe_duration(self, duration: int) -> Pollable:
        return self.subscribe_instant(self.clock.now() + duration)


class Wall:
    """`wasi:clocks/wall-clock`. A time before 1970, which it can't express, reads as 1970."""

    def __init__(self, clock: SystemClock) -> None:
        self.clock = clock

    def now(self) -> Timestamp:
        return Timestamp.of(max(0, self.clock.now()))

    def resolution(self) -> Timestamp:
        return Timestamp.of(self.clock.resolution)


class Timezone:
    """`wasi:clocks/timezone`: no time zone is exposed."""

    def display(self, when: Timestamp) -> TimezoneDisplay:
        return TimezoneDisplay(0, "UTC", False)

    def utc_offset(self, when: Timestamp) -> int:
        return 0


def interfaces(monotonic_clock: MonotonicClock, system_clock: SystemClock) -> Mapping[str, object]:
    """The providers of the package's interfaces, by name without version."""
    return {
        "wasi:clocks/monotonic-clock": Monotonic(monotonic_clock),
        "wasi:clocks/wall-clock": Wall(system_clock),
        "wasi:clocks/timezone": Timezone(),
    }

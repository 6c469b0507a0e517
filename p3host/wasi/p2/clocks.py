"""`wasi:clocks` 0.2."""

from __future__ import annotations

from collections.abc import Mapping

from ...records import Record
from ..clock import LocalTime, MonotonicClock, SystemClock, Timestamp, Zone
from .io import Pollable

UTC = LocalTime(0, "UTC", False)


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
    """`wasi:clocks/timezone`. Where the zone tells nothing of a time, that is one of UTC."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone

    def display(self, when: Timestamp) -> TimezoneDisplay:
        local = self.zone.at(when.seconds) or UTC
        return TimezoneDisplay(local.utc_offset // 10**9, local.name, local.is_daylight_saving)

    def utc_offset(self, when: Timestamp) -> int:
        return self.display(when).utc_offset


def interfaces(monotonic_clock: MonotonicClock, system_clock: SystemClock, zone: Zone) -> Mapping[str, object]:
    """The providers of the package's interfaces, by name without version."""
    return {
        "wasi:clocks/monotonic-clock": Monotonic(monotonic_clock),
        "wasi:clocks/wall-clock": Wall(system_clock),
        "wasi:clocks/timezone": Timezone(zone),
    }

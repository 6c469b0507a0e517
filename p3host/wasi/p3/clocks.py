"""`wasi:clocks` 0.3."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from ..clock import MonotonicClock, SystemClock, Timestamp, Zone


class Monotonic:
    """`wasi:clocks/monotonic-clock`; all times are in nanoseconds."""

    def __init__(self, clock: MonotonicClock) -> None:
        self.clock = clock

    def now(self) -> int:
        return self.clock.now()

    def get_resolution(self) -> int:
        return self.clock.resolution

    def wait_until(self, when: int) -> Coroutine[Any, Any, None] | None:
        return self.clock.sleep_until(when) if when > self.clock.now() else None

    def wait_for(self, how_long: int) -> Coroutine[Any, Any, None] | None:
        return self.clock.sleep_until(self.clock.now() + how_long) if how_long else None


class System:
    """`wasi:clocks/system-clock`."""

    def __init__(self, clock: SystemClock) -> None:
        self.clock = clock

    def now(self) -> Timestamp:
        return Timestamp.of(self.clock.now())

    def get_resolution(self) -> int:
        return self.clock.resolution


class Timezone:
    """`wasi:clocks/timezone`."""

    def __init__(self, zone: Zone, clock: SystemClock) -> None:
        self.zone = zone
        self.clock = clock

    def iana_id(self) -> str | None:
        return self.zone.iana_id

    def utc_offset(self, when: Timestamp) -> int | None:
        local = self.zone.at(when.seconds)
        return None if local is None else local.utc_offset

    def to_debug_string(self) -> str:
        """The zone's name in the database; else its abbreviation now; "UTC" if none is exposed."""
        local = self.zone.at(self.clock.now() // 10**9)
        return self.zone.iana_id or ("UTC" if local is None else local.name)


def interfaces(monotonic_clock: MonotonicClock, system_clock: SystemClock, zone: Zone) -> Mapping[str, object]:
    """The providers of the package's interfaces, by name without version."""
    return {
        "wasi:clocks/types": object(),
        "wasi:clocks/monotonic-clock": Monotonic(monotonic_clock),
        "wasi:clocks/system-clock": System(system_clock),
        "wasi:clocks/timezone": Timezone(zone, system_clock),
    }

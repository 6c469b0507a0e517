"""`wasi:clocks` 0.3."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from ..clock import MonotonicClock, SystemClock, Timestamp


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
    """`wasi:clocks/timezone`: no time zone is exposed."""

    def iana_id(self) -> str | None:
        return None

    def utc_offset(self, when: Timestamp) -> int | None:
        return None

    def to_debug_string(self) -> str:
        return "UTC"


def interfaces(monotonic_clock: MonotonicClock, system_clock: SystemClock) -> Mapping[str, object]:
    """The providers of the package's interfaces, by name without version."""
    return {
        "wasi:clocks/types": object(),
        "wasi:clocks/monotonic-clock": Monotonic(monotonic_clock),
        "wasi:clocks/system-clock": System(system_clock),
        "wasi:clocks/timezone": Timezone(),
    }

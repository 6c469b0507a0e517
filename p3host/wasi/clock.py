"""Clocks that `wasi:clocks` reads and waits on, in both worlds."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

import anyio

from ..records import Record

MACHINES_TIME = asyncio.BaseEventLoop.time
LONGEST_SLEEP = 86400 * 10**9  # event loops take no time-out of centuries


class Timestamp(Record):
    """`datetime` of WASI 0.2 and `instant` of 0.3: seconds since 1970-01-01T00:00:00Z, which may be negative in 0.3,
    and 0 to 999,999,999 nanoseconds forward from there."""

    seconds: int
    nanoseconds: int

    @classmethod
    def of(cls, nanoseconds: int) -> Timestamp:
        return cls(*divmod(nanoseconds, 10**9))


class MonotonicClock(Protocol):
    """Never goes back; its zero is anywhere. All times are in nanoseconds."""

    @property
    def resolution(self) -> int: ...

    def now(self) -> int: ...

    async def sleep_until(self, when: int) -> None:
        """Returns when `now()` is at or past `when`. Can be cancelled."""


class SystemClock(Protocol):
    """Nanoseconds since 1970-01-01T00:00:00Z, negative before."""

    @property
    def resolution(self) -> int: ...

    def now(self) -> int: ...


class LoopClock:
    """The clock of the running event loop, so that a loop with a clock of its own (trio's `MockClock`) sets the
    guest's time too. Where that is the machine's it is read to the nanosecond: uvloop's has milliseconds."""

    resolution = 1

    def now(self) -> int:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return int(anyio.current_time() * 1e9)
        if getattr(loop.time, "__func__", None) is MACHINES_TIME or type(loop).__module__ == "uvloop":
            return time.monotonic_ns()
        return int(loop.time() * 1e9)

    async def sleep_until(self, when: int) -> None:
        while True:
            remaining = when - self.now()
            if remaining <= 0:
                return
            await anyio.sleep(min(remaining, LONGEST_SLEEP) / 1e9)


class RealTime:
    """The machine's own time of day."""

    resolution = max(1, round(time.get_clock_info("time").resolution * 1e9))

    def now(self) -> int:
        return time.time_ns()

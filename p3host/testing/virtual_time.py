"""A simulated clock that jumps ahead when nothing else can happen, on asyncio and on trio.

All that goes by the clock of the event loop goes by it: `anyio.sleep`, time-outs, and so the clocks and sleeps of
guests. While something can run, time stands still; when all tasks wait, it jumps to the next timer. A worker thread of
anyio counts as something that runs (unless it has a limiter of its own, by which it can't be found). Other outside
things (sockets of other processes, say) don't: a loop that waits for one and for a timer takes the timer.

Whoever computes without a pause would never see time pass, so after a second of that it passes as it really does.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, Protocol

import anyio
import anyio.to_thread

from ..wasi.filesystem.handles import threads as filesystem_threads
from ..wasi.sockets.name_lookup import threads as lookup_threads

START = 1000.0  # seconds; not 0, which some languages take for a clock that has failed
PATIENCE = 1.0  # seconds of computing after which time passes
LONGEST_STEP = 0.02  # seconds that one turn of the loop counts for at most, as a debugger may have stood in it
THREAD_POLL = 0.05  # seconds between looks at worker threads, which wake the loop when they end


class Idler(Protocol):
    """Who waits for everything else to be idle, and, where several do, picks who goes on."""

    def pick(self, waiting: Sequence[object], seconds_to_timer: float | None) -> int:
        """The position of the one that goes on; `len(waiting)` lets the time pass to the next timer."""


class VirtualTime:
    """The time of one event loop, in seconds."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.now = START
        self.busy_seconds = 0.0
        self.looked_at = monotonic()
        self.idlers: dict[anyio.Event, tuple[Idler, object]] = {}
        self.settlers: dict[anyio.Event, None] = {}
        self.on_stuck: dict[object, Callable[[], bool]] = {}  # asked from the last one on, until one acts
        self.executor_calls = 0

    async def idle(self, idler: Idler, who: object) -> None:
        """Returns when nothing else can run, before time jumps. Those that wait for that go on one at a time."""
        event = anyio.Event()
        self.idlers[event] = (idler, who)
        try:
            await event.wait()
        finally:
            self.idlers.pop(event, None)

    async def settled(self) -> None:
        """Returns when nothing else can run, those who wait in `idle` included, before time jumps."""
        event = anyio.Event()
        self.settlers[event] = None
        try:
            await event.wait()
        finally:
            self.settlers.pop(event, None)

    @contextmanager
    def until_stuck(self) -> Iterator[anyio.CancelScope]:
        """Cancels the block when nothing in the event loop can ever go on."""
        with anyio.CancelScope() as scope:

            def give_up() -> bool:
                cancelled = scope.cancel_called
                scope.cancel()
                return not cancelled

            self.on_stuck[scope] = give_up
            try:
                yield scope
            finally:
                del self.on_stuck[scope]

    # What the event loop calls

    def ran(self) -> None:
        """Something has run since the last look."""
        looked_at, self.looked_at = self.looked_at, monotonic()
        step = min(self.looked_at - looked_at, LONGEST_STEP)
        self.busy_seconds += step
        if self.busy_seconds > PATIENCE:
            self.now += step

    def rest(self, timer: float | None) -> float | None:
        """Nothing can run, until `timer` if there is one. Returns how many real seconds to wait for the outside: 0
        means that something can run now, None that there is no limit."""
        self.busy_seconds, self.looked_at = 0.0, monotonic()
        if self.threads_run():
            return THREAD_POLL
        if self.idlers:
            waiting = list(self.idlers.items())
            idler, _ = waiting[0][1]
            picked = idler.pick([who for _, (_, who) in waiting], None if timer is None else timer - self.now)
            if picked < len(waiting):
                event = waiting[picked][0]
                del self.idlers[event]
                event.set()
                return 0
        elif self.settlers:
            self.settlers.popitem()[0].set()
            return 0
        if timer is not None:
            self.now = max(timer, self.now)
            return 0
        for unstick in reversed(list(self.on_stuck.values())):
            if unstick():
                return 0
        return None

    def threads_run(self) -> bool:
        if self.executor_calls:
            return True
        default = anyio.to_thread.current_default_thread_limiter()
        limiters = [filesystem_threads.get(None), lookup_threads.get(None), default]
        return any(limiter is not None and limiter.borrowed_tokens for limiter in limiters)


def virtual_time(backend: str) -> tuple[str, dict[str, Any]]:
    """The backend and its options for virtual time: a value for the fixture `anyio_backend`, or for `anyio.run`.

    :raises ValueError: if it is neither "asyncio" nor "trio".
    :raises ImportError: if trio is asked for and not installed.
    """
    if backend == "asyncio":
        from .virtual_asyncio import VirtualTimeLoop

        return backend, {"loop_factory": VirtualTimeLoop}
    if backend == "trio":
        from .virtual_trio import VirtualTimeClock

        clock = VirtualTimeClock()
        return backend, {"clock": clock, "instruments": [clock]}
    raise ValueError(f"there is no backend {backend!r}, but asyncio and trio")


def current_virtual_time() -> VirtualTime | None:
    """The virtual time of the event loop that runs, None if its time is real."""
    try:
        clock: object = asyncio.get_running_loop()
    except RuntimeError:
        trio = sys.modules.get("trio")
        clock = trio.lowlevel.current_clock() if trio is not None else None
    found = getattr(clock, "virtual_time", None)
    return found if isinstance(found, VirtualTime) else None

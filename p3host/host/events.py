"""What differs between event loops where speed counts: the event that the caller of an export waits with, which costs
it a third of what anyio's would, and the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import anyio


class Event(Protocol):
    """Set once, and waited for by one task, maybe again after a cancellation."""

    def set(self) -> None: ...

    async def wait(self) -> object: ...


class AsyncioEvent:
    __slots__ = ("done", "loop", "waiter")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.done = False
        self.waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        self.done = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def wait(self) -> None:
        if not self.done:
            self.waiter = self.loop.create_future()
            await self.waiter


def event_class() -> type[AsyncioEvent] | type[anyio.Event]:
    """The class for the event loop that runs."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return anyio.Event
    return AsyncioEvent


def loop_clock() -> Callable[[], float]:
    """The clock of the event loop that runs, in seconds."""
    try:
        return asyncio.get_running_loop().time
    except RuntimeError:
        return anyio.current_time

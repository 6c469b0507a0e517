"""How a server stops: by which signals, and what it doesn't wait for."""

from __future__ import annotations

import signal
from asyncio import WriteTransport
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

import anyio

STOPPING = (signal.SIGINT, signal.SIGTERM)
FAREWELL_SECONDS = 1.0


def ignore(*args: object) -> None:
    pass


@contextmanager
def handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Within the block, the signals have `handler` called, unless somebody else handles them."""
    before = {each: signal.signal(each, handler) for each in STOPPING}
    try:
        yield
    finally:
        for each, former in before.items():
            signal.signal(each, former)


def end_at_once(number: signal.Signals) -> None:
    """Has a signal do what it does to processes that do not handle it."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


async def leave_silent_clients(transports: Callable[[], Iterable[WriteTransport]]) -> None:
    """Goes on ending connections on asyncio that have been closed, and wait for nothing but their client's farewell by
    TLS, which many never send."""
    silent: set[WriteTransport] = set()
    while True:
        waiting = {each for each in transports() if each.is_closing() and not each.get_write_buffer_size()}
        for transport in waiting & silent:
            transport.abort()
        silent = waiting
        await anyio.sleep(FAREWELL_SECONDS)

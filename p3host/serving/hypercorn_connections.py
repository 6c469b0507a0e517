"""What hypercorn leaves undone for its connections: one that fails must end alone, not with the whole server, and a
client that doesn't read must not keep its request for ever."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

logger = logging.getLogger("p3host.serving")


async def serve_alone(serve: Callable[..., Awaitable[None]], *arguments: Any) -> None:
    """Serves a connection. Why it failed is told quietly, as clients can have it happen as often as they like."""
    try:
        await serve(*arguments)
    except* Exception as failures:
        reason: Exception = failures
        while isinstance(reason, ExceptionGroup):
            reason = reason.exceptions[0]
        logger.info("a connection was broken off: %s: %s", type(reason).__name__, reason)


class ImpatientStream:
    """A stream of trio's. hypercorn shields what it sends from cancellation, so the limit has to be within that."""

    def __init__(self, stream: Any, send_seconds: float) -> None:
        self.stream = stream
        self.send_seconds = send_seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    async def send_all(self, data: bytes) -> None:
        """:raises trio.ClosedResourceError: it took too long"""
        with anyio.move_on_after(self.send_seconds):
            await self.stream.send_all(data)
            return
        await anyio.aclose_forcefully(self.stream)
        await self.stream.send_all(data)  # which raises that

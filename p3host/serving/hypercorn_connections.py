"""What hypercorn leaves undone for its connections: one that fails must end alone, not with the whole server; a client
that doesn't read must not keep its request for ever; what comes for a request that has ended must not be waited with
until somebody takes it, and on HTTP/2 it is no fault.

hypercorn has no place where it could be told so. Its modules get what is here in place of their own.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

import anyio
import hypercorn.protocol
from hypercorn.protocol.h2 import H2Protocol

Put: TypeAlias = Callable[[Any], Awaitable[None]]

logger = logging.getLogger("p3host.serving")


def repair(backend: str, send_seconds: float) -> None:
    """Repairs hypercorn in this process. A client has `send_seconds` to take what is sent to it at once."""
    replace(hypercorn.protocol, "H2Protocol", Http2)
    if backend == "trio":
        from hypercorn.trio import run as trio_run
        from hypercorn.trio import task_group as trio_task_group
        from hypercorn.trio import tcp_server as trio_server

        def connection(*arguments: Any) -> Any:
            *rest, stream = arguments
            make: Callable[..., Any] = trio_server.TCPServer
            return make(*rest, ImpatientStream(stream, send_seconds))

        class TrioTaskGroup(trio_task_group.TaskGroup):
            async def spawn_app(self, *arguments: Any) -> Put:
                return await spawn(super().spawn_app, *arguments)

        replace(trio_server, "TaskGroup", TrioTaskGroup)
        replace(trio_run, "TCPServer", partial(serve_alone, connection))
    else:
        from hypercorn.asyncio import run as asyncio_run
        from hypercorn.asyncio import task_group as asyncio_task_group
        from hypercorn.asyncio import tcp_server as asyncio_server

        class AsyncioTaskGroup(asyncio_task_group.TaskGroup):
            async def spawn_app(self, *arguments: Any) -> Put:
                return await spawn(super().spawn_app, *arguments)

        replace(asyncio_server, "TaskGroup", AsyncioTaskGroup)
        replace(asyncio_run, "TCPServer", partial(serve_alone, asyncio_server.TCPServer))


def replace(module: object, name: str, replacement: object) -> None:
    assert hasattr(module, name), f"this version of hypercorn has no {name} where it is looked for"
    setattr(module, name, replacement)


async def serve_alone(serve: Callable[..., Awaitable[None]], *arguments: Any) -> None:
    """Serves a connection. Why it failed is told quietly, as clients can have it happen as often as they like."""
    try:
        await serve(*arguments)
    except* Exception as failures:
        reason: Exception = failures
        while isinstance(reason, ExceptionGroup):
            reason = reason.exceptions[0]
        logger.info("a connection was broken off: %s: %s", type(reason).__name__, reason)


async def spawn(spawn_app: Callable[..., Awaitable[Put]], application: Callable[..., Any], *arguments: Any) -> Put:
    """Starts an application by hypercorn's own `spawn_app`. What this returns takes the messages for it, while it runs:
    the queue is full when it has ended without having read all of a body."""
    ended = False
    waiting: set[anyio.CancelScope] = set()

    async def run(*arguments: Any) -> None:
        nonlocal ended
        try:
            await application(*arguments)
        finally:
            ended = True
            for scope in waiting:
                scope.cancel()

    async def put_while_it_runs(message: Any) -> None:
        if not ended:
            with anyio.CancelScope() as scope:
                waiting.add(scope)
                try:
                    await put(message)
                finally:
                    waiting.discard(scope)

    put = await spawn_app(run, *arguments)
    return put_while_it_runs


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


class Http2(H2Protocol):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.streams = Streams()


class Streams(dict[int, Any]):
    """Those of a connection, by their numbers. What comes for one that has ended is thrown away."""

    def __missing__(self, stream_id: int) -> EndedStream:
        return EndedStream()


class EndedStream:
    async def handle(self, event: object) -> None:
        pass

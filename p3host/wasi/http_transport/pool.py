"""Requests to HTTP servers: each on a connection of its own while it lasts, which may serve another one afterwards."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio

from ...errors import Err
from ..http.messages import OUTSIDE_FAILURES, ErrorCode, HttpRequest, HttpResponse
from .connect import connect
from .connection import Connection
from .exchange import Exchange, framing_of
from .loop_tasks import LoopTask
from .patterns import Origin, origin_of

if TYPE_CHECKING:
    from .grant import Http

MAX_IDLE = 32
IDLE_SECONDS = 30.0


class HttpTransport:
    """The connections of one event loop: at most `grant.max_connections` of them, of which `MAX_IDLE` may wait for
    another request for `IDLE_SECONDS`."""

    def __init__(self, grant: Http) -> None:
        self.grant = grant
        self.count = 0
        self.idle: dict[IdleConnection, None] = {}  # the one that has waited longest comes first

    async def send(self, request: HttpRequest) -> HttpResponse:
        """As `HttpClient.send`."""
        origin = origin_of(request.scheme, request.authority)
        if origin is None:
            raise Err(ErrorCode("HTTP-request-URI-invalid"))
        patterns = [pattern for pattern in self.grant.patterns if pattern.matches(origin)]
        if not patterns:
            raise Err(ErrorCode("HTTP-request-denied"))
        anywhere = self.grant.private_addresses or any(pattern.names_host for pattern in patterns)
        framing = await framing_of(request, self.grant.max_body_bytes)
        connection = await self.take_idle(origin)
        while True:
            if connection is None:
                connection = await self.open(origin, anywhere, request.timeouts.connect)
            release = partial(self.release, origin)
            exchange = Exchange(connection, request, framing, self.grant.max_body_bytes, release)
            try:
                return await exchange.run()
            except Err:
                if not exchange.may_be_repeated:
                    raise
                connection = None

    async def open(self, origin: Origin, anywhere: bool, seconds: float | None) -> Connection:
        while self.count >= self.grant.max_connections:
            if not self.idle:
                raise Err(ErrorCode("connection-limit-reached"))
            await next(iter(self.idle)).aclose()
        self.count += 1
        try:
            return Connection(await connect(origin, anywhere, self.grant.tls_context, seconds), self.forget)
        except BaseException:
            self.forget()
            raise

    def forget(self) -> None:
        self.count -= 1

    async def close_idle(self) -> None:
        for idle in list(self.idle):
            await idle.aclose()

    async def take_idle(self, origin: Origin) -> Connection | None:
        for idle in reversed([idle for idle in self.idle if idle.origin == origin]):
            if (connection := await idle.take()) is not None:
                return connection
        return None

    async def release(self, origin: Origin, connection: Connection) -> None:
        if not connection.start_next_exchange():
            await connection.aclose()
            return
        while len(self.idle) >= MAX_IDLE:
            await next(iter(self.idle)).aclose()
        IdleConnection(self.idle, origin, connection)


class IdleConnection:
    """A connection that waits in `pool` for another request. A task closes it when its time is over, or when anything
    comes from the server, which has nothing to say now: most of all, the end."""

    def __init__(self, pool: dict[IdleConnection, None], origin: Origin, connection: Connection) -> None:
        self.pool = pool
        self.origin = origin
        self.connection = connection
        self.is_fit = True
        pool[self] = None
        self.watching = LoopTask(self.watch)

    async def watch(self) -> None:
        try:
            with anyio.move_on_after(IDLE_SECONDS):
                await self.connection.stream.receive(1)
            self.is_fit = False
        except (*OUTSIDE_FAILURES, anyio.EndOfStream):
            self.is_fit = False
        finally:
            if self in self.pool:
                del self.pool[self]
                await self.connection.aclose()

    async def take(self) -> Connection | None:
        """The connection, or None if it is no good any more."""
        if self not in self.pool:
            return None
        del self.pool[self]
        try:
            await self.watching.aclose()
        finally:
            if not self.watching.ended.is_set() or not self.is_fit:
                await self.connection.aclose()
        return self.connection if self.is_fit else None

    async def aclose(self) -> None:
        self.pool.pop(self, None)
        await self.watching.aclose()
        await self.connection.aclose()

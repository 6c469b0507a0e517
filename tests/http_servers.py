"""HTTP servers on loopback that do exactly what a test says, byte by byte."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import h11
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener

from p3host.errors import Err
from p3host.wasi import Http
from p3host.wasi.http import HttpRequest, HttpResponse

SECONDS = 20
LINGER_NOT = struct.pack("ii", 1, 0)
Script: TypeAlias = Callable[["ServedConnection"], Awaitable[None]]


class ServedConnection:
    """The server's end of a connection. `server` remembers what all of them have in common."""

    def __init__(self, server: Server, stream: ByteStream) -> None:
        self.server = server
        self.stream = stream
        self.data = b""

    async def read_until(self, mark: bytes) -> bytes:
        """What has come up to `mark` and with it."""
        while mark not in self.data:
            self.data += await self.stream.receive()
        before, _, self.data = self.data.partition(mark)
        return before + mark

    async def read_exactly(self, count: int) -> bytes:
        while len(self.data) < count:
            self.data += await self.stream.receive()
        data, self.data = self.data[:count], self.data[count:]
        return data

    async def read_request(self) -> h11.Request:
        """The head of a request."""
        protocol = h11.Connection(h11.SERVER)
        protocol.receive_data(await self.read_until(b"\r\n\r\n"))
        request = protocol.next_event()
        assert isinstance(request, h11.Request)
        self.server.requests.append(request)
        return request

    async def read_to_the_end(self) -> bytes:
        """All that comes until the client closes the connection."""
        try:
            while True:
                self.data += await self.stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            data, self.data = self.data, b""
            return data

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)

    async def reset(self) -> None:
        """Ends the connection as a crash would."""
        await reset(self.stream)


async def reset(stream: ByteStream) -> None:
    """Ends a connection as a crash would."""
    opened = stream.extra(SocketAttribute.raw_socket)
    if opened.fileno() >= 0:  # else it is lost already
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    await anyio.aclose_forcefully(stream)


class Server:
    """`authority` is where it listens; `connections` counts those that came; `requests` are the heads of requests."""

    def __init__(self, authority: str, port: int) -> None:
        self.authority = authority
        self.port = port
        self.connections = 0
        self.open = 0
        self.requests: list[h11.Request] = []
        self.changed = anyio.Event()

    def change(self, number: int) -> None:
        self.open += number
        self.changed.set()
        self.changed = anyio.Event()

    async def all_closed(self) -> None:
        """Waits until no connection is open."""
        with anyio.fail_after(SECONDS):
            while self.open:
                await self.changed.wait()

    def request(self, path: str = "/", method: str = "GET", **more: Any) -> HttpRequest:
        more.setdefault("scheme", "http")
        more.setdefault("authority", self.authority)
        return HttpRequest(method=method, path_with_query=path, **more)


@asynccontextmanager
async def serving(script: Script, tls: Any = None, host: str = "127.0.0.1") -> AsyncIterator[Server]:
    """A server within the block. Each connection is `script`'s; it is closed when that returns, or loses it."""
    listener: Any = await anyio.create_tcp_listener(local_host=host)
    port = listener.extra(SocketAttribute.local_port)
    server = Server(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", port)

    async def handle(stream: ByteStream) -> None:
        server.connections += 1
        server.change(1)
        try:
            await script(ServedConnection(server, stream))
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(getattr(stream, "transport_stream", stream))
            server.change(-1)

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon((TLSListener(listener, tls) if tls else listener).serve, handle)
        yield server
        tasks.cancel_scope.cancel()


def answering(*responses: bytes) -> Script:
    """A script: reads a request without a body, sends a response; and so on, on each connection."""

    async def script(connection: ServedConnection) -> None:
        for response in responses:
            await connection.read_request()
            await connection.send(response)

    return script


def loopback(**options: Any) -> Http:
    return Http(["http://127.0.0.1:*"], **options)


async def send(http: Http, request: HttpRequest) -> HttpResponse:
    with anyio.fail_after(SECONDS):
        return await http.send(request)


async def fetch(http: Http, request: HttpRequest) -> tuple[HttpResponse, bytes]:
    """A response with all of its body."""
    with anyio.fail_after(SECONDS):
        response = await http.send(request)
        return response, await response.read()


async def failure(awaitable: Awaitable[Any]) -> object:
    with pytest.raises(Err) as raised, anyio.fail_after(SECONDS):
        await awaitable
    return raised.value.value


def counted(http: Http) -> tuple[int, int]:
    """How many connections are open, and how many of them are idle."""
    transport = http.transport.get(None)
    return (0, 0) if transport is None else (transport.count, len(transport.idle))


async def all_closed(http: Http) -> None:
    """Waits until no connection is open: one that is idle is closed when its server closes it."""
    with anyio.fail_after(SECONDS):
        while counted(http) != (0, 0):
            await anyio.lowlevel.checkpoint()

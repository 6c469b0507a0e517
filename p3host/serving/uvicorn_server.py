"""uvicorn, whose clients can't be slow for ever."""

from __future__ import annotations

import logging
import signal
import socket
from asyncio import AbstractEventLoop, Transport, WriteTransport
from collections.abc import Awaitable, Callable
from functools import partial
from math import ceil
from time import monotonic
from types import FrameType
from typing import Any

import anyio
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from .listening import BACKLOG, MOST_HEAD_BYTES
from .observed import is_news
from .settings import Settings
from .stopping import end_at_once, handling, leave_silent_clients

TICKS_PER_SECOND = 10  # uvicorn's
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def serve(application: Any, listener: socket.socket, settings: Settings) -> None:
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # of what clients do wrong, there is no end
    logging.getLogger("uvicorn.error").addFilter(is_news)
    config = uvicorn.Config(
        application,
        http=Protocol,
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=ceil(settings.head_seconds),
        timeout_graceful_shutdown=ceil(settings.grace_seconds),
    )
    config.load()
    config.ssl = settings.tls
    server = Server(config, settings)
    with handling(server.remember_signal):  # before uvicorn does, and when it has ended and sends it to itself again
        server.run(sockets=[listener])


class Protocol(HttpToolsProtocol):
    """Bounds the head of a request. `unread` counts the bytes since the last that had a use."""

    unread = 0
    held: HeldHead | None = None

    def data_received(self, data: bytes) -> None:
        if self.held is not None:
            self.held.flush()  # before what the server itself may write
        self.unread += len(data)
        super().data_received(data)
        if self.unread > MOST_HEAD_BYTES and not self.transport.is_closing():
            if self.cycle is None or self.cycle.response_complete:
                self.transport.write(TOO_LARGE)
                self.transport.close()
            else:
                self.transport.abort()

    def on_headers_complete(self) -> None:
        self.unread = 0
        super().on_headers_complete()
        self.held = HeldHead(self.transport, self.loop)
        self.cycle.transport = self.held  # type: ignore[assignment]
        self.headers = []  # trailers would be added to the headers of the request
        if self.expect_100_continue:
            self.cycle.send = partial(continue_and_send, self.cycle, self.cycle.send)  # type: ignore[method-assign]

    def on_body(self, body: bytes) -> None:
        self.unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.unread = 0
        super().on_message_complete()


class HeldHead(WriteTransport):
    """The transport of one response: its head goes out with what comes next, or at the end of this turn of the loop. A
    write of its own would cost as much as all else that the server does for a small response."""

    def __init__(self, transport: Transport, loop: AbstractEventLoop) -> None:
        super().__init__()
        self.transport = transport
        self.loop = loop
        self.head: bytes | None = None
        self.begun = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        if not self.begun:
            self.begun = True
            self.head = data
            self.loop.call_soon(self.flush)
        elif self.head is not None:
            head, self.head = self.head, None
            self.transport.write(head + data)
        else:
            self.transport.write(data)

    def flush(self) -> None:
        head, self.head = self.head, None
        if head is not None:
            self.transport.write(head)

    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def close(self) -> None:
        self.flush()
        self.transport.close()


async def continue_and_send(cycle: RequestResponseCycle, send: Callable[[Any], Awaitable[None]], message: Any) -> None:
    """A client that waits to be told whether to send its body is told so before a response that may be made of it;
    uvicorn itself does that if the body is asked for before the response begins."""
    if cycle.waiting_for_100_continue and message.get("status", 0) < 300 and not cycle.transport.is_closing():
        cycle.waiting_for_100_continue = False
        cycle.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    await send(message)


class Server(uvicorn.Server):
    """Ends connections that have no request for too long, or no end. `waiting` are those without, with the request that
    they had last, and since when."""

    def __init__(self, config: uvicorn.Config, settings: Settings) -> None:
        super().__init__(config)
        self.settings = settings
        self.waiting: dict[Any, tuple[Any, float]] = {}

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_PER_SECOND == 0:
            self.look_for_slow_clients(monotonic())
        return await super().on_tick(counter)

    def look_for_slow_clients(self, now: float) -> None:
        waiting = {}
        connections: set[Any] = self.server_state.connections
        for connection in connections:
            request = connection.cycle
            if request is not None and not request.response_complete and not connection.transport.is_closing():
                continue
            last, since = self.waiting.get(connection, (request, now))
            if last is not request:
                since = now
            # One that still takes what was sent goes on, as long as the system sees it take anything.
            if now - since > self.settings.head_seconds and not connection.transport.get_write_buffer_size():
                connection.transport.abort()
            waiting[connection] = request, since
        self.waiting = waiting

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(leave_silent_clients, self.transports)
            await super().shutdown(sockets)
            group.cancel_scope.cancel()

    def transports(self) -> list[WriteTransport]:
        return [connection.transport for connection in self.server_state.connections]

    def remember_signal(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit and self.settings.workers == 1:
            end_at_once(signal.Signals(sig))
        super().handle_exit(sig, frame)

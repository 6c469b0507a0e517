"""uvicorn, whose clients can't be slow for ever."""

from __future__ import annotations

import logging
import signal
import socket
from time import monotonic
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .listening import BACKLOG
from .observed import is_news
from .settings import Settings
from .stopping import end_at_once, surviving

TICKS_PER_SECOND = 10  # uvicorn's
HEAD_SECONDS = 30  # within which the head of a request has to come
MOST_HEAD_BYTES = 1 << 16


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
        timeout_graceful_shutdown=round(settings.grace_seconds),
    )
    config.load()
    config.ssl = settings.tls
    with surviving():  # uvicorn sends itself the signal again when it has stopped
        Server(config, settings.workers == 1).run(sockets=[listener])


class Protocol(HttpToolsProtocol):
    """Bounds the head of a request. `unread` counts the bytes since the last that had a use."""

    unread = 0

    def data_received(self, data: bytes) -> None:
        self.unread += len(data)
        super().data_received(data)
        if self.unread > MOST_HEAD_BYTES:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        self.unread = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self.unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.unread = 0
        super().on_message_complete()


class Server(uvicorn.Server):
    """Ends connections that have no request for too long, or no end. `waiting` are those without, with the request that
    they had last, and since when."""

    def __init__(self, config: uvicorn.Config, is_alone: bool) -> None:
        super().__init__(config)
        self.is_alone = is_alone
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
            if now - since > HEAD_SECONDS:
                connection.transport.abort()
            waiting[connection] = request, since
        self.waiting = waiting

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit and self.is_alone:
            end_at_once(signal.Signals(sig))
        super().handle_exit(sig, frame)

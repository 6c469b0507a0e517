"""hypercorn, on asyncio and trio, by HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import logging
import signal
import socket
from asyncio import WriteTransport
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from ssl import SSLContext
from typing import Any

import anyio
import hypercorn

from .hypercorn_connections import ImpatientStream, serve_alone
from .hypercorn_protocols import use_inboxes
from .listening import BACKLOG, MOST_HEAD_BYTES
from .observed import is_news
from .settings import Settings
from .stopping import STOPPING, ignore, leave_silent_clients


class Config(hypercorn.Config):
    """hypercorn's, with a context for TLS that is there already."""

    def __init__(self, tls: SSLContext | None) -> None:
        super().__init__()
        self.tls = tls

    @property
    def ssl_enabled(self) -> bool:
        return self.tls is not None

    def create_ssl_context(self) -> SSLContext | None:
        return self.tls


def serve(application: Any, listener: socket.socket, settings: Settings) -> None:
    logger = logging.getLogger("hypercorn.error")
    logger.setLevel(logging.ERROR)
    for each in (logger, logging.getLogger("asyncio")):
        each.addFilter(is_news)
    config = Config(settings.tls)
    config.bind = [f"fd://{listener.detach()}"]
    config.backlog = BACKLOG
    config.accesslog = None
    config.errorlog = logger
    config.include_server_header = False
    config.h11_max_incomplete_size = MOST_HEAD_BYTES
    config.keep_alive_timeout = settings.head_seconds
    config.graceful_timeout = settings.grace_seconds
    options = {"use_uvloop": True} if settings.backend == "asyncio" and find_spec("uvloop") else {}
    connections: set[Any] = set()
    repair(settings.backend, connections, settings.pool.request_seconds)
    run: Callable[..., Any] = import_module(f"hypercorn.{settings.backend}").serve

    async def serve_until_told() -> None:
        told, ended = anyio.Event(), anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(cut_off_late, connections, settings.grace_seconds, told, ended)
            await run(application, config, shutdown_trigger=partial(told_to_stop, told, settings.workers == 1))
            ended.set()

    anyio.run(serve_until_told, backend=settings.backend, backend_options=options)


async def told_to_stop(told: anyio.Event, is_alone: bool) -> None:
    """Waits until this process is told to stop. If it serves alone, a second signal ends it at once."""
    with anyio.open_signal_receiver(*STOPPING) as signals:
        async for _ in signals:
            break
    for each in STOPPING:
        signal.signal(each, signal.SIG_DFL if is_alone else ignore)
    told.set()


def repair(backend: str, connections: set[Any], send_seconds: float) -> None:
    """Has hypercorn in this process use what is ours for its connections."""
    use_inboxes()
    base = import_module(f"hypercorn.{backend}.tcp_server").TCPServer
    vars(import_module(f"hypercorn.{backend}.run"))["TCPServer"] = remembered(base, connections, send_seconds)


def remembered(base: type[Any], connections: set[Any], send_seconds: float) -> type[Any]:
    """hypercorn's class of connections, of which `connections` has those that live. One whose client is gone does not
    wait for another request, and one whose client doesn't read for `send_seconds` ends."""

    class Connection(base):  # type: ignore[misc]
        client_is_gone = False

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            stream: Any = getattr(self, "stream", None)
            if stream is not None:  # on trio
                self.stream = ImpatientStream(stream, send_seconds)

        async def run(self) -> None:
            connections.add(self)
            try:
                await serve_alone(super().run)
            finally:
                connections.discard(self)

        async def _read_data(self) -> None:
            await super()._read_data()
            self.client_is_gone = True
            await self.idle_task.stop()

        async def _idle_timeout(self) -> None:
            if not self.client_is_gone:
                await super()._idle_timeout()

    return Connection


async def cut_off_late(connections: set[Any], grace_seconds: float, told: anyio.Event, ended: anyio.Event) -> None:
    """Ends the connections that are still there when the time is over. hypercorn itself would wait until their clients
    have taken all."""

    def transports() -> list[WriteTransport]:
        return [each.writer.transport for each in connections if hasattr(each, "writer")]  # on asyncio

    await told.wait()
    async with anyio.create_task_group() as group:
        group.start_soon(leave_silent_clients, transports)
        with anyio.move_on_after(grace_seconds):
            await ended.wait()
        group.cancel_scope.cancel()
    for transport in transports():
        transport.abort()
    for connection in list(connections):
        if hasattr(connection, "stream"):  # on trio
            await anyio.aclose_forcefully(connection.stream)

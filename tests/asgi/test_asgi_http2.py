"""Trailers over HTTP/2, by a server that an application might choose for itself (hypercorn)."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import h2.connection
import h2.events
import hypercorn
import pytest
from asgi_fakes import Peer, forwarding

from p3host.asgi import Application
from p3host.wasi.http import HttpResponse

pytestmark = pytest.mark.anyio

SECONDS = 30
REQUEST = [(":method", "GET"), (":path", "/forward"), (":authority", "a.test"), (":scheme", "http")]
SUM = [("x-sum", b"6")]


@asynccontextmanager
async def served(application: Application, backend: str) -> AsyncIterator[int]:
    """The port at which hypercorn serves an application within the block."""
    if backend == "trio":
        from hypercorn.trio import serve
    else:
        from hypercorn.asyncio import serve
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = hypercorn.Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.errorlog = None
    over = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(serve, application, config, shutdown_trigger=over.wait))
        try:
            yield port
        finally:
            over.set()


async def fetch(port: int, *headers: tuple[str, str]) -> tuple[bytes, list[tuple[bytes, bytes]] | None]:
    """The body and the trailers that come for a request."""
    protocol = h2.connection.H2Connection()
    protocol.initiate_connection()
    protocol.send_headers(1, [*REQUEST, *headers], end_stream=True)
    body, trailers = b"", None
    with anyio.fail_after(SECONDS):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            while True:
                await stream.send(protocol.data_to_send())
                for event in protocol.receive_data(await stream.receive()):
                    match event:
                        case h2.events.DataReceived():
                            body += event.data
                        case h2.events.TrailersReceived():
                            trailers = event.headers
                        case h2.events.StreamEnded():
                            return body, trailers


@pytest.mark.parametrize(
    ("headers", "trailers", "expected"),
    [
        ([("trailer", b"x-sum")], SUM, SUM),
        ([("content-type", b"application/grpc+proto")], SUM, SUM),
        ([("trailer", b"x-sum")], [*SUM, ("content-length", b"5")], SUM),
        ([], None, None),  # a promise of these would not be kept
        ([], SUM, None),
    ],
)
async def test_trailers_that_are_announced_come_to_a_client_that_takes_them(
    headers: Any, trailers: Any, expected: Any, anyio_backend_name: str
) -> None:
    application = forwarding(Peer(HttpResponse(headers=headers, body=b"abc", trailers=trailers)))
    async with served(application, anyio_backend_name) as port:
        body, came = await fetch(port, ("te", "trailers"))
        assert body == b"abc"
        assert came == (None if expected is None else [(name.encode(), value) for name, value in expected])
        assert await fetch(port) == (b"abc", None)

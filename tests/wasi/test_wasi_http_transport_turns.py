"""The HTTP/1.1 transport: a request that is cancelled in any turn of the event loop leaves neither connection nor file
nor task, without the garbage collector's help."""

from __future__ import annotations

import gc
import os
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from ipaddress import IPv4Address

import anyio
import anyio.lowlevel
import pytest
import trustme
from anyio.abc import ByteReceiveStream
from guest_text import let_others_run
from http_servers import SECONDS, ServedConnection, Server, counted, serving

from p3host.wasi import Http
from p3host.wasi.http_transport import connect as http_connect
from p3host.wasi.http_transport import loop_tasks

pytestmark = pytest.mark.anyio

AFTER = 10  # turns beyond the first request that came to its end
MOST_TURNS = 500


@pytest.fixture(autouse=True)
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def script(connection: ServedConnection) -> None:
    while True:
        await connection.read_request()
        await connection.read_until(b"0\r\n\r\n")
        await connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\na: b\r\n\r\n")


async def exchange(http: Http, server: Server, scheme: str) -> None:
    response = await http.send(server.request(method="POST", scheme=scheme, body=body()))
    assert isinstance(response.body, ByteReceiveStream)
    try:
        assert await response.read() == b"abc"
        assert await response.read_trailers() == [("a", b"b")]
    finally:
        await response.body.aclose()


async def body() -> AsyncIterator[bytes]:
    yield b"a piece"


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("addresses", [1, 3])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_request_that_is_cancelled_in_any_turn_leaves_nothing(
    scheme: str, addresses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(host: str) -> Sequence[IPv4Address]:
        return [IPv4Address("127.0.0.1")] * addresses

    monkeypatch.setattr(http_connect, "resolve", resolve)
    monkeypatch.setattr(http_connect, "HEAD_START", 0)  # all addresses are tried at once
    authority = trustme.CA()
    theirs, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    authority.configure_trust(ours)
    http = Http(["127.0.0.1:*"], ssl_context=ours)
    async with serving(script, theirs if scheme == "https" else None) as server:
        await let_others_run()
        files = open_files()
        ended: list[int] = []

        async def run(turns: int) -> None:
            await exchange(http, server, scheme)
            ended.append(turns)

        for turns in range(MOST_TURNS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run, turns)
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            await http.aclose()
            assert (counted(http), loop_tasks.running) == ((0, 0), set())
            with anyio.fail_after(SECONDS):
                while open_files() > files or server.open:
                    await anyio.lowlevel.checkpoint()
            if ended and turns > ended[0] + AFTER:
                break
        assert ended

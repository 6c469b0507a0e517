"""The HTTP/1.1 transport: large bodies pass through it in constant memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import ByteReceiveStream
from http_servers import ServedConnection, close_idle, loopback, serving

pytestmark = pytest.mark.anyio

SIZE = 100 << 20
PIECE = bytes(1 << 16)
ROOM = 8 << 20  # bytes; what is on its way on both sides, and what Python keeps
SECONDS = 120


@pytest.fixture
def peak() -> Any:
    """The most memory that was in use at once since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(SIZE // len(PIECE)):
        yield PIECE


@pytest.mark.parametrize("headers", [[("content-length", b"%d" % SIZE)], []])
async def test_a_large_upload(headers: Any, peak: Callable[[], int]) -> None:
    async def script(connection: ServedConnection) -> None:
        await connection.read_request()
        received = len(connection.data)
        while received < SIZE:  # chunks have more than the body in them
            received += len(await connection.stream.receive())
        await connection.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        await connection.read_to_the_end()

    http = loopback()
    async with serving(script) as server:
        with anyio.fail_after(SECONDS):
            response = await http.send(server.request(method="POST", headers=headers, body=pieces()))
            assert await response.read() == b""
        await close_idle(http)
    assert peak() < ROOM


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_download(chunked: bool, peak: Callable[[], int]) -> None:
    async def script(connection: ServedConnection) -> None:
        await connection.read_request()
        framing = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % SIZE
        await connection.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        for _ in range(SIZE // len(PIECE)):
            await connection.send(b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if chunked else PIECE)
        if chunked:
            await connection.send(b"0\r\n\r\n")

    http = loopback()
    async with serving(script) as server:
        received = 0
        with anyio.fail_after(SECONDS):
            response = await http.send(server.request())
            assert isinstance(response.body, ByteReceiveStream)
            async for piece in response.body:
                received += len(piece)
        assert received == SIZE
        await close_idle(http)
    assert peak() < ROOM


async def test_a_download_that_nobody_reads_waits() -> None:
    sent = 0

    async def script(connection: ServedConnection) -> None:
        nonlocal sent
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % SIZE)
        while sent < SIZE:
            await connection.send(PIECE)
            sent += len(PIECE)

    http = loopback()
    async with serving(script) as server:
        response = await http.send(server.request())
        await anyio.wait_all_tasks_blocked()
        before = sent
        assert before < SIZE / 4  # the rest does not fit between them
        assert isinstance(response.body, ByteReceiveStream)
        await response.body.aclose()


async def test_an_upload_that_nobody_reads_waits() -> None:
    taken = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal taken
        while taken < SIZE:
            taken += len(PIECE)
            yield PIECE

    async def script(connection: ServedConnection) -> None:
        await connection.read_request()
        await anyio.sleep_forever()

    http = loopback()
    async with serving(script) as server, anyio.create_task_group() as tasks:
        tasks.start_soon(http.send, server.request(method="POST", body=counted()))
        while not server.requests:
            await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
        assert 0 < taken < SIZE / 4
        tasks.cancel_scope.cancel()

"""The HTTP/1.1 transport: large bodies pass through it in constant memory, and not if they are larger than allowed."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import ByteReceiveStream
from http_servers import ServedConnection, answering, counted, failure, fetch, loopback, serving

from p3host.wasi.http import ErrorCode

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
        await http.aclose()
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
        await http.aclose()
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


async def in_pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(size):
        yield b"a"


CONTENTS = [
    (lambda size: bytes(size), []),
    (lambda size: bytes(size), [("x-sum", b"1")]),  # whose trailers come after chunks
    (in_pieces, []),
]


@pytest.mark.parametrize(("content", "trailers"), CONTENTS)
@pytest.mark.parametrize("size", [10, 11])
async def test_a_request_is_as_large_as_allowed(content: Any, trailers: Any, size: int) -> None:
    async def script(connection: ServedConnection) -> None:
        await connection.read_request()
        if size <= 10:
            await connection.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        await connection.read_to_the_end()

    http = loopback(max_body_bytes=10)
    async with serving(script) as server:
        request = server.request(method="POST", body=content(size), trailers=trailers or None)
        if size <= 10:
            assert (await fetch(http, request))[0].status == 204
            await http.aclose()
        else:
            assert await failure(http.send(request)) == ErrorCode("HTTP-request-body-size", size)
        await server.all_closed()
        assert counted(http) == (0, 0)


async def test_a_request_that_announces_more_than_is_allowed_is_not_sent() -> None:
    http = loopback(max_body_bytes=10)
    async with serving(answering()) as server:
        request = server.request(method="POST", body=in_pieces(11), headers=[("content-length", b"11")])
        assert await failure(http.send(request)) == ErrorCode("HTTP-request-body-size", 11)
        assert server.connections == 0


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [10, 11])
async def test_a_response_is_as_large_as_allowed(chunked: bool, size: int) -> None:
    head = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % size
    body = b"1\r\na\r\n" * size + b"0\r\n\r\n" if chunked else b"a" * size
    http = loopback(max_body_bytes=10)
    async with serving(answering(b"HTTP/1.1 200 OK\r\n%s\r\n\r\n%s" % (head, body))) as server:
        response = await http.send(server.request())
        if size <= 10:
            assert await response.read() == b"a" * size
            await http.aclose()
        else:
            assert await failure(response.read()) == ErrorCode("HTTP-response-body-size", size)
        await server.all_closed()
        assert counted(http) == (0, 0)


async def test_a_response_without_content_may_announce_any_length() -> None:
    http = loopback(max_body_bytes=10)
    async with serving(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n")) as server:
        response, body = await fetch(http, server.request(method="HEAD"))
        assert (response.status, body) == (200, b"")
        await http.aclose()

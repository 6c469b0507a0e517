"""The HTTP/1.1 transport: connections that serve one request after the other, and how many there are."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import ByteReceiveStream
from http_servers import (
    ServedConnection,
    all_closed,
    answering,
    counted,
    failure,
    fetch,
    loopback,
    send,
    serving,
)

from p3host.errors import Err
from p3host.wasi.http import ErrorCode
from p3host.wasi.http_transport import pool as http_transport

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\n"
THREE = HEAD + b"content-length: 3\r\n\r\nabc"
EMPTY = HEAD + b"content-length: 0\r\n\r\n"
TERMINATED = ErrorCode("connection-terminated")
BROKEN = ErrorCode("internal-error", "broken")


async def test_requests_in_a_row_share_a_connection() -> None:
    http = loopback()
    chunked = HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\na: 1\r\n\r\n"
    async with serving(answering(THREE, chunked, EMPTY, b"HTTP/1.1 204 No Content\r\n\r\n", THREE)) as server:
        for path, body in (("/1", b"abc"), ("/2", b"abc"), ("/3", b""), ("/4", b""), ("/5", b"abc")):
            assert (await fetch(http, server.request(path)))[1] == body
        assert [request.target for request in server.requests] == [b"/1", b"/2", b"/3", b"/4", b"/5"]
        assert server.connections == 1
        await server.all_closed()
        await all_closed(http)


async def test_a_request_with_a_body_leaves_its_connection_for_another() -> None:
    async def script(connection: ServedConnection) -> None:
        for _ in range(3):
            await connection.read_until(b"0\r\n\r\n")
            await connection.send(THREE)

    http = loopback()
    async with serving(script) as server:
        for _ in range(3):
            assert (await fetch(http, server.request(method="POST", body=b"abc", trailers=[])))[1] == b"abc"
        assert server.connections == 1
        await all_closed(http)


async def test_a_short_response_that_nobody_reads_leaves_its_connection_for_another() -> None:
    http = loopback()
    async with serving(answering(THREE, THREE)) as server:
        for _ in range(2):
            response = await send(http, server.request())
            assert isinstance(response.body, ByteReceiveStream)
            await response.body.aclose()
            with pytest.raises(anyio.EndOfStream):
                await response.body.receive()
        assert server.connections == 1
        await all_closed(http)


async def test_requests_at_once_have_connections_of_their_own() -> None:
    http = loopback()
    async with serving(answering(THREE)) as server:
        first, second = await send(http, server.request()), await send(http, server.request())
        assert (await first.read(), await second.read()) == (b"abc", b"abc")
        assert server.connections == 2
        await all_closed(http)


ENDED: list[bytes] = [
    HEAD + b"content-length: 3\r\nconnection: close\r\n\r\nabc",
    b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabc",
    THREE + b"HTTP/1.1 200 OK\r\n\r\n",  # more than was asked for
]


@pytest.mark.parametrize("response", ENDED)
async def test_a_connection_that_must_not_serve_another_request_is_closed(response: bytes) -> None:
    async def script(connection: ServedConnection) -> None:
        await connection.read_request()
        await connection.send(response)
        await connection.read_to_the_end()

    http = loopback()
    async with serving(script) as server:
        for _ in range(2):
            assert (await fetch(http, server.request()))[1] == b"abc"
            assert counted(http) == (0, 0)
        assert server.connections == 2


@pytest.mark.parametrize("surprise", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlies"])
async def test_a_connection_on_which_anything_comes_unasked_is_closed(surprise: bytes) -> None:
    async def script(connection: ServedConnection) -> None:
        await connection.read_request()
        await connection.send(THREE)
        await told.receive()
        if surprise:
            await connection.send(surprise)
            await connection.read_to_the_end()

    http = loopback()
    tell, told = anyio.create_memory_object_stream[None](1)
    async with serving(script) as server, tell, told:
        for count in (1, 2):
            assert (await fetch(http, server.request()))[1] == b"abc"
            assert counted(http) == (1, 1)
            await tell.send(None)
            await all_closed(http)
            assert server.connections == count


def losing(mode: str) -> Any:
    """A script that serves a request, and loses the connection with the second one on it."""

    async def script(connection: ServedConnection) -> None:
        await connection.read_request()
        await connection.send(THREE)
        await connection.read_request()
        if mode == "half":
            await connection.send(HEAD)
        if mode == "reset":
            await connection.reset()

    return script


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("mode", ["end", "reset"])
async def test_a_request_that_met_the_end_of_a_used_connection_is_sent_again(mode: str, method: str) -> None:
    http = loopback()
    async with serving(losing(mode)) as server:
        await fetch(http, server.request())
        body = b"abc" if method == "PUT" else b""
        response, _ = await fetch(http, server.request(method=method, body=body))
        assert response.status == 200
        assert server.connections == 2
        assert len(server.requests) == 3
        await http.aclose()


async def stream() -> Any:
    yield b"abc"


@pytest.mark.parametrize(
    ("mode", "given", "tag"),
    [
        ("end", {"method": "POST"}, "connection-terminated"),
        ("end", {"method": "PATCH", "body": b"abc"}, "connection-terminated"),
        ("end", {"method": "PUT", "body": stream}, "connection-terminated"),
        ("half", {}, "HTTP-response-incomplete"),
    ],
)
async def test_a_request_that_may_have_had_an_effect_is_not_sent_again(
    mode: str, given: dict[str, Any], tag: str
) -> None:
    http = loopback()
    async with serving(losing(mode)) as server:
        await fetch(http, server.request())
        given = {name: value() if callable(value) else value for name, value in given.items()}
        assert await failure(http.send(server.request(**given))) == ErrorCode(tag)
        assert server.connections == 1
        assert counted(http) == (0, 0)


class FailingEnd(ByteReceiveStream):
    """A body that is known to be empty, and fails at its end."""

    async def has_content(self) -> bool:
        return False

    async def receive(self, max_bytes: int = 1) -> bytes:
        raise Err(BROKEN)

    async def aclose(self) -> None:
        """Nothing is open."""


async def test_a_request_that_failed_itself_is_not_sent_again() -> None:
    async def script(connection: ServedConnection) -> None:
        await answering(THREE)(connection)
        await connection.read_to_the_end()

    http = loopback()
    async with serving(script) as server:
        await fetch(http, server.request())
        assert await failure(http.send(server.request(body=FailingEnd()))) == BROKEN
        assert server.connections == 1
        assert counted(http) == (0, 0)


async def test_a_new_connection_that_fails_is_not_tried_again() -> None:
    http = loopback()
    async with serving(answering()) as server:
        assert await failure(http.send(server.request())) == TERMINATED
        assert server.connections == 1


async def test_there_are_no_more_connections_than_allowed() -> None:
    http = loopback(max_connections=2)
    async with serving(answering(THREE)) as server:
        responses = [await send(http, server.request()) for _ in range(2)]
        assert await failure(http.send(server.request())) == ErrorCode("connection-limit-reached")
        await responses[0].read()
        async with serving(answering(THREE)) as other:  # an idle one has to make room
            await fetch(http, other.request())
            assert counted(http)[0] <= 2
        await responses[1].read()
        await all_closed(http)


async def test_no_more_connections_wait_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_transport, "MAX_IDLE", 2)
    http = loopback()

    async def script(connection: ServedConnection) -> None:
        await answering(THREE)(connection)
        await connection.read_to_the_end()

    async with serving(script) as server:
        responses = [await send(http, server.request()) for _ in range(4)]
        for response in responses:
            assert await response.read() == b"abc"
        assert counted(http) == (2, 2)
        await http.aclose()
        assert counted(http) == (0, 0)
        await server.all_closed()


async def test_a_connection_waits_for_some_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_transport, "IDLE_SECONDS", 0.01)
    http = loopback()

    async def script(connection: ServedConnection) -> None:
        await answering(THREE)(connection)
        await connection.read_to_the_end()

    async with serving(script) as server:
        await fetch(http, server.request())
        await server.all_closed()
        await all_closed(http)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_each_event_loop_has_connections_of_its_own_which_end_with_it(backend: str) -> None:
    http = loopback()

    async def main() -> None:
        async def script(connection: ServedConnection) -> None:
            await answering(THREE)(connection)
            await connection.read_to_the_end()

        async with serving(script) as server:
            assert (await fetch(http, server.request()))[1] == b"abc"
            assert counted(http) == (1, 1)

    for _ in range(2):
        anyio.run(main, backend=backend)

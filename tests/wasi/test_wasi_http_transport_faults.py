"""The HTTP/1.1 transport: servers that fail in every way, requests that do, and cancellation at every stage."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import ByteReceiveStream
from http_servers import (
    ServedConnection,
    Server,
    all_closed,
    answering,
    counted,
    failure,
    fetch,
    loopback,
    send,
    serving,
)

from p3host.errors import Err, StreamDropped
from p3host.wasi import Http
from p3host.wasi.http import ErrorCode, HttpRequest, HttpTimeouts
from p3host.wasi.http_transport import loop_tasks

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
TERMINATED, INCOMPLETE, MALFORMED = "connection-terminated", "HTTP-response-incomplete", "HTTP-protocol-error"
RESET = b"RESET"  # at the end: the connection does not end in good order

IN_THE_HEAD: list[tuple[bytes, str]] = [
    (b"", TERMINATED),
    (RESET, TERMINATED),
    (b"HTTP/1.1 2", INCOMPLETE),
    (HEAD + b"a: 1\r\n", INCOMPLETE),
    (b"HTTP/1.1 100 Continue\r\n\r\n", INCOMPLETE),
    (HEAD + RESET, TERMINATED),
    (b"SSH-2.0-OpenSSH_9.7\r\n\r\n", MALFORMED),
    (b"\x15\x03\x01\x00\x02\x02\x16", MALFORMED),
    (b"\r\n\r\n", MALFORMED),
    (b"HTTP/1.1 42 Odd\r\n\r\n", MALFORMED),
    (b"HTTP/1.1 099 Odd\r\n\r\n", MALFORMED),
    (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n", MALFORMED),
    (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, MALFORMED),
    (HEAD + b"no colon\r\n\r\n", MALFORMED),
    (HEAD + b" folded: at the start\r\n\r\n", MALFORMED),
    (HEAD + b"space : 1\r\n\r\n", MALFORMED),
    (HEAD + b"nul: \0\r\n\r\n", MALFORMED),
    (HEAD + b": 1\r\n\r\n", MALFORMED),
    (HEAD + b"content-length: -1\r\n\r\n", MALFORMED),
    (HEAD + b"content-length: 1, 2\r\n\r\n", MALFORMED),
    (HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n", MALFORMED),
    (HEAD + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", MALFORMED),
    (HEAD + b"transfer-encoding: gzip\r\n\r\n", "HTTP-response-transfer-coding"),
    (HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n", "HTTP-response-transfer-coding"),
    (HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", "HTTP-response-transfer-coding"),
    (HEAD + b"a: b\r\n" * 1025 + b"\r\n", "HTTP-response-header-section-size"),
    (HEAD + b"a: " + b"b" * (1 << 20), "HTTP-response-header-section-size"),
    (HEAD + (b"a: " + b"b" * 1000 + b"\r\n") * 1000, "HTTP-response-header-section-size"),
]


def failing(response: bytes) -> Any:
    async def script(connection: ServedConnection) -> None:
        await connection.read_request()
        await connection.send(response.removesuffix(RESET))
        if response.endswith(RESET):
            await anyio.wait_all_tasks_blocked()  # what was sent has been received
            await connection.reset()

    return script


@pytest.mark.parametrize(("response", "tag"), IN_THE_HEAD)
async def test_a_server_that_fails_before_its_response(response: bytes, tag: str) -> None:
    http = loopback()
    async with serving(failing(response)) as server:
        error: Any = await failure(http.send(server.request()))
        assert error.tag == tag
        assert counted(http) == (0, 0)
        await server.all_closed()


IN_THE_BODY: list[tuple[bytes, bytes, str]] = [
    (HEAD + b"content-length: 5\r\n\r\n", b"", INCOMPLETE),
    (HEAD + b"content-length: 5\r\n\r\nabcd", b"abcd", INCOMPLETE),
    (HEAD + b"content-length: 5\r\n\r\nabcd" + RESET, b"abcd", TERMINATED),
    (HEAD + b"\r\nabcd" + RESET, b"abcd", TERMINATED),
    (CHUNKED, b"", INCOMPLETE),
    (CHUNKED + b"5\r\nabcd", b"abcd", INCOMPLETE),
    (CHUNKED + b"4\r\nabcd\r\n", b"abcd", INCOMPLETE),
    (CHUNKED + b"4\r\nabcd\r\n0\r\n", b"abcd", INCOMPLETE),
    (CHUNKED + b"4\r\nabcd\r\n0\r\na: 1\r\n", b"abcd", INCOMPLETE),
    (CHUNKED + b"4\r\nabcd\r\n" + RESET, b"abcd", TERMINATED),
    (CHUNKED + b"g\r\n", b"", MALFORMED),
    (CHUNKED + b"-1\r\nabcd", b"", MALFORMED),
    (CHUNKED + b"\r\n", b"", MALFORMED),
    (CHUNKED + b"4\r\nabcdef\r\n", b"abcd", MALFORMED),
    (CHUNKED + b"f" * 30 + b"\r\n", b"", MALFORMED),
    (CHUNKED + b"4;" + b"x" * (1 << 20), b"", MALFORMED),
    (CHUNKED + b"0\r\nno colon\r\n\r\n", b"", MALFORMED),
    (CHUNKED + b"0\r\n" + b"a: b\r\n" * 1025 + b"\r\n", b"", "HTTP-response-trailer-section-size"),
    (CHUNKED + b"0\r\na: " + b"b" * (1 << 20), b"", "HTTP-response-trailer-section-size"),
]


async def read_into(got: list[bytes], body: ByteReceiveStream) -> None:
    while True:
        got.append(await body.receive())


@pytest.mark.parametrize(("sent", "body", "tag"), IN_THE_BODY)
async def test_a_server_that_fails_in_its_body(sent: bytes, body: bytes, tag: str) -> None:
    http = loopback()
    async with serving(failing(sent)) as server:
        response = await send(http, server.request())
        assert isinstance(response.body, ByteReceiveStream)
        got: list[bytes] = []
        error: Any = await failure(read_into(got, response.body))
        assert (b"".join(got), error.tag) == (body, tag)
        assert counted(http) == (0, 0)
        assert await failure(response.body.receive()) == error
        assert await failure(response.read_trailers()) == error
        await server.all_closed()


async def test_a_refused_connection() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        http, authority = loopback(), f"127.0.0.1:{unused.getsockname()[1]}"
        request = HttpRequest(scheme="http", authority=authority)
        assert await failure(http.send(request)) == ErrorCode("connection-refused")
        assert counted(http) == (0, 0)


async def test_a_server_that_does_not_let_in_times_out() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:  # the first of them fill its queue
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        http, authority = loopback(), f"127.0.0.1:{full.getsockname()[1]}"
        request = HttpRequest(scheme="http", authority=authority, timeouts=HttpTimeouts(connect=0.1))
        assert await failure(http.send(request)) == ErrorCode("connection-timeout")
        assert counted(http) == (0, 0)
        for each in waiting:
            each.close()


async def test_tls_with_a_server_that_says_nothing_times_out() -> None:
    http = Http(["https://127.0.0.1:*"])

    async def script(connection: ServedConnection) -> None:
        await connection.read_to_the_end()

    async with serving(script) as server:
        request = server.request(scheme="https", timeouts=HttpTimeouts(connect=0.1))
        assert await failure(http.send(request)) == ErrorCode("connection-timeout")
        assert counted(http) == (0, 0)
        await server.all_closed()


# Requests that fail


class Broken:
    """A body that gives a piece and then fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"abc"
        raise self.error


BROKEN = ErrorCode("internal-error", "broken")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Err(BROKEN), BROKEN),
        (StreamDropped("gone"), ErrorCode(TERMINATED)),
        (ConnectionResetError(), ErrorCode(TERMINATED)),
    ],
)
@pytest.mark.parametrize("answers", [False, True])
async def test_a_request_that_breaks_off_is_never_taken_for_a_whole_one(
    error: Exception, told: ErrorCode, answers: bool
) -> None:
    got = b""

    async def script(connection: ServedConnection) -> None:
        nonlocal got
        await connection.read_request()
        if answers:
            await connection.send(HEAD + b"\r\n")
        got = await connection.read_to_the_end()

    async def exchange(server: Server) -> None:
        response = await http.send(server.request(method="POST", body=Broken(error)))
        await response.read()

    http = loopback()
    async with serving(script) as server:
        assert await failure(exchange(server)) == told
        assert counted(http) == (0, 0)
        await server.all_closed()
    assert got == b"3\r\nabc\r\n"


async def test_a_mistake_of_the_applications_is_raised_as_it_is() -> None:
    http = loopback()

    async def script(connection: ServedConnection) -> None:
        await connection.read_to_the_end()

    async with serving(script) as server:
        with pytest.raises(ZeroDivisionError):
            await send(http, server.request(method="POST", body=Broken(ZeroDivisionError())))
        assert counted(http) == (0, 0)


@pytest.mark.parametrize(
    ("body", "length"), [(b"abc", b"2"), (b"abc", b"4"), (b"", b"1"), ("stream", b"2"), ("stream", b"4")]
)
async def test_a_request_of_another_length_than_announced_fails(body: Any, length: bytes) -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b"abc"

    async def script(connection: ServedConnection) -> None:
        await connection.read_to_the_end()

    http = loopback()
    async with serving(script) as server:
        content = stream() if body == "stream" else body
        request = server.request(method="POST", body=content, headers=[("content-length", length)])
        assert await failure(http.send(request)) == ErrorCode("HTTP-request-body-size")
        assert counted(http) == (0, 0)


@pytest.mark.parametrize("value", [b"x", b"-1", b"+1", b"1, 2"])
async def test_a_length_that_is_none_is_refused(value: bytes) -> None:
    http = loopback()
    async with serving(answering(HEAD + b"\r\n")) as server:
        request = server.request(method="POST", headers=[("content-length", value)])
        assert await failure(http.send(request)) == ErrorCode(MALFORMED)
        assert counted(http) == (0, 0)


@pytest.mark.parametrize("header", [("a b", b"1"), ("a", b"1\r\nb: 2"), ("a", b"\0")])
async def test_a_header_that_would_be_another_is_refused(header: tuple[str, bytes]) -> None:
    http = loopback()
    async with serving(answering(HEAD + b"\r\n")) as server:
        assert await failure(http.send(server.request(headers=[header]))) == ErrorCode(MALFORMED)
        assert await failure(http.send(server.request("/a b"))) == ErrorCode(MALFORMED)
        assert await failure(http.send(server.request("/ HTTP/1.1\r\na: b"))) == ErrorCode(MALFORMED)
        assert server.requests == []


async def test_a_tunnel_is_refused() -> None:
    async with serving(answering(HEAD + b"\r\n")) as server:
        request = server.request(method="CONNECT")
        assert await failure(loopback().send(request)) == ErrorCode("HTTP-request-method-invalid")


async def test_a_target_that_could_name_another_host_is_refused() -> None:
    async with serving(answering(HEAD + b"\r\n")) as server:
        for path in ("http://elsewhere.example/", "elsewhere.example:443", "?a=b"):
            assert await failure(loopback().send(server.request(path))) == ErrorCode("HTTP-request-URI-invalid")
        assert server.requests == []


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield bytes(65536)


async def test_a_server_that_resets_an_upload() -> None:
    http = loopback()

    async def script(connection: ServedConnection) -> None:
        await connection.read_request()
        await connection.reset()

    async with serving(script) as server:
        assert await failure(http.send(server.request(method="POST", body=endless()))) == ErrorCode(TERMINATED)
        assert counted(http) == (0, 0)


async def test_a_server_that_answers_and_takes_no_more_is_heard() -> None:
    http = loopback()

    async def script(connection: ServedConnection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nno!")
        await connection.read_exactly(1 << 20)  # while the client has not yet read the response to its end

    async with serving(script) as server:
        response, body = await fetch(http, server.request(method="POST", body=endless()))
        assert (response.status, body) == (413, b"no!")
        assert counted(http) == (0, 0)
        await server.all_closed()


async def test_a_server_that_sends_no_more_may_still_receive() -> None:
    http = loopback()
    given, taken = anyio.create_memory_object_stream[bytes](0)
    got = b""

    async def script(connection: ServedConnection) -> None:
        nonlocal got
        await connection.read_request()
        await connection.send(HEAD + b"content-length: 3\r\n\r\nabc")
        assert isinstance(connection.stream, anyio.abc.SocketStream)
        await connection.stream.send_eof()
        got = await connection.read_until(b"0\r\n\r\n")

    async with serving(script) as server, taken:
        response = await send(http, server.request(method="POST", body=taken))
        with anyio.fail_after(10):
            await given.send(b"up")
            await given.aclose()
            await server.all_closed()
            assert await response.read() == b"abc"
        await all_closed(http)
    assert got == b"2\r\nup\r\n0\r\n\r\n"


# Cancellation


async def unfinished() -> AsyncIterator[bytes]:
    yield b"abc"
    await anyio.sleep_forever()


async def silent(connection: ServedConnection) -> None:
    await connection.read_request()
    await connection.read_to_the_end()


async def deaf(connection: ServedConnection) -> None:  # and what is sent fills up the buffers between them
    await connection.read_request()
    await anyio.sleep_forever()


async def slow_head(connection: ServedConnection) -> None:
    await connection.read_request()
    await connection.send(HEAD + b"a: 1")
    await connection.read_to_the_end()


async def slow_body(connection: ServedConnection) -> None:
    await connection.read_request()
    await connection.send(CHUNKED + b"5\r\nabc")
    await connection.read_to_the_end()


STAGES: list[tuple[Any, dict[str, Any]]] = [
    (silent, {}),
    (silent, {"scheme": "https"}),
    (silent, {"method": "POST", "body": b"abc"}),
    (silent, {"method": "POST", "body": unfinished}),
    (deaf, {"method": "POST", "body": endless}),
    (slow_head, {}),
    (slow_head, {"method": "POST", "body": unfinished}),
    (slow_body, {}),
    (slow_body, {"method": "POST", "body": unfinished}),
]


@pytest.mark.parametrize(("script", "given"), STAGES)
async def test_cancellation_at_every_stage_closes_the_connection(script: Any, given: dict[str, Any]) -> None:
    http = Http(["127.0.0.1:*"])
    given = {name: value() if callable(value) else value for name, value in given.items()}

    async def exchange(server: Server) -> None:
        response = await http.send(server.request(**given))
        try:
            await response.read()
        finally:
            assert isinstance(response.body, ByteReceiveStream)
            await response.body.aclose()

    async with serving(script) as server:
        for _ in range(2):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(exchange, server)
                while not server.connections:
                    await anyio.lowlevel.checkpoint()
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
            assert counted(http) == (0, 0)
        if script is not deaf:
            await server.all_closed()


@pytest.mark.parametrize("given", [{}, {"method": "POST", "body": unfinished}])
async def test_a_response_that_is_closed_unread_ends_the_exchange(given: dict[str, Any]) -> None:
    http = loopback()
    given = {name: value() if callable(value) else value for name, value in given.items()}
    async with serving(slow_body) as server:
        response = await send(http, server.request(**given))
        assert isinstance(response.body, ByteReceiveStream)
        assert await response.body.receive() == b"abc"
        await response.body.aclose()
        await response.body.aclose()
        assert counted(http) == (0, 0)
        assert await failure(response.body.receive()) == ErrorCode(TERMINATED)
        assert await failure(response.read_trailers()) == ErrorCode(TERMINATED)
        await server.all_closed()


async def moody(connection: ServedConnection) -> None:
    """Does something else for each path, on one connection after the other."""
    while True:
        mood = int((await connection.read_request()).target[1:]) % 7
        if mood < 3:
            await connection.send(HEAD + b"content-length: 3\r\n\r\nabc")
        elif mood == 3:
            await connection.send(CHUNKED + b"3\r\nabc\r\n")
            await connection.read_to_the_end()
        elif mood == 4:
            await connection.send(HEAD + b"content-length: 5\r\n\r\nabc")
            return
        elif mood == 5:
            await connection.reset()
        else:
            await connection.read_to_the_end()


async def test_requests_that_are_given_up_at_any_moment_under_load_leave_nothing() -> None:
    http = loopback(max_connections=40)

    async def exchange(server: Server, number: int) -> None:
        body = unfinished() if number % 3 == 0 else b""
        try:
            response = await http.send(server.request(f"/{number}", method="POST", body=body))
            assert isinstance(response.body, ByteReceiveStream)
            try:
                await response.read()
            finally:
                await response.body.aclose()
        except Err:
            pass

    async def give_up(server: Server, number: int) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(exchange, server, number)
            for _ in range(number % 41):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()

    async with serving(moody) as server:
        with anyio.fail_after(60):
            for _ in range(5):
                async with anyio.create_task_group() as tasks:
                    for number in range(100):
                        tasks.start_soon(give_up, server, number)
            open_now, idle = counted(http)
            assert open_now == idle
            await http.aclose()
            await server.all_closed()
            await all_closed(http)
            while loop_tasks.running:
                await anyio.lowlevel.checkpoint()

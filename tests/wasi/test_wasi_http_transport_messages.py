"""The HTTP/1.1 transport: what goes over the wire, and what comes of what comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import ByteReceiveStream
from http_fakes import GuestFuture, GuestStream, OpenStream, fields, guest_request, read_all, resolved
from http_servers import ServedConnection, answering, counted, failure, fetch, loopback, send, serving

from p3host.errors import StreamDropped
from p3host.wasi import Http
from p3host.wasi.http import ErrorCode, HttpRequest
from p3host.wasi.p3.http import Client

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


async def two_pieces() -> AsyncIterator[bytes]:
    yield b"ab"
    yield b"cde"


async def nothing() -> AsyncIterator[bytes]:
    for piece in ():
        yield piece


CHUNKED = "transfer-encoding: chunked"
REQUESTS: list[tuple[str, dict[str, Any], str, str]] = [  # method, what is sent, the framing header, the body
    ("GET", {}, "", ""),
    ("HEAD", {}, "", ""),
    ("POST", {}, "content-length: 0", ""),
    ("PUT", {"body": b"abc"}, "content-length: 3", "abc"),
    ("GET", {"body": b"abc"}, "content-length: 3", "abc"),
    ("PURGE", {}, "content-length: 0", ""),
    ("POST", {"body": two_pieces}, CHUNKED, "2 ab 3 cde 0  "),
    ("POST", {"body": nothing}, CHUNKED, "0  "),
    ("GET", {"body": two_pieces}, CHUNKED, "2 ab 3 cde 0  "),
    ("POST", {"body": two_pieces, "headers": [("Content-Length", b"5")]}, "Content-Length: 5", "abcde"),
    ("POST", {"body": b"abc", "headers": [("content-length", b"3")]}, "content-length: 3", "abc"),
    ("POST", {"body": b"", "headers": [("content-length", b"0")]}, "content-length: 0", ""),
    ("POST", {"body": b"abc", "trailers": [("Sum", b"6")]}, CHUNKED, "3 abc 0 Sum: 6  "),
    ("POST", {"body": two_pieces, "trailers": [("a", b"1"), ("a", b"2")]}, CHUNKED, "2 ab 3 cde 0 a: 1 a: 2  "),
    ("POST", {"body": two_pieces, "trailers": [], "headers": [("content-length", b"5")]}, "content-length: 5", "abcde"),
    (  # which leaves no place for trailers
        "POST",
        {"body": two_pieces, "trailers": [("a", b"1")], "headers": [("content-length", b"5")]},
        "content-length: 5",
        "abcde",
    ),
]


@pytest.mark.parametrize(("method", "given", "framing", "body"), REQUESTS)
async def test_a_request_on_the_wire(method: str, given: dict[str, Any], framing: str, body: str) -> None:
    given = {name: value() if callable(value) else value for name, value in given.items()}
    lines = "".join(f"{line}\r\n" for line in (f"{method} /a?b=c HTTP/1.1", "host: HOST", framing) if line)
    expected = lines + "\r\n" + body.replace(" ", "\r\n").replace(":\r\n", ": ")
    got = b""

    async def script(connection: ServedConnection) -> None:
        nonlocal got
        host = connection.server.authority
        got = await connection.read_exactly(len(expected.replace("HOST", host)))
        await connection.send(OK)
        got += await connection.read_to_the_end()

    async with serving(script) as server:
        await fetch(loopback(), server.request("/a?b=c", method, **given))
        await server.all_closed()
        assert got.decode() == expected.replace("HOST", server.authority)


async def test_headers_go_as_they_are_but_for_those_of_the_connection() -> None:
    headers = [
        ("X-One", b"1"),
        ("x-two", b"\xe4 2"),
        ("X-One", b"3"),
        ("Connection", b"keep-alive, x-three"),
        ("X-Three", b"4"),
        ("Keep-Alive", b"timeout=5"),
        ("Transfer-Encoding", b"gzip"),
        ("Upgrade", b"websocket"),
        ("Host", b"elsewhere.example"),
        ("expect", b"100-continue"),
    ]
    async with serving(answering(OK)) as server:
        await fetch(loopback(), server.request(headers=headers))
        assert server.requests[0].headers.raw_items() == [
            (b"host", server.authority.encode()),
            (b"X-One", b"1"),
            (b"x-two", b"\xe4 2"),
            (b"X-One", b"3"),
        ]


async def test_what_a_guest_may_ask_of_the_next_server_is_asked_of_it_alone() -> None:
    headers = [("TE", b"trailers"), ("Expect", b"100-continue")]
    async with serving(answering(OK)) as server:
        await fetch(loopback(), server.request(method="POST", headers=headers, body=b"abc"))
        assert server.requests[0].headers.raw_items() == [
            (b"host", server.authority.encode()),
            (b"content-length", b"3"),
            (b"connection", b"te"),
            (b"TE", b"trailers"),
            (b"Expect", b"100-continue"),
        ]


def response(head: str, body: str = "") -> bytes:
    return (head + "\n\n").replace("\n", "\r\n").encode() + body.replace("|", "\r\n").encode()


RESPONSES: list[tuple[str, bytes, int, list[tuple[str, bytes]], bytes, Any]] = [
    ("GET", response("HTTP/1.1 200 OK\nContent-Length: 3", "abc"), 200, [("Content-Length", b"3")], b"abc", None),
    ("GET", response("HTTP/1.1 404 \nContent-Length: 0"), 404, [("Content-Length", b"0")], b"", None),
    ("GET", response("HTTP/1.1 204 No Content"), 204, [], b"", None),
    ("GET", response("HTTP/1.1 304 Not Modified\ncontent-length: 9"), 304, [("content-length", b"9")], b"", None),
    ("HEAD", response("HTTP/1.1 200 OK\ncontent-length: 9"), 200, [("content-length", b"9")], b"", None),
    ("HEAD", response("HTTP/1.1 200 OK\ntransfer-encoding: chunked"), 200, [], b"", None),
    ("GET", response("HTTP/1.1 200 OK\ntransfer-encoding: Chunked", "1|a|2;x=y|bc|0||"), 200, [], b"abc", None),
    (
        "GET",
        response("HTTP/1.1 200 OK\ntransfer-encoding: chunked", "3|abc|0|X-Sum: 6|x-sum: 7||"),
        200,
        [],
        b"abc",
        [("X-Sum", b"6"), ("x-sum", b"7")],
    ),
    (
        "GET",
        response("HTTP/1.1 200 OK\na: 1\nA:  2 \nb:", "abc"),
        200,
        [("a", b"1"), ("A", b"2"), ("b", b"")],
        b"abc",
        None,
    ),
    ("GET", response("HTTP/1.1 200 OK\na: 1\n  2\nconnection: close"), 200, [("a", b"1 2")], b"", None),
    ("GET", response("HTTP/1.0 200 OK\na: 1", "abc"), 200, [("a", b"1")], b"abc", None),
    ("GET", response("HTTP/1.1 200 OK\nconnection: close\nkeep-alive: 5\nupgrade: h2c", "abc"), 200, [], b"abc", None),
    ("GET", response("HTTP/1.1 200 OK\nconnection: close, X-A\nx-a: 1\nx-b: 2"), 200, [("x-b", b"2")], b"", None),
    ("GET", response("HTTP/1.1 100 Continue\n\nHTTP/1.1 103 Hints\na: 1\n\nHTTP/1.1 200 OK"), 200, [], b"", None),
    ("GET", response("HTTP/1.1 599 Odd\ncontent-length: 0"), 599, [("content-length", b"0")], b"", None),
]


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(("method", "sent", "status", "headers", "body", "trailers"), RESPONSES)
async def test_a_response_from_the_wire(
    method: str, sent: bytes, status: int, headers: Any, body: bytes, trailers: Any, at_once: bool
) -> None:
    async def script(connection: ServedConnection) -> None:
        await connection.read_request()
        for start in range(0, len(sent), len(sent) if at_once else 1):
            await connection.send(sent[start : start + (len(sent) if at_once else 1)])

    async with serving(script) as server:
        got, content = await fetch(loopback(), server.request(method=method))
        assert (got.status, got.headers, content) == (status, headers, body)
        assert await got.read_trailers() == trailers
        assert await got.read_trailers() == trailers


async def test_a_body_is_uploaded_piece_by_piece() -> None:
    given, taken = anyio.create_memory_object_stream[bytes](0)
    arrived, arrivals = anyio.create_memory_object_stream[bytes](10)

    async def script(connection: ServedConnection) -> None:
        await connection.read_request()
        while (line := await connection.read_until(b"\r\n")) != b"0\r\n":
            await arrived.send(await connection.read_exactly(int(line, 16)))
            await connection.read_exactly(2)
        await connection.send(OK)

    async def upload(request: HttpRequest) -> None:
        await fetch(loopback(), request)

    async with serving(script) as server, given, taken, arrived, arrivals, anyio.create_task_group() as tasks:
        tasks.start_soon(upload, server.request(method="POST", body=taken))
        for piece in (b"one", b"two", b"three"):
            await given.send(piece)
            with anyio.fail_after(10):
                assert await arrivals.receive() == piece
        await given.aclose()


async def test_a_body_is_downloaded_piece_by_piece() -> None:
    wanted, wants = anyio.create_memory_object_stream[bytes](0)

    async def script(connection: ServedConnection) -> None:
        await connection.read_request()
        await connection.send(response("HTTP/1.1 200 OK\ntransfer-encoding: chunked"))
        async for piece in wants:
            await connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await connection.send(b"0\r\n\r\n")

    async with serving(script) as server, wants, wanted:
        got = await send(loopback(), server.request())
        assert isinstance(got.body, ByteReceiveStream)
        with anyio.fail_after(10):
            for piece in (b"one", b"two", b"three"):
                await wanted.send(piece)
                assert await got.body.receive(2) == piece[:2]
                assert await got.body.receive() == piece[2:]
            await wanted.aclose()
            for _ in range(2):
                with pytest.raises(anyio.EndOfStream):
                    await got.body.receive()


async def test_many_small_chunks_do_not_hold_the_loop() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    sent = response("HTTP/1.1 200 OK\ntransfer-encoding: chunked", "1|a|" * 5000 + "0||")
    async with serving(answering(sent)) as server, anyio.create_task_group() as tasks:
        got = await send(loopback(), server.request())
        tasks.start_soon(count)
        assert await got.read() == b"a" * 5000
        assert turns > 4900
        tasks.cancel_scope.cancel()


async def test_both_bodies_stream_at_once() -> None:
    given, taken = anyio.create_memory_object_stream[bytes](0)

    async def script(connection: ServedConnection) -> None:
        await connection.read_request()
        await connection.send(response("HTTP/1.1 200 OK\ntransfer-encoding: chunked"))
        while True:
            line = await connection.read_until(b"\r\n")
            await connection.send(line + await connection.read_exactly(int(line, 16) + 2))

    async with serving(script) as server, given, taken:
        got = await send(loopback(), server.request(method="POST", body=taken))
        assert isinstance(got.body, ByteReceiveStream)
        with anyio.fail_after(10):
            for piece in (b"one", b"two", b"three"):
                await given.send(piece)
                assert await got.body.receive() == piece
            await given.aclose()
            assert await got.read() == b""


async def test_a_body_is_uploaded_while_nobody_reads_the_response() -> None:
    given, taken = anyio.create_memory_object_stream[bytes](0)
    got = b""

    async def script(connection: ServedConnection) -> None:
        nonlocal got
        await connection.read_request()
        await connection.send(response("HTTP/1.1 200 OK\ncontent-length: 3"))
        got = await connection.read_until(b"0\r\n\r\n")
        await connection.send(b"end")

    async with serving(script) as server, taken:
        answer = await send(loopback(), server.request(method="POST", body=taken))
        with anyio.fail_after(10):
            await given.send(b"abc")
            await given.aclose()
            assert await answer.read() == b"end"
    assert got == b"3\r\nabc\r\n0\r\n\r\n"


async def test_what_is_left_of_a_request_is_not_sent_when_the_response_has_ended() -> None:
    given, taken = anyio.create_memory_object_stream[bytes](0)
    async with serving(answering(response("HTTP/1.1 413 Too Large\ncontent-length: 3", "no!"))) as server, given, taken:
        got, body = await fetch(loopback(), server.request(method="POST", body=taken))
        assert (got.status, body) == (413, b"no!")
        with pytest.raises(anyio.WouldBlock):
            given.send_nowait(b"abc")  # nobody takes it
        await server.all_closed()


# As a guest's resources give and take it


async def test_a_guests_request_and_response_with_trailers_both_ways() -> None:
    async def script(connection: ServedConnection) -> None:
        await connection.read_request()
        assert await connection.read_until(b"\r\n\r\n") == b"3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n"
        await connection.send(response("HTTP/1.1 200 OK\ntransfer-encoding: chunked", "2|de|0|x-sum: 9||"))

    async with serving(script) as server:
        request, sent = guest_request(contents=GuestStream([b"abc"]), trailers=resolved(fields(("x-sum", b"6"))))
        request.set_authority(server.authority)
        with anyio.fail_after(10):
            answer = await Client(loopback()).send(request)
            await sent
            reader, future = answer.consume(resolved())
            assert await read_all(reader) == b"de"
            assert (await future).copy_all() == [("x-sum", b"9")]


@pytest.mark.parametrize("contents", [None, []])
async def test_a_guests_get_without_content_announces_none_and_waits_for_no_trailers(contents: Any) -> None:
    trailers = GuestFuture()
    async with serving(answering(response("HTTP/1.1 200 OK\ncontent-length: 3", "abc"))) as server:
        stream = None if contents is None else GuestStream(contents)
        request, sent = guest_request(method="get", contents=stream, trailers=trailers)
        request.set_authority(server.authority)
        with anyio.fail_after(10):
            answer = await Client(loopback()).send(request)
            assert server.requests[0].headers == [(b"host", server.authority.encode())]
            trailers.resolve(None)
            await sent
            reader, future = answer.consume(resolved())
            assert await read_all(reader) == b"abc"
            assert await future is None


async def test_a_guests_get_whose_content_fails_is_not_sent() -> None:
    class FailingStream(GuestStream):
        async def read(self, max_count: int) -> bytes:
            raise StreamDropped("gone")

    async with serving(answering(OK)) as server:
        request, sent = guest_request(method="get", contents=FailingStream([]))
        request.set_authority(server.authority)
        assert await failure(Client(loopback()).send(request)) == ErrorCode("connection-terminated")
        assert await failure(sent) == ErrorCode("connection-terminated")
        assert server.requests == []


async def test_a_guests_get_with_content_sends_it() -> None:
    async def script(connection: ServedConnection) -> None:
        await connection.read_request()
        assert await connection.read_until(b"0\r\n\r\n") == b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        await connection.send(OK)

    async with serving(script) as server:
        request, sent = guest_request(method="get", contents=GuestStream([b"abc", b"de"]))
        request.set_authority(server.authority)
        with anyio.fail_after(10):
            answer = await Client(loopback()).send(request)
            await sent
            assert answer.get_status_code() == 200
            await answer.close()  # type: ignore[misc]


async def test_a_guests_get_holds_no_connection_before_it_is_known_whether_it_has_content() -> None:
    async with serving(answering(OK)) as server, anyio.create_task_group() as tasks:
        http = loopback()
        request, sent = guest_request(method="get", contents=OpenStream([]))
        sent.on_dropped()
        request.set_authority(server.authority)
        tasks.start_soon(Client(http).send, request)
        await anyio.wait_all_tasks_blocked()
        assert counted(http) == (0, 0)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("scheme", "authority"),
    [
        (None, "x"),
        ("ftp", "x"),
        ("http", None),
        ("http", ""),
        ("http", "u@x"),
        ("http", "x:0"),
        ("http", "x y"),
        ("http", "[g]"),
        ("http", "[fe80::1%25lo]"),
        ("http", "[::1%lo]"),
        ("http", "[v1.a]"),
        ("http", "[1.2.3.4]"),
        ("http", "b\u00fccher.test"),
        ("http", "x\r\n"),
        ("http", "x:65536"),
    ],
)
async def test_what_is_no_url_is_refused(scheme: Any, authority: Any) -> None:
    request = HttpRequest(scheme=scheme, authority=authority, path_with_query="/")
    error: Any = await failure(Http(["*"], private_addresses=True).send(request))
    assert error.tag == "HTTP-request-URI-invalid"

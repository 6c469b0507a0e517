"""The HTTP/1.1 transport over TLS."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
import trustme
from anyio.abc import ByteReceiveStream, ByteStream
from http_servers import ServedConnection, Server, answering, counted, failure, fetch, send, serving

from p3host.wasi import Http
from p3host.wasi.http import ErrorCode, HttpRequest, TlsAlertReceivedPayload
from p3host.wasi.http_transport.connect import OneWriter, default_tls_context

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\n"
THREE = HEAD + b"content-length: 3\r\n\r\nabc"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = default_tls_context()
    authority.configure_trust(context)
    return context


def https(server: Server, host: str = "localhost", **more: Any) -> HttpRequest:
    return server.request(scheme="https", authority=f"{host}:{server.port}", **more)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_requests_to_a_server_whose_certificate_is_trusted(authority: trustme.CA, host: str) -> None:
    http = Http([f"https://{host}:*"], ssl_context=trusting(authority))
    async with serving(answering(THREE, THREE), server_context(authority, host)) as server:
        for _ in range(2):
            response, body = await fetch(http, https(server, host))
            assert (response.status, body) == (200, b"abc")
        assert server.connections == 1
        await http.aclose()


async def test_bodies_and_trailers_stream_over_tls(authority: trustme.CA) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(50_000)

    async def script(connection: ServedConnection) -> None:
        await connection.read_request()
        await connection.send(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        while (line := await connection.read_until(b"\r\n")) != b"0\r\n":
            await connection.send(line + await connection.read_exactly(int(line, 16) + 2))
        await connection.send(line + await connection.read_until(b"\r\n\r\n"))

    http = Http(["https://localhost:*"], ssl_context=trusting(authority))
    async with serving(script, server_context(authority, "localhost")) as server:
        request = https(server, method="POST", body=pieces(), trailers=[("a", b"1")])
        response, body = await fetch(http, request)
        assert body == bytes(5_000_000)
        assert await response.read_trailers() == [("a", b"1")]
        await http.aclose()


@pytest.mark.parametrize("name", ["localhost", "elsewhere.test"])
async def test_a_certificate_that_is_not_trusted_or_another_hosts_is_refused(
    authority: trustme.CA, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    context = trusting(authority) if name != "localhost" else None  # None: as the system trusts
    http = Http(["https://localhost:*"], ssl_context=context)
    async with serving(answering(THREE), server_context(authority, name)) as server:
        assert await failure(http.send(https(server))) == ErrorCode("TLS-certificate-error")
        assert counted(http) == (0, 0)
        assert server.requests == []
    caplog.clear()


async def test_a_server_that_speaks_no_tls() -> None:
    async def script(connection: ServedConnection) -> None:
        await connection.stream.receive()
        await connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await connection.read_to_the_end()

    http = Http(["https://localhost:*"])
    async with serving(script) as server:
        assert await failure(http.send(https(server))) == ErrorCode("TLS-protocol-error")
        assert counted(http) == (0, 0)


async def test_a_server_that_ends_the_handshake() -> None:
    async def script(connection: ServedConnection) -> None:
        await connection.stream.receive()

    http = Http(["https://localhost:*"])
    async with serving(script) as server:
        assert await failure(http.send(https(server))) == ErrorCode("connection-terminated")
        assert counted(http) == (0, 0)


async def test_an_alert_of_the_servers() -> None:
    async def script(connection: ServedConnection) -> None:
        await connection.stream.receive()
        await connection.send(bytes([21, 3, 3, 0, 2, 2, 40]))  # fatal: handshake_failure
        await connection.read_to_the_end()

    http = Http(["https://localhost:*"])
    async with serving(script) as server:
        alert = TlsAlertReceivedPayload(alert_message="handshake failure")
        assert await failure(http.send(https(server))) == ErrorCode("TLS-alert-received", alert)
        assert counted(http) == (0, 0)


async def test_a_body_without_a_length_that_is_cut_off_does_not_pass_for_whole(authority: trustme.CA) -> None:
    async def script(connection: ServedConnection) -> None:
        await connection.read_request()
        await connection.send(HEAD + b"\r\nabc")  # and then the end of TCP, but not of TLS

    http = Http(["https://localhost:*"], ssl_context=trusting(authority))
    async with serving(script, server_context(authority, "localhost")) as server:
        response = await send(http, https(server))
        assert isinstance(response.body, ByteReceiveStream)
        assert await response.body.receive() == b"abc"
        assert await failure(response.body.receive()) == ErrorCode("connection-terminated")
        assert counted(http) == (0, 0)


async def test_a_response_can_be_cancelled_over_tls(authority: trustme.CA) -> None:
    async def script(connection: ServedConnection) -> None:
        await connection.read_request()
        await connection.send(HEAD + b"content-length: 5\r\n\r\nabc")
        await connection.read_to_the_end()

    http = Http(["https://localhost:*"], ssl_context=trusting(authority))
    async with serving(script, server_context(authority, "localhost")) as server:
        response = await send(http, https(server))
        assert isinstance(response.body, ByteReceiveStream)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(response.read)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        await response.body.aclose()
        assert counted(http) == (0, 0)
        await server.all_closed()


class SlowStream(ByteStream):
    """Lets one send begin while another one is going on, and tells of it."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def send(self, item: bytes) -> None:
        self.told.append(f"begin {item.decode()}")
        await anyio.wait_all_tasks_blocked()
        self.told.append(f"end {item.decode()}")

    async def receive(self, max_bytes: int = 1) -> bytes:
        return b"x"

    async def send_eof(self) -> None:
        self.told.append("eof")

    async def aclose(self) -> None:
        self.told.append("closed")


async def test_what_tls_writes_while_it_reads_waits_for_what_is_being_written() -> None:
    stream = SlowStream()
    one = OneWriter(stream)
    async with anyio.create_task_group() as tasks:
        for item in (b"1", b"2"):
            tasks.start_soon(one.send, item)
        assert await one.receive() == b"x"
    await one.send_eof()
    await one.aclose()
    assert stream.told[0].partition(" ")[2] == stream.told[1].partition(" ")[2]
    assert [word.partition(" ")[0] for word in stream.told] == ["begin", "end", "begin", "end", "eof", "closed"]

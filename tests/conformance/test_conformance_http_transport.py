"""A component that passes requests on (guests/c-http), over the HTTP/1.1 transport to servers on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import ByteReceiveStream
from http_servers import ServedConnection, Server, answering, counted, serving

from p3host import Component, Http, Instance, Wasi
from p3host.wasi.http import HttpRequest, handle

pytestmark = pytest.mark.anyio

GUEST = Path(__file__).resolve().parents[2] / "guests/c-http/c-http.wasm"
HANDLER = "wasi:http/handler"
SECONDS = 60
SIZE = 100 << 20
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc"


@pytest.fixture(scope="module")
def component() -> Component:
    return Component.load(GUEST)


def forwarded(server: Server, **more: Any) -> HttpRequest:
    return server.request("/forward", **{"method": "POST", **more})


async def echo(connection: ServedConnection) -> None:
    """Sends back what comes, chunk by chunk, with its trailers."""
    while True:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 201 Created\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n")
        while (line := await connection.read_until(b"\r\n")) != b"0\r\n":
            await connection.send(line + await connection.read_exactly(int(line, 16) + 2))
        await connection.send(line)
        while line != b"\r\n":
            line = await connection.read_until(b"\r\n")
            await connection.send(line)


async def status(instance: Instance, request: HttpRequest) -> int:
    with anyio.fail_after(SECONDS):
        async with handle(instance.exports[HANDLER], request) as response:
            await response.read()
            return response.status


async def test_a_request_is_passed_on_with_its_body_and_trailers(component: Component) -> None:
    http = Http(["http://127.0.0.1:*"])
    async with serving(echo) as server, component.instantiate(wasi=Wasi(http=http)) as instance:
        for _ in range(2):
            request = forwarded(server, body=b"abc", headers=[("a", b"b")], trailers=[("sum", b"6")])
            with anyio.fail_after(SECONDS):
                async with handle(instance.exports[HANDLER], request) as response:
                    assert (response.status, response.headers) == (201, [("x", b"y")])
                    assert await response.read() == b"abc"
                    assert await response.read_trailers() == [("sum", b"6")]
        assert (b"a", b"b") in server.requests[0].headers
        assert server.connections == 1
        await http.aclose()


async def test_bodies_stream_both_ways_through_the_guest(component: Component) -> None:
    given, taken = anyio.create_memory_object_stream[bytes](0)
    http = Http(["http://127.0.0.1:*"])
    async with (
        serving(echo) as server,
        component.instantiate(wasi=Wasi(http=http)) as instance,
        given,
        handle(instance.exports[HANDLER], forwarded(server, body=taken)) as response,
    ):
        assert isinstance(response.body, ByteReceiveStream)
        with anyio.fail_after(SECONDS):
            for word in (b"one", b"two", b"three"):
                await given.send(word)
                assert await response.body.receive() == word
            await given.aclose()
            assert await response.read() == b""
    await http.aclose()


async def test_a_large_body_goes_through_both_ways_without_being_kept(component: Component) -> None:
    sent = received = most = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent, most
        while sent < SIZE:
            sent += 1 << 16
            most = max(most, sent - received)
            yield bytes(1 << 16)

    http = Http(["http://127.0.0.1:*"])
    async with serving(echo) as server, component.instantiate(wasi=Wasi(http=http)) as instance:
        with anyio.fail_after(SECONDS):
            async with handle(instance.exports[HANDLER], forwarded(server, body=pieces())) as response:
                assert isinstance(response.body, ByteReceiveStream)
                async for piece in response.body:
                    received += len(piece)
        await http.aclose()
    assert sent == received == SIZE
    assert most < SIZE / 4  # what the buffers of both connections hold


@pytest.mark.parametrize(("pattern", "expected"), [("127.0.0.1:*", 200), ("*", 502), ("https://127.0.0.1:*", 502)])
async def test_only_what_is_granted_is_reached(component: Component, pattern: str, expected: int) -> None:
    http = Http([pattern])
    async with serving(answering(OK)) as server, component.instantiate(wasi=Wasi(http=http)) as instance:
        assert await status(instance, forwarded(server, method="GET")) == expected
        assert len(server.requests) == (expected == 200)
        await http.aclose()


async def test_a_server_that_breaks_off_is_told_to_the_guest(component: Component) -> None:
    http = Http(["http://127.0.0.1:*"])
    async with serving(answering()) as server, component.instantiate(wasi=Wasi(http=http)) as instance:
        assert await status(instance, forwarded(server)) == 502
        assert counted(http) == (0, 0)


async def silent(connection: ServedConnection) -> None:
    await connection.read_request()
    await connection.read_to_the_end()


async def test_nothing_is_left_when_the_instance_ends(component: Component) -> None:
    async def call(instance: Instance, request: HttpRequest) -> None:
        with pytest.raises(Exception, match="closed"):
            await status(instance, request)

    http = Http(["http://127.0.0.1:*"])
    given, taken = anyio.create_memory_object_stream[bytes](0)
    async with serving(silent) as server, anyio.create_task_group() as tasks, given, taken:
        async with component.instantiate(wasi=Wasi(http=http)) as instance:
            tasks.start_soon(call, instance, forwarded(server, body=taken))
            await given.send(b"abc")
            while not server.requests:
                await anyio.lowlevel.checkpoint()
        await server.all_closed()
        assert counted(http) == (0, 0)


async def test_a_block_that_is_left_early_closes_the_connection(component: Component) -> None:
    async def script(connection: ServedConnection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
        await connection.read_to_the_end()

    http = Http(["http://127.0.0.1:*"])
    given, taken = anyio.create_memory_object_stream[bytes](0)
    async with (
        serving(script) as server,
        component.instantiate(wasi=Wasi(http=http)) as instance,
        given,
        taken,
    ):
        with anyio.fail_after(SECONDS):
            async with handle(instance.exports[HANDLER], forwarded(server, body=taken)) as response:
                assert isinstance(response.body, ByteReceiveStream)
                assert await response.body.receive() == b"abc"
        await server.all_closed()
        assert counted(http) == (0, 0)


async def test_a_call_that_is_cancelled_closes_the_connection(component: Component) -> None:
    http = Http(["http://127.0.0.1:*"])
    async with serving(silent) as server, component.instantiate(wasi=Wasi(http=http)) as instance:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(status, instance, forwarded(server))
            while not server.requests:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        await server.all_closed()
        assert counted(http) == (0, 0)

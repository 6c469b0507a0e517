"""Clients that are slow, or send what never ends, hold nothing for long."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn
from serve_process import SECONDS, connect, receive_until, request_bytes, serving

from p3host.asgi import PoolLimits
from p3host.serving.listening import STALLED_SECONDS, listening
from p3host.serving.settings import Settings
from p3host.serving.uvicorn_server import Server
from p3host.wasi import Wasi

C_SITE = Path(__file__).resolve().parents[2] / "guests/c-site/c-site.wasm"
SERVERS = {
    "uvicorn": ["--backend", "asyncio"],
    "hypercorn-asyncio": ["--http2"],
    "hypercorn-trio": ["--backend", "trio"],
}
parametrize_servers = pytest.mark.parametrize("options", SERVERS.values(), ids=SERVERS)


def has_ended(connection: socket.socket) -> bool:
    """Waits for the end of a connection."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


@parametrize_servers
def test_connections_without_a_request_end(options: list[str]) -> None:
    limit = ["--head-seconds", "1"]
    with serving(*options, *limit, component=C_SITE) as server, connect(server) as endless:
        endless.sendall(request_bytes("GET", "/ticks"))
        receive_until(endless, b"tick 1\n\r\n")
        for begun in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: example.com\r\nA: b\r\n"):
            with connect(server) as connection:
                connection.sendall(begun)
                assert has_ended(connection)
        for next_one in (b"", b"GET / HTTP/1.1\r\nHost:"):
            with connect(server) as connection:
                connection.sendall(request_bytes("GET", "/logo.svg"))
                receive_until(connection, b"</svg>\n")
                connection.sendall(next_one)
                assert has_ended(connection)
        receive_until(endless, b"\n\r\n")  # a request may last


ENDLESS = {
    "path": (b"GET /", b"a" * 60),
    "header": (b"GET / HTTP/1.1\r\nHost: example.com\r\nA: ", b"b" * 60),
    "headers": (b"GET / HTTP/1.1\r\nHost: example.com\r\n", b"a: b\r\n" * 10),
    "trailers": (
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        b"a: b\r\n" * 10,
    ),
}


@parametrize_servers
def test_heads_that_do_not_end_are_not_collected(options: list[str]) -> None:
    with serving(*options, component=C_SITE) as server:
        assert httpx.get(f"{server.url}/logo.svg").status_code == 200
        before = server.memory()
        for begun, rest in ENDLESS.values():
            with connect(server) as connection:
                connection.sendall(begun)
                with pytest.raises((ConnectionResetError, BrokenPipeError)):
                    connection.sendall(rest * 1_000_000)
        assert server.memory() - before < 20 << 20


@parametrize_servers
def test_a_head_that_is_too_large_is_refused(options: list[str]) -> None:
    with serving(*options, component=C_SITE) as server:
        for size, status in (60_000, 200), (1_000_000, 431):
            with connect(server) as connection:
                try:
                    connection.sendall(request_bytes("GET", "/logo.svg", f"A: {'b' * size}"))
                except (BrokenPipeError, ConnectionResetError):
                    pass  # it need not be read to its end
                assert connection.recv(12) == b"HTTP/1.1 %d" % status


@parametrize_servers
def test_a_body_that_does_not_come_and_one_that_is_not_taken_free_their_places(options: list[str]) -> None:
    limits = ["--instances", "1", "--concurrent-requests", "2", "--waiting-seconds", "60", "--request-seconds", "1"]
    with serving(*options, *limits, component=C_SITE) as server, connect(server) as sender, connect(server) as taker:
        sender.sendall(request_bytes("POST", "/echo", "Content-Length: 100"))
        receive_until(sender, b"\r\n\r\n")
        taker.settimeout(1)
        taker.sendall(request_bytes("POST", "/echo", f"Content-Length: {1 << 30}"))
        try:
            while True:
                taker.sendall(b"a" * 65536)
        except (TimeoutError, ConnectionResetError, BrokenPipeError):
            pass
        assert httpx.get(f"{server.url}/logo.svg", timeout=SECONDS).status_code == 200


def test_a_client_that_takes_nothing_is_given_up_by_the_system() -> None:
    with listening(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        connection, _ = listener.accept()
        with client, connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == STALLED_SECONDS * 1000


class FakeConnection:
    """A connection of uvicorn's. `request` is the one that it has or had last."""

    def __init__(self, request: Any = None, *, is_closing: bool = False, unsent: int = 0) -> None:
        self.cycle = request
        self.transport = self
        self.closing = is_closing
        self.unsent = unsent
        self.aborted = False

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.aborted = True


def request(*, complete: bool) -> SimpleNamespace:
    return SimpleNamespace(response_complete=complete)


@pytest.mark.parametrize(
    ("connection", "ends"),
    [
        (FakeConnection(), True),
        (FakeConnection(request(complete=True)), True),
        (FakeConnection(request(complete=False)), False),
        (FakeConnection(request(complete=False), is_closing=True), True),
        (FakeConnection(request(complete=True), unsent=1), False),
    ],
    ids=["new", "answered", "being answered", "broken off", "being sent"],
)
def test_uvicorns_connections_end_when_they_had_no_request_for_too_long(connection: Any, ends: bool) -> None:
    settings = Settings(path="", address=("", 0), wasi=Wasi(), pool=PoolLimits(), head_seconds=10)
    server = Server(uvicorn.Config("none"), settings)
    server.server_state.connections.add(connection)
    for second in range(100, 111):
        server.look_for_slow_clients(second)
        assert not connection.aborted
    connection.cycle, former = request(complete=True), connection.cycle  # another request was answered in between
    server.look_for_slow_clients(111)
    assert not connection.aborted
    connection.cycle = former
    for second in range(112, 123):
        server.look_for_slow_clients(second)
    assert not connection.aborted
    server.look_for_slow_clients(123)
    assert connection.aborted == ends

"""`p3host serve` and clients that do what nobody should: none of them ends it, or keeps a place in it for ever."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
from asgi_guests import ANSWERS
from http_servers import LINGER_NOT
from hyperframe.frame import DataFrame
from serve_process import SECONDS, SERVERS, connect, parametrize_servers, receive_until, request_bytes, serving


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "answers.wat"
    path.write_text(ANSWERS)
    return path


class Http2Client:
    """A connection on which HTTP/2 is spoken, or nearly so. `responses` has the statuses that came, by streams."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        config = h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
        self.protocol = h2.connection.H2Connection(config)
        self.protocol.initiate_connection()
        self.responses: dict[int, bytes] = {}
        self.ended: set[int] = set()

    def request(self, stream: int, method: bytes = b"GET", path: bytes = b"/count", end: bool = True) -> None:
        head = [(b":method", method), (b":path", path), (b":scheme", b"http"), (b":authority", b"example.com")]
        self.protocol.send_headers(stream, head, end_stream=end)
        self.flush()

    def flush(self) -> None:
        self.connection.sendall(self.protocol.data_to_send())

    def receive_until(self, condition: Callable[[], bool]) -> None:
        """Waits for the server's word, or for the end of the connection, until a condition holds."""
        while not condition():
            data = self.connection.recv(65536)
            assert data, "the server has closed the connection"
            for event in self.protocol.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    self.responses[event.stream_id] = dict(event.headers)[b":status"]
                elif isinstance(event, h2.events.StreamEnded):
                    self.ended.add(event.stream_id)
            self.flush()


HYPERCORN = [SERVERS["hypercorn-asyncio"], SERVERS["hypercorn-trio"]]


@pytest.mark.parametrize("options", HYPERCORN, ids=["asyncio", "trio"])
def test_a_connection_that_fails_in_the_server_ends_alone_and_quietly(options: list[str], answers: Path) -> None:
    with serving(*options, component=answers) as server:
        for method, path in ((b"GET", b"/\xff"), (b"G\xff", b"/count")):
            with connect(server) as connection:
                Http2Client(connection).request(1, method, path)
                while connection.recv(65536):
                    pass
            assert httpx.get(f"{server.url}/count").is_success
        server.stop()
        lines = [*iter(server.line, "")]
    assert [line.split()[:2] for line in lines] == [["GET", "/count"]] * 2


@pytest.mark.parametrize("options", HYPERCORN, ids=["asyncio", "trio"])
def test_a_body_that_comes_after_the_response_leaves_the_connection_usable(options: list[str], answers: Path) -> None:
    with serving(*options, component=answers) as server, connect(server) as connection:
        client = Http2Client(connection)
        client.request(1, b"POST", end=False)
        client.receive_until(lambda: 1 in client.ended)
        connection.sendall(DataFrame(1, b"late", flags=["END_STREAM"]).serialize())
        client.request(3)
        client.receive_until(lambda: 3 in client.ended)
        assert client.responses == {1: b"200", 3: b"201"}


@parametrize_servers
def test_a_client_that_does_not_read_keeps_its_place_no_longer_than_a_request_may(
    options: list[str], answers: Path
) -> None:
    limits = ["--instances", "1", "--concurrent-requests", "1", "--request-seconds", "1", "--waiting-seconds", "60"]
    with serving(*options, *limits, component=answers) as server, connect(server) as connection:
        connection.settimeout(0.5)
        connection.sendall(request_bytes("POST", "/bounce", "Transfer-Encoding: chunked"))
        receive_until(connection, b"\r\n\r\n")
        with pytest.raises((TimeoutError, ConnectionError)):  # nobody takes so much of it
            connection.sendall(b"10000\r\n%b\r\n" % bytes(0x10000) * 1000)
        assert httpx.get(f"{server.url}/count", timeout=SECONDS).is_success


@parametrize_servers
def test_a_client_that_resets_its_connection_before_the_end_of_a_response_frees_its_place(
    options: list[str], answers: Path
) -> None:
    limits = ["--instances", "1", "--concurrent-requests", "1", "--waiting-seconds", "60"]
    with serving(*options, *limits, component=answers) as server:
        for _ in range(3):
            with connect(server) as connection:
                connection.sendall(request_bytes("POST", "/bounce", "Content-Length: 10") + b"abc")
                assert connection.recv(10) == b"HTTP/1.1 2"
                reset(connection)
        assert httpx.get(f"{server.url}/count", timeout=SECONDS).is_success


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    connection.close()

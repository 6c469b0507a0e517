"""HTTP/2 by `p3host serve --http2`, frame by frame."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import TypeVar

import h2.config
import h2.connection
import h2.events
import pytest
from asgi_guests import ANSWERS
from h2.errors import ErrorCodes
from serve_process import Server, connect, serving

C_SITE = Path(__file__).resolve().parents[2] / "guests/c-site/c-site.wasm"
BACKENDS = {"asyncio": ["--http2"], "trio": ["--http2", "--backend", "trio"]}
parametrize_backends = pytest.mark.parametrize("options", BACKENDS.values(), ids=BACKENDS)
E = TypeVar("E", bound=h2.events.Event)


class Client:
    """One connection. `events` are those that came and were not waited for yet."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        config = h2.config.H2Configuration(header_encoding="utf-8", validate_outbound_headers=False)
        self.protocol = h2.connection.H2Connection(config)
        self.protocol.initiate_connection()
        self.events: list[h2.events.Event] = []

    def request(self, method: str, path: str, *, end: bool = True) -> int:
        """Begins a request, and returns its stream."""
        stream = self.protocol.get_next_available_stream_id()
        head = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "example.com")]
        self.protocol.send_headers(stream, head, end_stream=end)
        return stream

    def flush(self) -> None:
        self.socket.sendall(self.protocol.data_to_send())

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Sends all of it, as the windows allow."""
        while data:
            size = min(
                len(data), self.protocol.local_flow_control_window(stream), self.protocol.max_outbound_frame_size
            )
            if not size:
                self.receive()
                continue
            self.protocol.send_data(stream, data[:size], end_stream=end and size == len(data))
            data = data[size:]
            self.flush()

    def fill(self, stream: int) -> None:
        """Sends until the server takes no more, although it goes on sending."""
        refused = 0
        while refused < 10:
            size = min(self.protocol.local_flow_control_window(stream), self.protocol.max_outbound_frame_size)
            if size:
                self.protocol.send_data(stream, b"a" * size)
                refused = 0
            else:
                refused += 1
            self.receive()

    def receive(self) -> None:
        self.flush()
        data = self.socket.recv(65536)
        assert data, f"the connection has ended after {self.events}"
        for event in self.protocol.receive_data(data):
            if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                self.protocol.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.events.append(event)
        self.flush()

    def wait(self, kind: type[E], stream: int, fits: Callable[[E], bool] = lambda event: True) -> E:
        """The next event of a stream that is of this kind."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and event.stream_id == stream and fits(event):  # type: ignore[attr-defined]
                    self.events.remove(event)
                    return event
            self.receive()

    def body(self, stream: int) -> bytes:
        """All of a response."""
        self.wait(h2.events.StreamEnded, stream)
        data = [event for event in self.events if isinstance(event, h2.events.DataReceived)]
        return b"".join(event.data for event in data if event.stream_id == stream)


@contextmanager
def client_of(server: Server) -> Iterator[Client]:
    with connect(server) as connection:
        yield Client(connection)


@parametrize_backends
def test_an_upload_that_nobody_takes_holds_up_no_other_request(options: list[str]) -> None:
    with serving(*options, component=C_SITE) as server, client_of(server) as client:
        endless = client.request("GET", "/ticks", end=False)  # it never looks at its body
        client.wait(h2.events.DataReceived, endless)
        client.fill(endless)
        for _ in range(3):
            stream = client.request("POST", "/sum", end=False)
            client.send(stream, b"[20, 22]", end=True)
            assert client.body(stream) == b'{"count":2,"sum":42}\n'
        client.wait(h2.events.DataReceived, endless)  # it goes on


@parametrize_backends
def test_a_slow_taker_of_a_response_holds_up_no_other_request(options: list[str]) -> None:
    with serving(*options, component=C_SITE) as server, client_of(server) as client:
        client.protocol.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        stalled = client.request("GET", "/script.js")
        client.wait(h2.events.ResponseReceived, stalled)
        stream = client.request("GET", "/logo.svg")
        client.protocol.increment_flow_control_window(1000, stream)
        assert client.body(stream).startswith(b"<svg")
        client.protocol.increment_flow_control_window(10000, stalled)
        assert client.body(stalled).startswith(b"const element")


@parametrize_backends
def test_an_upload_is_echoed_in_constant_memory(options: list[str]) -> None:
    size = 100 << 20
    with serving(*options, component=C_SITE) as server, client_of(server) as client:
        stream = client.request("POST", "/echo", end=False)
        client.send(stream, b"a" * (1 << 20))
        before, count = server.memory(), 0
        for rest in range(size >> 20, 0, -1):
            client.send(stream, b"a" * (1 << 20), end=rest == 1)
            count += sum(len(event.data) for event in client.events if isinstance(event, h2.events.DataReceived))
            client.events.clear()
        while count < size + (1 << 20):
            client.receive()
            count += sum(len(event.data) for event in client.events if isinstance(event, h2.events.DataReceived))
            client.events.clear()
        assert server.memory() - before < 10 << 20


@parametrize_backends
def test_a_response_that_breaks_off_resets_its_stream_alone(options: list[str], tmp_path: Path) -> None:
    component = tmp_path / "answers.wat"
    component.write_text(ANSWERS)
    limits = ["--request-seconds", "1"]
    with serving(*options, *limits, component=component) as server, client_of(server) as client:
        streams = [client.request("GET", path) for path in ("/open", "/late", "/open")]
        for stream in streams:
            assert client.wait(h2.events.StreamReset, stream).error_code == ErrorCodes.INTERNAL_ERROR
        stream = client.request("GET", "/count")
        client.wait(h2.events.StreamEnded, stream)


@parametrize_backends
def test_a_client_that_goes_on_with_an_upload_after_the_response_is_told(options: list[str]) -> None:
    with serving(*options, component=C_SITE) as server, client_of(server) as client:
        stream = client.request("POST", "/style.css", end=False)
        client.protocol.send_data(stream, b"a" * 10000)
        assert client.body(stream) == b"Method not allowed\n"
        assert client.wait(h2.events.StreamReset, stream).error_code == ErrorCodes.NO_ERROR
        stream = client.request("GET", "/logo.svg")
        assert client.body(stream).startswith(b"<svg")


@parametrize_backends
def test_clients_that_are_gone_leave_nothing_behind(options: list[str]) -> None:
    with serving(*options, "--grace", "1000", component=C_SITE) as server:
        files = Path(f"/proc/{server.process.pid}/fd")
        with client_of(server) as client:
            assert client.body(client.request("GET", "/logo.svg"))  # all is open that it needs
        before = len(list(files.iterdir()))
        for method, path in [("HEAD", "/"), ("GET", "/script.js"), ("POST", "/echo")] * 10:
            with client_of(server) as client:
                client.wait(h2.events.ResponseReceived, client.request(method, path, end=method != "POST"))
        while len(list(files.iterdir())) > before:
            sleep(0.05)
        assert server.stop() == 0


@parametrize_backends
def test_a_stream_that_the_client_resets_cancels_its_request_alone(options: list[str]) -> None:
    with serving(*options, component=C_SITE) as server, client_of(server) as client:
        other = client.request("GET", "/ticks")
        reset = client.request("GET", "/ticks", end=False)
        client.wait(h2.events.DataReceived, reset)
        client.fill(reset)
        client.protocol.reset_stream(reset)
        client.flush()
        assert server.line().startswith("GET /ticks 200 ")
        client.events.clear()
        client.wait(h2.events.DataReceived, other)
        client.protocol.reset_stream(other)
        client.flush()
        assert server.line().startswith("GET /ticks 200 ")
        assert server.stop() == 0  # and waits for nobody, as the connection is idle

"""What stands in for an ASGI server, and for what is behind a component that passes requests on."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio

from p3host import Component
from p3host.asgi import Application
from p3host.wasi import Wasi
from p3host.wasi.http import HttpRequest, HttpResponse

C_HTTP = Path(__file__).resolve().parents[2] / "guests/c-http/c-http.wasm"
SECONDS = 1000  # of virtual time
loaded: list[Component] = []


def c_http() -> Component:
    """guests/c-http, compiled once in a run of the tests."""
    if not loaded:
        loaded.append(Component.load(C_HTTP))
    return loaded[0]


class Connection:
    """One request and its response, as a server has them: `run` calls the application.

    `pieces` are those of the request's body; the last one is its end unless `unfinished`. The client reads what it is
    sent for as long as `reading` is set. `leave` ends the connection.
    """

    def __init__(
        self,
        method: str = "GET",
        path: str = "/count",
        *pieces: bytes,
        headers: Sequence[tuple[bytes, bytes]] = (),
        unfinished: bool = False,
        **more: Any,
    ) -> None:
        has_length = any(name == b"content-length" for name, _ in headers)
        body = [(b"transfer-encoding", b"chunked")] if (pieces or unfinished) and not has_length else []
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"example.com"), *body, *headers],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8080),
            **more,
        }
        self.pieces = deque(pieces)
        self.unfinished = unfinished
        self.arrived = anyio.Event()  # set anew for each piece that is given later
        self.left = anyio.Event()
        self.reading = anyio.Event()
        self.reading.set()
        self.broken: Exception | None = None
        self.taken = 0
        self.messages: list[Any] = []
        self.sent = anyio.Event()
        self.ended = False

    async def receive(self) -> dict[str, Any]:
        if not self.pieces and (self.unfinished or self.taken):
            async with anyio.create_task_group() as waiting:
                for event in self.arrived, self.left:

                    async def wait(event: anyio.Event = event) -> None:
                        await event.wait()
                        waiting.cancel_scope.cancel()

                    waiting.start_soon(wait)
        if self.left.is_set():
            return {"type": "http.disconnect"}
        self.taken += 1
        self.arrived = anyio.Event()
        piece = self.pieces.popleft() if self.pieces else b""
        return {"type": "http.request", "body": piece, "more_body": bool(self.pieces) or self.unfinished}

    async def send(self, message: Any) -> None:
        await self.reading.wait()
        if self.broken is not None:
            raise self.broken
        self.messages.append(message)
        self.sent.set()
        self.sent = anyio.Event()

    async def run(self, application: Any) -> Connection:
        with anyio.fail_after(SECONDS):
            try:
                await application(self.scope, self.receive, self.send)
            finally:
                self.ended = True
                self.sent.set()
        return self

    def give(self, piece: bytes, *, last: bool = False) -> None:
        self.pieces.append(piece)
        self.unfinished = not last
        self.arrived.set()

    def leave(self) -> None:
        self.left.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until what was sent fulfils a condition."""
        with anyio.fail_after(SECONDS):
            while not condition():
                assert not self.ended, f"it has ended with {self.messages}"
                await self.sent.wait()

    @property
    def status(self) -> int | None:
        return self.messages[0]["status"] if self.messages else None

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    @property
    def complete(self) -> bool:
        last = self.messages[-1] if self.messages else {}
        ends = [message["type"] for message in self.messages if not message.get("more_body", False)]
        expected = ["http.response.start", "http.response.body"]
        if self.messages and self.messages[0].get("trailers"):
            expected.append("http.response.trailers")
        return ends == expected and last["type"] == expected[-1]


class Peer:
    """Answers the requests that c-http passes on by `/forward`: by `response`, which a function may give."""

    def __init__(self, response: HttpResponse | Callable[[HttpRequest], Any]) -> None:
        self.response = response
        self.requests: list[HttpRequest] = []
        self.asked = anyio.Event()
        self.cancelled = 0

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        self.asked.set()
        if isinstance(self.response, HttpResponse):
            return self.response
        try:
            answer = await self.response(request)
            assert isinstance(answer, HttpResponse)
            return answer
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise


class OpenBody:
    """A body that goes on until it is closed: an async iterable of pieces, which are given one by one."""

    def __init__(self) -> None:
        self.given, self.taken = anyio.create_memory_object_stream[bytes](0)
        self.closed = anyio.Event()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await self.taken.receive()

    async def aclose(self) -> None:
        self.taken.close()
        self.given.close()
        self.closed.set()


def forwarding(peer: Peer, **options: Any) -> Application:
    return Application(c_http(), wasi=Wasi(http=peer), **options)

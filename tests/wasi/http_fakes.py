"""What stands in for guests and for the network when the providers of `wasi:http` are called directly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from wasi_fakes import GuestStream

from p3host.errors import Err, P3HostError, StreamDropped
from p3host.values import Ok
from p3host.wasi.http import ErrorCode, HttpRequest, HttpResponse
from p3host.wasi.http.fields import Fields
from p3host.wasi.http.heads import Case
from p3host.wasi.p3.http import Client, Request, Response
from p3host.wasi.p3.http_bodies import GuestReader

TERMINATED = ErrorCode("connection-terminated")
READ_TIMEOUT = ErrorCode("connection-read-timeout")
BROKEN = ErrorCode("internal-error", "broken")


class GuestFuture:
    """A `future<result<T, error-code>>` that a guest resolves when it likes. Its value can be had once."""

    def __init__(self) -> None:
        self.resolved = anyio.Event()
        self.value: Any = None
        self.closed = False
        self.taken = False
        self.then: Callable[[Ok | P3HostError], None] | None = None

    def resolve(self, value: Any = None) -> GuestFuture:
        """An `Err` is the error case."""
        self.value = value
        self.resolved.set()
        if self.then is not None and not self.closed:
            self.taken = self.closed = True
            self.then(value if isinstance(value, P3HostError) else Ok(value))
        return self

    def watch(self, then: Callable[[Ok | P3HostError], None]) -> None:
        self.then = then
        if self.resolved.is_set():
            self.resolve(self.value)

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from self.resolved.wait().__await__()
        if self.taken:
            raise StreamDropped("a future can be awaited once")
        self.taken = True
        if isinstance(self.value, Exception):
            raise self.value
        return self.value

    def close(self) -> None:
        self.closed = True


def resolved(value: Any = None) -> GuestFuture:
    return GuestFuture().resolve(value)


class OpenStream(GuestStream):
    """A `stream<u8>` whose guest has more to write than it has written so far."""

    async def read(self, max_count: int) -> bytes:
        if not self.pieces:
            await anyio.sleep_forever()
        return await super().read(max_count)


class PlainBody:
    """An async iterable of pieces that tells how many were taken, and whether it was closed. A piece that is an
    exception is raised; None never comes."""

    def __init__(self, *pieces: bytes | Exception | None) -> None:
        self.pieces = list(pieces)
        self.taken = 0
        self.closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await anyio.lowlevel.checkpoint()
        if self.taken == len(self.pieces):
            raise StopAsyncIteration
        piece = self.pieces[self.taken]
        self.taken += 1
        if piece is None:
            await anyio.sleep_forever()
        if isinstance(piece, Exception):
            raise piece
        assert piece is not None
        return piece

    async def aclose(self) -> None:
        self.closed = True


class Peer:
    """A server: answers each request by `answer`, and keeps them in `requests`."""

    def __init__(self, answer: Callable[[HttpRequest], Any]) -> None:
        self.answer = answer
        self.requests: list[HttpRequest] = []

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        response = self.answer(request)
        return response if isinstance(response, HttpResponse) else await response


def fields(*entries: tuple[str, bytes]) -> Fields:
    return Fields.from_list(list(entries))


def guest_request(
    *headers: tuple[str, bytes],
    contents: GuestStream | None = None,
    trailers: GuestFuture | None = None,
    method: str = "post",
    options: Any = None,
) -> tuple[Request, Any]:
    """A request of a guest's to `http://example.com/`, and the future of its transmission."""
    request, sent = Request.new(fields(*headers), contents, trailers or resolved(), options)
    request.set_method(Case(method))
    request.set_scheme(Case("HTTP"))
    request.set_authority("example.com")
    return request, sent


def guest_response(
    *headers: tuple[str, bytes], contents: GuestStream | None = None, trailers: GuestFuture | None = None
) -> tuple[Response, Any]:
    return Response.new(fields(*headers), contents, trailers or resolved())


async def read_all(reader: GuestReader) -> bytes:
    """What a guest reads until the end, as the host's stream gives it: closed afterwards."""
    pieces = [piece async for piece in reader]
    await reader.aclose()
    reader.on_dropped()
    return b"".join(pieces)


class Handler:
    """A component's export `wasi:http/handler`: `answer` takes the request and gives the response, or an `Err`."""

    def __init__(self, answer: Callable[[Request], Any]) -> None:
        self.answer = answer

    async def handle(self, request: Request) -> Any:
        response = self.answer(request)
        if isinstance(response, Err):
            raise response
        return response if isinstance(response, Response) else await response


class Outcome:
    """Waits for a future beside a message, in a task of its own as the host does."""

    def __init__(self, tasks: anyio.abc.TaskGroup, future: Any) -> None:
        self.ended = anyio.Event()
        self.value: Any = None
        self.error: ErrorCode | None = None
        tasks.start_soon(self.run, future)

    async def run(self, future: Any) -> None:
        try:
            self.value = await future
        except Err as error:
            self.error = error.value
        self.ended.set()

    async def wait(self) -> tuple[Any, ErrorCode | None]:
        """Its value and its error."""
        with anyio.fail_after(10):
            await self.ended.wait()
        return self.value, self.error


async def send(request: Request, answer: Callable[[HttpRequest], Any]) -> Response:
    with anyio.fail_after(10):
        return await Client(Peer(answer)).send(request)


async def failure(awaitable: Awaitable[Any]) -> object:
    with pytest.raises(Err) as raised, anyio.fail_after(10):
        await awaitable
    return raised.value.value


async def received(response: HttpResponse, method: str = "get", options: Any = None) -> Response:
    """The resource for a response that came for a request without a body."""
    request, sent = guest_request(method=method, options=options)
    sent.on_dropped()
    return await send(request, lambda request: response)


async def echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(body=await request.read(), trailers=await request.read_trailers())


async def ignore(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


async def soon(value: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    if isinstance(value, Exception):
        raise value
    return value

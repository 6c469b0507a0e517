"""One request and its response over a connection, with bodies that stream in both directions at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Generator, Sequence
from contextlib import aclosing
from typing import NamedTuple

import anyio
import anyio.lowlevel
import h11
from anyio.abc import ByteReceiveStream

from ...errors import Err, P3HostError
from ..byte_streams import PIECE
from ..http.fields import MAX_FIELDS
from ..http.messages import (
    OUTSIDE_FAILURES,
    TERMINATED,
    Content,
    ErrorCode,
    HeaderList,
    HttpRequest,
    HttpResponse,
    PeekableContent,
    error_code,
)
from ..http.syntax import content_length, end_to_end
from .connection import Connection
from .loop_tasks import LoopTask

MAX_INFORMATIONAL = 32  # responses of status 1xx before the real one
SELDOM_WITH_CONTENT = frozenset({"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"})
IDEMPOTENT = SELDOM_WITH_CONTENT | {"PUT"}


class Framing(NamedTuple):
    """Whether a request has a body, and the header that is to tell how long it is, where no other one does."""

    has_content: bool
    headers: Sequence[tuple[bytes, bytes]] = ()


async def framing_of(request: HttpRequest, max_bytes: float) -> Framing:
    """
    :raises Err: it can't be sent as a message of HTTP/1.1, or its body has more than `max_bytes`; with an `ErrorCode`
    """
    body, target = request.body, request.path_with_query
    if request.method == "CONNECT":
        raise Err(ErrorCode("HTTP-request-method-invalid"))
    if target and not target.startswith(("/", "*")):  # it could name another host
        raise Err(ErrorCode("HTTP-request-URI-invalid"))
    seldom = request.method in SELDOM_WITH_CONTENT
    length = announced_length(request)
    check_size(length or 0, max_bytes, "HTTP-request-body-size")
    if length is not None:
        return Framing(True)
    if isinstance(body, bytes) and request.trailers is None:
        check_size(len(body), max_bytes, "HTTP-request-body-size")
        if seldom and not body:
            return Framing(False)
        return Framing(bool(body), [(b"content-length", b"%d" % len(body))])
    if seldom and isinstance(body, PeekableContent) and not await body.has_content():
        return Framing(False)
    return Framing(True, [(b"transfer-encoding", b"chunked")])


class Exchange:
    """Neither body may have more than `max_bytes`. `release` is given the connection when both messages have come to
    their end."""

    def __init__(
        self,
        connection: Connection,
        request: HttpRequest,
        framing: Framing,
        max_bytes: float,
        release: Callable[[Connection], Awaitable[None]],
    ) -> None:
        self.connection = connection
        self.request = request
        self.framing = framing
        self.max_bytes = max_bytes
        self.release = release
        body = request.body
        is_short = isinstance(body, bytes) and len(body) <= PIECE and request.trailers is None
        self.short_body = body if is_short and isinstance(body, bytes) else None  # sent with the head
        self.takes_content = framing.has_content and self.short_body is None  # of what can't be sent again
        self.upload: LoopTask | None = None
        self.upload_failure: Exception | None = None
        self.ended = False

    async def run(self) -> HttpResponse:
        """Sends the request, and returns when the head of the response is there.

        :raises Err: with an `ErrorCode`. The connection is closed then.
        """
        try:
            await self.begin()
            head = await self.receive_head()
        except BaseException:
            await self.aclose()
            raise
        headers = end_to_end((name.decode("ascii"), bytes(value)) for name, value in head.headers.raw_items())
        body = ResponseBody(self)
        return HttpResponse(head.status_code, headers=headers, body=body, trailers=ResponseTrailers(body))

    @property
    def may_be_repeated(self) -> bool:
        """Whether the exchange failed only because the server has closed the connection before it got the request,
        as far as that can be known."""
        connection = self.connection
        return (
            connection.reused
            and not connection.answered
            and self.upload_failure is None
            and not self.takes_content
            and self.request.method in IDEMPOTENT
        )

    # The request

    async def begin(self) -> None:
        """Sends the head, and a short body with it. A task goes on with any other body."""
        request = self.request
        headers = [(b"host", (request.authority or "").removesuffix(":").encode()), *self.framing.headers]
        for name, value in end_to_end(request.headers):
            match name.lower():
                case "te":  # which is for the next server alone (RFC 9110, 10.1.4)
                    headers.append((b"connection", b"te"))
                case "expect" if not self.framing.has_content:
                    continue
            headers.append((name.encode(), value))
        try:
            head = h11.Request(method=request.method, target=request.path_with_query or "/", headers=headers)
        except h11.LocalProtocolError as failure:
            raise Err(ErrorCode("HTTP-protocol-error")) from failure
        events: list[h11.Event] = [head]
        if self.short_body:
            events.append(h11.Data(self.short_body))
        if not self.takes_content:
            events.append(h11.EndOfMessage())
        try:
            await self.try_to_send(*events)
        except h11.LocalProtocolError as failure:
            raise Err(ErrorCode("HTTP-request-body-size")) from failure
        if self.short_body is None:
            self.upload = LoopTask(self.send_body if self.takes_content else self.read_end)

    async def send_body(self) -> None:
        try:
            count = 0
            async with aclosing(pieces(self.request.body)) as body:
                async for piece in body:
                    count += len(piece)
                    check_size(count, self.max_bytes, "HTTP-request-body-size")
                    if not await self.try_to_send(h11.Data(piece)):
                        return
            trailers = await self.request.read_trailers()
            if trailers is None or announced_length(self.request) is not None:  # which leaves no place for them
                trailers = []
            await self.try_to_send(h11.EndOfMessage(headers=[(name.encode(), value) for name, value in trailers]))
        except h11.LocalProtocolError:
            await self.fail(Err(ErrorCode("HTTP-request-body-size")))
        except Exception as failure:
            await self.fail(failure)

    async def read_end(self) -> None:
        """Reads a body without content to its end, so that whoever gives it learns that it was taken."""
        try:
            async with aclosing(pieces(self.request.body)) as body:
                async for _ in body:
                    raise Err(ErrorCode("HTTP-request-body-size"))
            await self.request.read_trailers()
        except Exception as failure:
            await self.fail(failure)

    async def try_to_send(self, *events: h11.Event) -> bool:
        """Returns False if the server takes no more. There may be a response all the same.

        :raises h11.LocalProtocolError: the message is not as its head has announced
        """
        try:
            await self.connection.send(*events)
        except Err:
            return False
        return True

    async def fail(self, failure: Exception) -> None:
        """The request's body has failed. The server must not take what it has for the whole, so the connection ends."""
        known = isinstance(failure, (P3HostError, *OUTSIDE_FAILURES))
        self.upload_failure = Err(error_code(failure)) if known else failure
        await self.connection.aclose()

    # The response

    async def receive_head(self) -> h11.Response:
        for _ in range(MAX_INFORMATIONAL):
            event = await self.next_event()
            if isinstance(event, h11.Response):
                names = {name for name, _ in event.headers}
                if {b"content-length", b"transfer-encoding"} <= names:  # one of the two is a lie
                    raise Err(ErrorCode("HTTP-protocol-error"))
                check_count(event.headers, "HTTP-response-header-section-size")
                return event
        raise Err(ErrorCode("HTTP-protocol-error"))

    async def next_event(self) -> h11.Event:
        try:
            return await self.connection.next_event()
        except Err:
            if self.upload_failure is not None:
                raise self.upload_failure from None
            raise

    async def finish(self) -> None:
        """The response has ended: what is left of the request is not wanted."""
        if not self.ended:
            self.ended = True
            try:
                if self.upload is not None:
                    await self.upload.aclose()
                await self.release(self.connection)
            except BaseException:  # asyncio can cancel what is shielded too
                await self.connection.aclose()
                raise

    async def aclose(self) -> None:
        if not self.ended:
            self.ended = True
            await self.connection.aclose()
            if self.upload is not None:
                await self.upload.aclose()


class ResponseBody(ByteReceiveStream):
    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.count = 0
        self.rest = memoryview(b"")
        self.ended = anyio.Event()
        self.failure: Exception | None = None
        self.trailers: HeaderList | None = None

    async def receive(self, max_bytes: int = PIECE) -> bytes:
        """
        :raises Err: the response does not come whole; with an `ErrorCode`
        """
        await anyio.lowlevel.checkpoint()  # of small chunks there can be thousands at hand
        while not self.rest:
            if self.failure is not None:
                raise self.failure
            if self.ended.is_set():
                raise anyio.EndOfStream
            try:
                self.take(await self.exchange.next_event())
            except Exception as failure:
                await self.fail(failure)
            if self.ended.is_set():
                await self.exchange.finish()
        piece, self.rest = bytes(self.rest[:max_bytes]), self.rest[max_bytes:]
        return piece

    def take(self, event: h11.Event) -> None:
        if isinstance(event, h11.Data):
            self.count += len(event.data)
            check_size(self.count, self.exchange.max_bytes, "HTTP-response-body-size")
            self.rest = memoryview(event.data)
        elif isinstance(event, h11.EndOfMessage):
            check_count(event.headers, "HTTP-response-trailer-section-size")
            trailers = event.headers.raw_items()
            self.trailers = [(name.decode("ascii"), bytes(value)) for name, value in trailers] or None
            self.ended.set()

    async def fail(self, failure: Exception) -> None:
        self.failure = failure
        self.ended.set()
        await self.exchange.aclose()

    async def aclose(self) -> None:
        if self.ended.is_set():
            return
        try:  # if all that is left is there, the connection can be used again
            while not self.ended.is_set() and (event := self.exchange.connection.event_at_hand()) is not None:
                self.take(event)
        except Err:
            pass
        if self.ended.is_set():
            self.rest = memoryview(b"")
            await self.exchange.finish()
        else:
            await self.fail(Err(TERMINATED))


def announced_length(request: HttpRequest) -> int | None:
    try:
        return content_length(request.headers)
    except ValueError as failure:
        raise Err(ErrorCode("HTTP-protocol-error")) from failure


def check_size(count: int, max_bytes: float, error: str) -> None:
    if count > max_bytes:
        raise Err(ErrorCode(error, count))


def check_count(headers: Collection[tuple[bytes, bytes]], error: str) -> None:
    """h11 has checked how many bytes they are."""
    if len(headers) > MAX_FIELDS:
        raise Err(ErrorCode(error, sum(len(name) + len(value) for name, value in headers)))


class ResponseTrailers:
    """An awaitable, any number of times: the trailers, or None, once the body has been read to its end."""

    def __init__(self, body: ResponseBody) -> None:
        self.body = body

    def __await__(self) -> Generator[object, object, HeaderList | None]:
        yield from self.body.ended.wait().__await__()
        if self.body.failure is not None:
            raise self.body.failure
        return self.body.trailers


async def pieces(content: Content) -> AsyncGenerator[bytes, None]:
    if isinstance(content, bytes):
        for start in range(0, len(content), PIECE):
            yield content[start : start + PIECE]
    elif isinstance(content, ByteReceiveStream):
        while True:
            try:
                yield await content.receive(PIECE)
            except anyio.EndOfStream:
                return
    else:
        iterator = aiter(content)
        try:
            async for piece in iterator:
                yield piece
        finally:
            if isinstance(iterator, AsyncGenerator):
                await iterator.aclose()

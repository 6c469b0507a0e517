"""The bodies of HTTP messages, with their trailers: what `wasi:http` 0.2 and 0.3 have in common.

A `Body` is what one message carries, whether a guest made it (each version has its own way) or it came from outside
(`ReceivedBody`). A `PlainReader` passes it to the host, as a byte stream whose end means that the trailers are there
too; each version passes it to a guest in its own way. Lengths are checked here, so that neither side sees a body that
is not as long as was announced.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import anyio
from anyio.abc import ByteReceiveStream

from ...errors import Err, P3HostError
from ...values import Ok
from ..byte_streams import PIECE
from ..promise import NOTHING, Promise
from .fields import Fields
from .messages import OUTSIDE_FAILURES, TERMINATED, Content, ErrorCode, HeaderList, TrailerList, error_code

T = TypeVar("T")


class GuestFuture(Protocol):
    """A `future<result<T, error-code>>` that a guest passed. Awaiting it may be cancelled and begun again. Whoever does
    not await it may have it watched: `then` is called with an `Ok` or the error, unless the future is closed before."""

    def __await__(self) -> Generator[Any, Any, Any]: ...

    def watch(self, then: Callable[[Ok | P3HostError], None], /) -> None: ...

    def close(self) -> object: ...


class Transmission(Promise[None]):
    """What became of a message that a guest made: the future beside it. `watched` tells whether anybody wants to
    know."""

    def __init__(self, watched: bool) -> None:
        self.watched = watched
        self.followed: GuestFuture | None = None

    def succeed(self) -> None:
        self.settle()

    def fail(self, error: ErrorCode) -> None:
        self.settle(Err(error))

    def follow(self, answer: GuestFuture) -> None:
        """A guest has read the message, and is going to say by `answer`, which is watched, what became of it."""
        if self.is_settled or not self.watched:
            answer.close()
        else:
            self.followed = answer

    def on_dropped(self) -> None:
        self.watched = False
        if self.followed is not None:
            self.followed.close()


class Body:
    """What a message carries. Whoever reads it first reads to the end with `read`, then calls `finish`.

    `size_error` is the case of `error-code` for a body of another length than `length`, which is None if none was
    announced.
    """

    def __init__(self, size_error: str, length: int | None, watched: bool) -> None:
        self.size_error = size_error
        self.length = length
        self.count = 0
        self.transmission = Transmission(watched)

    async def read(self, max_count: int) -> bytes:
        """1 to `max_count` bytes, or b"" at the end.

        :raises Err: with an `ErrorCode`; there is no going on after it
        """
        piece = await self.next_piece(max_count)
        self.count += len(piece)
        if self.length is not None and (self.count > self.length or (not piece and self.count < self.length)):
            raise Err(ErrorCode(self.size_error, self.count))
        return piece

    @property
    def is_read(self) -> bool:
        """Whether it is known, without another read, that there is no more content."""
        return self.length is not None and self.count == self.length

    async def next_piece(self, max_count: int) -> bytes:
        raise NotImplementedError

    async def finish(self) -> Fields | None:
        """The trailers. To be called when the body is at its end.

        :raises Err: they failed, and the message with them; with an `ErrorCode`
        """
        raise NotImplementedError

    def known_trailers(self) -> Ok | None:
        """The trailers, if there is no waiting for them; None if there is. Otherwise like `finish`."""
        return None

    def closes_at_once(self) -> bool:
        """Whether `close` has nothing to wait for."""
        return True

    def close(self) -> Coroutine[Any, Any, None] | None:
        """Gives up what has not been read. What that has to wait for is the caller's to await."""
        raise NotImplementedError

    async def aclose(self) -> None:
        closing = self.close()
        if closing is not None:
            await closing


class ReceivedBody(Body):
    """The body of a message from outside, given in plain Python.

    `check_trailers` makes the resource of its trailers. The first piece has to be there within `first_piece` seconds of
    being asked for, each further one within `between_pieces`. `on_close` is called when nobody wants more of the body.
    """

    def __init__(
        self,
        size_error: str,
        length: int | None,
        content: Content,
        trailers: TrailerList,
        *,
        check_trailers: Callable[[HeaderList], Fields],
        first_piece: float = math.inf,
        between_pieces: float = math.inf,
        on_close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(size_error, length, watched=False)
        self.content: Content | None = content
        self.trailers = trailers
        self.check_trailers = check_trailers
        self.patience = first_piece
        self.between_pieces = between_pieces
        self.on_close = on_close
        self.iterator: AsyncIterator[bytes] | None = None
        self.rest = memoryview(b"")
        self.scope: anyio.CancelScope | None = None
        self.reading: anyio.Lock | None = None
        self.closed = False

    async def next_piece(self, max_count: int) -> bytes:
        if not self.rest:
            content = self.content
            if isinstance(content, bytes) and not self.closed:
                piece, self.content = content, None
            else:
                piece = await self.in_time(partial(self.take, max_count))
            if len(piece) <= max_count:
                return piece
            self.rest = memoryview(piece)
        piece, self.rest = bytes(self.rest[:max_count]), self.rest[max_count:]
        return piece

    def lock(self) -> anyio.Lock:
        """For one at a time to read, or close, what has to be waited for."""
        if self.reading is None:
            self.reading = anyio.Lock(fast_acquire=True)
        return self.reading

    async def in_time(self, wait: Callable[[], Awaitable[T]]) -> T:
        """What comes from outside, unless it comes too late, or the body is given up before.

        :raises Err: it fails; with an `ErrorCode`
        """
        async with self.lock():
            if self.closed:
                raise Err(TERMINATED)
            try:
                with anyio.CancelScope(deadline=anyio.current_time() + self.patience) as self.scope:
                    result = await wait()
                    self.patience = self.between_pieces
                    return result
            except (Err, *OUTSIDE_FAILURES) as failure:
                raise Err(error_code(failure)) from failure
            finally:
                self.scope = None
            raise Err(TERMINATED if self.closed else ErrorCode("connection-read-timeout"))

    async def take(self, max_count: int) -> bytes:
        """What the content has next; b"" at its end."""
        content = self.content
        if content is None or isinstance(content, bytes):
            self.content = None
            return content or b""
        piece = b""
        try:
            if isinstance(content, ByteReceiveStream):
                while not piece:
                    piece = await content.receive(max_count)
            else:
                if self.iterator is None:
                    self.iterator = aiter(content)
                while not piece:
                    piece = await anext(self.iterator)
        except (anyio.EndOfStream, StopAsyncIteration):
            return b""
        return piece

    async def finish(self) -> Fields | None:
        if isinstance(self.trailers, Awaitable):
            self.trailers = await self.in_time(partial(settled, self.trailers))
        known = self.known_trailers()
        assert known is not None
        fields: Fields | None = known.value
        return fields

    def known_trailers(self) -> Ok | None:
        if isinstance(self.trailers, Awaitable):
            return None
        return NOTHING if self.trailers is None else Ok(self.check_trailers(self.trailers))

    def closables(self) -> list[Callable[[], Awaitable[None]]]:
        return [each.aclose for each in (self.iterator, self.content) if each is not None and hasattr(each, "aclose")]

    def closes_at_once(self) -> bool:
        return self.closed or not (self.closables() or self.on_close or isinstance(self.trailers, Awaitable))

    def close(self) -> Coroutine[Any, Any, None] | None:
        at_once = self.closes_at_once()
        self.closed = True
        if self.scope is not None:
            self.scope.cancel()
        return None if at_once else self.close_all(self.closables())

    async def close_all(self, closables: Sequence[Callable[[], Awaitable[None]]]) -> None:
        with anyio.CancelScope(shield=True):
            async with self.lock():
                for close in closables:
                    try:
                        await close()
                    except OUTSIDE_FAILURES:
                        pass  # the connection was lost before
            if inspect.iscoroutine(self.trailers) and inspect.getcoroutinestate(self.trailers) == inspect.CORO_CREATED:
                self.trailers.close()  # nobody is going to await it
            if self.on_close is not None:
                await self.on_close()


async def settled(awaitable: Awaitable[T]) -> T:
    return await awaitable


class PlainReader(ByteReceiveStream):
    """Passes a body to the host. It ends when the trailers are there; what fails is raised as an `Err` with an
    `ErrorCode`."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.ended: Promise[None] = Promise()
        self.failure: P3HostError | None = None
        self.fields: Fields | None = None
        self.whole = False
        self.accepted = False
        self.may_be_left = False  # the message is transmitted without its content, as the answer to HEAD is
        self.peeked: bytes | None = None  # read, and not yet received

    async def has_content(self) -> bool:
        """Waits until it is known whether the body has any content; not for its trailers.

        :raises P3HostError: the body failed
        """
        if self.peeked is None:
            try:
                self.peeked = await self.body.read(PIECE)
            except P3HostError as failure:
                self.fail(failure)
                raise
        return bool(self.peeked)

    async def receive(self, max_bytes: int = PIECE) -> bytes:
        if self.peeked:
            piece, self.peeked = self.peeked[:max_bytes], self.peeked[max_bytes:] or None
            return piece
        if not self.ended.is_settled:
            try:
                if self.peeked is None and (piece := await self.body.read(max_bytes)):
                    return piece
                self.fields = await self.body.finish()
            except P3HostError as failure:
                self.fail(failure)
            else:
                self.whole = True
                self.ended.settle()
                if self.accepted:
                    self.body.transmission.succeed()
            await self.body.aclose()
        if self.failure is not None:
            raise self.failure
        raise anyio.EndOfStream

    def fail(self, failure: P3HostError) -> None:
        if not self.ended.is_settled:
            self.failure = failure
            self.ended.settle()
            self.body.transmission.fail(error_code(failure))

    def accept(self) -> None:
        """The receiver has taken the message: it is transmitted once its body has been read, if there may be one."""
        self.accepted = True
        if self.whole or self.may_be_left:
            self.body.transmission.succeed()

    async def aclose(self) -> None:
        if self.accepted and self.body.is_read:
            self.body.transmission.succeed()
        self.fail(Err(TERMINATED))
        if not self.accepted:
            self.body.transmission.fail(TERMINATED)
        await self.body.aclose()


class Trailers:
    """The trailers of a body that a `PlainReader` reads: an awaitable, any number of times, for a list or None. It
    waits for the end of the body."""

    def __init__(self, reader: PlainReader) -> None:
        self.reader = reader

    def __await__(self) -> Generator[Any, Any, HeaderList | None]:
        yield from self.reader.ended.__await__()
        if self.reader.failure is not None:
            raise self.reader.failure
        return None if self.reader.fields is None else self.reader.fields.sent_as_trailers()

"""`wasi:http/types` 0.2: the bodies of messages, as streams of bytes and a future of trailers.

A guest reads a message from outside through `IncomingBody`, whose bytes a task of the host's fetches piece by piece as
they are asked for, and then `FutureTrailers`. What it writes through `OutgoingBody` waits in a `WrittenBody` of
bounded size for whoever sends it.
"""

from __future__ import annotations

import anyio

from ...errors import Err, P3HostError
from ...values import Ok
from ..background import Background
from ..byte_streams import PIECE, ByteSink, ByteSource
from ..http.bodies import Body
from ..http.messages import TERMINATED, ErrorCode, error_code
from .http_fields import Fields, Parent
from .io import InputStream, OutputStream, Pollable

CAPACITY = PIECE  # bytes of a written body that wait to be sent
DROPPED = ErrorCode("internal-error", "the body was dropped before it was finished")


class BodyError(OSError):
    """What a stream over a body fails with: `http-error-code` tells its `code`."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(None, f"wasi:http: {code.tag}")
        self.code = code


class BodySource(ByteSource):
    """The content of a body. The next piece is fetched once somebody asks for it, and to the end even if he stops
    waiting."""

    def __init__(self, body: Body, background: Background) -> None:
        self.body = body
        self.background = background
        self.piece = memoryview(b"")
        self.ended = False
        self.failure: ErrorCode | None = None
        self.fetched: anyio.Event | None = None  # while a piece is being fetched
        self.parent: Parent | None = None  # while a guest has a stream of it

    def ready(self) -> bool:
        if self.piece or self.ended or self.failure is not None:
            return True
        if self.fetched is None:
            self.fetched = anyio.Event()
            self.background.start_task("the body of an HTTP message", self.fetch)
        return False

    def take(self, max_count: int) -> bytes | None:
        if not self.ready():
            return None
        if self.failure is not None:
            raise BodyError(self.failure)
        taken, self.piece = bytes(self.piece[:max_count]), self.piece[max_count:]
        return taken

    async def wait(self) -> None:
        if not self.ready() and self.fetched is not None:
            await self.fetched.wait()

    async def fetch(self) -> None:
        fetched = self.fetched
        assert fetched is not None
        try:
            piece = await self.body.read(PIECE)
            self.ended = not piece
            self.piece = memoryview(piece)
        except P3HostError as failure:
            self.failure = error_code(failure)
        finally:
            self.fetched = None
            fetched.set()

    def close(self) -> None:
        if self.parent is not None:
            self.parent.children -= 1
            self.parent = None

    async def finish(self) -> Fields | None:
        """The trailers, once all that nobody has read is thrown away.

        :raises Err: the message did not come whole; with the `error-code`
        """
        if self.fetched is not None:
            await self.fetched.wait()
        if self.failure is not None:
            raise Err(self.failure)
        try:
            while not self.ended:
                self.ended = not await self.body.read(PIECE)
            fields = await self.body.finish()
        except P3HostError as failure:
            raise Err(error_code(failure)) from failure
        assert fields is None or isinstance(fields, Fields)
        return fields


class IncomingBody(Parent):
    """The resource `incoming-body`."""

    name = "incoming-body"

    def __init__(self, body: Body, background: Background) -> None:
        self.source = BodySource(body, background)
        self.background = background
        self.streamed = False

    def stream(self) -> InputStream:
        if self.streamed:
            raise Err
        self.streamed = True
        self.children += 1
        self.source.parent = self
        return InputStream(self.source)

    @staticmethod
    def finish(this: IncomingBody) -> FutureTrailers:
        this.check_childless()
        return FutureTrailers(this.source, this.background)

    def close(self) -> None:
        self.background.start_task("the end of an HTTP message", self.source.body.aclose)
        self.check_childless()


class FutureTrailers(Parent):
    """The resource `future-trailers`. Nothing is awaited before the guest asks for it."""

    name = "future-trailers"

    def __init__(self, source: BodySource, background: Background) -> None:
        self.source = source
        self.background = background
        self.arrived: anyio.Event | None = None
        self.outcome: Ok | Err | None = None
        self.taken = False

    def ready(self) -> bool:
        if self.arrived is None:
            self.arrived = anyio.Event()
            self.background.start_task("the trailers of an HTTP message", self.fetch)
        return self.outcome is not None

    async def wait(self) -> None:
        if not self.ready() and self.arrived is not None:
            await self.arrived.wait()

    async def fetch(self) -> None:
        assert self.arrived is not None
        try:
            self.outcome = Ok(await self.source.finish())
        except Err as error:
            self.outcome = error
        finally:
            self.arrived.set()
            await self.source.body.aclose()

    def subscribe(self) -> Pollable:
        return Pollable(self.ready, self.wait)

    def get(self) -> Ok | Err | None:
        if not self.ready():
            return None
        if self.taken:
            return Err()
        self.taken = True
        match self.outcome:
            case Ok(Fields() as trailers):
                return Ok(Ok(trailers.child_of(self)))
            case outcome:
                return Ok(outcome)

    def close(self) -> None:
        if self.outcome is None:
            self.background.start_task("the end of an HTTP message", self.source.body.aclose)
        self.check_childless()


class WrittenBody(Body):
    """A body that a guest writes. What is written waits here, `CAPACITY` bytes of it at most, until it is read."""

    def __init__(self, size_error: str, length: int | None) -> None:
        super().__init__(size_error, length, watched=False)
        self.buffer = bytearray()
        self.written = 0
        self.trailers: Fields | None = None
        self.finished = False
        self.failure: P3HostError | None = None
        self.closed = False
        self.discarding = False
        self.changed = anyio.Event()

    # The guest's end

    @property
    def room(self) -> int:
        """How many bytes can be written. That it would fail counts as room."""
        endless = self.closed or self.discarding or self.failure is not None
        return PIECE if endless else CAPACITY - len(self.buffer)

    def write(self, data: bytes) -> int:
        """Takes as much of `data` as there is room for, and returns how many bytes that is.

        :raises BodyError: nobody wants more of the body, or it is longer than was announced
        """
        self.check_size(self.written + len(data), at_end=False)
        if self.failure is not None or (self.closed and not self.discarding):
            raise BodyError(TERMINATED if self.failure is None else error_code(self.failure))
        count = min(len(data), self.room)
        self.written += count
        if self.discarding:
            return count
        self.buffer += data[:count]
        self.change()
        return count

    def discard(self) -> None:
        """From now on, what is written is thrown away, and of any length: the message is sent without content."""
        self.discarding = True
        self.length = None
        self.buffer.clear()
        self.change()

    def end(self, trailers: Fields | None) -> None:
        """:raises Err: the body has failed, or is not as long as was announced; with an `ErrorCode`"""
        self.check_size(self.written, at_end=True)
        if self.failure is not None:
            raise Err(error_code(self.failure))
        self.trailers = trailers
        self.finished = True
        self.change()

    def check_size(self, size: int, at_end: bool) -> None:
        if self.length is not None and (size > self.length or (at_end and size < self.length)):
            self.fail(Err(ErrorCode(self.size_error, size)))

    def fail(self, failure: P3HostError) -> None:
        """The guest breaks the body off, unless it has finished it. What it wrote before can still be read."""
        if not self.finished and self.failure is None:
            self.failure = failure
            self.change()

    def change(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    # The reader's end

    @property
    def is_read(self) -> bool:
        return (self.finished and not self.buffer) or super().is_read

    async def next_piece(self, max_count: int) -> bytes:
        while not self.buffer:
            if self.failure is not None:
                raise self.failure
            if self.finished:
                return b""
            if self.closed:
                raise Err(TERMINATED)
            await self.changed.wait()
        piece = bytes(self.buffer[:max_count])
        del self.buffer[:max_count]
        self.change()
        return piece

    async def finish(self) -> Fields | None:
        return self.trailers

    def close(self) -> None:
        self.closed = True
        self.buffer.clear()
        self.change()


class BodySink(ByteSink):
    """Where the stream over a written body writes to."""

    def __init__(self, body: WrittenBody, parent: Parent) -> None:
        self.body = body
        self.parent: Parent | None = parent
        parent.children += 1

    def room(self) -> int:
        return self.body.room

    def write_now(self, data: bytes) -> int:
        return self.body.write(data)

    async def wait(self) -> None:
        if not self.body.room:
            await self.body.changed.wait()

    def close(self) -> None:
        if self.parent is not None:
            self.parent.children -= 1
            self.parent = None


class OutgoingBody(Parent):
    """The resource `outgoing-body`."""

    name = "outgoing-body"

    def __init__(self, body: WrittenBody) -> None:
        self.body = body
        self.streamed = False

    def write(self) -> OutputStream:
        if self.streamed:
            raise Err
        self.streamed = True
        return OutputStream(BodySink(self.body, self))

    @staticmethod
    def finish(this: OutgoingBody, trailers: Fields | None) -> None:
        """:raises Err: it is not as long as its headers announce; with the `error-code`"""
        this.check_childless()
        this.body.end(trailers and trailers.taken())

    def close(self) -> None:
        self.body.fail(Err(DROPPED))
        self.check_childless()

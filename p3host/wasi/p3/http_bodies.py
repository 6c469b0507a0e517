"""`wasi:http/types` 0.3: the bodies of messages, as streams and futures of guests.

A `GuestBody` is one that a guest made; a `GuestReader` passes any body to a guest, as a stream and the future beside
it.
"""

from __future__ import annotations

import anyio
from anyio.abc import ByteReceiveStream

from ...errors import Err, P3HostError
from ...values import Ok
from ..byte_streams import PIECE
from ..http.bodies import Body, GuestFuture
from ..http.fields import Fields
from ..http.messages import ErrorCode, error_code
from ..promise import NOTHING, Promise
from .draining import GuestStream


class GuestBody(Body):
    """The body of a message that a guest made."""

    def __init__(self, size_error: str, contents: GuestStream | None, trailers: GuestFuture) -> None:
        super().__init__(size_error, None, watched=True)
        self.contents = contents
        self.trailers = trailers

    @property
    def is_read(self) -> bool:
        return self.contents is None or super().is_read

    async def next_piece(self, max_count: int) -> bytes:
        piece = b"" if self.contents is None else await self.contents.read(max_count)
        if not piece and self.contents is not None:
            self.contents.close()
        return piece

    async def finish(self) -> Fields | None:
        try:
            fields: Fields | None = await self.trailers
        except Err as error:
            raise Err(error_code(error)) from error
        return fields and fields.frozen()

    def close(self) -> None:
        if self.contents is not None:
            self.contents.close()
        self.trailers.close()


class GuestReader(ByteReceiveStream):
    """Passes a body to a guest: the stream that `consume-body` returns, and by `outcome` the future. By `answer` the
    guest may tell that it has failed with the message."""

    def __init__(self, body: Body, answer: GuestFuture) -> None:
        self.body = body
        self.answer = answer
        self.answered: Ok | P3HostError | None = None
        self.ended: Promise[None] = Promise()
        self.failure: ErrorCode | None = None
        self.dropped = False
        self.told = False  # the future is done: whoever comes last closes the body
        self.outcome = Outcome(self)
        answer.watch(self.on_answer)

    async def receive(self, max_bytes: int = PIECE) -> bytes:
        piece = b""
        if not self.ended.is_settled:
            try:
                piece = await self.body.read(max_bytes)
            except P3HostError as failure:
                self.failure = self.failure or error_code(failure)
        if not piece:
            self.ended.settle()
            raise anyio.EndOfStream
        return piece

    def on_dropped(self) -> None:
        """The guest has dropped the stream, or was told its end."""
        if not self.ended.is_settled:
            self.dropped = True
            self.ended.settle()
        self.outcome.prepare()

    async def aclose(self) -> None:
        if not self.ended.is_settled:
            self.on_dropped()
        if self.told:
            await self.body.aclose()

    def on_answer(self, answered: Ok | P3HostError) -> None:
        self.answered = answered
        if self.told:
            self.pass_answer(answered)
        elif isinstance(answered, Ok | Err):  # else the guest is gone, and what it was reading with it
            self.pass_answer(answered)
            if isinstance(answered, Err) and not self.ended.is_settled:
                self.failure = error_code(answered)
                self.ended.settle()
                self.outcome.prepare()

    def pass_answer(self, answered: Ok | P3HostError) -> None:
        transmission = self.body.transmission
        if isinstance(answered, Ok):
            transmission.succeed()
        else:
            transmission.fail(error_code(answered))

    def tell(self) -> None:
        """Nobody waits for the future any more. The answer may yet come."""
        self.told = True
        if self.answered is None:
            self.body.transmission.follow(self.answer)
        else:
            self.pass_answer(self.answered)


class Outcome(Promise["Fields | None"]):
    """Comes with the trailers when the stream has ended. A guest that drops the stream before its end is told neither
    of trailers nor of a failure."""

    def __init__(self, reader: GuestReader) -> None:
        self.reader = reader

    def prepare(self) -> None:
        """The guest was told the stream's end. Where there is something to wait for, or the guest itself has failed, it
        takes a task."""
        reader = self.reader
        if reader.told or self.is_settled:
            return
        outcome = NOTHING if reader.dropped else self.at_once()  # a body that is dropped is closed by the stream
        if outcome is None:
            self.call_then()
            return
        reader.tell()
        if not reader.dropped:
            reader.body.close()
        self.settle(outcome)

    def at_once(self) -> Ok | Err | None:
        """The outcome, if nothing has to be waited for."""
        reader = self.reader
        if not reader.body.closes_at_once():
            return None
        if reader.failure is not None:
            return Err(reader.failure) if reader.answered is None else None
        try:
            return reader.body.known_trailers()
        except Err as failure:
            return Err(error_code(failure))

    def on_dropped(self) -> None:
        if not self.reader.told:
            self.reader.tell()

    async def result(self) -> Fields | None:
        """
        :raises Err: the body did not come whole; with the `error-code`
        """
        reader = self.reader
        await reader.ended
        if not self.is_settled:
            outcome: Ok | Err
            try:
                outcome = Err(reader.failure) if reader.failure is not None else Ok(await reader.body.finish())
            except P3HostError as failure:
                outcome = Err(error_code(failure))
            finally:
                reader.tell()
                await reader.body.aclose()
            self.settle(outcome)
        return await super().result()

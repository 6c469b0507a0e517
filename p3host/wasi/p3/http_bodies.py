"""`wasi:http/types` 0.3: the bodies of messages, as streams and futures of guests.

A `GuestBody` is one that a guest made; a `GuestReader` passes any body to a guest, as a stream and the future beside
it.
"""

from __future__ import annotations

from typing import Protocol

import anyio
from anyio.abc import ByteReceiveStream

from ...errors import Err, P3HostError
from ..byte_streams import PIECE
from ..http_bodies import Body, GuestFuture
from ..http_fields import Fields
from ..http_messages import ErrorCode, error_code


class GuestStream(Protocol):
    """A `stream<u8>` that a guest passed."""

    async def read(self, max_count: int, /) -> bytes: ...

    def close(self) -> object: ...


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

    async def aclose(self) -> None:
        self.close()


class GuestReader(ByteReceiveStream):
    """Passes a body to a guest: the stream that `consume-body` returns, and by `outcome` the future."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.ended = anyio.Event()
        self.failure: ErrorCode | None = None
        self.dropped = False
        self.told = False  # the future is done: whoever comes last closes the body

    async def receive(self, max_bytes: int = PIECE) -> bytes:
        piece = b""
        if not self.ended.is_set():
            try:
                piece = await self.body.read(max_bytes)
            except P3HostError as failure:
                self.fail(error_code(failure))
        if not piece:
            self.ended.set()
            raise anyio.EndOfStream
        return piece

    def fail(self, error: ErrorCode) -> None:
        if not self.ended.is_set():
            self.failure = error
            self.ended.set()

    async def aclose(self) -> None:
        """The guest has dropped the stream, or it was told its end."""
        if not self.ended.is_set():
            self.dropped = True
            self.ended.set()
        if self.told:
            await self.body.aclose()

    async def outcome(self, answer: GuestFuture) -> Fields | None:
        """Waits until the stream has ended, then for the trailers. A guest that drops the stream before its end is
        told neither of trailers nor of a failure. Meanwhile `answer`, by which the guest may tell that it has failed,
        is watched.

        :raises Err: the body did not come whole; with the `error-code`
        """
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.watch, answer)
                await self.ended.wait()
                tasks.cancel_scope.cancel()
            if self.failure is not None:
                raise Err(self.failure)
            return None if self.dropped else await self.body.finish()
        except P3HostError as failure:
            raise Err(error_code(failure)) from failure
        finally:
            self.told = True
            self.body.transmission.follow(answer)
            if self.ended.is_set():
                with anyio.CancelScope(shield=True):
                    await self.body.aclose()

    async def watch(self, answer: GuestFuture) -> None:
        try:
            await answer
        except Err as error:
            self.fail(error_code(error))
            self.body.transmission.fail(error_code(error))
        except P3HostError:
            pass  # the guest is gone, and what it was reading with it
        else:
            self.body.transmission.succeed()

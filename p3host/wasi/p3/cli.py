"""`wasi:cli` 0.3: the standard streams. The rest of the package is in `wasi/command.py`."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from functools import partial
from weakref import WeakSet

import anyio
from anyio.abc import ByteReceiveStream

from ...errors import Err
from ..background import Finishing
from ..byte_streams import LARGE_PIECE, PIECE, ByteSink, ByteSource
from ..later import MaybeLater
from ..promise import NOTHING, Promise
from .draining import Draining, GuestStream, drain

MAX_STREAMS = 1024  # that go on at once over one standard stream; each may hold a piece in the host's memory


def error_code(error: OSError) -> str:
    """The case of `wasi:cli/types.error-code` for an error of the outside world."""
    match error.errno:
        case errno.EPIPE | errno.ECONNRESET:
            return "pipe"
        case errno.EILSEQ:
            return "illegal-byte-sequence"
        case _:
            return "io"


class StdinStream(ByteReceiveStream):
    """The stream that `read-via-stream` returns. It takes no more from stdin than it is asked for, so that what the
    guest leaves unread is there for the next stream. `others` are those that have not finished."""

    def __init__(self, source: ByteSource, others: WeakSet[StdinStream]) -> None:
        self.source = source
        self.others = others
        self.ended = False
        self.error: OSError | None = None
        self.outcome: Promise[None] = Promise()
        if len(others) < MAX_STREAMS:
            others.add(self)
        else:
            self.error = OSError(errno.EMFILE, "there are too many streams")
            self.end()

    async def receive(self, max_bytes: int = PIECE) -> bytes:
        while not self.ended:
            try:
                data = self.source.take(min(max_bytes, LARGE_PIECE))
            except OSError as error:
                self.error = error
                break
            if data:
                return data
            if data is not None:
                break
            await self.source.wait()
        self.end()
        raise anyio.EndOfStream

    async def aclose(self) -> None:
        self.end()

    def end(self) -> None:
        self.ended = True
        self.others.discard(self)
        self.outcome.settle(NOTHING if self.error is None else Err(error_code(self.error)))


class Stdin:
    """`wasi:cli/stdin`."""

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.streams: WeakSet[StdinStream] = WeakSet()

    def read_via_stream(self) -> tuple[StdinStream, Promise[None]]:
        stream = StdinStream(self.source, self.streams)
        return stream, stream.outcome


class Output:
    """`wasi:cli/stdout` or `wasi:cli/stderr`."""

    def __init__(self, sink: ByteSink, finishing: Finishing) -> None:
        self.sink = sink
        self.stream_count = 0
        self.finishing = finishing

    def write_via_stream(self, data: GuestStream) -> Draining:
        return Draining(data, partial(self.drain, data))

    async def drain(self, data: GuestStream) -> None:
        """Writes each piece as it comes, until the guest drops its end.

        :raises Err: writing failed; with the `error-code`
        """
        self.stream_count += 1
        try:
            if self.stream_count > MAX_STREAMS:
                raise OSError(errno.EMFILE, "there are too many streams")
            await drain(data, LARGE_PIECE, self.write, self.finishing)
        except OSError as error:
            raise Err(error_code(error)) from error
        finally:
            self.stream_count -= 1
            data.close()

    def write(self, piece: bytes) -> MaybeLater[None]:
        done = self.sink.write_now(piece)
        return None if done == len(piece) else self.sink.write(piece[done:])


def interfaces(stdin: ByteSource, stdout: ByteSink, stderr: ByteSink, finishing: Finishing) -> Mapping[str, object]:
    """The providers of the interfaces that 0.3 has its own way, by name without version."""
    return {
        "wasi:cli/types": object(),
        "wasi:cli/stdin": Stdin(stdin),
        "wasi:cli/stdout": Output(stdout, finishing),
        "wasi:cli/stderr": Output(stderr, finishing),
    }

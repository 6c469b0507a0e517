"""`wasi:cli` 0.3: the standard streams. The rest of the package is in `wasi/command.py`."""

from __future__ import annotations

import errno
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

import anyio
from anyio.abc import ByteReceiveStream

from ...errors import Err
from ..byte_streams import LARGE_PIECE, PIECE, ByteSink, ByteSource


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
    guest leaves unread is there for the next stream."""

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.finished = anyio.Event()
        self.error: OSError | None = None

    async def receive(self, max_bytes: int = PIECE) -> bytes:
        while not self.finished.is_set():
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
        self.finished.set()
        raise anyio.EndOfStream

    async def aclose(self) -> None:
        self.finished.set()

    async def outcome(self) -> None:
        """Waits until the stream ended, failed or was dropped.

        :raises Err: it failed; with the `error-code`
        """
        await self.finished.wait()
        if self.error is not None:
            raise Err(error_code(self.error)) from self.error


class Stdin:
    """`wasi:cli/stdin`."""

    def __init__(self, source: ByteSource) -> None:
        self.source = source

    def read_via_stream(self) -> tuple[StdinStream, Coroutine[Any, Any, None]]:
        stream = StdinStream(self.source)
        return stream, stream.outcome()


class GuestStream(Protocol):
    """A `stream<u8>` that a guest passed."""

    async def read(self, max_count: int, /) -> bytes: ...

    def close(self) -> object: ...


class Output:
    """`wasi:cli/stdout` or `wasi:cli/stderr`."""

    def __init__(self, sink: ByteSink) -> None:
        self.sink = sink

    def write_via_stream(self, data: GuestStream) -> Coroutine[Any, Any, None]:
        return self.drain(data)

    async def drain(self, data: GuestStream) -> None:
        """Writes each piece as it comes, until the guest drops its end.

        :raises Err: writing failed; with the `error-code`
        """
        sink = self.sink
        try:
            while piece := await data.read(LARGE_PIECE):
                done = sink.write_now(piece)
                if done < len(piece):
                    await sink.write(piece[done:])
        except OSError as error:
            raise Err(error_code(error)) from error
        finally:
            data.close()


def interfaces(stdin: ByteSource, stdout: ByteSink, stderr: ByteSink) -> Mapping[str, object]:
    """The providers of the interfaces that 0.3 has its own way, by name without version."""
    return {
        "wasi:cli/types": object(),
        "wasi:cli/stdin": Stdin(stdin),
        "wasi:cli/stdout": Output(stdout),
        "wasi:cli/stderr": Output(stderr),
    }

"""`wasi:io` 0.2: errors, pollables and byte streams.

What other packages build on:

- `Pollable(ready, wait)`: `ready()` tells at once; the coroutine `wait()` returns when that may have changed, can be
  cancelled without loss, and raises no error of the awaited thing (that thing counts as ready).
- `InputStream(source)`, `OutputStream(sink)`: resources over a `ByteSource` or `ByteSink` (`wasi/byte_streams.py`),
  which they close when the guest drops them. An `OSError` becomes `last-operation-failed`.
- `Error(cause)`: the resource `error`; `cause` is the `OSError`, for functions that turn it into their package's code.
- `interfaces()`: the providers of `wasi:io/error`, `wasi:io/poll` and `wasi:io/streams`.

Functions that block in WIT answer at once where they can, and else return a coroutine for the host to await. Nothing
is buffered on the way out: a `write` that the sink can't take whole at once holds the guest until it is written, so a
flush has nothing left to do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any, ClassVar

import anyio
from anyio.lowlevel import checkpoint

from ...errors import Err, trap_if
from ...records import Record
from ..byte_streams import PIECE, ByteSink, ByteSource
from ..later import MaybeLater

BLOCKING_WRITE_LIMIT = 4096
AT_ONCE = 256  # pollables that are asked or waited for before others get their turn


class Error:
    """The resource `error`."""

    def __init__(self, cause: OSError) -> None:
        self.cause = cause

    def to_debug_string(self) -> str:
        return self.cause.strerror or type(self.cause).__name__  # never str(cause): it can name a path of the host


class LastOperationFailed(Record):
    """The case `last-operation-failed` of `stream-error`; the other case is the string "closed"."""

    value: Error
    tag: ClassVar[str] = "last-operation-failed"


class Pollable:
    """The resource `pollable`."""

    def __init__(self, ready: Callable[[], bool], wait: Callable[[], Awaitable[None]]) -> None:
        self.is_ready = ready
        self.wait = wait

    def ready(self) -> bool:
        return self.is_ready()

    def block(self) -> MaybeLater[None]:
        return None if self.ready() else self.block_later()

    async def block_later(self) -> None:
        while not self.ready():
            await self.wait()


def poll(pollables: list[Pollable]) -> MaybeLater[list[int]]:
    """The indices of those that are ready, at least one.

    :raises Trap: the list is empty
    """
    trap_if(not pollables, "wasi:io/poll: the list of pollables is empty")
    distinct = list(dict.fromkeys(pollables))  # a guest may repeat a handle as often as its memory allows
    if len(distinct) <= AT_ONCE and (ready := {pollable for pollable in distinct if pollable.ready()}):
        return indices_of(ready, pollables)
    return poll_later(pollables, distinct)


def indices_of(ready: set[Pollable], pollables: list[Pollable]) -> list[int]:
    return [index for index, pollable in enumerate(pollables) if pollable in ready]


async def poll_later(pollables: list[Pollable], distinct: list[Pollable]) -> list[int]:
    while not (ready := {pollable async for pollable in in_turns(distinct) if pollable.ready()}):
        if len(distinct) == 1:
            await distinct[0].wait()
            continue
        async with anyio.create_task_group() as waiting:

            async def wait_for(pollable: Pollable, first: anyio.CancelScope = waiting.cancel_scope) -> None:
                await pollable.wait()
                first.cancel()

            async for pollable in in_turns(distinct):
                waiting.start_soon(wait_for, pollable)
    return indices_of(ready, pollables)


async def in_turns(pollables: list[Pollable]) -> AsyncIterator[Pollable]:
    """Each of them; others get their turn after every so many."""
    for index, pollable in enumerate(pollables, 1):
        yield pollable
        if index % AT_ONCE == 0:
            await checkpoint()


class InputStream:
    """The resource `input-stream`."""

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.closed = False

    def take(self, length: int) -> bytes | None:
        """Up to `length` bytes, or None when there are none yet.

        :raises Err: a `stream-error`
        """
        if self.closed:
            raise Err("closed")
        if length == 0:
            return b""
        try:
            data = self.source.take(min(length, PIECE))
        except OSError as error:
            self.closed = True
            raise Err(LastOperationFailed(Error(error))) from error
        if data == b"":
            self.closed = True
            raise Err("closed")
        return data

    def read(self, length: int) -> bytes:
        data = self.take(length)
        if data is None:
            self.source.ready()  # which has it fetched, where that doesn't happen by itself
            return b""
        return data

    def blocking_read(self, length: int) -> MaybeLater[bytes]:
        data = self.take(length)
        return self.read_later(length) if data is None else data

    async def read_later(self, length: int) -> bytes:
        while (data := self.take(length)) is None:
            await self.source.wait()
        return data

    def skip(self, length: int) -> int:
        return len(self.read(length))

    def blocking_skip(self, length: int) -> MaybeLater[int]:
        data = self.take(length)
        return self.skip_later(length) if data is None else len(data)

    async def skip_later(self, length: int) -> int:
        return len(await self.read_later(length))

    def ready(self) -> bool:
        return self.closed or self.source.ready()

    def subscribe(self) -> Pollable:
        return Pollable(self.ready, self.source.wait)

    def close(self) -> None:
        self.closed = True
        self.source.close()


class OutputStream:
    """The resource `output-stream`."""

    def __init__(self, sink: ByteSink) -> None:
        self.sink = sink
        self.closed = False
        self.permit = 0  # bytes that `check_write` allowed and `write` has not used yet

    def check_open(self) -> None:
        if self.closed:
            raise Err("closed")

    def failed(self, error: OSError) -> Err:
        self.closed = True
        return Err(LastOperationFailed(Error(error)))

    def check_write(self) -> int:
        self.check_open()
        self.permit = self.sink.room()
        return self.permit

    def write(self, contents: bytes) -> MaybeLater[None]:
        self.use_permit(len(contents))
        return self.write_all(contents)

    def write_zeroes(self, length: int) -> MaybeLater[None]:
        self.use_permit(length)
        return self.write_all(bytes(length))

    def use_permit(self, length: int) -> None:
        self.check_open()
        trap_if(length > self.permit, f"write of {length} bytes, but check-write permits {self.permit}")
        self.permit -= length

    def blocking_write_and_flush(self, contents: bytes) -> MaybeLater[None]:
        self.check_blocking_write(len(contents))
        return self.write_all(contents)

    def blocking_write_zeroes_and_flush(self, length: int) -> MaybeLater[None]:
        self.check_blocking_write(length)
        return self.write_all(bytes(length))

    def check_blocking_write(self, length: int) -> None:
        self.check_open()
        trap_if(length > BLOCKING_WRITE_LIMIT, f"blocking write of {length} bytes: at most {BLOCKING_WRITE_LIMIT}")

    def write_all(self, data: bytes) -> MaybeLater[None]:
        if not data:
            return None
        try:
            done = self.sink.write_now(data)
        except OSError as error:
            raise self.failed(error) from error
        return None if done == len(data) else self.write_later(data[done:])

    async def write_later(self, data: bytes) -> None:
        try:
            await self.sink.write(data)
        except OSError as error:
            raise self.failed(error) from error

    def flush(self) -> None:
        self.check_open()

    def blocking_flush(self) -> None:
        self.check_open()

    def splice(self, source: InputStream, length: int) -> MaybeLater[int]:
        data = source.read(min(self.check_write(), length))
        writing = self.write(data)
        return len(data) if writing is None else self.splice_later(writing, len(data))

    async def splice_later(self, writing: Coroutine[Any, Any, None], length: int) -> int:
        await writing
        return length

    def blocking_splice(self, source: InputStream, length: int) -> MaybeLater[int]:
        if self.ready() and source.ready():
            return self.splice(source, length)
        return self.blocking_splice_later(source, length)

    async def blocking_splice_later(self, source: InputStream, length: int) -> int:
        await Pollable(self.ready, self.sink.wait).block_later()
        await source.subscribe().block_later()
        spliced = self.splice(source, length)
        return spliced if isinstance(spliced, int) else await spliced

    def ready(self) -> bool:
        return self.closed or self.sink.room() > 0

    def subscribe(self) -> Pollable:
        return Pollable(self.ready, self.sink.wait)

    def close(self) -> None:
        self.closed = True
        self.sink.close()


class Errors:
    """`wasi:io/error`."""

    Error = Error


class Poll:
    """`wasi:io/poll`."""

    Pollable = Pollable
    poll = staticmethod(poll)


class Streams:
    """`wasi:io/streams`."""

    InputStream = InputStream
    OutputStream = OutputStream


def interfaces() -> Mapping[str, object]:
    """The providers of the package's interfaces, by name without version."""
    return {"wasi:io/error": Errors(), "wasi:io/poll": Poll(), "wasi:io/streams": Streams()}

"""What a guest's stdin, stdout and stderr can be, as byte sources and sinks.

The process's own are read and written only where that can't block: pipes, sockets and terminals when they are ready,
files (which always are) in a worker thread for reading and at once for writing.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Protocol, TypeAlias

import anyio
import anyio.lowlevel
from anyio.abc import (
    AnyByteReceiveStream,
    AnyByteSendStream,
    ByteReceiveStream,
    ByteSendStream,
    ObjectReceiveStream,
    ObjectSendStream,
)

from .byte_streams import PIECE, ByteSink, ByteSource

STDIN, STDOUT, STDERR = 0, 1, 2


class Stdio(Enum):
    """`Stdio.PROCESS` grants the process's own stream."""

    PROCESS = "process"


class Writer(Protocol):
    """A binary file, or whatever else takes bytes without blocking for long."""

    def write(self, data: bytes, /) -> object: ...


Input: TypeAlias = bytes | Stdio | AnyByteReceiveStream | None
Output: TypeAlias = Stdio | Writer | AnyByteSendStream | None


def input_source(grant: Input) -> ByteSource:
    """A source for what `Wasi.stdin` grants.

    :raises TypeError: it is nothing that can be read
    """
    if grant is None:
        return BytesSource(b"")
    if isinstance(grant, (bytes, bytearray, memoryview)):
        return BytesSource(bytes(grant))
    if grant is Stdio.PROCESS:
        if sys.__stdin__ is None:  # closed
            return BytesSource(b"")
        return PollableSource(STDIN) if is_pollable(STDIN) else file_source(STDIN)
    if isinstance(grant, (ByteReceiveStream, ObjectReceiveStream)):
        return receive_stream_source(grant)
    raise TypeError(f"stdin must be None, bytes, Stdio.PROCESS or an anyio receive stream, not {grant!r}")


def output_sink(grant: Output, fd: int) -> ByteSink:
    """A sink for what `Wasi.stdout` or `Wasi.stderr` grants; `fd` is the process's own.

    :raises TypeError: it is nothing that can be written to
    """
    if grant is None:
        return WriterSink(Discard())
    if grant is Stdio.PROCESS:
        if (sys.__stdout__ if fd == STDOUT else sys.__stderr__) is None:
            return WriterSink(FileWriter(-1))  # closed: the number may belong to another file by now
        return PollableSink(fd) if is_pollable(fd) else WriterSink(FileWriter(fd))
    if isinstance(grant, (ByteSendStream, ObjectSendStream)):
        return SendStreamSink(grant)
    if hasattr(grant, "write") and not isinstance(grant, io.TextIOBase):
        return WriterSink(grant)
    raise TypeError(f"stdout and stderr must be None, Stdio.PROCESS, a binary file or an anyio stream, not {grant!r}")


def is_terminal(grant: object, fd: int) -> bool:
    return grant is Stdio.PROCESS and os.isatty(fd)


def is_pollable(fd: int) -> bool:
    """Whether the event loop can wait for it: not so for files, directories, /dev/null and what is closed."""
    with select.epoll() as epoll:
        try:
            epoll.register(fd)
        except OSError:
            return False
    return True


class BytesSource(ByteSource):
    """Bytes at hand."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)

    def ready(self) -> bool:
        return True

    def take(self, max_count: int) -> bytes:
        return self.file.read(max_count)

    async def wait(self) -> None:
        return


class BufferedSource(ByteSource):
    """Bytes that `fetch` gives piece by piece, b"" at the end. What it raises is raised at each later use."""

    def __init__(self, fetch: Callable[[], Awaitable[bytes]]) -> None:
        self.fetch = fetch
        self.piece = b""
        self.position = 0  # what lies before it in the piece is taken
        self.ended = False
        self.error: OSError | None = None
        self.fetching = anyio.Lock()

    def ready(self) -> bool:
        return self.position < len(self.piece) or self.ended or self.error is not None

    def take(self, max_count: int) -> bytes | None:
        if self.position < len(self.piece):
            taken = self.piece[self.position : self.position + max_count]
            self.position += len(taken)
            return taken
        if self.error is not None:
            raise self.error
        return b"" if self.ended else None

    async def wait(self) -> None:
        async with self.fetching:
            if self.ready():
                return
            try:
                self.piece = await self.fetch()
            except OSError as error:
                self.error = error
            else:
                self.position = 0
                self.ended = not self.piece


def file_source(fd: int) -> BufferedSource:
    from .filesystem import in_thread  # most programs read no file as stdin

    return BufferedSource(lambda: in_thread(os.read, fd, PIECE))


def receive_stream_source(stream: AnyByteReceiveStream) -> BufferedSource:
    async def fetch() -> bytes:
        try:
            while not (piece := await stream.receive()):
                pass  # an empty object is no end
            return piece
        except anyio.EndOfStream:
            return b""
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise OSError(errno.EIO, "the stream is broken") from error

    return BufferedSource(fetch)


class PollableSource(ByteSource):
    """A pipe, socket or terminal. After an end there may be more: a terminal goes on after its end-of-file key."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.poll = select.poll()
        self.poll.register(fd, select.POLLIN)

    def ready(self) -> bool:
        return bool(self.poll.poll(0))

    def take(self, max_count: int) -> bytes | None:
        # Others may read the same file: it is asked again right before each read.
        if not self.ready():
            return None
        try:
            return os.read(self.fd, max_count)
        except BlockingIOError:
            return None

    async def wait(self) -> None:
        with duplicate(self.fd) as fd:
            await anyio.wait_readable(fd)


@contextmanager
def duplicate(fd: int) -> Iterator[int]:
    """A descriptor of its own to wait for: the event loop allows one waiter for each."""
    own = os.dup(fd)
    try:
        yield own
    finally:
        anyio.notify_closing(own)
        os.close(own)


class PollableSink(ByteSink):
    """A pipe, socket or terminal."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        if os.isatty(fd):
            # A terminal has no write that never blocks, unless it is opened anew in that mode.
            try:
                self.fd = os.open(f"/dev/fd/{fd}", os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
            except OSError:
                pass
            else:
                weakref.finalize(self, os.close, self.fd)
        self.poll = select.poll()
        self.poll.register(self.fd, select.POLLOUT)
        self.has_nowait = True  # until the kernel says otherwise of this kind of file

    def room(self) -> int:
        return select.PIPE_BUF if self.poll.poll(0) else 0

    def write_now(self, data: bytes) -> int:
        done = 0
        with memoryview(data) as view:
            while done < len(data):
                try:
                    done += self.write_some(view[done:])
                except BlockingIOError:
                    break
        return done

    def write_some(self, data: memoryview) -> int:
        if self.has_nowait:
            try:
                return os.pwritev(self.fd, [data], -1, os.RWF_NOWAIT)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ESPIPE):
                    raise
                self.has_nowait = False
        # A pipe or socket that is ready takes PIPE_BUF bytes without blocking.
        if not self.poll.poll(0):
            raise BlockingIOError
        return os.write(self.fd, data[: select.PIPE_BUF])

    async def wait(self) -> None:
        with duplicate(self.fd) as fd:
            await anyio.wait_writable(fd)


class WriterSink(ByteSink):
    """An object with `write`. It is flushed after each write, so that output is seen as it is produced."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.flush: Callable[[], object] | None = getattr(writer, "flush", None)

    def room(self) -> int:
        return PIECE

    def write_now(self, data: bytes) -> int:
        try:
            count = self.writer.write(data)
            if self.flush is not None:
                self.flush()
        except ValueError as error:  # what Python's files raise once they are closed
            raise OSError(errno.EBADF, "the stream is closed") from error
        if count is None and isinstance(self.writer, io.RawIOBase):
            return 0  # it would have blocked
        return count if isinstance(count, int) else len(data)

    async def wait(self) -> None:
        await anyio.lowlevel.checkpoint()


class Discard:
    def write(self, data: bytes) -> None:
        return


class FileWriter:
    """A descriptor of the process that is always ready, or an invalid one."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def write(self, data: bytes) -> int:
        return os.write(self.fd, data)


class SendStreamSink(ByteSink):
    """An anyio stream. It tells nothing about its room, so every write is awaited."""

    def __init__(self, stream: AnyByteSendStream) -> None:
        self.stream = stream
        self.sending = anyio.Lock()

    def room(self) -> int:
        return PIECE

    def write_now(self, data: bytes) -> int:
        return 0

    async def wait(self) -> None:
        return

    async def write(self, data: bytes) -> None:
        async with self.sending:
            try:
                await self.stream.send(data)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error

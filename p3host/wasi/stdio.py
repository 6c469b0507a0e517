"""What a guest's stdin, stdout and stderr can be, as byte sources and sinks.

The process's own are read and written only where that can't block: pipes, sockets and terminals when they are ready,
files (which always are) at once, but in a worker thread where a disk has to be read.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import select
import struct
import sys
import termios
import weakref
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from enum import Enum
from mmap import PAGESIZE
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

from .byte_streams import LARGE_PIECE, PIECE, ByteSink, ByteSource, read_now

STDIN, STDOUT, STDERR = 0, 1, 2
NO_NOWAIT = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ESPIPE}  # of a file that can't be used so
RETRY_SECONDS = 0.1  # after which there may be a file descriptor again
INT = struct.Struct("i")


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
        return PollableSource(STDIN) if is_pollable(STDIN) else FileSource(STDIN)
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
        if is_pollable(fd):
            return PollableSink(fd)
        from .filesystem.handles import is_local

        return WriterSink(FileWriter(fd)) if is_local(fd) else ThreadSink(fd)
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
                self.keep(await self.fetch())
            except OSError as error:
                self.error = error

    def keep(self, piece: bytes) -> None:
        self.piece, self.position = piece, 0
        self.ended = not piece


class FileSource(BufferedSource):
    """A file of the process, or what else is always ready. What the kernel has at hand is taken at once, and the rest
    is read in a worker thread."""

    def __init__(self, fd: int) -> None:
        from .filesystem.handles import in_thread  # most programs read no file as stdin

        super().__init__(lambda: in_thread(os.read, fd, LARGE_PIECE))
        self.fd = fd

    def ready(self) -> bool:
        if not super().ready():
            self.fetch_now(PIECE)
        return super().ready()

    def take(self, max_count: int) -> bytes | None:
        if not super().ready():
            self.fetch_now(max_count)
        return super().take(max_count)

    def fetch_now(self, max_count: int) -> None:
        if self.fetching.locked():  # a thread reads
            return
        try:
            self.keep(read_now(self.fd, max_count))
        except BlockingIOError:
            pass
        except OSError as error:
            self.error = error


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
        self.has_nowait = True  # until the kernel says otherwise of this kind of file

    def ready(self) -> bool:
        return bool(self.poll.poll(0))

    def take(self, max_count: int) -> bytes | None:
        try:
            return self.read_nowait(max_count)
        except BlockingIOError:
            return None

    def read_nowait(self, max_count: int) -> bytes:
        if self.has_nowait:  # others may read the same file, so that what was ready is gone a moment later
            buffer = bytearray(max_count)
            try:
                count = os.preadv(self.fd, [buffer], -1, os.RWF_NOWAIT)
                return bytes(memoryview(buffer)[:count])
            except OSError as error:
                if error.errno not in NO_NOWAIT:
                    raise
                self.has_nowait = False
        if not self.ready():
            raise BlockingIOError
        return os.read(self.fd, max_count)

    async def wait(self) -> None:
        await wait_for(self.fd, anyio.wait_readable)


async def wait_for(fd: int, ready: Callable[[int], Awaitable[None]]) -> None:
    """Waits until a file may be ready, by a descriptor of its own: the event loop allows one waiter for each."""
    try:
        own = os.dup(fd)
    except OSError:  # there are too many; the caller asks again
        await anyio.sleep(RETRY_SECONDS)
        return
    try:
        await ready(own)
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
        if not self.poll.poll(0):
            return 0
        return min(max(self.pipe_room(), select.PIPE_BUF), PIECE)

    def pipe_room(self) -> int:
        """What a pipe surely takes: it keeps bytes in pages, of which no two in a row hold less than one page."""
        try:
            size = fcntl.fcntl(self.fd, fcntl.F_GETPIPE_SZ)
            (unread,) = INT.unpack(fcntl.ioctl(self.fd, termios.FIONREAD, bytes(INT.size)))
        except OSError:
            return 0  # it is something else
        return size - (2 * unread + PAGESIZE if unread else 0)

    def write_now(self, data: bytes) -> int:
        done = 0
        rest: bytes | memoryview = data
        while rest:
            try:
                done += self.write_some(rest)
            except BlockingIOError:
                break
            rest = memoryview(data)[done:] if done < len(data) else b""
        return done

    def write_some(self, data: bytes | memoryview) -> int:
        if self.has_nowait:
            try:
                return os.pwritev(self.fd, [data], -1, os.RWF_NOWAIT)
            except OSError as error:
                if error.errno not in NO_NOWAIT:
                    raise
                self.has_nowait = False
        # A pipe or socket that is ready takes PIPE_BUF bytes without blocking.
        if not self.poll.poll(0):
            raise BlockingIOError
        return os.write(self.fd, data[: select.PIPE_BUF])

    async def wait(self) -> None:
        await wait_for(self.fd, anyio.wait_writable)


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


class AwaitedSink(ByteSink):
    """A sink that tells nothing about its room, so that every write is awaited."""

    def room(self) -> int:
        return PIECE

    def write_now(self, data: bytes) -> int:
        return 0

    async def wait(self) -> None:
        return

    @abstractmethod
    async def write(self, data: bytes) -> None: ...


class ThreadSink(AwaitedSink):
    """A file whose disk may be far."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    async def write(self, data: bytes) -> None:
        from .filesystem.handles import in_thread

        done = 0
        while done < len(data):
            done += await in_thread(os.write, self.fd, data[done:])


class SendStreamSink(AwaitedSink):
    """An anyio stream."""

    def __init__(self, stream: AnyByteSendStream) -> None:
        self.stream = stream
        self.sending = anyio.Lock()

    async def write(self, data: bytes) -> None:
        async with self.sending:
            try:
                await self.stream.send(data)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error

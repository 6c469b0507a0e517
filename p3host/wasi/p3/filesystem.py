"""`wasi:filesystem` 0.3."""

from __future__ import annotations

import errno
import stat
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

import anyio
from anyio.abc import ByteReceiveStream
from anyio.lowlevel import checkpoint

from ..clock import Timestamp
from ..descriptors import FAILURES, Preopens
from ..descriptors import Descriptor as SharedDescriptor
from ..filesystem import MAX_READ, DirectoryReader, Filesystem, Handle, in_thread, read_at, write_all
from ..filesystem_types import ERROR_LABELS, TYPE_LABELS, DescriptorFlags, DirectoryEntry
from ..paths import error
from .other import Other


class Bytes(Protocol):
    """A `stream<u8>` from the guest: `read` gives at most `max_count` bytes, and b"" at the end."""

    async def read(self, max_count: int) -> bytes: ...

    def close(self) -> None: ...


class Reading:
    """What the future beside a stream waits for: the stream's end, or the error that ended it."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.ended = anyio.Event()
        self.failure: Exception | None = None

    def end(self, failure: Exception | None = None) -> None:
        if not self.ended.is_set():
            self.failure = failure
            self.ended.set()
            self.release()

    def release(self) -> None:
        """Gives back what the stream held open."""
        raise NotImplementedError

    async def result(self) -> None:
        await self.ended.wait()
        if self.failure is not None:
            raise self.descriptor.failed(self.failure) from self.failure

    async def aclose(self) -> None:
        self.end()


class FileReading(Reading, ByteReceiveStream):
    """The bytes of a file from an offset on, read as they are asked for."""

    def __init__(self, descriptor: Descriptor, offset: int) -> None:
        super().__init__(descriptor)
        self.handle = descriptor.handle.share()
        self.offset = offset

    def release(self) -> None:
        self.handle.close()

    async def receive(self, max_bytes: int = MAX_READ) -> bytes:
        await checkpoint()
        if self.ended.is_set():
            raise anyio.EndOfStream
        try:
            try:
                data = read_at(self.handle, max_bytes, self.offset, True)
            except BlockingIOError:
                data = await in_thread(read_at, self.handle, max_bytes, self.offset, False)
        except FAILURES as failure:
            self.end(failure)
            raise anyio.EndOfStream from failure
        if not data:
            self.end()
            raise anyio.EndOfStream
        self.offset += len(data)
        return data


class DirectoryReading(Reading):
    """The entries of a directory; an async iterator of lists of them. Names that are no text are left out, and fail it
    at its end."""

    def __init__(self, descriptor: Descriptor) -> None:
        super().__init__(descriptor)
        self.reader = DirectoryReader(descriptor.handle)
        self.left_out: UnicodeError | None = None
        if not stat.S_ISDIR(descriptor.mode):
            self.end(error(errno.ENOTDIR))

    def release(self) -> None:
        self.reader.close()

    def __aiter__(self) -> DirectoryReading:
        return self

    async def __anext__(self) -> list[DirectoryEntry]:
        while not self.ended.is_set():
            try:
                entries = await in_thread(self.reader.read)
            except FAILURES as failure:
                self.end(failure)
                break
            if not entries:
                self.end(self.left_out)
            elif found := self.texts(entries):
                return found
        raise StopAsyncIteration

    def texts(self, entries: list[tuple[int, bytes]]) -> list[DirectoryEntry]:
        found: list[DirectoryEntry] = []
        for mode, name in entries:
            try:
                found.append(DirectoryEntry(self.descriptor.descriptor_type(mode), name.decode()))
            except UnicodeError as failure:
                self.left_out = failure
        return found


class Descriptor(SharedDescriptor):
    """The resource `descriptor`."""

    @staticmethod
    def error_code(number: int) -> object:
        return Other() if number == errno.EAGAIN else ERROR_LABELS.get(number) or Other()

    @staticmethod
    def descriptor_type(mode: int) -> object:
        return TYPE_LABELS.get(stat.S_IFMT(mode)) or Other()

    @staticmethod
    def timestamp(nanoseconds: int) -> Timestamp:
        return Timestamp.of(nanoseconds)

    def read_via_stream(self, offset: int) -> tuple[ByteReceiveStream, Coroutine[Any, Any, None]]:
        reading = FileReading(self, offset)
        return reading, reading.result()

    def write_via_stream(self, data: Bytes, offset: int) -> Coroutine[Any, Any, None]:
        return self.write(self.handle.share(), data, offset)

    def append_via_stream(self, data: Bytes) -> Coroutine[Any, Any, None]:
        return self.write(self.handle.share(), data, None)

    async def write(self, handle: Handle, data: Bytes, offset: int | None) -> None:
        """Writes what comes until the stream ends, at the file's end where `offset` is None. It closes both."""
        try:
            if DescriptorFlags.WRITE not in self.flags:
                raise error(errno.EBADF)
            while piece := await data.read(MAX_READ):
                await in_thread(write_all, handle, piece, offset)
                if offset is not None:
                    offset += len(piece)
        except FAILURES as failure:
            raise self.failed(failure) from failure
        finally:
            data.close()
            handle.close()

    def read_directory(self) -> tuple[DirectoryReading, Coroutine[Any, Any, None]]:
        reading = DirectoryReading(self)
        return reading, reading.result()


class Types:
    """`wasi:filesystem/types`."""

    Descriptor = Descriptor


def interfaces(filesystem: Filesystem) -> Mapping[str, object]:
    """The providers of the package's interfaces, by name without version."""
    return {"wasi:filesystem/types": Types(), "wasi:filesystem/preopens": Preopens(filesystem, Descriptor)}

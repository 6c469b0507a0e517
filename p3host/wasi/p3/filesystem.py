"""`wasi:filesystem` 0.3."""

from __future__ import annotations

import errno
import stat
from collections.abc import Mapping
from functools import partial

import anyio
from anyio.abc import ByteReceiveStream

from ..clock import Timestamp
from ..filesystem.descriptors import FAILURES, Preopens
from ..filesystem.descriptors import Descriptor as SharedDescriptor
from ..filesystem.handles import MAX_READ, DirectoryReader, FileStream, Filesystem, in_thread, read_at, write_all
from ..filesystem.paths import error
from ..filesystem.types import ERROR_LABELS, TYPE_LABELS, DescriptorFlags, DirectoryEntry
from ..promise import NOTHING, Promise
from .draining import Draining, GuestStream, drain
from .other import Other


class Reading:
    """A stream, and `outcome`, the future beside it: that it has ended, or the error that ended it."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.ended = False
        self.outcome: Promise[None] = Promise()

    def end(self, failure: Exception | None = None) -> None:
        if not self.ended:
            self.ended = True
            self.release()
            self.outcome.settle(NOTHING if failure is None else self.descriptor.failed(failure))

    def release(self) -> None:
        """Gives back what the stream held open."""
        raise NotImplementedError

    async def aclose(self) -> None:
        self.end()


class FileReading(Reading, ByteReceiveStream):
    """The bytes of a file from an offset on, read as they are asked for."""

    def __init__(self, descriptor: Descriptor, offset: int) -> None:
        super().__init__(descriptor)
        self.handle = descriptor.handle
        self.offset = offset
        self.stream: FileStream | None = None
        try:
            self.stream = FileStream(self.handle)
        except OSError as failure:
            self.end(failure)

    def release(self) -> None:
        if self.stream is not None:
            self.stream.close()

    async def receive(self, max_bytes: int = MAX_READ) -> bytes:
        if self.ended:
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
        while not self.ended:
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

    def read_via_stream(self, offset: int) -> tuple[FileReading, Promise[None]]:
        reading = FileReading(self, offset)
        return reading, reading.outcome

    def write_via_stream(self, data: GuestStream, offset: int) -> Draining:
        return Draining(data, partial(self.write, self.output_stream(), data, offset))

    def append_via_stream(self, data: GuestStream) -> Draining:
        return Draining(data, partial(self.write, self.output_stream(), data, None))

    def output_stream(self) -> FileStream | OSError:
        """Or why there can be none."""
        try:
            if DescriptorFlags.WRITE not in self.flags:
                raise error(errno.EBADF)
            return FileStream(self.handle)
        except OSError as failure:
            return failure

    async def write(self, stream: FileStream | OSError, data: GuestStream, offset: int | None) -> None:
        """Writes what comes until the stream ends, at the file's end where `offset` is None. It closes both."""

        async def write_piece(piece: bytes) -> None:
            nonlocal offset
            assert isinstance(stream, FileStream)
            await in_thread(write_all, stream.handle, piece, offset)
            if offset is not None:
                offset += len(piece)

        try:
            if isinstance(stream, OSError):
                raise stream
            await drain(data, MAX_READ, write_piece, stream.handle.filesystem.finishing)
        except FAILURES as failure:
            raise self.failed(failure) from failure
        finally:
            data.close()
            if isinstance(stream, FileStream):
                stream.close()

    def read_directory(self) -> tuple[DirectoryReading, Promise[None]]:
        reading = DirectoryReading(self)
        return reading, reading.outcome


class Types:
    """`wasi:filesystem/types`."""

    Descriptor = Descriptor


def interfaces(filesystem: Filesystem) -> Mapping[str, object]:
    """The providers of the package's interfaces, by name without version."""
    return {"wasi:filesystem/types": Types(), "wasi:filesystem/preopens": Preopens(filesystem, Descriptor)}

"""`wasi:filesystem` 0.2."""

from __future__ import annotations

import errno
import stat
from collections import deque
from collections.abc import Coroutine, Mapping
from typing import Any, ClassVar

from ..background import Background
from ..byte_streams import LARGE_PIECE, PIECE, ByteSink, ByteSource
from ..clock import Timestamp
from ..filesystem.brief_work import Work
from ..filesystem.descriptors import Descriptor as SharedDescriptor
from ..filesystem.descriptors import Preopens
from ..filesystem.handles import (
    DirectoryReader,
    FileStream,
    Filesystem,
    Handle,
    in_thread,
    read_at,
    write_all,
    write_some,
)
from ..filesystem.paths import error
from ..filesystem.types import ERROR_LABELS, TYPE_LABELS, DescriptorFlags, DirectoryEntry
from ..later import MaybeLater
from .fetching import FetchingSource
from .io import Error, InputStream, OutputStream

WARY_WRITES = 8  # a slow disk keeps the event loop from its turns for a small part of the time at most


class FileSource(ByteSource):
    """A file's bytes from an offset on. What the kernel has at hand is ready; `wait` gets the rest from the disk."""

    def __init__(self, handle: Handle, offset: int) -> None:
        self.handle = handle
        self.stream = FileStream(handle)
        self.offset = offset
        self.piece: bytes | None = None  # what `wait` found at `offset`
        self.failure: OSError | None = None

    def ready(self) -> bool:
        if self.piece is not None or self.failure is not None:
            return True
        try:
            read_at(self.handle, 1, self.offset, True)
        except BlockingIOError:
            return False
        except OSError:
            pass  # `take` raises it
        return True

    def take(self, max_count: int) -> bytes | None:
        if self.failure is not None:
            raise self.failure
        if self.piece is None:
            try:
                taken = read_at(self.handle, max_count, self.offset, True)
            except BlockingIOError:
                return None
        else:
            taken = self.piece[:max_count]
            self.piece = self.piece[max_count:] or None
        self.offset += len(taken)
        return taken

    async def wait(self) -> None:
        if self.ready():
            return
        offset = self.offset
        try:
            piece = await in_thread(read_at, self.handle, PIECE, offset, False)
        except OSError as failure:
            self.failure = failure
        else:
            if self.offset == offset:  # no other waiter's piece was taken meanwhile
                self.piece = piece

    def close(self) -> None:
        self.stream.close()


class FileSink(ByteSink):
    """Writes to a file from an offset on, or always at its end where that is None."""

    def __init__(self, handle: Handle, offset: int | None) -> None:
        self.handle = handle
        self.stream = FileStream(handle)
        self.offset = offset
        self.writing: Work[None] | None = None  # what `write_now` has begun and `write` is to wait for
        self.wary = 0  # how many writes more the event loop does not wait for, as one was slow

    def room(self) -> int:
        return LARGE_PIECE

    def write_now(self, data: bytes) -> int:
        self.writing = self.begin(data)
        if self.wary:
            self.wary -= 1
            return 0
        if not self.writing.is_done_soon():
            self.wary = WARY_WRITES
            return 0
        self.end(self.writing, data)
        return len(data)

    async def wait(self) -> None:
        return

    async def write(self, data: bytes) -> None:
        writing = self.writing or self.begin(data)
        await writing.wait()
        self.end(writing, data)

    def begin(self, data: bytes) -> Work[None]:
        return Work(write_all, self.handle, data, self.offset)

    def end(self, writing: Work[None], data: bytes) -> None:
        self.writing = None
        writing.result()
        if self.offset is not None:
            self.offset += len(data)

    def close(self) -> None:
        self.stream.close()


class DirectoryEntryStream:
    """The resource `directory-entry-stream`."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.reader = DirectoryReader(descriptor.handle)
        self.entries: deque[tuple[int, bytes]] = deque()
        self.ended = False

    def read_directory_entry(self) -> MaybeLater[DirectoryEntry | None]:
        if self.entries or self.ended:
            return self.next_entry()
        return self.read_more()

    async def read_more(self) -> DirectoryEntry | None:
        self.entries += await self.descriptor.later(self.reader.read)
        self.ended = not self.entries
        return self.next_entry()

    def next_entry(self) -> DirectoryEntry | None:
        if not self.entries:
            return None
        mode, name = self.entries.popleft()
        try:
            return DirectoryEntry(self.descriptor.descriptor_type(mode), name.decode())
        except UnicodeError as failure:
            raise self.descriptor.failed(failure) from failure

    def close(self) -> None:
        self.reader.close()


class Descriptor(SharedDescriptor):
    """The resource `descriptor`. Each instantiation has a subclass of it, which knows its `background`."""

    background: ClassVar[Background]

    @staticmethod
    def error_code(number: int) -> object:
        return ERROR_LABELS.get(number, "io")

    @staticmethod
    def descriptor_type(mode: int) -> object:
        return TYPE_LABELS.get(stat.S_IFMT(mode), "unknown")

    @staticmethod
    def timestamp(nanoseconds: int) -> Timestamp | None:
        """None before 1970, which `datetime` can't express."""
        return Timestamp.of(nanoseconds) if nanoseconds >= 0 else None

    def read_via_stream(self, offset: int) -> InputStream:
        try:
            if stat.S_ISDIR(self.mode):
                raise error(errno.EISDIR)
            return InputStream(FetchingSource(FileSource(self.handle, offset), self.background))
        except OSError as failure:
            raise self.failed(failure) from failure

    def write_via_stream(self, offset: int) -> OutputStream:
        return self.output_stream(offset)

    def append_via_stream(self) -> OutputStream:
        return self.output_stream(None)

    def output_stream(self, offset: int | None) -> OutputStream:
        try:
            if DescriptorFlags.WRITE not in self.flags:
                raise error(errno.EBADF)
            return OutputStream(FileSink(self.handle, offset))
        except OSError as failure:
            raise self.failed(failure) from failure

    def read(self, length: int, offset: int) -> MaybeLater[tuple[bytes, bool]]:
        def work(cached: bool) -> tuple[bytes, bool]:
            data = read_at(self.handle, length, offset, cached)
            return data, length > 0 and not data

        return self.promptly(work)

    def write(self, buffer: bytes, offset: int) -> Coroutine[Any, Any, int]:
        return self.later(write_some, self.handle, buffer, offset)

    def read_directory(self) -> DirectoryEntryStream:
        if not stat.S_ISDIR(self.mode):
            raise self.failed(error(errno.ENOTDIR))
        return DirectoryEntryStream(self)


class Types:
    """`wasi:filesystem/types`."""

    DirectoryEntryStream = DirectoryEntryStream

    def __init__(self, background: Background) -> None:
        self.Descriptor = type("Descriptor", (Descriptor,), {"background": background})

    @staticmethod
    def filesystem_error_code(failure: Error) -> object | None:
        return ERROR_LABELS.get(failure.cause.errno or 0)


def interfaces(filesystem: Filesystem, background: Background) -> Mapping[str, object]:
    """The providers of the package's interfaces, by name without version."""
    types = Types(background)
    return {"wasi:filesystem/types": types, "wasi:filesystem/preopens": Preopens(filesystem, types.Descriptor)}

"""Granted directories and what a guest has open of them: what the filesystems of WASI 0.2 and 0.3 stand on.

Functions that take `cached` answer at once where the kernel has everything at hand, and otherwise raise EAGAIN; the
caller calls them again without, in a worker thread (`in_thread`). All errors are `OSError`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar
from weakref import WeakSet

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from ..background import Finishing
from ..byte_streams import LARGE_PIECE, read_now
from .directory import Directory
from .paths import error, libc

T = TypeVar("T")

MAX_FILESIZE = (1 << 63) - 1  # what the system calls can express of the WIT's u64
MAX_READ = LARGE_PIECE  # bytes that one read takes at most, whatever the guest asks for
ENTRIES_AT_ONCE = 256
WORKER_THREADS = 16
STREAMS_PER_FILE = 4  # each may hold a piece in the host's memory

LOCAL_FILESYSTEMS = {  # by `f_type` of statfs: those whose metadata needs no server
    0xEF53,  # ext2, ext3, ext4
    0x58465342,  # xfs
    0x9123683E,  # btrfs
    0xF2F52010,  # f2fs
    0x2FC12FC1,  # zfs
    0x01021994,  # tmpfs
    0x794C7630,  # overlayfs
}


class Filesystem:
    """The directories granted to one instantiation, and the count of what it has open.

    A guest that has `max_open` files and directories open gets `insufficient-memory` for one more; so does one that has
    `STREAMS_PER_FILE` times as many streams of files.
    """

    def __init__(
        self, directories: Sequence[Directory] = (), *, max_open: int = 256, finishing: Finishing | None = None
    ) -> None:
        self.directories = tuple(directories)
        self.finishing = finishing or Finishing()
        self.max_open = max_open
        self.open_count = 0
        self.streams: WeakSet[FileStream] = WeakSet()
        self.lock = threading.RLock()  # a handle that is collected within a block of it is closed there

    def open(self, opener: Callable[[], int]) -> Handle:
        """Counts and keeps the file descriptor that `opener` returns."""
        with self.lock:
            if self.open_count >= self.max_open:
                raise error(errno.EMFILE)
            self.open_count += 1
        try:
            fd = opener()
        except BaseException:
            self.closed_one()
            raise
        return Handle(self, fd)

    def closed_one(self) -> None:
        with self.lock:
            self.open_count -= 1


class Handle:
    """An open file descriptor. It is closed when its last owner has closed it and no thread uses it any more."""

    def __init__(self, filesystem: Filesystem, fd: int) -> None:
        self.filesystem = filesystem
        self.fd = fd
        self.users = 1
        self.local = is_local(fd)

    @contextmanager
    def use(self) -> Iterator[int]:
        """The file descriptor, which stays open meanwhile."""
        self.share()
        try:
            yield self.fd
        finally:
            self.close()

    def share(self) -> Handle:
        """Another owner of this handle, who closes it too."""
        with self.filesystem.lock:
            if not self.users:
                raise error(errno.EBADF)
            self.users += 1
        return self

    def close(self) -> None:
        with self.filesystem.lock:
            self.users -= 1
            if self.users:
                return
        if self.closes_slowly:
            try:
                threading.Thread(target=self.release, daemon=True).start()
                return
            except RuntimeError:
                pass  # no thread can be had
        self.release()

    @property
    def closes_slowly(self) -> bool:
        """Whether closing may have to write back what a server hasn't got yet, or to free what a deleted file took."""
        if not self.local:
            return True
        try:
            status = os.fstat(self.fd)
        except OSError:  # somebody else has closed it
            return False
        return status.st_nlink == 0 and stat.S_ISREG(status.st_mode)

    def release(self) -> None:
        try:
            os.close(self.fd)
        except OSError:
            pass  # the descriptor is gone all the same, and nobody is left to be told
        self.filesystem.closed_one()

    def __del__(self) -> None:
        if self.users:  # its owner was abandoned before it could take it
            self.users = 1
            self.close()


class FileStream:
    """A stream that reads or writes a file, which it keeps open.

    :raises OSError: EMFILE where there are too many
    """

    def __init__(self, handle: Handle) -> None:
        filesystem = handle.filesystem
        if len(filesystem.streams) >= filesystem.max_open * STREAMS_PER_FILE:
            raise error(errno.EMFILE)
        self.handle = handle.share()
        filesystem.streams.add(self)

    def close(self) -> None:
        self.handle.filesystem.streams.discard(self)
        self.handle.close()


def is_local(fd: int) -> bool:
    buffer = ctypes.create_string_buffer(256)
    return libc.fstatfs(fd, buffer) == 0 and struct.unpack_from("=q", buffer)[0] & 0xFFFFFFFF in LOCAL_FILESYSTEMS


threads: RunVar[anyio.CapacityLimiter] = RunVar("p3host filesystem threads")


async def in_thread(work: Callable[..., T], *args: object) -> T:
    """Runs `work` in one of a bounded number of worker threads. It is never abandoned half-done."""
    limiter = threads.get(None)
    if limiter is None:
        limiter = anyio.CapacityLimiter(WORKER_THREADS)
        threads.set(limiter)
    return await anyio.to_thread.run_sync(work, *args, limiter=limiter)


def check_filesize(value: int) -> int:
    if value > MAX_FILESIZE:
        raise error(errno.EINVAL)
    return value


def read_at(handle: Handle, size: int, offset: int, cached: bool) -> bytes:
    """Up to `size` bytes, none at the end of the file. With `cached`, EAGAIN where a disk would have to be read."""
    check_filesize(offset)
    with handle.use() as fd:
        if not cached:
            return os.pread(fd, min(size, MAX_READ), offset)
        return read_now(fd, size, offset)


def write_some(handle: Handle, data: bytes | memoryview, offset: int | None) -> int:
    """Writes at `offset`, or at the end of the file where that is None. Gives how many bytes, at least one."""
    check_filesize(offset or 0)
    with handle.use() as fd:
        count = os.pwritev(fd, [data], 0, os.RWF_APPEND) if offset is None else os.pwrite(fd, data, offset)
    if data and not count:
        raise error(errno.EIO)
    return count


def write_all(handle: Handle, data: bytes, offset: int | None) -> None:
    """Writes all of it. What was written before an error stays."""
    rest = memoryview(data)
    while rest:
        count = write_some(handle, rest, offset)
        rest = rest[count:]
        if offset is not None:
            offset += count


class DirectoryReader:
    """Reads a directory from its start, some entries at a time; independent of other readers."""

    def __init__(self, directory: Handle) -> None:
        self.directory = directory.share()
        self.lock = directory.filesystem.lock
        self.handle: Handle | None = None
        self.entries: Iterator[os.DirEntry[str]] | None = None
        self.reading = False
        self.closed = False

    def read(self) -> list[tuple[int, bytes]]:
        """Mode and name of the next entries; none at the end. It may block. Of the mode only the type is given."""
        with self.lock:
            if self.closed:
                raise error(errno.EBADF)
            self.reading = True
        try:
            return self.read_entries()
        finally:
            with self.lock:
                self.reading = False
            if self.closed:
                self.release()

    def read_entries(self) -> list[tuple[int, bytes]]:
        if self.handle is None:
            fd = self.directory.fd
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            self.handle = self.directory.filesystem.open(lambda: os.open(b".", flags, dir_fd=fd))
            self.entries = os.scandir(self.handle.fd)
        assert self.entries is not None
        found: list[tuple[int, bytes]] = []
        for entry in self.entries:
            try:
                found.append((entry_type(entry), os.fsencode(entry.name)))
            except FileNotFoundError:
                continue
            if len(found) == ENTRIES_AT_ONCE:
                break
        return found

    def close(self) -> None:
        """A read that is under way in a thread is left to end first."""
        with self.lock:
            closed, self.closed = self.closed, True
            if closed or self.reading:
                return
        self.release()

    def release(self) -> None:
        close = getattr(self.entries, "close", None)
        if close is not None:
            close()
        if self.handle is not None:
            self.handle.close()
        self.directory.close()


def entry_type(entry: os.DirEntry[str]) -> int:
    """Without asking the disk, where the directory itself says it. 0 where that may not be known."""
    if entry.is_symlink():
        return stat.S_IFLNK
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    try:
        return stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
    except PermissionError:
        return 0

"""The resource `descriptor`, as far as WASI 0.2 and 0.3 agree on it, and `wasi:filesystem/preopens`.

A descriptor's methods are named as in the WIT. One that may have to wait for a disk answers at once where the kernel
has everything at hand on a local filesystem, and otherwise returns a coroutine that works in a worker thread. What
the guest or the disk does wrong is raised as `Err` with the error code of the WIT.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from enum import Enum, Flag
from functools import partial
from typing import Any, TypeVar

from ...errors import Err
from ..clock import Timestamp
from ..later import MaybeLater
from .handles import MAX_FILESIZE, Filesystem, Handle, check_filesize, in_thread
from .paths import encode, entry_beneath, error, libc, link_target, open_beneath, open_granted, parent_beneath
from .types import (
    ADVICE,
    DESCRIPTOR_FLAG_LABELS,
    OPEN_FLAG_BITS,
    SYNC_FLAGS,
    DescriptorFlags,
    DescriptorStat,
    MetadataHashValue,
    OpenFlags,
    PathFlags,
)

T = TypeVar("T")

OPEN_FLAGS = os.O_NOCTTY | os.O_NONBLOCK  # nonblocking: pipes and devices must not hold a thread
UTIME_NOW = (1 << 30) - 1
UTIME_OMIT = (1 << 30) - 2
AT_SYMLINK_NOFOLLOW = 0x100
FAILURES = (OSError, OverflowError, UnicodeError)


def error_number(failure: Exception) -> int:
    """The errno of one of `FAILURES`; 0, which is none, where it has none."""
    if isinstance(failure, OSError):
        return failure.errno or 0
    return errno.EOVERFLOW if isinstance(failure, OverflowError) else errno.EILSEQ


class Descriptor(ABC):
    """An open file or directory.

    Whether a guest may change anything through it is decided by the granted directory that it was reached through
    (`writable`), not by its own `mutate-directory` flag: the C library opens directories without it, and then makes
    and removes entries in them.
    """

    def __init__(self, handle: Handle, mode: int, flags: DescriptorFlags, writable: bool) -> None:
        self.handle = handle
        self.mode = mode
        self.flags = flags
        self.writable = writable
        self.closed = False

    @staticmethod
    @abstractmethod
    def error_code(number: int) -> object:
        """The `error-code` for an errno."""

    @staticmethod
    @abstractmethod
    def descriptor_type(mode: int) -> object:
        """The `descriptor-type` for a file's mode."""

    @staticmethod
    @abstractmethod
    def timestamp(nanoseconds: int) -> Timestamp | None:
        """A time of a file, in nanoseconds since 1970."""

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.handle.close()

    # How the methods work: promptly or later, and with errors of the WIT.

    def failed(self, failure: Exception) -> Err:
        return Err(self.error_code(error_number(failure)))

    def promptly(self, work: Callable[[bool], T]) -> MaybeLater[T]:
        """Calls `work(True)`, which may raise EAGAIN; then, or where the disk may be far, `work(False)` in a thread."""
        if self.handle.local:
            try:
                return work(True)
            except BlockingIOError:
                pass
            except FAILURES as failure:
                raise self.failed(failure) from failure
        return self.later(work, False)

    async def later(self, work: Callable[..., T], *args: object) -> T:
        try:
            return await in_thread(work, *args)
        except FAILURES as failure:
            raise self.failed(failure) from failure

    @contextmanager
    def directory(self, *, change: bool = False) -> Iterator[int]:
        """This directory's file descriptor; with `change`, EROFS unless entries in it may be changed."""
        if not stat.S_ISDIR(self.mode):
            raise error(errno.ENOTDIR)
        if change and not self.writable:
            raise error(errno.EROFS)
        with self.handle.use() as fd:
            yield fd

    # Of the open file or directory itself

    def get_flags(self) -> frozenset[str]:
        return frozenset(label for flag, label in DESCRIPTOR_FLAG_LABELS.items() if flag in self.flags)

    def get_type(self) -> object:
        return self.descriptor_type(self.mode)

    def stat(self) -> MaybeLater[DescriptorStat]:
        return self.promptly(lambda cached: self.descriptor_stat(self.status()))

    def status(self) -> os.stat_result:
        with self.handle.use() as fd:
            return os.fstat(fd)

    def descriptor_stat(self, status: os.stat_result) -> DescriptorStat:
        return DescriptorStat(
            self.descriptor_type(status.st_mode),
            status.st_nlink,
            status.st_size,
            self.timestamp(status.st_atime_ns),
            self.timestamp(status.st_mtime_ns),
            self.timestamp(status.st_ctime_ns),
        )

    def metadata_hash(self) -> MaybeLater[MetadataHashValue]:
        return self.promptly(lambda cached: hash_of(self.status()))

    def is_same_object(self, other: Descriptor) -> MaybeLater[bool]:
        def work(cached: bool) -> bool:
            return os.path.samestat(self.status(), other.status())

        return self.promptly(work) if other.handle.local else self.later(work, False)

    def advise(self, offset: int, length: int, advice: Enum | str) -> Coroutine[Any, Any, None]:
        def work() -> None:
            if stat.S_ISDIR(self.mode):
                raise error(errno.EBADF)
            label = advice if isinstance(advice, str) else advice.value
            with self.handle.use() as fd:
                os.posix_fadvise(fd, check_filesize(offset), check_filesize(length), ADVICE[label])

        return self.later(work)

    def set_size(self, size: int) -> Coroutine[Any, Any, None]:
        def work() -> None:
            with self.handle.use() as fd:
                os.ftruncate(fd, check_filesize(size))

        return self.later(work)

    def set_times(self, accessed: Any, modified: Any) -> Coroutine[Any, Any, None]:
        def work() -> None:
            if not self.writable:
                raise error(errno.EROFS)
            with self.handle.use() as fd:
                set_times(fd, None, timespecs(accessed, modified))

        return self.later(work)

    def sync(self) -> Coroutine[Any, Any, None]:
        return self.later(self.synchronize, os.fsync)

    def sync_data(self) -> Coroutine[Any, Any, None]:
        return self.later(self.synchronize, os.fdatasync)

    def synchronize(self, system_call: Callable[[int], None]) -> None:
        if DescriptorFlags.WRITE in self.flags or (stat.S_ISDIR(self.mode) and self.writable):
            with self.handle.use() as fd:
                system_call(fd)

    # Of what is beneath the directory

    def status_at(self, path_flags: Flag, path: str, cached: bool) -> os.stat_result:
        with self.directory() as fd:
            flags = os.O_PATH if follows(path_flags) else os.O_PATH | os.O_NOFOLLOW
            found = open_beneath(fd, encode(path), flags, cached=cached)
            try:
                return os.fstat(found)
            finally:
                os.close(found)

    def stat_at(self, path_flags: Flag, path: str) -> MaybeLater[DescriptorStat]:
        return self.promptly(lambda cached: self.descriptor_stat(self.status_at(path_flags, path, cached)))

    def metadata_hash_at(self, path_flags: Flag, path: str) -> MaybeLater[MetadataHashValue]:
        return self.promptly(lambda cached: hash_of(self.status_at(path_flags, path, cached)))

    def readlink_at(self, path: str) -> MaybeLater[str]:
        def work(cached: bool) -> str:
            with self.directory() as fd:
                target = link_target(fd, encode(path), cached=cached)
            if target.startswith(b"/"):
                raise error(errno.EPERM)
            return target.decode()

        return self.promptly(work)

    def open_at(self, path_flags: Flag, path: str, open_flags: Flag, flags: Flag) -> MaybeLater[Descriptor]:
        how, wanted = OpenFlags(open_flags.value), DescriptorFlags(flags.value)
        changes = bool(how & (OpenFlags.CREATE | OpenFlags.TRUNCATE))
        writes = changes or DescriptorFlags.WRITE in wanted
        reads = DescriptorFlags.READ in wanted or DescriptorFlags.WRITE not in wanted
        system_flags = OPEN_FLAGS | (os.O_RDONLY if not writes else os.O_RDWR if reads else os.O_WRONLY)
        if not follows(path_flags):
            system_flags |= os.O_NOFOLLOW
        for flag, system_flag in OPEN_FLAG_BITS.items():
            if flag in how:
                system_flags |= system_flag
        if OpenFlags.CREATE not in how:
            system_flags &= ~os.O_EXCL
        for sync_flag, system_flag in SYNC_FLAGS.items():
            if sync_flag in wanted:
                system_flags |= system_flag

        def work(cached: bool) -> Descriptor:
            with self.directory(change=writes or DescriptorFlags.MUTATE_DIRECTORY in wanted) as fd:
                encoded = encode(path)
                if changes and OpenFlags.DIRECTORY in how:
                    raise error(errno.EINVAL)
                handle = self.handle.filesystem.open(lambda: open_beneath(fd, encoded, system_flags, cached=cached))
                mode = os.fstat(handle.fd).st_mode
            granted = wanted & ~DescriptorFlags.MUTATE_DIRECTORY
            if stat.S_ISDIR(mode):
                granted = wanted
            if reads:
                granted |= DescriptorFlags.READ
            if writes:
                granted |= DescriptorFlags.WRITE
            return type(self)(handle, mode, granted, self.writable)

        return self.promptly(work)

    def set_times_at(self, path_flags: Flag, path: str, accessed: Any, modified: Any) -> Coroutine[Any, Any, None]:
        def work() -> None:
            with self.directory(change=True) as fd:
                encoded, times = encode(path), timespecs(accessed, modified)
                try:
                    with entry_beneath(fd, encoded, follow=follows(path_flags)) as (parent, name):
                        set_times(parent, name, times)
                except IsADirectoryError:
                    found = open_beneath(fd, encoded, os.O_RDONLY | os.O_DIRECTORY)
                    try:
                        set_times(found, None, times)
                    finally:
                        os.close(found)

        return self.later(work)

    def create_directory_at(self, path: str) -> Coroutine[Any, Any, None]:
        def work() -> None:
            with self.directory(change=True) as fd, parent_beneath(fd, encode(path)) as (parent, name):
                os.mkdir(name, dir_fd=parent)

        return self.later(work)

    def remove_directory_at(self, path: str) -> Coroutine[Any, Any, None]:
        def work() -> None:
            with self.directory(change=True) as fd, parent_beneath(fd, encode(path)) as (parent, name):
                os.rmdir(name, dir_fd=parent)

        return self.later(work)

    def unlink_file_at(self, path: str) -> Coroutine[Any, Any, None]:
        def work() -> None:
            with self.directory(change=True) as fd, parent_beneath(fd, encode(path)) as (parent, name):
                os.unlink(name, dir_fd=parent)

        return self.later(work)

    def symlink_at(self, old_path: str, new_path: str) -> Coroutine[Any, Any, None]:
        def work() -> None:
            target = encode(old_path)
            with self.directory(change=True) as fd, parent_beneath(fd, encode(new_path)) as (parent, name):
                os.symlink(target, name, dir_fd=parent)

        return self.later(work)

    def rename_at(self, old_path: str, new_descriptor: Descriptor, new_path: str) -> Coroutine[Any, Any, None]:
        def work() -> None:
            with (
                self.directory(change=True) as old_fd,
                new_descriptor.directory(change=True) as new_fd,
                parent_beneath(old_fd, encode(old_path)) as (old_parent, old_name),
                parent_beneath(new_fd, encode(new_path)) as (new_parent, new_name),
            ):
                os.rename(old_name, new_name, src_dir_fd=old_parent, dst_dir_fd=new_parent)

        return self.later(work)

    def link_at(
        self, old_path_flags: Flag, old_path: str, new_descriptor: Descriptor, new_path: str
    ) -> Coroutine[Any, Any, None]:
        def work() -> None:
            with self.directory(change=True) as old_fd, new_descriptor.directory(change=True) as new_fd:
                try:
                    with (
                        entry_beneath(old_fd, encode(old_path), follow=follows(old_path_flags)) as (parent, name),
                        parent_beneath(new_fd, encode(new_path)) as (new_parent, new_name),
                    ):
                        os.link(name, new_name, src_dir_fd=parent, dst_dir_fd=new_parent, follow_symlinks=False)
                except IsADirectoryError:
                    raise error(errno.EPERM) from None

        return self.later(work)


class Preopens:
    """`wasi:filesystem/preopens`."""

    def __init__(self, filesystem: Filesystem, descriptor: type[Descriptor]) -> None:
        self.filesystem = filesystem
        self.descriptor = descriptor

    def get_directories(self) -> MaybeLater[list[tuple[Descriptor, str]]]:
        """The granted directories, opened anew at each call.

        :raises OSError: one of them can't be opened any more; ELOOP or ENOTDIR where a link has taken its place
        """
        return in_thread(self.open_directories) if self.filesystem.directories else []

    def open_directories(self) -> list[tuple[Descriptor, str]]:
        opened: list[tuple[Descriptor, str]] = []
        for directory in self.filesystem.directories:
            handle = self.filesystem.open(partial(open_granted, os.fsencode(directory.host_path)))
            flags = DescriptorFlags.READ
            if directory.writable:
                flags |= DescriptorFlags.MUTATE_DIRECTORY
            mode = os.fstat(handle.fd).st_mode
            opened.append((self.descriptor(handle, mode, flags, directory.writable), directory.guest_path))
        return opened


def follows(path_flags: Flag) -> bool:
    return bool(path_flags.value & PathFlags.SYMLINK_FOLLOW.value)


def hash_of(status: os.stat_result) -> MetadataHashValue:
    """The same as long as the file is the same and unmodified, on any run."""
    from hashlib import blake2b  # which loads all of OpenSSL

    identity = repr((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
    lower, upper = struct.unpack("=QQ", blake2b(identity.encode(), digest_size=16).digest())
    return MetadataHashValue(lower, upper)


def timespecs(*times: Any) -> bytes:
    """Two `new-timestamp`s as the `struct timespec[2]` of utimensat."""
    packed = b""
    for time in times:
        tag = time if isinstance(time, str) else time.tag
        if tag == "timestamp":
            seconds, nanoseconds = time.value.seconds, time.value.nanoseconds
            if nanoseconds >= 1_000_000_000:
                raise error(errno.EINVAL)
            if seconds > MAX_FILESIZE:
                raise error(errno.EOVERFLOW)
        else:
            seconds, nanoseconds = 0, UTIME_NOW if tag == "now" else UTIME_OMIT
        packed += struct.pack("=qq", seconds, nanoseconds)
    return packed


def set_times(directory: int, name: bytes | None, times: bytes) -> None:
    """Of the entry `name`, which isn't followed, or of `directory` itself, which may be a file then."""
    if name is None:
        failed = libc.futimens(directory, times)
    else:
        failed = libc.utimensat(directory, name, times, AT_SYMLINK_NOFOLLOW)
    if failed:
        raise error(ctypes.get_errno())

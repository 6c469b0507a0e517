"""Opening a guest's paths beneath a directory, and nowhere else.

Every function takes the descriptor of a directory and a path from the guest, and raises `OSError`: EPERM for a path
that is absolute or leaves the directory, by `..` or by a symbolic link, at any step of its resolution. On Linux 5.6
and newer the kernel resolves (openat2); elsewhere `open_by_steps` does, and follows links by hand. No path is checked
first and used later: what is opened is what was resolved.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

OPENAT2 = 437  # the system call's number, the same on every architecture that wasmtime runs on
AT_FDCWD = -100
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_CACHED = 0x20

DIRECTORY_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
LINK_FLAGS = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

MAX_PATH = 4096  # bytes, as the kernel's PATH_MAX
MAX_LINKS = 40  # as the kernel's own limit
MAX_DEPTH = 128  # directories that `open_by_steps` holds open
MAX_ATTEMPTS = 16  # of a resolution by the kernel that a rename elsewhere disturbed

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t]
libc.syscall.restype = ctypes.c_long


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def encode(path: str) -> bytes:
    """The path as bytes, refused where no directory could have an entry of that path."""
    encoded = path.encode()
    if not encoded:
        raise error(errno.ENOENT)
    if b"\0" in encoded:
        raise error(errno.EINVAL)
    if encoded.startswith(b"/"):
        raise error(errno.EPERM)
    if len(encoded) >= MAX_PATH:
        raise error(errno.ENAMETOOLONG)
    return encoded


def openat2(directory: int, path: bytes, flags: int, mode: int, resolve: int) -> int:
    how = struct.pack("=QQQ", flags, mode if flags & os.O_CREAT else 0, resolve)
    fd: int = libc.syscall(OPENAT2, directory, path, how, len(how))
    if fd < 0:
        raise error(ctypes.get_errno())
    return fd


@cache
def kernel_resolves(resolve: int) -> bool:
    """Whether this kernel, and what filters its system calls, know openat2 with these `RESOLVE_` flags."""
    try:
        os.close(openat2(AT_FDCWD, b".", DIRECTORY_FLAGS, 0, resolve))
    except OSError as e:
        return e.errno == errno.EAGAIN
    return True


def open_beneath(directory: int, path: bytes, flags: int, mode: int = 0o666, *, cached: bool = False) -> int:
    """Opens `path` beneath `directory`, following a symbolic link at its end unless `flags` has O_NOFOLLOW.

    With `cached` nothing waits for a disk: it raises EAGAIN where the kernel doesn't have the whole path at hand, on
    the same mount as `directory`. Call it again without, where it may block.
    """
    flags |= os.O_CLOEXEC
    if cached:
        resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV | RESOLVE_CACHED
        if not kernel_resolves(resolve) or flags & (os.O_CREAT | os.O_TRUNC):
            raise error(errno.EAGAIN)
        try:
            return openat2(directory, path, flags, mode, resolve)
        except OSError as e:
            raise error(errno.EAGAIN) if e.errno in (errno.EXDEV, errno.EINTR) else e from None
    if kernel_resolves(RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS):
        for _ in range(MAX_ATTEMPTS):
            try:
                return openat2(directory, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
            except OSError as e:
                if e.errno == errno.EXDEV:
                    raise error(errno.EPERM) from None
                if e.errno not in (errno.EAGAIN, errno.EINTR):
                    raise
    return open_by_steps(directory, path, flags, mode)


def open_granted(path: bytes) -> int:
    """Opens a directory by its absolute path. ELOOP or ENOTDIR where anything in it is a symbolic link: one that was
    none when the directory was granted may have been made by a guest, to which a directory above it was granted."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    if kernel_resolves(RESOLVE_NO_SYMLINKS):
        return openat2(AT_FDCWD, path, flags, 0, RESOLVE_NO_SYMLINKS)
    fd = os.open(b"/", DIRECTORY_FLAGS)
    names = components(path)
    while names:
        name = names.pop()
        here, fd = fd, -1
        try:
            fd = os.open(name, (DIRECTORY_FLAGS if names else flags) | os.O_NOFOLLOW, dir_fd=here)
        finally:
            os.close(here)
    return fd


def open_by_steps(directory: int, path: bytes, flags: int, mode: int = 0o666) -> int:
    """`open_beneath` without the kernel's help: opens one component after the other and follows no link but by hand.

    `..` goes back to the directory that the path came from, which is held open: it is never looked up.
    """
    trail: list[int] = []  # the open directories below `directory`, outermost first
    pending = components(path)  # what is left to resolve, the next one last
    links = 0
    follow_last = not flags & os.O_NOFOLLOW and flags & (os.O_CREAT | os.O_EXCL) != os.O_CREAT | os.O_EXCL
    must_be_directory = path.endswith(b"/")
    try:
        while True:
            name = pending.pop()
            last = not pending
            here = trail[-1] if trail else directory
            if name == b"..":
                if not trail:
                    raise error(errno.EPERM)
                os.close(trail.pop())
                here, name = (trail[-1] if trail else directory), b"."
            elif name != b".":
                target = read_link(here, name) if not last or must_be_directory or follow_last else None
                if target is not None:
                    links += 1
                    if links > MAX_LINKS:
                        raise error(errno.ELOOP)
                    if target.startswith(b"/"):
                        raise error(errno.EPERM)
                    must_be_directory |= last and target.endswith(b"/")
                    pending += components(target)
                    continue
            if last:
                if must_be_directory:
                    if flags & os.O_CREAT:
                        raise error(errno.EISDIR)
                    flags |= os.O_DIRECTORY
                return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=here)
            if name != b".":
                if len(trail) == MAX_DEPTH:
                    raise error(errno.ENAMETOOLONG)
                trail.append(os.open(name, DIRECTORY_FLAGS | os.O_NOFOLLOW, dir_fd=here))
    finally:
        for fd in trail:
            os.close(fd)


def components(path: bytes) -> list[bytes]:
    """The components of a path, the first one last; `.` stands for a path without any."""
    return [component for component in reversed(path.split(b"/")) if component] or [b"."]


def read_link(directory: int, name: bytes) -> bytes | None:
    """The target of the symbolic link `name`, a single component, or None where that is none."""
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError as e:
        if e.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def link_target(directory: int, path: bytes, *, cached: bool = False) -> bytes:
    """The target of the symbolic link at `path`. EINVAL where that is none."""
    fd = open_beneath(directory, path, LINK_FLAGS, cached=cached)
    try:
        if not stat.S_ISLNK(os.fstat(fd).st_mode):
            raise error(errno.EINVAL)
        return os.readlink(b"", dir_fd=fd)
    finally:
        os.close(fd)


def split(path: bytes) -> tuple[bytes, bytes]:
    """A path's directory and its last component; trailing slashes stay with the component."""
    body = path.rstrip(b"/")
    parent, _, name = body.rpartition(b"/")
    return parent, name + path[len(body) :]


@contextmanager
def parent_beneath(directory: int, path: bytes) -> Iterator[tuple[int, bytes]]:
    """The open directory that `path` has its last component in, and that component, for the system calls that make,
    rename or remove an entry.

    Those calls follow no link at the end, and do nothing with `.` and `..` but fail. A component that ends in a slash
    is only good for them: others would follow it.
    """
    parent, name = split(path)
    if name.rstrip(b"/") in (b".", b"..") or name.endswith(b"/"):
        try:
            os.close(open_beneath(directory, path, DIRECTORY_FLAGS))
        except FileNotFoundError:
            pass
    if not parent:
        yield directory, name
        return
    fd = open_beneath(directory, parent, DIRECTORY_FLAGS)
    try:
        yield fd, name
    finally:
        os.close(fd)


@contextmanager
def entry_beneath(directory: int, path: bytes, *, follow: bool) -> Iterator[tuple[int, bytes]]:
    """The open directory and the name of an existing entry that isn't `.` or `..`, for system calls that are told not
    to follow a link. With `follow`, links at the end are followed first, each beneath `directory`.

    EISDIR where the path can only be that of a directory: open that instead.
    """
    for _ in range(MAX_LINKS):
        parent, name = split(path)
        if name.endswith(b"/") or name in (b".", b".."):
            os.close(open_beneath(directory, path, DIRECTORY_FLAGS))
            raise error(errno.EISDIR)
        fd = open_beneath(directory, parent or b".", DIRECTORY_FLAGS)
        try:
            target = read_link(fd, name) if follow else None
            if target is None:
                yield fd, name
                return
        finally:
            os.close(fd)
        if target.startswith(b"/"):
            raise error(errno.EPERM)
        path = parent + b"/" + target if parent else target
        if len(path) >= MAX_PATH:
            raise error(errno.ENAMETOOLONG)
    raise error(errno.ELOOP)

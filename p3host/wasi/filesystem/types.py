"""The values of `wasi:filesystem/types` that WASI 0.2 and 0.3 share, and their counterparts in the operating system."""

from __future__ import annotations

import errno
import os
import stat
from enum import Flag, auto
from typing import Any

from ...records import Record
from ..clock import Timestamp

ERROR_LABELS = {
    errno.EACCES: "access",
    errno.EAGAIN: "would-block",
    errno.EALREADY: "already",
    errno.EBADF: "bad-descriptor",
    errno.EBUSY: "busy",
    errno.EDEADLK: "deadlock",
    errno.EDQUOT: "quota",
    errno.EEXIST: "exist",
    errno.EFBIG: "file-too-large",
    errno.EILSEQ: "illegal-byte-sequence",
    errno.EINPROGRESS: "in-progress",
    errno.EINTR: "interrupted",
    errno.EINVAL: "invalid",
    errno.EIO: "io",
    errno.EISDIR: "is-directory",
    errno.ELOOP: "loop",
    errno.EMFILE: "insufficient-memory",
    errno.EMLINK: "too-many-links",
    errno.EMSGSIZE: "message-size",
    errno.ENAMETOOLONG: "name-too-long",
    errno.ENFILE: "insufficient-memory",
    errno.ENODEV: "no-device",
    errno.ENOENT: "no-entry",
    errno.ENOLCK: "no-lock",
    errno.ENOMEM: "insufficient-memory",
    errno.ENOSPC: "insufficient-space",
    errno.ENOSYS: "unsupported",
    errno.ENOTDIR: "not-directory",
    errno.ENOTEMPTY: "not-empty",
    errno.ENOTRECOVERABLE: "not-recoverable",
    errno.ENOTSUP: "unsupported",
    errno.ENOTTY: "no-tty",
    errno.ENXIO: "no-such-device",
    errno.EOVERFLOW: "overflow",
    errno.EPERM: "not-permitted",
    errno.EPIPE: "pipe",
    errno.EROFS: "read-only",
    errno.ESPIPE: "invalid-seek",
    errno.ETXTBSY: "text-file-busy",
    errno.EXDEV: "cross-device",
}

TYPE_LABELS = {
    stat.S_IFBLK: "block-device",
    stat.S_IFCHR: "character-device",
    stat.S_IFDIR: "directory",
    stat.S_IFIFO: "fifo",
    stat.S_IFLNK: "symbolic-link",
    stat.S_IFREG: "regular-file",
    stat.S_IFSOCK: "socket",
}

ADVICE = {
    "normal": os.POSIX_FADV_NORMAL,
    "sequential": os.POSIX_FADV_SEQUENTIAL,
    "random": os.POSIX_FADV_RANDOM,
    "will-need": os.POSIX_FADV_WILLNEED,
    "dont-need": os.POSIX_FADV_DONTNEED,
    "no-reuse": os.POSIX_FADV_NOREUSE,
}


class DescriptorFlags(Flag):
    """`descriptor-flags`, the bits in the order of the WIT."""

    READ = auto()
    WRITE = auto()
    FILE_INTEGRITY_SYNC = auto()
    DATA_INTEGRITY_SYNC = auto()
    REQUESTED_WRITE_SYNC = auto()
    MUTATE_DIRECTORY = auto()


class PathFlags(Flag):
    SYMLINK_FOLLOW = auto()


class OpenFlags(Flag):
    CREATE = auto()
    DIRECTORY = auto()
    EXCLUSIVE = auto()
    TRUNCATE = auto()


DESCRIPTOR_FLAG_LABELS = {flag: str(flag.name).lower().replace("_", "-") for flag in DescriptorFlags}

OPEN_FLAG_BITS = {
    OpenFlags.CREATE: os.O_CREAT,
    OpenFlags.DIRECTORY: os.O_DIRECTORY,
    OpenFlags.EXCLUSIVE: os.O_EXCL,
    OpenFlags.TRUNCATE: os.O_TRUNC,
}

SYNC_FLAGS = {
    DescriptorFlags.FILE_INTEGRITY_SYNC: os.O_SYNC,
    DescriptorFlags.DATA_INTEGRITY_SYNC: os.O_DSYNC,
    DescriptorFlags.REQUESTED_WRITE_SYNC: os.O_RSYNC,
}


class DescriptorStat(Record):
    """`descriptor-stat`; the size is in bytes."""

    type: Any
    link_count: int
    size: int
    data_access_timestamp: Timestamp | None
    data_modification_timestamp: Timestamp | None
    status_change_timestamp: Timestamp | None


class DirectoryEntry(Record):
    type: Any
    name: str


class MetadataHashValue(Record):
    lower: int
    upper: int

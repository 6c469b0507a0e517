"""The grant of a directory."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ...errors import LinkError


@dataclass(frozen=True)
class Directory:
    """A directory of the host that a guest gets, as `guest_path`; read-only unless `writable`. Whatever is mounted
    beneath it belongs to it: with `/`, a guest gets /proc too, and so the environment and memory of this process.

    A relative `host_path` is taken from the working directory of now, and symbolic links in it are followed now: what
    they lead to is granted. LinkError where that is no directory.
    """

    host_path: str | os.PathLike[str]
    guest_path: str
    writable: bool = False

    def __post_init__(self) -> None:
        host_path = os.path.realpath(self.host_path)
        object.__setattr__(self, "host_path", host_path)
        if not os.path.isdir(host_path):
            raise LinkError([f"can't grant {host_path!r} as {self.guest_path!r}: it is no directory; create it first"])
        if not self.guest_path or "\0" in self.guest_path or not is_unicode(self.guest_path):
            raise LinkError(
                [f"can't grant {host_path!r} as {self.guest_path!r}: name a path for the guest, as '/data'"]
            )


def is_unicode(text: str) -> bool:
    """Whether it is a string of WIT. Python has lone surrogates in those that stand for bytes which are no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

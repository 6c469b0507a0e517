"""Where bytes come from and where they go: what `wasi:io` streams, stdio and open files stand on, in both worlds.

A source or sink never blocks the event loop: its plain methods answer at once, its coroutines wait. The errors of the
outside world are `OSError`, and nothing else is.
"""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod

PIECE = 65536  # the most bytes that one operation moves
LARGE_PIECE = 1 << 18  # and the most where it costs a turn of the event loop, or a thread
OWN_POSITION = -1


def read_now(fd: int, size: int, offset: int = OWN_POSITION) -> bytes:
    """Up to `size` bytes, and no more than `LARGE_PIECE`, at `offset` of a file or where its descriptor stands.

    :raises BlockingIOError: a disk would have to be read, or may have to
    """
    buffer = bytearray(min(size, LARGE_PIECE))
    try:
        count = os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
    except OSError as failure:
        if failure.errno == errno.EOPNOTSUPP:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
        raise
    return bytes(memoryview(buffer)[:count])


class ByteSource(ABC):
    """Bytes to read, in order."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether `take` has an answer: bytes, the end or an error."""

    @abstractmethod
    def take(self, max_count: int) -> bytes | None:
        """1 to `max_count` bytes, b"" at the end, or None when there are none yet. `max_count` is at least 1.

        :raises OSError: reading failed
        """

    @abstractmethod
    async def wait(self) -> None:
        """Waits until `take` may have an answer. Can be cancelled at any time, and then loses nothing. An error of
        the source is left for `take` to raise."""

    def close(self) -> None:
        """The stream that was made of this source is gone. Sources that outlive a stream leave this as it is."""
        return


class ByteSink(ABC):
    """A destination for bytes."""

    @abstractmethod
    def room(self) -> int:
        """How many bytes may be offered now, 0 to `LARGE_PIECE`; an error of the sink counts as room."""

    @abstractmethod
    def write_now(self, data: bytes) -> int:
        """Writes as much from the start of `data` as it can without waiting, and returns how many bytes that was.

        :raises OSError: writing failed
        """

    @abstractmethod
    async def wait(self) -> None:
        """Waits until there may be room. Can be cancelled at any time."""

    async def write(self, data: bytes) -> None:
        """Writes all of `data`. Cancelling it leaves open how much was written.

        :raises OSError: writing failed
        """
        done = 0
        while (done := done + self.write_now(data[done:] if done else data)) < len(data):
            await self.wait()

    def close(self) -> None:
        """The stream that was made of this sink is gone. Sinks that outlive a stream leave this as it is."""
        return

"""The two directions of a TCP connection, as a byte source and a byte sink. Each keeps the socket open until it is
closed itself."""

from __future__ import annotations

import errno
import socket
import struct

from ..byte_streams import LARGE_PIECE, PIECE, ByteSink, ByteSource
from ..filesystem.paths import error
from .handles import READ, WRITE, SocketHandle
from .tcp import CONNECTION_ERRORS

MAX_READ = LARGE_PIECE  # bytes that one read takes at most, whatever the guest asks for
SAFE_ROOM = 4096  # bytes, where the kernel doesn't tell how full its buffer is

SO_MEMINFO = 55
MEMINFO = struct.Struct("9I")
MEMINFO_SNDBUF, MEMINFO_WMEM_QUEUED = 3, 5


class TcpSource(ByteSource):
    def __init__(self, handle: SocketHandle) -> None:
        self.handle = handle.share()

    def ready(self) -> bool:
        return self.handle.ready(READ)

    def take(self, max_count: int) -> bytes | None:
        try:
            data = self.handle.socket.recv(min(max_count, MAX_READ))
        except BlockingIOError:
            return None
        if not data and self.handle.broken_by:
            raise error(self.handle.broken_by)
        return data

    async def wait(self) -> None:
        await self.handle.wait(READ)

    def shut(self) -> None:
        """Nothing more is wanted."""
        try:
            self.handle.socket.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # nobody wants to know either

    def close(self) -> None:
        self.handle.close()


class TcpSink(ByteSink):
    def __init__(self, handle: SocketHandle) -> None:
        self.handle = handle.share()

    def room(self) -> int:
        """What the kernel takes at once. It takes a segment whole if its buffer is not full when the segment begins,
        so half of what is free is certain."""
        if not self.handle.ready(WRITE):
            return 0
        try:
            numbers = MEMINFO.unpack(self.handle.socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO.size))
        except (OSError, struct.error):
            return SAFE_ROOM
        free = numbers[MEMINFO_SNDBUF] - numbers[MEMINFO_WMEM_QUEUED]
        room: int = min(max(1, free // 2), PIECE)
        return room

    def write_now(self, data: bytes) -> int:
        done = 0
        with memoryview(data) as view:
            while done < len(data):
                try:
                    done += self.handle.socket.send(view[done:], socket.MSG_NOSIGNAL)
                except BlockingIOError:
                    break
                except OSError as failure:
                    self.broke(failure.errno)
                    raise
        return done

    def broke(self, number: int | None) -> None:
        """EPIPE says only that there was an end, and it may have been the peer's."""
        if number in CONNECTION_ERRORS:
            self.handle.broken_by = number

    async def wait(self) -> None:
        await self.handle.wait(WRITE)

    def finish(self) -> None:
        """The peer gets the end of the stream.

        :raises OSError: the connection is gone
        """
        opened = self.handle.socket
        try:
            opened.shutdown(socket.SHUT_WR)
        except OSError as failure:
            if failure.errno != errno.ENOTCONN:
                raise
            number = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.EPIPE
            self.broke(number)
            raise error(number) from failure

    def close(self) -> None:
        self.handle.close()

"""What TCP and UDP sockets, of WASI 0.2 and of 0.3, have in common.

The operating system's sockets never block. Errors of the operating system are `OSError`; where a guest sees them, a
version's `ErrorCodes` make `Err` of them. Error codes that both versions have are raised as `Err` at once.
"""

from __future__ import annotations

import errno
import select
import socket
from enum import Enum
from typing import ClassVar
from weakref import WeakSet

import anyio

from ...errors import Err
from ..filesystem.paths import error
from .addresses import FAMILY_LABELS, Endpoint, family_of
from .network import Network, Operation

READ, WRITE = select.POLLIN, select.POLLOUT
MAX_BUFFER = (1 << 31) - 1  # what the system call can express; the system has a lower limit of its own

ERROR_LABELS = {
    errno.EACCES: "access-denied",
    errno.EPERM: "access-denied",
    errno.EOPNOTSUPP: "not-supported",
    errno.ENOPROTOOPT: "not-supported",
    errno.EPFNOSUPPORT: "not-supported",
    errno.EPROTONOSUPPORT: "not-supported",
    errno.ESOCKTNOSUPPORT: "not-supported",
    errno.EINVAL: "invalid-argument",
    errno.EDESTADDRREQ: "invalid-argument",
    errno.EAFNOSUPPORT: "invalid-argument",
    errno.ENOMEM: "out-of-memory",
    errno.ENOBUFS: "out-of-memory",
    errno.ETIMEDOUT: "timeout",
    errno.EBADF: "invalid-state",
    errno.EISCONN: "invalid-state",
    errno.ENOTCONN: "invalid-state",
    errno.EADDRNOTAVAIL: "address-not-bindable",
    errno.ENODEV: "address-not-bindable",  # its scope is no interface
    errno.EADDRINUSE: "address-in-use",
    errno.EHOSTDOWN: "remote-unreachable",
    errno.EHOSTUNREACH: "remote-unreachable",
    errno.ENETDOWN: "remote-unreachable",
    errno.ENETUNREACH: "remote-unreachable",
    errno.ENONET: "remote-unreachable",
    errno.ECONNREFUSED: "connection-refused",
    errno.ECONNRESET: "connection-reset",
    errno.ECONNABORTED: "connection-aborted",
    errno.EMSGSIZE: "datagram-too-large",
}


class ErrorCodes:
    """One version's error codes: a context in which each `OSError` becomes `Err`."""

    def __init__(self, labels: dict[int, str], other: object) -> None:
        self.labels = ERROR_LABELS | labels
        self.other = other

    def failed(self, failure: Exception) -> Err:
        if isinstance(failure, OSError):
            return Err(self.labels.get(failure.errno or 0, self.other))
        assert isinstance(failure, Err)
        return failure

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, failure: BaseException | None, traceback: object) -> None:
        if isinstance(failure, OSError):
            raise self.failed(failure) from failure


class Sockets:
    """What one instantiation may reach of the network, and the sockets that it has open."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.handles: WeakSet[SocketHandle] = WeakSet()
        self.closed_one: anyio.Event | None = None

    def check(self, operation: Operation, endpoint: Endpoint) -> None:
        if not self.network.allows(operation, endpoint):
            raise Err("access-denied")

    @property
    def is_full(self) -> bool:
        return len(self.handles) >= self.network.max_sockets

    def open(self, address_family: Enum | str, kind: int) -> SocketHandle:
        """A new socket; `kind` is `SOCK_STREAM` or `SOCK_DGRAM`.

        :raises Err: `access-denied` where no use of it could be allowed, or `not-supported`
        :raises OSError: EMFILE where there are too many, here or in the process
        """
        operations: tuple[Operation, ...] = ("tcp_connect", "tcp_bind")
        if kind == socket.SOCK_DGRAM:
            operations = ("udp_send", "udp_bind")
        if not self.network.allows_any(*operations):
            raise Err("access-denied")
        if self.is_full:
            raise error(errno.EMFILE)
        family = family_of(address_family)
        try:
            opened = SystemSocket(family, kind)
        except OSError as failure:
            raise Err("not-supported") if failure.errno == errno.EAFNOSUPPORT else failure from failure
        handle = SocketHandle(self, opened)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        return handle

    async def wait_for_room(self) -> None:
        while self.is_full:
            if self.closed_one is None:
                self.closed_one = anyio.Event()
            await self.closed_one.wait()

    def closed(self, handle: SocketHandle) -> None:
        self.handles.discard(handle)
        event, self.closed_one = self.closed_one, None
        if event is not None:
            event.set()


class SystemSocket(socket.socket):
    """Closes itself where its owners were abandoned before they could."""

    def __del__(self) -> None:
        if self.fileno() >= 0:
            self.close()


class SocketHandle:
    """A socket of the operating system. It is closed when its last owner has closed it."""

    def __init__(self, sockets: Sockets, opened: SystemSocket) -> None:
        self.sockets = sockets
        self.socket = opened
        self.users = 1
        self.waiting = 0
        self.broken_by = 0  # the errno that ended the connection; the kernel tells it to the first who asks
        self.reading = anyio.Lock()
        self.writing = anyio.Lock()
        sockets.handles.add(self)
        opened.setblocking(False)

    def share(self) -> SocketHandle:
        """Another owner of this handle, who closes it too."""
        assert self.users
        self.users += 1
        return self

    def close(self) -> None:
        self.users -= 1
        if not self.users:
            if self.waiting:
                anyio.notify_closing(self.socket)
            self.socket.close()
            self.sockets.closed(self)

    def ready(self, event: int) -> bool:
        """Whether it can be read from or written to at once (`READ`, `WRITE`), if only to learn of an error."""
        if not self.users:
            return True
        poll = select.poll()
        poll.register(self.socket, event)
        return bool(poll.poll(0))

    async def wait(self, event: int) -> None:
        """Waits until it may be ready, or is closed. Can be cancelled at any time."""
        wait, lock = (anyio.wait_readable, self.reading) if event == READ else (anyio.wait_writable, self.writing)
        async with lock:  # the event loop allows one waiter for each
            if self.ready(event):
                return
            self.waiting += 1
            try:
                await wait(self.socket)
            except anyio.ClosedResourceError:
                pass
            finally:
                self.waiting -= 1


class Socket:
    """The base of the resources `tcp-socket` and `udp-socket`.

    Methods that are the same in both versions are named as in the WIT of 0.3.
    """

    errors: ClassVar[ErrorCodes]

    def __init__(self, handle: SocketHandle) -> None:
        self.handle = handle
        self.family: int = handle.socket.family
        self.closed = False

    @property
    def sockets(self) -> Sockets:
        return self.handle.sockets

    @property
    def system_socket(self) -> socket.socket:
        """
        :raises Err: `invalid-state`, once it is closed
        """
        if self.closed:
            raise Err("invalid-state")
        return self.handle.socket

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.handle.close()

    def bound_endpoint(self) -> Endpoint:
        return Endpoint.of(self.system_socket.getsockname())

    def get_address_family(self) -> str:
        return FAMILY_LABELS[socket.AddressFamily(self.family)]

    # Options

    def get_option(self, level: int, name: int) -> int:
        with self.errors:
            return self.system_socket.getsockopt(level, name)

    def set_option(self, level: int, name: int, value: int, limit: int) -> None:
        """Sets what the guest asks for, or the nearest to it that there is; 0 is none."""
        if value == 0:
            raise Err("invalid-argument")
        with self.errors:
            self.system_socket.setsockopt(level, name, min(value, limit))

    @property
    def hop_limit_option(self) -> tuple[int, int]:
        if self.family == socket.AF_INET:
            return socket.IPPROTO_IP, socket.IP_TTL
        return socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS

    def get_hop_limit(self) -> int:
        return self.get_option(*self.hop_limit_option)

    def set_hop_limit(self, value: int) -> None:
        self.set_option(*self.hop_limit_option, value, 255)

    # The kernel doubles the sizes it is given, for its own bookkeeping.

    def get_receive_buffer_size(self) -> int:
        return self.get_option(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2

    def set_receive_buffer_size(self, value: int) -> None:
        self.set_option(socket.SOL_SOCKET, socket.SO_RCVBUF, value, MAX_BUFFER)

    def get_send_buffer_size(self) -> int:
        return self.get_option(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2

    def set_send_buffer_size(self, value: int) -> None:
        self.set_option(socket.SOL_SOCKET, socket.SO_SNDBUF, value, MAX_BUFFER)

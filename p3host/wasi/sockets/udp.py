"""The resource `udp-socket`, as far as WASI 0.2 and 0.3 agree on it."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct

from ...errors import Err
from ..filesystem.paths import error, libc
from .addresses import UNSPECIFIED, Endpoint, check_local, check_remote
from .handles import Socket, SocketHandle

MAX_DATAGRAM = 65535  # bytes; the system's limit is a little lower
DATAGRAMS_AT_ONCE = 16  # that one call looks at; others get their turn after that
NO_ADDRESS = struct.pack("=H14x", socket.AF_UNSPEC)

libc.connect.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
libc.connect.restype = ctypes.c_int


class UdpSocket(Socket):
    """The base of both versions' resources."""

    def __init__(self, handle: SocketHandle) -> None:
        super().__init__(handle)
        self.is_bound = False
        self.hears_everyone = False
        self.remote: Endpoint | None = None

    # What the two versions make their methods of

    def bind_now(self, local: Endpoint) -> None:
        if self.is_bound:
            raise Err("invalid-state")
        check_local(local, self.family)
        hears_everyone = self.check_grant(local)
        self.system_socket.bind(local.sockaddr())
        self.is_bound = True
        self.hears_everyone = hears_everyone

    def check_grant(self, local: Endpoint) -> bool:
        """Whether it may be bound there, and if so, whether it hears everyone or only those it may send to."""
        network = self.sockets.network
        if network.allows("udp_bind", local):
            return True
        if local == Endpoint(UNSPECIFIED[self.family], 0) and network.allows_any("udp_send"):
            return False
        raise Err("access-denied")

    def bind_implicitly(self) -> None:
        if not self.is_bound:
            self.bind_now(Endpoint(UNSPECIFIED[self.family], 0))

    def connect_now(self, remote: Endpoint) -> None:
        """Connects a socket that is bound. If it fails, the socket is connected where it was before."""
        check_remote(remote, self.family)
        self.sockets.check("udp_send", remote)
        self.bind_implicitly()
        before = self.remote
        if before is not None:
            self.disconnect_now()
        try:
            self.connect_system_socket(remote)
        except OSError as failure:
            if before is not None:
                self.connect_system_socket(before)
            raise error(errno.EADDRINUSE) if failure.errno == errno.EADDRNOTAVAIL else failure from failure

    def connect_system_socket(self, remote: Endpoint) -> None:
        self.system_socket.connect(remote.sockaddr())
        self.remote = remote

    def disconnect_now(self) -> None:
        if self.remote is None:
            raise Err("invalid-state")
        port = self.bound_endpoint().port
        if libc.connect(self.system_socket.fileno(), NO_ADDRESS, len(NO_ADDRESS)):
            raise error(ctypes.get_errno())
        self.remote = None
        left = self.bound_endpoint()
        if left.port != port:  # the system takes back a port that it chose
            self.system_socket.bind(left._replace(port=port).sockaddr())

    def destination(self, remote: Endpoint | None) -> Endpoint:
        """Where a datagram goes that names `remote` or nothing, if it may go there."""
        if remote is not None:
            check_remote(remote, self.family)
            if self.remote not in (None, remote):
                raise Err("invalid-argument")
        remote = remote or self.remote
        if remote is None:
            raise Err("invalid-argument")
        self.sockets.check("udp_send", remote)
        return remote

    def send_now(self, data: bytes, remote: Endpoint) -> None:
        """`remote` is what `destination` gave.

        :raises BlockingIOError: there is no room yet
        """
        if len(data) > MAX_DATAGRAM:
            raise error(errno.EMSGSIZE)
        if self.remote is None:
            self.handle.socket.sendto(data, remote.sockaddr())
        elif self.remote == remote:
            self.handle.socket.send(data)
        else:  # it was connected elsewhere since
            raise Err("invalid-argument")

    def receive_now(self) -> tuple[bytes, Endpoint]:
        """
        :raises BlockingIOError: there is none yet, or none but for others
        """
        for _ in range(DATAGRAMS_AT_ONCE):
            data, sender = self.handle.socket.recvfrom(MAX_DATAGRAM)
            peer = Endpoint.of(sender)
            if self.hears(peer):
                return data, peer
        raise error(errno.EAGAIN)

    def hears(self, peer: Endpoint) -> bool:
        if self.remote is not None:  # datagrams of others may have come before it was connected
            return (peer.ip, peer.port) == (self.remote.ip, self.remote.port)
        return self.hears_everyone or self.sockets.network.allows("udp_send", peer)

    # Methods

    def get_local_address(self) -> object:
        if not self.is_bound:
            raise Err("invalid-state")
        with self.errors:
            return self.bound_endpoint().to_wit()

    def get_remote_address(self) -> object:
        if self.remote is None:
            raise Err("invalid-state")
        return self.remote.to_wit()

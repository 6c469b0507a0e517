"""The sockets of an instantiation, peers for them, and short ways to call them. All traffic is on the loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import anyio
from wasi_fakes import finish

from p3host.wasi.p2 import sockets as p2
from p3host.wasi.p3 import sockets as p3
from p3host.wasi.sockets.handles import Sockets
from p3host.wasi.sockets.network import Network

LOCALHOST = {"ipv4": "127.0.0.1", "ipv6": "::1"}
ANY = {"ipv4": "0.0.0.0", "ipv6": "::"}
OTHER = {"ipv4": "ipv6", "ipv6": "ipv4"}
FAMILIES = ("ipv4", "ipv6")
VERSIONS = ("p2", "p3")
TRAFFIC = Network.all()


def address(host: str, port: int, flow_info: int = 0, scope_id: int = 0) -> Any:
    """An `ip-socket-address` as a guest gives it."""
    if ":" not in host:
        value = SimpleNamespace(port=port, address=tuple(socket.inet_pton(socket.AF_INET, host)))
        return SimpleNamespace(tag="ipv4", value=value)
    packed = socket.inet_pton(socket.AF_INET6, host)
    parts = tuple(int.from_bytes(packed[i : i + 2], "big") for i in range(0, 16, 2))
    value = SimpleNamespace(port=port, flow_info=flow_info, address=parts, scope_id=scope_id)
    return SimpleNamespace(tag="ipv6", value=value)


class Guest:
    """What one instantiation has of the network, in WASI 0.2 or 0.3, called as its version calls it."""

    def __init__(self, version: str, network: Network = TRAFFIC) -> None:
        self.version = version
        self.sockets = Sockets(network)
        self.interfaces: Any = (p2 if version == "p2" else p3).interfaces(self.sockets)

    def tcp(self, family: str = "ipv4") -> Any:
        if self.version == "p3":
            return self.interfaces["wasi:sockets/types"].TcpSocket.create(family)
        return self.interfaces["wasi:sockets/tcp-create-socket"].create_tcp_socket(family)

    def udp(self, family: str = "ipv4") -> Any:
        if self.version == "p3":
            return self.interfaces["wasi:sockets/types"].UdpSocket.create(family)
        return self.interfaces["wasi:sockets/udp-create-socket"].create_udp_socket(family)

    def bind(self, opened: Any, local: Any) -> None:
        if self.version == "p3":
            opened.bind(local)
        else:
            opened.start_bind(None, local)
            opened.finish_bind()

    async def connect(self, opened: Any, remote: Any) -> Any:
        """The two streams, in 0.2."""
        if self.version == "p3":
            return await opened.connect(remote)
        opened.start_connect(None, remote)
        await finish(opened.subscribe().block())
        return opened.finish_connect()

    def listen(self, opened: Any) -> Any:
        """The stream of connections, in 0.3."""
        if self.version == "p3":
            return opened.listen()
        opened.start_listen()
        return opened.finish_listen()

    def local_address(self, opened: Any) -> Any:
        return opened.get_local_address() if self.version == "p3" else opened.local_address()

    def remote_address(self, opened: Any) -> Any:
        return opened.get_remote_address() if self.version == "p3" else opened.remote_address()

    def get(self, opened: Any, option: str) -> Any:
        return getattr(opened, f"get_{option}" if self.version == "p3" else option)()

    async def look_up(self, name: str) -> list[Any]:
        provider = self.interfaces["wasi:sockets/ip-name-lookup"]
        if self.version == "p3":
            found: list[Any] = await provider.resolve_addresses(name)
            return found
        stream = provider.resolve_addresses(None, name)
        await finish(stream.subscribe().block())
        addresses = []
        while (ip := stream.resolve_next_address()) is not None:
            addresses.append(ip)
        return addresses

    async def connected(self, family: str = "ipv4") -> tuple[Any, Any, Any, socket.socket]:
        """A connected socket, its streams in and out in 0.2, and the peer at the other end."""
        with listener(family) as server:
            opened = self.tcp(family)
            streams = await self.connect(opened, address(*server.getsockname()))
            peer, _ = server.accept()
            peer.setblocking(False)
        incoming, outgoing = streams or (None, None)
        return opened, incoming, outgoing, peer


@contextmanager
def listener(family: str = "ipv4", backlog: int = 8) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET if family == "ipv4" else socket.AF_INET6) as server:
        server.bind((LOCALHOST[family], 0))
        server.listen(backlog)
        yield server


@contextmanager
def full_listener() -> Iterator[socket.socket]:
    """Connections to it stay in progress."""
    with listener(backlog=0) as server:
        fillers = [socket.socket() for _ in range(2)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        try:
            yield server
        finally:
            for filler in fillers:
                filler.close()


def unused_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


@contextmanager
def datagram_peer(family: str = "ipv4") -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET if family == "ipv4" else socket.AF_INET6, socket.SOCK_DGRAM) as peer:
        peer.bind((LOCALHOST[family], 0))
        peer.setblocking(False)
        yield peer


def reset(peer: socket.socket) -> None:
    """Ends the connection by a reset."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()


async def receive_all(peer: socket.socket) -> bytes:
    """All that comes until the end."""
    data = b""
    while True:
        try:
            piece = peer.recv(1 << 20)
        except BlockingIOError:
            await anyio.wait_readable(peer)
            continue
        if not piece:
            return data
        data += piece

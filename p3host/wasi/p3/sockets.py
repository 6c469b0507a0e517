"""`wasi:sockets` 0.3."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Coroutine, Mapping
from enum import Enum
from functools import partial
from typing import Any, ClassVar

import anyio
from anyio.abc import ByteReceiveStream

from ...errors import Err
from ..later import MaybeLater
from ..promise import NOTHING, Promise
from ..sockets.addresses import Endpoint, ip_to_wit
from ..sockets.handles import READ, WRITE, ErrorCodes, SocketHandle, Sockets
from ..sockets.name_lookup import ERROR_LABELS, Lookup
from ..sockets.tcp import CONNECTION_ERRORS, State, accept
from ..sockets.tcp import TcpSocket as SharedTcpSocket
from ..sockets.tcp_streams import MAX_READ, TcpSink, TcpSource
from ..sockets.udp import UdpSocket as SharedUdpSocket
from .draining import Draining, GuestStream
from .other import Other

ERRORS = ErrorCodes(
    {errno.EPIPE: "connection-broken", errno.EMFILE: "out-of-memory", errno.ENFILE: "out-of-memory"}, Other()
)
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
RETRY_SECONDS = 0.1  # after which there may be a file descriptor for a connection that waits


class Receiving(ByteReceiveStream):
    """The bytes that the peer sends, taken as they are asked for."""

    def __init__(self, source: TcpSource | None, failure: Exception | None = None) -> None:
        self.source = source
        self.outcome: Promise[None] = Promise()
        if failure is not None:
            self.outcome.settle(ERRORS.failed(failure))

    async def receive(self, max_bytes: int = MAX_READ) -> bytes:
        while self.source is not None:
            try:
                data = self.source.take(max_bytes)
            except OSError as failure:
                self.end(failure)
                break
            if data:
                return data
            if data is None:
                await self.source.wait()
            else:
                self.end()
        raise anyio.EndOfStream

    def end(self, failure: Exception | None = None) -> None:
        source, self.source = self.source, None
        if source is not None:
            source.close()
            self.outcome.settle(NOTHING if failure is None else ERRORS.failed(failure))

    def on_dropped(self) -> None:
        """What comes now is not wanted."""
        if self.source is not None:
            self.source.shut()
            self.end()

    async def aclose(self) -> None:
        self.on_dropped()


async def send_all(sink: TcpSink | None, data: GuestStream) -> None:
    """Sends what comes until the stream ends, and then the end. Without a sink, it is an `invalid-state`.

    :raises Err: sending failed
    """
    try:
        with ERRORS:
            if sink is None:
                raise Err("invalid-state")
            while piece := await data.read(MAX_READ):
                await sink.write(piece)
            sink.finish()
    finally:
        data.close()
        if sink is not None:
            sink.close()


class Listening(AsyncIterator[list["TcpSocket"]]):
    """The connections to a listener, taken as they are asked for; the others wait in its backlog."""

    def __init__(self, handle: SocketHandle, socket_class: type[TcpSocket]) -> None:
        self.handle = handle.share()
        self.socket_class = socket_class
        self.closed = False

    async def __anext__(self) -> list[TcpSocket]:
        while not self.closed:
            await self.handle.sockets.wait_for_room()
            try:
                return [self.socket_class(accept(self.handle), State.CONNECTED)]
            except BlockingIOError:
                await self.handle.wait(READ)
            except OSError as failure:
                if failure.errno in EXHAUSTED:
                    await anyio.sleep(RETRY_SECONDS)
                elif failure.errno not in CONNECTION_ERRORS:
                    break
        raise StopAsyncIteration

    def on_dropped(self) -> None:
        """The address is free at once, if the socket was dropped too."""
        if not self.closed:
            self.closed = True
            self.handle.close()

    async def aclose(self) -> None:
        self.on_dropped()


class TcpSocket(SharedTcpSocket):
    """The resource `tcp-socket`. Each instantiation has a subclass of it, which knows what is `granted`."""

    errors = ERRORS
    granted: ClassVar[Sockets]

    def __init__(self, handle: SocketHandle, state: State = State.UNBOUND) -> None:
        super().__init__(handle, state)
        self.has_sent = False
        self.has_received = False

    @classmethod
    def create(cls, address_family: Enum | str) -> TcpSocket:
        with ERRORS:
            return cls(cls.granted.open(address_family, socket.SOCK_STREAM))

    def bind(self, local_address: Any) -> None:
        with ERRORS, self.step("bind"):
            self.bind_now(Endpoint.from_wit(local_address))

    def connect(self, remote_address: Any) -> Coroutine[Any, Any, None]:
        with ERRORS, self.step("connect"):
            self.connect_now(Endpoint.from_wit(remote_address))
        return self.finish_connect()

    async def finish_connect(self) -> None:
        with ERRORS, self.step("finish-connect"):
            while not self.handle.ready(WRITE):
                await self.handle.wait(WRITE)
            self.check_connected()

    def listen(self) -> Listening:
        with ERRORS, self.step("listen"):
            self.listen_now()
        return Listening(self.handle, type(self))

    def send(self, data: GuestStream) -> Draining:
        if self.state is not State.CONNECTED or self.has_sent:
            return Draining(data, partial(send_all, None, data))
        self.has_sent = True
        return Draining(data, partial(send_all, TcpSink(self.handle), data))

    def receive(self) -> tuple[Receiving, Promise[None]]:
        if self.state is not State.CONNECTED or self.has_received:
            receiving = Receiving(None, Err("invalid-state"))
        else:
            self.has_received = True
            receiving = Receiving(TcpSource(self.handle))
        return receiving, receiving.outcome


class UdpSocket(SharedUdpSocket):
    """The resource `udp-socket`, made for each instantiation as `TcpSocket` is."""

    errors = ERRORS
    granted: ClassVar[Sockets]
    get_unicast_hop_limit = SharedUdpSocket.get_hop_limit
    set_unicast_hop_limit = SharedUdpSocket.set_hop_limit

    @classmethod
    def create(cls, address_family: Enum | str) -> UdpSocket:
        with ERRORS:
            return cls(cls.granted.open(address_family, socket.SOCK_DGRAM))

    def bind(self, local_address: Any) -> None:
        with ERRORS:
            self.bind_now(Endpoint.from_wit(local_address))

    def connect(self, remote_address: Any) -> None:
        with ERRORS:
            self.connect_now(Endpoint.from_wit(remote_address))

    def disconnect(self) -> None:
        with ERRORS:
            self.disconnect_now()

    def send(self, data: bytes, remote_address: Any | None) -> MaybeLater[None]:
        remote = None if remote_address is None else Endpoint.from_wit(remote_address)
        with ERRORS:
            destination = self.destination(remote)
            self.bind_implicitly()
            try:
                self.send_now(data, destination)
            except BlockingIOError:
                return self.send_later(data, destination)
        return None

    async def send_later(self, data: bytes, destination: Endpoint) -> None:
        with ERRORS:
            while True:
                await self.handle.wait(WRITE)
                try:
                    self.send_now(data, destination)
                except BlockingIOError:
                    continue
                return

    def receive(self) -> MaybeLater[tuple[bytes, object]]:
        if not self.is_bound:
            raise Err("invalid-state")
        with ERRORS:
            try:
                data, peer = self.receive_now()
            except BlockingIOError:
                return self.receive_later()
        return data, peer.to_wit()

    async def receive_later(self) -> tuple[bytes, object]:
        with ERRORS:
            while True:
                await self.handle.wait(READ)
                try:
                    data, peer = self.receive_now()
                except BlockingIOError:
                    continue
                return data, peer.to_wit()


class Types:
    """`wasi:sockets/types`."""

    def __init__(self, sockets: Sockets) -> None:
        self.TcpSocket = type("TcpSocket", (TcpSocket,), {"granted": sockets})
        self.UdpSocket = type("UdpSocket", (UdpSocket,), {"granted": sockets})


class NameLookup:
    """`wasi:sockets/ip-name-lookup`."""

    def __init__(self, sockets: Sockets) -> None:
        self.network = sockets.network

    def resolve_addresses(self, name: str) -> MaybeLater[list[object]]:
        return self.resolve_later(Lookup(self.network, name))

    async def resolve_later(self, lookup: Lookup) -> list[object]:
        await lookup.wait()
        return [ip_to_wit(ip) for ip in lookup.result(ERROR_LABELS, Other())]


def interfaces(sockets: Sockets) -> Mapping[str, object]:
    """The providers of the package's interfaces, by name without version."""
    return {"wasi:sockets/types": Types(sockets), "wasi:sockets/ip-name-lookup": NameLookup(sockets)}

"""`wasi:sockets/udp` 0.2."""

from __future__ import annotations

import socket
from enum import Enum
from typing import Any

from ...errors import Err, trap_if
from ...records import Record
from ..sockets.addresses import Endpoint
from ..sockets.handles import READ, WRITE, Sockets
from ..sockets.udp import DATAGRAMS_AT_ONCE
from ..sockets.udp import UdpSocket as SharedUdpSocket
from .io import Pollable
from .tcp import ERRORS


class IncomingDatagram(Record):
    data: bytes
    remote_address: object


class DatagramStream:
    """What the two directions have in common: they work until the socket's next `stream`, and keep it open."""

    def __init__(self, owner: UdpSocket, event: int) -> None:
        self.owner = owner
        self.handle = owner.handle.share()
        self.association = owner.association
        self.event = event
        self.closed = False

    def check_current(self) -> None:
        if self.association is not self.owner.association:
            raise Err("invalid-state")

    def ready(self) -> bool:
        return self.closed or self.handle.ready(self.event)

    async def wait(self) -> None:
        if not self.closed:
            await self.handle.wait(self.event)

    def subscribe(self) -> Pollable:
        return Pollable(self.ready, self.wait)

    def close(self) -> None:
        self.closed = True
        self.handle.close()


class IncomingDatagramStream(DatagramStream):
    """The resource `incoming-datagram-stream`."""

    def receive(self, max_results: int) -> list[IncomingDatagram]:
        self.check_current()
        received: list[IncomingDatagram] = []
        try:
            while len(received) < min(max_results, DATAGRAMS_AT_ONCE):
                data, peer = self.owner.receive_now()
                received.append(IncomingDatagram(data, peer.to_wit()))
        except BlockingIOError:
            pass
        except OSError as failure:
            if not received:
                raise ERRORS.failed(failure) from failure
        return received


class OutgoingDatagramStream(DatagramStream):
    """The resource `outgoing-datagram-stream`."""

    def __init__(self, owner: UdpSocket, event: int) -> None:
        super().__init__(owner, event)
        self.permit = 0  # datagrams that `check_send` allowed and `send` has not used yet

    def check_send(self) -> int:
        self.check_current()
        self.permit = DATAGRAMS_AT_ONCE if self.ready() else 0
        return self.permit

    def send(self, datagrams: list[Any]) -> int:
        count, permit = len(datagrams), self.permit
        trap_if(count > permit, f"send of {count} datagrams, but check-send permits {permit}")
        self.permit -= count
        self.check_current()
        sent = 0
        try:
            for datagram in datagrams:
                remote = None if datagram.remote_address is None else Endpoint.from_wit(datagram.remote_address)
                self.owner.send_now(datagram.data, self.owner.destination(remote))
                sent += 1
        except BlockingIOError:
            pass
        except (OSError, Err) as failure:
            if not sent:
                raise ERRORS.failed(failure) from failure
        return sent


class UdpSocket(SharedUdpSocket):
    """The resource `udp-socket`."""

    errors = ERRORS
    remote_address = SharedUdpSocket.get_remote_address
    address_family = SharedUdpSocket.get_address_family
    unicast_hop_limit = SharedUdpSocket.get_hop_limit
    set_unicast_hop_limit = SharedUdpSocket.set_hop_limit
    receive_buffer_size = SharedUdpSocket.get_receive_buffer_size
    send_buffer_size = SharedUdpSocket.get_send_buffer_size

    bind_in_progress = False
    association = object()  # a new one for each pair of streams

    def start_bind(self, network: object, local_address: Any) -> None:
        if self.bind_in_progress:
            raise Err("concurrency-conflict")
        with ERRORS:
            self.bind_now(Endpoint.from_wit(local_address))
        self.bind_in_progress = True

    def finish_bind(self) -> None:
        if not self.bind_in_progress:
            raise Err("not-in-progress")
        self.bind_in_progress = False

    def local_address(self) -> object:
        if self.bind_in_progress:
            raise Err("invalid-state")
        return self.get_local_address()

    def stream(self, remote_address: Any | None) -> tuple[IncomingDatagramStream, OutgoingDatagramStream]:
        if not self.is_bound or self.bind_in_progress:
            raise Err("invalid-state")
        with ERRORS:
            if remote_address is not None:
                self.connect_now(Endpoint.from_wit(remote_address))
            elif self.remote is not None:
                self.disconnect_now()
        self.association = object()
        return IncomingDatagramStream(self, READ), OutgoingDatagramStream(self, WRITE)

    def subscribe(self) -> Pollable:
        return Pollable(lambda: True, always_ready)


async def always_ready() -> None:
    return


class Udp:
    """`wasi:sockets/udp`."""

    UdpSocket = UdpSocket
    IncomingDatagramStream = IncomingDatagramStream
    OutgoingDatagramStream = OutgoingDatagramStream


class UdpCreateSocket:
    """`wasi:sockets/udp-create-socket`."""

    def __init__(self, sockets: Sockets) -> None:
        self.sockets = sockets

    def create_udp_socket(self, address_family: Enum | str) -> UdpSocket:
        with ERRORS:
            return UdpSocket(self.sockets.open(address_family, socket.SOCK_DGRAM))

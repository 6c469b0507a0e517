"""`wasi:sockets/tcp` 0.2."""

from __future__ import annotations

import errno
import socket
from enum import Enum
from typing import Any

from ...errors import Err
from ..sockets.addresses import Endpoint
from ..sockets.handles import READ, WRITE, ErrorCodes, SocketHandle, Sockets
from ..sockets.tcp import CONNECTION_ERRORS, IN_PROGRESS, Operation, State, accept
from ..sockets.tcp import TcpSocket as SharedTcpSocket
from ..sockets.tcp_streams import TcpSink, TcpSource
from .io import InputStream, OutputStream, Pollable

ERRORS = ErrorCodes(
    {
        errno.EAGAIN: "would-block",
        errno.EALREADY: "concurrency-conflict",
        errno.EMFILE: "new-socket-limit",
        errno.ENFILE: "new-socket-limit",
    },
    "unknown",
)
SHUTDOWNS = {"receive": socket.SHUT_RD, "send": socket.SHUT_WR, "both": socket.SHUT_RDWR}


class TcpSocket(SharedTcpSocket):
    """The resource `tcp-socket`."""

    errors = ERRORS
    local_address = SharedTcpSocket.get_local_address
    remote_address = SharedTcpSocket.get_remote_address
    is_listening = SharedTcpSocket.get_is_listening
    address_family = SharedTcpSocket.get_address_family
    keep_alive_enabled = SharedTcpSocket.get_keep_alive_enabled
    keep_alive_idle_time = SharedTcpSocket.get_keep_alive_idle_time
    keep_alive_interval = SharedTcpSocket.get_keep_alive_interval
    keep_alive_count = SharedTcpSocket.get_keep_alive_count
    hop_limit = SharedTcpSocket.get_hop_limit
    receive_buffer_size = SharedTcpSocket.get_receive_buffer_size
    send_buffer_size = SharedTcpSocket.get_send_buffer_size

    def __init__(self, handle: SocketHandle, state: State = State.UNBOUND) -> None:
        super().__init__(handle, state)
        self.input: InputStream | None = None
        self.output: OutputStream | None = None

    def check_idle(self) -> None:
        if self.state in IN_PROGRESS:
            raise Err("concurrency-conflict")

    def check_started(self, state: State) -> None:
        if self.state is not state:
            raise Err("not-in-progress")

    def start_bind(self, network: object, local_address: Any) -> None:
        self.check_idle()
        with ERRORS, self.step("start-bind"):
            self.bind_now(Endpoint.from_wit(local_address))

    def finish_bind(self) -> None:
        self.finish(State.BINDING, "finish-bind")

    def start_connect(self, network: object, remote_address: Any) -> None:
        self.check_idle()
        with ERRORS, self.step("connect"):
            self.connect_now(Endpoint.from_wit(remote_address))

    def finish_connect(self) -> tuple[InputStream, OutputStream]:
        self.check_started(State.CONNECTING)
        with ERRORS, self.step("finish-connect"):
            self.check_connected()
        return self.streams()

    def start_listen(self) -> None:
        self.check_idle()
        with ERRORS, self.step("start-listen"):
            self.listen_now()

    def finish_listen(self) -> None:
        self.finish(State.STARTING_TO_LISTEN, "finish-listen")

    def finish(self, started: State, operation: Operation) -> None:
        self.check_started(started)
        with self.step(operation):
            pass  # the start has done it

    def accept(self) -> tuple[TcpSocket, InputStream, OutputStream]:
        if self.state is not State.LISTENING:
            raise Err("invalid-state")
        with ERRORS:
            try:
                accepted = TcpSocket(accept(self.handle), State.CONNECTED)
            except OSError as failure:
                if failure.errno in CONNECTION_ERRORS:
                    raise Err("connection-aborted") from failure
                raise
        return accepted, *accepted.streams()

    def streams(self) -> tuple[InputStream, OutputStream]:
        self.input, self.output = InputStream(TcpSource(self.handle)), OutputStream(TcpSink(self.handle))
        return self.input, self.output

    def shutdown(self, shutdown_type: Enum | str) -> None:
        if self.state is not State.CONNECTED:
            raise Err("invalid-state")
        how = SHUTDOWNS[shutdown_type if isinstance(shutdown_type, str) else shutdown_type.value]
        with ERRORS:
            try:
                self.handle.socket.shutdown(how)
            except OSError as failure:
                if failure.errno != errno.ENOTCONN:  # what the peer has reset is shut
                    raise
        if self.input is not None and how != socket.SHUT_WR:
            self.input.closed = True
        if self.output is not None and how != socket.SHUT_RD:
            self.output.closed = True

    def ready(self) -> bool:
        match self.state:
            case State.CONNECTING:
                return self.handle.ready(WRITE)
            case State.LISTENING:
                return self.handle.ready(READ)
            case _:
                return True

    async def wait(self) -> None:
        if not self.ready():
            await self.handle.wait(WRITE if self.state is State.CONNECTING else READ)

    def subscribe(self) -> Pollable:
        return Pollable(self.ready, self.wait)


class Tcp:
    """`wasi:sockets/tcp`."""

    TcpSocket = TcpSocket


class TcpCreateSocket:
    """`wasi:sockets/tcp-create-socket`."""

    def __init__(self, sockets: Sockets) -> None:
        self.sockets = sockets

    def create_tcp_socket(self, address_family: Enum | str) -> TcpSocket:
        with ERRORS:
            return TcpSocket(self.sockets.open(address_family, socket.SOCK_STREAM))

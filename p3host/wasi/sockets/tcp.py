"""The resource `tcp-socket`, as far as WASI 0.2 and 0.3 agree on it.

All changes of a socket's state are in `TRANSITIONS`. WASI 0.2 divides binding, connecting and listening into a start
and a finish; what there is to do happens at the start, except that a connection takes its time.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import Literal, TypeAlias

from ...errors import Err
from ..filesystem.paths import error
from .addresses import UNSPECIFIED, Endpoint, check_local, check_remote, check_unicast
from .handles import WRITE, Socket, SocketHandle, SystemSocket

DEFAULT_BACKLOG = 128  # pending connections
MAX_BACKLOG = 1024
SECOND = 10**9
MAX_KEEP_ALIVE_SECONDS = 32767  # what Linux has
MAX_KEEP_ALIVE_COUNT = 127

# What says of a connection that it is gone; accept() says it of one that it would have accepted, not of the listener.
CONNECTION_ERRORS = {
    errno.ECONNABORTED,
    errno.ECONNRESET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENONET,
    errno.ENOPROTOOPT,
    errno.EOPNOTSUPP,
    errno.EPROTO,
    errno.ETIMEDOUT,
}


class State(Enum):
    UNBOUND = auto()
    BINDING = auto()
    BOUND = auto()
    STARTING_TO_LISTEN = auto()
    LISTENING = auto()
    CONNECTING = auto()
    CONNECTED = auto()
    CLOSED = auto()


IN_PROGRESS = {State.BINDING, State.STARTING_TO_LISTEN, State.CONNECTING}
HAS_ADDRESS = set(State) - {State.UNBOUND, State.BINDING, State.CLOSED}

Operation: TypeAlias = Literal[
    "bind", "start-bind", "finish-bind", "connect", "finish-connect", "listen", "start-listen", "finish-listen"
]

# What may be done in which state, and the state after it has succeeded and after it has failed.
TRANSITIONS: dict[tuple[State, Operation], tuple[State, State]] = {
    (State.UNBOUND, "bind"): (State.BOUND, State.UNBOUND),
    (State.UNBOUND, "connect"): (State.CONNECTING, State.CLOSED),
    (State.BOUND, "connect"): (State.CONNECTING, State.CLOSED),
    (State.CONNECTING, "finish-connect"): (State.CONNECTED, State.CLOSED),
    (State.UNBOUND, "listen"): (State.LISTENING, State.UNBOUND),
    (State.BOUND, "listen"): (State.LISTENING, State.BOUND),
    # In WASI 0.2
    (State.UNBOUND, "start-bind"): (State.BINDING, State.UNBOUND),
    (State.BINDING, "finish-bind"): (State.BOUND, State.UNBOUND),
    (State.BOUND, "start-listen"): (State.STARTING_TO_LISTEN, State.CLOSED),
    (State.STARTING_TO_LISTEN, "finish-listen"): (State.LISTENING, State.CLOSED),
}


class TcpSocket(Socket):
    """The base of both versions' resources."""

    def __init__(self, handle: SocketHandle, state: State = State.UNBOUND) -> None:
        super().__init__(handle)
        self.state = state
        self.backlog = DEFAULT_BACKLOG
        self.local = Endpoint(UNSPECIFIED[self.family], 0)  # what it asked to be bound to, not what it got

    @contextmanager
    def step(self, operation: Operation) -> Iterator[None]:
        """A block that does `operation`. One that would block has not been done.

        :raises Err: `invalid-state`
        """
        states = TRANSITIONS.get((self.state, operation))
        if states is None:
            raise Err("invalid-state")
        try:
            yield
        except BlockingIOError:
            raise
        except BaseException:
            self.enter(states[1])
            raise
        self.enter(states[0])

    def enter(self, state: State) -> None:
        self.state = state
        if state is State.CLOSED:
            self.close()

    def close(self) -> None:
        self.state = State.CLOSED
        super().close()

    # What the two versions make their methods of

    def bind_now(self, local: Endpoint) -> None:
        check_local(local, self.family)
        check_unicast(local)
        self.sockets.check("tcp_bind", local)
        # Not where the system is to choose: it may choose a port that another socket is bound to. Nor until the port is
        # used, as another socket could be bound to it too.
        self.reuse_address(local.port != 0)
        self.handle.socket.bind(local.sockaddr())
        self.local = local

    def reuse_address(self, allowed: bool = True) -> None:
        """Connections that were closed of late don't keep the address."""
        self.handle.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, allowed)

    def connect_now(self, remote: Endpoint) -> None:
        """Begins to connect."""
        check_remote(remote, self.family)
        check_unicast(remote)
        self.sockets.check("tcp_connect", remote)
        if self.state is State.BOUND:
            self.reuse_address()
        number = self.handle.socket.connect_ex(remote.sockaddr())
        if number not in (0, errno.EINPROGRESS):
            if number == errno.EADDRNOTAVAIL:  # no port is left
                number = errno.EADDRINUSE
            raise error(number)

    def check_connected(self) -> None:
        """
        :raises BlockingIOError: it is still connecting
        :raises OSError: it failed
        """
        if not self.handle.ready(WRITE):
            raise error(errno.EAGAIN)
        number = self.handle.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise error(number)

    def listen_now(self) -> None:
        self.sockets.check("tcp_bind", self.local)
        self.reuse_address()  # for connections to come
        self.handle.socket.listen(self.backlog)

    # Methods

    def get_local_address(self) -> object:
        if self.state not in HAS_ADDRESS:
            raise Err("invalid-state")
        with self.errors:
            return self.bound_endpoint().to_wit()

    def get_remote_address(self) -> object:
        if self.state is not State.CONNECTED:
            raise Err("invalid-state")
        with self.errors:
            return Endpoint.of(self.system_socket.getpeername()).to_wit()

    def get_is_listening(self) -> bool:
        return self.state is State.LISTENING

    def set_listen_backlog_size(self, value: int) -> None:
        if value == 0:
            raise Err("invalid-argument")
        if self.state in (State.CONNECTING, State.CONNECTED, State.CLOSED):
            raise Err("invalid-state")
        self.backlog = min(value, MAX_BACKLOG)
        if self.state in (State.STARTING_TO_LISTEN, State.LISTENING):
            with self.errors:
                self.system_socket.listen(self.backlog)

    def get_keep_alive_enabled(self) -> bool:
        return bool(self.get_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def set_keep_alive_enabled(self, value: bool) -> None:
        with self.errors:
            self.system_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(value))

    def get_keep_alive_idle_time(self) -> int:
        return self.get_option(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) * SECOND

    def set_keep_alive_idle_time(self, value: int) -> None:
        self.set_option(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, whole_seconds(value), MAX_KEEP_ALIVE_SECONDS)

    def get_keep_alive_interval(self) -> int:
        return self.get_option(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) * SECOND

    def set_keep_alive_interval(self, value: int) -> None:
        self.set_option(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, whole_seconds(value), MAX_KEEP_ALIVE_SECONDS)

    def get_keep_alive_count(self) -> int:
        return self.get_option(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)

    def set_keep_alive_count(self, value: int) -> None:
        self.set_option(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, value, MAX_KEEP_ALIVE_COUNT)


def whole_seconds(nanoseconds: int) -> int:
    """Rounded up, so that only 0 becomes 0."""
    return -(-nanoseconds // SECOND)


def accept(listener: SocketHandle) -> SocketHandle:
    """The next connection, as a handle of its own.

    :raises BlockingIOError: there is none yet
    :raises OSError: EMFILE if there are too many sockets; `CONNECTION_ERRORS` if the connection is gone already
    """
    if listener.sockets.is_full:
        raise error(errno.EMFILE)
    accepted, _ = listener.socket.accept()
    opened = SystemSocket(accepted.family, accepted.type, accepted.proto, accepted.detach())
    return SocketHandle(listener.sockets, opened)

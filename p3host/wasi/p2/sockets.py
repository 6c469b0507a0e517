"""`wasi:sockets` 0.2 with nothing allowed: every way to a socket or a name answers `access-denied`.

The resources have all their methods, because components import them; no handle of one ever comes to be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from ...errors import Err


def denied(*_: object) -> NoReturn:
    raise Err("access-denied")


class Network:
    """The resource `network`; having one allows nothing."""


class NetworkTypes:
    """`wasi:sockets/network`."""

    Network = Network

    def network_error_code(self, error: object) -> str | None:
        """The error code of a stream's error, if it came from a socket: none did."""
        return None


class InstanceNetwork:
    """`wasi:sockets/instance-network`."""

    def instance_network(self) -> Network:
        return Network()


class ResolveAddressStream:
    resolve_next_address = subscribe = denied


class NameLookup:
    """`wasi:sockets/ip-name-lookup`."""

    ResolveAddressStream = ResolveAddressStream
    resolve_addresses = staticmethod(denied)


class TcpSocket:
    start_bind = finish_bind = start_connect = finish_connect = start_listen = finish_listen = accept = denied
    local_address = remote_address = is_listening = address_family = subscribe = shutdown = denied
    keep_alive_enabled = keep_alive_idle_time = keep_alive_interval = keep_alive_count = denied
    set_keep_alive_enabled = set_keep_alive_idle_time = set_keep_alive_interval = set_keep_alive_count = denied
    set_listen_backlog_size = hop_limit = set_hop_limit = denied
    receive_buffer_size = set_receive_buffer_size = send_buffer_size = set_send_buffer_size = denied


class Tcp:
    """`wasi:sockets/tcp`."""

    TcpSocket = TcpSocket


class TcpCreateSocket:
    """`wasi:sockets/tcp-create-socket`."""

    create_tcp_socket = staticmethod(denied)


class UdpSocket:
    start_bind = finish_bind = stream = local_address = remote_address = address_family = subscribe = denied
    unicast_hop_limit = set_unicast_hop_limit = denied
    receive_buffer_size = set_receive_buffer_size = send_buffer_size = set_send_buffer_size = denied


class IncomingDatagramStream:
    receive = subscribe = denied


class OutgoingDatagramStream:
    check_send = send = subscribe = denied


class Udp:
    """`wasi:sockets/udp`."""

    UdpSocket = UdpSocket
    IncomingDatagramStream = IncomingDatagramStream
    OutgoingDatagramStream = OutgoingDatagramStream


class UdpCreateSocket:
    """`wasi:sockets/udp-create-socket`."""

    create_udp_socket = staticmethod(denied)


def interfaces() -> Mapping[str, object]:
    """The providers of the package's interfaces, by name without version."""
    return {
        "wasi:sockets/network": NetworkTypes(),
        "wasi:sockets/instance-network": InstanceNetwork(),
        "wasi:sockets/ip-name-lookup": NameLookup(),
        "wasi:sockets/tcp": Tcp(),
        "wasi:sockets/tcp-create-socket": TcpCreateSocket(),
        "wasi:sockets/udp": Udp(),
        "wasi:sockets/udp-create-socket": UdpCreateSocket(),
    }

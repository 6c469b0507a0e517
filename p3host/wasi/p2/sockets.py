"""`wasi:sockets` 0.2: name lookup, and what all its interfaces share."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Mapping

from ...errors import Err
from ..sockets.addresses import IpAddress, ip_to_wit
from ..sockets.handles import Sockets
from ..sockets.name_lookup import ERROR_LABELS, Lookup
from .io import Error, Pollable
from .tcp import ERRORS, Tcp, TcpCreateSocket
from .udp import Udp, UdpCreateSocket

LOOKUP_LABELS = ERROR_LABELS | {socket.EAI_MEMORY: "out-of-memory"}


class Network:
    """The resource `network`; having one allows nothing."""


class NetworkTypes:
    """`wasi:sockets/network`."""

    Network = Network

    def network_error_code(self, error: Error) -> str | None:
        """The error code of a stream's error, if it is one that sockets have."""
        return ERRORS.labels.get(error.cause.errno or 0)


class InstanceNetwork:
    """`wasi:sockets/instance-network`."""

    def instance_network(self) -> Network:
        return Network()


class ResolveAddressStream:
    """The resource `resolve-address-stream`."""

    def __init__(self, lookup: Lookup) -> None:
        self.lookup = lookup
        self.left: deque[IpAddress] | None = None  # None until it is asked for the first address after the end

    def resolve_next_address(self) -> object | None:
        if self.left is None:
            if not self.ready():
                raise Err("would-block")
            self.left = deque(self.lookup.result(LOOKUP_LABELS, ERRORS.other))
        return ip_to_wit(self.left.popleft()) if self.left else None

    def ready(self) -> bool:
        return self.lookup.has_ended()

    def subscribe(self) -> Pollable:
        return Pollable(self.ready, self.lookup.wait)


class NameLookup:
    """`wasi:sockets/ip-name-lookup`."""

    def __init__(self, sockets: Sockets) -> None:
        self.network = sockets.network

    def resolve_addresses(self, network: object, name: str) -> ResolveAddressStream:
        return ResolveAddressStream(Lookup(self.network, name))

    ResolveAddressStream = ResolveAddressStream


def interfaces(sockets: Sockets) -> Mapping[str, object]:
    """The providers of the package's interfaces, by name without version."""
    return {
        "wasi:sockets/network": NetworkTypes(),
        "wasi:sockets/instance-network": InstanceNetwork(),
        "wasi:sockets/ip-name-lookup": NameLookup(sockets),
        "wasi:sockets/tcp": Tcp(),
        "wasi:sockets/tcp-create-socket": TcpCreateSocket(sockets),
        "wasi:sockets/udp": Udp(),
        "wasi:sockets/udp-create-socket": UdpCreateSocket(sockets),
    }

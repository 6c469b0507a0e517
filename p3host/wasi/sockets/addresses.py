"""Socket addresses: their shapes in WIT and in the operating system, and what WASI demands of them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, ClassVar, NamedTuple, TypeAlias

from ...errors import Err
from ...records import Record

IpAddress: TypeAlias = IPv4Address | IPv6Address

FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
FAMILY_LABELS = {family: label for label, family in FAMILIES.items()}
UNSPECIFIED: dict[int, IpAddress] = {socket.AF_INET: IPv4Address(0), socket.AF_INET6: IPv6Address(0)}
BROADCAST = IPv4Address("255.255.255.255")
FLOW_LABEL = (1 << 20) - 1  # the bits of the flow information that the standard library takes; the kernel ignores all


class Ipv4(Record):
    """The case `ipv4` of `ip-address` and `ip-socket-address`."""

    value: Any
    tag: ClassVar[str] = "ipv4"


class Ipv6(Record):
    """The case `ipv6` of `ip-address` and `ip-socket-address`."""

    value: Any
    tag: ClassVar[str] = "ipv6"


class Ipv4SocketAddress(Record):
    port: int
    address: Sequence[int]


class Ipv6SocketAddress(Record):
    port: int
    flow_info: int
    address: Sequence[int]
    scope_id: int


class Endpoint(NamedTuple):
    """An IP address and a port."""

    ip: IpAddress
    port: int
    flow_info: int = 0
    scope_id: int = 0

    @property
    def family(self) -> int:
        return socket.AF_INET if self.ip.version == 4 else socket.AF_INET6

    @classmethod
    def from_wit(cls, address: Any) -> Endpoint:
        """An `ip-socket-address`."""
        value = address.value
        if address.tag == "ipv4":
            return cls(IPv4Address(bytes(value.address)), value.port)
        ip = IPv6Address(struct.pack(">8H", *value.address))
        return cls(ip, value.port, value.flow_info, value.scope_id)

    def to_wit(self) -> Ipv4 | Ipv6:
        case = ip_to_wit(self.ip)
        if isinstance(case, Ipv4):
            return Ipv4(Ipv4SocketAddress(self.port, case.value))
        return Ipv6(Ipv6SocketAddress(self.port, self.flow_info, case.value, self.scope_id))

    @classmethod
    def of(cls, sockaddr: Sequence[Any]) -> Endpoint:
        """An address as the standard library's sockets give it."""
        host, *rest = sockaddr
        return cls(ip_address(host.partition("%")[0]), *rest)

    def sockaddr(self) -> tuple[Any, ...]:
        """The address as the standard library's sockets take it."""
        if self.ip.version == 4:
            return str(self.ip), self.port
        return str(self.ip), self.port, self.flow_info & FLOW_LABEL, self.scope_id


def ip_to_wit(ip: IpAddress) -> Ipv4 | Ipv6:
    """The `ip-address`."""
    return Ipv4(tuple(ip.packed)) if ip.version == 4 else Ipv6(struct.unpack(">8H", ip.packed))


def family_of(label: Enum | str) -> int:
    """The address family for an `ip-address-family`."""
    return FAMILIES[label if isinstance(label, str) else label.value]


def check_local(local: Endpoint, family: int) -> None:
    """What every address has to be that a socket of `family` is bound to.

    :raises Err: `invalid-argument`
    """
    if local.family != family or (isinstance(local.ip, IPv6Address) and local.ip.ipv4_mapped is not None):
        raise Err("invalid-argument")


def check_remote(remote: Endpoint, family: int) -> None:
    """What every address has to be that a socket of `family` sends to.

    :raises Err: `invalid-argument`
    """
    check_local(remote, family)
    if remote.port == 0 or remote.ip.is_unspecified:
        raise Err("invalid-argument")


def check_unicast(endpoint: Endpoint) -> None:
    """
    :raises Err: `invalid-argument`
    """
    if endpoint.ip.is_multicast or endpoint.ip == BROADCAST:
        raise Err("invalid-argument")

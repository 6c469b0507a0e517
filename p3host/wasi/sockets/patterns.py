"""The patterns of `Network`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple, TypeAlias

from ...errors import LinkError
from ..patterns import parse_all
from .addresses import Endpoint
from .network import is_host_name

IpNetwork: TypeAlias = IPv4Network | IPv6Network

ENDPOINT = re.compile(r"(?:\[(?P<ipv6>[^\[\]]*)\]|(?P<host>[^\[\]:]*))(?::(?P<ports>[^:]*))?")
PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
LAST_PORT = 65535

EVERYWHERE: tuple[IpNetwork, ...] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
LOCALHOST: tuple[IpNetwork, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


class EndpointPattern(NamedTuple):
    networks: tuple[IpNetwork, ...]
    first_port: int
    last_port: int

    def matches(self, endpoint: Endpoint) -> bool:
        return self.first_port <= endpoint.port <= self.last_port and any(endpoint.ip in net for net in self.networks)


def parse_endpoints(texts: Sequence[str]) -> tuple[EndpointPattern, ...]:
    """
    :raises LinkError: naming each text that is no pattern
    """
    return parse_all(texts, parse_endpoint, "HOST[:PORTS]")


def parse_endpoint(text: str) -> EndpointPattern:
    """
    :raises ValueError: with what is wrong
    """
    match = ENDPOINT.fullmatch(text)
    if match is None:
        raise ValueError("write an IPv6 address in brackets, as [::1]:80")
    return EndpointPattern(parse_host(match["host"], match["ipv6"]), *parse_ports(match["ports"]))


def parse_host(host: str | None, ipv6: str | None) -> tuple[IpNetwork, ...]:
    if host is None:
        return (IPv6Network(ipv6),)
    if host == "*":
        return EVERYWHERE
    if host == "localhost":
        return LOCALHOST
    if not host:
        raise ValueError("the host is missing; * stands for all")
    if not host[0].isdigit():
        raise ValueError("hosts are given by address")
    return (IPv4Network(host),)


def parse_ports(ports: str | None) -> tuple[int, int]:
    if ports is None or ports == "*":
        return 0, LAST_PORT
    match = PORTS.fullmatch(ports)
    if match is None:
        raise ValueError("the ports are a number, a range as 80-89, or *")
    first = int(match[1])
    last = first if match[2] is None else int(match[2])
    if not first <= last <= LAST_PORT:
        raise ValueError(f"the ports are 0 to {LAST_PORT}, the lower one first")
    return first, last


def check_names(patterns: Sequence[str]) -> None:
    """
    :raises LinkError: naming each that is no pattern of host names
    """
    problems = [
        f"{pattern!r} is no host name: write example.com, *.example.com or *"
        for pattern in patterns
        if pattern != "*" and not is_host_name(pattern.removeprefix("*."))
    ]
    if problems:
        raise LinkError(problems)

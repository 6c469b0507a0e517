"""Which origins a guest's HTTP requests may go to: the patterns of `Http`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import NamedTuple

from ..http.syntax import AUTHORITY, HIGHEST_PORT, has_user, is_authority
from ..patterns import parse_all
from ..sockets.addresses import IpAddress
from ..sockets.name_lookup import literal

DEFAULT_PORTS = {"http": 80, "https": 443}
PATTERN = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<host>\[[0-9a-fA-F:.]+\]|[^\[\]:/@?#\s]+)(?::(?P<port>\*|\d{1,5}))?/?"
)
NAME = re.compile(r"(?:\*\.)?[\w-]+(?:\.[\w-]+)*", re.ASCII)
NAT64 = IPv6Network("64:ff9b::/96")
ALLOCATED = IPv6Network("2000::/3")  # for the internet; most of it is not in use yet


class Origin(NamedTuple):
    """Where a request goes: `host` is a name in lower case without a dot at the end, or an address without brackets."""

    scheme: str
    host: str
    port: int


class OriginPattern(NamedTuple):
    """`host` is a name or address, ".example.com" for all names beneath it, or "" for every host. A port of None stands
    for every one, 0 for the scheme's own."""

    schemes: tuple[str, ...]
    host: str
    port: int | None

    def matches(self, origin: Origin) -> bool:
        if origin.scheme not in self.schemes:
            return False
        if self.port is not None and origin.port != (self.port or DEFAULT_PORTS[origin.scheme]):
            return False
        if self.names_host:
            return origin.host == self.host
        return origin.host.endswith(self.host)

    @property
    def names_host(self) -> bool:
        return not (self.host == "" or self.host.startswith("."))


def parse_patterns(texts: Sequence[str]) -> tuple[OriginPattern, ...]:
    """
    :raises LinkError: naming each text that is no pattern
    """
    return parse_all(texts, parse_pattern, "[SCHEME://]HOST[:PORT]")


def parse_pattern(text: str) -> OriginPattern:
    """
    :raises ValueError: with what is wrong
    """
    if text == "*":
        return OriginPattern(tuple(DEFAULT_PORTS), "", None)
    match = PATTERN.fullmatch(text)
    if match is None:
        raise ValueError("write https://api.example.com, http://localhost:8080, *.example.com:* or *, and no path")
    schemes = tuple(DEFAULT_PORTS) if match["scheme"] is None else (match["scheme"],)
    port = None if match["port"] == "*" else int(match["port"] or 0)
    if port is not None and (port > HIGHEST_PORT or (port == 0 and match["port"])):
        raise ValueError(f"a port is 1 to {HIGHEST_PORT}, or *")
    if match["host"] == "*":
        return OriginPattern(schemes, "", port)
    host = normal_host(match["host"])
    if NAME.fullmatch(host) is None and literal(host) is None:
        raise ValueError(
            "the host is a name in ASCII, as xn--bcher-kva.example, *.example.com for all names beneath, or *"
        )
    return OriginPattern(schemes, host.removeprefix("*"), port)


def origin_of(scheme: str | None, authority: str | None) -> Origin | None:
    """The origin of a URL with this scheme and authority, or None if it has none."""
    if scheme not in DEFAULT_PORTS or not authority or not is_authority(authority) or has_user(authority):
        return None
    match = AUTHORITY.fullmatch(authority)
    assert match is not None
    try:
        host = normal_host(match["host"])
    except ValueError:
        return None
    port = int(match["port"]) if match["port"] else DEFAULT_PORTS[scheme]
    return Origin(scheme, host, port) if port and host else None


def normal_host(host: str) -> str:
    """
    :raises ValueError: it is no address although it stands in brackets
    """
    if host.startswith("["):
        return IPv6Address(host[1:-1]).compressed
    return host.lower().removesuffix(".")


def is_public(address: IpAddress) -> bool:
    """Whether an address is one of the internet, and not this machine's or a private network's."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address not in ALLOCATED:
            return False
    return address.is_global and not address.is_multicast

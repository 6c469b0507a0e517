"""The grant of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from .addresses import Endpoint
    from .patterns import EndpointPattern

Operation: TypeAlias = Literal["tcp_connect", "tcp_bind", "udp_send", "udp_bind"]
OPERATIONS: tuple[Operation, ...] = ("tcp_connect", "tcp_bind", "udp_send", "udp_bind")

MAX_NAME = 253  # characters, as in the DNS
MAX_LABEL = 63
JOINERS = str.maketrans("-_", "xx")


def is_host_name(text: str) -> bool:
    """Whether it is one in ASCII. A dot may stand at the end."""
    text = text.removesuffix(".")
    if not text.isascii() or len(text) > MAX_NAME:
        return False
    labels = text.split(".")
    return all(len(label) <= MAX_LABEL and label.translate(JOINERS).isalnum() for label in labels)


@dataclass(frozen=True, kw_only=True)
class Network:
    """What a guest may reach of the network: nothing unless a pattern here matches. Each use of a socket is checked.

    - `tcp_connect`: the addresses that it may connect to.
    - `tcp_bind`: its own addresses, to listen at or to connect from. One that it did not choose needs no grant when it
      connects; when it listens, it is port 0 of all addresses.
    - `udp_send`: the addresses that it may send datagrams to.
    - `udp_bind`: its own addresses for datagrams, where it gets those of everyone. Port 0 of all addresses needs no
      grant if it may send, but then it gets only the datagrams of those it may send to.
    - `lookup`: the host names that it may look up: "example.com", "*.example.com" for all names beneath it, "*".
    - `max_sockets`: how many sockets one instance may have open, accepted connections included.

    A pattern of addresses is `HOST[:PORTS]`. HOST is an IPv4 address or network ("10.0.0.0/8"), an IPv6 address or
    network in brackets ("[fd00::/8]"), "localhost" for 127.0.0.0/8 and ::1, or "*". PORTS is a port, a range ("80-89")
    or "*", and all ports where it is left out. A port that the system is to choose is port 0.

    :raises LinkError: naming each pattern that is none
    :raises TypeError: a string in place of a sequence of strings
    """

    tcp_connect: Sequence[str] = ()
    tcp_bind: Sequence[str] = ()
    udp_send: Sequence[str] = ()
    udp_bind: Sequence[str] = ()
    lookup: Sequence[str] = ()
    max_sockets: int = 256
    endpoints: Mapping[Operation, Sequence[EndpointPattern]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        given: dict[str, tuple[str, ...]] = {}
        for name in (*OPERATIONS, "lookup"):
            patterns = getattr(self, name)
            if isinstance(patterns, str):
                raise TypeError(f"{name} must be a sequence of strings, not the one string {patterns!r}")
            given[name] = tuple(patterns)
            object.__setattr__(self, name, given[name])
        endpoints: Mapping[Operation, Sequence[EndpointPattern]] = {}
        if any(given.values()):
            from .patterns import check_names, parse_endpoints  # most programs grant no network

            check_names(self.lookup)
            endpoints = {name: parse_endpoints(given[name]) for name in OPERATIONS}
        object.__setattr__(self, "endpoints", endpoints)

    @classmethod
    def loopback(cls) -> Network:
        """This machine's own programs, at 127.0.0.0/8 and ::1, in both directions."""
        local = ("localhost",)
        return cls(tcp_connect=local, tcp_bind=local, udp_send=local, udp_bind=local, lookup=local)

    @classmethod
    def all(cls) -> Network:
        """Everything, in both directions."""
        every = ("*",)
        return cls(tcp_connect=every, tcp_bind=every, udp_send=every, udp_bind=every, lookup=every)

    def allows(self, operation: Operation, endpoint: Endpoint) -> bool:
        return any(pattern.matches(endpoint) for pattern in self.endpoints.get(operation, ()))

    def allows_any(self, *operations: Operation) -> bool:
        return any(self.endpoints.get(operation) for operation in operations)

    def allows_lookup(self, name: str) -> bool:
        """`name` is in lower case and ASCII, without a dot at the end."""
        for pattern in self.lookup:
            pattern = pattern.lower().removesuffix(".")
            if pattern in ("*", name) or (pattern.startswith("*.") and name.endswith(pattern[1:])):
                return True
        return False

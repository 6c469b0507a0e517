"""Where connections come from."""

from __future__ import annotations

import resource
import socket

from .settings import Address

BACKLOG = 2048
MOST_HEAD_BYTES = 1 << 16  # of a request
STALLED_SECONDS = 60  # after which a connection ends whose client takes nothing of what was sent


def listen(address: Address) -> socket.socket:
    """A socket that listens. A name that has addresses of both kinds stands for that of IPv4, which more clients try.

    :raises OSError: nobody can listen there
    """
    host, port = address
    if host:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        families = {family for family, *_ in found}
        family = socket.AF_INET if socket.AF_INET in families else socket.AF_INET6
        listener = socket.create_server(address, family=family, backlog=BACKLOG)
    elif socket.has_dualstack_ipv6():
        listener = socket.create_server(address, family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
    else:
        listener = socket.create_server(address, backlog=BACKLOG)
    listener.setsockopt(
        socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_SECONDS * 1000
    )  # its connections inherit it
    return listener


def allow_many_connections() -> None:
    """As many files as this process may have open: usually it begins with fewer, for the sake of `select`."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

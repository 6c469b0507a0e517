"""Where connections come from."""

from __future__ import annotations

import errno
import os
import resource
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .settings import UNIX, Address

BACKLOG = 2048
MOST_HEAD_BYTES = 1 << 16  # of a request
STALLED_SECONDS = 60  # after which a connection ends whose client takes nothing of what was sent


@contextmanager
def listening(address: Address) -> Iterator[socket.socket]:
    """Within the block, a socket that listens. A name that has addresses of both kinds stands for that of IPv4, which
    more clients try.

    :raises OSError: nobody can listen there
    :raises UnicodeError: it can be no host's name
    """
    host, port = address
    if host.startswith(UNIX):
        with listening_in(host.removeprefix(UNIX)) as listener:
            yield listener
        return
    with listen(host, port) as listener:
        # Its connections inherit that.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_SECONDS * 1000)
        yield listener


def listen(host: str, port: int) -> socket.socket:
    if host:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        families = {family for family, *_ in found}
        family = socket.AF_INET if socket.AF_INET in families else socket.AF_INET6
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
    return socket.create_server(("", port), backlog=BACKLOG)


@contextmanager
def listening_in(path: str) -> Iterator[socket.socket]:
    """A socket in the file system, which goes with the block. One that a killed server left there is replaced."""
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not is_abandoned(path):
                raise
            os.unlink(path)
            listener.bind(path)
        try:
            listener.listen(BACKLOG)
            yield listener
        finally:
            Path(path).unlink(missing_ok=True)


def is_abandoned(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except ConnectionRefusedError:
            return stat.S_ISSOCK(os.lstat(path).st_mode)
        except OSError:
            return False
    return False


def address_of(listener: socket.socket) -> Address:
    name = listener.getsockname()
    return (f"{UNIX}{name}", 0) if listener.family == socket.AF_UNIX else name[:2]


def allow_many_connections() -> None:
    """As many files as this process may have open: usually it begins with fewer, for the sake of `select`."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

"""What `p3host serve` was told to do."""

from __future__ import annotations

from dataclasses import dataclass
from ssl import SSLContext
from typing import TypeAlias

from ..asgi import PoolLimits
from ..wasi import Wasi

Address: TypeAlias = tuple[str, int]
"""Host and port: an empty host is every address of this machine, 0 any port. In place of a host, `unix:PATH` is a
socket in the file system."""

UNIX = "unix:"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`grace_seconds` is how long requests may take to end when the server is to stop, `head_seconds` how long a
    connection may be without a request. With `tls` it speaks HTTPS."""

    path: str
    address: Address
    wasi: Wasi
    pool: PoolLimits
    backend: str = "asyncio"
    http2: bool = False
    tls: SSLContext | None = None
    workers: int = 1
    log: bool = True
    metrics: Address | None = None
    grace_seconds: float = 10
    head_seconds: float = 30

    @property
    def scheme(self) -> str:
        return "http" if self.tls is None else "https"


def parse_address(text: str) -> Address:
    """
    :raises ValueError: it is no [HOST]:PORT and no unix:PATH
    """
    if text.startswith(UNIX) and text != UNIX:
        return text, 0
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address stands in brackets, such as [::1]:8080")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(
            f"{text!r}: give HOST:PORT, such as 127.0.0.1:8080, or :8080 for all addresses; port 0 is any that is free"
        )
    return host, int(port)


def url_of(address: Address, scheme: str = "http") -> str:
    host, port = address
    if host.startswith(UNIX):
        return host
    return f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"

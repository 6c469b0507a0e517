"""What `p3host serve` was told to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ..asgi import PoolLimits
from ..wasi import Wasi

Address: TypeAlias = tuple[str, int]
"""Host and port; 0 for any port."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`grace_seconds` is how long requests may take to end when the server is to stop."""

    path: str
    address: Address
    wasi: Wasi
    pool: PoolLimits
    backend: str = "asyncio"
    http2: bool = False
    workers: int = 1
    log: bool = True
    metrics: Address | None = None
    grace_seconds: float = 10


def parse_address(text: str) -> Address:
    """
    :raises ValueError: it is no HOST:PORT
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address stands in brackets, such as [::1]:8080")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r}: give HOST:PORT, such as 127.0.0.1:8080; port 0 takes any that is free")
    return host, int(port)


def url_of(address: Address) -> str:
    host, port = address
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"

"""The ASGI servers: uvicorn on asyncio, where it is several times as fast as others; hypercorn for trio and HTTP/2.

Each serves on a socket that listens already, until it is told to stop by SIGINT or SIGTERM. Then it takes no more
requests, and gives those that it has `grace_seconds` to end.
"""

from __future__ import annotations

import socket
from importlib.util import find_spec
from typing import Any

from .settings import Settings


def packages(settings: Settings) -> list[str]:
    """Those by which these settings are served."""
    needed = ["hypercorn", "h2"] if settings.http2 or settings.backend == "trio" else ["uvicorn", "httptools"]
    return needed if settings.metrics is None else [*needed, "prometheus_client"]


def missing_package(settings: Settings) -> str | None:
    return next((package for package in packages(settings) if find_spec(package) is None), None)


def serve(application: Any, listener: socket.socket, settings: Settings) -> None:
    if settings.http2 or settings.backend == "trio":
        from .hypercorn_server import serve
    else:
        from .uvicorn_server import serve
    serve(application, listener, settings)

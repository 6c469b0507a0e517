"""hypercorn, on asyncio and trio, by HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from ssl import SSLContext
from typing import Any

import anyio
import hypercorn

from .http2 import use_independent_streams
from .listening import BACKLOG
from .observed import is_news
from .settings import Settings
from .stopping import STOPPING, ignore


class Config(hypercorn.Config):
    """hypercorn's, with a context for TLS that is there already."""

    def __init__(self, tls: SSLContext | None) -> None:
        super().__init__()
        self.tls = tls

    @property
    def ssl_enabled(self) -> bool:
        return self.tls is not None

    def create_ssl_context(self) -> SSLContext | None:
        return self.tls


def serve(application: Any, listener: socket.socket, settings: Settings) -> None:
    use_independent_streams()
    logger = logging.getLogger("hypercorn.error")
    logger.setLevel(logging.ERROR)
    logger.addFilter(is_news)
    config = Config(settings.tls)
    config.bind = [f"fd://{listener.detach()}"]
    config.backlog = BACKLOG
    config.accesslog = None
    config.errorlog = logger
    config.include_server_header = False
    config.graceful_timeout = settings.grace_seconds
    options = {"use_uvloop": True} if settings.backend == "asyncio" and find_spec("uvloop") else {}
    run: Callable[..., Any]
    if settings.backend == "trio":
        from hypercorn.trio import serve as run
    else:
        from hypercorn.asyncio import serve as run
    serving = partial(run, application, config, shutdown_trigger=partial(told_to_stop, settings.workers == 1))
    anyio.run(serving, backend=settings.backend, backend_options=options)


async def told_to_stop(is_alone: bool) -> None:
    """Waits until this process is told to stop. If it serves alone, a second signal ends it at once."""
    with anyio.open_signal_receiver(*STOPPING) as signals:
        async for _ in signals:
            break
    for each in STOPPING:
        signal.signal(each, signal.SIG_DFL if is_alone else ignore)

"""The ASGI servers: uvicorn on asyncio, where it is several times as fast as others; hypercorn for trio and HTTP/2.

Each serves on a socket that listens already, until it is told to stop by SIGINT or SIGTERM. Then it takes no more
requests, and gives those that it has `grace_seconds` to end.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

import anyio

from ..errors import ResponseAborted
from .settings import Address, Settings

STOPPING = (signal.SIGINT, signal.SIGTERM)
BACKLOG = 2048


def missing_package(settings: Settings) -> str | None:
    """A package that these settings need and that is not installed."""
    needed = ["hypercorn" if settings.http2 or settings.backend == "trio" else "uvicorn"]
    if settings.metrics is not None:
        needed.append("prometheus_client")
    return next((package for package in needed if find_spec(package) is None), None)


def listen(address: Address) -> socket.socket:
    """
    :raises OSError: nobody can listen there
    """
    host, port = address
    family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def serve(application: Any, listener: socket.socket, settings: Settings) -> None:
    if settings.http2 or settings.backend == "trio":
        serve_by_hypercorn(application, listener, settings)
    else:
        serve_by_uvicorn(application, listener, settings)


def serve_by_uvicorn(application: Any, listener: socket.socket, settings: Settings) -> None:
    import uvicorn

    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # of what clients do wrong, there is no end
    logging.getLogger("uvicorn.error").addFilter(is_news)
    config = uvicorn.Config(
        application,
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=round(settings.grace_seconds),
    )
    with surviving(STOPPING):  # uvicorn sends itself the signal again when it has stopped
        uvicorn.Server(config).run(sockets=[listener])


def serve_by_hypercorn(application: Any, listener: socket.socket, settings: Settings) -> None:
    import hypercorn

    from .hypercorn_connections import repair

    repair(settings.backend, settings.pool.request_seconds)
    logger = logging.getLogger("hypercorn.error")
    logger.setLevel(logging.ERROR)
    logger.addFilter(is_news)
    config = hypercorn.Config()
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
    serving = partial(run, application, config, shutdown_trigger=told_to_stop)
    anyio.run(serving, backend=settings.backend, backend_options=options)


async def told_to_stop() -> None:
    with anyio.open_signal_receiver(*STOPPING) as signals:
        async for _ in signals:
            return


@contextmanager
def surviving(signals: tuple[signal.Signals, ...]) -> Iterator[None]:
    """Within the block, the signals do nothing to this process unless somebody handles them."""
    before = {each: signal.signal(each, ignore) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def ignore(*args: object) -> None:
    pass


def is_news(record: logging.LogRecord) -> bool:
    """For a server's log: that a response was aborted has been told already, and why nothing was started will be."""
    if record.exc_info:
        return not isinstance(record.exc_info[1], ResponseAborted)
    return not record.getMessage().startswith("Application startup failed")

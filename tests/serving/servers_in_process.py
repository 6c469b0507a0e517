"""The ASGI servers of `p3host serve` in the event loop of a test."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import hypercorn
import pytest
import uvicorn
from anyio.lowlevel import checkpoint

from p3host.asgi import Application
from p3host.serving.hypercorn_server import repair

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 1
SECONDS = 60

SERVERS = [
    ("uvicorn-httptools", "asyncio"),
    ("hypercorn", "asyncio"),
    ("hypercorn", "trio"),
]
parametrize_servers = pytest.mark.parametrize(("server", "anyio_backend"), SERVERS, ids=map("-".join, SERVERS))


@asynccontextmanager
async def serving(application: Application, server: str) -> AsyncIterator[int]:
    """A server within the block; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    port: int = listener.getsockname()[1]
    serve = serve_by_hypercorn if server == "hypercorn" else serve_by_uvicorn
    started, stop = anyio.Event(), anyio.Event()
    with silence():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve, application, listener, server, started, stop)
            await started.wait()
            try:
                yield port
            finally:
                stop.set()


@contextmanager
def silence() -> Iterator[None]:
    """Within the block, nothing is logged."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        yield
    finally:
        logging.disable(before)


async def serve_by_uvicorn(
    application: Application, listener: socket.socket, server: str, started: anyio.Event, stop: anyio.Event
) -> None:
    protocol: Any = server.partition("-")[2]
    config = uvicorn.Config(
        application,
        http=protocol,
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=1,
    )
    running = uvicorn.Server(config)

    async def run() -> None:
        await running.serve(sockets=[listener])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        while not running.started:
            await checkpoint()
        started.set()
        await stop.wait()
        running.should_exit = True


async def serve_by_hypercorn(
    application: Application, listener: socket.socket, server: str, started: anyio.Event, stop: anyio.Event
) -> None:
    backend = backend_here()
    repair(backend, set(), SECONDS)
    config = hypercorn.Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.backlog = BACKLOG
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.keep_alive_timeout = KEEP_ALIVE_SECONDS
    config.graceful_timeout = 1
    if backend == "trio":
        from hypercorn.trio import serve
    else:
        from hypercorn.asyncio import serve  # type: ignore[assignment]

    async def told_to_stop() -> None:
        while application.pool.watchers is None:  # it has not been started yet
            await checkpoint()
        started.set()
        await stop.wait()

    await serve(application, config, shutdown_trigger=told_to_stop)  # type: ignore[arg-type]


def backend_here() -> str:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return "trio"
    return "asyncio"


class Footprint:
    """What a served application has of the process: (requests in it, those that wait, tasks of the event loop, open
    files). The tasks of its instances are not counted."""

    def __init__(self, application: Application) -> None:
        self.application = application

    @property
    def now(self) -> tuple[int, int, int, int]:
        pool = self.application.pool
        active = sum(member.active for member in pool.members)
        return active, len(pool.waiting), tasks() - 2 * len(pool.members), len(os.listdir("/proc/self/fd"))


def tasks() -> int:
    if backend_here() == "asyncio":
        return len(asyncio.all_tasks())
    import trio

    return trio.lowlevel.current_statistics().tasks_living


async def becomes(state: Callable[[], Any], expected: Any) -> None:
    """Waits until a state is as expected."""
    with anyio.move_on_after(SECONDS):
        while state() != expected:
            await checkpoint()
    assert state() == expected, "in vain"

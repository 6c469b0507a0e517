"""What is told of an application that is served: that it has started, a line and the metrics for each request."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING

from ..asgi import Application
from ..asgi.messages import Message, Receive, Scope, Send
from ..errors import ResponseAborted

if TYPE_CHECKING:
    from .metrics import Metrics

logger = logging.getLogger("p3host.access")


class Observed:
    """An ASGI application around that of a component. `failure` is why it could not be started."""

    def __init__(
        self, application: Application, on_started: Callable[[], None], log: bool, metrics: Metrics | None
    ) -> None:
        self.application = application
        self.on_started = on_started
        self.log = log
        self.metrics = metrics
        self.failure: Exception | None = None
        if metrics is not None:
            metrics.watch(application.pool)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.live(receive, send)
        elif scope["type"] == "http" and (self.log or self.metrics is not None):
            await self.answer(scope, receive, send)
        else:
            await self.application(scope, receive, send)

    async def live(self, receive: Receive, send: Send) -> None:
        stage = "startup"
        await receive()
        try:
            async with self.application:
                await send({"type": "lifespan.startup.complete"})
                stage = "shutdown"
                self.on_started()
                await receive()
        except Exception as error:
            self.failure = error
            await send({"type": f"lifespan.{stage}.failed"})
        else:
            await send({"type": "lifespan.shutdown.complete"})

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = count = 0
        complete = False

        async def counting(message: Message) -> None:
            nonlocal status, count, complete
            await send(message)
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                count += len(message.get("body", b""))
                complete = not message.get("more_body", False)

        started = perf_counter()
        try:
            await self.application(scope, receive, counting)
        finally:
            seconds = perf_counter() - started
            if self.log:
                end = "" if complete else " aborted"
                logger.info("%s %s %s %d B %.1f ms%s", printable(scope["method"]), target_of(scope), status or "-",
                            count, seconds * 1000, end)  # fmt: skip
            if self.metrics is not None:
                self.metrics.count(scope["method"], status, count, seconds)


def target_of(scope: Scope) -> str:
    """The path, without the query, which may be private."""
    raw: bytes | None = scope.get("raw_path")
    return printable(raw.partition(b"?")[0].decode("latin-1") if raw is not None else scope["path"])


def printable(text: str) -> str:
    """In ASCII, without what a terminal would obey or a reader take for the line's next field."""
    if text.isascii() and text.isprintable() and " " not in text:
        return text
    return ascii(text)[1:-1].replace(" ", "\\x20")


def is_news(record: logging.LogRecord) -> bool:
    """For a server's log: that a response was aborted or cut off has been told already, and why nothing was started
    will be."""
    if record.exc_info:
        return not isinstance(record.exc_info[1], ResponseAborted | CancelledError)
    return not record.getMessage().startswith(("Application startup failed", "Cancel "))

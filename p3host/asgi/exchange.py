"""One request and its response."""

from __future__ import annotations

import logging
import math
from http import HTTPStatus

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from ..errors import Err, P3HostError, ResponseAborted
from ..wasi.http import HttpRequest, HttpResponse, RequestRefused
from ..wasi.http.heads import has_content
from .incoming import Incoming, Watchers
from .messages import (
    TRAILERS,
    AsgiHeaders,
    BadRequest,
    Message,
    Receive,
    Scope,
    Send,
    announces_trailers,
    headers_of,
    request_of,
    status_of,
)
from .pool import Overloaded, Pool, StartFailed

logger = logging.getLogger("p3host.asgi")

FAILED, TIMED_OUT, OVERLOADED = 500, 504, 503
ENDING_SECONDS = 1.0  # that a server has to send the end to a client that is gone


class ClientGone(Exception):
    """The server can't send what it was given."""


class Exchange:
    """Has the pool answer the request of a scope."""

    def __init__(self, pool: Pool, scope: Scope, receive: Receive, send: Send) -> None:
        self.pool = pool
        self.asgi_scope = scope
        self.send = send
        self.method: str = scope["method"]
        self.head_sent = False
        self.complete = False
        self.ending = False  # servers say that the client is gone when they have sent the end, too
        self.cancel_scope = anyio.CancelScope()
        self.deadline = math.inf
        self.incoming = Incoming(receive, self.client_gone)

    async def run(self, watchers: Watchers, group: TaskGroup | None = None) -> None:
        """
        :raises ResponseAborted: what was sent can't be finished
        """
        watchers.add(self.incoming)
        try:
            with self.cancel_scope:
                await self.answer(group)
            if self.cancel_scope.cancelled_caught and not self.incoming.gone:
                limit = self.pool.limits.request_seconds
                await self.fail(TIMED_OUT, f"it was not answered within {limit} seconds")
        except ClientGone:
            pass
        finally:
            watchers.remove(self.incoming)

    async def answer(self, group: TaskGroup | None) -> None:
        try:
            request = request_of(self.asgi_scope, self.incoming)
        except BadRequest as error:
            await self.reply(HTTPStatus.BAD_REQUEST, f"The request was not understood: {error}.")
            return
        try:
            await self.ask(request, group)
        except Overloaded:
            seconds = max(1, round(self.pool.limits.waiting_seconds))
            await self.reply(OVERLOADED, headers=[(b"retry-after", b"%d" % seconds)])
        except RequestRefused as error:
            await self.reply(status_of(error))
        except Err as error:
            await self.fail(status_of(error), f"it was answered with {error.value}", error)
        except (P3HostError, StartFailed, TypeError) as error:
            await self.fail(FAILED, f"{type(error).__name__}: {error}", error)

    async def ask(self, request: HttpRequest, group: TaskGroup | None) -> None:
        pool = self.pool
        member = await pool.acquire(group)
        try:
            self.deadline = self.cancel_scope.deadline = pool.now() + pool.limits.request_seconds
            async with member.handler(request) as response:
                await self.send_response(response)
        finally:
            pool.release(member)

    async def send_response(self, response: HttpResponse) -> None:
        status = response.status
        if status < HTTPStatus.OK:
            raise TypeError(f"{status} is not the status of a final response")
        headers = headers_of(response)
        if not has_content(self.method, status):
            await self.send_head(status, headers)
            await self.put_last({"type": "http.response.body"})
            return
        has_trailers = TRAILERS in (self.asgi_scope.get("extensions") or ()) and announces_trailers(headers)
        await self.send_head(status, headers, has_trailers)
        if isinstance(response.body, bytes):
            await self.put({"type": "http.response.body", "body": response.body, "more_body": True})
        else:
            async for piece in response.body:
                await self.put({"type": "http.response.body", "body": piece, "more_body": True})
        if has_trailers:
            await self.put({"type": "http.response.body"})
            trailers = [(name.lower().encode("ascii"), value) for name, value in await response.read_trailers() or ()]
            await self.put_last({"type": TRAILERS, "headers": trailers})
        else:
            await self.put_last({"type": "http.response.body"})

    async def send_head(self, status: int, headers: AsgiHeaders, has_trailers: bool = False) -> None:
        message: Message = {"type": "http.response.start", "status": status, "headers": headers}
        if has_trailers:
            message["trailers"] = True
        if self.cancel_scope.cancel_called:
            # It is too late, and servers don't know how much of a head was sent if that is cancelled.
            await checkpoint()
        self.head_sent = True
        await self.put(message)

    async def put_last(self, message: Message) -> None:
        self.ending = True
        self.incoming.discard()  # or servers that hold what has come for us could not send the end
        await self.put(message)
        self.complete = True
        if self.incoming.gone:  # the component may go on all the same
            self.cancel_scope.deadline = self.deadline

    async def put(self, message: Message) -> None:
        try:
            await self.send(message)
        except Exception as error:  # OSError, says ASGI, but servers raise others too
            logger.info("%s %r can't be answered: %s", self.method, self.asgi_scope["path"], error)
            raise ClientGone from error

    def client_gone(self) -> None:
        if not self.ending:
            self.cancel_scope.cancel()
        elif not self.complete:  # some servers can't finish a `send` to one that is gone
            self.cancel_scope.deadline = min(self.cancel_scope.deadline, self.pool.now() + ENDING_SECONDS)

    async def fail(self, status: int, reason: str, cause: Exception | None = None) -> None:
        """The response of p3host's own for a request that the component failed to answer."""
        level = logging.ERROR if status >= FAILED else logging.INFO  # of what clients do wrong, there is no end
        logger.log(level, "%s %r failed: %s", self.method, self.asgi_scope["path"], reason)
        if self.complete:  # but went on
            return
        if self.head_sent:
            raise ResponseAborted(reason) from cause
        await self.reply(status)

    async def reply(self, status: int, text: str | None = None, headers: AsgiHeaders | None = None) -> None:
        body = f"{text or HTTPStatus(status).phrase}\n".encode()
        own = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
        await self.send_head(status, [*own, *(headers or ())])
        await self.put_last({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def refuse(self, status: int, reason: str) -> None:
        """For a request that may not be answered, or not any more.

        :raises ResponseAborted: a part of a response was sent
        """
        try:
            await self.fail(status, reason)
        except ClientGone:
            pass

"""HTTP for components in plain Python: what `Wasi(http=...)` sends requests to, and `handle`, which calls a component
that serves HTTP.

A peer that answers without a network:

    class Peer:
        async def send(self, request: HttpRequest) -> HttpResponse:
            if request.authority != "example.com":
                raise Err("connection-refused")
            if request.path_with_query == "/echo":
                return HttpResponse(body=request.body, trailers=request.trailers)
            return HttpResponse(404)

    wasi = Wasi(http=Peer())
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio

from ..errors import Err
from .http_bodies import PlainReader
from .http_messages import (
    DnsErrorPayload,
    ErrorCode,
    FieldSizePayload,
    HttpClient,
    HttpRequest,
    HttpResponse,
    HttpTimeouts,
    TlsAlertReceivedPayload,
)
from .p3.http import Request, Response

__all__ = [
    "handle",
    "HttpRequest",
    "HttpResponse",
    "HttpTimeouts",
    "HttpClient",
    "ErrorCode",
    "DnsErrorPayload",
    "TlsAlertReceivedPayload",
    "FieldSizePayload",
]


@asynccontextmanager
async def handle(handler: Any, request: HttpRequest) -> AsyncIterator[HttpResponse]:
    """Has an instance's export `wasi:http/handler` (0.3) answer a request:

    async with handle(instance.exports["wasi:http/handler"], HttpRequest(path_with_query="/")) as response:
        body = await response.read()

    The request's body is read as the component asks for it, also while the response's is read. Leaving the block ends
    both; when it is left without an exception, a response whose body was read to its end counts as transmitted.

    :raises Err: the component answered with an error, or its body failed while it was read; with an `ErrorCode`
    """
    given = Request.received(request)
    try:
        try:
            answer = await handler.handle(given)
        except Err as error:
            raise Err(ErrorCode.of(error.value)) from error
        if not isinstance(answer, Response):
            raise TypeError(f"the handler returned no response of wasi:http, but {answer!r}")
        reader = PlainReader(answer.body)
        try:
            try:
                response = answer.sent(request.method, reader)
            except Err as error:
                reader.fail(error)
                raise
            yield response
            reader.accept()
        finally:
            await reader.aclose()
    finally:
        with anyio.CancelScope(shield=True):
            await given.body.aclose()

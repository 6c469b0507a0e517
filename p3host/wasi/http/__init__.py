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

from contextlib import AbstractAsyncContextManager
from typing import Any
from weakref import WeakKeyDictionary

from .fields import MAX_HELD, Allowance
from .messages import (
    DnsErrorPayload,
    ErrorCode,
    FieldSizePayload,
    HttpClient,
    HttpRequest,
    HttpResponse,
    HttpTimeouts,
    RequestRefused,
    TlsAlertReceivedPayload,
)

__all__ = [
    "handle",
    "HttpRequest",
    "HttpResponse",
    "HttpTimeouts",
    "HttpClient",
    "ErrorCode",
    "RequestRefused",
    "DnsErrorPayload",
    "TlsAlertReceivedPayload",
    "FieldSizePayload",
]


allowances: WeakKeyDictionary[object, Allowance] = WeakKeyDictionary()
"""What the requests to one handler may hold together, as its guest can keep their headers for as long as it lives."""


def handle(handler: Any, request: HttpRequest) -> AbstractAsyncContextManager[HttpResponse]:
    """Has an instance's export `wasi:http/handler` (0.3) or `wasi:http/incoming-handler` (0.2) answer a request:

    async with handle(instance.exports["wasi:http/handler"], HttpRequest(path_with_query="/")) as response:
        body = await response.read()

    The request's body is read as the component asks for it, also while the response's is read. Leaving the block ends
    both; when it is left without an exception, a response whose body was read to its end counts as transmitted, and so
    does one that has no content by its nature: that of a HEAD request, and those of status 204 and 304, whose bodies
    are empty whatever the component gives them.

    A component of WASI 0.2 writes its response's body within the call: if the body was read to its end, or has no
    content, leaving the block waits for the end of that call, and raises what it has failed with, and else cancels it.
    Such a component takes up one request after the other.

    :raises Err: the component answered with an error or not at all, or its body failed while it was read; with an
        `ErrorCode`
    :raises RequestRefused: no component was asked, as the request is not one
    """
    allowance = allowances.get(handler)
    if allowance is None:
        allowances[handler] = allowance = Allowance(MAX_HELD)
    if is_p2(handler):
        from ..p2.http_serving import handle as handle_p2

        return handle_p2(handler.handle, request, allowance)
    from ..p3.http_serving import Handling

    return Handling(handler.handle, request, allowance)


def is_p2(handler: Any) -> bool:
    """Whether it is a handler of WASI 0.2: one whose function is given where the response goes."""
    function_type = getattr(handler.handle, "type", None)
    return function_type is not None and len(function_type.params) == 2

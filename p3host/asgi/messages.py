"""ASGI's scopes and messages, and those of `p3host.wasi.http`."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import quote, unquote_to_bytes

from ..errors import Err
from ..wasi.http import HttpRequest, HttpResponse, RequestRefused
from ..wasi.http.syntax import is_authority, is_method, is_scheme

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
AsgiHeaders: TypeAlias = list[tuple[bytes, bytes]]

PATH_CHARACTERS = "/-._~!$&'()*+,;=:@"
ABSOLUTE = re.compile(rb"https?://(?P<host>[^/]*)", re.IGNORECASE)  # what a target may begin with (RFC 9112, 3.2.2)
UNFIT = re.compile(r"[\x00-\x20\x7f]")
TRAILERS = "http.response.trailers"
STATUS_OF_ERROR = {
    "HTTP-request-URI-invalid": 400,
    "HTTP-request-method-invalid": 400,
    "HTTP-request-denied": 403,
    "HTTP-request-length-required": 411,
    "HTTP-request-body-size": 413,
    "HTTP-request-URI-too-long": 414,
    "HTTP-request-header-section-size": 431,
    "HTTP-request-header-size": 431,
    "HTTP-request-trailer-section-size": 431,
    "HTTP-request-trailer-size": 431,
    "destination-not-found": 500,
    "destination-unavailable": 503,
    "connection-limit-reached": 503,
    "DNS-timeout": 504,
    "connection-timeout": 504,
    "connection-read-timeout": 504,
    "connection-write-timeout": 504,
    "HTTP-response-timeout": 504,
    "internal-error": 500,
    "configuration-error": 500,
}
"""The status for the errors by which handlers answer, as RFC 9209 recommends it. What is not here is a failure of what
is behind the component."""
BAD_REQUEST, BAD_GATEWAY = 400, 502


class BadRequest(Exception):
    """A request that can't be passed on; the message says why."""


def request_of(scope: Scope, content: AsyncIterable[bytes]) -> HttpRequest:
    """The request of a scope, whose body is `content` unless its headers say that there is none.

    :raises BadRequest: it is malformed
    """
    host: bytes | None = None
    chunked = has_length = False
    may_have_body = scope["http_version"][:1] != "1"  # later versions need not announce a body
    headers = []
    for name, value in scope["headers"]:
        if name == b"host":
            if host is not None:
                raise BadRequest("it has several hosts")
            host = value
        elif name == b"transfer-encoding":
            chunked = may_have_body = True
        elif name == b"content-length":
            has_length = True
            may_have_body = may_have_body or value != b"0"
        headers.append((name.decode("latin-1"), value))
    if host is None and scope["http_version"] == "1.1":
        raise BadRequest("it names no host")
    if chunked and has_length:  # one of the two is a lie (RFC 9112, 6.3)
        raise BadRequest("its length is told in two ways")
    path = raw_path_of(scope)
    absolute = ABSOLUTE.match(path)
    if absolute is not None:  # then the header doesn't count
        host, path = absolute["host"], path[absolute.end() :] or b"/"
    method, scheme = scope["method"], scope.get("scheme") or "http"
    if not is_method(method) or not is_scheme(scheme):
        raise BadRequest("its method or scheme is malformed")
    return HttpRequest(
        method=method,
        scheme=scheme,
        authority=authority_of(scope, host),
        path_with_query=path_of(scope, path, method),
        headers=headers,
        body=content if may_have_body else b"",
    )


def authority_of(scope: Scope, host: bytes | None) -> str | None:
    if host:
        authority = host.decode("latin-1")
        if not is_authority(authority) or "@" in authority:
            raise BadRequest("its host is malformed")
        return authority
    server = scope.get("server")
    if not server or server[1] is None:
        return None
    name = f"[{server[0]}]" if ":" in server[0] else server[0]
    return f"{name}:{server[1]}"


def raw_path_of(scope: Scope) -> bytes:
    """The path as the client wrote it, as far as that is known."""
    raw: bytes | None = scope.get("raw_path")
    return quote(scope["path"], safe=PATH_CHARACTERS).encode() if raw is None else raw.partition(b"?")[0]


def path_of(scope: Scope, raw: bytes, method: str) -> str:
    """The path below the one at which the application is mounted, with the query."""
    if mounted := (scope.get("root_path") or "").rstrip("/"):
        raw = below(mounted.encode(), raw)
    path = raw.decode("latin-1")
    if not path.startswith("/") and not (path == "*" and method == "OPTIONS"):
        raise BadRequest("its target is no path")
    query: bytes = scope.get("query_string") or b""
    target = f"{path}?{query.decode('latin-1')}" if query else path
    if UNFIT.search(target):
        raise BadRequest("its target has characters that no target may have")
    return target if target.isascii() else quote(target, safe="".join(map(chr, range(128))), encoding="latin-1")


def below(mounted: bytes, path: bytes) -> bytes:
    """What is left of a path below the one at which the application is mounted, which the client may have encoded in
    its own way; all of it, if it is elsewhere."""
    end = 0
    while (end := path.find(b"/", end + 1)) >= 0:
        if unquote_to_bytes(path[:end]) == mounted:
            return path[end:]
    return b"/" if unquote_to_bytes(path) == mounted else path


def headers_of(response: HttpResponse) -> AsgiHeaders:
    """As ASGI has them: names in lower case. A response without content may not have a length of it, and none may have
    two dates: servers add their own to whatever there is."""
    left_out = (b"date", b"content-length") if response.status == HTTPStatus.NO_CONTENT else (b"date",)
    headers = [(name.lower().encode("ascii"), value) for name, value in response.headers]
    return [header for header in headers if header[0] not in left_out]


def announces_trailers(headers: AsgiHeaders) -> bool:
    """Whether there will be trailers, as a promise of them that isn't kept is more than some servers take (hypercorn
    never ends the response then). That there will be is told by `trailer`, or goes without saying (gRPC)."""
    return any(
        name == b"trailer" or (name == b"content-type" and value.startswith(b"application/grpc"))
        for name, value in headers
    )


def status_of(error: Err) -> int:
    return STATUS_OF_ERROR.get(error.value.tag, BAD_REQUEST if isinstance(error, RequestRefused) else BAD_GATEWAY)

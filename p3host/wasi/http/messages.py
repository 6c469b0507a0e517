"""HTTP in plain Python: the messages and errors that pass between `wasi:http` and what stands in for the network."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterable, Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

import anyio

from ...errors import Err, P3HostError
from ...records import Record

HeaderList: TypeAlias = Sequence[tuple[str, bytes]]
"""Names and values in the order of the wire; a name may repeat."""
Content: TypeAlias = bytes | AsyncIterable[bytes]
"""A body, all of it or in pieces. Of an anyio `ByteReceiveStream`, no more is taken than is wanted."""
TrailerList: TypeAlias = Awaitable[HeaderList | None] | HeaderList | None
"""Trailers, or an awaitable that gives them once the body has ended; None where there are none."""


@runtime_checkable
class PeekableContent(Protocol):
    """A body that knows whether there is anything in it: a request by `GET` without one announces none."""

    async def has_content(self) -> bool:
        """Waits until that is known. Nothing of the body is lost."""
        ...


class DnsErrorPayload(Record):
    rcode: str | None = None
    info_code: int | None = None


class TlsAlertReceivedPayload(Record):
    alert_id: int | None = None
    alert_message: str | None = None


class FieldSizePayload(Record):
    field_name: str | None = None
    field_size: int | None = None


EMPTY_CASES = frozenset(
    {
        "DNS-timeout",
        "destination-not-found",
        "destination-unavailable",
        "destination-IP-prohibited",
        "destination-IP-unroutable",
        "connection-refused",
        "connection-terminated",
        "connection-timeout",
        "connection-read-timeout",
        "connection-write-timeout",
        "connection-limit-reached",
        "TLS-protocol-error",
        "TLS-certificate-error",
        "HTTP-request-denied",
        "HTTP-request-length-required",
        "HTTP-request-method-invalid",
        "HTTP-request-URI-invalid",
        "HTTP-request-URI-too-long",
        "HTTP-response-incomplete",
        "HTTP-response-timeout",
        "HTTP-upgrade-failed",
        "HTTP-protocol-error",
        "loop-detected",
        "configuration-error",
    }
)
OPTIONAL_CASES = frozenset(
    {
        "HTTP-request-body-size",
        "HTTP-request-header-section-size",
        "HTTP-request-header-size",
        "HTTP-request-trailer-section-size",
        "HTTP-response-header-section-size",
        "HTTP-response-body-size",
        "HTTP-response-trailer-section-size",
        "HTTP-response-transfer-coding",
        "HTTP-response-content-coding",
        "internal-error",
    }
)
RECORD_CASES = {
    "DNS-error": DnsErrorPayload(),
    "TLS-alert-received": TlsAlertReceivedPayload(),
    "HTTP-request-trailer-size": FieldSizePayload(),
    "HTTP-response-header-size": FieldSizePayload(),
    "HTTP-response-trailer-size": FieldSizePayload(),
}


class ErrorCode(Record):
    """`wasi:http/types.error-code`: the label of a case as WIT spells it, and its value. It is what an `Err` carries.

    Cases that carry a record have an empty one by default; those that carry an option have None.

    :raises ValueError: there is no such case, or it carries no value
    """

    tag: str
    value: Any = None

    def __post_init__(self) -> None:
        if self.tag in RECORD_CASES:
            if self.value is None:
                self.__dict__["value"] = RECORD_CASES[self.tag]
        elif self.tag not in OPTIONAL_CASES:
            if self.tag not in EMPTY_CASES:
                raise ValueError(f"wasi:http knows no error {self.tag!r}")
            if self.value is not None:
                raise ValueError(f"the error {self.tag!r} carries no value, got {self.value!r}")

    @classmethod
    def of(cls, value: Any) -> ErrorCode:
        """Of a label, or of any object with `tag` and `value`, such as a guest's."""
        if isinstance(value, str):
            return cls(value)
        return value if isinstance(value, cls) else cls(value.tag, value.value)


class RequestRefused(Err):
    """A request that is malformed, or has too many headers, so that no guest was asked. Its value is an `ErrorCode`."""


TERMINATED = ErrorCode("connection-terminated")
LOST_CONNECTIONS = (ConnectionError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.IncompleteRead)
OUTSIDE_FAILURES = (OSError, *LOST_CONNECTIONS[1:])
"""What may be raised because of the world outside. Anything else is a mistake of the transport's, and no error code."""


def error_code(failure: Exception) -> ErrorCode:
    """The code by which a guest is told of an `Err`, of one of `OUTSIDE_FAILURES`, or of any other error of p3host's,
    which means that the guest at the other end is gone. It tells nothing about this machine."""
    match failure:
        case Err():
            return ErrorCode.of(failure.value)
        case ConnectionRefusedError():
            return ErrorCode("connection-refused")
        case TimeoutError():
            return ErrorCode("connection-timeout")
        case socket.gaierror():
            return ErrorCode("DNS-error")
        case OSError(errno=errno.ENETUNREACH | errno.EHOSTUNREACH):
            return ErrorCode("destination-IP-unroutable")
        case _ if isinstance(failure, (P3HostError, *LOST_CONNECTIONS)):
            return TERMINATED
        case _:
            return ErrorCode("destination-unavailable")


@dataclass(frozen=True)
class HttpTimeouts:
    """Seconds, or None where a guest has set no time-out."""

    connect: float | None = None
    first_byte: float | None = None
    between_bytes: float | None = None


@dataclass(frozen=True, kw_only=True)
class HttpMessage:
    """What requests and responses have in common."""

    headers: HeaderList = ()
    body: Content = b""
    trailers: TrailerList = None

    async def read(self) -> bytes:
        """The whole body. It is for the reader to know that it is not too large."""
        return self.body if isinstance(self.body, bytes) else b"".join([piece async for piece in self.body])

    async def read_trailers(self) -> HeaderList | None:
        """The trailers, None where there are none. To be called when the body has been read."""
        return await self.trailers if isinstance(self.trailers, Awaitable) else self.trailers


@dataclass(frozen=True, kw_only=True)
class HttpRequest(HttpMessage):
    """A request. `scheme` is in lower case where it is `http` or `https`; `authority` is the host, with its port if
    any; `path_with_query` begins with a slash, or is the `*` of `OPTIONS`. No header tells of the connection (`host`,
    `transfer-encoding` and their like): those are a transport's to add and to take away."""

    method: str = "GET"
    scheme: str | None = None
    authority: str | None = None
    path_with_query: str | None = None
    timeouts: HttpTimeouts = field(default_factory=HttpTimeouts)


@dataclass(frozen=True)
class HttpResponse(HttpMessage):
    status: int = 200


class HttpClient(Protocol):
    """Where the requests of guests go."""

    async def send(self, request: HttpRequest, /) -> HttpResponse:
        """Sends the request, and returns when the head of the response is there.

        Its body may go on meanwhile, in both directions: `request.body` can be read after this has returned, until
        the response's body has ended or was closed; then what is left of the request is dropped. The response's body
        is closed (`aclose`, where it has one) when nobody wants more of it. Cancelling this ends the exchange.

        The connecting is this function's to limit (`request.timeouts.connect`). The other time-outs are watched over
        by the caller.

        :raises Err: with an `ErrorCode`, or the label of a case without a value
        :raises OSError: becomes the code that fits
        """
        ...

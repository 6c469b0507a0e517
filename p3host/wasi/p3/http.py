"""`wasi:http` 0.3: `types` (but for `fields`) and `client`."""

from __future__ import annotations

import math
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any

import anyio

from ...errors import Err, P3HostError
from ...records import Record
from ..http_messages import (
    OUTSIDE_FAILURES,
    ErrorCode,
    HttpClient,
    HttpMessage,
    HttpRequest,
    HttpResponse,
    HttpTimeouts,
    error_code,
)
from .http_bodies import Body, GuestBody, GuestFuture, GuestReader, GuestStream, PlainReader, ReceivedBody, Trailers
from .http_fields import Allowance, Charged, Fields
from .http_syntax import (
    content_length,
    has_user,
    is_authority,
    is_method,
    is_path_with_query,
    is_scheme,
    request_target,
)

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
SCHEMES = ("http", "https")
DEFAULT_SCHEME = "https"
NO_CONTENT = (204, 304)
NANOSECONDS = 10**9
MAX_HELD = 64 << 20  # bytes of the host's memory that an instance's fields and requests may take
LONGEST_TIMEOUT = 10**9  # seconds; event loops take no time-out of centuries


class Case(Record):
    """A `method` or `scheme`: its case and, where that is `other`, its name."""

    tag: str
    value: str | None = None


class RequestOptions:
    """The resource `request-options`; time-outs in nanoseconds."""

    def __init__(self) -> None:
        self.connect: int | None = None
        self.first_byte: int | None = None
        self.between_bytes: int | None = None
        self.mutable = True

    def get_connect_timeout(self) -> int | None:
        return self.connect

    def set_connect_timeout(self, duration: int | None) -> None:
        self.check_mutable()
        self.connect = duration

    def get_first_byte_timeout(self) -> int | None:
        return self.first_byte

    def set_first_byte_timeout(self, duration: int | None) -> None:
        self.check_mutable()
        self.first_byte = duration

    def get_between_bytes_timeout(self) -> int | None:
        return self.between_bytes

    def set_between_bytes_timeout(self, duration: int | None) -> None:
        self.check_mutable()
        self.between_bytes = duration

    def clone(self) -> RequestOptions:
        copy = RequestOptions()
        copy.connect, copy.first_byte, copy.between_bytes = self.connect, self.first_byte, self.between_bytes
        return copy

    def check_mutable(self) -> None:
        if not self.mutable:
            raise Err("immutable")

    def timeouts(self) -> HttpTimeouts:
        return HttpTimeouts(seconds(self.connect), seconds(self.first_byte), seconds(self.between_bytes))


def seconds(duration: int | None) -> float | None:
    return None if duration is None else min(duration / NANOSECONDS, LONGEST_TIMEOUT)


class Message:
    """What `request` and `response` have in common."""

    def __init__(self, headers: Fields, body: Body) -> None:
        self.headers = headers.frozen()
        self.body = body

    def get_headers(self) -> Fields:
        return self.headers

    def close(self) -> Coroutine[Any, Any, None] | None:
        """A guest has dropped the message: it will not be sent, or nobody reads it."""
        body = self.body
        if isinstance(body, GuestBody):
            body.transmission.fail(ErrorCode("internal-error", "the message was dropped before it was sent"))
            body.close()
            return None
        return body.aclose()

    def consume(self, answer: GuestFuture) -> tuple[GuestReader, Coroutine[Any, Any, Fields | None]]:
        reader = GuestReader(self.body)
        return reader, reader.outcome(answer)

    def expect_length(self) -> None:
        """Holds the body to the length that the headers announce.

        :raises Err: they announce no length, several, or one for no content at all; with an `ErrorCode`
        """
        length = announced_length(self.headers)
        if length and self.body.is_read:
            raise Err(ErrorCode(self.body.size_error, 0))
        self.body.length = length


def announced_length(headers: Fields) -> int | None:
    try:
        return content_length(headers.entries)
    except ValueError:
        raise Err(ErrorCode("HTTP-protocol-error")) from None


class Request(Message, Charged):
    """The resource `request`. Its method and scheme are kept as they are sent."""

    def __init__(self, headers: Fields, body: Body, options: RequestOptions | None = None) -> None:
        super().__init__(headers, body)
        self.method = "GET"
        self.path_with_query: str | None = None
        self.scheme: str | None = None
        self.authority: str | None = None
        self.options = options
        if options is not None:
            options.mutable = False

    @classmethod
    def new(
        cls, headers: Fields, contents: GuestStream | None, trailers: GuestFuture, options: RequestOptions | None
    ) -> tuple[Request, Coroutine[Any, Any, None]]:
        body = GuestBody("HTTP-request-body-size", contents, trailers)
        return cls(headers, body, options), body.transmission.result()

    @staticmethod
    def received(request: HttpRequest) -> Request:
        """A request from outside.

        :raises Err: its headers are malformed or too many; with an `ErrorCode`
        """
        allowance = Allowance(MAX_HELD)
        headers = Fields.received(request.headers, "HTTP-request-header-section-size", allowance)
        body = ReceivedBody(
            "HTTP-request-body-size",
            announced_length(headers),
            request.body,
            request.trailers,
            check_trailers=partial(Fields.received, kind="HTTP-request-trailer-section-size", allowance=allowance),
        )
        made = Request(headers, body)
        made.allowance = allowance
        made.method = request.method
        made.path_with_query = request.path_with_query
        made.scheme = request.scheme
        made.authority = request.authority
        return made

    def get_method(self) -> Case:
        return Case(self.method.lower()) if self.method in METHODS else Case("other", self.method)

    def set_method(self, method: Case) -> None:
        name = method.tag.upper() if method.value is None else method.value
        if not is_method(name):
            raise Err
        self.keep("method", name)

    def get_path_with_query(self) -> str | None:
        return self.path_with_query

    def set_path_with_query(self, path_with_query: str | None) -> None:
        if path_with_query is not None and not is_path_with_query(path_with_query):
            raise Err
        self.keep("path_with_query", "/" if path_with_query == "" else path_with_query)

    def get_scheme(self) -> Case | None:
        if self.scheme is None:
            return None
        return Case(self.scheme.upper()) if self.scheme in SCHEMES else Case("other", self.scheme)

    def set_scheme(self, scheme: Case | None) -> None:
        name = None if scheme is None else scheme.tag if scheme.value is None else scheme.value
        if name is not None and not is_scheme(name):
            raise Err
        self.keep("scheme", name.lower() if name is not None and name.lower() in SCHEMES else name)

    def get_authority(self) -> str | None:
        return self.authority

    def set_authority(self, authority: str | None) -> None:
        if authority is not None and not is_authority(authority):
            raise Err
        self.keep("authority", authority)

    def keep(self, attribute: str, value: str | None) -> None:
        before = getattr(self, attribute)
        setattr(self, attribute, value)
        kept = (self.method, self.path_with_query, self.scheme, self.authority)
        if not self.charge(sum(len(each or "") for each in kept)):
            setattr(self, attribute, before)
            raise Err

    def get_options(self) -> RequestOptions | None:
        return self.options

    @staticmethod
    def consume_body(this: Request, res: GuestFuture) -> tuple[GuestReader, Coroutine[Any, Any, Fields | None]]:
        return this.consume(res)

    def sent(self, reader: PlainReader) -> HttpRequest:
        """The request for a transport, which gets the body from `reader`.

        :raises Err: it is not fit to be sent; with an `ErrorCode`
        """
        if self.method == "CONNECT":  # a tunnel is no exchange of messages
            raise Err(ErrorCode("HTTP-request-method-invalid"))
        scheme = self.scheme or DEFAULT_SCHEME
        target = request_target(self.method, self.path_with_query)
        needs_authority = scheme in SCHEMES
        if target is None or (needs_authority and (self.authority is None or has_user(self.authority))):
            raise Err(ErrorCode("HTTP-request-URI-invalid"))
        self.expect_length()
        return HttpRequest(
            method=self.method,
            scheme=scheme,
            authority=self.authority,
            path_with_query=target,
            headers=self.headers.sent(),
            body=reader,
            trailers=Trailers(reader),
            timeouts=HttpTimeouts() if self.options is None else self.options.timeouts(),
        )


class Response(Message):
    """The resource `response`."""

    def __init__(self, headers: Fields, body: Body) -> None:
        super().__init__(headers, body)
        self.status = 200

    @staticmethod
    def new(
        headers: Fields, contents: GuestStream | None, trailers: GuestFuture
    ) -> tuple[Response, Coroutine[Any, Any, None]]:
        body = GuestBody("HTTP-response-body-size", contents, trailers)
        return Response(headers, body), body.transmission.result()

    @staticmethod
    def received(
        response: HttpResponse, request: HttpRequest, sending: PlainReader, fields_class: type[Fields]
    ) -> Response:
        """The response that came for a request of a guest's. When it has been read or given up, so is what is left of
        the request's body.

        :raises Err: it is malformed, or its headers are too many; with an `ErrorCode`
        """
        if not is_status(response.status):
            raise Err(ErrorCode("HTTP-protocol-error"))
        headers = fields_class.received(response.headers, "HTTP-response-header-section-size")
        timeouts = request.timeouts
        body = ReceivedBody(
            "HTTP-response-body-size",
            announced_length(headers) if has_content(request.method, response.status) else None,
            response.body,
            response.trailers,
            check_trailers=partial(fields_class.received, kind="HTTP-response-trailer-section-size"),
            first_piece=math.inf if timeouts.first_byte is None else timeouts.first_byte,
            between_pieces=math.inf if timeouts.between_bytes is None else timeouts.between_bytes,
            on_close=sending.aclose,
        )
        made = Response(headers, body)
        made.status = response.status
        return made

    def get_status_code(self) -> int:
        return self.status

    def set_status_code(self, status_code: int) -> None:
        if not is_status(status_code):
            raise Err
        self.status = status_code

    @staticmethod
    def consume_body(this: Response, res: GuestFuture) -> tuple[GuestReader, Coroutine[Any, Any, Fields | None]]:
        return this.consume(res)

    def sent(self, method: str, reader: PlainReader) -> HttpResponse:
        """The response to a request by `method`, for the host, which gets the body from `reader`.

        :raises Err: it is not fit to be sent; with an `ErrorCode`
        """
        if has_content(method, self.status):
            self.expect_length()
        return HttpResponse(status=self.status, headers=self.headers.sent(), body=reader, trailers=Trailers(reader))


def is_status(status: int) -> bool:
    return 100 <= status < 600


def has_content(method: str, status: int) -> bool:
    """Whether a length that the headers of a response announce is that of its body."""
    return method != "HEAD" and status not in NO_CONTENT and status >= 200


class Client:
    """`wasi:http/client`."""

    def __init__(self, transport: HttpClient | None, fields_class: type[Fields] = Fields) -> None:
        self.transport = transport
        self.fields_class = fields_class

    async def send(self, request: Request) -> Response:
        """:raises Err: with the `error-code`"""
        reader = PlainReader(request.body)
        try:
            if self.transport is None:
                raise Err(ErrorCode("HTTP-request-denied"))
            message = request.sent(reader)
            response = await self.answer(self.transport, message)
            try:
                if reader.failure is not None:  # whatever the transport made of it
                    raise reader.failure
                made = Response.received(response, message, reader, self.fields_class)
            except BaseException:
                await close_content(response)
                raise
            reader.accept()
        except (P3HostError, *OUTSIDE_FAILURES) as failure:
            code = error_code(failure)
            request.body.transmission.fail(code)
            await reader.aclose()
            raise Err(code) from failure
        except BaseException:
            await reader.aclose()
            raise
        return made

    async def answer(self, transport: HttpClient, message: HttpRequest) -> HttpResponse:
        """The head of the response. It has to be there within the time-out for the first byte, and for connecting
        where there is one."""
        timeouts = message.timeouts
        if timeouts.first_byte is None:
            return await transport.send(message)
        with anyio.move_on_after(timeouts.first_byte + (timeouts.connect or 0)):
            return await transport.send(message)
        raise Err(ErrorCode("connection-read-timeout"))


async def close_content(message: HttpMessage) -> None:
    close = getattr(message.body, "aclose", None)
    if close is not None:
        with anyio.CancelScope(shield=True):
            await close()


class Types:
    """`wasi:http/types`. An instance has classes of its own where they share its allowance."""

    RequestOptions = RequestOptions
    Response = Response

    def __init__(self, allowance: Allowance) -> None:
        self.Fields = type("Fields", (Fields,), {"allowance": allowance})
        self.Request = type("Request", (Request,), {"allowance": allowance})


def interfaces(transport: HttpClient | None) -> Mapping[str, object]:
    """The providers of the package's interfaces, by name without version."""
    types = Types(Allowance(MAX_HELD))
    return {"wasi:http/types": types, "wasi:http/client": Client(transport, types.Fields)}

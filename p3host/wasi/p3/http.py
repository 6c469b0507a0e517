"""`wasi:http` 0.3: `types` and `client`."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from ...errors import Err
from ..http.bodies import Body, GuestFuture, PlainReader, Transmission
from ..http.exchange import exchange, hold_to_length, received_request, received_response, sent_response
from ..http.fields import MAX_HELD, Allowance, Fields
from ..http.heads import RequestHead, RequestOptions, is_status
from ..http.messages import ErrorCode, HttpClient, HttpRequest, HttpResponse
from .draining import GuestStream
from .http_bodies import GuestBody, GuestReader, Outcome


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
        return body.close()

    def consume(self, answer: GuestFuture) -> tuple[GuestReader, Outcome]:
        reader = GuestReader(self.body, answer)
        return reader, reader.outcome


class Request(Message, RequestHead):
    """The resource `request`."""

    def __init__(self, headers: Fields, body: Body, options: RequestOptions | None = None) -> None:
        Message.__init__(self, headers, body)
        RequestHead.__init__(self)
        self.options = options
        if options is not None:
            options.mutable = False

    @classmethod
    def new(
        cls, headers: Fields, contents: GuestStream | None, trailers: GuestFuture, options: RequestOptions | None
    ) -> tuple[Request, Transmission]:
        body = GuestBody("HTTP-request-body-size", contents, trailers)
        return cls(headers, body, options), body.transmission

    @staticmethod
    def received(request: HttpRequest, allowance: Allowance) -> Request:
        """A request from outside.

        :raises RequestRefused: its headers are malformed or too many
        """
        made = Request(*received_request(request, Fields, allowance))
        made.allowance = allowance
        made.take_from(request)
        return made

    def get_options(self) -> RequestOptions | None:
        return self.options

    @staticmethod
    def consume_body(this: Request, res: GuestFuture) -> tuple[GuestReader, Outcome]:
        return this.consume(res)

    def sent(self, reader: PlainReader) -> HttpRequest:
        """The request for a transport, which gets the body from `reader`.

        :raises Err: it is not fit to be sent; with an `ErrorCode`
        """
        message = self.message(self.headers, reader, self.options)
        hold_to_length(self.body, self.headers)
        return message


class Response(Message):
    """The resource `response`."""

    def __init__(self, headers: Fields, body: Body) -> None:
        super().__init__(headers, body)
        self.status = 200

    @staticmethod
    def new(headers: Fields, contents: GuestStream | None, trailers: GuestFuture) -> tuple[Response, Transmission]:
        body = GuestBody("HTTP-response-body-size", contents, trailers)
        return Response(headers, body), body.transmission

    @staticmethod
    def received(
        response: HttpResponse, request: HttpRequest, sending: PlainReader, fields_class: type[Fields]
    ) -> Response:
        """The response that came for a request of a guest's.

        :raises Err: it is malformed, or its headers are too many; with an `ErrorCode`
        """
        made = Response(*received_response(response, request, sending, fields_class))
        made.status = response.status
        return made

    def get_status_code(self) -> int:
        return self.status

    def set_status_code(self, status_code: int) -> None:
        if not is_status(status_code):
            raise Err
        self.status = status_code

    @staticmethod
    def consume_body(this: Response, res: GuestFuture) -> tuple[GuestReader, Outcome]:
        return this.consume(res)

    def sent(self, method: str, reader: PlainReader) -> HttpResponse:
        """The response to a request by `method`, for the host, which gets the body from `reader`.

        :raises Err: it is not fit to be sent; with an `ErrorCode`
        """
        return sent_response(self.status, self.headers, method, reader)


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
        except Err as error:
            request.body.transmission.fail(error.value)
            await reader.aclose()
            raise

        def received(response: HttpResponse) -> Response:
            return Response.received(response, message, reader, self.fields_class)

        return await exchange(self.transport, message, reader, received)


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

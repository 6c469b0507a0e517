"""`wasi:http` 0.2: `types` and `outgoing-handler`."""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from ...errors import Err, P3HostError
from ...values import Ok
from ..background import Background
from ..http.bodies import Body, PlainReader
from ..http.exchange import announced_length, exchange, hold_to_length, received_request, received_response
from ..http.fields import MAX_HELD, Allowance
from ..http.heads import Case, RequestHead, has_content, is_status
from ..http.heads import RequestOptions as SharedRequestOptions
from ..http.messages import TERMINATED, ErrorCode, HttpClient, HttpRequest, HttpResponse
from .http_bodies import BodyError, FutureTrailers, IncomingBody, OutgoingBody, WrittenBody
from .http_fields import Fields, Parent
from .io import Error, Pollable

NO_RESPONSE = ErrorCode("internal-error", "the component gave no response")
UNSENT = ErrorCode("internal-error", "the message was dropped before it was sent")


class RequestOptions(SharedRequestOptions):
    """The resource `request-options`."""

    connect_timeout = SharedRequestOptions.get_connect_timeout
    first_byte_timeout = SharedRequestOptions.get_first_byte_timeout
    between_bytes_timeout = SharedRequestOptions.get_between_bytes_timeout


class IncomingMessage(Parent):
    """What `incoming-request` and `incoming-response` have in common."""

    def __init__(self, fields: Fields, received: Body, background: Background) -> None:
        self.fields = fields
        self.received = received
        self.background = background
        self.consumed = False

    def headers(self) -> Fields:
        return self.fields.child_of(self)

    def consume(self) -> IncomingBody:
        if self.consumed:
            raise Err
        self.consumed = True
        return IncomingBody(self.received, self.background)

    def close(self) -> None:
        if not self.consumed:
            self.background.start_task("the end of an HTTP message", self.received.aclose)
        self.check_childless()


class IncomingRequest(IncomingMessage):
    """The resource `incoming-request`."""

    name = "incoming-request"

    def __init__(self, request: HttpRequest, background: Background, allowance: Allowance) -> None:
        """:raises RequestRefused: its headers are malformed or too many"""
        super().__init__(*received_request(request, Fields, allowance), background)
        self.head = RequestHead()
        self.head.take_from(request)

    def method(self) -> Case:
        return self.head.get_method()

    def path_with_query(self) -> str | None:
        return self.head.get_path_with_query()

    def scheme(self) -> Case | None:
        return self.head.get_scheme()

    def authority(self) -> str | None:
        return self.head.get_authority()


class IncomingResponse(IncomingMessage):
    """The resource `incoming-response`."""

    name = "incoming-response"

    def __init__(self, status: int, fields: Fields, received: Body, background: Background) -> None:
        super().__init__(fields, received, background)
        self.status_code = status

    def status(self) -> int:
        return self.status_code


class OutgoingMessage(Parent):
    """What `outgoing-request` and `outgoing-response` have in common."""

    size_error: str

    def __init__(self, headers: Fields) -> None:
        self.fields = headers.taken()
        try:
            length = announced_length(self.fields)
        except Err:
            length = None  # such a message is not fit to be sent
        self.written = WrittenBody(self.size_error, length)
        self.has_body = False

    def headers(self) -> Fields:
        return self.fields.child_of(self)

    def body(self) -> OutgoingBody:
        if self.has_body:
            raise Err
        self.has_body = True
        return OutgoingBody(self.written)

    def close(self) -> None:
        self.written.fail(Err(UNSENT))
        self.written.close()
        self.check_childless()

    # What the WIT does not name

    def take(self) -> WrittenBody:
        """The guest gives the message away. Without an `outgoing-body`, its content is empty."""
        self.check_childless()
        if not self.has_body:
            self.written.finished = True
        return self.written


class OutgoingRequest(OutgoingMessage):
    """The resource `outgoing-request`."""

    name = "outgoing-request"
    size_error = "HTTP-request-body-size"
    allowance = Allowance()

    def __init__(self, headers: Fields) -> None:
        super().__init__(headers)
        self.head = RequestHead()
        self.head.allowance = self.allowance

    def method(self) -> Case:
        return self.head.get_method()

    def set_method(self, method: Case) -> None:
        self.head.set_method(method)

    def path_with_query(self) -> str | None:
        return self.head.get_path_with_query()

    def set_path_with_query(self, path_with_query: str | None) -> None:
        self.head.set_path_with_query(path_with_query)

    def scheme(self) -> Case | None:
        return self.head.get_scheme()

    def set_scheme(self, scheme: Case | None) -> None:
        self.head.set_scheme(scheme)

    def authority(self) -> str | None:
        return self.head.get_authority()

    def set_authority(self, authority: str | None) -> None:
        self.head.set_authority(authority)


class OutgoingResponse(OutgoingMessage):
    """The resource `outgoing-response`."""

    name = "outgoing-response"
    size_error = "HTTP-response-body-size"

    def __init__(self, headers: Fields) -> None:
        super().__init__(headers)
        self.status = 200

    def status_code(self) -> int:
        return self.status

    def set_status_code(self, status_code: int) -> None:
        if not is_status(status_code):
            raise Err
        self.status = status_code


class ResponseOutparam:
    """The resource `response-outparam`: where the response to a request by `method` goes. `outcome` is the response, or
    why there is none; the first one counts."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.settled = anyio.Event()
        self.outcome: OutgoingResponse | P3HostError = Err(NO_RESPONSE)

    @staticmethod
    def set(param: ResponseOutparam, response: Ok | Err) -> None:
        if isinstance(response, Err):
            param.settle(Err(ErrorCode.of(response.value)))
        else:
            written = response.value.take()
            if not has_content(param.method, response.value.status):
                written.discard()
            param.settle(response.value)

    def send_informational(self, status: int, headers: Fields) -> None:
        """:raises Err: with the `error-code`: there is no transport that takes such a response"""
        headers.taken()
        if not 100 <= status < 200:
            raise Err(ErrorCode("HTTP-protocol-error"))
        raise Err(ErrorCode("internal-error", "informational responses are not supported"))

    def close(self) -> None:
        self.settle(Err(NO_RESPONSE))

    # What the WIT does not name

    def settle(self, outcome: OutgoingResponse | P3HostError) -> None:
        if not self.settled.is_set():
            self.outcome = outcome
            self.settled.set()
        elif isinstance(outcome, OutgoingResponse):
            outcome.written.close()


class FutureIncomingResponse:
    """The resource `future-incoming-response`, and the exchange that it waits for. Giving it up early ends that."""

    def __init__(
        self,
        transport: HttpClient,
        message: HttpRequest,
        sending: PlainReader,
        fields_class: type[Fields],
        background: Background,
    ) -> None:
        self.transport = transport
        self.message = message
        self.sending = sending
        self.fields_class = fields_class
        self.background = background
        self.arrived = anyio.Event()
        self.outcome: Ok | Err | None = None
        self.taken = False
        self.task = background.start_task("an HTTP request", self.run)

    async def run(self) -> None:
        try:
            self.outcome = Ok(await exchange(self.transport, self.message, self.sending, self.received))
        except Err as error:
            self.outcome = error
        finally:
            self.arrived.set()

    def received(self, response: HttpResponse) -> IncomingResponse:
        fields, body = received_response(response, self.message, self.sending, self.fields_class)
        return IncomingResponse(response.status, fields, body, self.background)

    def ready(self) -> bool:
        return self.outcome is not None

    def subscribe(self) -> Pollable:
        return Pollable(self.ready, self.arrived.wait)

    def get(self) -> Ok | Err | None:
        if self.outcome is None:
            return None
        if self.taken:
            return Err()
        self.taken = True
        return Ok(self.outcome)

    def close(self) -> None:
        if self.outcome is None:
            self.sending.fail(Err(TERMINATED))
            self.task.cancel()
        elif not self.taken and isinstance(self.outcome, Ok):
            self.outcome.value.close()


class OutgoingHandler:
    """`wasi:http/outgoing-handler`."""

    def __init__(self, transport: HttpClient | None, fields_class: type[Fields], background: Background) -> None:
        self.transport = transport
        self.fields_class = fields_class
        self.background = background

    def handle(self, request: OutgoingRequest, options: RequestOptions | None) -> FutureIncomingResponse:
        """:raises Err: the request is not fit to be sent, or may not be; with the `error-code`"""
        written = request.take()
        reader = PlainReader(written)
        try:
            if self.transport is None:
                raise Err(ErrorCode("HTTP-request-denied"))
            message = request.head.message(request.fields, reader, options)
            hold_to_length(written, request.fields)
        except Err as error:
            written.fail(error)
            written.close()
            raise
        return FutureIncomingResponse(self.transport, message, reader, self.fields_class, self.background)


class Types:
    """`wasi:http/types`. An instance has classes of its own where they share its allowance."""

    IncomingRequest = IncomingRequest
    RequestOptions = RequestOptions
    ResponseOutparam = ResponseOutparam
    IncomingResponse = IncomingResponse
    IncomingBody = IncomingBody
    FutureTrailers = FutureTrailers
    OutgoingResponse = OutgoingResponse
    OutgoingBody = OutgoingBody
    FutureIncomingResponse = FutureIncomingResponse

    def __init__(self, allowance: Allowance) -> None:
        self.Fields = type("Fields", (Fields,), {"allowance": allowance})
        self.OutgoingRequest = type("OutgoingRequest", (OutgoingRequest,), {"allowance": allowance})

    def http_error_code(self, err: Error) -> ErrorCode | None:
        return err.cause.code if isinstance(err.cause, BodyError) else None


def interfaces(transport: HttpClient | None, background: Background) -> Mapping[str, object]:
    """The providers of the package's interfaces, by name without version."""
    types = Types(Allowance(MAX_HELD))
    return {
        "wasi:http/types": types,
        "wasi:http/outgoing-handler": OutgoingHandler(transport, types.Fields, background),
    }

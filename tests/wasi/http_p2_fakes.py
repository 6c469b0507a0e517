"""What stands in for an instance when the providers of `wasi:http` 0.2 are called directly."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from wasi_fakes import TaskGroupBackground as TaskGroupBackground
from wasi_fakes import finish
from wasi_fakes import running as running

from p3host.errors import Err, Trap
from p3host.values import Ok
from p3host.wasi.http import ErrorCode, HttpRequest, HttpResponse
from p3host.wasi.http.fields import Allowance
from p3host.wasi.http.heads import Case
from p3host.wasi.p2.http import (
    FutureIncomingResponse,
    IncomingRequest,
    IncomingResponse,
    OutgoingHandler,
    OutgoingRequest,
    OutgoingResponse,
    ResponseOutparam,
)
from p3host.wasi.p2.http_bodies import BodyError, IncomingBody
from p3host.wasi.p2.http_fields import Fields
from p3host.wasi.p2.io import LastOperationFailed

TERMINATED = ErrorCode("connection-terminated")


def fields(*entries: tuple[str, bytes]) -> Fields:
    return Fields.from_list(list(entries))


def outgoing_request(*headers: tuple[str, bytes], method: str = "post") -> OutgoingRequest:
    """To `http://example.com/`."""
    request = OutgoingRequest(fields(*headers))
    request.set_method(Case(method))
    request.set_scheme(Case("HTTP"))
    request.set_authority("example.com")
    return request


def incoming_request(request: HttpRequest, background: TaskGroupBackground) -> IncomingRequest:
    return IncomingRequest(request, background, Allowance())


async def incoming_response(background: TaskGroupBackground, response: HttpResponse) -> IncomingResponse:
    """The resource for what came for a request without a body."""
    return await answer_of(send(background, outgoing_request(), lambda request: response))


class Peer:
    """A server: answers each request by `answer`."""

    def __init__(self, answer: Callable[[HttpRequest], Any]) -> None:
        self.answer = answer

    async def send(self, request: HttpRequest) -> HttpResponse:
        response = self.answer(request)
        return response if isinstance(response, HttpResponse) else await response


def send(
    background: TaskGroupBackground, request: OutgoingRequest, answer: Callable[[HttpRequest], Any], options: Any = None
) -> FutureIncomingResponse:
    return OutgoingHandler(Peer(answer), Fields, background).handle(request, options)


async def outcome_of(future: FutureIncomingResponse) -> Any:
    """The inner result, waited for as guests do."""
    await finish(future.subscribe().block())
    outcome = future.get()
    assert isinstance(outcome, Ok)
    return outcome.value


async def answer_of(future: FutureIncomingResponse) -> IncomingResponse:
    outcome = await outcome_of(future)
    assert isinstance(outcome, Ok), outcome
    assert isinstance(outcome.value, IncomingResponse)
    return outcome.value


async def failure_of(future: FutureIncomingResponse) -> object:
    outcome = await outcome_of(future)
    assert isinstance(outcome, Err)
    return outcome.value


async def read_all(body: IncomingBody) -> tuple[bytes, object]:
    """The content, by a stream that is dropped at its end, and what it ended with: "closed" or a failure."""
    stream = body.stream()
    data = b""
    try:
        while True:
            data += await finish(stream.blocking_read(7))
    except Err as error:
        return data, error.value
    finally:
        stream.close()


def code_of(failure: object) -> ErrorCode:
    """The code of a stream's `last-operation-failed`."""
    assert isinstance(failure, LastOperationFailed)
    cause = failure.value.cause
    assert isinstance(cause, BodyError)
    return cause.code


async def trailers_of(body: IncomingBody) -> Any:
    """The inner result of the future of the trailers, and the future."""
    future = IncomingBody.finish(body)
    await finish(future.subscribe().block())
    outcome = future.get()
    assert isinstance(outcome, Ok)
    return outcome.value, future


async def write(stream: Any, data: bytes) -> None:
    """All of it, as guests do that wait for room."""
    while data:
        room = stream.check_write()
        if not room:
            await finish(stream.subscribe().block())
            continue
        assert stream.write(data[:room]) is None
        data = data[room:]


def refused(function: Callable[..., Any], *arguments: Any) -> object:
    with pytest.raises(Err) as raised:
        function(*arguments)
    return raised.value.value


def trapped(function: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(Trap) as raised:
        function(*arguments)
    return raised.value.message


Guest: TypeAlias = Callable[[IncomingRequest, ResponseOutparam], Awaitable[None]]


class FunctionType:
    params = (("request", None), ("response-out", None))


class Handle:
    """The function of a component's `wasi:http/incoming-handler`: a guest in Python, whose tasks end when it does."""

    type = FunctionType()

    def __init__(self, background: TaskGroupBackground, guest: Guest) -> None:
        self.background = background
        self.guest = guest
        self.given_up = False

    def begin(self, request: Any, response_out: Any, *, on_ended: Callable[[BaseException | None], None]) -> Handle:
        self.ended = anyio.Event()
        self.failure: BaseException | None = None

        async def run() -> None:
            try:
                await self.guest(request, response_out)
            except Exception as failure:
                self.failure = failure
            finally:
                self.ended.set()
                on_ended(self.failure)

        self.task = self.background.start_task("handle", run)
        return self

    async def finish(self) -> None:
        await self.ended.wait()
        if self.failure is not None:
            raise self.failure

    async def give_up(self) -> None:
        if not self.ended.is_set():
            self.given_up = True
            self.task.cancel()


class Handler:
    def __init__(self, background: TaskGroupBackground, guest: Guest) -> None:
        self.handle = Handle(background, guest)


def respond(out: ResponseOutparam, *headers: tuple[str, bytes], status: int = 200) -> Any:
    """Sets a response, and returns its body."""
    response = OutgoingResponse(fields(*headers))
    response.set_status_code(status)
    body = response.body()
    ResponseOutparam.set(out, Ok(response))
    return body

"""HTTP messages between a guest and the world outside: what `wasi:http` 0.2 and 0.3 do alike with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import anyio

from ...errors import Err, P3HostError
from .bodies import Body, PlainReader, ReceivedBody, Trailers
from .fields import Allowance, Fields
from .heads import has_content, is_status
from .messages import (
    OUTSIDE_FAILURES,
    ErrorCode,
    HttpClient,
    HttpMessage,
    HttpRequest,
    HttpResponse,
    RequestRefused,
    error_code,
)
from .syntax import content_length

F = TypeVar("F", bound=Fields)
R = TypeVar("R")


def announced_length(headers: Fields) -> int | None:
    try:
        return content_length(headers.lines)
    except ValueError:
        raise Err(ErrorCode("HTTP-protocol-error")) from None


def hold_to_length(body: Body, headers: Fields) -> None:
    """Holds a body to the length that the headers announce.

    :raises Err: they announce no length, several, or one for no content at all; with an `ErrorCode`
    """
    length = announced_length(headers)
    if length and body.is_read:
        raise Err(ErrorCode(body.size_error, 0))
    body.length = length


def received_request(request: HttpRequest, fields_class: type[F], allowance: Allowance) -> tuple[F, ReceivedBody]:
    """The headers and the body of a request from outside.

    :raises RequestRefused: its headers are malformed or too many
    """
    try:
        headers = fields_class.received(request.headers, "HTTP-request-header-section-size", allowance)
        length = announced_length(headers)
    except Err as error:
        raise RequestRefused(error.value) from error
    body = ReceivedBody(
        "HTTP-request-body-size",
        length,
        request.body,
        request.trailers,
        check_trailers=partial(fields_class.received, kind="HTTP-request-trailer-section-size", allowance=allowance),
    )
    return headers, body


def received_response(
    response: HttpResponse, request: HttpRequest, sending: PlainReader, fields_class: type[F]
) -> tuple[F, ReceivedBody]:
    """The headers and the body of the response that came for a request of a guest's. When it has been read or given
    up, so is what is left of the request's body, which `sending` reads.

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
    return headers, body


def sent_response(status: int, headers: Fields, method: str, reader: PlainReader) -> HttpResponse:
    """A guest's response to a request by `method`, for the host, which gets the body from `reader`.

    :raises Err: it is not fit to be sent; with an `ErrorCode`
    """
    if not has_content(method, status):
        announced_length(headers)  # is none of its own content, but has to be one
        reader.may_be_left = True
        return HttpResponse(status=status, headers=headers.sent())
    hold_to_length(reader.body, headers)
    return HttpResponse(status=status, headers=headers.sent(), body=reader, trailers=Trailers(reader))


async def exchange(
    transport: HttpClient, request: HttpRequest, sending: PlainReader, received: Callable[[HttpResponse], R]
) -> R:
    """Sends a guest's request, whose body `sending` reads. Returns what `received` makes of the response.

    :raises Err: with the `ErrorCode`
    """
    try:
        response = await answer(transport, request)
        try:
            if sending.failure is not None:  # whatever the transport made of it
                raise sending.failure
            made = received(response)
        except BaseException:
            await close_content(response)
            raise
        sending.accept()
    except (P3HostError, *OUTSIDE_FAILURES) as failure:
        code = error_code(failure)
        sending.body.transmission.fail(code)
        await sending.aclose()
        raise Err(code) from failure
    except BaseException:
        await sending.aclose()
        raise
    return made


async def answer(transport: HttpClient, request: HttpRequest) -> HttpResponse:
    """The head of the response. It has to be there within the time-out for the first byte, and for connecting where
    there is one."""
    timeouts = request.timeouts
    if timeouts.first_byte is None:
        return await transport.send(request)
    with anyio.move_on_after(timeouts.first_byte + (timeouts.connect or 0)):
        return await transport.send(request)
    raise Err(ErrorCode("connection-read-timeout"))


async def close_content(message: HttpMessage) -> None:
    close = getattr(message.body, "aclose", None)
    if close is not None:
        with anyio.CancelScope(shield=True):
            await close()

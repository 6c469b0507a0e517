"""An HTTP service of WASI 0.3 in Python. See ../README.md for what it answers."""

import asyncio
from collections.abc import AsyncIterator

import componentize_py_async_support
import wit_world
from componentize_py_async_support import spawn
from componentize_py_async_support.futures import FutureReader
from componentize_py_async_support.streams import ByteStreamReader, ByteStreamWriter
from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports import client, monotonic_clock
from wit_world.imports.wasi_http_types import Fields, Request, Response, Scheme_Http

MILLISECOND = 1_000_000  # nanoseconds
EVENT_NONE, EVENT_TASK_CANCELLED = 0, 6

arrived = 0
resume = componentize_py_async_support.callback


def callback(event: int, waitable: int, payload: int) -> int:
    """Takes no notice when a client has gone away: the runtime would trap, and end all requests in the instance."""
    return resume(EVENT_NONE if event == EVENT_TASK_CANCELLED else event, waitable, payload)


componentize_py_async_support.callback = callback


class Handler(exports.Handler):
    async def handle(self, request: Request) -> Response:
        match (request.get_path_with_query() or "").split("/"):
            case "", "sleep", milliseconds:
                await monotonic_clock.wait_for(int(milliseconds) * MILLISECOND)
                return respond(pieces(f"slept {milliseconds} ms\n".encode()))
            case "", "meet", count:
                await meet(int(count))
                return respond(pieces(b"met\n"))
            case "", "lengths":
                return respond(lengths([address.decode() for address in request.get_headers().get("address")]))
            case _:
                return respond(upper(consume(Request, request)))


async def meet(count: int) -> None:
    """Returns once so many requests are here. A task can't wait for another, so it looks again and again."""
    global arrived
    arrived += 1
    while arrived < count:
        await monotonic_clock.wait_for(MILLISECOND)


def no_trailers() -> FutureReader:
    # What it is made with is what its reader gets when the writable end is dropped.
    return wit_world.result_option_wasi_http_types_fields_wasi_http_types_error_code_future(lambda: Ok(None))[1]


def consume(kind: type[Request] | type[Response], message: Request | Response) -> ByteStreamReader:
    handled = wit_world.result_unit_wasi_http_types_error_code_future(lambda: Ok(None))[1]
    return kind.consume_body(message, handled)[0]


def respond(body: AsyncIterator[bytes]) -> Response:
    writer, reader = wit_world.byte_stream()
    response, _ = Response.new(Fields.from_list([("content-type", b"text/plain")]), reader, no_trailers())
    response.set_status_code(201)
    spawn(write(body, writer))
    return response


async def write(body: AsyncIterator[bytes], writer: ByteStreamWriter) -> None:
    with writer:
        async for piece in body:
            await writer.write_all(piece)


async def read(stream: ByteStreamReader) -> AsyncIterator[bytes]:
    with stream:
        while not stream.writer_dropped:
            yield await stream.read(16_384)


async def pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def upper(stream: ByteStreamReader) -> AsyncIterator[bytes]:
    async for piece in read(stream):
        yield piece.upper()


async def lengths(addresses: list[str]) -> AsyncIterator[bytes]:
    for answer in asyncio.as_completed([length(address) for address in addresses]):
        yield await answer


async def length(address: str) -> bytes:
    request, _ = Request.new(Fields(), None, no_trailers(), None)
    request.set_scheme(Scheme_Http())
    request.set_authority(address)
    response = await client.send(request)
    total = 0
    async for piece in read(consume(Response, response)):
        total += len(piece)
    return f"{address}: {total}\n".encode()

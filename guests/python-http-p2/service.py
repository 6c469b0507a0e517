"""An HTTP service of WASI 0.2 in Python, whose asyncio waits in `wasi:io/poll`.

`/lengths` sends a request to each address in the headers `address`, to all at once, and answers with the lengths of
their bodies, a line for each in the order in which they end. Any other path answers with the body, in upper case.
"""

import asyncio

from componentize_py_types import Ok
from poll_loop import PollLoop, Sink, Stream, send
from wit_world import exports
from wit_world.imports.types import (
    Fields,
    IncomingRequest,
    OutgoingRequest,
    OutgoingResponse,
    ResponseOutparam,
    Scheme_Http,
)


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        loop = PollLoop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve(request, response_out))


async def serve(request: IncomingRequest, response_out: ResponseOutparam) -> None:
    response = OutgoingResponse(Fields.from_list([("content-type", b"text/plain")]))
    response.set_status_code(201)
    body = response.body()
    ResponseOutparam.set(response_out, Ok(response))
    sink = Sink(body)
    if request.path_with_query() == "/lengths":
        addresses = request.headers().get("address")
        for answer in asyncio.as_completed([length(address.decode()) for address in addresses]):
            await sink.send(await answer)
    else:
        stream = Stream(request.consume())
        while (chunk := await stream.next()) is not None:
            await sink.send(chunk.upper())
    sink.close()


async def length(address: str) -> bytes:
    request = OutgoingRequest(Fields())
    request.set_scheme(Scheme_Http())
    request.set_authority(address)
    response = await send(request)
    stream = Stream(response.consume())
    total = 0
    while (chunk := await stream.next()) is not None:
        total += len(chunk)
    return f"{address}: {total}\n".encode()

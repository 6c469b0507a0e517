"""Requests to what a component of WASI 0.2 exports: `wasi:http/incoming-handler`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import anyio

from ...errors import Err, P3HostError
from ..background import Background
from ..http.bodies import PlainReader
from ..http.exchange import sent_response
from ..http.fields import Allowance
from ..http.messages import TERMINATED, ErrorCode, HttpRequest, HttpResponse
from .http import NO_RESPONSE, IncomingRequest, OutgoingResponse, ResponseOutparam

INCOMPLETE = ErrorCode("HTTP-response-incomplete")


class RunningCall(Protocol):
    """A call of a guest that goes on by itself."""

    async def finish(self) -> object:
        """Waits for its end, and raises what it failed with. Cancelling this cancels the guest's task."""
        ...

    async def give_up(self) -> None:
        """Cancels the guest's task, unless it has ended, and lets it have the time for that."""
        ...


class HandleExport(Protocol):
    """A guest's function `handle`."""

    @property
    def background(self) -> Background: ...

    def begin(
        self, request: IncomingRequest, response_out: ResponseOutparam, *, on_ended: Callable[[Exception | None], None]
    ) -> RunningCall:
        """Begins a call. `on_ended` is told of its end, and of what it failed with."""
        ...


@asynccontextmanager
async def handle(function: HandleExport, request: HttpRequest, allowance: Allowance) -> AsyncIterator[HttpResponse]:
    """What `p3host.wasi.http.handle` does with an export of WASI 0.2.

    A guest may go on with its call when it has set its response. Where the body is read to its end, or the response
    has none by its nature, so that what the guest writes is thrown away, the end of the call is waited for when the
    block is left; otherwise the guest's writes fail from then on, and its task is cancelled.
    """
    given = IncomingRequest(request, function.background, allowance)
    outparam = ResponseOutparam(request.method)

    def ended(failure: Exception | None) -> None:
        error = failure if isinstance(failure, P3HostError) else None
        outparam.settle(error or Err(NO_RESPONSE))
        if isinstance(outparam.outcome, OutgoingResponse):
            outparam.outcome.written.fail(error or Err(INCOMPLETE))

    call: RunningCall | None = None
    try:
        call = function.begin(given, outparam, on_ended=ended)
        await outparam.settled.wait()
        outcome = outparam.outcome
        if not isinstance(outcome, OutgoingResponse):
            raise outcome
        written = outcome.written
        reader = PlainReader(written)
        try:
            yield sent_response(outcome.status, outcome.fields, request.method, reader)
            whole = reader.whole or written.is_read or written.discarding
        finally:
            await reader.aclose()
        if whole:
            await call.finish()
    finally:
        outparam.settle(Err(TERMINATED))
        if call is not None:
            await call.give_up()
        with anyio.CancelScope(shield=True):
            await given.received.aclose()

"""Requests to what a component of WASI 0.3 exports: `wasi:http/handler`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from ...errors import Err
from ..http.bodies import PlainReader
from ..http.fields import Allowance
from ..http.messages import ErrorCode, HttpRequest, HttpResponse
from .http import Request, Response


class Handling(AbstractAsyncContextManager[HttpResponse]):
    """The block in which a component of WASI 0.3 answers a request."""

    def __init__(
        self, function: Callable[[Request], Awaitable[object]], request: HttpRequest, allowance: Allowance
    ) -> None:
        self.function = function
        self.request = request
        self.allowance = allowance

    async def __aenter__(self) -> HttpResponse:
        self.given = given = Request.received(self.request, self.allowance)
        try:
            try:
                answer = await self.function(given)
            except Err as error:
                raise Err(ErrorCode.of(error.value)) from error
            if not isinstance(answer, Response):
                raise TypeError(f"the handler returned no response of wasi:http, but {answer!r}")
            self.reader = reader = PlainReader(answer.body)
            try:
                return answer.sent(self.request.method, reader)
            except BaseException as error:
                if isinstance(error, Err):
                    reader.fail(error)
                await reader.aclose()
                raise
        except BaseException:
            await given.body.aclose()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.reader.accept()
            await self.reader.aclose()
        finally:
            await self.given.body.aclose()

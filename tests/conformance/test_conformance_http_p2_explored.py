"""A component that serves HTTP by WASI 0.2, in simulated time and in any order of what can happen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteReceiveStream

from p3host.testing import Testbed
from p3host.wasi.http import HttpRequest, HttpResponse, handle

GUEST = Path(__file__).resolve().parents[2] / "guests/c-http-p2/c-http-p2.wasm"
HANDLER = "wasi:http/incoming-handler"
SCHEDULES = 40


async def words() -> AsyncIterator[bytes]:
    for word in (b"a", b"b", b"c"):
        await anyio.sleep(0.1)
        yield word


def post(path: str) -> HttpRequest:
    return HttpRequest(
        method="POST",
        scheme="http",
        authority="api.test",
        path_with_query=path,
        body=words(),
        trailers=[("a", b"1")],
    )


def echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(body=request.body, trailers=request.trailers)


@pytest.mark.virtual_time
async def test_a_guest_that_sleeps_sleeps_in_simulated_time(testbed: Testbed) -> None:
    async with testbed.instantiate(GUEST) as guest, handle(guest.exports[HANDLER], post("/ticks")) as response:
        assert await response.read() == b"tick\n" * 3


@pytest.mark.explore(schedules=SCHEDULES)
async def test_requests_are_answered_whole_and_leave_nothing(testbed: Testbed) -> None:
    async with testbed.instantiate(GUEST, http={"http://api.test/*": echo}) as guest:

        async def one(path: str, body: bytes) -> None:
            async with handle(guest.exports[HANDLER], post(path)) as response:
                assert await response.read() == body
                assert await response.read_trailers() == (None if path == "/count" else [("a", b"1")])

        async with anyio.create_task_group() as tasks:
            for path, body in (("/echo", b"ABC"), ("/forward", b"abc"), ("/count", b"3")):
                tasks.start_soon(one, path, body)


@pytest.mark.explore(schedules=SCHEDULES)
async def test_clients_that_go_away_leave_nothing(testbed: Testbed) -> None:
    async with testbed.instantiate(GUEST, http={"http://api.test/*": echo}) as guest:
        for path in "/echo", "/forward", "/w":
            async with handle(guest.exports[HANDLER], post(path)) as response:
                assert isinstance(response.body, ByteReceiveStream)
                assert await response.body.receive()

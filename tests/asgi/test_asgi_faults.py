"""Servers whose `send` does not return, or is cancelled in the middle: what it means for the application's requests."""

from __future__ import annotations

import logging
import time
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from asgi_fakes import Connection, Peer, forwarding
from asgi_guests import answers

from p3host.asgi import Application, PoolLimits, ResponseAborted
from p3host.wasi.http import HttpRequest, HttpResponse


class Stuck(Connection):
    """Its server can't send the end of a response, and says so of a client that is gone when `leave` is called."""

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            await anyio.sleep_forever()


@pytest.mark.virtual_time
async def test_an_end_that_can_not_be_sent_to_a_client_that_is_gone_is_given_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = Stuck("GET", "/count")
    async with Application(answers()) as application, anyio.create_task_group() as tasks:
        tasks.start_soon(client.run, application)
        await anyio.sleep(10)
        assert [member.active for member in application.pool.members] == [1]
        client.leave()
        await anyio.sleep(2)
        assert client.ended
        assert [member.active for member in application.pool.members] == [0]
    assert not caplog.records


@pytest.mark.virtual_time
async def test_an_end_that_can_not_be_sent_takes_no_longer_than_a_request_may() -> None:
    client = Stuck("GET", "/count")
    async with Application(answers(), pool=PoolLimits(request_seconds=20)) as application:
        with pytest.raises(ResponseAborted):
            await client.run(application)
        assert [member.active for member in application.pool.members] == [0]


class Cautious(Connection):
    """Its server looks whether it is cancelled before it sends, when it has changed its state already."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.begun = 0

    async def send(self, message: Any) -> None:
        self.begun += 1
        await checkpoint()
        await super().send(message)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])  # asyncio cancels nothing that doesn't wait
async def test_a_head_that_comes_too_late_is_not_sent_by_halves(anyio_backend: str) -> None:
    async def answer(request: HttpRequest) -> HttpResponse:
        time.sleep(0.05)  # noqa: ASYNC251  # so that the time is over when the guest is told, and nobody knows it yet
        return HttpResponse(201)

    client = Cautious("GET", "/forward")
    async with forwarding(Peer(answer), pool=PoolLimits(request_seconds=0.04)) as application:
        await client.run(application)
    assert client.begun == len(client.messages)
    assert (client.status, client.complete) == (504, True)


@pytest.mark.virtual_time
async def test_what_a_client_does_wrong_is_no_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    headers = [(b"content-length", b"1"), (b"content-length", b"2")]
    async with Application(answers()) as application:
        client = await Connection("POST", "/count", headers=headers).run(application)
        assert client.status == 400
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
        await Connection("GET", "/trap").run(application)
        assert [record.levelname for record in caplog.records if record.levelno >= logging.WARNING] == ["ERROR"]


class Holding(Connection):
    """Its server sends no end before all that has come for the application is taken."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.taken_one = anyio.Event()

    async def receive(self) -> dict[str, Any]:
        message = await super().receive()
        self.taken_one.set()
        self.taken_one = anyio.Event()
        return message

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            while self.pieces:
                await self.taken_one.wait()
        await super().send(message)


@pytest.mark.virtual_time
@pytest.mark.parametrize(("path", "status"), [("/count", 200), ("/error", 500), ("/trap", 500), ("/wait", 504)])
async def test_a_body_that_nobody_reads_does_not_keep_a_server_from_sending_the_end(path: str, status: int) -> None:
    client = Holding("POST", path, *([bytes(65536)] * 100))
    async with Application(answers(), pool=PoolLimits(request_seconds=60)) as application:
        with anyio.fail_after(100):
            await client.run(application)
        assert (client.status, client.complete, len(client.pieces)) == (status, True, 0)
        assert all(member.active == 0 for member in application.pool.members)

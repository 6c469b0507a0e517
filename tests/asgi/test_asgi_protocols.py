"""Components of both worlds of WASI are served alike."""

from __future__ import annotations

from pathlib import Path

import anyio
import httpx
import pytest

from p3host import LinkError
from p3host.asgi import Application

pytestmark = pytest.mark.anyio

GUESTS = Path(__file__).parents[2] / "guests"


@pytest.mark.parametrize(("guest", "at_once"), [("c-http", True), ("c-http-p2", False)])
async def test_requests_at_the_same_time_are_all_answered(guest: str, at_once: bool) -> None:
    answers: dict[int, str] = {}
    async with Application(GUESTS / guest / f"{guest}.wasm") as application:
        assert application.pool.protocol.concurrent is at_once
        transport = httpx.ASGITransport(app=application)
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://example.com") as client,
            anyio.create_task_group() as requests,
        ):

            async def ask(number: int) -> None:
                answers[number] = (await client.post("/", content=b"request %d" % number)).text

            for number in range(30):
                requests.start_soon(ask, number)
    assert answers == {number: f"REQUEST {number}" for number in range(30)}


@pytest.mark.parametrize("guest", ["c-http", "c-http-p2"])
async def test_an_instance_that_has_answered_head_is_used_again(guest: str) -> None:
    async with Application(GUESTS / guest / f"{guest}.wasm") as application:
        transport = httpx.ASGITransport(app=application)
        async with httpx.AsyncClient(transport=transport, base_url="http://example.com") as client:
            for method, body in [("HEAD", b""), ("POST", bytes(200_000))]:
                answer = await client.request(method, "/", content=bytes(200_000))
                assert (answer.status_code, answer.content) == (200, body)
        assert [(member.taken, member.has_trapped) for member in application.pool.members] == [(2, False)]


def test_a_component_of_neither_is_refused() -> None:
    with pytest.raises(LinkError, match=r"exports no wasi:http/handler@0\.3 or wasi:http/incoming-handler@0\.2, but "):
        Application(GUESTS / "c-cli/c-cli.wasm")

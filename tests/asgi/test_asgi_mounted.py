"""The application in a framework, asked by an HTTP client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from asgi_fakes import Peer, c_http, forwarding
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from p3host.asgi import Application
from p3host.wasi.http import HttpResponse

pytestmark = pytest.mark.anyio


async def greet(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello from Python")


def mounted(application: Application) -> httpx.AsyncClient:
    framework = Starlette(routes=[Route("/python", greet), Mount("/guest", application)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=framework), base_url="http://example.com")


async def test_it_answers_below_the_path_of_its_mount() -> None:
    peer = Peer(HttpResponse(201))
    async with forwarding(peer) as application, mounted(application) as client:
        assert (await client.get("/python")).text == "hello from Python"
        assert (await client.get("/guest/forward")).status_code == 201
    (request,) = peer.requests
    assert (request.path_with_query, request.authority) == ("/forward", "example.com")


async def test_an_upload_is_streamed() -> None:
    async def upload() -> AsyncIterator[bytes]:
        for number in range(100):
            yield b"piece %d, " % number

    async with Application(c_http()) as application, mounted(application) as client:
        answer = await client.post("/guest/echo", content=upload())
    assert answer.text == "".join(f"PIECE {number}, " for number in range(100))


async def test_it_answers_without_a_block_too() -> None:
    async with mounted(Application(c_http())) as client:
        assert (await client.post("/guest/echo", content=b"hello")).text == "HELLO"

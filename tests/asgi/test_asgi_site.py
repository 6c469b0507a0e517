"""The guest c-site: a site in blocking code, with many requests of one instance at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

import anyio
import httpx
import pytest
from asgi_fakes import Connection

from p3host import Component
from p3host.asgi import Application, PoolLimits

pytestmark = pytest.mark.anyio

FOLDER = Path(__file__).resolve().parents[2] / "guests/c-site"


@cache
def component() -> Component:
    return Component.load(FOLDER / "c-site.wasm")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with (
        Application(component(), pool=PoolLimits(instances=1)) as application,
        httpx.AsyncClient(transport=httpx.ASGITransport(app=application), base_url="http://site") as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("path", "file", "content_type"),
    [
        ("/", "index.html", "text/html; charset=utf-8"),
        ("/?from=afar", "index.html", "text/html; charset=utf-8"),
        ("/style.css", "style.css", "text/css; charset=utf-8"),
        ("/script.js", "script.js", "text/javascript; charset=utf-8"),
        ("/logo.svg", "logo.svg", "image/svg+xml"),
    ],
)
async def test_files_have_their_type_and_length(
    client: httpx.AsyncClient, path: str, file: str, content_type: str
) -> None:
    content = (FOLDER / file).read_bytes()
    answer = await client.get(path)
    head = await client.head(path)
    assert (answer.status_code, answer.content, head.content) == (200, content, b"")
    assert answer.headers == head.headers == {"content-type": content_type, "content-length": str(len(content))}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "content"),
    [
        ("POST", "/sum", b"[1, -22,\n333 ]", 200, {"count": 3, "sum": 312}),
        ("POST", "/sum", b" []", 200, {"count": 0, "sum": 0}),
        ("POST", "/sum", b"[1,]", 400, {"error": "no list of whole numbers"}),
        ("POST", "/sum", b"[1] 2", 400, {"error": "no list of whole numbers"}),
        ("POST", "/sum", b"", 400, {"error": "no list of whole numbers"}),
        ("POST", "/sum", b"[" + b"1, " * 2000 + b"1]", 413, {"error": "too long"}),
    ],
)
async def test_sum_speaks_json(
    client: httpx.AsyncClient, method: str, path: str, body: bytes, status: int, content: dict[str, object]
) -> None:
    answer = await client.request(method, path, content=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert answer.json() == content


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/nowhere", 404, None),
        ("HEAD", "/index.html", 404, None),
        ("POST", "/", 405, "GET, HEAD"),
        ("PURGE", "/style.css", 405, "GET, HEAD"),
        ("DELETE", "/ticks", 405, "GET, HEAD"),
        ("GET", "/sum", 405, "POST"),
        ("HEAD", "/echo", 405, "POST"),
    ],
)
async def test_what_is_not_there_is_told(
    client: httpx.AsyncClient, method: str, path: str, status: int, allow: str | None
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.headers.get("allow")) == (status, allow)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.virtual_time
async def test_a_response_that_does_not_end_goes_on_beside_others_until_its_client_goes_away() -> None:
    limits = PoolLimits(instances=1)
    async with Application(component(), pool=limits) as application, anyio.create_task_group() as requests:
        endless = Connection(path="/ticks")
        requests.start_soon(endless.run, application)
        await endless.until(lambda: endless.body.startswith(b"tick 1\ntick 2\n"))
        echo = Connection("POST", "/echo", unfinished=True)
        requests.start_soon(echo.run, application)
        for piece in (b"one", b"two", b"three"):
            echo.give(piece, last=piece == b"three")
            await echo.until(lambda piece=piece: echo.body.endswith(piece))
        seen = len(endless.messages)
        await endless.until(lambda: len(endless.messages) > seen + 2)
        endless.leave()
    assert (echo.body, echo.complete, endless.complete) == (b"onetwothree", True, False)

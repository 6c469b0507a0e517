"""HTTP peers without a network, and requests that a test makes of a guest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from p3host import Err
from p3host.testing import After, HttpPeers, Testbed, double
from p3host.wasi.http import ErrorCode, HttpRequest, HttpResponse

pytestmark = pytest.mark.virtual_time

GUESTS = Path(__file__).parents[2] / "guests"
C_HTTP = GUESTS / "c-http/c-http.wasm"


def request(url: str, method: str = "GET", body: Any = b"") -> HttpRequest:
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return HttpRequest(
        method=method, scheme=scheme, authority=authority, path_with_query=f"{slash}{path}" or None, body=body
    )


@pytest.mark.parametrize(
    ("url", "method", "status", "body"),
    [
        ("http://api.test/items", "GET", 200, b"all"),
        ("http://api.test/items", "POST", 201, b""),
        ("http://api.test/items/7", "GET", 200, b"one of them"),
        ("http://api.test/items?page=2", "GET", 404, b""),
        ("http://api.test/", "GET", 404, b""),
        ("http://api.test", "GET", 404, b""),
        ("http://other.test/anything?at=all", "PUT", 204, b""),
        ("http://made.test/x", "GET", 200, b"made for /x"),
    ],
)
async def test_the_first_address_that_fits_answers(url: str, method: str, status: int, body: bytes) -> None:
    peers = HttpPeers(
        {
            "POST http://api.test/items": 201,
            "http://api.test/items": b"all",
            "http://api.test/items/*": "one of them",
            "http://other.test*": HttpResponse(204),
            "http://made.test/*": lambda request: f"made for {request.path_with_query}",
        }
    )
    response = await peers.send(request(url, method))
    assert (response.status, await response.read()) == (status, body)
    assert [asked.method for asked in peers.requests] == [method]


async def test_an_authority_that_no_address_names_is_not_found() -> None:
    peers = HttpPeers({"http://api.test/": 200})
    for url in ("https://api.test/", "http://api.test:81/", "http://api.tes/"):
        with pytest.raises(Err) as caught:
            await peers.send(request(url))
        assert caught.value.value == ErrorCode("DNS-error")
    assert len(peers.requests) == 3


async def test_failures_are_raised() -> None:
    peers = HttpPeers({"http://a.test/": ConnectionRefusedError(), "http://b.test/": Err("loop-detected")})
    with pytest.raises(ConnectionRefusedError):
        await peers.send(request("http://a.test/"))
    with pytest.raises(Err):
        await peers.send(request("http://b.test/"))


async def test_answers_may_be_scripted_and_take_time() -> None:
    peers = HttpPeers({"http://api.test/": double(503, After(30.0, "ready"))})
    started = anyio.current_time()
    assert (await peers.send(request("http://api.test/"))).status == 503
    assert await (await peers.send(request("http://api.test/"))).read() == b"ready"
    assert anyio.current_time() - started == pytest.approx(30.0)


async def test_requests_are_kept_with_their_bodies() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a "
        yield b"body"

    peers = HttpPeers({"http://api.test/": 200})
    await peers.send(request("http://api.test/", "POST", pieces()))
    assert peers.requests[0].body == b"a body"


@pytest.mark.parametrize("address", ["api.test", "GET /items", ""])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="give a URL"):
        HttpPeers({address: 200})


async def test_an_answer_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="a peer answers with"):
        await HttpPeers({"http://api.test/": lambda request: None}).send(request("http://api.test/"))


async def test_a_guest_answers_requests_and_reaches_its_peers(testbed: Testbed) -> None:
    peers = {"http://upstream.test/*": HttpResponse(body=b"from upstream")}
    async with testbed.instantiate(C_HTTP, http=peers, allow_leaks=True) as guest:
        async with guest.handle(HttpRequest(method="POST", path_with_query="/echo", body=b"shout")) as response:
            assert response.status == 200
            assert await response.read() == b"SHOUT"
        asked = HttpRequest(
            method="POST", scheme="http", authority="upstream.test", path_with_query="/forward", body=b"hello"
        )
        async with guest.handle(asked) as response:
            assert (response.status, await response.read()) == (200, b"from upstream")
    (forwarded,) = guest.http.requests
    assert (forwarded.authority, forwarded.body) == ("upstream.test", b"hello")


async def test_without_peers_requests_are_denied(testbed: Testbed) -> None:
    async with testbed.instantiate(C_HTTP, allow_leaks=True) as guest:
        asked = HttpRequest(scheme="http", authority="upstream.test", path_with_query="/forward")
        async with guest.handle(asked) as response:
            assert response.status == 502  # what this guest makes of a request that failed

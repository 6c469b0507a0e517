"""HTTP services in languages with runtimes of their own: see in guests/README.md what they answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import anyio
import httpx
import pytest
from language_guests import guest_path
from serve_process import serving

from p3host import Component, Wasi
from p3host.testing import Testbed
from p3host.wasi.http import HttpRequest, HttpResponse, handle

P3, P2 = "wasi:http/handler", "wasi:http/incoming-handler"
SERVICES = {"go-http": P3, "python-http": P3, "js-http": P3, "python-http-p2": P2, "js-http-p2": P2}
CONCURRENT = [name for name, interface in SERVICES.items() if interface == P3]
SENDING = [name for name in SERVICES if name != "js-http"]  # its tool can't import wasi:http/client
SECONDS = 60
HOUR = 3600.0

parametrize_services = pytest.mark.parametrize("service", SERVICES)
parametrize_concurrent = pytest.mark.parametrize("service", CONCURRENT)


@cache
def component(service: str) -> Component:
    return Component.load(guest_path(service))


def post(path: str, **more: object) -> HttpRequest:
    return HttpRequest(method="POST", scheme="http", authority="service.test", path_with_query=path, **more)  # type: ignore[arg-type]


@pytest.mark.anyio
@pytest.mark.parametrize("body", [b"abc", b"", b"xyz" * 100_000], ids=len)
@parametrize_services
async def test_a_body_comes_back(service: str, body: bytes) -> None:
    async with component(service).instantiate(wasi=Wasi()) as instance:  # of its own: not every runtime serves twice
        with anyio.fail_after(SECONDS):
            async with handle(instance.exports[SERVICES[service]], post("/echo", body=body)) as response:
                headers = {name.lower(): value for name, value in response.headers}
                assert (response.status, headers["content-type"]) == (201, b"text/plain")
                assert await response.read() == body.upper()


@pytest.mark.anyio
@pytest.mark.parametrize("service", SENDING)
async def test_requests_are_sent_at_once(service: str) -> None:
    class Peer:
        """Answers the first request after the second one, and begins that one's body after the first one's."""

        def __init__(self) -> None:
            self.second = anyio.Event()

        async def send(self, request: HttpRequest) -> HttpResponse:
            if request.authority == "first.test":
                await self.second.wait()
                return HttpResponse(body=b"x" * 200_000)
            self.second.set()
            return HttpResponse(body=b"abc")

    headers = [("address", b"first.test"), ("address", b"second.test")]
    async with component(service).instantiate(wasi=Wasi(http=Peer())) as instance:
        with anyio.fail_after(SECONDS):
            async with handle(instance.exports[SERVICES[service]], post("/lengths", headers=headers)) as response:
                lines = (await response.read()).splitlines()
    assert sorted(lines) == [b"first.test: 200000", b"second.test: 3"]


@pytest.mark.virtual_time
@parametrize_concurrent
async def test_requests_sleep_at_once_in_one_instance(testbed: Testbed, service: str) -> None:
    texts = []
    async with testbed.instantiate(component(service)) as guest:

        async def ask(milliseconds: int) -> None:
            async with guest.handle(post(f"/sleep/{milliseconds}")) as response:
                texts.append(await response.read())

        started = anyio.current_time()
        async with anyio.create_task_group() as requests:
            for minutes in range(60, 0, -1):
                requests.start_soon(ask, minutes * 60_000)
    assert texts == [b"slept %d ms\n" % (minutes * 60_000) for minutes in range(1, 61)]
    assert HOUR <= anyio.current_time() - started < HOUR + 1


async def endless() -> AsyncIterator[bytes]:
    await anyio.sleep_forever()
    yield b""


@pytest.mark.anyio
@pytest.mark.parametrize(
    "request_factory", [lambda: post("/sleep/3600000"), lambda: post("/echo", body=endless())], ids=["sleep", "echo"]
)
@parametrize_concurrent
async def test_a_client_that_goes_away_leaves_the_other_requests_alone(
    service: str, request_factory: Callable[[], HttpRequest]
) -> None:
    async with component(service).instantiate(wasi=Wasi(), grace_seconds=0.1) as instance:
        handler = instance.exports[P3]
        with anyio.fail_after(SECONDS):
            async with anyio.create_task_group() as requests:

                async def ask() -> None:
                    async with handle(handler, post("/meet/2")) as response:
                        assert await response.read() == b"met\n"

                requests.start_soon(ask)
                with anyio.move_on_after(0.1):
                    async with handle(handler, request_factory()) as response:
                        await response.read()
                    pytest.fail("it has not waited")
                requests.start_soon(ask)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@parametrize_concurrent
def test_one_instance_that_is_served_has_many_requests_at_once(service: str, backend: str) -> None:
    count = 20
    options = ["--backend", backend, "--instances", "1", "--concurrent-requests", str(count), "--no-log"]
    with (
        serving(*options, component=guest_path(service)) as server,
        httpx.Client(base_url=server.url, timeout=SECONDS) as client,
        ThreadPoolExecutor(count) as threads,
    ):
        answers = list(threads.map(client.get, [f"/meet/{count}"] * count))
        assert [(answer.status_code, answer.text) for answer in answers] == [(201, "met\n")] * count
        assert client.post("/", content=b"some text" * 100_000).content == b"SOME TEXT" * 100_000

"""A request that is given up in any turn of the event loop, by its client or by its server, leaves nothing in the
application, whose next request is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from asgi_fakes import Connection, c_http
from asgi_guests import answers

from p3host import Component
from p3host.asgi import Application, PoolLimits, ResponseAborted
from p3host.wasi import Wasi
from p3host.wasi.http import HttpRequest, HttpResponse

pytestmark = pytest.mark.anyio

C_HTTP_P2 = Path(__file__).resolve().parents[2] / "guests/c-http-p2/c-http-p2.wasm"
MOST_TURNS = 300
AFTER = 3  # turns beyond the first request that came to its end
SECONDS = 20
loaded: list[Component] = []


def c_http_p2() -> Component:
    if not loaded:
        loaded.append(Component.load(C_HTTP_P2))
    return loaded[0]


class Peer:
    """Answers after some turns, with a body that takes some more."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        for _ in range(3):
            await checkpoint()
        return HttpResponse(201, body=self.pieces())

    async def pieces(self) -> Any:
        for _ in range(3):
            await checkpoint()
            yield b"piece"


CASES: list[tuple[Callable[[], Component], str]] = [
    (c_http, "/echo"),
    (c_http, "/forward"),
    (answers, "/count"),
    (answers, "/bounce"),
    (answers, "/error"),
    (answers, "/trap"),
    (answers, "/late"),
    (answers, "/fewer"),
    (c_http_p2, "/echo"),
    (c_http_p2, "/forward"),
]


@pytest.mark.parametrize("way", ["the client leaves", "the server cancels"])
@pytest.mark.parametrize(("component", "path"), CASES)
async def test_a_request_that_is_given_up_in_any_turn_leaves_nothing(
    component: Callable[[], Component], path: str, way: str
) -> None:
    limits = PoolLimits(instances=1, requests_per_instance=100_000)
    application = Application(component(), wasi=Wasi(http=Peer()), pool=limits, grace_seconds=SECONDS)
    ended_by_itself = 0
    async with application:
        pool = application.pool
        for turns in range(MOST_TURNS):
            client = Connection("POST", path, b"one", b"two", b"three")
            async with anyio.create_task_group() as tasks:

                async def run(client: Connection = client) -> None:
                    try:
                        await client.run(application)
                    except ResponseAborted:
                        pass

                tasks.start_soon(run)
                for _ in range(turns):
                    await checkpoint()
                ended_by_itself += client.ended
                if way == "the client leaves":
                    client.leave()
                else:
                    tasks.cancel_scope.cancel()
            with anyio.fail_after(SECONDS):
                while any(member.active for member in pool.members) or any(host_tasks(application)):
                    await checkpoint()
            assert not pool.waiting
            assert pool.watchers is not None
            assert not pool.watchers.fresh
            if ended_by_itself > AFTER:
                break
        assert ended_by_itself
        last = await Connection("POST", "/count", b"more").run(application)
        assert last.complete
        assert last.status is not None
        assert 200 <= last.status < 500


def host_tasks(application: Application) -> Iterator[int]:
    for member in application.pool.members:
        if member.instance is not None and not member.has_trapped:
            yield len(member.instance.driver.host_tasks)
            yield len(member.instance.driver.calls)

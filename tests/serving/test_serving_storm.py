"""A storm of clients, most of which behave badly, over a component that does so too: the others get the right answers,
and nothing is left of it.

More of them, by hand: `P3HOST_STORM=5000 pytest tests/serving/test_serving_storm.py`.
"""

from __future__ import annotations

import gc
import os
from random import Random

import pytest
from asgi_guests import answers
from http_storm import BREAKING, FAILING, MALFORMED, Storm
from servers_in_process import Footprint, becomes, parametrize_servers, serving

from p3host.asgi import Application, PoolLimits

pytestmark = pytest.mark.anyio

CLIENTS = int(os.environ.get("P3HOST_STORM", "60"))
FAULTS = (*FAILING, *BREAKING)
FEW = 1000  # objects; a request that left anything would leave some


@parametrize_servers
@pytest.mark.parametrize("concurrent_requests", [1, 8])
async def test_nothing_is_left_of_a_storm(server: str, concurrent_requests: int, anyio_backend: str) -> None:
    limits = PoolLimits(
        instances=4,
        concurrent_requests=concurrent_requests,
        requests_per_instance=20,
        request_seconds=1,
        waiting_requests=CLIENTS,
        waiting_seconds=60,
    )
    application = Application(answers(), pool=limits)
    async with serving(application, server) as port:
        storm = Storm(port, faults=FAULTS, alone=concurrent_requests == 1, request_seconds=limits.request_seconds)
        footprint = Footprint(application)
        before = footprint.now
        await storm.run(CLIENTS)
        await becomes(lambda: footprint.now, before)
        assert len(application.pool.members) <= limits.instances
        assert {"right", "refused", "failed", "broken"} <= storm.seen.keys()
        seen = storm.seen["right"]
        await storm.behave(Random(1))
        assert storm.seen["right"] > seen


@parametrize_servers
async def test_every_malformed_request_is_answered_or_its_connection_is_closed(server: str, anyio_backend: str) -> None:
    application = Application(answers(), pool=PoolLimits(request_seconds=1))
    async with serving(application, server) as port:
        storm = Storm(port)
        footprint = Footprint(application)
        before = footprint.now
        answered = await storm.say_all(list(MALFORMED.values()))
        await becomes(lambda: footprint.now, before)
        assert not [answer for answer in answered if answer.startswith(b"HTTP/1.1 500")]
        await storm.behave(Random(1))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_memory_does_not_grow_with_the_number_of_requests(anyio_backend: str) -> None:
    limits = PoolLimits(instances=1, requests_per_instance=50, waiting_requests=CLIENTS, waiting_seconds=60)
    application = Application(answers(), pool=limits)
    async with serving(application, "uvicorn-httptools") as port:
        storm = Storm(port)
        await storm.run(CLIENTS)
        footprint = Footprint(application)
        await becomes(lambda: footprint.now[:2], (0, 0))
        before = objects()
        await storm.run(3 * CLIENTS, first=CLIENTS)
        await becomes(lambda: footprint.now[:2], (0, 0))
        assert objects() - before < FEW


def objects() -> int:
    for _ in range(3):
        gc.collect()
    return len(gc.get_objects())

"""How many instances and requests an application has, and what becomes of those for which there is no room."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest
from asgi_fakes import Connection
from asgi_guests import answers

from p3host import Trap
from p3host.asgi import Application, PoolLimits, ResponseAborted
from p3host.asgi.pool import Pool

pytestmark = pytest.mark.virtual_time


async def count(application: Application) -> int:
    """How many requests the instance that answers has had, this one included."""
    client = await Connection("GET", "/count").run(application)
    assert client.status is not None
    return client.status - 199


@asynccontextmanager
async def waiting_requests(application: Application, number: int) -> AsyncIterator[list[Connection]]:
    """Requests that the instances never answer. They end with the block."""
    clients = [Connection("GET", "/wait") for _ in range(number)]
    async with anyio.create_task_group() as tasks:
        for client in clients:  # in this order on trio, too
            tasks.start_soon(client.run, application)
            await anyio.sleep(0.01)
        yield clients
        for client in clients:
            client.leave()


async def test_an_instance_is_used_again() -> None:
    async with Application(answers()) as application:
        assert [await count(application) for _ in range(3)] == [1, 2, 3]
        assert len(application.pool.members) == 1


async def test_an_instance_has_several_requests_at_once() -> None:
    async with Application(answers()) as application, waiting_requests(application, 5):
        assert await count(application) == 6
        assert len(application.pool.members) == 1


async def test_a_full_instance_is_joined_by_another() -> None:
    limits = PoolLimits(concurrent_requests=2)
    async with Application(answers(), pool=limits) as application, waiting_requests(application, 5):
        assert await count(application) == 2
        assert [member.active for member in application.pool.members] == [2, 2, 1]


async def test_a_protocol_may_allow_one_request_at_a_time() -> None:
    async with Application(answers()) as application:
        pool = application.pool
    application.pool = Pool(pool.instantiate, replace(pool.protocol, concurrent=False), pool.limits)
    async with application:
        assert [await count(application) for _ in range(2)] == [1, 2]
        async with waiting_requests(application, 2):
            assert await count(application) == 1
            assert [member.active for member in application.pool.members] == [1, 1, 0]


async def test_an_instance_that_has_had_its_requests_is_not_used_again() -> None:
    limits = PoolLimits(requests_per_instance=2, idle_seconds=math.inf)
    async with Application(answers(), pool=limits) as application:
        assert [await count(application) for _ in range(5)] == [1, 2, 1, 2, 1]
        async with waiting_requests(application, 1) as (client,):  # the second of its instance, which lives on for it
            assert await count(application) == 1
            await anyio.sleep(100)
            assert not client.ended
        await anyio.sleep(1)
        assert len(application.pool.members) == 1


async def test_an_idle_instance_is_given_up() -> None:
    async with Application(answers(), pool=PoolLimits(idle_seconds=30)) as application:
        assert await count(application) == 1
        await anyio.sleep(29)
        assert await count(application) == 2
        await anyio.sleep(29)
        assert await count(application) == 3
        await anyio.sleep(31)
        assert application.pool.members == []
        assert await count(application) == 1


async def test_an_instance_with_a_request_is_not_idle() -> None:
    async with Application(answers(), pool=PoolLimits(idle_seconds=30)) as application:
        async with waiting_requests(application, 1) as (client,):
            await anyio.sleep(100)
            assert not client.ended
        assert await count(application) == 2


async def test_beyond_all_limits_requests_wait_in_turn() -> None:
    limits = PoolLimits(instances=1, concurrent_requests=1)
    answered: list[int] = []

    async def ask(number: int) -> None:
        assert await count(application) == number + 2
        answered.append(number)

    async with Application(answers(), pool=limits) as application, anyio.create_task_group() as tasks:
        async with waiting_requests(application, 1):
            for number in range(3):
                tasks.start_soon(ask, number)
                await anyio.sleep(0.01)
            assert (answered, len(application.pool.waiting)) == ([], 3)
        await anyio.sleep(1)
        assert answered == [0, 1, 2]


async def test_a_request_that_waits_for_too_long_is_refused() -> None:
    limits = PoolLimits(instances=1, concurrent_requests=1, waiting_seconds=5)
    async with Application(answers(), pool=limits) as application:
        async with waiting_requests(application, 1):
            started = anyio.current_time()
            client = await Connection("GET", "/count").run(application)
            assert anyio.current_time() - started == pytest.approx(5)
            assert (client.status, client.headers[b"retry-after"], client.complete) == (503, b"5", True)
        assert await count(application) == 2


@pytest.mark.parametrize("lifespan", [True, False])
async def test_when_too_many_wait_the_next_one_is_refused_at_once(lifespan: bool) -> None:
    limits = PoolLimits(instances=1, concurrent_requests=1, waiting_requests=2)
    application = Application(answers(), pool=limits)

    async def run() -> None:
        async with waiting_requests(application, 3) as clients:
            started = anyio.current_time()
            client = await Connection("GET", "/count").run(application)
            assert (client.status, anyio.current_time()) == (503, started)
            assert not any(client.ended for client in clients)

    if lifespan:
        async with application:
            await run()
    else:
        await run()
    assert application.pool.members == []
    assert not application.pool.waiting


@pytest.mark.parametrize("lifespan", [True, False])
async def test_a_client_that_goes_away_waits_no_longer(lifespan: bool) -> None:
    application = Application(answers(), pool=PoolLimits(instances=1, concurrent_requests=1))

    async def run() -> None:
        async with waiting_requests(application, 2) as (first, second):
            second.leave()
            await anyio.sleep(1)
            assert (first.ended, second.ended, second.messages) == (False, True, [])
            assert not application.pool.waiting

    if lifespan:
        async with application:
            await run()
            assert await count(application) == 2
    else:
        await run()


async def test_a_trap_makes_room_for_those_that_wait() -> None:
    limits = PoolLimits(instances=1, concurrent_requests=2)
    answered: list[int] = []

    async def ask() -> None:
        answered.append(await count(application))

    async with (
        Application(answers(), pool=limits) as application,
        anyio.create_task_group() as tasks,
        waiting_requests(application, 2) as (first, second),
    ):
        tasks.start_soon(ask)
        await anyio.sleep(1)
        assert answered == []
        instance = application.pool.members[0].instance
        assert instance is not None
        instance.driver.store.poison(Trap("by the test"))
        await anyio.sleep(1)
        assert (first.status, second.status, answered) == (500, 500, [1])


async def test_those_that_wait_are_refused_when_the_block_is_left() -> None:
    clients = [Connection("GET", "/wait"), Connection("GET", "/wait")]
    limits = PoolLimits(instances=1, concurrent_requests=1)
    async with anyio.create_task_group() as tasks, Application(answers(), pool=limits) as application:
        for client in clients:
            tasks.start_soon(client.run, application)
            await anyio.sleep(0.01)
    assert [client.status for client in clients] == [500, 503]


@pytest.mark.parametrize("lifespan", [True, False])
@pytest.mark.parametrize("seed", range(5))
async def test_whatever_comes_every_request_is_answered_or_ended_and_nothing_is_left(seed: int, lifespan: bool) -> None:
    """Requests that are answered, fail, wait and trap, of clients that may leave at any time, within tight limits."""
    chance = random.Random(seed)
    limits = PoolLimits(
        instances=2,
        concurrent_requests=3,
        requests_per_instance=7,
        idle_seconds=1,
        request_seconds=2,
        waiting_requests=5,
        waiting_seconds=1,
    )
    application = Application(answers(), pool=limits)
    aborted: list[Connection] = []

    async def ask(client: Connection, start: float, stay: float) -> None:
        await anyio.sleep(start)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leave, client, stay)
            try:
                await client.run(application)
            except ResponseAborted:
                aborted.append(client)
            tasks.cancel_scope.cancel()

    async def leave(client: Connection, stay: float) -> None:
        await anyio.sleep(stay)
        client.leave()

    paths = ("/count", "/count", "/error", "/wait", "/open", "/late", "/trap")
    clients = [Connection("GET", chance.choice(paths)) for _ in range(100)]
    async with AsyncExitStack() as stack:
        if lifespan:
            await stack.enter_async_context(application)
        async with anyio.create_task_group() as tasks:
            for client in clients:
                tasks.start_soon(ask, client, chance.uniform(0, 5), chance.choice((chance.uniform(0, 3), 100)))
        assert [member.active for member in application.pool.members] in ([], [0], [0, 0])
        assert not application.pool.waiting
        await anyio.sleep(5)
        assert application.pool.members == []
    for client in clients:
        assert client.complete or client.left.is_set() or client in aborted
    assert {client.status for client in clients} >= {200, 500, 503}


async def test_changes_are_told() -> None:
    told: list[tuple[int, int]] = []
    application = Application(answers(), pool=PoolLimits(instances=1, concurrent_requests=1, waiting_seconds=1))
    pool: Any = application.pool
    pool.on_change = lambda: told.append((len(pool.members), len(pool.waiting)))
    async with application, waiting_requests(application, 1):
        await Connection("GET", "/count").run(application)
    assert told == [(1, 0), (1, 1), (1, 0), (0, 0)]

"""c4: cooperative threads."""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest
from c_guests import Imported, guest, interface, settled, start, until

from p3host import Instance, Trap
from p3host.testing import from_seed

pytestmark = pytest.mark.anyio


def plain(ms: int) -> int:
    return 10 * ms


def c4(work: Any = plain, **options: Any) -> Instance:
    return guest("c4").instantiate({"p3host:c4/host@0.1.0": interface(work=work)}, **options)


def exports(instance: Instance) -> Any:
    return instance.exports["p3host:c4/guest"]


def total(n: int) -> int:
    """Of the numbers from 1 to n."""
    return n * (n + 1) // 2


# workers


@pytest.mark.parametrize("n", [0, 1, 2, 500])
async def test_workers_sum_up_answers_that_come_at_once(n: int) -> None:
    async with c4() as instance:
        assert await exports(instance).workers(n) == 11 * total(n)


async def test_all_threads_are_in_their_synchronous_calls_at_once() -> None:
    work = Imported()
    async with c4(work) as instance, anyio.create_task_group() as group:
        call = await start(group, exports(instance).workers, 300)
        await work.started(300)
        assert [call.args for call in work.calls] == [(i,) for i in range(1, 301)]
        order = list(work.calls)
        random.Random(4).shuffle(order)
        for host_call in order:
            assert not call.over
            host_call.answer(100 * host_call.args[0])
        assert await call.ended() == 101 * total(300)


async def test_each_thread_keeps_its_context_while_the_others_go_on() -> None:
    """A worker adds the number in its context to what it was answered, so the sum shows each answer and each number."""
    work = Imported()
    async with c4(work) as instance, anyio.create_task_group() as group:
        call = await start(group, exports(instance).workers, 31)
        await work.started(31)
        for host_call in reversed(work.calls):
            host_call.answer(1 << (host_call.args[0] - 1))
            await settled()
        assert await call.ended() == (2**31 - 1 + total(31)) % 2**32


async def test_hundreds_of_calls_with_threads_of_their_own_on_several_instances() -> None:
    works = [Imported() for _ in range(2)]
    async with c4(works[0]) as one, c4(works[1]) as two, anyio.create_task_group() as group:
        calls = [
            [await start(group, exports(instance).workers, number % 5) for number in range(200)]
            for instance in (one, two)
        ]
        for work, started in zip(works, calls, strict=True):
            await work.started(400)
            order = list(work.calls)
            random.Random(5).shuffle(order)
            for host_call in order:
                host_call.answer(7)
            for number, call in enumerate(started):
                assert await call.ended() == total(number % 5) + 7 * (number % 5)


async def test_calls_end_in_the_order_of_their_answers_not_of_their_starts() -> None:
    work = Imported()
    async with c4(work) as instance, anyio.create_task_group() as group:
        first = await start(group, exports(instance).workers, 2)
        second = await start(group, exports(instance).workers, 2)
        await work.started(4)
        for host_call in work.calls[2:]:
            host_call.answer(5)
        assert await second.ended() == 13
        work.calls[1].answer(5)
        await settled()
        assert not first.over, "one of its threads is still in its call"
        work.calls[0].answer(5)
        assert await first.ended() == 13


async def test_work_that_fails_in_one_thread_traps_all() -> None:
    work = Imported()
    async with c4(work) as instance, anyio.create_task_group() as group:
        calls = [await start(group, exports(instance).workers, 3) for _ in range(3)]
        await work.started(9)
        work.calls[4].answer(OSError("broken"))
        for call in calls:
            outcome = await call.ended()
            assert isinstance(outcome, Trap)
            assert "work' raised OSError: broken" in str(outcome)
        await until(lambda: not work.waiting)
        with pytest.raises(Trap, match="cannot enter"):
            await exports(instance).switches()


async def test_threads_that_were_given_up_go_on_and_end_unheard() -> None:
    work = Imported()
    async with c4(work, grace_seconds=0, max_tasks=50) as instance, anyio.create_task_group() as group:
        for _ in range(5):
            call = await start(group, exports(instance).workers, 20)
            await until(lambda: len(work.waiting) == 20)
            call.scope.cancel()
            assert await call.ended() == "cancelled"
            assert await exports(instance).switches() == "ambnc"
            for host_call in work.waiting:
                host_call.answer(1)
            await until(lambda: not work.waiting)
            await settled()


async def test_more_threads_than_may_be_in_progress_are_a_trap() -> None:
    async with c4(max_tasks=100) as instance:
        assert await exports(instance).workers(50) == 11 * total(50)
        with pytest.raises(Trap, match="more than 100 tasks or threads"):
            await exports(instance).workers(101)


# switches


async def test_switches_always_go_the_same_way() -> None:
    async with c4() as instance:
        assert [await exports(instance).switches() for _ in range(100)] == ["ambnc"] * 100


async def test_switches_of_many_tasks_at_once_do_not_mix() -> None:
    work = Imported()
    async with c4(work) as instance, anyio.create_task_group() as group:
        workers = [await start(group, exports(instance).workers, 10) for _ in range(20)]
        calls = [await start(group, exports(instance).switches) for _ in range(300)]
        await until(lambda: all(call.over for call in calls))
        assert [call.outcome for call in calls] == ["ambnc"] * 300
        for host_call in work.calls:
            host_call.answer(0)
        assert [await call.ended() for call in workers] == [total(10)] * 20


@pytest.mark.virtual_time
@pytest.mark.parametrize("seed", range(10))
async def test_switches_and_workers_come_out_alike_whatever_the_host_chooses(seed: int) -> None:
    async with c4(scheduler=from_seed(seed)) as instance, anyio.create_task_group() as group:
        switches = [await start(group, exports(instance).switches) for _ in range(20)]
        workers = [await start(group, exports(instance).workers, 10) for _ in range(20)]
        assert [await call.ended() for call in switches] == ["ambnc"] * 20
        assert [await call.ended() for call in workers] == [11 * total(10)] * 20

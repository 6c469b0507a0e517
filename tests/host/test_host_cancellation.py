"""Cancelling calls, from the host's side and from the guest's, and leaving an instance in the middle of it all."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from guest_text import FAR, SECONDS, Waits, behaviours, let_others_run

from p3host import CallCancelled, Component, Instance, InstanceClosed, Trap

pytestmark = pytest.mark.anyio

GUESTS = Path(__file__).parents[2] / "guests"
GRACE = SECONDS  # nobody waits that long, unless what should end the wait does not
EARLY = GRACE / 2


async def cancelled(call: Callable[[], Awaitable[Any]], ready: Callable[[], Awaitable[None]]) -> bool:
    """Begins a call, and cancels it after `ready`. Returns whether that is how it ended."""
    with anyio.CancelScope() as scope:

        async def cancel() -> None:
            await ready()
            scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(cancel)
            await call()
    return scope.cancelled_caught


async def test_guest_acknowledges_and_its_import_is_cancelled() -> None:
    wait = Waits()
    async with behaviours().instantiate({"wait": wait}, grace_seconds=GRACE) as instance:
        assert await cancelled(lambda: instance.exports.nap(FAR), wait.begun)
        assert (wait.started, wait.cancelled, wait.ended) == (1, 1, 1)
        assert await instance.exports.nap(1) == 1
        assert not instance.driver.host_tasks


async def test_guest_answers_with_a_result_and_the_scope_is_still_cancelled() -> None:
    wait = Waits()
    async with behaviours().instantiate({"wait": wait}, grace_seconds=GRACE) as instance:
        assert await cancelled(lambda: instance.exports.nap_anyway(FAR), wait.begun)
        assert wait.cancelled == 1
        assert await instance.exports.nap_anyway(1) == 1


@pytest.mark.parametrize("name", ["nap_deaf", "nap_stackful"])
async def test_guest_that_ignores_it_is_left_alone_after_the_grace_period(name: str) -> None:
    wait = Waits()
    async with behaviours().instantiate({"wait": wait}, grace_seconds=0.05) as instance:
        nap = getattr(instance.exports, name)
        started = monotonic()
        assert await cancelled(lambda: nap(FAR), wait.begun)
        assert monotonic() - started >= 0.05
        assert wait.cancelled == wait.ended == 0
        assert await instance.exports.add(1, 2) == 3
        assert not instance.driver.calls
        wait.release()
        await wait.until(lambda: wait.ended == 1)
        assert await nap(1) == 1


async def test_guest_that_ends_within_the_grace_period_ends_the_wait() -> None:
    wait = Waits()
    async with behaviours().instantiate({"wait": wait}, grace_seconds=GRACE) as instance:
        started = monotonic()
        async with anyio.create_task_group() as others:

            async def release_after_the_cancellation() -> None:
                await wait.begun()
                await let_others_run()
                assert wait.ended == 0
                wait.release()

            others.start_soon(release_after_the_cancellation)
            assert await cancelled(lambda: instance.exports.nap_deaf(FAR), wait.begun)
        assert wait.ended == 1
        assert monotonic() - started < EARLY


@pytest.mark.parametrize("name", ["spin", "spin_sync"])
async def test_guest_that_spins_is_killed_and_its_other_callers_trap(name: str) -> None:
    failures = []
    wait = Waits()
    async with (
        behaviours().instantiate({"wait": wait}, grace_seconds=0.05) as instance,
        behaviours().instantiate({"wait": Waits()}) as other,
    ):

        async def nap() -> None:
            with pytest.raises(Trap, match="killed") as raised:
                await instance.exports.nap(FAR)
            failures.append(raised.value)

        async with anyio.create_task_group() as group:
            group.start_soon(nap)
            group.start_soon(nap)
            await wait.begun(2)
            assert await cancelled(getattr(instance.exports, name), let_others_run)
        assert len({id(failure) for failure in failures}) == 2
        with pytest.raises(Trap, match="killed"):
            await instance.exports.add(1, 2)
        assert await other.exports.nap(1) == 1


async def test_guest_that_begins_to_spin_when_cancelled_is_killed() -> None:
    wait = Waits()
    async with behaviours().instantiate({"wait": wait}, grace_seconds=0.05) as instance:
        assert await cancelled(lambda: instance.exports.nap_then_spin(FAR), wait.begun)
        with pytest.raises(Trap, match="killed"):
            await instance.exports.add(1, 2)


async def test_call_that_waits_behind_a_spinning_one_is_cancelled_without_harm() -> None:
    results = []

    async def count() -> None:
        results.append(await instance.exports.count(400_000_000))

    async with (
        behaviours().instantiate({"wait": Waits()}, grace_seconds=10) as instance,
        anyio.create_task_group() as group,
    ):
        group.start_soon(count)
        while instance.driver.store.preempted is None:
            await checkpoint()
        assert await cancelled(lambda: instance.exports.add(1, 2), checkpoint)
        assert results == []
    assert results == [400_000_000]


async def test_call_that_was_not_let_in_yet_is_cancelled_at_once() -> None:
    wait = Waits()
    async with behaviours().instantiate({"wait": wait}, grace_seconds=GRACE) as instance:
        async with anyio.create_task_group() as group:
            group.start_soon(instance.exports.nap_alone, FAR)
            await wait.begun()
            started = monotonic()
            assert await cancelled(lambda: instance.exports.nap(1), let_others_run)
            assert monotonic() - started < EARLY
            assert wait.ended == 0
            wait.release()
        assert wait.started == 1


async def test_host_function_returns_a_value_although_it_was_cancelled() -> None:
    wait = Waits(stubborn=True)
    results = []
    async with behaviours().instantiate({"wait": wait}) as instance, anyio.create_task_group() as group:

        async def nap() -> None:
            with anyio.CancelScope(shield=True):
                results.append(await instance.exports.nap(FAR))

        group.start_soon(nap)
        await wait.begun()
        call = next(iter(instance.driver.calls))
        call.request_cancellation()  # as a scope around the call does it
    assert results == [55]
    assert (wait.cancelled, wait.ended) == (1, 1)


async def test_cancellation_resolves_after_the_host_function_has_unwound() -> None:
    wait = Waits(turns_to_unwind=20)
    async with behaviours().instantiate({"wait": wait}, grace_seconds=GRACE) as instance:
        assert await cancelled(lambda: instance.exports.nap(FAR), wait.begun)
        assert wait.ended == 1


async def test_cancelled_call_that_has_its_result_already_returns_it_or_is_cancelled_but_loses_nothing() -> None:
    async with behaviours().instantiate({"wait": Waits()}) as instance:
        for delay in range(10):
            with anyio.move_on_after(0.001 * delay):
                await instance.exports.nap(4)
            assert await instance.exports.nap(0) == 0
        assert not instance.driver.calls


async def test_many_calls_cancelled_at_once() -> None:
    wait = Waits()
    async with behaviours().instantiate({"wait": wait}, grace_seconds=GRACE) as instance:
        async with anyio.create_task_group() as group:
            for _ in range(200):
                group.start_soon(instance.exports.nap, FAR)
            await wait.begun(200)
            started = monotonic()
            group.cancel_scope.cancel()
        assert monotonic() - started < EARLY
        assert (wait.started, wait.cancelled, wait.ended) == (200, 200, 200)
        assert await instance.exports.nap(1) == 1
        assert not instance.driver.host_tasks


async def test_c_guest_cancels_all_its_calls() -> None:
    wait = Waits()
    ended = []

    class Host:
        @staticmethod
        async def work(tag: str, ms: int) -> str:
            try:
                await wait(FAR)
            finally:
                ended.append(tag)
            return tag

        @staticmethod
        def plain(x: int) -> int:
            return x

    component = Component.load(GUESTS / "c1/c1.wasm")
    async with component.instantiate({"p3host:c1/host@0.1.0": Host}, grace_seconds=GRACE) as instance:
        guest = instance.exports["p3host:c1/guest"]
        assert await cancelled(lambda: guest.run_many(20), lambda: wait.begun(20))
        assert sorted(ended) == [f"t{number:02}" for number in range(20)]
        assert await guest.add(1, 2) == 3


async def test_guest_that_cancels_itself_is_told_apart_from_a_cancelled_scope() -> None:
    async with behaviours().instantiate({"wait": Waits()}) as instance, anyio.create_task_group() as group:

        async def forever() -> None:
            with pytest.raises(CallCancelled):
                await instance.exports.forever()

        group.start_soon(forever)
        await let_others_run()
        next(iter(instance.driver.calls)).request_cancellation()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("name", ["nap_deaf", "nap_stackful", "spin"])
async def test_second_cancellation_of_an_asyncio_task_abandons_at_once(name: str, anyio_backend: str) -> None:
    wait = Waits()
    async with behaviours().instantiate({"wait": wait}, grace_seconds=GRACE) as instance:
        args = () if name == "spin" else (FAR,)
        task = asyncio.ensure_future(getattr(instance.exports, name)(*args))
        await (let_others_run() if name == "spin" else wait.begun())
        task.cancel()
        await let_others_run()
        assert not task.done()
        task.cancel()
        started = monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert monotonic() - started < EARLY
        assert not instance.driver.calls
        if name == "spin":
            with pytest.raises(Trap, match="killed"):
                await instance.exports.add(1, 2)
        else:
            assert await instance.exports.add(1, 2) == 3
            wait.release()
            await wait.until(lambda: wait.ended == 1)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_wait_for_and_timeout_of_asyncio_cancel_a_call(anyio_backend: str) -> None:
    wait = Waits()
    async with behaviours().instantiate({"wait": wait}, grace_seconds=GRACE) as instance:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(instance.exports.nap(FAR), 0.01)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await instance.exports.nap(FAR)
        assert wait.cancelled == wait.started == wait.ended
        assert await asyncio.gather(*(instance.exports.nap(number) for number in range(5))) == list(range(5))


async def test_trap_during_the_grace_period_ends_the_wait() -> None:
    wait = Waits()

    async def trap_after_the_cancellation() -> None:
        await wait.begun()
        await let_others_run()
        with pytest.raises(Trap):
            await instance.exports.trap()

    async with (
        behaviours().instantiate({"wait": wait}, grace_seconds=GRACE) as instance,
        anyio.create_task_group() as group,
    ):
        group.start_soon(trap_after_the_cancellation)
        started = monotonic()
        assert await cancelled(lambda: instance.exports.nap_deaf(FAR), wait.begun)
        assert monotonic() - started < EARLY


async def test_leaving_the_block_ends_all_that_runs_in_it() -> None:
    wait = Waits()
    failures: list[BaseException] = []
    async with anyio.create_task_group() as group:
        async with behaviours().instantiate({"wait": wait}) as instance:

            async def call(name: str, *args: Any) -> None:
                with pytest.raises(InstanceClosed) as raised:
                    await getattr(instance.exports, name)(*args)
                failures.append(raised.value)

            for name in ("nap", "nap_deaf", "nap_stackful", "nap_then_spin", "nap_alone"):
                group.start_soon(call, name, FAR)
                await let_others_run()
            for name in ("forever", "yielding", "spin"):
                group.start_soon(call, name)
            await let_others_run()
            assert failures == []
        await let_others_run()
        assert len({id(failure) for failure in failures}) == 8
        assert wait.started == wait.ended
    if (loop := running_asyncio_loop()) is not None:
        assert len(asyncio.all_tasks(loop)) <= 2
    gc.collect()


def running_asyncio_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def test_leaving_the_block_by_cancellation_ends_all_that_runs_in_it() -> None:
    """In which order the tasks in the block are cancelled, the event loop decides: so it is tried several times."""

    async def live(name: str, grace_seconds: float, *arguments: int) -> None:
        async with behaviours().instantiate({"wait": wait}, grace_seconds=grace_seconds) as instance:
            await getattr(instance.exports, name)(*arguments)

    started = monotonic()
    for _ in range(10):
        wait = Waits()
        assert await cancelled(lambda: live("nap", GRACE, FAR), wait.begun)
        assert wait.started == wait.ended == 1
    assert await cancelled(lambda: live("spin", 0.05), let_others_run)
    assert monotonic() - started < EARLY


async def test_leaving_the_block_by_an_error_waits_for_host_functions_to_unwind() -> None:
    wait = Waits(turns_to_unwind=20)

    async def nap(instance: Instance) -> None:
        with pytest.raises(InstanceClosed):
            await instance.exports.nap(FAR)

    async def fail() -> None:
        async with behaviours().instantiate({"wait": wait}) as instance:
            group.start_soon(nap, instance)
            await wait.begun()
            raise KeyError("mine")

    async with anyio.create_task_group() as group:
        with pytest.raises(KeyError, match="mine"):
            await fail()
        assert (wait.started, wait.ended) == (1, 1)


async def test_error_of_the_body_in_a_group_with_cancelled_calls_is_the_groups_own() -> None:
    async def fail() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(instance.exports.nap, FAR)
            await let_others_run()
            raise ValueError("mine")

    async with behaviours().instantiate({"wait": Waits()}) as instance:
        with pytest.raises(ExceptionGroup) as raised:
            await fail()
        assert raised.group_contains(ValueError, match="mine", depth=1)
        assert await instance.exports.nap(1) == 1


async def test_trap_cancels_the_host_functions_of_its_instance() -> None:
    wait = Waits()
    async with behaviours().instantiate({"wait": wait}) as instance, anyio.create_task_group() as group:

        async def nap() -> None:
            with pytest.raises(Trap):
                await instance.exports.nap(FAR)

        group.start_soon(nap)
        await wait.begun()
        with pytest.raises(Trap):
            await instance.exports.trap()
        await wait.until(lambda: wait.ended == 1)
        assert wait.started == 1

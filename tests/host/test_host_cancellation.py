"""Cancelling calls, from the host's side and from the guest's, and leaving an instance in the middle of it all."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from guest_text import behaviours, let_others_run

from p3host import CallCancelled, Component, Instance, InstanceClosed, Trap

pytestmark = pytest.mark.anyio

GUESTS = Path(__file__).parents[2] / "guests"
FAR = 10_000  # ms: nobody waits that long
SOON = 4  # seconds: sooner than the default grace period
SHORT = 0.01


class Waits:
    """The import `wait`, and what became of its calls."""

    def __init__(self, *, stubborn: bool = False, slow_to_unwind: float = 0.0) -> None:
        self.started = 0
        self.cancelled = 0
        self.ended = 0
        self.first_ended = anyio.Event()
        self.stubborn = stubborn
        self.slow_to_unwind = slow_to_unwind

    async def __call__(self, ms: int) -> int:
        self.started += 1
        try:
            await anyio.sleep(ms / 1000)
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            if self.stubborn:
                return 55
            with anyio.CancelScope(shield=True):
                await anyio.sleep(self.slow_to_unwind)
            raise
        finally:
            self.ended += 1
            self.first_ended.set()
        return ms


async def test_guest_acknowledges_and_its_import_is_cancelled() -> None:
    wait = Waits()
    async with behaviours().instantiate({"wait": wait}) as instance:
        with pytest.raises(TimeoutError), anyio.fail_after(SHORT):
            await instance.exports.nap(FAR)
        assert (wait.started, wait.cancelled, wait.ended) == (1, 1, 1)
        assert await instance.exports.nap(1) == 1
        assert not instance.driver.host_tasks


async def test_guest_answers_with_a_result_and_the_scope_is_still_cancelled() -> None:
    wait = Waits()
    async with behaviours().instantiate({"wait": wait}) as instance:
        with anyio.move_on_after(SHORT) as scope:
            await instance.exports.nap_anyway(FAR)
        assert scope.cancelled_caught
        assert wait.cancelled == 1
        assert await instance.exports.nap_anyway(1) == 1


@pytest.mark.parametrize("name", ["nap_deaf", "nap_stackful"])
async def test_guest_that_ignores_it_is_left_alone_after_the_grace_period(name: str) -> None:
    wait = Waits()
    async with behaviours().instantiate({"wait": wait}, grace_seconds=0.05) as instance:
        started = monotonic()
        with anyio.move_on_after(SHORT) as scope:
            await getattr(instance.exports, name)(400)
        assert scope.cancelled_caught
        assert monotonic() - started >= 0.05
        assert wait.cancelled == wait.ended == 0
        assert await instance.exports.add(1, 2) == 3
        assert not instance.driver.calls
        with anyio.fail_after(5):
            await wait.first_ended.wait()
        assert await getattr(instance.exports, name)(1) == 1


async def test_guest_that_ends_within_the_grace_period_ends_the_wait() -> None:
    async with behaviours().instantiate({"wait": Waits()}) as instance:
        started = monotonic()
        with anyio.move_on_after(SHORT) as scope:
            await instance.exports.nap_deaf(40)
        assert scope.cancelled_caught
        assert 0.03 < monotonic() - started < 2


@pytest.mark.parametrize("name", ["spin", "spin_sync"])
async def test_guest_that_spins_is_killed_and_its_other_callers_trap(name: str) -> None:
    failures = []
    async with (
        behaviours().instantiate({"wait": Waits()}, grace_seconds=0.05) as instance,
        behaviours().instantiate({"wait": Waits()}) as other,
        anyio.create_task_group() as group,
    ):

        async def nap() -> None:
            with pytest.raises(Trap, match="killed") as raised:
                await instance.exports.nap(FAR)
            failures.append(raised.value)

        group.start_soon(nap)
        group.start_soon(nap)
        await let_others_run()
        started = monotonic()
        with anyio.move_on_after(SHORT) as scope:
            await getattr(instance.exports, name)()
        assert scope.cancelled_caught
        assert monotonic() - started < SOON
        await let_others_run()
        assert len({id(failure) for failure in failures}) == 2
        with pytest.raises(Trap, match="killed"):
            await instance.exports.add(1, 2)
        assert await other.exports.nap(1) == 1


async def test_guest_that_begins_to_spin_when_cancelled_is_killed() -> None:
    async with behaviours().instantiate({"wait": Waits()}, grace_seconds=0.05) as instance:
        with anyio.move_on_after(SHORT) as scope:
            await instance.exports.nap_then_spin(FAR)
        assert scope.cancelled_caught
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
        await anyio.sleep(0.005)
        with anyio.move_on_after(SHORT) as scope:
            await instance.exports.add(1, 2)
        assert scope.cancelled_caught
        assert results == []
    assert results == [400_000_000]


async def test_call_that_was_not_let_in_yet_is_cancelled_at_once() -> None:
    wait = Waits()
    async with behaviours().instantiate({"wait": wait}) as instance:
        async with anyio.create_task_group() as group:
            group.start_soon(instance.exports.nap_alone, 200)
            await let_others_run()
            with anyio.move_on_after(0.005) as scope:
                await instance.exports.nap(1)
            assert scope.cancelled_caught
            assert wait.ended == 0
        assert wait.started == 1


async def test_host_function_returns_a_value_although_it_was_cancelled() -> None:
    wait = Waits(stubborn=True)
    async with behaviours().instantiate({"wait": wait}) as instance, anyio.create_task_group() as group:
        results = []

        async def nap() -> None:
            with anyio.CancelScope(shield=True):
                results.append(await instance.exports.nap(FAR))

        group.start_soon(nap)
        await let_others_run()
        call = next(iter(instance.driver.calls))
        call.request_cancellation()  # as a scope around the call does it
        await anyio.sleep(0.01)
        assert results == [55]
    assert (wait.cancelled, wait.ended) == (1, 1)


async def test_cancellation_resolves_after_the_host_function_has_unwound() -> None:
    wait = Waits(slow_to_unwind=0.03)
    async with behaviours().instantiate({"wait": wait}) as instance:
        started = monotonic()
        with anyio.move_on_after(SHORT) as scope:
            await instance.exports.nap(FAR)
        assert scope.cancelled_caught
        assert monotonic() - started >= 0.04
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
    async with behaviours().instantiate({"wait": wait}) as instance:
        async with anyio.create_task_group() as group:
            for _ in range(200):
                group.start_soon(instance.exports.nap, FAR)
            with anyio.fail_after(5):
                while wait.started < 200:
                    await checkpoint()
            started = monotonic()
            group.cancel_scope.cancel()
        assert monotonic() - started < SOON
        assert (wait.started, wait.cancelled, wait.ended) == (200, 200, 200)
        assert await instance.exports.nap(1) == 1
        assert not instance.driver.host_tasks


async def test_c_guest_cancels_all_its_calls() -> None:
    ended = []

    class Host:
        @staticmethod
        async def work(tag: str, ms: int) -> str:
            try:
                await anyio.sleep(ms)
            finally:
                ended.append(tag)
            return tag

        @staticmethod
        def plain(x: int) -> int:
            return x

    component = Component.load(GUESTS / "c1/c1.wasm")
    async with component.instantiate({"p3host:c1/host@0.1.0": Host}) as instance:
        guest = instance.exports["p3host:c1/guest"]
        with anyio.move_on_after(SHORT) as scope:
            await guest.run_many(20)
        assert scope.cancelled_caught
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
    async with behaviours().instantiate({"wait": wait}, grace_seconds=60) as instance:
        args = () if name == "spin" else (200,)
        task = asyncio.ensure_future(getattr(instance.exports, name)(*args))
        await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.sleep(0.005)
        assert not task.done()
        task.cancel()
        started = monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert monotonic() - started < SOON
        assert not instance.driver.calls
        if name == "spin":
            with pytest.raises(Trap, match="killed"):
                await instance.exports.add(1, 2)
        else:
            assert await instance.exports.add(1, 2) == 3
            await wait.first_ended.wait()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_wait_for_and_timeout_of_asyncio_cancel_a_call(anyio_backend: str) -> None:
    wait = Waits()
    async with behaviours().instantiate({"wait": wait}) as instance:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(instance.exports.nap(FAR), SHORT)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SHORT):
                await instance.exports.nap(FAR)
        assert wait.cancelled == 2
        assert await asyncio.gather(*(instance.exports.nap(number) for number in range(5))) == list(range(5))


async def test_trap_during_the_grace_period_ends_the_wait() -> None:
    async def trap_soon() -> None:
        await anyio.sleep(0.02)
        with pytest.raises(Trap):
            await instance.exports.trap()

    async with (
        behaviours().instantiate({"wait": Waits()}, grace_seconds=10) as instance,
        anyio.create_task_group() as group,
    ):
        group.start_soon(trap_soon)
        started = monotonic()
        with anyio.move_on_after(SHORT) as scope:
            await instance.exports.nap_deaf(FAR)
        assert scope.cancelled_caught
        assert monotonic() - started < 5


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
    wait = Waits()
    started = monotonic()
    with anyio.move_on_after(SHORT) as scope:
        async with behaviours().instantiate({"wait": wait}) as instance:
            await instance.exports.nap(FAR)
    assert scope.cancelled_caught
    assert wait.started == wait.ended == 1
    with anyio.move_on_after(SHORT) as scope:
        async with behaviours().instantiate({"wait": wait}, grace_seconds=0.05) as instance:
            await instance.exports.spin()
    assert scope.cancelled_caught
    assert monotonic() - started < SOON


async def test_leaving_the_block_by_an_error_waits_for_host_functions_to_unwind() -> None:
    wait = Waits(slow_to_unwind=0.02)

    async def nap(instance: Instance) -> None:
        with pytest.raises(InstanceClosed):
            await instance.exports.nap(FAR)

    async def fail() -> None:
        async with behaviours().instantiate({"wait": wait}) as instance:
            group.start_soon(nap, instance)
            await let_others_run()
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
        await let_others_run()
        with pytest.raises(Trap):
            await instance.exports.trap()
        await let_others_run()
        assert (wait.started, wait.ended) == (1, 1)

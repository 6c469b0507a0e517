"""Calls of exports that go on by themselves, and host tasks that go on beside calls."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from guest_text import passing_on

from p3host import Component, Instance, InstanceClosed, Trap
from p3host.errors import CallCancelled
from p3host.wasi import Wasi
from p3host.wasi.background import LateBackground

pytestmark = pytest.mark.anyio


class Host:
    """An import that a call waits in, until it is told to go on."""

    def __init__(self) -> None:
        self.go_on = anyio.Event()
        self.fails = False

    async def host(self, value: int) -> int:
        await self.go_on.wait()
        if self.fails:
            raise ValueError("no")
        return value + 1


def guest(host: Host) -> Instance:
    text = passing_on("", '(param "value" u32)', "(result u32)")
    return Component.load(text).instantiate({"host": host.host}, grace_seconds=0.01)


async def test_a_call_goes_on_by_itself_and_tells_its_end() -> None:
    host, ends = Host(), list[Any]()
    async with guest(host) as instance:
        call = instance.exports.echo.begin(1, on_ended=ends.append)
        await anyio.wait_all_tasks_blocked()
        assert ends == []
        host.go_on.set()
        await anyio.wait_all_tasks_blocked()
        assert ends == [None]
        assert await call.finish() == 2
        await call.give_up()
        assert ends == [None]


async def test_a_call_can_be_finished_while_it_goes_on() -> None:
    host = Host()
    async with guest(host) as instance:
        call = instance.exports.echo.begin(1, on_ended=lambda failure: None)
        async with anyio.create_task_group() as tasks:
            results: list[int] = []

            async def finish() -> None:
                results.append(await call.finish())

            tasks.start_soon(finish)
            await anyio.wait_all_tasks_blocked()
            host.go_on.set()
        assert results == [2]


async def test_what_a_call_fails_with_is_told_and_raised() -> None:
    host, ends = Host(), list[Any]()
    host.fails = True
    host.go_on.set()
    async with guest(host) as instance:
        call = instance.exports.echo.begin(1, on_ended=ends.append)
        with pytest.raises(Trap, match="no") as raised:
            await call.finish()
        assert ends == [raised.value]


@pytest.mark.parametrize("cancels", [True, False])
async def test_a_call_that_is_given_up_holding_its_instance_is_killed_after_the_grace_period(cancels: bool) -> None:
    host, ends = Host(), list[Any]()
    async with guest(host) as instance:
        call = instance.exports.echo.begin(1, on_ended=ends.append)
        while instance.driver.store.held is None:
            await checkpoint()
        if cancels:
            with anyio.move_on_after(0.01):
                await call.finish()
        else:
            await call.give_up()
        (failure,) = ends
        assert isinstance(failure, Trap)
        assert "after it was cancelled" in failure.message


async def test_a_call_that_has_not_begun_can_be_given_up() -> None:
    host, ends = Host(), list[Any]()
    async with guest(host) as instance:
        first = instance.exports.echo.begin(1, on_ended=lambda failure: None)
        second = instance.exports.echo.begin(1, on_ended=ends.append)  # which waits for the first
        await second.give_up()
        assert ends == [None]
        with pytest.raises(CallCancelled):
            await second.finish()
        host.go_on.set()
        assert await first.finish() == 2


async def test_a_call_learns_that_its_instance_was_closed_before_its_resources_are() -> None:
    ends: list[Any] = []
    async with guest(Host()) as instance:
        instance.exports.echo.begin(1, on_ended=ends.append)
    assert [type(failure) for failure in ends] == [InstanceClosed]


# Host tasks


async def test_a_task_beside_the_calls_ends_with_its_instance() -> None:
    steps: list[str] = []

    async def run() -> None:
        steps.append("begun")
        try:
            await anyio.sleep_forever()
        finally:
            steps.append("ended")

    async with guest(Host()) as instance:
        instance.exports.echo.background.start_task("a task", run)
        assert steps == []
        await anyio.wait_all_tasks_blocked()
        assert steps == ["begun"]
    assert steps == ["begun", "ended"]


async def test_a_task_beside_the_calls_can_be_cancelled() -> None:
    ended = anyio.Event()

    async def run() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    async with guest(Host()) as instance:
        task = instance.exports.echo.background.start_task("a task", run)
        await anyio.wait_all_tasks_blocked()
        task.cancel()
        with anyio.fail_after(10):
            await ended.wait()


async def test_a_task_that_fails_traps_its_instance() -> None:
    async def run() -> None:
        raise KeyError("mistake")

    async with guest(Host()) as instance:
        instance.exports.echo.background.start_task("a task", run)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(Trap, match="a task raised KeyError"):
            await instance.exports.echo(1)


async def test_providers_that_were_made_before_their_instance_find_it() -> None:
    background = LateBackground()
    with pytest.raises(RuntimeError, match="a task can't begin before the instance runs"):
        background.start_task("a task", anyio.sleep_forever)
    Wasi().interfaces(background=background)
    async with guest(Host()) as instance:
        background.instance = instance.exports.echo.background
        background.start_task("a task", anyio.sleep_forever)
        await anyio.wait_all_tasks_blocked()
        assert "a task" in str(instance.tasks())

"""Futures without a task that waits for them: those that the host settles, and those of guests that it watches."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from guest_text import component_text, let_others_run, load, passing_on, sync_export

from p3host import Err, FutureReader, Instance, StreamDropped, Trap
from p3host.errors import P3HostError
from p3host.values import Ok
from p3host.wasi.promise import Promise

pytestmark = pytest.mark.anyio

RESULT = "(type $r (result u32 (error string))) (type $f (future $r))"
ECHO = passing_on(RESULT, '(param "v" $f)', "(result $f)")
DROPS = component_text(
    imports=RESULT,
    canons={"drop": ("future.drop-readable $f", "(param i32)")},
    code="""
      (func (export "drop") (param i32) (call $drop (local.get 0)))
      (func (export "keep") (param i32))
      (func (export "trap") unreachable)""",
    exports=sync_export("drop", '(param "f" $f)') + sync_export("keep", '(param "f" $f)') + sync_export("trap"),
)
WRITES = component_text(
    imports=RESULT,
    canons={
        "new": ("future.new $f", "(result i64)"),
        "write": ("future.write $f async (memory $memory)", "(param i32 i32) (result i32)"),
        "drop": ("future.drop-writable $f", "(param i32)"),
    },
    code="""
      (global $writable (mut i32) (i32.const 0))
      (func (export "promise") (result i32) (local $ends i64)
        (local.set $ends (call $new))
        (global.set $writable (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
        (i32.wrap_i64 (local.get $ends)))
      (func (export "keep") (param i32 i32)
        (i32.store8 (i32.const 16) (local.get 0))
        (i32.store (i32.const 20) (local.get 1))
        (i32.store (i32.const 24) (i32.const 0))
        (drop (call $write (global.get $writable) (i32.const 16))))
      (func (export "trap") unreachable)""",
    exports=sync_export("promise", "", "$f")
    + sync_export("keep", '(param "is-error" bool) (param "value" u32)')
    + sync_export("trap"),
)


class Watched(Promise[int]):
    """Counts how often it was told that the guest has dropped it, and how often it was awaited."""

    def __init__(self) -> None:
        self.drops = 0
        self.awaited = 0

    def on_dropped(self) -> None:
        self.drops += 1

    async def result(self) -> int:
        self.awaited += 1
        return await super().result()


@asynccontextmanager
async def echoing() -> AsyncIterator[Instance]:
    async with load(ECHO).instantiate({"host": lambda future: future}) as instance:
        yield instance


@pytest.mark.parametrize("outcome", [Ok(5), Err("no")])
@pytest.mark.parametrize("early", [True, False])
async def test_a_promise_is_a_future_without_a_task(outcome: Ok | Err, early: bool) -> None:
    promise = Watched()
    seen: list[Any] = []
    async with echoing() as instance:
        if early:
            promise.settle(outcome)
        future: FutureReader = await instance.exports.echo(promise)
        future.watch(seen.append)
        assert not instance.driver.host_tasks
        if not early:
            assert seen == []
            promise.settle(outcome)
        await let_others_run()
        assert seen == [outcome]
        promise.settle(Ok(7))  # the first word counts
    assert seen == [outcome]
    assert promise.awaited == 0


async def test_a_promise_that_has_to_be_awaited_after_all_gets_a_task_then() -> None:
    promise = Watched()
    async with echoing() as instance:
        future = await instance.exports.echo(promise)
        async with anyio.create_task_group() as tasks:
            reading = tasks.start_soon(future.read)
            await let_others_run()
            assert promise.awaited == 0
            promise.call_then()
            await let_others_run()
            assert promise.awaited == 1
            promise.settle(Ok(5))
            assert await reading == 5


@pytest.mark.parametrize("awaited", [True, False])
async def test_a_promise_is_told_once_that_the_guest_drops_it(awaited: bool) -> None:
    promise = Watched()
    async with load(DROPS).instantiate() as instance:
        if awaited:
            promise.call_then()
        await instance.exports.drop(promise)
        assert promise.drops == 1
        promise.settle(Ok(5))
    assert promise.drops == 1


@pytest.mark.parametrize("traps", [True, False])
async def test_a_promise_that_a_guest_keeps_is_told_when_the_instance_ends(traps: bool) -> None:
    promise = Watched()
    async with load(DROPS).instantiate() as instance:
        await instance.exports.keep(promise)
        assert promise.drops == 0
        if traps:
            with pytest.raises(Trap):
                await instance.exports.trap()
            assert promise.drops == 1
    assert promise.drops == 1
    promise.settle(Ok(5))


async def test_a_promise_can_be_awaited_by_anybody_any_number_of_times() -> None:
    promise: Promise[int] = Promise()
    async with anyio.create_task_group() as tasks:
        first, second = tasks.start_soon(promise.result), tasks.start_soon(promise.result)
        await let_others_run()
        promise.settle(Ok(5))
        assert [await first, await second, await promise] == [5, 5, 5]


@pytest.mark.parametrize(("is_error", "outcome"), [(False, Ok(5)), (True, Err(""))])
@pytest.mark.parametrize("early", [True, False])
async def test_a_guests_future_is_watched_without_a_task(is_error: bool, outcome: Any, early: bool) -> None:
    seen: list[Any] = []
    async with load(WRITES).instantiate() as instance:
        future = await instance.exports.promise()
        if early:
            await instance.exports.keep(is_error, 5 if not is_error else 0)
        else:
            future.watch(seen.append)
            assert seen == []
            await instance.exports.keep(is_error, 5 if not is_error else 0)
        if early:
            future.watch(seen.append)
        assert seen == [outcome]
        with pytest.raises(StreamDropped):
            await future
    assert seen == [outcome]


async def test_a_watch_ends_with_the_instance() -> None:
    seen: list[P3HostError] = []
    async with load(WRITES).instantiate() as instance:
        future = await instance.exports.promise()
        future.watch(seen.append)
        with pytest.raises(Trap):
            await instance.exports.trap()
        assert [type(each) for each in seen] == [Trap]


async def test_a_future_that_is_closed_is_watched_no_more() -> None:
    seen: list[Any] = []
    async with load(WRITES).instantiate() as instance:
        future = await instance.exports.promise()
        future.watch(seen.append)
        future.close()
        await instance.exports.keep(False, 5)
    assert seen == []


async def test_a_future_is_watched_or_awaited_not_both() -> None:
    async with load(WRITES).instantiate() as instance:
        future = await instance.exports.promise()
        future.watch(lambda outcome: None)
        with pytest.raises(anyio.BusyResourceError):
            await future

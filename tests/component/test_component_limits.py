"""What the limits of an instance bound: the calls in progress, and what they hold of the host's memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
from guest_text import behaviours, callback_export, component_text, let_others_run, load, stackful_export, sync_export

from p3host import TooManyCalls, Trap
from p3host.host import sources

pytestmark = pytest.mark.anyio


async def wait(ms: int) -> int:
    await anyio.sleep(ms / 1000)
    return ms


async def many(count: int, function: Any, *args: Any) -> tuple[list[Any], list[TooManyCalls]]:
    """The results of calls made at once, and the errors of those that were refused."""
    results: list[Any] = []
    refused: list[TooManyCalls] = []

    async def call() -> None:
        try:
            results.append(await function(*args))
        except TooManyCalls as error:
            refused.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(call)
    return results, refused


@pytest.mark.parametrize("name", ["nap", "nap_stackful"])
async def test_calls_of_the_host_beyond_the_limit_are_refused_and_the_others_go_on(name: str) -> None:
    async with behaviours().instantiate({"wait": wait}, max_tasks=10) as instance:
        for _ in range(2):
            results, refused = await many(15, instance.exports[name.replace("_", "-")], 10)
            assert results == [10] * 10
            assert len(refused) == 5
            assert "more than 10" in str(refused[0])
        assert await instance.exports.nap(1) == 1


async def test_function_of_a_type_that_is_not_async_can_be_called_at_the_limit() -> None:
    async with (
        behaviours().instantiate({"wait": wait}, max_tasks=3) as instance,
        anyio.create_task_group() as group,
    ):
        for _ in range(3):
            group.start_soon(instance.exports.nap, 10)
        await let_others_run()
        assert await instance.exports.add(1, 2) == 3


@pytest.mark.parametrize("name", ["nap_alone", "nap_deaf"])
async def test_calls_that_are_kept_out_are_in_progress_when_they_are_let_in(name: str) -> None:
    async with behaviours().instantiate({"wait": wait}, max_tasks=2) as instance:
        results, refused = await many(8, getattr(instance.exports, name), 1)
        assert results == [1] * 8
        assert not refused


async def test_call_that_is_let_in_at_the_limit_is_refused_and_the_next_one_tried() -> None:
    async with (
        behaviours().instantiate({"wait": wait}, max_tasks=2) as instance,
        anyio.create_task_group() as group,
    ):
        group.start_soon(instance.exports.nap_deaf, 10)  # keeps out those that need the instance for themselves
        await let_others_run()
        late: list[Any] = []

        async def call_late() -> None:
            late.append(await many(3, instance.exports.nap, 20))

        group.start_soon(call_late)
        await let_others_run()
        group.start_soon(instance.exports.nap_stackful, 40)
        await anyio.sleep(0.005)
        with pytest.raises(TooManyCalls):
            await instance.exports.nap_stackful(1)
    ((results, refused),) = late
    assert results == [20]  # one has taken the place of the first call
    assert len(refused) == 2


async def test_guest_that_calls_another_instance_at_its_limit_traps_and_the_other_goes_on() -> None:
    async with (
        behaviours().instantiate({"wait": wait}, max_tasks=1) as busy,
        behaviours().instantiate({"wait": busy.exports.nap}) as instance,
        anyio.create_task_group() as group,
    ):
        group.start_soon(busy.exports.nap, 10)
        await let_others_run()
        with pytest.raises(Trap, match="more than 1 tasks"):
            await instance.exports.nap(1)
        assert await busy.exports.add(1, 2) == 3


KEEPING = component_text(
    imports='(import "keep" (func $keep async (param "bytes" (list u8))))',
    canons={
        "keep": ("lower (func $keep) async (memory $memory)", "(param i32 i32) (result i32)"),
        "keep-sync": ("lower (func $keep) (memory $memory)", "(param i32 i32)"),
        "return": ("task.return", ""),
        "drop": ("subtask.drop", "(param i32)"),
    },
    code="""
      (func (export "start") (param $count i32) (result i32)
        (loop $on
          (if (i32.eqz (local.get $count)) (then (call $return) (return (i32.const 0))))
          (drop (call $keep (i32.const 0) (i32.const 1000)))
          (local.set $count (i32.sub (local.get $count) (i32.const 1)))
          (br $on))
        (unreachable))
      (func (export "start-event") (param i32 i32 i32) (result i32) (unreachable))
      (func (export "wait") (call $keep-sync (i32.const 0) (i32.const 1000)) (call $return))""",
    exports=callback_export("start", '(param "count" u32)') + stackful_export("wait"),
)


async def test_arguments_of_calls_in_progress_are_bounded() -> None:
    async def keep(data: bytes) -> None:
        await anyio.sleep_forever()

    async with load(KEEPING).instantiate({"keep": keep}, max_argument_bytes=9_999) as instance:
        await instance.exports.start(9)
        with pytest.raises(Trap, match="more than 9999 bytes"):
            await instance.exports.start(1)


async def test_arguments_of_sync_calls_in_progress_are_bounded() -> None:
    async def keep(data: bytes) -> None:
        await anyio.sleep_forever()

    async with load(KEEPING).instantiate({"keep": keep}, max_argument_bytes=3_999) as instance:
        trapped = 0

        async def call() -> None:
            nonlocal trapped
            with pytest.raises(Trap, match="more than 3999 bytes"):
                await instance.exports.wait()
            trapped += 1

        async with anyio.create_task_group() as group:
            for _ in range(4):
                assert trapped == 0
                group.start_soon(call)
                await let_others_run()
        assert trapped == 4


@pytest.mark.parametrize("at_once", [True, False])
async def test_arguments_of_calls_that_have_ended_count_no_more(at_once: bool) -> None:
    async def keep(data: bytes) -> None:
        await anyio.sleep(0.001)

    def forget(data: bytes) -> None:
        assert len(data) == 1000

    keeper = forget if at_once else keep
    async with load(KEEPING).instantiate({"keep": keeper}, max_argument_bytes=9_999) as instance:
        for _ in range(3):
            await instance.exports.start(9)
            await anyio.sleep(0.01)
            await instance.exports.wait()
        assert instance.driver.store.argument_bytes == 0


COLLECTING = component_text(
    imports="""(type $bytes (stream u8)) (type $byte (future u8))
      (import "more" (func $more (result $bytes)))
      (import "later" (func $later (result $byte)))""",
    canons={
        "more": ("lower (func $more)", "(result i32)"),
        "later": ("lower (func $later)", "(result i32)"),
        "drop-bytes": ("stream.drop-readable $bytes", "(param i32)"),
        "drop-byte": ("future.drop-readable $byte", "(param i32)"),
    },
    code="""
      (func (export "take") (drop (call $more)) (drop (call $later)))
      (func (export "drop") (call $drop-bytes (call $more)) (call $drop-byte (call $later)))""",
    exports=sync_export("take") + sync_export("drop"),
)


async def pieces() -> AsyncIterator[bytes]:
    yield b"never read"


@pytest.mark.parametrize("more", [lambda: b"at hand", lambda: pieces()])
async def test_streams_and_futures_of_the_host_are_bounded(
    monkeypatch: pytest.MonkeyPatch, more: Callable[[], object]
) -> None:
    monkeypatch.setattr(sources, "MAX_SOURCES", 5)
    imports = {"more": more, "later": lambda: anyio.sleep_forever()}
    async with load(COLLECTING).instantiate(imports) as instance:
        for _ in range(2):
            await instance.exports.take()
        for _ in range(10):  # what the guest has dropped counts no more
            await instance.exports.drop()
        with pytest.raises(Trap, match="more than 5 streams and futures of the host"):
            await instance.exports.take()

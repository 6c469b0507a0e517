"""What hosts do wrong, and what guests make hosts do: clear errors, no hang, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from guest_text import behaviours, component_text, load, sync_export
from hostile_guests import bystander, wait

from p3host import Deadlock, InstanceClosed, Trap

pytestmark = pytest.mark.anyio

# `call` calls the import `host`, which is not of an async type, so that the guest is held until it returns.
HELD = component_text(
    imports='(type $s (stream u8)) (import "host" (func $host (param "n" u32) (result u32)))',
    canons={
        "host": ("lower (func $host)", "(param i32) (result i32)"),
        "new": ("stream.new $s", "(result i64)"),
    },
    code="""
      (func (export "call") (param i32) (result i32) (call $host (local.get 0)))
      (func (export "one") (result i32) (i32.const 1))
      (func (export "open") (result i32) (i32.wrap_i64 (call $new)))""",
    exports="\n".join(
        [
            sync_export("call", '(param "n" u32)', "u32"),
            sync_export("one", "", "u32"),
            sync_export("open", "", "$s"),
        ]
    ),
)


async def test_export_awaited_by_the_import_that_holds_its_guest_is_a_deadlock_error() -> None:
    async def host(n: int) -> int:
        with pytest.raises(Deadlock, match=r"'one'.*held until the host function 'host'"):
            await instance.exports.one()
        return n

    async with bystander(), load(HELD).instantiate({"host": host}) as instance:
        with anyio.fail_after(1):
            assert await instance.exports.call(5) == 5
            assert await instance.exports.one() == 1


async def test_stream_read_by_the_import_that_holds_its_guest_is_a_deadlock_error() -> None:
    async def host(n: int) -> int:
        with pytest.raises(Deadlock, match="read of a stream"):
            await reader.read()
        return n

    async with bystander(), load(HELD).instantiate({"host": host}) as instance:
        reader = await instance.exports.open()
        with anyio.fail_after(1):
            assert await instance.exports.call(5) == 5


async def test_export_of_another_instance_can_be_awaited_by_an_import() -> None:
    async def host(n: int) -> int:
        return n + int(await other.exports.one())

    async with (
        load(HELD).instantiate({"host": wait}) as other,
        load(HELD).instantiate({"host": host}) as instance,
    ):
        assert await instance.exports.call(5) == 6


async def test_calls_wait_while_a_guest_is_held_and_go_on_after_it() -> None:
    order = []

    async def host(n: int) -> int:
        await anyio.sleep(0.005)
        order.append("host")
        return n

    async with load(HELD).instantiate({"host": host}) as instance:

        async def one() -> None:
            await anyio.lowlevel.checkpoint()
            assert await instance.exports.one() == 1
            order.append("one")

        async with anyio.create_task_group() as group:
            group.start_soon(one)
            assert await instance.exports.call(5) == 5
    assert order == ["host", "one"]


async def gives_text(ms: int) -> Any:
    return "text"


async def raises_stop(ms: int) -> int:
    raise StopIteration(ms)


async def raises_group(ms: int) -> int:
    raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])


async def cancels_its_scope(ms: int) -> int:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anyio.sleep(1)
    return ms


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (gives_text, r"'wait'.*expected u32.*'text'"),
        (lambda ms: -1, r"expected u32.*-1"),
        (lambda ms: None, "expected u32"),
        (lambda ms: [1], "expected u32"),
        (raises_stop, "StopIteration"),
        (raises_group, "ExceptionGroup: several"),
    ],
)
@pytest.mark.parametrize("name", ["nap", "nap_stackful"])
async def test_host_function_that_fails_is_a_trap_of_its_callers(
    function: Callable[[int], Any], message: str, name: str
) -> None:
    async with bystander(), behaviours().instantiate({"wait": function}) as instance:
        with pytest.raises(Trap, match=message) as raised:
            await getattr(instance.exports, name)(1)
        assert raised.value.__cause__ is not None


@pytest.mark.parametrize("name", ["nap", "nap_stackful"])
async def test_host_function_may_cancel_a_scope_of_its_own(name: str) -> None:
    async with behaviours().instantiate({"wait": cancels_its_scope}) as instance:
        assert await getattr(instance.exports, name)(3) == 3


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("by_exception", [True, False])
async def test_host_function_that_cancels_its_own_task_is_a_trap(by_exception: bool) -> None:
    async def cancels_itself(ms: int) -> int:
        if by_exception:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await anyio.sleep(1)
        return ms

    async with bystander(), behaviours().instantiate({"wait": cancels_itself}) as instance:
        with pytest.raises(Trap, match="cancelled its own task"):
            await instance.exports.nap(1)


# asyncio ends its loop at once with a SystemExit of another task.
@pytest.mark.parametrize(("kind", "is_async"), [(SystemExit, False), (BaseException, False), (BaseException, True)])
async def test_exception_that_is_no_error_leaves_the_block_as_it_is(kind: type[BaseException], is_async: bool) -> None:
    async def leave_later(ms: int) -> int:
        raise kind("left")

    def leave(ms: int) -> int:
        raise kind("left")

    async with bystander():
        with anyio.fail_after(1), pytest.raises(kind, match="left"):
            async with behaviours().instantiate({"wait": leave_later if is_async else leave}) as instance:
                await instance.exports.nap(1)
        assert instance.machine.closed


async def test_reader_of_a_guest_that_traps_gets_the_trap() -> None:
    async with bystander(), load(HELD).instantiate({"host": lambda n: "text"}) as instance:
        reader = await instance.exports.open()
        async with anyio.create_task_group() as group:

            async def read() -> None:
                with pytest.raises(Trap, match="expected u32"):
                    await reader.read()

            group.start_soon(read)
            await anyio.lowlevel.checkpoint()
            with pytest.raises(Trap, match="expected u32"):
                await instance.exports.call(1)
        with pytest.raises(Trap, match="expected u32"):
            await reader.read()


async def test_reader_of_an_instance_that_ends_is_told() -> None:
    async with anyio.create_task_group() as group, load(HELD).instantiate({"host": wait}) as instance:
        reader = await instance.exports.open()

        async def read() -> None:
            with pytest.raises(InstanceClosed):
                await reader.read()

        group.start_soon(read)
        await anyio.lowlevel.checkpoint()
    with pytest.raises(InstanceClosed):
        await reader.read()
    reader.close()


async def test_read_that_is_cancelled_while_the_guest_is_held_takes_nothing() -> None:
    async def host(n: int) -> int:
        await anyio.sleep(0.02)
        return n

    async with load(HELD).instantiate({"host": host}) as instance:
        reader = await instance.exports.open()
        async with anyio.create_task_group() as group:
            group.start_soon(instance.exports.call, 1)
            await anyio.sleep(0.005)
            with anyio.move_on_after(0.001) as scope:
                await reader.read()
            assert scope.cancelled_caught
        assert reader.shared is not None
        assert reader.shared.pending_buffer is None
        assert await instance.exports.one() == 1


STORM = component_text(
    imports='(import "wait" (func $wait async (param "ms" u32) (result u32)))',
    canons={"wait": ("lower (func $wait) async (memory $memory)", "(param i32 i32) (result i32)")},
    code='(func (export "storm") (loop $on (drop (call $wait (i32.const 60000) (i32.const 16))) (br $on)))',
    exports=sync_export("storm"),
)


async def test_storm_of_calls_ends_at_a_limit() -> None:
    async with bystander():
        async with load(STORM).instantiate({"wait": wait}, max_tasks=200) as instance:
            with pytest.raises(Trap, match="more than 200 calls of imports"):
                await instance.exports.storm()
        assert not instance.driver.host_tasks


BLOCKED_STORM = """(component
  (component $Callee
    (core module $Memory (memory (export "memory") 1))
    (core instance $memory (instantiate $Memory))
    (core func $new (canon waitable-set.new))
    (core func $wait (canon waitable-set.wait (memory (core memory $memory "memory"))))
    (core func $return (canon task.return))
    (core module $M
      (import "" "new" (func $new (result i32)))
      (import "" "wait" (func $wait (param i32 i32) (result i32)))
      (import "" "return" (func $return))
      (func (export "block") (drop (call $wait (call $new) (i32.const 0))))
      (func (export "return") (call $return) (drop (call $wait (call $new) (i32.const 0)))))
    (core instance $m (instantiate $M (with "" (instance
      (export "new" (func $new)) (export "wait" (func $wait)) (export "return" (func $return))))))
    (func (export "block") async (canon lift (core func $m "block") async))
    (func (export "return") async (canon lift (core func $m "return") async)))
  (instance $callee (instantiate $Callee))
  (core func $block (canon lower (func $callee "block") async))
  (core func $return (canon lower (func $callee "return") async))
  (core module $M
    (import "" "block" (func $block (result i32)))
    (import "" "return" (func $return (result i32)))
    (func (export "block") (loop $on (drop (call $block)) (br $on)))
    (func (export "return") (loop $on (drop (call $return)) (br $on))))
  (core instance $m (instantiate $M (with "" (instance
    (export "block" (func $block)) (export "return" (func $return))))))
  (func (export "block") (canon lift (core func $m "block")))
  (func (export "return") (canon lift (core func $m "return"))))"""


@pytest.mark.parametrize("name", ["block", "return"])
async def test_storm_of_blocked_tasks_ends_at_a_limit(name: str) -> None:
    async with bystander(), load(BLOCKED_STORM).instantiate(max_tasks=200) as instance:
        with pytest.raises(Trap, match="more than 200 tasks"):
            await instance.exports[name]()


async def pieces_of_text() -> AsyncIterator[Any]:
    yield "text"


async def pieces_of_none() -> AsyncIterator[Any]:
    yield b"fine"
    yield None


async def numbers_too_high() -> AsyncIterator[Any]:
    yield [256]


async def fails_at_once() -> AsyncIterator[Any]:
    raise ValueError("no more")
    yield b""


READS = component_text(
    imports="(type $s (stream u8)) (type $f (future u32))",
    canons={
        "read": ("stream.read $s async (memory $memory)", "(param i32 i32 i32) (result i32)"),
        "await": ("future.read $f async (memory $memory)", "(param i32 i32) (result i32)"),
        "set-new": ("waitable-set.new", "(result i32)"),
        "join": ("waitable.join", "(param i32 i32)"),
    },
    code="""
      (global $in (mut i32) (i32.const 0))
      (func $wait (result i32)
        (call $join (global.get $in) (i32.const 2))
        (i32.const 0x22))
      (func (export "read") (param i32) (result i32)
        (global.set $in (local.get 0))
        (drop (call $read (global.get $in) (i32.const 0) (i32.const 100)))
        (drop (call $set-new))
        (call $wait))
      (func (export "read-event") (param i32 i32 i32) (result i32)
        (drop (call $read (global.get $in) (i32.const 0) (i32.const 100)))
        (i32.const 0x22))
      (func (export "await") (param i32) (result i32)
        (global.set $in (local.get 0))
        (drop (call $await (global.get $in) (i32.const 0)))
        (drop (call $set-new))
        (call $wait))
      (func (export "await-event") (param i32 i32 i32) (result i32) (unreachable))""",
    exports="""
      (func (export "read") async (param "s" $s)
        (canon lift (core func $main "read") async (callback (core func $main "read-event"))))
      (func (export "await") async (param "f" $f)
        (canon lift (core func $main "await") async (callback (core func $main "await-event"))))""",
)


class NoIterator:
    def __aiter__(self) -> int:
        return 5


class FailsToClose:
    def __init__(self) -> None:
        self.closed = False

    def __aiter__(self) -> FailsToClose:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    async def aclose(self) -> None:
        closed, self.closed = self.closed, True
        if not closed:
            raise ValueError("not closed")


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (NoIterator, "NoIterator raised TypeError.*'int'"),
        (FailsToClose, "FailsToClose raised ValueError: not closed"),
        (pieces_of_text, "TypeError"),
        (pieces_of_none, "TypeError"),
        (numbers_too_high, "ValueError"),
        (fails_at_once, "ValueError: no more"),
    ],
)
async def test_stream_of_the_host_that_fails_is_a_trap_of_its_reader(stream: Callable[[], Any], message: str) -> None:
    async with bystander(), load(READS).instantiate() as instance:
        with anyio.fail_after(1), pytest.raises(Trap, match=message):
            await instance.exports.read(stream())
        assert not [task for task in instance.driver.host_tasks if not task.cancelled]


async def future_of_text() -> Any:
    await anyio.lowlevel.checkpoint()
    return "text"


async def future_that_fails() -> int:
    raise ValueError("no value")


@pytest.mark.parametrize(
    ("future", "message"), [(future_of_text, "expected u32.*'text'"), (future_that_fails, "ValueError: no value")]
)
async def test_future_of_the_host_that_fails_is_a_trap_of_its_reader(
    future: Callable[[], Awaitable[Any]], message: str
) -> None:
    async with bystander(), load(READS).instantiate() as instance:
        with anyio.fail_after(1), pytest.raises(Trap, match=message):
            await instance.exports["await"](future())


async def test_other_threads_are_refused_and_may_have_instances_of_their_own(anyio_backend: str) -> None:
    async def of_its_own() -> int:
        async with behaviours().instantiate({"wait": wait}) as own:
            return int(await own.exports.nap(1))

    async with behaviours().instantiate({"wait": wait}) as instance:

        def in_thread() -> int:
            with pytest.raises(RuntimeError, match="thread"):
                instance.exports.nap(1).send(None)
            return anyio.run(of_its_own, backend=anyio_backend)

        assert await anyio.to_thread.run_sync(in_thread) == 1
        assert await instance.exports.nap(1) == 1
    assert threading.active_count() < 50


async def test_collection_within_host_functions_takes_nothing_that_is_in_use() -> None:
    async def collect(ms: int) -> int:
        gc.collect(0)
        await anyio.lowlevel.checkpoint()
        gc.collect(0)
        return ms

    async with behaviours().instantiate({"wait": collect}) as instance, anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(instance.exports.nap, 1)
            group.start_soon(instance.exports.nap_stackful, 1)
    del instance
    gc.collect()


async def test_block_is_left_in_the_task_that_entered_it() -> None:
    async def leave(ms: int) -> int:
        await instance.__aexit__(None, None, None)
        return ms

    async with behaviours().instantiate({"wait": leave}) as instance:
        with pytest.raises(Trap, match="has to be left in the task that entered it"):
            await instance.exports.nap(1)


async def test_instance_that_is_never_entered_leaves_nothing() -> None:
    instance = behaviours().instantiate({"wait": wait})
    del instance
    gc.collect()
    async with behaviours().instantiate({"wait": wait}) as other:
        assert await other.exports.add(1, 2) == 3

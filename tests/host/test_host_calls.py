"""Calls of guests and by guests: many at once, in contexts, in turns, and from the wrong thread."""

from __future__ import annotations

import threading
from collections.abc import Awaitable
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from time import monotonic, thread_time
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint
from guest_text import behaviours, component_text, let_others_run, load, passing_on, sync_export

from p3host import Component, Err, Exit, Trap, Wasi

pytestmark = pytest.mark.anyio

GUESTS = Path(__file__).parents[2] / "guests"


async def wait(ms: int) -> int:
    await anyio.sleep(ms / 1000)
    return ms


async def pause(ms: int) -> None:
    await anyio.sleep(ms / 1000)


async def gather(count: int, function: Any) -> list[Any]:
    results: list[Any] = [None] * count

    async def run(number: int) -> None:
        results[number] = await function(number)

    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(run, number)
    return results


async def test_calls_of_one_instance_run_at_once_and_each_gets_its_own_result() -> None:
    """One after the other they would take 5.4 s."""
    async with behaviours().instantiate({"wait": wait}) as instance:
        started = monotonic()
        assert await gather(100, lambda number: instance.exports.nap(number)) == list(range(100))
        assert await gather(30, lambda number: instance.exports.nap_stackful(number)) == list(range(30))
        assert monotonic() - started < 4


async def test_1000_sleeping_goroutines_leave_the_loop_free() -> None:
    async def lookup(name: str) -> str:
        return name

    # In this thread's processor time, so that what other programs take is not counted. They slow it down, though, so
    # the best of several attempts counts.
    longest = []

    async def beat(attempt: int) -> None:
        while True:
            before = thread_time()
            await anyio.sleep(0.005)
            longest[attempt] = max(longest[attempt], thread_time() - before)

    component = Component.load(GUESTS / "go-reactor/go-reactor.wasm")
    for attempt in range(3):
        async with (
            component.instantiate({"wait": pause, "lookup": lookup}, wasi=Wasi()) as instance,
            anyio.create_task_group() as group,
        ):
            longest.append(0.0)
            group.start_soon(beat, attempt)
            started = thread_time()
            results = await gather(1000, lambda number: instance.exports.plain_sleep(50))
            assert thread_time() - started < 3
            group.cancel_scope.cancel()
        assert min(results) >= 50_000_000
        if longest[attempt] < 0.1:
            break
    assert min(longest) < 0.1


async def test_goroutines_call_imports_at_once_and_get_their_answers() -> None:
    async def lookup(name: str) -> str:
        await anyio.sleep(0.01 - int(name) / 10_000)
        return f"<{name}>"

    component = Component.load(GUESTS / "go-reactor/go-reactor.wasm")
    async with component.instantiate({"wait": pause, "lookup": lookup}, wasi=Wasi()) as instance:
        names = [str(number) for number in range(50)]
        assert await instance.exports.fan_out(names) == [f"<{name}>" for name in names]
        assert await instance.exports.sleep_echo(2, "hello") == "echo(hello)"


def sync_wait(ms: int) -> int:
    return ms + 1


class Waiter:
    async def __call__(self, ms: int) -> int:
        return await wait(ms)


def returning_awaitable(ms: int) -> Awaitable[int]:
    return wait(ms)


@pytest.mark.parametrize(
    ("function", "result"),
    [(sync_wait, 4), (wait, 3), (Waiter(), 3), (returning_awaitable, 3), (partial(wait), 3)],
    ids=["def", "async def", "callable object", "returns an awaitable", "partial"],
)
@pytest.mark.parametrize("name", ["nap", "nap_deaf", "nap_stackful"])
async def test_import_is_any_function_sync_or_async(function: Any, result: int, name: str) -> None:
    async with behaviours().instantiate({"wait": function}) as instance:
        assert await getattr(instance.exports, name)(3) == result


async def test_import_that_is_found_to_be_async_too_late_says_what_to_do() -> None:
    component = load(passing_on("", '(param "v" u8)', "(result u8)"))
    async with component.instantiate({"host": lambda v: wait(v)}) as instance:
        with pytest.raises(Trap, match="define it with 'async def'"):
            await instance.exports.echo(1)


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("name", ["nap", "nap_deaf", "nap_stackful"])
async def test_host_function_that_raises_is_the_cause_of_the_trap(kind: str, name: str) -> None:
    error = ValueError("no such thing")

    def fail(ms: int) -> int:
        raise error

    async def fail_later(ms: int) -> int:
        await anyio.sleep(0.001)
        raise error

    async with behaviours().instantiate({"wait": fail if kind == "sync" else fail_later}) as instance:
        with pytest.raises(Trap, match=r"wait.*ValueError: no such thing") as raised:
            await getattr(instance.exports, name)(1)
        assert raised.value.__cause__ is error


async def test_error_value_without_a_result_type_is_a_trap() -> None:
    async def fail(ms: int) -> int:
        raise Err("value")

    async with behaviours().instantiate({"wait": fail}) as instance:
        with pytest.raises(Trap, match="wait"):
            await instance.exports.nap(1)


async def test_async_host_function_raises_the_error_of_its_result() -> None:
    async def host(value: int) -> int:
        await checkpoint()
        if value == 0:
            raise Err("zero")
        return value

    types = "(type $r (result u8 (error string)))"
    component = load(passing_on(types, '(param "v" u8)', "(result $r)"))
    async with component.instantiate({"host": host}) as instance:
        assert await instance.exports.echo(3) == 3
        with pytest.raises(Err) as raised:
            await instance.exports.echo(0)
        assert raised.value.value == "zero"
        assert await instance.exports.echo(4) == 4


async def test_exit_of_a_guest_is_told_to_its_callers() -> None:
    def leave(value: int) -> int:
        raise Exit(value)

    async with load(passing_on("", '(param "v" u8)', "(result u8)")).instantiate({"host": leave}) as instance:
        with pytest.raises(Exit) as raised:
            await instance.exports.echo(3)
        assert raised.value.status == 3
        with pytest.raises(Trap, match="Exit"):
            await instance.exports.echo(4)


request: ContextVar[str] = ContextVar("request", default="none")


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_host_functions_see_the_context_of_the_call_they_serve(kind: str) -> None:
    seen: dict[int, str] = {}

    def note(ms: int) -> int:
        seen[ms] = request.get()
        request.set("changed by the host function")
        return ms

    async def note_later(ms: int) -> int:
        await wait(ms)
        return note(ms)

    async with behaviours().instantiate({"wait": note if kind == "sync" else note_later}) as instance:

        async def call(number: int) -> None:
            request.set(f"request {number}")
            assert await instance.exports.nap(number) == number
            assert await instance.exports.nap_stackful(number + 100) == number + 100
            assert request.get() == f"request {number}"

        await gather(10, call)
    assert seen == {n + more: f"request {n}" for n in range(10) for more in (0, 100)}


async def test_calls_of_a_callback_export_take_turns_where_one_blocks_in_it() -> None:
    running = most = 0

    async def count(ms: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.003)
        running -= 1
        return ms

    async with behaviours().instantiate({"wait": count}) as instance:
        assert await gather(5, lambda number: instance.exports.nap_deaf(number)) == list(range(5))
        assert most == 1
        assert await gather(5, lambda number: instance.exports.nap(number)) == list(range(5))
        assert most == 5


async def test_backpressure_keeps_calls_waiting_in_order() -> None:
    order = []

    async def note(ms: int) -> int:
        order.append(ms)
        await anyio.sleep(0.001)
        return ms

    async with behaviours().instantiate({"wait": note}) as instance:
        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(instance.exports.nap_alone, number)
                await checkpoint()
        assert await instance.exports.nap(20) == 20
    assert order == [*range(10), 20]


async def test_c_guest_closes_its_gate_for_one_call_at_a_time() -> None:
    running = most = 0

    class Host:
        @staticmethod
        async def work(ms: int) -> int:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await anyio.sleep(ms / 1000)
            running -= 1
            return ms * 2

    component = Component.load(GUESTS / "c3/c3.wasm")
    async with component.instantiate({"p3host:c3/host@0.1.0": Host}) as instance:
        guest = instance.exports["p3host:c3/guest"]
        assert await gather(10, lambda number: guest.gate(number)) == [2 * number for number in range(10)]
        assert most == 1
        assert await guest.yield_times(100) == 100


async def test_calls_from_another_thread_are_refused() -> None:
    async with behaviours().instantiate({"wait": wait}) as instance:

        def call() -> None:
            with pytest.raises(RuntimeError, match="thread"):
                anyio.run(instance.exports.add, 1, 2)

        await anyio.to_thread.run_sync(call)
        assert await anyio.to_thread.run_sync(lambda: anyio.from_thread.run(instance.exports.add, 1, 2)) == 3


async def test_instances_run_in_threads_of_their_own() -> None:
    results = []

    async def use() -> None:
        async with behaviours().instantiate({"wait": wait}) as instance:
            results.append(await gather(20, lambda number: instance.exports.nap(number % 5)))

    threads = [threading.Thread(target=anyio.run, args=(use,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    await anyio.to_thread.run_sync(lambda: [thread.join() for thread in threads])
    assert results == [[number % 5 for number in range(20)]] * 3


HOLDING = component_text(
    imports="""(import "slow" (func $slow (param "ms" u32) (result u32)))
      (import "wait" (func $wait async (param "ms" u32) (result u32)))""",
    canons={
        "slow": ("lower (func $slow)", "(param i32) (result i32)"),
        "wait": ("lower (func $wait)", "(param i32) (result i32)"),
        "return": ("task.return (result u32)", "(param i32)"),
    },
    code="""
      (func (export "hold") (param i32) (result i32) (call $slow (local.get 0)))
      (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
      (func (export "nap") (param i32) (call $return (call $wait (local.get 0))))""",
    exports="\n".join(
        [
            sync_export("hold", '(param "ms" u32)', "u32"),
            sync_export("add", '(param "a" u32) (param "b" u32)', "u32"),
            '(func (export "nap") async (param "ms" u32) (result u32) (canon lift (core func $main "nap") async))',
        ]
    ),
)


async def test_held_call_keeps_its_instance_waiting_but_no_other() -> None:
    order = []

    async def call(name: str, function: Any, *args: Any) -> None:
        await function(*args)
        order.append(name)

    async with (
        load(HOLDING).instantiate({"slow": wait, "wait": wait}) as instance,
        load(HOLDING).instantiate({"slow": wait, "wait": wait}) as other,
        anyio.create_task_group() as group,
    ):
        group.start_soon(call, "hold", instance.exports.hold, 30)
        await let_others_run()
        group.start_soon(call, "add", instance.exports.add, 1, 2)
        group.start_soon(call, "nap", instance.exports.nap, 1)
        group.start_soon(call, "other", other.exports.nap, 5)
        await let_others_run()
        assert order == []
    assert order[0] == "other"
    assert sorted(order[1:]) == ["add", "hold", "nap"]


async def test_answers_that_come_while_a_call_is_held_are_kept() -> None:
    async with load(HOLDING).instantiate({"slow": wait, "wait": wait}) as instance:
        results = []

        async def nap(ms: int) -> None:
            results.append(await instance.exports.nap(ms))

        async with anyio.create_task_group() as group:
            for ms in (1, 2, 3):
                group.start_soon(nap, ms)
            await let_others_run()
            assert await instance.exports.hold(20) == 20
        assert sorted(results) == [1, 2, 3]


async def test_held_calls_are_answered_one_after_the_other() -> None:
    running = most = 0

    async def slow(ms: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.002)
        running -= 1
        return ms

    async with load(HOLDING).instantiate({"slow": slow, "wait": wait}) as instance:
        assert await gather(5, lambda number: instance.exports.hold(number)) == list(range(5))
    assert most == 1


@pytest.mark.parametrize("through_a_task", [False, True])
async def test_host_function_of_a_held_call_may_not_wait_for_the_same_instance(through_a_task: bool) -> None:
    async def slow(ms: int) -> int:
        if through_a_task:
            async with anyio.create_task_group() as group:
                group.start_soon(instance.exports.add, 1, 2)
            return 1
        result: int = await instance.exports.add(1, 2)
        return result

    with anyio.fail_after(5):
        async with load(HOLDING).instantiate({"slow": slow, "wait": wait}) as instance:
            with pytest.raises(Trap, match="slow"):
                await instance.exports.hold(1)


async def test_host_function_of_a_call_that_is_not_held_may_call_the_same_instance() -> None:
    async def call_back(ms: int) -> int:
        result: int = await instance.exports.add(ms, 2)
        return result

    async with load(HOLDING).instantiate({"slow": wait, "wait": call_back}) as instance:
        assert await instance.exports.nap(1) == 3


async def test_host_function_may_call_another_instance_while_its_own_is_held() -> None:
    async with load(HOLDING).instantiate({"slow": wait, "wait": wait}) as other:

        async def ask_other(ms: int) -> int:
            result: int = await other.exports.nap(ms)
            return result

        async with load(HOLDING).instantiate({"slow": ask_other, "wait": wait}) as instance:
            assert await instance.exports.hold(3) == 3


async def test_sync_host_function_starts_a_call_of_its_own_instance_in_the_background() -> None:
    """A call made within a step is taken up by that step when it can."""
    results = []
    async with anyio.create_task_group() as group:

        async def call() -> None:
            results.append(await instance.exports.add(1, 2))

        def start(ms: int) -> int:
            group.start_soon(call)
            return ms

        async with behaviours().instantiate({"wait": start}) as instance:
            assert await instance.exports.nap(5) == 5
            with anyio.fail_after(20):
                while not results:
                    await checkpoint()
    assert results == [3]

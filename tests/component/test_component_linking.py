"""Components that were loaded apart: exports of one are imports of the other, as they are or through Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from guest_text import FAR, SECONDS, Waits, behaviours, component_text, load, passing_on, sync_export
from test_component_resources import COUNTER

from p3host import Component, GuestResource, LinkError, Trap

pytestmark = pytest.mark.anyio

STREAMS = Path(__file__).parents[2] / "guests/text/streams.wat"
MS = '(param "ms" u32)'


async def wait(ms: int) -> int:
    await anyio.sleep(ms / 1000)
    return ms


async def pause() -> None:
    await anyio.sleep(0.005)


def through_python(function: Any) -> Any:
    async def call(*args: Any) -> Any:
        return await function(*args)

    return call


def directly(function: Any) -> Any:
    return function


BOTH = pytest.mark.parametrize("given", [directly, through_python])


@BOTH
@pytest.mark.parametrize("callee", ["nap", "nap_deaf", "nap_stackful"])
@pytest.mark.parametrize("caller", ["nap", "nap_deaf", "nap_stackful"])
async def test_async_export_is_an_async_import(given: Any, caller: str, callee: str) -> None:
    async with (
        behaviours().instantiate({"wait": wait}) as one,
        behaviours().instantiate({"wait": given(getattr(one.exports, callee))}) as two,
    ):
        results = []

        async def nap(ms: int) -> None:
            results.append(await getattr(two.exports, caller)(ms))

        async with anyio.create_task_group() as group:
            for ms in range(5):
                group.start_soon(nap, ms)
        assert sorted(results) == list(range(5))


@BOTH
@pytest.mark.parametrize(
    ("types", "t", "value"),
    [
        ("", "u64", 2**64 - 1),
        ("", "string", "héllo"),
        ("(type $t (list u8))", "$t", bytes(range(256)) * 300),
        ("(type $t (list (tuple string (option u8))))", "$t", [("a", None), ("b", 1)]),
    ],
)
async def test_values_go_from_component_to_component(given: Any, types: str, t: str, value: Any) -> None:
    component = load(passing_on(types, f'(param "v" {t})', f"(result {t})"))
    async with (
        component.instantiate({"host": lambda value: value}) as one,
        component.instantiate({"host": given(one.exports.echo)}) as two,
        component.instantiate({"host": given(two.exports.echo)}) as three,
    ):
        assert await three.exports.echo(value) == value


async def test_export_of_another_type_is_a_link_error() -> None:
    u8 = load(passing_on("", '(param "v" u8)', "(result u8)"))
    u16 = load(passing_on("", '(param "v" u16)', "(result u16)"))
    async with u8.instantiate({"host": lambda value: value}) as one:
        with pytest.raises(LinkError, match="host"):
            u16.instantiate({"host": one.exports.echo})
    async with behaviours().instantiate({"wait": wait}) as one:
        with pytest.raises(LinkError, match="wait"):
            behaviours().instantiate({"wait": one.exports.add})


@BOTH
async def test_trap_of_the_callee_is_the_callers(given: Any) -> None:
    async with (
        load(passing_on("", "", "")).instantiate({"host": lambda: 1 / 0}) as one,
        load(passing_on("", "", "")).instantiate({"host": given(one.exports.echo)}) as two,
    ):
        with pytest.raises(Trap, match="ZeroDivisionError") as raised:
            await two.exports.echo()
        assert isinstance(raised.value.__cause__, ZeroDivisionError)
        for instance in (one, two):
            with pytest.raises(Trap, match="cannot enter"):
                await instance.exports.echo()


@BOTH
async def test_callee_that_traps_beside_a_call_ends_the_waiting_caller(given: Any) -> None:
    waits = Waits()
    async with (
        behaviours().instantiate({"wait": waits}) as one,
        behaviours().instantiate({"wait": given(one.exports.nap)}) as two,
        anyio.create_task_group() as group,
    ):

        async def nap() -> None:
            with pytest.raises(Trap, match="unreachable"):
                await two.exports.nap(FAR)

        group.start_soon(nap)
        await waits.begun()
        with pytest.raises(Trap, match="unreachable"):
            await one.exports.trap()


@BOTH
async def test_cancellation_goes_from_component_to_component(given: Any) -> None:
    waits = Waits()
    async with (
        behaviours().instantiate({"wait": waits}, grace_seconds=SECONDS) as one,
        behaviours().instantiate({"wait": given(one.exports.nap)}, grace_seconds=SECONDS) as two,
    ):
        async with anyio.create_task_group() as group:
            group.start_soon(two.exports.nap, FAR)
            await waits.begun()
            group.cancel_scope.cancel()
        assert (waits.started, waits.cancelled, waits.ended) == (1, 1, 1)
        assert await two.exports.nap(1) == 1


@BOTH
async def test_callee_that_is_closed_first_traps_the_caller(given: Any) -> None:
    opened, to_close = anyio.Event(), anyio.Event()
    waits = Waits()
    one = behaviours().instantiate({"wait": waits})

    async def keep_open() -> None:
        async with one:
            opened.set()
            await to_close.wait()

    async def nap(function: Any) -> None:
        with pytest.raises(Trap, match="closed"):
            await function(FAR)

    async with anyio.create_task_group() as group:
        group.start_soon(keep_open)
        await opened.wait()
        async with behaviours().instantiate({"wait": given(one.exports.nap)}) as two, anyio.create_task_group() as naps:
            naps.start_soon(nap, two.exports.nap)
            await waits.begun()
            to_close.set()


@BOTH
async def test_stream_goes_from_component_to_component(given: Any) -> None:
    streams = Component.load(STREAMS)
    types = "(type $s (stream u8))"
    passing = load(passing_on(types, '(param "v" $s)', "(result $s)"))
    async with (
        streams.instantiate() as one,
        passing.instantiate({"host": lambda stream: stream}) as two,
        passing.instantiate({"host": given(two.exports.echo)}) as three,
    ):
        stream = await three.exports.echo(await one.exports.source(300_000))
        assert await one.exports.sink(stream) == 300_000
        assert await one.exports.sink(await three.exports.echo(b"abc")) == 3


USER = component_text(
    imports="""(import "local:app/counters@1.0.0" (instance $counters
        (export "counter" (type $counter (sub resource)))
        (export "[constructor]counter" (func (param "value" u32) (result (own $counter))))
        (export "[method]counter.add" (func (param "self" (borrow $counter)) (param "by" u32) (result u32)))
        (export "consume" (func (param "counter" (own $counter)) (result u32)))))
      (alias export $counters "counter" (type $counter))
      (alias export $counters "[constructor]counter" (func $make))
      (alias export $counters "[method]counter.add" (func $add))
      (alias export $counters "consume" (func $consume))
      (import "look" (func $look (param "counter" (borrow $counter))))""",
    canons={
        "make": ("lower (func $make)", "(param i32) (result i32)"),
        "add": ("lower (func $add)", "(param i32 i32) (result i32)"),
        "consume": ("lower (func $consume)", "(param i32) (result i32)"),
        "look": ("lower (func $look)", "(param i32)"),
        "drop": ("resource.drop $counter", "(param i32)"),
    },
    code="""
      (func (export "use") (param i32) (result i32) (local $counter i32) (local $value i32)
        (local.set $counter (call $make (local.get 0)))
        (drop (call $add (local.get $counter) (i32.const 1)))
        (call $look (local.get $counter))
        (local.set $value (call $add (local.get $counter) (i32.const 1)))
        (call $drop (local.get $counter))
        (local.get $value))
      (func (export "use-up") (param i32) (result i32) (call $consume (call $make (local.get 0))))
      (func (export "use-given") (param $counter i32) (result i32) (local $value i32)
        (local.set $value (call $add (local.get $counter) (i32.const 10)))
        (call $drop (local.get $counter))
        (local.get $value))
      (func (export "keep") (param i32))""",
    exports=sync_export("use", '(param "value" u32)', "u32")
    + sync_export("use-up", '(param "value" u32)', "u32")
    + sync_export("use-given", '(param "counter" (borrow $counter))', "u32")
    + sync_export("keep", '(param "counter" (own $counter))'),
)


async def test_resources_of_one_component_are_used_by_another() -> None:
    looked: list[GuestResource] = []
    async with load(COUNTER).instantiate({"pause": pause}) as one:
        counters = one.exports["local:app/counters"]
        imports = {"local:app/counters@1.0.0": counters, "look": looked.append}
        async with load(USER).instantiate(imports) as two:
            assert await two.exports.use(5) == 7
            assert await counters.drops() == 1
            assert await two.exports.use_up(6) == 6
            assert await counters.drops() == 2
            counter = await counters.Counter(1)
            assert await two.exports.use_given(counter) == 11
            assert await counter.add(1) == 12
            await two.exports.keep(counter)
            with pytest.raises((TypeError, ValueError), match="given up"):
                await counter.add(1)
            assert await counters.drops() == 2
        assert await counters.drops() == 3


async def test_borrowed_resource_ends_with_the_call_that_lent_it() -> None:
    looked: list[GuestResource] = []
    async with load(COUNTER).instantiate({"pause": pause}) as one:
        counters = one.exports["local:app/counters"]
        imports = {"local:app/counters@1.0.0": counters, "look": looked.append}
        async with load(USER).instantiate(imports) as two:
            await two.exports.use(5)
            assert isinstance(looked[0], GuestResource)
            looked[0].drop()
            assert await counters.drops() == 1
            with pytest.raises((TypeError, ValueError)):
                await looked[0].add(1)


async def test_python_reads_a_resource_that_a_guest_lends_it_through_another() -> None:
    seen = []

    async def look(counter: GuestResource) -> None:
        seen.append(await counter.add(100))

    async with load(COUNTER).instantiate({"pause": pause}) as one:
        counters = one.exports["local:app/counters"]
        async with load(USER).instantiate({"local:app/counters@1.0.0": counters, "look": look}) as two:
            assert await two.exports.use(5) == 107
    assert seen == [106]


async def test_guest_that_calls_itself_through_python_takes_turns() -> None:
    async def call_back(ms: int) -> int:
        if ms == 0:
            return 0
        result: int = await instance.exports.nap(ms - 1)
        return result + 1

    async with behaviours().instantiate({"wait": call_back}) as instance:
        assert await instance.exports.nap(20) == 20

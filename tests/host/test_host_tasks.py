"""The tree of tasks: who waits for whom, for how long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from guest_text import BEHAVIOURS, behaviours, component_text, stackful_export

from p3host import InstanceClosed
from p3host.host.tasks import Kind
from p3host.testing import Guest, Testbed, double

pytestmark = pytest.mark.virtual_time

GUESTS = Path(__file__).parents[2] / "guests"


def shape(guest: Guest) -> list[tuple[Kind, str]]:
    """The kinds and texts of all nodes, in order."""
    return [(node.kind, node.text) for node in guest.tasks().walk()]


async def nothing() -> None:
    """Lets guests do all that they can do now."""
    await anyio.sleep(0.001)


async def test_nothing_goes_on_in_an_instance_without_calls(testbed: Testbed) -> None:
    async with testbed.instantiate(BEHAVIOURS, {"wait": double(0)}) as guest:
        assert await guest.exports.add(1, 2) == 3
        assert guest.tasks() == ()
        assert str(guest.tasks()) == "nothing goes on"


async def test_an_instance_has_no_tasks_before_its_block() -> None:
    with pytest.raises(InstanceClosed):
        behaviours().instantiate({"wait": double(0)}).tasks()


@pytest.mark.parametrize(
    ("export", "below"),
    [
        (
            "nap",
            [
                (Kind.THREAD, "thread waits for a waitable set"),
                (Kind.WAITABLE_SET, "waitable set of 1"),
                (Kind.CALL, "call of 'wait' (started)"),
                (Kind.HOST_TASK, "wait of the host (running)"),
            ],
        ),
        (
            "nap-stackful",
            [
                (Kind.THREAD, "thread waits for the call of 'wait'"),
                (Kind.CALL, "call of 'wait' (started)"),
                (Kind.HOST_TASK, "wait of the host (running)"),
            ],
        ),
    ],
)
async def test_a_task_that_waits_for_the_host(testbed: Testbed, export: str, below: list[tuple[Kind, str]]) -> None:
    async with (
        testbed.instantiate(BEHAVIOURS, {"wait": double(1, after=60.0)}) as guest,
        anyio.create_task_group() as calls,
    ):
        calls.start_soon(guest.exports[export], 1)
        await nothing()
        assert shape(guest) == [(Kind.TASK, f"task '{export}' (started)"), *below]
        await anyio.sleep(2.5)
        times = [node.seconds for node in guest.tasks().walk() if node.seconds is not None]
        assert times == pytest.approx([2.501] * len(times))
        assert len(times) == 4
        assert str(guest.tasks()).splitlines()[0] == f"task '{export}' (started), for 2.501 s"


async def test_a_task_that_is_not_let_in(testbed: Testbed) -> None:
    async with (
        testbed.instantiate(BEHAVIOURS, {"wait": double(1, after=60.0)}) as guest,
        anyio.create_task_group() as calls,
    ):
        calls.start_soon(guest.exports["nap-alone"], 1)
        await nothing()
        calls.start_soon(guest.exports.nap, 1)
        await nothing()
        tasks = guest.tasks()
        assert sorted(task.text for task in tasks) == ["task 'nap' (not let in yet)", "task 'nap-alone' (started)"]
        (kept_out,) = (task for task in tasks if "not let in" in task.text)
        assert [child.text for child in kept_out.children] == ["thread waits for being let into its instance"]


async def test_a_call_that_holds_its_instance(testbed: Testbed) -> None:

    class Host:
        async def work(self, tag: str, ms: int) -> str:
            return tag

        async def source(self) -> Any:
            await anyio.sleep(60)
            return b"\1", number()

    async def number() -> int:
        return 1

    async with (
        testbed.instantiate(GUESTS / "c2/c2.wasm", {"p3host:c2/host": Host()}) as guest,
        anyio.create_task_group() as calls,
    ):
        calls.start_soon(guest.exports["p3host:c2/guest"].sum)
        await nothing()
        assert shape(guest) == [
            (Kind.TASK, "task 'sum' (started)"),
            (Kind.THREAD, "thread holds its instance: it waits for a call of a type that is not async"),
            (Kind.CALL, "call of 'p3host:c2/host@0.1.0#source' (started)"),
            (Kind.HOST_TASK, "p3host:c2/host@0.1.0#source of the host (running)"),
        ]


async def test_a_cancellation_that_is_under_way(testbed: Testbed) -> None:
    async def wait(ms: int) -> int:
        try:
            await anyio.sleep(60)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.5)
        return 1

    async with testbed.instantiate(BEHAVIOURS, {"wait": wait}) as guest, anyio.create_task_group() as calls:
        calls.start_soon(guest.exports.nap, 1)
        await nothing()
        calls.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await nothing()
            assert shape(guest) == [
                (Kind.TASK, "task 'nap' (told to cancel)"),
                (Kind.THREAD, "thread waits for the call of 'wait'"),
                (Kind.CALL, "call of 'wait' (started, asked to cancel)"),
                (Kind.HOST_TASK, "wait of the host (cancelled, and unwinding)"),
            ]


async def test_copies_tell_who_has_the_other_end(testbed: Testbed) -> None:
    async def slow() -> AsyncIterator[bytes]:
        await anyio.sleep(60)
        yield b"late"

    imports = {"p3host:c1/host": {"work": double(""), "plain": double(0)}}
    async with testbed.instantiate(GUESTS / "c1/c1.wasm", imports) as guest:
        stream, total = await guest.exports["p3host:c1/guest"].pipe(slow())
        await nothing()
        copies = [node for node in guest.tasks().walk() if node.kind is Kind.COPY]
        assert [node.text for node in copies if "idle" not in node.text] == [
            "readable end of a stream 1 reads 4096 elements: waits for the stream async_generator of the host"
        ]
        async with anyio.create_task_group() as group:
            group.start_soon(stream.read)
            await nothing()
            assert (Kind.HOST_TASK, "the host reads a stream or future of a guest") in shape(guest)
        assert await stream.read_all() == b""
        assert await total == 4


PAIR = """(component
  (import "wait" (func $wait async (result u32)))
  (component $Inner
    (import "wait" (func $wait async (result u32)))
    (core func $wait (canon lower (func $wait)))
    (core func $return (canon task.return (result u32)))
    (core module $Main
      (import "" "wait" (func $wait (result i32))) (import "" "return" (func $return (param i32)))
      (func (export "inner") (call $return (call $wait))))
    (core instance $main (instantiate $Main
      (with "" (instance (export "wait" (func $wait)) (export "return" (func $return))))))
    (func (export "inner") async (result u32) (canon lift (core func $main "inner") async)))
  (component $Outer
    (import "inner" (func $inner async (result u32)))
    (core func $inner (canon lower (func $inner)))
    (core func $return (canon task.return (result u32)))
    (core module $Main
      (import "" "inner" (func $inner (result i32))) (import "" "return" (func $return (param i32)))
      (func (export "outer") (call $return (call $inner))))
    (core instance $main (instantiate $Main
      (with "" (instance (export "inner" (func $inner)) (export "return" (func $return))))))
    (func (export "outer") async (result u32) (canon lift (core func $main "outer") async)))
  (instance $inner (instantiate $Inner (with "wait" (func $wait))))
  (instance $outer (instantiate $Outer (with "inner" (func $inner "inner"))))
  (func (export "outer") (alias export $outer "outer"))
  (func (export "inner") (alias export $inner "inner")))"""

CHAIN = [
    (Kind.TASK, "task 'outer' (started)"),
    (Kind.THREAD, "thread waits for the call of 'inner'"),
    (Kind.CALL, "call of 'inner' (started)"),
    (Kind.TASK, "task 'inner' (started)"),
    (Kind.THREAD, "thread waits for the call of 'wait'"),
    (Kind.CALL, "call of 'wait' (started)"),
    (Kind.HOST_TASK, "wait of the host (running)"),
]


def without_instances(nodes: list[tuple[Kind, str]]) -> list[tuple[Kind, str]]:
    return [(kind, text.replace(" of 'Outer'", "").replace(" of 'Inner'", "")) for kind, text in nodes]


async def test_a_call_from_guest_to_guest_shows_what_the_callee_waits_for(testbed: Testbed) -> None:
    async with (
        testbed.instantiate(PAIR, {"wait": double(7, after=60.0)}) as guest,
        anyio.create_task_group() as calls,
    ):
        calls.start_soon(guest.exports.outer)
        await nothing()
        assert without_instances(shape(guest)) == CHAIN


async def test_a_call_from_instance_to_instance_does_too(testbed: Testbed) -> None:
    inner = component_text(
        imports='(import "wait" (func $wait async (result u32)))',
        canons={"wait": ("lower (func $wait)", "(result i32)"), "return": ("task.return (result u32)", "(param i32)")},
        code='(func (export "inner") (call $return (call $wait)))',
        exports=stackful_export("inner", "", "u32"),
    )
    outer = inner.replace('"inner"', '"outer"').replace('"wait" (func $wait async', '"inner" (func $wait async')
    async with (
        testbed.instantiate(inner, {"wait": double(7, after=60.0)}) as one,
        testbed.instantiate(outer, {"inner": one.exports.inner}) as two,
        anyio.create_task_group() as calls,
    ):
        calls.start_soon(two.exports.outer)
        await nothing()
        assert shape(two) == CHAIN
        assert shape(one) == CHAIN[3:]


async def test_threads_of_a_task_stand_below_it(testbed: Testbed) -> None:
    imports = {"p3host:c4/host": {"work": double(0, after=60.0)}}
    async with testbed.instantiate(GUESTS / "c4/c4.wasm", imports) as guest, anyio.create_task_group() as calls:
        calls.start_soon(guest.exports["p3host:c4/guest"].workers, 2)
        await nothing()
        (task,) = guest.tasks()
        assert [child.text for child in task.children] == [
            "thread 1 waits for being resumed by another thread",
            "thread 2 waits for the call of 'p3host:c4/host@0.1.0#work'",
            "thread 3 waits for the call of 'p3host:c4/host@0.1.0#work'",
        ]


@pytest.mark.anyio
async def test_a_task_that_computes_is_told_from_one_that_waits() -> None:
    async with behaviours().instantiate({"wait": double(0)}, grace_seconds=0) as instance:
        with anyio.move_on_after(0.05):
            async with anyio.create_task_group() as calls:
                calls.start_soon(instance.exports.spin)
                await anyio.sleep(0.02)
                texts = [node.text for node in instance.tasks().walk()]
                assert texts == ["task 'spin' (started)", "thread computes, and its time slice is over"]
        assert str(instance.tasks()).startswith("the instance has trapped: ")

"""Deadlocks are reported whenever they come about."""

from __future__ import annotations

import io
import math
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from command_guests import GUESTS, WRITE, printing
from guest_text import component_text

from p3host import Deadlock, Directory, Exit, Wasi
from p3host.component import Component

pytestmark = pytest.mark.anyio

# Yields many times, so that it outlasts the first step, and then waits for a set that has no member.
YIELDS_THEN_WAITS = component_text(
    canons={"set-new": ("waitable-set.new", "(result i32)")},
    code="""
      (global $left (mut i32) (i32.const 20000))
      (func (export "f") (result i32) (i32.const 1))
      (func (export "callback") (param i32 i32 i32) (result i32)
        (global.set $left (i32.sub (global.get $left) (i32.const 1)))
        (if (global.get $left) (then (return (i32.const 1))))
        (i32.or (i32.const 2) (i32.shl (call $set-new) (i32.const 4))))""",
    exports="""(func (export "f") async
      (canon lift (core func $main "f") async (callback (core func $main "callback"))))""",
)


async def test_a_deadlock_that_comes_after_many_steps_is_reported() -> None:
    async with Component.load(YIELDS_THEN_WAITS).instantiate(detect_deadlock=True) as instance:
        with anyio.fail_after(10), pytest.raises(Deadlock, match="waits for a waitable set"):
            await instance.exports.f()


async def test_a_deadlock_is_reported_when_guests_have_used_up_their_share_of_the_loop() -> None:
    async with Component.load(YIELDS_THEN_WAITS).instantiate(detect_deadlock=True) as instance:
        driver = instance.driver
        report = driver.report_if_stuck

        def report_late() -> None:
            driver.share.seconds = math.inf
            report()

        driver.report_if_stuck = report_late  # type: ignore[method-assign]
        with anyio.fail_after(10), pytest.raises(Deadlock, match="waits for a waitable set"):
            await instance.exports.f()


# Host tasks that wait for the guest itself are no reason to wait.

RUN = "wasi:cli/run@0.3.0"
FOREVER = "(call $forever) i32.const 0"


@pytest.mark.parametrize("before", ["", WRITE, WRITE + WRITE, "(call $drop (global.get $written))" + WRITE])
async def test_a_guest_that_leaves_its_output_open_and_waits_for_ever_is_reported(before: str) -> None:
    output = io.BytesIO()
    component = Component.load(printing(f"(call $open) {before} {FOREVER}"))
    async with component.instantiate(wasi=Wasi(stdout=output), detect_deadlock=True) as instance:
        with anyio.fail_after(10), pytest.raises(Deadlock, match="waits for a waitable set"):
            await instance.exports[RUN].run()
    assert output.getvalue() == b"one\ntwo\n" * before.count(WRITE)


async def test_output_that_is_slow_is_waited_for_before_a_deadlock_is_reported() -> None:
    send, receive = anyio.create_memory_object_stream[bytes](0)
    component = Component.load(printing(f"(call $open) {WRITE} {FOREVER}"))
    reported = False

    async def run() -> None:
        nonlocal reported
        async with component.instantiate(wasi=Wasi(stdout=send), detect_deadlock=True) as instance:
            with pytest.raises(Deadlock):
                await instance.exports[RUN].run()
        reported = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        assert not reported
        assert await receive.receive() == b"one\ntwo\n"
    assert reported
    send.close()
    receive.close()


async def test_a_guest_that_sleeps_while_its_output_is_open_is_none() -> None:
    component = Component.load(printing(f"(call $open) {WRITE} (call $sleep (i64.const 20000000)) {WRITE} i32.const 0"))
    output = io.BytesIO()
    async with component.instantiate(wasi=Wasi(stdout=output), detect_deadlock=True) as instance:
        await instance.exports[RUN].run()
    assert output.getvalue() == b"one\ntwo\n" * 2


async def test_a_guest_that_waits_for_its_input_is_none() -> None:
    send, receive = anyio.create_memory_object_stream[bytes](0)
    wasi = Wasi(args=["c-files", "cat", "exit", "7"], stdin=receive, stdout=io.BytesIO())
    component = Component.load(GUESTS / "c-files" / "c-files.wasm")
    status = None

    async def run() -> None:
        nonlocal status
        async with component.instantiate(wasi=wasi, detect_deadlock=True) as instance:
            with pytest.raises(Exit) as left:
                await instance.exports[RUN].run()
            status = left.value.status

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        for piece in (b"one", b"two"):
            await anyio.wait_all_tasks_blocked()
            await send.send(piece)
        await anyio.wait_all_tasks_blocked()
        assert status is None
        send.close()
    assert status == 7
    receive.close()


@pytest.mark.parametrize("words", [["cat", "hang"], ["copy", "/data/a", "/data/b", "hang"], ["list", "/data", "hang"]])
async def test_a_guest_that_waits_for_ever_after_streams_of_the_host_is_reported(
    tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "a").write_text("text")
    wasi = Wasi(
        args=["c-files", *words], stdin=b"input", stdout=io.BytesIO(), directories=[Directory(tmp_path, "/data", True)]
    )
    component = Component.load(GUESTS / "c-files" / "c-files.wasm")
    async with component.instantiate(wasi=wasi, detect_deadlock=True) as instance:
        with anyio.fail_after(10), pytest.raises(Deadlock, match="waits for a waitable set"):
            await instance.exports[RUN].run()


# It gets a stream and a future from `numbers`, reads one element or none, and waits for ever.
HOLDS_A_STREAM = component_text(
    imports="""(type $s (stream u8)) (import "numbers" (func $numbers (result $s)))""",
    canons={
        "numbers": ("lower (func $numbers)", "(result i32)"),
        "read": ("stream.read $s (memory $memory)", "(param i32 i32 i32) (result i32)"),
        "set-new": ("waitable-set.new", "(result i32)"),
        "wait": ("waitable-set.wait (memory $memory)", "(param i32 i32) (result i32)"),
    },
    code="""
      (func (export "f") (param $count i32) (local $stream i32)
        (local.set $stream (call $numbers))
        (if (local.get $count) (then (drop (call $read (local.get $stream) (i32.const 0) (local.get $count)))))
        (drop (call $wait (call $set-new) (i32.const 0))))""",
    exports="""(func (export "f") async (param "count" u32) (canon lift (core func $main "f")))""",
)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
async def test_a_stream_of_python_that_nobody_reads_on_is_no_reason_to_wait(count: int) -> None:
    async def numbers() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async with Component.load(HOLDS_A_STREAM).instantiate({"numbers": numbers}, detect_deadlock=True) as instance:
        with anyio.fail_after(10), pytest.raises(Deadlock, match="waits for a waitable set"):
            await instance.exports.f(count)


# Guests of other instances

CALLER = component_text(
    imports='(import "work" (func $work async))',
    canons={"work": ("lower (func $work)", "")},
    code='(func (export "f") (call $work))',
    exports='(func (export "f") async (canon lift (core func $main "f")))',
)


async def test_a_guest_that_waits_for_one_of_another_instance_is_none_while_that_goes_on() -> None:
    async def nap() -> None:
        await anyio.sleep(0.02)

    component = Component.load(CALLER)
    async with (
        component.instantiate({"work": nap}) as callee,
        component.instantiate({"work": callee.exports.f}, detect_deadlock=True) as caller,
    ):
        await caller.exports.f()


async def test_a_guest_that_waits_for_one_of_another_instance_that_can_not_go_on_is_reported() -> None:
    async with (
        Component.load(YIELDS_THEN_WAITS).instantiate() as callee,
        Component.load(CALLER).instantiate({"work": callee.exports.f}, detect_deadlock=True) as caller,
    ):
        with anyio.fail_after(10), pytest.raises(Deadlock, match="'f' can never return"):
            await caller.exports.f()


async def test_a_guest_whose_stream_comes_from_another_instance_is_none_while_that_goes_on() -> None:
    """The one writes 20 ms after the other has begun to read."""
    waits = component_text(
        imports="""(type $s (stream u8)) (import "sleep" (func $sleep async (result u32)))""",
        canons={
            "sleep": ("lower (func $sleep)", "(result i32)"),
            "return": ("task.return (result $s)", "(param i32)"),
            "new": ("stream.new $s", "(result i64)"),
            "write": ("stream.write $s (memory $memory)", "(param i32 i32 i32) (result i32)"),
        },
        code="""
          (func (export "f") (local $ends i64)
            (local.set $ends (call $new))
            (call $return (i32.wrap_i64 (local.get $ends)))
            (drop (call $sleep))
            (drop (call $write
              (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))) (i32.const 0) (i32.const 1))))""",
        exports="""(func (export "f") async (result $s) (canon lift (core func $main "f") async))""",
    )
    reads = component_text(
        imports="""(type $s (stream u8))""",
        canons={"read": ("stream.read $s (memory $memory)", "(param i32 i32 i32) (result i32)")},
        code="""(func (export "g") (param $s i32) (result i32)
          (call $read (local.get $s) (i32.const 0) (i32.const 9)))""",
        exports="""(func (export "g") async (param "s" $s) (result u32) (canon lift (core func $main "g")))""",
    )

    async def sleep() -> int:
        await anyio.sleep(0.02)
        return 0

    async with (
        Component.load(waits).instantiate({"sleep": sleep}) as writer,
        Component.load(reads).instantiate(detect_deadlock=True) as reader,
    ):
        assert await reader.exports.g(await writer.exports.f()) == 1 << 4

"""Leak checks: what is left in an instance, each kind of it, is named with where it came from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from guest_text import BEHAVIOURS, MEMORY, component_text, stackful_export, sync_export

from p3host import Trap
from p3host.testing import LeakError, Testbed, double

pytestmark = pytest.mark.virtual_time

GUESTS = Path(__file__).parents[2] / "guests"

TYPES = """
  (import "host" (instance $host
    (export "thing" (type $thing (sub resource)))
    (export "get" (func (result (own $thing))))
    (export "slow" (func async (result u32)))))
  (alias export $host "thing" (type $thing))
  (type $stream (stream u8)) (type $future (future u8))
"""
CANONS = {
    "get": ('lower (func $host "get")', "(result i32)"),
    "slow": (f'lower (func $host "slow") async {MEMORY}', "(param i32) (result i32)"),
    "drop": ("resource.drop $thing", "(param i32)"),
    "stream-new": ("stream.new $stream", "(result i64)"),
    "future-new": ("future.new $future", "(result i64)"),
    "set-new": ("waitable-set.new", "(result i32)"),
    "error-new": ("error-context.new (memory $memory)", "(param i32 i32) (result i32)"),
    "wait": ("waitable-set.wait (memory $memory)", "(param i32 i32) (result i32)"),
    "return": ("task.return", ""),
    "return-stream": ("task.return (result $stream)", "(param i32)"),
}
CODE = """
  (func (export "own") (drop (call $get)))
  (func (export "stream") (drop (call $stream-new)))
  (func (export "future") (drop (call $future-new)))
  (func (export "set") (drop (call $set-new)))
  (func (export "error") (drop (call $error-new (i32.const 0) (i32.const 0))))
  (func (export "subtask") (drop (call $slow (i32.const 64))))
  (func (export "task") (call $return) (drop (call $wait (call $set-new) (i32.const 64))))
  (func (export "give") (call $return-stream (i32.wrap_i64 (call $stream-new))))
  (func (export "clean") (call $drop (call $get)))
  (func (export "trap") (drop (call $get)) (unreachable))
"""
LEAKY = component_text(
    imports=TYPES,
    canons=CANONS,
    code=CODE,
    exports="\n".join(
        [sync_export(name) for name in ("own", "stream", "future", "set", "error", "subtask", "clean", "trap")]
        + [stackful_export("task"), stackful_export("give", "", "$stream")]
    ),
)
"""Each export leaves behind what it is called after."""


class Thing:
    pass


IMPORTS = {"host": {"thing": Thing, "get": Thing, "slow": double(1, after=3600.0)}}


async def run(testbed: Testbed, *exports: str, **options: Any) -> list[Any]:
    async with testbed.instantiate(LEAKY, IMPORTS, **options) as guest:
        return [await guest.exports[export]() for export in exports]


async def left_by(testbed: Testbed, *exports: str, **options: Any) -> LeakError:
    with pytest.raises(LeakError) as caught:
        await run(testbed, *exports, **options)
    return caught.value


@pytest.mark.parametrize(
    ("export", "left"),
    [
        ("own", [("own", "own<thing>")]),
        ("stream", [("stream", "readable end of a stream"), ("stream", "writable end of a stream")]),
        ("future", [("future", "readable end of a future"), ("future", "writable end of a future")]),
        ("set", [("waitable set", "waitable set")]),
        ("error", [("error-context", "error-context")]),
        ("subtask", [("subtask", "subtask host#slow"), ("host task", "host task host#slow")]),
        ("task", [("task", "task task"), ("waitable set", "waitable set")]),
    ],
)
async def test_whatever_is_left_is_named(testbed: Testbed, export: str, left: list[tuple[str, str]]) -> None:
    error = await left_by(testbed, export)
    assert [(leak.kind, leak.name) for leak in error.leaks] == left


@pytest.mark.parametrize("export", ["own", "stream", "future", "set", "error", "subtask"])
async def test_handles_are_named_with_where_they_came_from(testbed: Testbed, export: str) -> None:
    error = await left_by(testbed, export)
    assert f"made in the task of '{export}' (call 1 of those that made handles)" in error.leaks[0].text
    assert error.leaks[0].text in str(error)


async def test_calls_are_counted(testbed: Testbed) -> None:
    error = await left_by(testbed, "clean", "own", "own")
    assert ["call 2" in error.leaks[0].text, "call 3" in error.leaks[1].text] == [True, True]


async def test_a_task_that_goes_on_after_its_return_is_named_with_what_it_waits_for(testbed: Testbed) -> None:
    error = await left_by(testbed, "task")
    assert error.leaks[0].text == "its thread waits for a waitable set, with its stack"


async def test_a_stream_that_the_test_holds_unread_is_named(testbed: Testbed) -> None:
    error = await left_by(testbed, "give")
    assert [leak.kind for leak in error.leaks] == ["stream", "unread"]


async def test_a_stream_that_the_test_has_closed_is_not(testbed: Testbed) -> None:
    async with testbed.instantiate(LEAKY, IMPORTS, allow_leaks={"writable end of a stream"}) as guest:
        (await guest.exports.give()).close()


@pytest.mark.parametrize("allowed", [True, {"own"}, {"own<thing>"}, ["stream", "own"]])
async def test_what_is_allowed_may_be_left(testbed: Testbed, allowed: Any) -> None:
    await run(testbed, "own", allow_leaks=allowed)


@pytest.mark.parametrize("allowed", [False, {"borrow"}, {"own<other>"}])
async def test_what_is_not_allowed_may_not(testbed: Testbed, allowed: Any) -> None:
    await left_by(testbed, "own", allow_leaks=allowed)


async def test_nothing_is_left_by_one_that_gives_back_what_it_takes(testbed: Testbed) -> None:
    await run(testbed, "clean")


async def test_what_the_test_raises_comes_before_what_is_left(testbed: Testbed) -> None:
    async def fail() -> None:
        async with testbed.instantiate(LEAKY, IMPORTS) as guest:
            await guest.exports.own()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


async def test_after_a_trap_nothing_is_missed(testbed: Testbed) -> None:
    with pytest.raises(Trap):
        await run(testbed, "trap")


async def test_guests_may_end_what_they_do_after_the_last_call(testbed: Testbed) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"abc"

    imports = {"p3host:c1/host": {"work": double(""), "plain": double(0)}}
    async with testbed.instantiate(GUESTS / "c1/c1.wasm", imports) as guest:
        stream, total = await guest.exports["p3host:c1/guest"].pipe(source())
        assert await stream.read_all() == b"ABC"
        assert await total == 3


async def test_a_call_that_is_cancelled_leaves_nothing(testbed: Testbed) -> None:
    async with testbed.instantiate(BEHAVIOURS, {"wait": double(0, after=60.0)}) as guest:
        with anyio.move_on_after(1.0):
            await guest.exports.nap(1)


@pytest.mark.anyio
async def test_in_real_time_it_is_the_same(testbed: Testbed) -> None:
    await left_by(testbed, "own")

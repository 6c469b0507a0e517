"""A guest that drops the future beside a stream that it writes still has written what it writes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from filesystem_fakes import CREATE, WRITE, open_path, open_root
from guest_text import component_text
from wasi_fakes import GuestStream, ScriptedSink

from p3host import Trap
from p3host.component import Component
from p3host.wasi.background import Finishing
from p3host.wasi.p3 import filesystem as p3
from p3host.wasi.p3.cli import Output
from p3host.wasi.p3.draining import Draining, drain

pytestmark = pytest.mark.anyio

# It writes "one", "two" and "six" to a stream that it has passed to `sink`, and then ends as told.
WRITING = component_text(
    imports="""
      (type $s (stream u8)) (type $f (future (result (error u32))))
      (import "sink" (func $sink (param "data" $s) (result $f)))
      (import "pause" (func $pause async))""",
    canons={
        "sink": ("lower (func $sink)", "(param i32) (result i32)"),
        "pause": ("lower (func $pause)", ""),
        "new": ("stream.new $s", "(result i64)"),
        "write": ("stream.write $s (memory $memory)", "(param i32 i32 i32) (result i32)"),
        "end": ("stream.drop-writable $s", "(param i32)"),
        "drop": ("future.drop-readable $f", "(param i32)"),
    },
    code="""
      (data (i32.const 16) "onetwosix")
      (func $write-word (param $stream i32) (param $at i32)
        (drop (call $write (local.get $stream) (local.get $at) (i32.const 3))))
      (func (export "f") (param $ending i32) (local $ends i64) (local $stream i32)
        (local.set $ends (call $new))
        (local.set $stream (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
        (call $drop (call $sink (i32.wrap_i64 (local.get $ends))))
        (call $write-word (local.get $stream) (i32.const 16))
        (call $pause)
        (call $write-word (local.get $stream) (i32.const 19))
        (call $write-word (local.get $stream) (i32.const 22))
        (if (i32.eq (local.get $ending) (i32.const 1)) (then (call $end (local.get $stream))))
        (if (i32.eq (local.get $ending) (i32.const 2)) (then unreachable)))""",
    exports="""(func (export "f") async (param "ending" u32) (canon lift (core func $main "f")))""",
)
ENDINGS = {"leaves it open": 0, "ends the stream": 1, "traps": 2}


async def pause() -> None:
    await anyio.sleep(0.001)


async def run(sink: Callable[[Any], Draining], ending: str) -> None:
    async with Component.load(WRITING).instantiate({"sink": sink, "pause": pause}) as instance:
        try:
            await instance.exports.f(ENDINGS[ending])
        except Trap:
            assert ending == "traps"


@pytest.mark.parametrize("place", ["at an offset", "at the end"])
async def test_a_file_gets_all_that_comes_after_the_future_was_dropped(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"begun ")
    d = await open_root(p3, tmp_path)
    file = await open_path(d, "file", CREATE, WRITE)
    sink = file.append_via_stream if place == "at the end" else lambda data: file.write_via_stream(data, 6)
    await run(sink, "ends the stream")
    assert (tmp_path / "file").read_bytes() == b"begun onetwosix"
    assert file.handle.users == 1
    file.close()
    d.close()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("place", ["at an offset", "at the end"])
async def test_a_file_gets_all_that_a_guest_wrote_before_its_end(tmp_path: Path, place: str, ending: str) -> None:
    d = await open_root(p3, tmp_path)
    file = await open_path(d, "file", CREATE, WRITE)
    sink = file.append_via_stream if place == "at the end" else lambda data: file.write_via_stream(data, 0)
    background: Finishing = file.handle.filesystem.finishing
    await run(sink, ending)
    await background.finish()  # which the instance's end waits for where it provides the filesystem
    assert (tmp_path / "file").read_bytes() == b"onetwosix"
    file.close()
    d.close()


@pytest.mark.parametrize("ending", ENDINGS)
async def test_stdout_gets_all_that_a_guest_wrote_before_its_end(ending: str) -> None:
    sink = ScriptedSink(capacity=2)
    output = Output(sink, Finishing())
    await run(output.write_via_stream, ending)
    await output.finishing.finish()
    assert sink.data == b"onetwosix"


# What has begun to be written when all is cancelled


class Arrived(GuestStream):
    """A stream of which a piece has come just as the read is cancelled."""

    async def read(self, max_count: int) -> bytes:
        await anyio.sleep_forever()
        raise AssertionError

    def unread(self) -> bytes:
        return b"late"


async def test_a_piece_that_came_as_the_reading_was_cancelled_is_written() -> None:
    written = io.BytesIO()

    async def write(piece: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        written.write(piece)

    data = Arrived([])
    with anyio.move_on_after(0.01):
        await drain(data, 10, write, Finishing())
    assert written.getvalue() == b"late"
    assert data.closed


async def test_such_a_piece_that_can_not_be_written_changes_nothing() -> None:
    data = Arrived([])
    with anyio.move_on_after(0.01) as scope:
        await Output(ScriptedSink(limit=0), Finishing()).write_via_stream(data)
    assert scope.cancelled_caught
    assert data.closed


async def test_the_end_of_an_instance_waits_for_a_write_that_was_cancelled() -> None:
    finishing, gate, started = Finishing(), anyio.Event(), anyio.Event()
    done: list[bytes] = []

    async def write(piece: bytes) -> None:
        started.set()
        await gate.wait()
        done.append(piece)

    async def finish() -> None:
        await finishing.finish()
        assert done == [b"piece"]

    async with anyio.create_task_group() as ending, anyio.create_task_group() as tasks:
        tasks.start_soon(drain, GuestStream([b"piece", b"more"]), 10, write, finishing)
        await started.wait()
        ending.start_soon(finish)
        tasks.cancel_scope.cancel()
        gate.set()
    assert done == [b"piece"]


@pytest.mark.parametrize("how", ["cancelled", "told"])
async def test_a_write_is_given_up_when_its_end_is_not_waited_for(how: str) -> None:
    finishing, started = Finishing(), anyio.Event()

    async def write(piece: bytes) -> None:
        started.set()
        await anyio.sleep_forever()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drain, GuestStream([b"piece"]), 10, write, finishing)
            await started.wait()
            tasks.cancel_scope.cancel()
            if how == "told":
                finishing.give_up()
            else:
                with anyio.CancelScope(shield=True), anyio.move_on_after(0.01):
                    await finishing.finish()
    assert finishing.working == 0
    assert finishing.given_up

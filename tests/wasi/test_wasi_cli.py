"""`wasi:cli`, both versions."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from wasi_fakes import GuestStream, ScriptedSink, ScriptedSource, finish, running

from p3host.errors import Err, Exit
from p3host.values import Ok
from p3host.wasi import Wasi
from p3host.wasi.byte_streams import PIECE
from p3host.wasi.command import Environment, Terminals
from p3host.wasi.command import Exit as ExitInterface
from p3host.wasi.p2.io import InputStream, Pollable, poll
from p3host.wasi.p3.cli import Output, Stdin

pytestmark = pytest.mark.anyio

READY = Pollable(lambda: True, anyio.lowlevel.checkpoint)


def test_environment_gives_what_was_granted() -> None:
    environment = Environment(["prog", "a"], {"HOME": "/", "EMPTY": ""}, "/work")
    assert environment.get_arguments() == ["prog", "a"]
    assert environment.get_environment() == [("HOME", "/"), ("EMPTY", "")]
    assert environment.initial_cwd() == environment.get_initial_cwd() == "/work"


def test_environment_is_empty_if_nothing_is_granted() -> None:
    environment: Any = Wasi().interfaces()["wasi:cli/environment@0.3"]
    assert environment.get_arguments() == environment.get_environment() == []
    assert environment.get_initial_cwd() is None


@pytest.mark.parametrize(("status", "code"), [(None, 0), (Ok(), 0), (Err(), 1)])
def test_exit_tells_success_or_failure(status: object, code: int) -> None:
    with pytest.raises(Exit) as raised:
        ExitInterface().exit(status)
    assert raised.value.status == code


@pytest.mark.parametrize("code", [0, 1, 255])
def test_exit_with_code(code: int) -> None:
    with pytest.raises(Exit) as raised:
        ExitInterface().exit_with_code(code)
    assert raised.value.status == code


@pytest.mark.parametrize("stdin", [True, False])
@pytest.mark.parametrize("stdout", [True, False])
@pytest.mark.parametrize("stderr", [True, False])
def test_terminals_are_told(stdin: bool, stdout: bool, stderr: bool) -> None:
    terminals = Terminals(stdin, stdout, stderr)
    assert (terminals.get_terminal_stdin() is not None) == stdin
    assert (terminals.get_terminal_stdout() is not None) == stdout
    assert (terminals.get_terminal_stderr() is not None) == stderr


async def test_stdin_is_streamed_to_its_end() -> None:
    stream, outcome = Stdin(ScriptedSource(b"abc", None, b"def")).read_via_stream()
    assert [piece async for piece in stream] == [b"abc", b"def"]
    with pytest.raises(anyio.EndOfStream):
        await stream.receive()
    await outcome


async def test_what_a_stream_leaves_unread_is_there_for_the_next() -> None:
    stdin = Stdin(ScriptedSource(b"first line\nsecond"))
    stream, outcome = stdin.read_via_stream()
    assert await stream.receive(11) == b"first line\n"
    await stream.aclose()
    await outcome
    stream, outcome = stdin.read_via_stream()
    assert await stream.receive() == b"second"
    await stream.aclose()
    await outcome


async def test_a_stream_that_is_dropped_unread_succeeds() -> None:
    stream, outcome = Stdin(ScriptedSource(None)).read_via_stream()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(finish, outcome)
        await anyio.wait_all_tasks_blocked()
        await stream.aclose()


async def test_a_cancelled_read_loses_nothing() -> None:
    source = ScriptedSource(None, b"late")
    stream, outcome = Stdin(source).read_via_stream()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await stream.receive()
    source.steps = [b"late"]
    assert await stream.receive() == b"late"
    await stream.aclose()
    await outcome


ERRORS = [(errno.EIO, "io"), (errno.EISDIR, "io"), (errno.EPIPE, "pipe"), (errno.EILSEQ, "illegal-byte-sequence")]


@pytest.mark.parametrize(("number", "code"), ERRORS)
async def test_an_error_of_stdin_ends_the_stream_and_is_its_outcome(number: int, code: str) -> None:
    stream, outcome = Stdin(ScriptedSource(b"abc", OSError(number, os.strerror(number)))).read_via_stream()
    assert [piece async for piece in stream] == [b"abc"]
    with pytest.raises(Err) as raised:
        await outcome
    assert raised.value.value == code


async def test_output_writes_every_piece_in_full() -> None:
    sink = ScriptedSink(capacity=1000)
    data = GuestStream([b"abc", bytes(PIECE + 1), b"def"])
    await Output(sink).write_via_stream(data)
    assert sink.data == b"abc" + bytes(PIECE + 1) + b"def"
    assert data.closed


async def test_output_of_an_empty_stream_succeeds() -> None:
    data = GuestStream([])
    await Output(ScriptedSink()).write_via_stream(data)
    assert data.closed


async def test_output_is_seen_before_the_stream_ends() -> None:
    sink = ScriptedSink()
    ended = anyio.Event()

    class Slow(GuestStream):
        async def read(self, max_count: int) -> bytes:
            if not self.pieces:
                await ended.wait()
            return await super().read(max_count)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Output(sink).write_via_stream, Slow([b"READY"]))
        await anyio.wait_all_tasks_blocked()
        assert sink.data == b"READY"
        ended.set()


@pytest.mark.parametrize("limit", [0, 3])
async def test_an_error_of_stdout_drops_the_stream_and_is_told(limit: int) -> None:
    data = GuestStream([b"abc", b"def"])
    with pytest.raises(Err) as raised:
        await Output(ScriptedSink(limit=limit)).write_via_stream(data)
    assert raised.value.value == "pipe"
    assert data.closed


async def test_a_cancelled_output_drops_the_stream() -> None:
    data = GuestStream([b"abc"])
    with anyio.CancelScope() as scope:
        scope.cancel()
        await Output(ScriptedSink(capacity=0)).write_via_stream(data)
    assert data.closed


async def test_both_versions_share_the_streams_of_an_instantiation() -> None:
    stdout, stderr = io.BytesIO(), io.BytesIO()
    interfaces: Any = Wasi(stdin=b"abcdef", stdout=stdout, stderr=stderr).interfaces()
    stream: InputStream = interfaces["wasi:cli/stdin@0.2"].get_stdin()
    assert stream.read(3) == b"abc"
    stream.close()
    rest, outcome = interfaces["wasi:cli/stdin@0.3"].read_via_stream()
    assert await rest.receive() == b"def"
    await rest.aclose()
    await outcome
    for name, file in ("stdout", stdout), ("stderr", stderr):
        await interfaces[f"wasi:cli/{name}@0.3"].write_via_stream(GuestStream([b"three"]))
        output = getattr(interfaces[f"wasi:cli/{name}@0.2"], f"get_{name}")()
        assert await finish(output.blocking_write_and_flush(b"two")) is None
        output.close()
        assert file.getvalue() == b"threetwo"


@pytest.mark.parametrize("ask", [lambda stdin: stdin.read(9), lambda stdin: poll([stdin.subscribe(), READY])])
async def test_what_is_sent_to_stdin_comes_to_who_never_waits_for_it(ask: Callable[[InputStream], Any]) -> None:
    send, receive = anyio.create_memory_object_stream[bytes](1)
    async with running() as background, send, receive:
        interfaces: Any = Wasi(stdin=receive).interfaces(None, background)
        stdin: InputStream = interfaces["wasi:cli/stdin@0.2"].get_stdin()
        for _ in range(2):
            assert ask(stdin) in (b"", [1])
        await send.send(b"hello")
        await anyio.wait_all_tasks_blocked()
        assert ask(stdin) in (b"hello", [0, 1])


PENDING_READ = """
import anyio, sys
from p3host.wasi import Stdio, Wasi

async def main():
    stream, outcome = Wasi(stdin=Stdio.PROCESS).interfaces()["wasi:cli/stdin@0.3"].read_via_stream()
    with anyio.move_on_after(0.01):
        await stream.receive()
    await stream.aclose()
    await outcome

anyio.run(main, backend=sys.argv[1])
"""


def test_a_read_that_is_pending_at_the_end_does_not_hold_the_process(anyio_backend: str) -> None:
    command = [sys.executable, "-c", PENDING_READ, anyio_backend]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.wait(timeout=30) == 0

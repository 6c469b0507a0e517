"""Whatever the standard streams are, guests of WASI 0.3 and 0.2 read and write them."""

from __future__ import annotations

import io
import os
import pty
import socket
import subprocess
import sys
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from command_guests import BACKENDS, C_FILES, GO_COMMAND, command, write_guest

from p3host import Err, Exit, Wasi
from p3host.component import Component

TEXT = b"one\ntwo\n" * 3000  # more than a pipe's piece, less than its buffer
COPYING = {"0.3": (C_FILES, ["cat"], TEXT), "0.2": (GO_COMMAND, ["stdin", "1ms"], TEXT + b"start\n")}
FAILING = {
    "0.3": (C_FILES, ["walk"], b"c-files: walk: unknown, or too few arguments\n"),
    "0.2": (GO_COMMAND, ["walk"], b'"walk": give a duration, args, env, stdin or exit=N\n'),
}


@pytest.fixture(params=["0.3", "0.2"])
def version(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


# In a program


async def run(path: str, words: list[str], **streams: Any) -> None:
    async with Component.load(path).instantiate(wasi=Wasi(args=["guest", *words], **streams)) as instance:
        try:
            await instance.exports["wasi:cli/run"].run()
        except (Exit, Err):
            pass  # with 0 or 1


class Collected:
    """An object that takes what is written, and gives a part of it back as its count."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> int:
        self.data += data[:1000]
        return len(data[:1000])


SOURCES = ["bytes", "bytearray", "objects", "bytes of a stream"]
SINKS = ["a file in memory", "an object", "objects"]


@pytest.mark.anyio
@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("source", SOURCES)
async def test_a_guest_copies_what_a_program_gives_it(version: str, source: str, sink: str) -> None:
    path, words, expected = COPYING[version]
    send, receive = anyio.create_memory_object_stream[bytes](1)
    out, got = anyio.create_memory_object_stream[bytes](0)
    stdin = {
        "bytes": TEXT,
        "bytearray": bytearray(TEXT),
        "objects": receive,
        "bytes of a stream": BufferedByteReceiveStream(receive),
    }[source]
    in_memory, collected = io.BytesIO(), Collected()
    stdout = {"a file in memory": in_memory, "an object": collected, "objects": out}[sink]
    received = b""

    async def give() -> None:
        if source in ("objects", "bytes of a stream"):
            for start in range(0, len(TEXT), 5000):
                await send.send(TEXT[start : start + 5000])
        send.close()

    async def take() -> None:
        nonlocal received
        async for piece in got:
            received += piece

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(give)
        tasks.start_soon(take)
        await run(path, words, stdin=stdin, stdout=stdout)
        out.close()
    got.close()
    receive.close()
    assert (in_memory.getvalue() or collected.data or received)[: len(expected)] == expected


@pytest.mark.anyio
async def test_a_guest_without_streams_reads_nothing_and_writes_nowhere(version: str) -> None:
    path, words, _ = COPYING[version]
    await run(path, words)


@pytest.mark.anyio
@pytest.mark.parametrize("sink", SINKS)
async def test_a_guest_writes_its_errors_to_stderr(version: str, sink: str) -> None:
    path, words, expected = FAILING[version]
    out, got = anyio.create_memory_object_stream[bytes](100)
    in_memory, collected, stdout = io.BytesIO(), Collected(), io.BytesIO()
    stderr = {"a file in memory": in_memory, "an object": collected, "objects": out}[sink]
    await run(path, words, stderr=stderr, stdout=stdout)
    out.close()
    async with got:
        received = b"".join([piece async for piece in got])
    assert in_memory.getvalue() + collected.data + received == expected
    assert stdout.getvalue() == b""


# The process's own


def p3host_run(backend: str, *args: str | Path) -> list[str]:
    return [sys.executable, "-m", "p3host", "run", "--backend", backend, *map(str, args)]


@contextmanager
def input_of(kind: str, folder: Path) -> Iterator[Any]:
    """A file that gives `TEXT` and then its end, or the end at once."""
    (folder / "input").write_bytes(TEXT)
    with open(folder / "input" if kind == "a file" else os.devnull, "rb") as file, ExitStack() as stack:
        if kind == "a pipe":
            cat = stack.enter_context(subprocess.Popen(["cat", folder / "input"], stdout=subprocess.PIPE))
            yield cat.stdout
        elif kind == "a socket":
            left, right = socket.socketpair()
            with left, right:
                left.sendall(TEXT)
                left.shutdown(socket.SHUT_WR)
                yield right
        else:
            yield file


@contextmanager
def output_of(kind: str, folder: Path) -> Iterator[tuple[Any, Callable[[], bytes]]]:
    """A file to write to, and what gives what was written, once its other holders are gone."""
    if kind == "a file":
        with open(folder / "output", "wb") as file:
            yield file, (folder / "output").read_bytes
    elif kind == "a socket":
        left, right = socket.socketpair()
        with left, right:
            yield left, lambda: (left.close(), read_all(right.fileno()))[1]
    else:
        host, guest = pty.openpty() if kind == "a terminal" else os.pipe()
        if kind == "a terminal":
            tty.setraw(guest)
        yield guest, lambda: (os.close(guest), read_all(host))[1]
        os.close(host)


def read_all(fd: int) -> bytes:
    data = b""
    try:
        while piece := os.read(fd, 65536):
            data += piece
    except OSError:
        pass  # so a terminal tells that nobody has it open
    return data


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["a file", "a pipe", "a socket", "/dev/null", "closed"])
def test_a_command_reads_the_stdin_of_the_process(version: str, kind: str, backend: str, tmp_path: Path) -> None:
    path, words, expected = COPYING[version]
    run = p3host_run(backend, path, *words)
    if kind == "closed":
        run = ["sh", "-c", 'exec "$@" <&-', "sh", *run]
    if kind in ("/dev/null", "closed"):
        expected = expected.removeprefix(TEXT)
    with input_of(kind, tmp_path) as stdin:
        done = subprocess.run(run, stdin=stdin, stdout=subprocess.PIPE, timeout=60)
    assert done.returncode == 0
    assert done.stdout[: len(expected)] == expected


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_command_reads_lines_of_a_terminal(version: str, backend: str) -> None:
    path, words, _ = COPYING[version]
    host, guest = pty.openpty()
    with subprocess.Popen(p3host_run(backend, path, *words), stdin=guest, stdout=subprocess.PIPE) as process:
        os.close(guest)
        assert process.stdout is not None
        for line in (b"one\n", b"two\n"):
            os.write(host, line)
            assert process.stdout.readline() == line
        os.write(host, b"\x04")  # the end-of-file key
        assert process.wait(60) == 0
        os.close(host)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["a file", "a pipe", "a socket", "a terminal"])
def test_a_command_writes_to_the_stdout_and_stderr_of_the_process(
    version: str, kind: str, backend: str, tmp_path: Path
) -> None:
    for which, (path, words, expected) in {"stdout": COPYING[version], "stderr": FAILING[version]}.items():
        short = expected.replace(TEXT, b"one\n")
        with output_of(kind, tmp_path) as (file, written):
            subprocess.run(p3host_run(backend, path, *words), input=b"one\n", timeout=60, **{which: file})
            data = written()
        assert data.replace(b"\r\n", b"\n")[: len(short)] == short


# Terminals

BITS = {"stdin": 1, "stdout": 2, "stderr": 4}


def telling_terminals(version: str) -> str:
    """A command whose exit status tells, by `BITS`, which of the standard streams are terminals."""
    imports = f"""
      (import "wasi:cli/exit@{version}" (instance $exit (export "exit-with-code" (func (param "status-code" u8)))))
      (import "wasi:cli/terminal-input@{version}" (instance $ti (export "terminal-input" (type (sub resource)))))
      (import "wasi:cli/terminal-output@{version}" (instance $to (export "terminal-output" (type (sub resource)))))
      (alias export $ti "terminal-input" (type $input)) (alias export $to "terminal-output" (type $output))
      (core module $Memory (memory (export "memory") 1))
      (core instance $libc (instantiate $Memory))
      (alias core export $libc "memory" (core memory $memory))
      (core func $exit (canon lower (func $exit "exit-with-code")))"""
    given = '(export "exit" (func $exit)) (export "memory" (memory $memory))'
    core = '(import "" "memory" (memory 1)) (import "" "exit" (func $exit (param i32)))'
    code = ""
    for name, bit in BITS.items():
        resource = "input" if name == "stdin" else "output"
        imports += f"""
      (import "wasi:cli/terminal-{name}@{version}" (instance ${name}
        (alias outer 1 ${resource} (type $outer))
        (export "terminal-{resource}" (type $t (eq $outer)))
        (export "get-terminal-{name}" (func (result (option (own $t)))))))
      (core func ${name} (canon lower (func ${name} "get-terminal-{name}") (memory $memory)))"""
        given += f' (export "{name}" (func ${name}))'
        core += f' (import "" "{name}" (func ${name} (param i32)))'
        code += f"(call ${name} (i32.const {16 * bit})) "
    total = "(i32.const 0)"
    for bit in BITS.values():
        total = f"(i32.or {total} (i32.mul (i32.const {bit}) (i32.load8_u (i32.const {16 * bit}))))"
    code += f"(call $exit {total}) i32.const 0"
    return command(code, version=version, imports=f"{imports} (core instance $given {given})", core=core)


@pytest.mark.parametrize("terminals", range(8))
def test_a_command_is_told_which_of_its_streams_are_terminals(tmp_path: Path, version: str, terminals: int) -> None:
    path = write_guest(tmp_path, telling_terminals(f"{version}.0"))
    host, guest = pty.openpty()
    streams = {name: guest if terminals & bit else subprocess.DEVNULL for name, bit in BITS.items()}
    done = subprocess.run(p3host_run("asyncio", path), timeout=60, **streams)
    os.close(host)
    os.close(guest)
    assert done.returncode == terminals


@pytest.mark.anyio
async def test_what_a_program_gives_is_no_terminal(tmp_path: Path, version: str) -> None:
    component = Component.load(write_guest(tmp_path, telling_terminals(f"{version}.0")))
    wasi = Wasi(stdin=b"", stdout=io.BytesIO(), stderr=io.BytesIO())
    async with component.instantiate(wasi=wasi) as instance:
        with pytest.raises(Exit) as left:
            await instance.exports["wasi:cli/run"].run()
    assert left.value.status == 0

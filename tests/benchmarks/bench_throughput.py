"""Bytes out of a command and into it, through its standard streams, files and TCP connections, by WASI 0.3 and by 0.2:
beside plain Python that makes the same copies, and wasmtime. Each runs in a process of its own and tells how long each
copy took. At the other ends of its pipes and connections are threads of this process, which take or give all they can.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench_serve import wasmtime_command
from measure import GUESTS, Row, Scale

LOOPBACK = "127.0.0.1"
TOTAL = 1 << 27  # bytes of each copy
GOAL = 500  # MB/s, where a call moves more than the few bytes that blocking-write-and-flush of WASI 0.2 takes
BLOCKING_WRITE_LIMIT = 4096  # bytes
PIECES = {BLOCKING_WRITE_LIMIT: "4 KiB", 1 << 16: "64 KiB", 1 << 20: "1 MiB"}
LARGE = (1 << 16, 1 << 20)
ALL = (BLOCKING_WRITE_LIMIT, *LARGE)
PEER_PIECE = 1 << 20


@dataclass(frozen=True)
class Copy:
    """An operation of the guests. `stdin` and `stdout` are "null", "pipe" or "file"; `where` is "-", the name of a
    file, or what serves at a port, "sink" or "source"."""

    name: str
    operation: str
    where: str = "-"
    stdin: str = "null"
    stdout: str = "null"


OUT = [
    Copy("stdout to /dev/null", "stdout"),
    Copy("stdout to a pipe", "stdout", stdout="pipe"),
    Copy("stdout to a file", "stdout", stdout="file"),
    Copy("write to a file", "write", "written"),
    Copy("TCP send", "send", "sink"),
]
IN = [
    Copy("stdin from a pipe", "stdin", stdin="pipe"),
    Copy("stdin from a file", "stdin", stdin="file"),
    Copy("read from a file", "read", "input"),
    Copy("TCP receive", "receive", "source"),
]
THROUGH = Copy("stdin passed to stdout, pipes", "splice", stdin="pipe", stdout="pipe")


async def throughput(scale: Scale) -> list[Row]:
    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor())
        folder = Path(stack.enter_context(TemporaryDirectory()))
        ports = {name: stack.enter_context(served(peer, threads)) for name, peer in (("sink", drain), ("source", fill))}
        bench = Bench(scale, threads, folder, ports, stack.enter_context(wasmtime_command()))
        return [
            *(row for copy in [*OUT, *IN] for row in bench.rows("0.3", "c-throughput", copy, LARGE)),
            *bench.rows("0.3", "c-throughput", THROUGH, (1 << 16,)),
            *(row for copy in OUT for row in bench.rows("0.2", "c-throughput-p2", copy, ALL)),
            *(row for copy in [*IN, THROUGH] for row in bench.rows("0.2", "c-throughput-p2", copy, LARGE)),
        ]


@dataclass
class Bench:
    scale: Scale
    threads: ThreadPoolExecutor
    folder: Path
    ports: dict[str, str]
    wasmtime: str | None

    @property
    def total(self) -> int:
        return self.scale.count(TOTAL)

    def rows(self, version: str, guest: str, copy: Copy, pieces: tuple[int, ...]) -> list[Row]:
        path = str(GUESTS / guest / f"{guest}.wasm")
        p3host = [sys.executable, "-m", "p3host", "run", "--backend", self.scale.backend]
        commands = {
            "p3host": [*p3host, "--dir", ".::/", "--net", f"tcp:{LOOPBACK}", path],
            "plain Python": [sys.executable, str(Path(__file__).with_name("plain_copies.py"))],
        }
        if self.wasmtime is not None:
            options = ["-W", "component-model-async=y", "-S", "p3,cli,inherit-network", "--dir", ".::/"]
            commands["wasmtime run"] = [self.wasmtime, "run", *options, path]
        rates = dict.fromkeys(commands, [0.0] * len(pieces))
        for _ in range(min(self.scale.rounds, 3)):
            for name, command in commands.items():
                seconds = self.seconds(command, copy, pieces)
                rates[name] = [
                    max(best, self.total / each / 1e6) for best, each in zip(rates[name], seconds, strict=True)
                ]
        return [
            Row(
                f"{version} {copy.name}, {PIECES[piece]}",
                measured,
                "MB/s",
                beside_name,
                beside[index],
                goal=GOAL if piece > BLOCKING_WRITE_LIMIT else None,
                more_is_better=True,
            )
            for index, (piece, measured) in enumerate(zip(pieces, rates.pop("p3host"), strict=True))
            for beside_name, beside in rates.items()
        ]

    def seconds(self, command: list[str], copy: Copy, pieces: tuple[int, ...]) -> list[float]:
        """Runs a command that copies once in pieces of each size, and returns how long each took."""
        where = self.ports.get(copy.where, copy.where)
        words = [word for piece in pieces for word in (copy.operation, where, str(self.total), str(piece))]
        with self.input(copy.stdin, len(pieces)) as stdin, self.output(copy.stdout) as stdout:
            done = subprocess.run(
                [*command, *words], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, cwd=self.folder, text=True
            )
        assert done.returncode == 0, done.stderr
        lines = [line.split() for line in done.stderr.splitlines()]
        assert [(name, int(piece)) for name, piece, _ in lines] == [(copy.operation, piece) for piece in pieces]
        return [int(nanoseconds) / 1e9 for *_, nanoseconds in lines]

    @contextmanager
    def input(self, kind: str, copies: int) -> Iterator[int]:
        """What so many copies can be read from."""
        file = self.folder / "input"
        if not file.exists() or file.stat().st_size < copies * self.total:
            fill(os.open(file, os.O_WRONLY | os.O_CREAT), copies * self.total)
        if kind == "file":
            with file.open("rb") as opened:
                yield opened.fileno()
        elif kind == "pipe":
            readable, writable = os.pipe()
            self.threads.submit(fill, writable, copies * self.total)
            try:
                yield readable
            finally:
                os.close(readable)
        else:
            yield subprocess.DEVNULL

    @contextmanager
    def output(self, kind: str) -> Iterator[int]:
        if kind == "file":
            with (self.folder / "output").open("wb") as opened:
                yield opened.fileno()
        elif kind == "pipe":
            readable, writable = os.pipe()
            self.threads.submit(drain, readable)
            try:
                yield writable
            finally:
                os.close(writable)
        else:
            yield subprocess.DEVNULL


def drain(fd: int) -> None:
    """Reads to the end, and closes it."""
    buffer = bytearray(PEER_PIECE)
    with open(fd, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def fill(fd: int, total: int = 1 << 62) -> None:
    """Writes so many bytes, or until nobody wants more, and closes it."""
    piece = bytes(PEER_PIECE)
    with open(fd, "wb", buffering=0) as file:
        try:
            while total:
                total -= file.write(piece[:total])
        except (BrokenPipeError, ConnectionResetError):
            pass


@contextmanager
def served(peer: Callable[[int], None], threads: ThreadPoolExecutor) -> Iterator[str]:
    """The port where `peer` is given one connection after the other."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            peer(connection.detach())

    with socket.create_server((LOOPBACK, 0)) as listener:
        threads.submit(serve)
        try:
            yield str(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)

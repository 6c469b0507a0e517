"""`p3host serve` in a process of its own, as a client meets it."""

from __future__ import annotations

import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

C_HTTP = Path(__file__).resolve().parents[1] / "guests/c-http/c-http.wasm"
SECONDS = 60

SERVERS = {
    "uvicorn": ["--backend", "asyncio"],
    "hypercorn-asyncio": ["--http2"],
    "hypercorn-trio": ["--backend", "trio"],
}
parametrize_servers = pytest.mark.parametrize("options", SERVERS.values(), ids=SERVERS)


class Server:
    """`url` is what its first line names. `lines` are those that come after it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: queue.Queue[str] = queue.Queue()
        self.collector = threading.Thread(target=self.collect)
        self.collector.start()
        self.url = self.line().rpartition(" on ")[2].rstrip("/")

    def collect(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr:
            for line in self.process.stderr:
                self.lines.put(line.rstrip("\n"))
        self.lines.put("")

    def line(self) -> str:
        """The next line on stderr; an empty one at its end."""
        return self.lines.get(timeout=SECONDS)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(SECONDS)

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def memory(self) -> int:
        """The most memory that it has had, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) << 10


@contextmanager
def serving(*options: str, component: Path | str = C_HTTP) -> Iterator[Server]:
    command = [sys.executable, "-m", "p3host", "serve", "--addr", "127.0.0.1:0", *options, str(component)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    watchdog = threading.Timer(2 * SECONDS, process.kill)
    watchdog.start()
    server = Server(process)
    try:
        yield server
    finally:
        watchdog.cancel()
        process.terminate()
        try:
            process.wait(SECONDS)
        finally:
            process.kill()
            process.wait()
            server.collector.join()


def request_bytes(method: str, path: str, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: example.com", *headers, "", ""]
    return "\r\n".join(lines).encode()


def connect(server: Server) -> socket.socket:
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=SECONDS)


def receive_until(connection: socket.socket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        piece = connection.recv(65536)
        assert piece, f"the connection has ended after {received!r}"
        received += piece
    return received


def wait_until_refused(server: Server) -> None:
    while True:
        try:
            connect(server).close()
        except ConnectionResetError:
            continue  # it was still listening, but no more
        except ConnectionRefusedError:
            return

"""How `p3host serve` ends: by signals, told once, twice or never."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from asgi_guests import ANSWERS
from serve_process import SECONDS, Server, connect, receive_until, request_bytes, serving, wait_until_refused

from p3host.serving.metrics_directory import JUST_MADE, PREFIX, metrics_directory

SERVERS = {
    "uvicorn": ["--backend", "asyncio"],
    "hypercorn-asyncio": ["--http2"],
    "hypercorn-trio": ["--backend", "trio"],
}
parametrize_servers = pytest.mark.parametrize("options", SERVERS.values(), ids=SERVERS)
parametrize_signals = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "answers.wat"
    path.write_text(ANSWERS)
    return path


@pytest.fixture
def metrics_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, of this process and of those that it starts."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield folder
    tempfile.tempdir = None


def ask_for_ever(server: Server) -> socket.socket:
    connection = connect(server)
    connection.sendall(request_bytes("GET", "/open"))
    receive_until(connection, b"\r\n\r\n")
    return connection


@parametrize_servers
@parametrize_signals
def test_a_second_signal_ends_it_at_once(options: list[str], number: signal.Signals, answers: Path) -> None:
    with serving(*options, "--grace", "1000", component=answers) as server, ask_for_ever(server):
        server.process.send_signal(number)
        wait_until_refused(server)
        assert server.stop(number) == -number


@pytest.mark.parametrize(
    ("options", "number"),
    [
        (SERVERS["uvicorn"], signal.SIGINT),
        (SERVERS["uvicorn"], signal.SIGTERM),
        (SERVERS["hypercorn-asyncio"], signal.SIGINT),
        (SERVERS["hypercorn-trio"], signal.SIGTERM),
    ],
)
def test_workers_finish_requests_and_a_second_signal_ends_them_at_once(
    options: list[str], number: signal.Signals, answers: Path
) -> None:
    workers = ["--workers", "2", "--grace", "1000"]
    with serving(*options, *workers) as server, connect(server) as connection:
        connection.sendall(request_bytes("POST", "/echo", "Transfer-Encoding: chunked") + b"3\r\none\r\n")
        receive_until(connection, b"ONE\r\n")
        server.process.send_signal(number)
        wait_until_refused(server)
        connection.sendall(b"3\r\ntwo\r\n0\r\n\r\n")
        assert receive_until(connection, b"0\r\n\r\n") == b"3\r\nTWO\r\n0\r\n\r\n"
        assert server.process.wait(SECONDS) == 0
    with serving(*options, *workers, component=answers) as server, ask_for_ever(server):
        server.process.send_signal(number)
        wait_until_refused(server)
        assert server.stop(number) == 0


@pytest.mark.parametrize("options", [SERVERS["uvicorn"], SERVERS["hypercorn-trio"]], ids=["uvicorn", "hypercorn-trio"])
def test_workers_that_are_told_twice_finish_what_they_have(options: list[str]) -> None:
    """As a service manager does, that signals all processes of a group."""
    with serving(*options, "--workers", "2", "--grace", "1000") as server, connect(server) as connection:
        connection.sendall(request_bytes("POST", "/echo", "Transfer-Encoding: chunked") + b"3\r\none\r\n")
        receive_until(connection, b"ONE\r\n")
        for worker in server.children():
            for number in signal.SIGINT, signal.SIGTERM:
                os.kill(worker, number)
        server.process.send_signal(signal.SIGTERM)
        wait_until_refused(server)
        connection.sendall(b"3\r\ntwo\r\n0\r\n\r\n")
        assert receive_until(connection, b"0\r\n\r\n") == b"3\r\nTWO\r\n0\r\n\r\n"
        assert server.process.wait(SECONDS) == 0


@parametrize_servers
def test_a_client_that_takes_nothing_is_not_waited_for(options: list[str]) -> None:
    with serving(*options, "--grace", "0.5") as server, connect(server) as connection:
        connection.settimeout(1)
        connection.sendall(request_bytes("POST", "/echo", f"Content-Length: {1 << 30}"))
        try:
            while True:
                connection.sendall(b"a" * 65536)
        except TimeoutError:
            pass  # nothing more fits in between
        assert server.stop() == 0
        assert server.line().startswith("POST /echo 200 ")
        assert server.line() == ""


@parametrize_servers
def test_a_guest_that_computes_for_ever_is_cut_off(options: list[str], answers: Path) -> None:
    limits = ["--concurrent-requests", "1", "--grace", "0.5"]
    with serving(*options, *limits, component=answers) as server, connect(server) as connection:
        connection.sendall(request_bytes("GET", "/spin"))
        assert httpx.get(f"{server.url}/count").status_code == 200  # another instance answers
        assert server.stop() == 0
        assert server.line().startswith("GET /count 200 ")
        assert server.line().startswith("GET /spin - 0 B ")


@parametrize_signals
def test_no_metrics_are_left_behind(number: signal.Signals, metrics_folder: Path) -> None:
    options = ["--workers", "2", "--metrics", "127.0.0.1:0", "--grace", "1"]
    with serving(*options) as server:
        assert server.line().startswith("p3host: metrics on ")
        assert list(metrics_folder.iterdir())
        assert server.stop(number) == 0
    assert not list(metrics_folder.iterdir())


def test_without_metrics_there_is_no_folder_for_them(metrics_folder: Path) -> None:
    with serving("--workers", "2"):
        assert not list(metrics_folder.iterdir())


def test_what_a_killed_server_left_behind_goes_when_the_next_one_starts(metrics_folder: Path) -> None:
    with serving("--workers", "2", "--metrics", "127.0.0.1:0") as server:
        (left,) = metrics_folder.iterdir()
        with metrics_directory():
            assert left.exists()  # it is in use
        long_ago = time.time() - 2 * JUST_MADE
        os.utime(left, (long_ago, long_ago))
        with metrics_directory():
            assert left.exists()  # even when it is old
        server.process.kill()
        server.process.wait()
        wait_until_refused(server)
    os.utime(left, (long_ago, long_ago))
    strange = metrics_folder / f"{PREFIX}file"
    strange.touch()
    os.utime(strange, (long_ago, long_ago))
    while left.exists():  # a process of it may still be ending
        with metrics_directory() as own:
            assert Path(own).is_dir()
    assert list(metrics_folder.iterdir()) == [strange]


def test_a_fresh_folder_is_left_alone(metrics_folder: Path) -> None:
    fresh = metrics_folder / f"{PREFIX}fresh"
    fresh.mkdir()
    with metrics_directory():
        assert fresh.exists()

"""`p3host serve`, over real connections on the loopback interface."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from asgi_guests import ANSWERS
from serve_process import C_HTTP, SECONDS, connect, receive_until, request_bytes, serving, wait_until_refused

from p3host import cli
from p3host.asgi import PoolLimits

SERVERS = {
    "uvicorn": ["--backend", "asyncio"],
    "hypercorn-asyncio": ["--http2"],
    "hypercorn-trio": ["--backend", "trio"],
}
parametrize_servers = pytest.mark.parametrize("options", SERVERS.values(), ids=SERVERS)


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "answers.wat"
    path.write_text(ANSWERS)
    return path


@parametrize_servers
def test_requests_are_answered_and_told(options: list[str]) -> None:
    with serving(*options) as server, httpx.Client(base_url=server.url) as client:
        answer = client.post("/echo?secret=1", content=b"hello")
        assert (answer.status_code, answer.content) == (200, b"HELLO")
        assert re.fullmatch(r"POST /echo 200 5 B \d+\.\d ms", server.line())
        head = client.head("/echo")
        assert (head.status_code, head.content) == (200, b"")
        assert server.line().startswith("HEAD /echo 200 0 B ")
        assert client.get("/forward").status_code == 502  # c-http's answer when it is granted no network
        assert server.line().startswith("GET /forward 502 0 B ")
        assert server.stop() == 0
        assert server.line() == ""


@parametrize_servers
def test_a_response_arrives_piece_by_piece_while_the_request_goes_on(options: list[str]) -> None:
    with serving(*options) as server, connect(server) as connection:
        connection.sendall(request_bytes("POST", "/echo", "Transfer-Encoding: chunked"))
        receive_until(connection, b"\r\n\r\n")
        for word in (b"one", b"two", b"three"):
            connection.sendall(b"%x\r\n%s\r\n" % (len(word), word))
            assert receive_until(connection, word.upper() + b"\r\n") == b"%x\r\n%s\r\n" % (len(word), word.upper())
        connection.sendall(b"0\r\n\r\n")
        assert receive_until(connection, b"0\r\n\r\n") == b"0\r\n\r\n"


def test_curl_streams_too() -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    with serving() as server:
        done = subprocess.run(["curl", "-sS", "-d", "shout", f"{server.url}/x"], capture_output=True, timeout=SECONDS)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"SHOUT", b"")


@pytest.mark.parametrize("options", [SERVERS["hypercorn-asyncio"], SERVERS["hypercorn-trio"]])
def test_http2_is_spoken_where_it_is_asked_for(options: list[str]) -> None:
    with serving(*options) as server, httpx.Client(base_url=server.url, http1=False, http2=True) as client:
        answers = [client.post("/echo", content=b"hello %d" % number) for number in range(10)]
        assert [answer.content for answer in answers] == [b"HELLO %d" % number for number in range(10)]
        assert {answer.http_version for answer in answers} == {"HTTP/2"}


@pytest.mark.parametrize("options", [SERVERS["uvicorn"], SERVERS["hypercorn-trio"]], ids=["uvicorn", "hypercorn-trio"])
def test_a_large_upload_streams_through_in_constant_memory(options: list[str]) -> None:
    size, piece = (100 << 20) if options == SERVERS["uvicorn"] else (20 << 20), 1 << 20

    def upload() -> Iterator[bytes]:
        for _ in range(size // piece):
            yield b"a" * piece

    def send(connection: socket.socket) -> None:
        connection.sendall(request_bytes("POST", "/echo", f"Content-Length: {size}"))
        for data in upload():
            connection.sendall(data)

    with serving(*options) as server, connect(server) as connection:
        assert httpx.post(f"{server.url}/echo", content=b"a" * piece).content == b"A" * piece
        before = server.memory()
        sender = threading.Thread(target=send, args=(connection,))
        sender.start()
        count = 0
        while count < size:
            received = connection.recv(1 << 20)
            assert received
            count += received.count(b"A")
        sender.join()
        assert server.memory() - before < 10 << 20


@parametrize_servers
def test_a_client_that_goes_away_frees_its_place(options: list[str], answers: Path) -> None:
    limits = ["--instances", "1", "--concurrent-requests", "1", "--waiting-seconds", "60"]
    with serving(*options, *limits, component=answers) as server, httpx.Client(base_url=server.url) as client:
        with connect(server) as connection:
            connection.sendall(request_bytes("GET", "/open"))
            receive_until(connection, b"\r\n\r\n")
        assert client.get("/count", timeout=SECONDS).status_code == 201
        assert re.fullmatch(r"GET /open 200 0 B \d+\.\d ms aborted", server.line())


@parametrize_servers
def test_failures_are_answered_or_break_the_connection(options: list[str], answers: Path) -> None:
    with (
        serving(*options, "--request-seconds", "0.5", component=answers) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        assert client.get("/trap").status_code == 500
        assert client.get("/wait").status_code == 504
        assert client.get("/count").status_code == 201
        with pytest.raises(httpx.RemoteProtocolError):
            client.get("/late")
        assert client.get("/count").status_code == 200
        server.stop()
        lines = [line for line in iter(server.line, "") if not line.startswith((" ", "   "))]
        assert not [line for line in lines if "Traceback" in line]
        assert len([line for line in lines if line.startswith("p3host: GET '/late' failed: Trap")]) == 1


@parametrize_servers
def test_beyond_its_limits_requests_are_refused(options: list[str], answers: Path) -> None:
    limits = ["--instances", "1", "--concurrent-requests", "1", "--waiting-requests", "0"]
    with serving(*options, *limits, component=answers) as server, connect(server) as connection:
        connection.sendall(request_bytes("GET", "/open"))
        receive_until(connection, b"\r\n\r\n")
        refused = httpx.get(f"{server.url}/count")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")


@parametrize_servers
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_requests_may_end_when_it_is_told_to_stop(options: list[str], number: signal.Signals) -> None:
    with serving(*options) as server, connect(server) as connection:
        connection.sendall(request_bytes("POST", "/echo", "Transfer-Encoding: chunked") + b"3\r\none\r\n")
        receive_until(connection, b"ONE\r\n")
        server.process.send_signal(number)
        wait_until_refused(server)
        connection.sendall(b"3\r\ntwo\r\n0\r\n\r\n")
        assert receive_until(connection, b"0\r\n\r\n") == b"3\r\nTWO\r\n0\r\n\r\n"
        assert server.process.wait(SECONDS) == 0


@parametrize_servers
def test_requests_that_do_not_end_are_cut_off(options: list[str], answers: Path) -> None:
    with serving(*options, "--grace", "1", component=answers) as server, connect(server) as connection:
        connection.sendall(request_bytes("GET", "/open"))
        receive_until(connection, b"\r\n\r\n")
        assert server.stop() == 0
        assert connection.recv(1) == b""


@pytest.mark.parametrize("options", [SERVERS["uvicorn"], SERVERS["hypercorn-trio"]], ids=["uvicorn", "hypercorn-trio"])
def test_workers_serve_side_by_side_and_are_replaced(options: list[str]) -> None:
    with serving(*options, "--workers", "2", "--metrics", "127.0.0.1:0") as server:
        metrics = server.line().rpartition(" on ")[2]
        for _ in range(10):
            assert httpx.post(f"{server.url}/echo", content=b"hello").content == b"HELLO"
            assert server.line().startswith("POST /echo 200 5 B")
        assert 'p3host_requests_total{method="POST",status="200"} 10.0' in httpx.get(metrics).text
        before = server.children()
        assert len(before) == 3  # one serves the metrics
        os.kill(before[1], signal.SIGKILL)
        assert server.line() == f"p3host: process {before[1]} was killed by signal 9"
        while len(after := server.children()) < 3:
            assert httpx.post(f"{server.url}/echo", content=b"hello").content == b"HELLO"
        assert server.stop(signal.SIGTERM) == 0
        assert not [pid for pid in {*before, *after} if Path(f"/proc/{pid}").exists()]


def test_workers_end_with_their_parent() -> None:
    with serving("--workers", "2") as server:
        workers = server.children()
        server.process.kill()
        server.process.wait()
        wait_until_refused(server)
    assert len(workers) == 2


def test_metrics_are_those_of_what_happened(answers: Path) -> None:
    with serving("--metrics", "127.0.0.1:0", "--no-log", component=answers) as server:
        metrics = server.line().rpartition(" on ")[2]
        for path in ("/count", "/trap", "/count"):
            httpx.get(f"{server.url}{path}")
        text = httpx.get(metrics).text
        for line in (
            'p3host_requests_total{method="GET",status="200"} 2.0',
            'p3host_requests_total{method="GET",status="500"} 1.0',
            "p3host_request_seconds_count 3.0",
            "p3host_trapped_instances_total 1.0",
            "p3host_instances 1.0",
            "p3host_waiting_requests 0.0",
        ):
            assert line in text.splitlines()


def test_the_options_have_the_defaults_of_the_pools_limits() -> None:
    limits = PoolLimits()
    assert {name: default for name, default, _ in cli.POOL_OPTIONS} == vars(limits)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--addr", "localhost", str(C_HTTP)], "give HOST:PORT"),
        (["--addr", "::1:80", str(C_HTTP)], "stands in brackets"),
        (["--addr", "127.0.0.1:99999", str(C_HTTP)], "give HOST:PORT"),
        (["--instances", "0", str(C_HTTP)], "instances must be 1 or more"),
        (["--addr", "127.0.0.1:0", "nowhere.wasm"], "can't read nowhere.wasm"),
        (["--addr", "127.0.0.1:0", "--workers", "2", "nowhere.wasm"], "can't read nowhere.wasm"),
        (["--addr", "192.0.2.1:0", str(C_HTTP)], "can't serve on http://192.0.2.1:0/"),
        (["--addr", "127.0.0.1:0", "--metrics", "192.0.2.1:0", str(C_HTTP)], "can't serve metrics on"),
        (["--addr", "127.0.0.1:0", "--workers", "2", "--metrics", "192.0.2.1:0", str(C_HTTP)], "can't serve metrics"),
        (["--addr", "127.0.0.1:0", str(C_HTTP.parents[1] / "go-hello/go-hello.wasm")], "it serves no HTTP"),
    ],
)
def test_mistakes_are_told(arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "p3host", "serve", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@parametrize_servers
@pytest.mark.parametrize("workers", [[], ["--workers", "2"]], ids=["alone", "workers"])
def test_a_component_that_traps_when_it_starts_is_told(options: list[str], workers: list[str], tmp_path: Path) -> None:
    component = tmp_path / "broken.wat"
    component.write_text(ANSWERS.replace("(func $spin", "(start $break) (func $break unreachable) (func $spin"))
    command = [sys.executable, "-m", "p3host", "serve", "--addr", "127.0.0.1:0", *options, *workers, str(component)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stdout) == (134, "")
    assert f"p3host: {component} trapped: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_missing_is_told() -> None:
    program = "import sys; sys.modules['uvicorn'] = None; from p3host.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", program, "serve", str(C_HTTP)], capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 2
    assert "pip install 'p3host[serve]'" in done.stderr

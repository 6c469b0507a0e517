"""Clients that are in everybody's hands, and what they rely on."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from serve_process import C_HTTP, SECONDS, Server, connect, receive_until, request_bytes, serving

C_SITE = Path(__file__).resolve().parents[2] / "guests/c-site/c-site.wasm"
SERVERS = {
    "uvicorn": ["--backend", "asyncio"],
    "hypercorn-asyncio": ["--http2"],
    "hypercorn-trio": ["--backend", "trio"],
}
HTTP2 = ["hypercorn-asyncio", "hypercorn-trio"]
LARGE = bytes(range(256)) * 8192  # so large that curl asks before it sends it

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


@pytest.fixture(params=SERVERS, scope="module")
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def site(kind: str) -> Iterator[Server]:
    with serving(*SERVERS[kind], "--no-log", component=C_SITE) as server:
        yield server


@pytest.fixture(scope="module")
def echo(kind: str) -> Iterator[Server]:
    with serving(*SERVERS[kind], "--no-log", component=C_HTTP) as server:
        yield server


def curl(*arguments: str, send: bytes | None = None) -> bytes:
    done = subprocess.run(["curl", "-sS", *arguments], input=send, capture_output=True, timeout=SECONDS)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


@needs_curl
def test_curl_gets_and_asks_for_the_head(site: Server) -> None:
    page = C_SITE.with_name("index.html").read_bytes()
    assert curl(f"{site.url}/") == page
    head = curl("--head", f"{site.url}/").decode().lower()
    assert re.match(r"http/1.1 200 ", head)
    assert f"content-length: {len(page)}\r\n" in head
    assert head.endswith("\r\n\r\n")


@needs_curl
@pytest.mark.parametrize(
    "how", [["--data-binary", "@-"], ["--upload-file", "-", "-X", "POST"]], ids=["length", "chunked"]
)
def test_curl_uploads_and_is_told_to_go_on(site: Server, how: list[str]) -> None:
    expecting = ["--expect100-timeout", "1000", "--header", "Expect: 100-continue"]
    assert curl(*how, *expecting, f"{site.url}/echo", send=LARGE) == LARGE


@needs_curl
def test_curl_is_answered_without_an_upload_that_nobody_wants(site: Server) -> None:
    expecting = ["--expect100-timeout", "1000", "--header", "Expect: 100-continue"]
    command = ["--data-binary", "@-", *expecting, "-w", "%{http_code}", f"{site.url}/"]
    assert curl(*command, send=LARGE) == b"Method not allowed\n405"


@needs_curl
def test_curl_uses_a_connection_again(site: Server) -> None:
    urls = [f"{site.url}/{path}" for path in ("", "style.css", "logo.svg", "nowhere", "script.js")]
    told = curl(
        "-o", "/dev/null", "-w", "%{num_connects}", *(part for url in urls for part in ("-o", "/dev/null", url))
    )
    assert told.decode() == "10000"


@needs_curl
def test_curl_speaks_http2_that_it_knows_of(kind: str, site: Server) -> None:
    if kind not in HTTP2:
        pytest.skip("uvicorn speaks no HTTP/2")
    told = ["-w", "%{http_version} %{http_code}", "--http2-prior-knowledge"]
    assert curl(*told, "--data-binary", "@-", f"{site.url}/echo", send=LARGE) == LARGE + b"2 200"
    assert curl(*told, "--head", f"{site.url}/").endswith(b"2 200")


@needs_curl
def test_curl_reads_a_response_as_it_comes(site: Server) -> None:
    with subprocess.Popen(["curl", "-sSN", f"{site.url}/ticks"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]  # of what does not end
        process.terminate()
    assert lines == [b"tick 1\n", b"tick 2\n", b"tick 3\n"]


def test_trailers_are_left_out_where_the_server_can_not_send_them(echo: Server) -> None:
    with connect(echo) as connection:
        connection.sendall(
            request_bytes("POST", "/", "TE: trailers", "Transfer-Encoding: chunked") + b"3\r\none\r\n0\r\na: b\r\n\r\n"
        )
        assert receive_until(connection, b"0\r\n\r\n").endswith(b"3\r\nONE\r\n0\r\n\r\n")


def test_trailers_count_for_no_headers(site: Server) -> None:
    trailers = "a: b\r\n" * 2000  # more than a request may have headers
    with connect(site) as connection:
        head = request_bytes("POST", "/echo", "Transfer-Encoding: chunked")
        connection.sendall(head + b"3\r\nabc\r\n0\r\n" + trailers.encode() + b"\r\n")
        assert receive_until(connection, b"0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_requests_that_are_sent_ahead_are_answered_in_their_order(site: Server) -> None:
    paths = ["/logo.svg", "/sum", "/style.css", "/nowhere", "/script.js"]
    with connect(site) as connection:
        connection.sendall(b"".join(request_bytes("GET", path) for path in [*paths, "/nowhere"]))
        received = b""
        while received.count(b"Not found\n") < 2:
            received += connection.recv(65536)
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"405", b"200", b"404", b"200", b"404"]


@pytest.mark.parametrize("first", [b"", b"3\r\none\r\n"], ids=["before the body", "in the middle of the body"])
def test_an_upload_that_breaks_off_ends_the_request(kind: str, first: bytes) -> None:
    limits = ["--instances", "1", "--concurrent-requests", "1", "--waiting-seconds", "60"]
    with serving(*SERVERS[kind], *limits, component=C_HTTP) as server:
        with connect(server) as connection:
            connection.sendall(request_bytes("POST", "/echo", "Transfer-Encoding: chunked") + first)
            receive_until(connection, b"ONE\r\n" if first else b"\r\n\r\n")
        assert server.line().startswith("POST /echo 200 ")
        assert httpx.get(f"{server.url}/last", timeout=SECONDS).status_code == 500  # the guest knows


def test_httpx_keeps_many_streams_of_one_connection_going(kind: str, site: Server) -> None:
    if kind not in HTTP2:
        pytest.skip("uvicorn speaks no HTTP/2")
    with httpx.Client(base_url=site.url, http1=False, http2=True, timeout=SECONDS) as client:
        with client.stream("GET", "/ticks") as endless:
            lines = endless.iter_lines()
            for number in range(1, 4):
                assert next(lines) == f"tick {number}"
                assert client.post("/sum", json=[number, number]).json() == {"count": 2, "sum": 2 * number}
                assert client.post("/echo", content=LARGE).content == LARGE
        assert client.get("/logo.svg").http_version == "HTTP/2"

"""Where `p3host serve` serves."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from serve_process import C_HTTP, SECONDS, serving

from p3host.serving.listening import listening
from p3host.serving.settings import parse_address, url_of


@pytest.mark.parametrize(
    ("text", "address", "url"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080), "http://127.0.0.1:8080/"),
        ("[::1]:0", ("::1", 0), "http://[::1]:0/"),
        ("localhost:80", ("localhost", 80), "http://localhost:80/"),
        ("[fe80::1%eth0]:80", ("fe80::1%eth0", 80), "http://[fe80::1%eth0]:80/"),
        (":8080", ("", 8080), "http://:8080/"),
        ("unix:/run/app.sock", ("unix:/run/app.sock", 0), "unix:/run/app.sock"),
    ],
)
def test_addresses_are_read_and_told(text: str, address: tuple[str, int], url: str) -> None:
    assert parse_address(text) == address
    assert url_of(address) == url


@pytest.mark.parametrize(
    "text", ["", "unix:", "8080", "localhost", "localhost:", "::1:80", "[::1]", ":http", ":65536", "a:-1", "a:१"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        parse_address(text)


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="needs IPv6")


def test_a_name_stands_for_its_address_of_ipv4() -> None:
    with listening(("localhost", 0)) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_without_a_host_all_addresses_are_served() -> None:
    with listening(("", 0)) as listener:
        port = listener.getsockname()[1]
        for host in ("127.0.0.1", "::1") if has_ipv6() else ("127.0.0.1",):
            socket.create_connection((host, port), timeout=SECONDS).close()


@needs_ipv6
@pytest.mark.parametrize("options", [[], ["--http2"], ["--backend", "trio"]], ids=["uvicorn", "asyncio", "trio"])
def test_ipv6_is_served(options: list[str]) -> None:
    with serving("--addr", "[::1]:0", *options) as server:
        assert re.fullmatch(r"http://\[::1\]:\d+", server.url)
        assert httpx.post(server.url, content=b"six").content == b"SIX"


@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["alone", "workers"])
def test_an_address_that_is_in_use_is_told(options: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "p3host", "serve", "--addr", address, *options, str(C_HTTP)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"p3host: can't serve on http://{address}/: Address already in use\n"


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b"])
def test_a_name_that_leads_nowhere_is_told(host: str) -> None:
    command = [sys.executable, "-m", "p3host", "serve", "--addr", f"{host}:0", str(C_HTTP)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"p3host: can't serve on http://{host}:0/: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "options",
    [[], ["--http2"], ["--backend", "trio"], ["--workers", "2"]],
    ids=["uvicorn", "asyncio", "trio", "workers"],
)
def test_a_socket_in_the_file_system_is_served(options: list[str], tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with serving("--addr", f"unix:{path}", *options) as server:
        assert server.url == f"unix:{path}"
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            assert client.post("http://example.com/", content=b"here").content == b"HERE"
        assert server.line().startswith("POST / 200 4 B ")
        assert server.stop() == 0
        assert not path.exists()


def test_a_socket_in_the_file_system_is_not_taken_from_others(tmp_path: Path) -> None:
    path, address = tmp_path / "app.sock", (f"unix:{tmp_path}/app.sock", 0)
    path.touch()
    with pytest.raises(OSError, match="in use"), listening(address):
        pass
    path.unlink()
    with listening(address), pytest.raises(OSError, match="in use"), listening(address):
        pass
    assert not path.exists()


def test_what_a_killed_server_left_in_the_file_system_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with serving("--addr", f"unix:{path}") as server:
        server.process.kill()
        server.process.wait()
    assert path.is_socket()
    with listening((f"unix:{path}", 0)), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))

"""`Http`: which servers a guest's requests reach."""

from __future__ import annotations

import importlib.util
import socket
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

import anyio
import anyio.to_thread
import pytest
from http_servers import answering, counted, failure, fetch, serving

from p3host.errors import LinkError
from p3host.wasi import Http, Wasi
from p3host.wasi.http import ErrorCode, HttpRequest, HttpTimeouts
from p3host.wasi.http_transport import connect as http_connect
from p3host.wasi.http_transport.patterns import is_public, origin_of, parse_pattern
from p3host.wasi.sockets.name_lookup import literal

pytestmark = pytest.mark.anyio

EMPTY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"

MATCHES: list[tuple[str, str, bool]] = [
    ("*", "http://example.com", True),
    ("*", "https://example.com:8443", True),
    ("*", "http://10.0.0.1:1", True),
    ("*", "https://[::1]", True),
    ("https://example.com", "https://example.com", True),
    ("https://example.com/", "https://example.com", True),
    ("https://example.com", "https://example.com:443", True),
    ("https://example.com", "https://EXAMPLE.com.", True),
    ("https://Example.COM.", "https://example.com", True),
    ("https://example.com", "https://example.com:444", False),
    ("https://example.com", "http://example.com", False),
    ("https://example.com", "https://www.example.com", False),
    ("https://example.com", "https://example.com.evil.test", False),
    ("https://example.com", "https://evilexample.com", False),
    ("example.com", "https://example.com", True),
    ("example.com", "http://example.com", True),
    ("example.com", "http://example.com:443", False),
    ("example.com:8080", "http://example.com:8080", True),
    ("example.com:8080", "https://example.com:8080", True),
    ("example.com:8080", "http://example.com", False),
    ("example.com:*", "http://example.com:1", True),
    ("http://localhost:*", "http://localhost:3000", True),
    ("http://localhost:*", "https://localhost:3000", False),
    ("http://localhost:*", "http://127.0.0.1:3000", False),
    ("https://*", "https://example.com", True),
    ("https://*", "https://example.com:8443", False),
    ("https://*:*", "https://example.com:8443", True),
    ("*.example.com", "https://www.example.com", True),
    ("*.example.com", "https://a.b.example.com", True),
    ("*.example.com", "https://example.com", False),
    ("*.example.com", "https://evilexample.com", False),
    ("http://127.0.0.1", "http://127.0.0.1", True),
    ("http://127.0.0.1", "http://127.1", False),
    ("http://127.0.0.1", "http://0x7f000001", False),
    ("http://[::1]:*", "http://[0:0::1]:80", True),
    ("http://[0::1]", "http://[::1]", True),
    ("http://[::1]", "http://[::2]", False),
    ("my_host", "http://my_host", True),
]


@pytest.mark.parametrize(("pattern", "url", "matches"), MATCHES)
def test_a_pattern_matches(pattern: str, url: str, matches: bool) -> None:
    scheme, _, authority = url.partition("://")
    origin = origin_of(scheme, authority)
    assert origin is not None
    assert parse_pattern(pattern).matches(origin) is matches


WRONG = [
    "",
    "https://",
    "https:example.com",
    "ftp://example.com",
    "wss://example.com",
    "https://example.com/v1",
    "https://example.com?x",
    "https://user@example.com",
    "https://example.com:",
    "https://example.com:0",
    "https://example.com:65536",
    "https://example.com:https",
    "https://exa*mple.com",
    "https://api.*.com",
    "*.*.com",
    "**",
    "bücher.example",
    "https://::1",
    "https://[::g]",
    "https://[1.2.3.4]",
    "example .com",
    "//example.com",
]


@pytest.mark.parametrize("pattern", WRONG)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(LinkError) as raised:
        Http(["https://example.com", pattern])
    (problem,) = raised.value.problems
    assert problem.startswith(f"{pattern!r} is no [SCHEME://]HOST[:PORT]: ")


def test_all_that_is_no_pattern_is_told_at_once() -> None:
    with pytest.raises(LinkError) as raised:
        Http(["a/b", "*", "c/d"])
    assert len(raised.value.problems) == 2


def test_one_string_in_place_of_several_is_refused() -> None:
    with pytest.raises(TypeError, match=r"not the one string 'example.com'"):
        Http("example.com")


def test_without_h11_it_tells_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(name: str) -> Any:
        return None if name == "h11" else importlib.util.find_spec(name)

    monkeypatch.setattr("p3host.wasi.http_transport.grant.find_spec", find_spec)
    with pytest.raises(ImportError, match=r"pip install 'p3host\[http\]'"):
        Http(["*"])


def test_it_is_a_grant() -> None:
    http = Http(["*"])
    assert Wasi(http=http).http is http


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("127.255.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("255.255.255.255", False),
        ("224.0.0.1", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff0e::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::5db8:d822", True),
        ("2002:7f00:1::1", False),
        ("::127.0.0.1", False),
        ("::ffff:0:127.0.0.1", False),
        ("64:ff9b:1::7f00:1", False),
        ("2001::1", False),
        ("fec0::1", False),
        ("4000::1", False),
    ],
)
def test_which_addresses_are_of_the_internet(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public


# At every request


class Names:
    """A name server. An address that is an exception is raised, None comes only when the test is over."""

    def __init__(self, **addresses: Any) -> None:
        self.addresses = addresses
        self.asked: list[str] = []
        self.was_asked = threading.Event()
        self.over = threading.Event()
        self.real = socket.getaddrinfo

    def getaddrinfo(self, host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if literal(name) is not None:  # that of a server of the test's
            return self.real(host, port, *arguments, **options)
        self.asked.append(name)
        self.was_asked.set()
        found = self.addresses[name.replace(".", "_")]
        if isinstance(found, Exception):
            raise found
        if found is None:
            self.over.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in found.split()]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Names]]:
    every: list[Names] = []

    def make(**addresses: Any) -> Names:
        made = Names(**addresses)
        every.append(made)
        monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
        return made

    yield make
    for each in every:
        each.over.set()


def get(authority: str, scheme: str = "http", **more: Any) -> HttpRequest:
    return HttpRequest(scheme=scheme, authority=authority, path_with_query="/", **more)


@pytest.mark.parametrize("url", ["http://other.test", "https://api.test", "http://api.test:81", "http://127.0.0.1"])
async def test_what_no_pattern_names_is_denied_before_anything_is_looked_up(
    url: str, names: Callable[..., Names]
) -> None:
    scheme, _, authority = url.partition("://")
    known = names()
    http = Http(["http://api.test", "http://localhost:*"])
    assert await failure(http.send(get(authority, scheme))) == ErrorCode("HTTP-request-denied")
    assert known.asked == []
    assert counted(http) == (0, 0)


async def test_no_pattern_allows_nothing() -> None:
    assert await failure(Http([]).send(get("example.com"))) == ErrorCode("HTTP-request-denied")


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1 192.168.0.1", "169.254.169.254", "::1"])
@pytest.mark.parametrize(
    "patterns", [["*"], ["http://*:*"], ["*.test:*"], ["*", "named.test:*", "https://rebound.test"]]
)
async def test_a_name_that_leads_into_the_hosts_own_network_is_prohibited(
    patterns: list[str], address: str, names: Callable[..., Names]
) -> None:
    names(rebound_test=address)
    http = Http(patterns)
    assert await failure(http.send(get("rebound.test"))) == ErrorCode("destination-IP-prohibited")
    assert counted(http) == (0, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "10.1.2.3", "169.254.169.254"])
async def test_an_address_of_the_hosts_own_network_is_prohibited(host: str) -> None:
    assert await failure(Http(["*"]).send(get(host))) == ErrorCode("destination-IP-prohibited")


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "localhost", "LOCALHOST."])
async def test_no_spelling_of_this_machine_is_reached_by_a_star(host: str) -> None:
    error: Any = await failure(Http(["*"]).send(get(host)))
    assert error.tag in ("destination-IP-prohibited", "DNS-error")


@pytest.mark.parametrize(
    ("patterns", "options"),
    [
        (["http://api.test:*"], {}),
        (["*", "http://api.test:*"], {}),
        (["*"], {"private_addresses": True}),
        (["*.test:*"], {"private_addresses": True}),
    ],
)
async def test_a_host_that_is_named_may_be_anywhere(
    patterns: list[str], options: dict[str, Any], names: Callable[..., Names]
) -> None:
    names(api_test="127.0.0.1")
    http = Http(patterns, **options)
    async with serving(answering(EMPTY)) as server:
        authority = f"api.test:{server.port}"
        response, _ = await fetch(http, get(authority))
        assert response.status == 200
        assert server.requests[0].headers[0] == (b"host", authority.encode())
        await http.aclose()


async def test_what_is_connected_to_is_what_was_checked(
    names: Callable[..., Names], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = names(both_test="127.0.0.1 93.184.216.34 10.0.0.1 93.184.216.35")
    tried: list[str] = []

    async def connect_tcp(host: str, port: int) -> Any:
        tried.append(host)
        raise ConnectionRefusedError

    monkeypatch.setattr(anyio, "connect_tcp", connect_tcp)
    assert await failure(Http(["*"]).send(get("both.test"))) == ErrorCode("connection-refused")
    assert tried == ["93.184.216.34", "93.184.216.35"]
    assert known.asked == ["both.test"]


async def test_the_next_address_is_tried_when_one_is_slow(
    names: Callable[..., Names], monkeypatch: pytest.MonkeyPatch
) -> None:
    names(api_test="127.0.0.2 127.0.0.1")
    monkeypatch.setattr(http_connect, "HEAD_START", 0.01)
    connect_tcp = anyio.connect_tcp
    slow = 0

    async def connect(host: str, port: int) -> Any:
        nonlocal slow
        if host == "127.0.0.2":
            slow += 1
            try:
                await anyio.sleep_forever()
            finally:
                slow += 1
        return await connect_tcp(host, port)

    monkeypatch.setattr(anyio, "connect_tcp", connect)
    http = Http(["api.test:*"])
    async with serving(answering(EMPTY)) as server:
        response, _ = await fetch(http, get(f"api.test:{server.port}"))
        assert (response.status, slow) == (200, 2)
        await http.aclose()


async def test_the_next_address_is_tried_when_one_refuses(names: Callable[..., Names]) -> None:
    names(api_test="127.0.0.2 127.0.0.3 127.0.0.1")
    http = Http(["api.test:*"])
    async with serving(answering(EMPTY)) as server:
        response, _ = await fetch(http, get(f"api.test:{server.port}"))
        assert response.status == 200
        await http.aclose()


async def test_all_addresses_that_refuse_are_a_refusal(names: Callable[..., Names]) -> None:
    names(api_test="127.0.0.2 127.0.0.3")
    http = Http(["api.test:*"])
    async with serving(answering(EMPTY)) as server:
        assert await failure(http.send(get(f"api.test:{server.port}"))) == ErrorCode("connection-refused")
        assert server.connections == 0
        assert counted(http) == (0, 0)


async def test_a_name_that_is_not_known(names: Callable[..., Names]) -> None:
    names(gone_test=socket.gaierror(socket.EAI_NONAME, "no such name"))
    http = Http(["*"])
    assert await failure(http.send(get("gone.test"))) == ErrorCode("DNS-error")
    assert counted(http) == (0, 0)


@pytest.mark.parametrize("host", ["a%2Etest", "a..test", "x" * 64, ".".join(["x"] * 200)])
async def test_what_can_be_no_name_is_not_asked_for(host: str, names: Callable[..., Names]) -> None:
    known = names()
    assert await failure(Http(["*"]).send(get(host))) == ErrorCode("DNS-error")
    assert known.asked == []


async def test_a_name_server_that_does_not_answer_times_out(names: Callable[..., Names]) -> None:
    names(slow_test=None)
    http = Http(["*"])
    request = get("slow.test", timeouts=HttpTimeouts(connect=0.01))
    assert await failure(http.send(request)) == ErrorCode("DNS-timeout")
    assert counted(http) == (0, 0)


async def test_a_lookup_can_be_cancelled(names: Callable[..., Names]) -> None:
    known = names(slow_test=None)
    http = Http(["*"])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(http.send, get("slow.test"))
        await anyio.to_thread.run_sync(known.was_asked.wait)
        tasks.cancel_scope.cancel()
    assert known.asked == ["slow.test"]
    assert counted(http) == (0, 0)


async def test_ipv6() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    http = Http(["http://[::1]:*"])
    async with serving(answering(EMPTY), host="::1") as server:
        response, _ = await fetch(http, server.request())
        assert response.status == 200
        await http.aclose()

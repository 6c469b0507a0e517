"""`Network`: its patterns, and that every use of a socket is checked against them, in WASI 0.2 and 0.3."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any

import pytest
from socket_fakes import ANY, FAMILIES, LOCALHOST, VERSIONS, Guest, address, datagram_peer, listener, unused_port
from wasi_fakes import finish, outcome

from p3host import LinkError
from p3host.wasi import Wasi
from p3host.wasi.sockets.addresses import Endpoint
from p3host.wasi.sockets.network import OPERATIONS, Network

pytestmark = pytest.mark.anyio


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


PATTERNS = [
    # pattern, address, port, whether it matches
    ("127.0.0.1:80", "127.0.0.1", 80, True),
    ("127.0.0.1:80", "127.0.0.1", 81, False),
    ("127.0.0.1:80", "127.0.0.2", 80, False),
    ("127.0.0.1:80", "127.0.0.1", 0, False),
    ("127.0.0.1", "127.0.0.1", 0, True),
    ("127.0.0.1", "127.0.0.1", 65535, True),
    ("127.0.0.1:*", "127.0.0.1", 7, True),
    ("127.0.0.1:80-82", "127.0.0.1", 79, False),
    ("127.0.0.1:80-82", "127.0.0.1", 80, True),
    ("127.0.0.1:80-82", "127.0.0.1", 82, True),
    ("127.0.0.1:80-82", "127.0.0.1", 83, False),
    ("127.0.0.1:0", "127.0.0.1", 0, True),
    ("127.0.0.1:0", "127.0.0.1", 1, False),
    ("10.0.0.0/8:53", "10.255.0.1", 53, True),
    ("10.0.0.0/8:53", "11.0.0.1", 53, False),
    ("10.0.0.0/8", "::", 53, False),
    ("0.0.0.0/0", "1.2.3.4", 53, True),
    ("0.0.0.0/0", "0.0.0.0", 53, True),
    ("0.0.0.0/0", "::1", 53, False),
    ("0.0.0.0", "127.0.0.1", 53, False),
    ("[::1]:80", "::1", 80, True),
    ("[::1]:80", "::1", 81, False),
    ("[::1]", "::2", 80, False),
    ("[::1]", "0.0.0.1", 80, False),
    ("[fd00::/8]:1-9", "fd12::1", 9, True),
    ("[fd00::/8]:1-9", "fe12::1", 9, False),
    ("[::/0]", "::", 0, True),
    ("localhost:80", "127.1.2.3", 80, True),
    ("localhost:80", "::1", 80, True),
    ("localhost:80", "0.0.0.0", 80, False),
    ("localhost:80", "::", 80, False),
    ("*", "1.2.3.4", 0, True),
    ("*", "::", 65535, True),
    ("*:80", "::", 80, True),
    ("*:80", "::", 81, False),
]


@pytest.mark.parametrize(("pattern", "host", "port", "matches"), PATTERNS)
def test_pattern_matches(pattern: str, host: str, port: int, matches: bool) -> None:
    network = Network(tcp_connect=[pattern])
    assert network.allows("tcp_connect", Endpoint(ip_address(host), port)) is matches
    for operation in OPERATIONS[1:]:
        assert not network.allows(operation, Endpoint(ip_address(host), port))


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("", "the host is missing"),
        (":80", "the host is missing"),
        ("::1", "in brackets"),
        ("::1:80", "in brackets"),
        ("[::1", "in brackets"),
        ("[::1]80", "in brackets"),
        ("127.0.0.1:80:81", "in brackets"),
        ("example.com:80", "by address"),
        ("127.0.0", "127.0.0"),
        ("1.2.3.4.5", "1.2.3.4.5"),
        ("10.0.0.1/8", "host bits"),
        ("10.0.0.0/33", "10.0.0.0/33"),
        ("[]", "[]"),
        ("[::g]", "::g"),
        ("127.0.0.1:", "the ports are"),
        ("127.0.0.1:http", "the ports are"),
        ("127.0.0.1:-1", "the ports are"),
        ("127.0.0.1:1-2-3", "the ports are"),
        ("127.0.0.1:65536", "the ports are"),
        ("127.0.0.1:9-8", "the lower one first"),
    ],
)
def test_what_is_no_pattern_is_refused(pattern: str, problem: str) -> None:
    for operation in OPERATIONS:
        with pytest.raises(LinkError) as raised:
            Network(**{operation: ["*", pattern]})  # type: ignore[arg-type]
        [told] = raised.value.problems
        assert repr(pattern) in told
        assert problem in told


NAMES = [
    ("example.com", "example.com", True),
    ("Example.COM.", "example.com", True),
    ("example.com", "www.example.com", False),
    ("example.com", "notexample.com", False),
    ("*.example.com", "www.example.com", True),
    ("*.example.com", "a.b.example.com", True),
    ("*.example.com", "example.com", False),
    ("*.example.com", "badexample.com", False),
    ("*.example.com", "example.com.evil.org", False),
    ("*", "anything.at.all", True),
]


@pytest.mark.parametrize(("pattern", "name", "matches"), NAMES)
def test_pattern_of_names_matches(pattern: str, name: str, matches: bool) -> None:
    assert Network(lookup=[pattern]).allows_lookup(name) is matches


@pytest.mark.parametrize("pattern", ["", "a b", "*example.com", "www.*.com", "http://a", "a:80", "a..b", ".a", "é"])
def test_what_is_no_pattern_of_names_is_refused(pattern: str) -> None:
    with pytest.raises(LinkError) as raised:
        Network(lookup=[pattern])
    assert repr(pattern) in str(raised.value)


def test_one_string_is_no_sequence_of_patterns() -> None:
    for name in (*OPERATIONS, "lookup"):
        with pytest.raises(TypeError, match=f"{name} must be a sequence"):
            Network(**{name: "localhost"})  # type: ignore[arg-type]


def test_networks_are_values() -> None:
    patterns = ["localhost"]
    network = Network(tcp_connect=patterns, lookup=patterns)
    patterns[:] = ["*"]
    assert network == Network(tcp_connect=("localhost",), lookup=("localhost",)) != Network(tcp_bind=("localhost",))
    assert not network.allows_lookup("example.com")
    assert Wasi().network == Network()


@pytest.mark.parametrize(
    ("network", "near", "far"),
    [(Network(), False, False), (Network.loopback(), True, False), (Network.all(), True, True)],
    ids=["none", "loopback", "all"],
)
def test_networks_that_have_a_name(network: Network, near: bool, far: bool) -> None:
    for operation in OPERATIONS:
        assert network.allows(operation, Endpoint(ip_address("127.0.0.1"), 80)) is near
        assert network.allows(operation, Endpoint(ip_address("::1"), 0)) is near
        assert network.allows(operation, Endpoint(ip_address("192.0.2.1"), 80)) is far
        assert network.allows(operation, Endpoint(ip_address("0.0.0.0"), 0)) is far
        assert network.allows_any(operation) is near
    assert network.allows_lookup("localhost") is near
    assert network.allows_lookup("example.com") is far


# Uses of sockets, each with the one grant that it needs.

Use = Callable[[Guest, str, Any], Awaitable[object]]


async def tcp_bind(guest: Guest, family: str, peer: Any) -> None:
    guest.bind(guest.tcp(family), address(LOCALHOST[family], 0))


async def tcp_listen(guest: Guest, family: str, peer: Any) -> None:
    opened = guest.tcp(family)
    guest.bind(opened, address(LOCALHOST[family], 0))
    guest.listen(opened)


async def tcp_listen_unbound(guest: Guest, family: str, peer: Any) -> None:
    guest.tcp(family).listen()


async def tcp_connect(guest: Guest, family: str, peer: Any) -> None:
    await guest.connect(guest.tcp(family), peer)


async def udp_bind(guest: Guest, family: str, peer: Any) -> None:
    guest.bind(guest.udp(family), address(LOCALHOST[family], 0))


async def udp_connect(guest: Guest, family: str, peer: Any) -> None:
    if guest.version == "p3":
        guest.udp(family).connect(peer)
    else:
        opened = guest.udp(family)
        guest.bind(opened, address(ANY[family], 0))
        opened.stream(peer)


async def udp_send(guest: Guest, family: str, peer: Any) -> None:
    opened = guest.udp(family)
    if guest.version == "p3":
        await finish(opened.send(b"x", peer))
    else:
        guest.bind(opened, address(ANY[family], 0))
        _, outgoing = opened.stream(None)
        assert outgoing.check_send() > 0
        assert outgoing.send([Datagram(b"x", peer)]) == 1


class Datagram:
    def __init__(self, data: bytes, remote_address: Any) -> None:
        self.data = data
        self.remote_address = remote_address


USES: list[tuple[Use, str]] = [
    (tcp_bind, "tcp_bind"),
    (tcp_listen, "tcp_bind"),
    (tcp_listen_unbound, "tcp_bind"),
    (tcp_connect, "tcp_connect"),
    (udp_bind, "udp_bind"),
    (udp_connect, "udp_send"),
    (udp_send, "udp_send"),
]


CASES = [(version, use, grant) for version in VERSIONS for use, grant in USES]
CASES.remove(("p2", tcp_listen_unbound, "tcp_bind"))  # there a socket has to be bound before it listens


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("version", "use", "grant"), CASES, ids=[f"{each[0]}-{each[1].__name__}" for each in CASES])
async def test_use_needs_its_grant_and_no_other(version: str, family: str, use: Use, grant: str) -> None:
    others: dict[str, Any] = {name: ["*"] for name in (*OPERATIONS, "lookup") if name != grant}
    with listener(family) as server:
        peer = address(*server.getsockname())
        assert await outcome(use, Guest(version, Network(**others)), family, peer) == "access-denied"
        assert await outcome(use, Guest(version, Network()), family, peer) == "access-denied"
        only: dict[str, Any] = {grant: ["*"]}
        assert await outcome(use, Guest(version, Network(**only)), family, peer) is None


async def test_connection_to_another_port_is_denied(version: str) -> None:
    with listener() as server, listener() as other:
        guest = Guest(version, Network(tcp_connect=[f"127.0.0.1:{server.getsockname()[1]}"]))
        await guest.connect(guest.tcp(), address(*server.getsockname()))
        assert await outcome(guest.connect, guest.tcp(), address(*other.getsockname())) == "access-denied"
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()


async def test_grant_for_a_chosen_port_is_none_for_another(version: str) -> None:
    port = unused_port()
    guest = Guest(version, Network(tcp_bind=[f"127.0.0.1:{port}"], udp_bind=[f"127.0.0.1:{port}"]))
    for open_socket in guest.tcp, guest.udp:
        assert await outcome(guest.bind, open_socket(), address("127.0.0.1", 0)) == "access-denied"
        assert await outcome(guest.bind, open_socket(), address("0.0.0.0", port)) == "access-denied"
        assert await outcome(guest.bind, open_socket(), address("127.0.0.1", port)) is None


async def test_every_datagram_is_checked() -> None:
    with datagram_peer() as friend, datagram_peer() as stranger:
        guest = Guest("p3", Network(udp_send=[f"127.0.0.1:{friend.getsockname()[1]}"]))
        opened = guest.udp()
        await finish(opened.send(b"one", address(*friend.getsockname())))
        assert await outcome(opened.send, b"x", address(*stranger.getsockname())) == "access-denied"
        assert await outcome(opened.connect, address(*stranger.getsockname())) == "access-denied"
        await finish(opened.send(b"two", address(*friend.getsockname())))
        assert [friend.recv(9), friend.recv(9)] == [b"one", b"two"]
        with pytest.raises(BlockingIOError):
            stranger.recv(9)


@pytest.mark.parametrize("explicitly", [False, True])
async def test_without_a_grant_to_bind_only_those_are_heard_that_may_be_sent_to(explicitly: bool) -> None:
    with datagram_peer() as friend, datagram_peer() as stranger:
        guest = Guest("p3", Network(udp_send=[f"127.0.0.1:{friend.getsockname()[1]}"]))
        opened = guest.udp()
        if explicitly:
            opened.bind(address("0.0.0.0", 0))
        await finish(opened.send(b"hello", address(*friend.getsockname())))
        local = "127.0.0.1", guest.local_address(opened).value.port
        for _ in range(40):
            stranger.sendto(b"unasked", local)
        friend.sendto(b"answer", local)
        data, sender = await finish(opened.receive())
        assert data == b"answer"
        assert sender.value.port == friend.getsockname()[1]


async def test_with_a_grant_to_bind_everyone_is_heard() -> None:
    with datagram_peer() as stranger:
        opened = Guest("p3", Network(udp_bind=["127.0.0.1"])).udp()
        opened.bind(address("127.0.0.1", 0))
        stranger.sendto(b"unasked", ("127.0.0.1", opened.get_local_address().value.port))
        data, sender = await finish(opened.receive())
        assert data == b"unasked"
        assert await outcome(opened.send, b"answer", sender) == "access-denied"


@pytest.mark.parametrize("family", FAMILIES)
async def test_without_a_grant_to_bind_no_other_address_can_be_bound(version: str, family: str) -> None:
    guest = Guest(version, Network(udp_send=["*"]))
    for local in address(LOCALHOST[family], 0), address(ANY[family], unused_port()):
        assert await outcome(guest.bind, guest.udp(family), local) == "access-denied"

"""Addresses: their shapes, and those that WASI has rules against."""

from __future__ import annotations

import socket
from contextlib import closing
from ipaddress import ip_address
from typing import Any

import pytest
from socket_fakes import ANY, FAMILIES, LOCALHOST, OTHER, VERSIONS, Guest, address
from wasi_fakes import finish, outcome

from p3host.wasi.sockets.addresses import Endpoint, Ipv4, Ipv4SocketAddress, Ipv6, Ipv6SocketAddress

pytestmark = pytest.mark.anyio

PORT = 4242  # nobody has to be there

SHAPES: list[tuple[Endpoint, Any, tuple[Any, ...]]] = [
    (
        Endpoint(ip_address("1.2.3.255"), 80),
        Ipv4(Ipv4SocketAddress(80, (1, 2, 3, 255))),
        ("1.2.3.255", 80),
    ),
    (
        Endpoint(ip_address("2001:db8::ffff"), 65535, 7, 9),
        Ipv6(Ipv6SocketAddress(65535, 7, (0x2001, 0xDB8, 0, 0, 0, 0, 0, 0xFFFF), 9)),
        ("2001:db8::ffff", 65535, 7, 9),
    ),
    (Endpoint(ip_address("::"), 0), Ipv6(Ipv6SocketAddress(0, 0, (0,) * 8, 0)), ("::", 0, 0, 0)),
]


@pytest.mark.parametrize(("endpoint", "wit", "sockaddr"), SHAPES)
def test_shapes_of_an_address(endpoint: Endpoint, wit: Any, sockaddr: tuple[Any, ...]) -> None:
    assert endpoint.to_wit() == wit
    assert Endpoint.from_wit(wit) == endpoint
    assert endpoint.sockaddr() == sockaddr
    assert Endpoint.of(sockaddr) == endpoint


def test_the_scope_in_an_address_of_the_system_is_its_number() -> None:
    assert Endpoint.of(("fe80::1%lo", 1, 0, 1)) == Endpoint(ip_address("fe80::1"), 1, 0, 1)


@pytest.mark.parametrize("flow_info", [0xFFFFF, 1 << 20, 0xFFFFFFFF])
@pytest.mark.parametrize("version", VERSIONS)
async def test_any_flow_info_will_do(version: str, flow_info: int) -> None:
    guest = Guest(version)
    listening = guest.tcp("ipv6")
    guest.bind(listening, address("::1", 0, flow_info))
    stream = guest.listen(listening)
    place = address("::1", guest.local_address(listening).value.port, flow_info)
    await guest.connect(guest.tcp("ipv6"), place)
    if stream is not None:
        stream.on_dropped()
    opened = guest.udp("ipv6")
    guest.bind(opened, address("::1", 0, flow_info))
    if version == "p3":
        await finish(opened.send(b"to nobody", place))
        opened.connect(place)
    else:
        opened.stream(place)
    assert guest.remote_address(opened).value.flow_info == flow_info


NOT_UNICAST = {"ipv4": ["224.0.0.1", "239.255.0.1", "255.255.255.255"], "ipv6": ["ff02::1", "ffff::1"]}
NOT_OURS = {"ipv4": ["192.0.2.1", "203.0.113.1"], "ipv6": ["2001:db8::1"]}
MAPPED = {"ipv4": [], "ipv6": ["::ffff:127.0.0.1", "::ffff:0.0.0.0"]}


def bad_addresses(family: str, *, remote: bool, unicast: bool) -> list[Any]:
    bad = [address(LOCALHOST[OTHER[family]], PORT), *(address(host, PORT) for host in MAPPED[family])]
    if unicast:
        bad += [address(host, PORT) for host in NOT_UNICAST[family]]
    if remote:
        bad += [address(ANY[family], PORT), address(LOCALHOST[family], 0)]
    return bad


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("version", VERSIONS)
async def test_bad_addresses_are_invalid_arguments(version: str, family: str) -> None:
    guest = Guest(version)
    for bad in bad_addresses(family, remote=False, unicast=True):
        assert await outcome(guest.bind, guest.tcp(family), bad) == "invalid-argument"
    for bad in bad_addresses(family, remote=False, unicast=False):
        assert await outcome(guest.bind, guest.udp(family), bad) == "invalid-argument"
    for bad in bad_addresses(family, remote=True, unicast=True):
        assert await outcome(guest.connect, guest.tcp(family), bad) == "invalid-argument"


@pytest.mark.parametrize("family", FAMILIES)
async def test_bad_destinations_of_datagrams_are_invalid_arguments(family: str) -> None:
    opened = Guest("p3").udp(family)
    for bad in bad_addresses(family, remote=True, unicast=False):
        assert await outcome(opened.connect, bad) == "invalid-argument"
        assert await outcome(opened.send, b"x", bad) == "invalid-argument"
    assert await outcome(opened.get_local_address) == "invalid-state"  # none of them has bound it


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_bind_that_failed_can_be_tried_again(version: str, family: str) -> None:
    guest = Guest(version)
    for opened in guest.tcp(family), guest.udp(family):
        for host in NOT_OURS[family]:
            assert await outcome(guest.bind, opened, address(host, 0)) == "address-not-bindable"
        guest.bind(opened, address(LOCALHOST[family], 0))
        assert await outcome(guest.bind, opened, address(LOCALHOST[family], 0)) == "invalid-state"


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_address_of_an_interface_that_is_not_there_can_not_be_bound_to(version: str) -> None:
    guest = Guest(version)
    for opened in guest.tcp("ipv6"), guest.udp("ipv6"):
        assert await outcome(guest.bind, opened, address("fe80::1", 0, 0, 0xFFFFFFFF)) == "address-not-bindable"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("version", VERSIONS)
async def test_port_0_becomes_a_free_port(version: str, family: str) -> None:
    guest = Guest(version)
    for opened in guest.tcp(family), guest.udp(family):
        assert await outcome(guest.local_address, opened) == "invalid-state"
        guest.bind(opened, address(LOCALHOST[family], 0))
        local = Endpoint.from_wit(guest.local_address(opened))
        assert local.ip == ip_address(LOCALHOST[family])
        assert local.port > 0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("version", VERSIONS)
async def test_an_address_is_used_once(version: str, family: str) -> None:
    guest = Guest(version)
    first, second = guest.tcp(family), guest.udp(family)
    for opened in first, second:
        guest.bind(opened, address(LOCALHOST[family], 0))
    assert await outcome(guest.bind, guest.tcp(family), guest.local_address(first)) == "address-in-use"
    guest.listen(first)
    assert await outcome(guest.bind, guest.tcp(family), guest.local_address(first)) == "address-in-use"
    assert await outcome(guest.bind, guest.udp(family), guest.local_address(second)) == "address-in-use"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("listens", [True, False])
async def test_a_connection_that_was_closed_of_late_does_not_keep_the_address(version: str, listens: bool) -> None:
    guest = Guest(version)
    opened = guest.tcp()
    guest.bind(opened, address("127.0.0.1", 0))
    local = guest.local_address(opened)
    with closing(socket.socket()) as peer:
        if listens:
            connections = guest.listen(opened)
            peer.connect(Endpoint.from_wit(local).sockaddr())
            accepted, _ = opened.handle.socket.accept()
            accepted.close()  # the side that closes first keeps the address for some time
            if connections is not None:
                connections.on_dropped()
        else:
            with closing(socket.create_server(("127.0.0.1", 0))) as server:
                for stream in await guest.connect(opened, address(*server.getsockname())) or ():
                    stream.close()
                peer = server.accept()[0]
        opened.close()
        assert peer.recv(1) == b""
        peer.close()
    guest.bind(guest.tcp(), local)


async def test_ipv6_sockets_are_for_ipv6_alone() -> None:
    guest = Guest("p3")
    for open_socket in guest.tcp, guest.udp:
        both = open_socket("ipv6")
        both.bind(address("::", 0))
        port = both.get_local_address().value.port
        open_socket("ipv4").bind(address("0.0.0.0", port))


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_listener_that_is_not_bound_listens_at_a_free_port(family: str) -> None:
    guest = Guest("p3")
    opened = guest.tcp(family)
    connections = opened.listen()
    local = Endpoint.from_wit(opened.get_local_address())
    assert local.ip == ip_address(ANY[family])
    client = guest.tcp(family)
    await finish(client.connect(address(LOCALHOST[family], local.port)))
    [accepted] = await anext(connections)
    assert accepted.get_remote_address() == client.get_local_address()

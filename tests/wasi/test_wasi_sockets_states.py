"""The states of sockets: what can be done in which, and which one follows."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from socket_fakes import Guest, address, full_listener, listener, unused_port
from wasi_fakes import GuestStream, finish, outcome

from p3host.wasi.sockets.tcp import TRANSITIONS, State

pytestmark = pytest.mark.anyio

STATES = {state.name.lower().replace("_", "-"): state for state in State}
LOCAL = address("127.0.0.1", 0)


@asynccontextmanager
async def tcp_in(state: str, version: str) -> AsyncIterator[tuple[Any, Any]]:
    """A TCP socket in a state, and the address of someone who listens."""
    guest = Guest(version)
    async with AsyncExitStack() as stack:
        server = stack.enter_context(listener())
        remote = address(*server.getsockname())
        opened = guest.tcp()
        match state:
            case "binding":
                opened.start_bind(None, LOCAL)
            case "bound":
                guest.bind(opened, LOCAL)
            case "starting-to-listen":
                guest.bind(opened, LOCAL)
                opened.start_listen()
            case "listening":
                guest.bind(opened, LOCAL)
                connections = guest.listen(opened)
                if connections is not None:
                    stack.callback(connections.on_dropped)
            case "connecting":
                busy = address(*stack.enter_context(full_listener()).getsockname())
                if version == "p3":
                    stack.callback(opened.connect(busy).close)
                else:
                    opened.start_connect(None, busy)
            case "connected":
                for stream in await guest.connect(opened, remote) or ():
                    stack.callback(stream.close)
            case "closed":
                assert await outcome(guest.connect, opened, address("127.0.0.1", unused_port())) == "connection-refused"
        assert opened.state is STATES[state]
        yield opened, remote
        opened.close()
    assert not guest.sockets.handles


async def received(opened: Any) -> None:
    stream, future = opened.receive()
    await stream.aclose()
    await future


Operation = Callable[[Any, Any], Any]
P3_OPERATIONS: dict[str, Operation] = {
    "bind": lambda opened, remote: opened.bind(LOCAL),
    "connect": lambda opened, remote: opened.connect(remote),
    "listen": lambda opened, remote: opened.listen().on_dropped(),
    "send": lambda opened, remote: opened.send(GuestStream([])),
    "receive": lambda opened, remote: received(opened),
    "local-address": lambda opened, remote: opened.get_local_address().tag,
    "remote-address": lambda opened, remote: opened.get_remote_address().tag,
    "is-listening": lambda opened, remote: opened.get_is_listening(),
    "address-family": lambda opened, remote: opened.get_address_family(),
    "set-backlog": lambda opened, remote: opened.set_listen_backlog_size(5),
    "set-hop-limit": lambda opened, remote: opened.set_hop_limit(5),
}
P2_OPERATIONS: dict[str, Operation] = {
    "start-bind": lambda opened, remote: opened.start_bind(None, LOCAL),
    "finish-bind": lambda opened, remote: opened.finish_bind(),
    "start-connect": lambda opened, remote: opened.start_connect(None, remote),
    "finish-connect": lambda opened, remote: opened.finish_connect() and None,
    "start-listen": lambda opened, remote: opened.start_listen(),
    "finish-listen": lambda opened, remote: opened.finish_listen(),
    "accept": lambda opened, remote: opened.accept() and None,
    "shutdown": lambda opened, remote: opened.shutdown("both"),
    "ready": lambda opened, remote: opened.subscribe().ready(),
    "local-address": lambda opened, remote: opened.local_address().tag,
    "remote-address": lambda opened, remote: opened.remote_address().tag,
    "is-listening": lambda opened, remote: opened.is_listening(),
    "address-family": lambda opened, remote: opened.address_family(),
    "set-backlog": lambda opened, remote: opened.set_listen_backlog_size(5),
    "set-hop-limit": lambda opened, remote: opened.set_hop_limit(5),
}

BAD = "invalid-state"
NOT = "not-in-progress"
BUSY = "concurrency-conflict"

# For each operation, its outcome in each state.
P3_STATES = ("unbound", "bound", "listening", "connecting", "connected", "closed")
P3_TABLE: dict[str, list[Any]] = {
    "bind": [None, BAD, BAD, BAD, BAD, BAD],
    "connect": [None, None, BAD, BAD, BAD, BAD],
    "listen": [None, None, BAD, BAD, BAD, BAD],
    "send": [BAD, BAD, BAD, BAD, None, BAD],
    "receive": [BAD, BAD, BAD, BAD, None, BAD],
    "local-address": [BAD, "ipv4", "ipv4", "ipv4", "ipv4", BAD],
    "remote-address": [BAD, BAD, BAD, BAD, "ipv4", BAD],
    "is-listening": [False, False, True, False, False, False],
    "address-family": ["ipv4"] * 6,
    "set-backlog": [None, None, None, BAD, BAD, BAD],
    "set-hop-limit": [None, None, None, None, None, BAD],
}
P2_STATES = (
    "unbound", "binding", "bound", "starting-to-listen", "listening", "connecting", "connected", "closed"
)  # fmt: skip
P2_TABLE: dict[str, list[Any]] = {
    "start-bind": [None, BUSY, BAD, BUSY, BAD, BUSY, BAD, BAD],
    "finish-bind": [NOT, None, NOT, NOT, NOT, NOT, NOT, NOT],
    "start-connect": [None, BUSY, None, BUSY, BAD, BUSY, BAD, BAD],
    "finish-connect": [NOT, NOT, NOT, NOT, NOT, "would-block", NOT, NOT],
    "start-listen": [BAD, BUSY, None, BUSY, BAD, BUSY, BAD, BAD],
    "finish-listen": [NOT, NOT, NOT, None, NOT, NOT, NOT, NOT],
    "accept": [BAD, BAD, BAD, BAD, "would-block", BAD, BAD, BAD],
    "shutdown": [BAD, BAD, BAD, BAD, BAD, BAD, None, BAD],
    "ready": [True, True, True, True, False, False, True, True],
    "local-address": [BAD, BAD, "ipv4", "ipv4", "ipv4", "ipv4", "ipv4", BAD],
    "remote-address": [BAD, BAD, BAD, BAD, BAD, BAD, "ipv4", BAD],
    "is-listening": [False, False, False, False, True, False, False, False],
    "address-family": ["ipv4"] * 8,
    "set-backlog": [None, None, None, None, None, BAD, BAD, BAD],
    "set-hop-limit": [None, None, None, None, None, None, None, BAD],
}
CASES = [
    ("p3", P3_OPERATIONS[name], name, state, expected)
    for name, outcomes in P3_TABLE.items()
    for state, expected in zip(P3_STATES, outcomes, strict=True)
] + [
    ("p2", P2_OPERATIONS[name], name, state, expected)
    for name, outcomes in P2_TABLE.items()
    for state, expected in zip(P2_STATES, outcomes, strict=True)
]
AFTER = {"start-connect": "connect"}  # what the table of transitions calls it


@pytest.mark.parametrize(
    ("version", "operation", "name", "state", "expected"),
    CASES,
    ids=[f"{version}-{name}-{state}" for version, _, name, state, _ in CASES],
)
async def test_operation_in_state(version: str, operation: Operation, name: str, state: str, expected: Any) -> None:
    async with tcp_in(state, version) as (opened, remote):
        assert await outcome(operation, opened, remote) == expected
        after = STATES[state]
        if expected is None:
            transition = TRANSITIONS.get((after, AFTER.get(name, name)))  # type: ignore[arg-type]
            if transition is not None:
                after = transition[0]
        if name == "connect" and expected is None:
            after = State.CONNECTED
        assert opened.state is after


@pytest.mark.parametrize("version", ["p2", "p3"])
@pytest.mark.parametrize("state", ["unbound", "bound"])
async def test_a_socket_that_could_not_connect_is_closed(version: str, state: str) -> None:
    for remote in address("127.0.0.1", unused_port()), address("0.0.0.0", 80), address("::1", 80):
        async with tcp_in(state, version) as (opened, _):
            await outcome(Guest(version).connect, opened, remote)
            assert opened.state is State.CLOSED
            assert not opened.sockets.handles


async def test_a_socket_that_could_not_start_to_listen_is_closed() -> None:
    async with tcp_in("listening", "p2") as (first, _):
        guest = Guest("p2")
        second = guest.tcp()
        second.handle.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        assert await outcome(guest.bind, second, first.local_address()) == "address-in-use"
        assert second.state is State.UNBOUND
        shared = address("127.0.0.1", unused_port())
        guest.bind(second, shared)
        with listener() as other:
            # Two sockets can be bound to one address that they name as long as neither listens.
            third = guest.tcp()
            guest.bind(third, shared)
            second.start_listen()
            assert await outcome(third.start_listen) == "address-in-use"
            assert third.state is State.CLOSED
            assert other.fileno() >= 0


async def test_a_socket_that_could_not_listen_can_still_connect() -> None:
    async with tcp_in("unbound", "p3") as (first, remote):
        guest = Guest("p3")
        second = guest.tcp()
        shared = address("127.0.0.1", unused_port())
        first.bind(shared)
        second.bind(shared)
        first.listen().on_dropped()
        assert await outcome(second.listen) == "address-in-use"
        assert second.state is State.BOUND
        await second.connect(remote)


async def test_states_of_a_udp_socket() -> None:
    opened = Guest("p3").udp()
    peer = address("127.0.0.1", unused_port(socket.SOCK_DGRAM))
    assert await outcome(opened.receive) == BAD
    assert await outcome(opened.disconnect) == BAD
    assert await outcome(opened.get_local_address) == BAD
    assert await outcome(opened.get_remote_address) == BAD
    assert await outcome(opened.send, b"x", None) == "invalid-argument"
    assert await outcome(opened.get_local_address) == BAD
    opened.connect(peer)
    assert await outcome(opened.bind, LOCAL) == BAD
    assert opened.get_local_address().value.address == (127, 0, 0, 1)
    assert opened.get_remote_address().value.port == peer.value.port
    local = opened.get_local_address()
    opened.disconnect()
    assert await outcome(opened.disconnect) == BAD
    assert await outcome(opened.get_remote_address) == BAD
    assert opened.get_local_address().value.port == local.value.port
    assert opened.get_local_address().value.address == (0, 0, 0, 0)


async def test_states_of_a_udp_socket_in_02() -> None:
    opened = Guest("p2").udp()
    peer = address("127.0.0.1", unused_port(socket.SOCK_DGRAM))
    assert await outcome(opened.finish_bind) == NOT
    assert await outcome(opened.stream, None) == BAD
    assert await outcome(opened.stream, peer) == BAD
    opened.start_bind(None, LOCAL)
    assert await outcome(opened.start_bind, None, LOCAL) == BUSY
    assert await outcome(opened.stream, None) == BAD
    assert await outcome(opened.local_address) == BAD
    opened.finish_bind()
    assert opened.local_address().value.port > 0
    assert await outcome(opened.start_bind, None, LOCAL) == BAD
    assert await outcome(opened.finish_bind) == NOT
    opened.stream(None)
    assert await outcome(opened.remote_address) == BAD
    opened.stream(peer)
    assert opened.remote_address().value.port == peer.value.port
    opened.stream(None)
    assert await outcome(opened.remote_address) == BAD
    assert opened.subscribe().ready()
    assert await finish(opened.subscribe().block()) is None

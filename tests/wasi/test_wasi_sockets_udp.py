"""UDP in both versions: real datagrams on the loopback."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from socket_fakes import FAMILIES, LOCALHOST, VERSIONS, Guest, address, datagram_peer, unused_port
from wasi_fakes import finish, outcome

from p3host.errors import Trap
from p3host.wasi.sockets.network import Network
from p3host.wasi.sockets.udp import DATAGRAMS_AT_ONCE

pytestmark = pytest.mark.anyio


def place_of(opened: Any, family: str = "ipv4") -> tuple[str, int]:
    get = getattr(opened, "get_local_address", None) or opened.local_address
    return LOCALHOST[family], get().value.port


async def receive(peer: socket.socket) -> tuple[bytes, Any]:
    await anyio.wait_readable(peer)
    data, sender = peer.recvfrom(1 << 16)
    return data, sender[:2]


def bound(version: str, family: str = "ipv4") -> Any:
    guest = Guest(version)
    opened = guest.udp(family)
    guest.bind(opened, address(LOCALHOST[family], 0))
    return opened


# WASI 0.3


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("data", [b"", b"hello", bytes(60000)], ids=["empty", "small", "large"])
async def test_datagrams_go_both_ways(family: str, data: bytes) -> None:
    opened = bound("p3", family)
    with datagram_peer(family) as peer:
        await finish(opened.send(data, address(*peer.getsockname())))
        received, sender = await receive(peer)
        assert (received, sender) == (data, place_of(opened, family))
        peer.sendto(data, place_of(opened, family))
        received, remote = await finish(opened.receive())
        assert received == data
        assert remote.value.port == peer.getsockname()[1]
        assert remote == opened.get_local_address().__class__(remote.value)


async def test_receiving_waits_for_a_datagram() -> None:
    opened = bound("p3")
    received: list[bytes] = []

    async def wait() -> None:
        data, _ = await finish(opened.receive())
        received.append(data)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        with datagram_peer() as peer:
            for number in range(3):
                peer.sendto(b"%d" % number, place_of(opened))
    assert sorted(received) == [b"0", b"1", b"2"]


async def test_a_wait_that_was_cancelled_loses_nothing() -> None:
    opened = bound("p3")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(finish, opened.receive())
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    with datagram_peer() as peer:
        peer.sendto(b"hello", place_of(opened))
        assert (await finish(opened.receive()))[0] == b"hello"
    opened.close()
    assert not opened.sockets.handles


async def test_a_socket_that_is_closed_ends_a_wait() -> None:
    opened = bound("p3")
    async with anyio.create_task_group() as tasks:
        waiting = opened.receive()

        async def wait() -> None:
            assert await outcome(lambda: waiting) == "invalid-state"

        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        opened.close()


async def test_a_socket_that_is_not_bound_sends_from_a_free_port() -> None:
    opened = Guest("p3").udp()
    with datagram_peer() as peer:
        await finish(opened.send(b"x", address(*peer.getsockname())))
        assert (await receive(peer))[1] == place_of(opened)
        assert await outcome(opened.get_remote_address) == "invalid-state"


@pytest.mark.parametrize("size", [65535, 65536, 1 << 20])
async def test_a_datagram_can_be_too_large(size: int) -> None:
    opened = bound("p3")
    assert await outcome(opened.send, bytes(size), address("127.0.0.1", 9)) == "datagram-too-large"


async def test_a_connected_socket_talks_to_one_peer_alone() -> None:
    opened = bound("p3")
    with datagram_peer() as peer, datagram_peer() as stranger:
        stranger.sendto(b"before", place_of(opened))
        remote = address(*peer.getsockname())
        opened.connect(remote)
        stranger.sendto(b"after", place_of(opened))
        peer.sendto(b"hello", place_of(opened))
        assert (await finish(opened.receive()))[0] == b"hello"
        await finish(opened.send(b"without", None))
        await finish(opened.send(b"with", remote))
        assert [(await receive(peer))[0] for _ in range(2)] == [b"without", b"with"]
        other = address(*stranger.getsockname())
        assert await outcome(opened.send, b"x", other) == "invalid-argument"

        opened.connect(other)
        assert opened.get_remote_address().value.port == other.value.port
        await finish(opened.send(b"to the other", None))
        assert (await receive(stranger))[0] == b"to the other"

        opened.disconnect()
        peer.sendto(b"anyone", place_of(opened))
        assert (await finish(opened.receive()))[0] == b"anyone"
        assert await outcome(opened.send, b"x", None) == "invalid-argument"
        await finish(opened.send(b"again", remote))
        assert (await receive(peer))[0] == b"again"


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_socket_that_could_not_connect_stays_with_its_peer(version: str) -> None:
    opened = bound(version)
    with datagram_peer() as peer, datagram_peer() as stranger:
        remote = address(*peer.getsockname())
        connect = opened.connect if version == "p3" else opened.stream
        connect(remote)
        nowhere = address("255.255.255.255", 9)  # which takes more than a grant
        assert await outcome(connect, nowhere) == "access-denied"
        assert opened.get_remote_address().value.port == remote.value.port
        stranger.sendto(b"x", place_of(opened))
        peer.sendto(b"hello", place_of(opened))
        data = (await finish(opened.receive()))[0] if version == "p3" else opened.receive_now()[0]
        assert data == b"hello"


async def test_nobody_is_there() -> None:
    opened = bound("p3")
    opened.connect(address("127.0.0.1", unused_port(socket.SOCK_DGRAM)))
    await finish(opened.send(b"x", None))
    assert await outcome(opened.receive) == "connection-refused"


async def test_a_full_buffer_holds_the_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = bound("p3")
    with datagram_peer() as peer, datagram_peer() as other:
        remote = address(*peer.getsockname())
        system_socket = type(opened.handle.socket)
        sendto = system_socket.sendto
        blocks = [True, True]

        def full(self: Any, *args: Any) -> int:
            if blocks:
                blocks.pop()
                raise BlockingIOError
            return int(sendto(self, *args))

        monkeypatch.setattr(system_socket, "sendto", full)
        await finish(opened.send(b"late", remote))
        assert not blocks
        assert (await receive(peer))[0] == b"late"

        blocks.append(True)
        waiting = opened.send(b"to the peer", remote)
        opened.connect(address(*other.getsockname()))
        assert await outcome(lambda: waiting) == "invalid-argument"
        with pytest.raises(BlockingIOError):
            other.recv(1)


async def test_datagrams_that_nobody_may_hear_leave_others_their_turn() -> None:
    guest = Guest("p3", Network(udp_send=["127.0.0.1:1"]))
    opened = guest.udp()
    opened.bind(address("0.0.0.0", 0))
    turns = 0
    with datagram_peer() as stranger:
        for _ in range(4 * DATAGRAMS_AT_ONCE):
            stranger.sendto(b"x", place_of(opened))

        async def others() -> None:
            nonlocal turns
            while opened.handle.ready(1):
                turns += 1
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(finish, opened.receive())
            await others()
            tasks.cancel_scope.cancel()
    assert turns > 1


# WASI 0.2


def outgoing_datagram(data: bytes, remote: Any = None) -> Any:
    return SimpleNamespace(data=data, remote_address=remote)


async def send(stream: Any, *datagrams: Any) -> Any:
    assert stream.check_send() >= len(datagrams)
    return await outcome(stream.send, list(datagrams))


@pytest.mark.parametrize("family", FAMILIES)
async def test_datagrams_go_both_ways_in_02(family: str) -> None:
    opened = bound("p2", family)
    incoming, outgoing = opened.stream(None)
    with datagram_peer(family) as peer:
        remote = address(*peer.getsockname())
        assert incoming.receive(10) == []
        assert not incoming.subscribe().ready()
        assert outgoing.subscribe().ready()
        assert await send(outgoing, outgoing_datagram(b"one", remote), outgoing_datagram(b"two", remote)) == 2
        assert [(await receive(peer))[0] for _ in range(2)] == [b"one", b"two"]
        for number in range(3):
            peer.sendto(b"%d" % number, place_of(opened, family))
        await finish(incoming.subscribe().block())
        assert incoming.receive(0) == []
        first, second = incoming.receive(2)
        assert (first.data, second.data) == (b"0", b"1")
        assert first.remote_address.value.port == remote.value.port
        assert [datagram.data for datagram in incoming.receive((1 << 64) - 1)] == [b"2"]


async def test_one_call_receives_a_bounded_number() -> None:
    opened = bound("p2")
    incoming, _ = opened.stream(None)
    with datagram_peer() as peer:
        for _ in range(DATAGRAMS_AT_ONCE + 1):
            peer.sendto(b"x", place_of(opened))
        assert len(incoming.receive(1 << 40)) == DATAGRAMS_AT_ONCE
        assert len(incoming.receive(1 << 40)) == 1


async def test_send_needs_a_permit() -> None:
    opened = bound("p2")
    remote = address("127.0.0.1", unused_port(socket.SOCK_DGRAM))
    _, outgoing = opened.stream(None)
    datagrams = [outgoing_datagram(b"x", remote)]
    with pytest.raises(Trap, match="permits 0"):
        outgoing.send(datagrams)
    permit = outgoing.check_send()
    assert outgoing.send([]) == 0
    with pytest.raises(Trap, match=f"permits {permit}"):
        outgoing.send(datagrams * (permit + 1))
    assert outgoing.send(datagrams * permit) == permit
    with pytest.raises(Trap, match="permits 0"):
        outgoing.send(datagrams)


async def test_an_error_after_the_first_datagram_is_told_later() -> None:
    opened = bound("p2")
    _, outgoing = opened.stream(None)
    good = outgoing_datagram(b"x", address("127.0.0.1", unused_port(socket.SOCK_DGRAM)))
    for bad, code in (
        (outgoing_datagram(b"x", address("0.0.0.0", 9)), "invalid-argument"),
        (outgoing_datagram(b"x", address("127.0.0.1", 0)), "invalid-argument"),
        (outgoing_datagram(b"x", address("::1", 9)), "invalid-argument"),
        (outgoing_datagram(b"x", None), "invalid-argument"),
        (outgoing_datagram(bytes(65536), good.remote_address), "datagram-too-large"),
    ):
        assert await send(outgoing, good, bad, good) == 1
        assert await send(outgoing, bad, good) == code


async def test_only_the_latest_streams_work() -> None:
    opened = bound("p2")
    with datagram_peer() as peer, datagram_peer() as stranger:
        incoming, outgoing = opened.stream(None)
        remote = address(*peer.getsockname())
        new_incoming, new_outgoing = opened.stream(remote)
        assert await outcome(incoming.receive, 1) == "invalid-state"
        assert await outcome(outgoing.check_send) == "invalid-state"
        assert await send(new_outgoing, outgoing_datagram(b"x"), outgoing_datagram(b"y", remote)) == 2
        stranger_address = address(*stranger.getsockname())
        assert await send(new_outgoing, outgoing_datagram(b"x", stranger_address)) == "invalid-argument"
        stranger.sendto(b"unasked", place_of(opened))
        peer.sendto(b"answer", place_of(opened))
        await finish(new_incoming.subscribe().block())
        assert [datagram.data for datagram in new_incoming.receive(9)] == [b"answer"]


async def test_nobody_is_there_in_02() -> None:
    opened = bound("p2")
    incoming, outgoing = opened.stream(address("127.0.0.1", unused_port(socket.SOCK_DGRAM)))
    assert await send(outgoing, outgoing_datagram(b"x")) == 1
    await finish(incoming.subscribe().block())
    assert await outcome(incoming.receive, 1) == "connection-refused"


async def test_streams_outlive_their_socket() -> None:
    opened = bound("p2")
    place = place_of(opened)
    incoming, outgoing = opened.stream(None)
    opened.close()
    with datagram_peer() as peer:
        assert await send(outgoing, outgoing_datagram(b"x", address(*peer.getsockname()))) == 1
        peer.sendto(b"answer", place)
        await finish(incoming.subscribe().block())
        assert [datagram.data for datagram in incoming.receive(9)] == [b"answer"]
    pollable = incoming.subscribe()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(finish, pollable.block())
        await anyio.wait_all_tasks_blocked()
        incoming.close()
        outgoing.close()
    assert not opened.sockets.handles

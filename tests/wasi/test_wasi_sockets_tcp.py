"""TCP in WASI 0.3: real traffic on the loopback, its ends, and what is given up midway."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from socket_fakes import FAMILIES, LOCALHOST, Guest, address, full_listener, receive_all, reset, unused_port
from wasi_fakes import GuestStream, outcome

from p3host.wasi.p3 import sockets as p3
from p3host.wasi.sockets import tcp
from p3host.wasi.sockets.network import Network
from p3host.wasi.sockets.tcp import State
from p3host.wasi.sockets.tcp_streams import MAX_READ

pytestmark = pytest.mark.anyio

BIG = os.urandom(1 << 20)


class Endless(GuestStream):
    """A guest that always has more to send."""

    def __init__(self) -> None:
        super().__init__([])
        self.taken = 0

    async def read(self, max_count: int) -> bytes:
        await anyio.lowlevel.checkpoint()
        self.taken += max_count
        return bytes(max_count)


class Held(GuestStream):
    """A guest that has nothing to send yet."""

    async def read(self, max_count: int) -> bytes:
        await anyio.sleep_forever()
        raise AssertionError


async def send_all(peer: socket.socket, data: bytes) -> None:
    with memoryview(data) as view:
        while view:
            try:
                view = view[peer.send(view) :]
            except BlockingIOError:
                await anyio.wait_writable(peer)


@pytest.mark.parametrize("family", FAMILIES)
async def test_bytes_go_both_ways_at_once(family: str) -> None:
    opened, _, _, peer = await Guest("p3").connected(family)
    got: dict[str, bytes] = {}

    async def receive() -> None:
        stream, future = opened.receive()
        got["guest"] = b"".join([piece async for piece in stream])
        await future

    async def hear() -> None:
        got["peer"] = await receive_all(peer)

    async def speak() -> None:
        await send_all(peer, BIG)
        peer.shutdown(socket.SHUT_WR)

    async with anyio.create_task_group() as tasks:
        for task in (receive, hear, speak):
            tasks.start_soon(task)
        data = GuestStream([BIG[:10], BIG[10:]])
        await opened.send(data)
        assert data.closed
    assert got == {"guest": BIG, "peer": BIG}
    peer.close()


async def test_a_half_closed_connection_goes_on_in_the_other_direction() -> None:
    opened, _, _, peer = await Guest("p3").connected()
    await opened.send(GuestStream([b"question"]))
    assert await receive_all(peer) == b"question"
    stream, future = opened.receive()
    peer.sendall(b"answer")
    assert await stream.receive() == b"answer"
    peer.close()
    with pytest.raises(anyio.EndOfStream):
        await stream.receive()
    with pytest.raises(anyio.EndOfStream):
        await stream.receive()
    await future


async def test_send_and_receive_are_for_once() -> None:
    opened, _, _, peer = await Guest("p3").connected()
    with peer:
        first, second = GuestStream([]), GuestStream([b"x"])
        await opened.send(first)
        assert await outcome(opened.send, second) == "invalid-state"
        assert second.closed
        assert second.pieces == [b"x"]
        stream, future = opened.receive()
        closed, refused = opened.receive()
        with pytest.raises(anyio.EndOfStream):
            await closed.receive()
        assert await outcome(lambda: refused) == "invalid-state"
        await stream.aclose()
        await future


async def test_a_read_takes_what_is_there_and_no_more_than_asked_for() -> None:
    opened, _, _, peer = await Guest("p3").connected()
    with peer:
        await anyio.lowlevel.checkpoint()
        peer.sendall(b"hello")
        stream, future = opened.receive()
        assert await stream.receive(2) == b"he"
        assert await stream.receive((1 << 64) - 1) == b"llo"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send_all, peer, BIG)
            size = 0
            while size < len(BIG):
                piece = await stream.receive((1 << 64) - 1)
                assert 0 < len(piece) <= MAX_READ
                size += len(piece)
        await stream.aclose()
        await future


async def test_who_sends_waits_for_who_reads() -> None:
    opened, _, _, peer = await Guest("p3").connected()
    data = Endless()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outcome, opened.send, data)
        await anyio.wait_all_tasks_blocked()
        assert data.taken < 64 << 20
        tasks.cancel_scope.cancel()
    assert data.closed
    opened.close()
    assert not opened.sockets.handles
    peer.close()


async def test_a_reset_is_told_to_both_directions() -> None:
    opened, _, _, peer = await Guest("p3").connected()
    stream, future = opened.receive()
    reset(peer)
    with pytest.raises(anyio.EndOfStream):
        await stream.receive()
    assert await outcome(lambda: future) == "connection-reset"
    assert await outcome(opened.send, GuestStream([b"x"])) == "connection-broken"
    assert await outcome(opened.get_remote_address) == "invalid-state"


@pytest.mark.parametrize("pieces", [[b"x"], []], ids=["something", "nothing"])
async def test_a_reset_is_told_to_who_sends(pieces: list[bytes]) -> None:
    opened, _, _, peer = await Guest("p3").connected()
    reset(peer)
    data = GuestStream(pieces)
    assert await outcome(opened.send, data) == "connection-reset"
    assert data.closed
    stream, future = opened.receive()  # to whom the kernel tells only that it has ended
    with pytest.raises(anyio.EndOfStream):
        await stream.receive()
    assert await outcome(lambda: future) == "connection-reset"


async def test_who_received_the_end_learns_nothing_of_a_later_reset() -> None:
    opened, _, _, peer = await Guest("p3").connected()
    peer.shutdown(socket.SHUT_WR)
    peer.close()
    assert await outcome(opened.send, GuestStream([b"x"])) == "connection-broken"  # answered by a reset
    assert await outcome(opened.get_remote_address) == "invalid-state"
    stream, future = opened.receive()
    with pytest.raises(anyio.EndOfStream):
        await stream.receive()
    assert await outcome(lambda: future) is None


async def test_a_reset_ends_a_send_that_waits() -> None:
    opened, _, _, peer = await Guest("p3").connected()
    data = Endless()
    async with anyio.create_task_group() as tasks:

        async def send() -> None:
            assert await outcome(opened.send, data) == "connection-reset"

        tasks.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        reset(peer)
    assert data.closed


async def test_dropping_what_is_received_leaves_the_rest_of_the_connection() -> None:
    opened, _, _, peer = await Guest("p3").connected()
    with peer:
        peer.sendall(b"unread")
        stream, future = opened.receive()
        stream.on_dropped()
        await future
        await stream.aclose()
        await opened.send(GuestStream([b"still here"]))
        assert await receive_all(peer) == b"still here"


async def test_a_send_whose_future_is_dropped_goes_on() -> None:
    opened, _, _, peer = await Guest("p3").connected()
    sending = opened.send(GuestStream([b"hello"]))
    sending.on_dropped()
    await sending
    assert await receive_all(peer) == b"hello"
    peer.close()


# Who keeps a connection open


async def test_streams_outlive_their_socket() -> None:
    guest = Guest("p3")
    opened, _, _, peer = await guest.connected()
    stream, future = opened.receive()
    sending = opened.send(GuestStream([b"hello"]))
    opened.close()
    opened.close()
    await sending
    assert await receive_all(peer) == b"hello"
    assert len(guest.sockets.handles) == 1
    peer.close()
    assert [piece async for piece in stream] == []
    await future
    assert not guest.sockets.handles


async def test_the_connection_ends_with_its_last_owner() -> None:
    guest = Guest("p3")
    opened, _, _, peer = await guest.connected()
    stream, _ = opened.receive()
    opened.close()
    with pytest.raises(BlockingIOError):
        peer.recv(1)
    stream.on_dropped()
    stream.on_dropped()
    assert await receive_all(peer) == b""
    assert not guest.sockets.handles
    peer.close()


async def test_an_abandoned_socket_closes_itself() -> None:
    guest = Guest("p3")
    opened, _, _, peer = await guest.connected()
    del opened
    assert await receive_all(peer) == b""
    assert not guest.sockets.handles
    peer.close()


# Connecting


async def test_nobody_listens() -> None:
    opened = Guest("p3").tcp()
    assert await outcome(opened.connect, address("127.0.0.1", unused_port())) == "connection-refused"


async def test_no_way_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for number, expected in (
        (errno.ENETUNREACH, "remote-unreachable"),
        (errno.EHOSTUNREACH, "remote-unreachable"),
        (errno.EADDRNOTAVAIL, "address-in-use"),
        (errno.EACCES, "access-denied"),
        (errno.ENOBUFS, "out-of-memory"),
        (errno.EIO, "other"),
    ):
        opened = Guest("p3").tcp()
        monkeypatch.setattr(type(opened.handle.socket), "connect_ex", lambda *_, number=number: number)
        assert await outcome(opened.connect, address("127.0.0.1", 1)) == expected


async def test_a_bound_socket_connects_from_its_address() -> None:
    guest = Guest("p3")
    with socket.create_server(("127.0.0.1", 0)) as server:
        opened = guest.tcp()
        opened.bind(address("127.0.0.2", 0))
        local = opened.get_local_address()
        await opened.connect(address(*server.getsockname()))
        assert opened.get_local_address() == local
        peer, sender = server.accept()
        assert sender == ("127.0.0.2", local.value.port)
        peer.close()


async def test_a_cancelled_connection_attempt_closes_the_socket() -> None:
    guest = Guest("p3")
    opened = guest.tcp()
    with full_listener() as server:
        async with anyio.create_task_group() as tasks:
            connecting = opened.connect(address(*server.getsockname()))
            tasks.start_soon(outcome, lambda: connecting)
            await anyio.wait_all_tasks_blocked()
            assert opened.state is State.CONNECTING
            tasks.cancel_scope.cancel()
    assert opened.state is State.CLOSED
    assert not guest.sockets.handles


async def test_a_socket_that_is_dropped_while_it_connects_ends_the_attempt() -> None:
    opened = Guest("p3").tcp()
    with full_listener() as server:
        async with anyio.create_task_group() as tasks:
            connecting = opened.connect(address(*server.getsockname()))

            async def connect() -> None:
                assert await outcome(lambda: connecting) == "invalid-state"

            tasks.start_soon(connect)
            await anyio.wait_all_tasks_blocked()
            opened.close()
    assert not opened.sockets.handles


# Listening


async def listening(guest: Guest, family: str = "ipv4") -> tuple[Any, Any, tuple[str, int]]:
    opened = guest.tcp(family)
    opened.bind(address(LOCALHOST[family], 0))
    return opened, opened.listen(), (LOCALHOST[family], opened.get_local_address().value.port)


@pytest.mark.parametrize("family", FAMILIES)
async def test_connections_come_one_after_the_other(family: str) -> None:
    guest = Guest("p3")
    opened, connections, place = await listening(guest, family)
    clients = [socket.create_connection(place) for _ in range(3)]
    for client in clients:
        [accepted] = await anext(connections)
        assert accepted.state is State.CONNECTED
        assert accepted.get_local_address() == opened.get_local_address()
        assert accepted.get_remote_address().value.port == client.getsockname()[1]
        await accepted.send(GuestStream([b"hello"]))
        assert await receive_all(client) == b"hello"
        accepted.close()
        client.close()


async def test_accepting_waits_for_a_connection() -> None:
    _, connections, place = await listening(Guest("p3"))
    accepted: list[Any] = []

    async def accept() -> None:
        accepted.extend(await anext(connections))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(accept)
        await anyio.wait_all_tasks_blocked()
        assert not accepted
        client = socket.create_connection(place)
    assert len(accepted) == 1
    client.close()


async def test_a_listener_goes_on_without_its_stream_and_the_stream_without_it() -> None:
    guest = Guest("p3")
    opened, connections, place = await listening(guest)
    connections.on_dropped()
    socket.create_connection(place).close()
    opened.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place)

    opened, connections, place = await listening(guest)
    opened.close()
    with socket.create_connection(place):
        [accepted] = await anext(connections)
    await connections.aclose()
    await connections.aclose()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place)
    assert [*guest.sockets.handles] == [accepted.handle]


async def test_an_address_can_be_listened_at_again_at_once() -> None:
    guest = Guest("p3")
    opened, connections, place = await listening(guest)
    with socket.create_connection(place) as client:
        [accepted] = await anext(connections)
        await accepted.send(GuestStream([b"x"]))
        for each in (accepted, opened):
            each.close()
        connections.on_dropped()
        assert client.recv(9) == b"x"
        again = guest.tcp()
        again.bind(address(*place))
        again.listen()


async def test_a_connection_that_is_gone_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    _, connections, place = await listening(Guest("p3"))
    failures = [OSError(errno.ECONNABORTED, ""), OSError(errno.EPROTO, ""), OSError(errno.EMFILE, "")]
    monkeypatch.setattr(p3, "RETRY_SECONDS", 0)

    def accept(handle: Any) -> Any:
        if failures:
            raise failures.pop(0)
        return tcp.accept(handle)

    monkeypatch.setattr(p3, "accept", accept)
    with socket.create_connection(place):
        assert len(await anext(connections)) == 1
    failures.append(OSError(errno.EBADF, ""))
    with pytest.raises(StopAsyncIteration):
        await anext(connections)


# Limits


@pytest.mark.parametrize(("version", "code"), [("p2", "new-socket-limit"), ("p3", "out-of-memory")])
async def test_open_sockets_are_counted(version: str, code: str) -> None:
    guest = Guest(version, Network(tcp_connect=["*"], udp_send=["*"], max_sockets=2))
    first, second = guest.tcp(), guest.udp()
    assert await outcome(guest.tcp) == code
    assert await outcome(guest.udp) == code
    second.close()
    guest.udp().close()
    first.close()


async def test_no_more_connections_are_accepted_than_sockets_may_be_open() -> None:
    guest = Guest("p3", Network(tcp_bind=["*"], max_sockets=2))
    opened, connections, place = await listening(guest)
    clients = [socket.create_connection(place) for _ in range(2)]
    [first] = await anext(connections)
    accepted: list[Any] = []

    async def accept() -> None:
        accepted.extend(await anext(connections))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(accept)
        await anyio.wait_all_tasks_blocked()
        assert not accepted
        first.close()
    assert len(accepted) == 1
    assert len(guest.sockets.handles) == 2
    opened.close()
    for client in clients:
        client.close()


async def test_pending_connections_are_bounded() -> None:
    guest = Guest("p3")
    opened = guest.tcp()
    opened.set_listen_backlog_size(1)
    opened.bind(address("127.0.0.1", 0))
    connections = opened.listen()
    place = "127.0.0.1", opened.get_local_address().value.port
    clients = [socket.socket() for _ in range(5)]
    for client in clients:
        client.setblocking(False)
        client.connect_ex(place)
    for _ in range(2):
        await anext(connections)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anext, connections)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    for client in clients:
        client.close()

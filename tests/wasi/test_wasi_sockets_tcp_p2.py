"""TCP in WASI 0.2: real traffic on the loopback through `wasi:io` streams and pollables."""

from __future__ import annotations

import os
import socket
from typing import Any

import anyio
import pytest
from socket_fakes import FAMILIES, LOCALHOST, Guest, address, full_listener, receive_all, reset, unused_port
from wasi_fakes import finish, outcome

from p3host.errors import Err
from p3host.wasi.p2 import sockets as p2
from p3host.wasi.p2 import tcp as p2_tcp
from p3host.wasi.p2.io import Error, LastOperationFailed, poll
from p3host.wasi.sockets.network import Network
from p3host.wasi.sockets.tcp import State

pytestmark = pytest.mark.anyio

BIG = os.urandom(1 << 20)


async def read_all(incoming: Any) -> bytes:
    data = b""
    while (piece := await outcome(incoming.blocking_read, 1 << 60)) != "closed":
        data += piece
    return data


async def write_all(outgoing: Any, data: bytes) -> None:
    """As a guest does that may not be held: no write waits."""
    while data:
        permitted = outgoing.check_write()
        if not permitted:
            await finish(outgoing.subscribe().block())
            continue
        piece, data = data[:permitted], data[permitted:]
        assert outgoing.write(piece) is None
    outgoing.flush()


async def listening(guest: Guest, family: str = "ipv4") -> tuple[Any, tuple[str, int]]:
    opened = guest.tcp(family)
    guest.bind(opened, address(LOCALHOST[family], 0))
    guest.listen(opened)
    return opened, (LOCALHOST[family], opened.local_address().value.port)


@pytest.mark.parametrize("family", FAMILIES)
async def test_bytes_go_both_ways_at_once(family: str) -> None:
    opened, incoming, outgoing, peer = await Guest("p2").connected(family)
    got: dict[str, bytes] = {}

    async def receive() -> None:
        got["guest"] = await read_all(incoming)

    async def hear() -> None:
        got["peer"] = await receive_all(peer)

    async def speak() -> None:
        rest = memoryview(BIG)
        while rest:
            try:
                rest = rest[peer.send(rest) :]
            except BlockingIOError:
                await anyio.wait_writable(peer)
        peer.shutdown(socket.SHUT_WR)

    async with anyio.create_task_group() as tasks:
        for task in (receive, hear, speak):
            tasks.start_soon(task)
        await write_all(outgoing, BIG)
        opened.shutdown("send")
    assert got == {"guest": BIG, "peer": BIG}
    peer.close()


@pytest.mark.parametrize("size", [1, 4096, None], ids=["smallest-buffer", "small-buffer", "default-buffer"])
async def test_a_permitted_write_never_waits(size: int | None) -> None:
    opened, _, outgoing, peer = await Guest("p2").connected()
    with peer:
        if size is not None:
            opened.set_send_buffer_size(size)
        pollable = outgoing.subscribe()
        written = 0
        while permitted := outgoing.check_write():
            assert outgoing.write(bytes(permitted)) is None
            written += permitted
        assert written > 0
        assert not pollable.ready()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(finish, pollable.block())
            await anyio.wait_all_tasks_blocked()
            seen = 0
            while seen < written:
                seen += len(peer.recv(1 << 20))
        assert outgoing.check_write() > 0


async def test_reading_waits_for_bytes() -> None:
    _, incoming, _, peer = await Guest("p2").connected()
    with peer:
        pollable = incoming.subscribe()
        assert incoming.read(5) == b""
        assert not pollable.ready()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(finish, pollable.block())
            tasks.start_soon(finish, incoming.subscribe().block())  # two who wait for one thing
            await anyio.wait_all_tasks_blocked()
            peer.sendall(b"hello")
        assert incoming.read(2) == b"he"
        assert incoming.skip(1) == 1
        assert incoming.read(1 << 60) == b"lo"
        peer.shutdown(socket.SHUT_WR)
        assert await outcome(incoming.blocking_read, 1) == "closed"


async def test_a_wait_that_was_cancelled_can_be_repeated() -> None:
    _, incoming, outgoing, peer = await Guest("p2").connected()
    with peer:
        for _ in range(2):
            assert await finish(poll([incoming.subscribe(), outgoing.subscribe(), incoming.subscribe()])) == [1]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(finish, poll([incoming.subscribe(), incoming.subscribe()]))
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        peer.sendall(b"x")
        assert await finish(poll([incoming.subscribe()])) == [0]


SHUT = [
    ("receive", True, False),
    ("send", False, True),
    ("both", True, True),
]


@pytest.mark.parametrize(("direction", "in_closed", "out_closed"), SHUT)
async def test_shutdown_closes_its_streams(direction: str, in_closed: bool, out_closed: bool) -> None:
    opened, incoming, outgoing, peer = await Guest("p2").connected()
    with peer:
        peer.sendall(b"unread")
        for _ in range(2):
            opened.shutdown(direction)
        assert (await outcome(incoming.read, 9)) == ("closed" if in_closed else b"unread")
        assert (await outcome(outgoing.check_write) == "closed") is out_closed
        assert opened.state is State.CONNECTED
        if out_closed:
            assert peer.recv(1) == b""


async def test_shutdown_after_the_stream_was_dropped_reaches_the_peer() -> None:
    opened, _, outgoing, peer = await Guest("p2").connected()
    with peer:
        outgoing.close()
        with pytest.raises(BlockingIOError):
            peer.recv(1)
        opened.shutdown("send")
        assert peer.recv(1) == b""


async def test_a_reset_is_told_with_its_error_code() -> None:
    opened, incoming, outgoing, peer = await Guest("p2").connected()
    reset(peer)
    with pytest.raises(Err) as raised:
        await finish(incoming.blocking_read(1))
    failure = raised.value.value
    assert isinstance(failure, LastOperationFailed)
    assert p2.NetworkTypes().network_error_code(failure.value) == "connection-reset"
    assert await outcome(incoming.read, 1) == "closed"
    assert outgoing.check_write() > 0
    assert await outcome(outgoing.write, b"x") == "last-operation-failed"
    assert await outcome(outgoing.check_write) == "closed"
    opened.shutdown("both")


def test_other_errors_have_no_error_code() -> None:
    assert p2.NetworkTypes().network_error_code(Error(OSError("odd"))) is None


async def test_streams_outlive_their_socket() -> None:
    guest = Guest("p2")
    opened, incoming, outgoing, peer = await guest.connected()
    pollable = opened.subscribe()
    opened.close()
    assert pollable.ready()
    await write_all(outgoing, b"hello")
    outgoing.close()
    assert peer.recv(9) == b"hello"
    peer.sendall(b"answer")
    assert await finish(incoming.blocking_read(9)) == b"answer"
    assert len(guest.sockets.handles) == 1
    incoming.close()
    assert not guest.sockets.handles
    assert peer.recv(1) == b""
    peer.close()


async def test_a_connection_takes_its_time() -> None:
    guest = Guest("p2")
    opened = guest.tcp()
    with full_listener() as server:
        opened.start_connect(None, address(*server.getsockname()))
        pollable = opened.subscribe()
        assert not pollable.ready()
        assert await outcome(opened.finish_connect) == "would-block"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(finish, pollable.block())
            await anyio.wait_all_tasks_blocked()
            opened.close()
    assert not guest.sockets.handles


async def test_nobody_listens() -> None:
    guest = Guest("p2")
    opened = guest.tcp()
    assert await outcome(guest.connect, opened, address("127.0.0.1", unused_port())) == "connection-refused"


@pytest.mark.parametrize("family", FAMILIES)
async def test_connections_are_accepted(family: str) -> None:
    guest = Guest("p2")
    opened, place = await listening(guest, family)
    pollable = opened.subscribe()
    assert not pollable.ready()
    assert await outcome(opened.accept) == "would-block"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(finish, pollable.block())
        await anyio.wait_all_tasks_blocked()
        client = socket.create_connection(place)
    accepted, incoming, outgoing = opened.accept()
    assert accepted.remote_address().value.port == client.getsockname()[1]
    assert accepted.subscribe().ready()
    await write_all(outgoing, b"hello")
    accepted.shutdown("send")
    assert await receive_all(client) == b"hello"
    client.close()
    assert await read_all(incoming) == b""
    assert await outcome(opened.accept) == "would-block"


async def test_accepting_fails_where_too_many_sockets_are_open() -> None:
    guest = Guest("p2", Network(tcp_bind=["*"], max_sockets=2))
    opened, place = await listening(guest)
    with socket.create_connection(place), socket.create_connection(place):
        accepted, *streams = opened.accept()
        assert await outcome(opened.accept) == "new-socket-limit"
        for each in (accepted, *streams):
            each.close()
        opened.accept()


async def test_a_connection_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, _ = await listening(Guest("p2"))

    def accept(handle: Any) -> Any:
        raise OSError(next(iter(p2_tcp.CONNECTION_ERRORS)), "")

    monkeypatch.setattr(p2_tcp, "accept", accept)
    assert await outcome(opened.accept) == "connection-aborted"
    assert opened.state is State.LISTENING

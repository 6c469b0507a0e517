"""A C guest in blocking code that talks TCP over WASI 0.3, with the loopback at the other end."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketListener, SocketStream
from socket_guests import check_echo, running

from p3host import Network

pytestmark = pytest.mark.anyio

NAME = "c-sockets"


async def test_guest_echoes_although_it_keeps_nothing_but_the_streams() -> None:
    async with running(NAME, Network.loopback()) as guest:
        await check_echo(guest)


async def test_connections_wait_for_the_guest_to_accept_them() -> None:
    async with running(NAME, Network.loopback()) as guest:
        port = await guest.listen()
        peers = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(3)]
        for number, peer in enumerate(peers):
            async with peer:
                await peer.send(b"%d" % number)
                await peer.send_eof()
                assert await guest.echo() == 1
                assert b"".join([piece async for piece in peer]) == b"%d" % number


@asynccontextmanager
async def serving_one(handle: Callable[[SocketStream], Awaitable[None]]) -> AsyncIterator[int]:
    """The port at which one connection is served; the block ends when it has been."""
    listeners = await anyio.create_tcp_listener(local_host="127.0.0.1")
    [listener] = listeners.listeners

    async def serve() -> None:
        assert isinstance(listener, SocketListener)
        async with listener, await listener.accept() as peer:
            await handle(peer)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        yield listener.extra(SocketAttribute.local_port)


@pytest.mark.parametrize("count", [0, 1, 65537, 3 << 20])
async def test_guest_sends_and_receives(count: int) -> None:
    received: list[int] = []

    async def take(peer: SocketStream) -> None:
        received.append(sum([len(piece) async for piece in peer]))

    async def give(peer: SocketStream) -> None:
        await peer.send(bytes(count))

    async with running(NAME, Network(tcp_connect=["127.0.0.1"])) as guest:
        async with serving_one(take) as port:
            assert await guest.push(port, count) == count
        assert received == [count]
        async with serving_one(give) as port:
            assert await guest.pull(port) == count


async def test_without_a_grant_nothing_is_reached() -> None:
    async with running(NAME, Network(tcp_connect=["127.0.0.1:1"])) as guest:
        assert await guest.listen() == 0
        with socket.create_server(("127.0.0.1", 0)) as server:
            assert await guest.push(server.getsockname()[1], 1) == 0
            server.setblocking(False)
            with pytest.raises(BlockingIOError):
                server.accept()


async def test_leaving_the_block_closes_a_listener_that_was_never_asked() -> None:
    async with running(NAME, Network.loopback()) as guest:
        port = await guest.listen()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


async def test_leaving_the_block_closes_all_sockets() -> None:
    async with running(NAME, Network.loopback()) as guest:
        port = await guest.listen()
        peer = socket.create_connection(("127.0.0.1", port))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(guest.echo)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    with peer:
        peer.settimeout(10)
        assert peer.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))

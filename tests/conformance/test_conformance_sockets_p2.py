"""A C guest that talks TCP and UDP over WASI 0.2, with the loopback at the other end."""

from __future__ import annotations

import socket
from typing import Any

import anyio
import pytest
from socket_guests import check_echo, running

from p3host import Network

pytestmark = pytest.mark.anyio

NAME = "c-sockets-p2"


async def test_guest_echoes_while_the_loop_goes_on() -> None:
    async with running(NAME, Network.loopback()) as guest:
        await check_echo(guest)


async def test_guest_connects_and_receives() -> None:
    async with running(NAME, Network(tcp_connect=["127.0.0.1"])) as guest:
        with socket.create_server(("127.0.0.1", 0)) as server:

            async def give() -> None:
                await anyio.wait_readable(server)
                peer, _ = server.accept()
                with peer:
                    peer.sendall(bytes(1000))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(give)
                assert await guest.pull(server.getsockname()[1]) == 1000


async def test_a_call_that_waits_for_a_connection_is_given_up() -> None:
    async with running(NAME, Network.loopback()) as guest:
        port = await guest.listen()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(guest.echo)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


async def test_guest_reflects_datagrams() -> None:
    async with running(NAME, Network.loopback()) as guest:
        port = await guest.bind()
        async with await anyio.create_connected_udp_socket("127.0.0.1", port) as peer:
            for data in (b"hello", bytes(9000)):
                await peer.send(data)
                assert await guest.reflect() == len(data)
                assert await peer.receive() == data


async def test_guest_looks_names_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(host: bytes, port: None, *, type: int) -> list[Any]:
        return [(socket.AF_INET, type, 6, "", ("192.0.2.7", 0))]

    async with running(NAME, Network(lookup=["example.com"])) as guest:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", getaddrinfo)
            assert await guest.resolve("example.com") == 0xC0000207
        assert await guest.resolve("198.51.100.9") == 0xC6336409
        assert await guest.resolve("example.org") == 0


async def test_without_a_grant_nothing_is_reached() -> None:
    async with running(NAME, Network(tcp_connect=["127.0.0.1:1"])) as guest:
        assert await guest.listen() == 0
        assert await guest.bind() == 0
        assert await guest.resolve("localhost") == 0
        with socket.create_server(("127.0.0.1", 0)) as server:
            assert await guest.pull(server.getsockname()[1]) == 0
            server.setblocking(False)
            with pytest.raises(BlockingIOError):
                server.accept()

"""A C guest that talks TCP and UDP over WASI 0.2, with the loopback at the other end."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from p3host import Component, Network, Wasi

pytestmark = pytest.mark.anyio

GUEST = Path(__file__).resolve().parents[2] / "guests" / "c-sockets-p2" / "c-sockets-p2.wasm"
INTERFACE = "p3host:c-sockets-p2/guest@0.1.0"
BIG = os.urandom(3 << 20)


@pytest.fixture(scope="module")
def component() -> Component:
    return Component.load(GUEST)


@asynccontextmanager
async def instance(component: Component, network: Network) -> AsyncIterator[Any]:
    async with component.instantiate(wasi=Wasi(network=network), grace_seconds=0.01, detect_deadlock=True) as running:
        yield running.exports[INTERFACE]


async def test_guest_echoes_while_the_loop_goes_on(component: Component) -> None:
    received = b""
    async with instance(component, Network.loopback()) as guest:
        port = await guest.listen()
        async with await anyio.connect_tcp("127.0.0.1", port) as peer, anyio.create_task_group() as tasks:

            async def speak() -> None:
                await peer.send(BIG)
                await peer.send_eof()

            async def hear() -> None:
                nonlocal received
                async for piece in peer:
                    received += piece

            tasks.start_soon(speak)
            tasks.start_soon(hear)
            assert await guest.echo() == len(BIG)
    assert received == BIG


async def test_guest_connects_and_receives(component: Component) -> None:
    async with instance(component, Network(tcp_connect=["127.0.0.1"])) as guest:
        with socket.create_server(("127.0.0.1", 0)) as server:

            async def give() -> None:
                await anyio.wait_readable(server)
                peer, _ = server.accept()
                with peer:
                    peer.sendall(bytes(1000))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(give)
                assert await guest.pull(server.getsockname()[1]) == 1000


async def test_a_call_that_waits_for_a_connection_is_given_up(component: Component) -> None:
    async with instance(component, Network.loopback()) as guest:
        port = await guest.listen()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(guest.echo)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


async def test_guest_reflects_datagrams(component: Component) -> None:
    async with instance(component, Network.loopback()) as guest:
        port = await guest.bind()
        async with await anyio.create_connected_udp_socket("127.0.0.1", port) as peer:
            for data in (b"hello", bytes(9000)):
                await peer.send(data)
                assert await guest.reflect() == len(data)
                assert await peer.receive() == data


async def test_guest_looks_names_up(component: Component, monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(host: bytes, port: None, *, type: int) -> list[Any]:
        return [(socket.AF_INET, type, 6, "", ("192.0.2.7", 0))]

    async with instance(component, Network(lookup=["example.com"])) as guest:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", getaddrinfo)
            assert await guest.resolve("example.com") == 0xC0000207
        assert await guest.resolve("198.51.100.9") == 0xC6336409
        assert await guest.resolve("example.org") == 0


async def test_without_a_grant_nothing_is_reached(component: Component) -> None:
    async with instance(component, Network(tcp_connect=["127.0.0.1:1"])) as guest:
        assert await guest.listen() == 0
        assert await guest.bind() == 0
        assert await guest.resolve("localhost") == 0
        with socket.create_server(("127.0.0.1", 0)) as server:
            assert await guest.pull(server.getsockname()[1]) == 0
            server.setblocking(False)
            with pytest.raises(BlockingIOError):
                server.accept()

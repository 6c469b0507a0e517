"""Sockets of 0.3 among peers that come, go and break off at any moment, and in a process that has no room for more:
nothing is left open, and nothing goes round in circles."""

from __future__ import annotations

import os
import resource
import socket
from random import Random
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from socket_fakes import Guest, address, receive_all, reset
from wasi_fakes import outcome

from p3host.wasi.p3 import sockets as p3

pytestmark = pytest.mark.anyio

PEERS = int(os.environ.get("P3HOST_STORM", "100"))
SECONDS = 60
CODES = {None, "connection-reset", "connection-broken", "connection-aborted", "invalid-state"}


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def listen(guest: Guest) -> tuple[Any, Any, tuple[str, int]]:
    opened = guest.tcp()
    opened.bind(address("127.0.0.1", 0))
    connections = opened.listen()
    return opened, connections, ("127.0.0.1", opened.get_local_address().value.port)


class Returned:
    """What was received, to be sent: a `stream<u8>` of the guest's, which may break off."""

    def __init__(self, stream: Any, random: Random) -> None:
        self.stream = stream
        self.random = random

    async def read(self, max_count: int) -> bytes:
        if self.random.random() < 0.1:
            return b""
        try:
            received: bytes = await self.stream.receive(max_count)
        except anyio.EndOfStream:
            return b""
        return received

    def close(self) -> None:
        self.stream.on_dropped()


async def serve(accepted: Any, random: Random) -> None:
    """Sends back what comes, or gives up at some point; in the end it has dropped all of its ends."""
    stream, received = accepted.receive()
    sent = accepted.send(Returned(stream, random))
    if random.random() < 0.3:
        accepted.close()  # the streams go on
    with anyio.move_on_after(random.choice([0, 0.001, 0.01, SECONDS])):
        assert await outcome(lambda: sent) in CODES
    stream.on_dropped()
    assert await outcome(lambda: received) in CODES
    accepted.close()


async def visit(place: tuple[str, int], random: Random) -> None:
    peer = socket.socket()
    peer.setblocking(False)
    peer.connect_ex(place)
    with anyio.fail_after(SECONDS):
        await anyio.wait_writable(peer)
        if random.random() < 0.2:
            reset(peer)
            return
        try:
            for _ in range(random.randint(0, 4)):
                try:
                    peer.send(random.randbytes(random.choice([1, 1000, 100_000])))
                except BlockingIOError:
                    await anyio.wait_writable(peer)
                await anyio.lowlevel.checkpoint()
            match random.choice(["reset", "close", "end", "stall"]):
                case "reset":
                    reset(peer)
                case "end":
                    peer.shutdown(socket.SHUT_WR)
                    await receive_all(peer)
                case "stall":
                    await anyio.sleep(0.02)
        except OSError:
            pass
        finally:
            peer.close()


async def test_nothing_is_left_of_peers_that_break_off() -> None:
    guest = Guest("p3")
    files = open_files()
    opened, connections, place = listen(guest)
    random = Random(0)

    async def accept() -> None:
        async with anyio.create_task_group() as tasks:
            async for accepted in connections:
                tasks.start_soon(serve, accepted[0], Random(random.random()))

    async with anyio.create_task_group() as accepting:
        accepting.start_soon(accept)
        async with anyio.create_task_group() as peers:
            for number in range(PEERS):
                peers.start_soon(visit, place, Random(number))
        with anyio.fail_after(SECONDS):
            await visit(place, Random(0))
        connections.on_dropped()
        opened.close()
    assert not guest.sockets.handles
    assert open_files() == files


async def test_a_stream_of_connections_can_be_dropped_while_they_come() -> None:
    guest = Guest("p3")
    for turns in range(20):
        opened, connections, place = listen(guest)
        peers = [socket.create_connection(place) for _ in range(3)]
        async with anyio.create_task_group() as tasks:

            async def accept(connections: Any = connections) -> None:
                async for accepted in connections:
                    accepted[0].close()

            tasks.start_soon(accept)
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            connections.on_dropped()
            opened.close()
        assert not guest.sockets.handles
        for peer in peers:
            peer.close()


async def test_a_process_without_file_descriptors_accepts_when_it_has_some_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempts = 0
    accept_now = p3.accept

    def accept(handle: Any) -> Any:
        nonlocal attempts
        attempts += 1
        return accept_now(handle)

    monkeypatch.setattr(p3, "accept", accept)
    opened, connections, place = listen(Guest("p3"))
    with socket.create_connection(place):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        accepted: list[Any] = []

        async def take() -> None:
            accepted.extend(await anext(connections))

        async with anyio.create_task_group() as tasks:
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
            try:
                tasks.start_soon(take)
                await anyio.sleep(3 * p3.RETRY_SECONDS)
                assert not accepted
                assert 0 < attempts < 6
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert len(accepted) == 1
        accepted[0].close()
    opened.close()
    connections.on_dropped()

"""Any sequence of calls, in any state: each has a result or an error code, and in the end everything is closed."""

from __future__ import annotations

import gc
import inspect
import os
import random
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from socket_fakes import FAMILIES, LOCALHOST, OTHER, VERSIONS, Guest, address, datagram_peer, listener
from wasi_fakes import GuestStream

from p3host.errors import Err
from p3host.wasi.network import Network

pytestmark = pytest.mark.anyio

STEPS = 100
TCP = {
    "p2": """start_bind finish_bind start_connect finish_connect start_listen finish_listen accept shutdown subscribe
        local_address remote_address is_listening set_listen_backlog_size hop_limit set_hop_limit""",
    "p3": """bind connect listen send receive get_local_address get_remote_address get_is_listening
        set_listen_backlog_size get_hop_limit set_hop_limit""",
}
UDP = {
    "p2": """start_bind finish_bind stream subscribe local_address remote_address unicast_hop_limit
        set_unicast_hop_limit""",
    "p3": """bind connect disconnect send receive get_local_address get_remote_address get_unicast_hop_limit
        set_unicast_hop_limit""",
}


class Player:
    """A guest that calls at random whatever it has."""

    def __init__(self, version: str, chance: random.Random, addresses: list[Any]) -> None:
        self.guest = Guest(version, Network(**{**vars_of(Network.all()), "max_sockets": 12}))
        self.version = version
        self.chance = chance
        self.addresses = addresses
        self.things: list[Any] = []
        self.succeeded = 0

    def argument(self, name: str) -> Any:
        choose = self.chance.choice
        match name:
            case "local_address" | "remote_address":
                return choose(self.addresses)
            case "network":
                return None
            case "data" if self.version == "p3":
                return choose([b"hello", bytes(70000)])
            case "datagrams":
                return [SimpleNamespace(data=b"x", remote_address=choose([None, *self.addresses]))] * choose([0, 1])
            case "shutdown_type":
                return choose(["receive", "send", "both"])
            case "contents":
                return b"x" * choose([0, 1])
            case _:
                return choose([0, 1, 2, 255])

    async def step(self) -> None:
        made = len(self.things)
        if not made or self.chance.random() < 0.15:
            opener = self.chance.choice([self.guest.tcp, self.guest.udp])
            await self.call(lambda: opener(self.chance.choice(FAMILIES)))
            return
        thing = self.chance.choice(self.things)
        if self.chance.random() < 0.1:
            self.things.remove(thing)
            await close(thing)
            return
        if hasattr(thing, "__anext__"):
            await self.call(lambda: anext(thing))
            return
        if hasattr(thing, "outcome"):
            await self.call(lambda: thing.receive(5))
            return
        if hasattr(thing, "state"):
            names = TCP[self.version].split()
        elif hasattr(thing, "is_bound"):
            names = UDP[self.version].split()
        else:
            known = ("read", "check_write", "receive", "check_send", "ready")
            names = [name for name in known if hasattr(thing, name)]
        method = getattr(thing, self.chance.choice(names))
        arguments = [self.argument(name) for name in inspect.signature(method).parameters]
        if method.__name__ == "send" and hasattr(thing, "state"):
            arguments = [GuestStream([b"hello"] * self.chance.choice([0, 1]))]
        await self.call(lambda: method(*arguments))

    async def call(self, function: Any) -> None:
        """Gives up what has to wait when nothing else goes on."""
        try:
            answer = function()
            if inspect.isawaitable(answer):
                answer = await self.wait(answer)
            self.succeeded += 1
        except (Err, StopAsyncIteration, anyio.EndOfStream):
            return
        for thing in answer if isinstance(answer, tuple | list) else [answer]:
            if inspect.iscoroutine(thing):
                thing.close()
            elif not inspect.isawaitable(thing) and (hasattr(thing, "close") or hasattr(thing, "on_dropped")):
                self.things.append(thing)

    async def wait(self, answer: Any) -> Any:
        result: Any = None
        failure: Exception | None = None

        async def work() -> None:
            nonlocal result, failure
            try:
                result = await answer
            except Exception as error:
                failure = error

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return result


def vars_of(network: Network) -> dict[str, Any]:
    return {name: getattr(network, name) for name in ("tcp_connect", "tcp_bind", "udp_send", "udp_bind", "lookup")}


async def close(thing: Any) -> None:
    if hasattr(thing, "aclose"):
        await thing.aclose()
    else:
        thing.close()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("seed", range(4))
async def test_sequence(version: str, seed: int) -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    with listener("ipv4") as server, listener("ipv6") as server6, datagram_peer() as peer:
        addresses = [address(*each.getsockname()) for each in (server, server6, peer)]
        addresses += [address(LOCALHOST[family], 0) for family in (*FAMILIES, *OTHER)]
        player = Player(version, random.Random(seed), addresses)
        for _ in range(STEPS):
            await player.step()
        for thing in player.things:
            await close(thing)
        assert player.succeeded > STEPS // 5
        assert not player.guest.sockets.handles
    assert len(os.listdir("/proc/self/fd")) == before

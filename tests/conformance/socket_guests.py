"""The C guests that talk over sockets, and a peer on the loopback."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from c_guests import guest

from p3host import Network, Wasi

BIG = os.urandom(3 << 20)


@asynccontextmanager
async def running(name: str, network: Network) -> AsyncIterator[Any]:
    """What the guest exports, while the block lasts."""
    async with guest(name).instantiate(
        wasi=Wasi(network=network), grace_seconds=0.01, detect_deadlock=True
    ) as instance:
        yield instance.exports[f"p3host:{name}/guest@0.1.0"]


async def check_echo(exports: Any) -> None:
    """Sends a lot to the guest's listener, and hears all of it again."""
    received = b""
    port = await exports.listen()
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
        assert await exports.echo() == len(BIG)
    assert received == BIG

"""The documented example: a lost update that plain runs don't show, and exploration finds."""

from __future__ import annotations

import anyio
import pytest

from p3host.testing import Testbed

COUNTER = "guests/text/counter.wat"


async def three_increments(testbed: Testbed) -> None:
    recorded: list[int] = []
    async with testbed.instantiate(COUNTER, {"record": recorded.append}) as guest:
        async with anyio.create_task_group() as calls:
            for _ in range(3):
                calls.start_soon(guest.exports.increment)
        assert await guest.exports.value() == 3


@pytest.mark.virtual_time
async def test_plain(testbed: Testbed) -> None:
    await three_increments(testbed)


@pytest.mark.explore
async def test_explored(testbed: Testbed) -> None:
    await three_increments(testbed)

"""Guests that break a rule: each ends in a trap that names it, and nothing else is harmed."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest
from guest_text import load
from hostile_guests import (
    CALLBACK_ATTACKS,
    HOSTILE,
    LATE_ATTACKS,
    SYNC_ATTACKS,
    assert_traps,
    bystander,
    hostile_imports,
)

from p3host import Trap

pytestmark = pytest.mark.anyio

ATTACKS = [(name, message) for name, (*_, message) in (SYNC_ATTACKS | CALLBACK_ATTACKS).items()]


@pytest.mark.parametrize(("name", "message"), ATTACKS, ids=[name for name, _ in ATTACKS])
async def test_guest_that_breaks_a_rule_traps(name: str, message: str) -> None:
    got: list[Any] = []
    await assert_traps(HOSTILE, name, f"(?i){message}", imports=hostile_imports(got))
    assert not got


async def test_string_at_the_very_end_of_memory_is_no_attack() -> None:
    got: list[Any] = []
    async with load(HOSTILE).instantiate(hostile_imports(got)) as instance:
        assert await instance.exports.fine() == 1
        await instance.exports.empty()
    assert got == ["\0\0", ""]


async def test_task_that_blocks_and_never_returns_a_value_traps() -> None:
    await assert_traps(HOSTILE, "no-return-stackful", "without calling task.return", imports=hostile_imports([]))


@pytest.mark.parametrize(("name", "message"), [(name, message) for name, (*_, message) in LATE_ATTACKS.items()])
async def test_trap_after_the_result_leaves_the_result_to_its_caller_and_fails_the_others(
    name: str, message: str
) -> None:
    failed = anyio.Event()

    async def call_another(exports: Any) -> None:
        with pytest.raises(Trap, match=f"(?i){message}"):
            await exports.waits()
        failed.set()

    async with bystander(), load(HOSTILE).instantiate(hostile_imports([])) as instance:
        async with anyio.create_task_group() as group:
            group.start_soon(call_another, instance.exports)
            await anyio.lowlevel.checkpoint()
            assert await instance.exports[name]() == 1
            with anyio.fail_after(1):
                await failed.wait()
        with pytest.raises(Trap, match="after it trapped"):
            await instance.exports[name]()

"""What is left of a call that has ended: its result lives no longer than the caller wants, without the collector."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from p3host import Component

pytestmark = pytest.mark.anyio

GUEST = Path(__file__).parents[2] / "guests" / "text" / "bench.wat"
CALLS = 100


@pytest.mark.parametrize(
    ("export", "arguments"),
    [("add", (1, 2)), ("echo", ("text",)), ("call-now", ()), ("sync-add", (1, 2)), ("sync-echo", ("text",))],
)
async def test_ended_call_is_no_garbage(export: str, arguments: tuple[object, ...]) -> None:
    async with Component.load(GUEST).instantiate({"host-now": lambda: 7}) as instance:
        function = instance.exports[export]
        await function(*arguments)
        gc.collect()
        gc.freeze()  # what is there already takes no time any more
        gc.disable()
        try:
            for _ in range(CALLS):
                await function(*arguments)
            assert gc.collect() < CALLS
        finally:
            gc.enable()
            gc.unfreeze()

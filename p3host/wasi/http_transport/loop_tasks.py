"""Tasks that outlive the one which started them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any

import anyio

running: set[LoopTask] = set()  # the event loop alone would not keep them


class LoopTask:
    """Runs `work`, which raises nothing, until it ends or is closed; at the latest, until the event loop ends. A task
    group would have to be left in the task that entered it."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.work = work
        self.scope = anyio.CancelScope()
        self.ended = anyio.Event()
        self.task: object = spawn(self.run)
        running.add(self)

    async def run(self) -> None:
        try:
            with self.scope:
                await self.work()
        finally:
            running.discard(self)
            self.ended.set()

    async def aclose(self) -> None:
        """Cancels it, and returns when it has ended."""
        self.scope.cancel()
        with anyio.CancelScope(shield=True):
            await self.ended.wait()


def spawn(function: Callable[[], Coroutine[Any, Any, None]]) -> object:
    """Starts a task of the event loop's own, which anyio has no function for."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        import trio

        return trio.lowlevel.spawn_system_task(function, context=copy_context())
    return loop.create_task(function())

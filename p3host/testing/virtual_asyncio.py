"""An asyncio event loop in virtual time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import Context
from math import inf
from typing import Any, TypeVar

from .virtual_time import VirtualTime

T = TypeVar("T")


class IdleSelector(selectors.DefaultSelector):
    """Tells the virtual time when the loop would wait, in place of waiting."""

    def __init__(self, virtual_time: VirtualTime) -> None:
        super().__init__()
        self.virtual_time = virtual_time

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        virtual_time = self.virtual_time
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            virtual_time.ran()
            return events
        pause = virtual_time.rest(None if timeout is None else virtual_time.now + timeout)
        return [] if pause == 0 else super().select(pause)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop in virtual time."""

    def __init__(self) -> None:
        self.virtual_time = VirtualTime()
        super().__init__(IdleSelector(self.virtual_time))

    def time(self) -> float:
        return self.virtual_time.now

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """A timer that never fires is none: asyncio would look at it once a day, and time would jump to that."""
        if when == inf:
            return asyncio.TimerHandle(when, callback, args, self, context)
        return super().call_at(when, callback, *args, context=context)

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        future: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        self.virtual_time.executor_calls += 1
        future.add_done_callback(self.executor_call_ended)
        return future

    def executor_call_ended(self, future: asyncio.Future[Any]) -> None:
        self.virtual_time.executor_calls -= 1

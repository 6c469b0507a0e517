"""What goes on beside the calls of a guest: tasks of the host's that belong to its instance, and end with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import anyio


class BackgroundTask(Protocol):
    def cancel(self) -> None: ...


class Background(Protocol):
    """An instance, as far as it runs tasks."""

    def start_task(self, name: str, run: Callable[[], Awaitable[None]], /) -> BackgroundTask:
        """Has `run` awaited, soon. What it raises traps the instance."""
        ...


class Finishing:
    """Work that is to be finished although it is cancelled with its instance, as guests were told that it is done. The
    end of the instance waits for it, unless that is cancelled too."""

    def __init__(self) -> None:
        self.working = 0
        self.given_up = False
        self.shields: set[anyio.CancelScope] = set()
        self.idle: anyio.Event | None = None

    @contextmanager
    def work(self) -> Iterator[None]:
        """A block whose end is waited for."""
        self.working += 1
        try:
            yield
        finally:
            self.working -= 1
            if self.working == 0 and self.idle is not None:
                self.idle.set()

    @contextmanager
    def shield(self) -> Iterator[None]:
        """A block within such work that is not cancelled until the work is given up."""
        with anyio.CancelScope(shield=not self.given_up) as scope:
            self.shields.add(scope)
            try:
                yield
            finally:
                self.shields.discard(scope)

    async def finish(self) -> None:
        """Waits for all work. It is given up if this is cancelled."""
        try:
            while self.working:
                self.idle = anyio.Event()
                await self.idle.wait()
        except BaseException:
            self.give_up()
            raise

    def give_up(self) -> None:
        self.given_up = True
        for scope in self.shields:
            scope.shield = False


class LateBackground:
    """The background of an instance that is there only when its guests run: providers are made before that."""

    def __init__(self) -> None:
        self.instance: Background | None = None
        self.finishing = Finishing()

    def start_task(self, name: str, run: Callable[[], Awaitable[None]]) -> BackgroundTask:
        if self.instance is None:
            raise RuntimeError(f"{name} can't begin before the instance runs")
        return self.instance.start_task(name, run)

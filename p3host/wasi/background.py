"""What goes on beside the calls of a guest: tasks of the host's that belong to its instance, and end with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol


class BackgroundTask(Protocol):
    def cancel(self) -> None: ...


class Background(Protocol):
    """An instance, as far as it runs tasks."""

    def start_task(self, name: str, run: Callable[[], Awaitable[None]], /) -> BackgroundTask:
        """Has `run` awaited, soon. What it raises traps the instance."""
        ...


class LateBackground:
    """The background of an instance that is there only when its guests run: providers are made before that."""

    def __init__(self) -> None:
        self.instance: Background | None = None

    def start_task(self, name: str, run: Callable[[], Awaitable[None]]) -> BackgroundTask:
        if self.instance is None:
            raise RuntimeError(f"{name} can't begin before the instance runs")
        return self.instance.start_task(name, run)

"""The host of the guests under test: what it gives them, and whether it has all of it back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import anyio

from p3host.component import Instance

SILENT = ("borrow-file", "many", "list", "string", "give-error", "lend-and-give", "give-and-lend", "give-twice")


class Host:
    """The imports, and what becomes of all that the host gave to one instance."""

    def __init__(self, mode: int = -1 % 2**32) -> None:
        self.mode = mode
        self.given: list[Any] = []
        self.waiting = 0
        self.files: list[HostFile] = []

    @contextmanager
    def counted(self) -> Iterator[None]:
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    async def wait(self, ms: int) -> int:
        with self.counted():
            await anyio.sleep(ms)
        return ms

    async def lend(self, file: HostFile) -> None:
        assert file in self.files
        with self.counted():
            await anyio.sleep_forever()

    async def stream(self) -> AsyncIterator[bytes]:
        with self.counted():
            await anyio.sleep_forever()
        yield b""

    def file(self) -> HostFile:
        self.files.append(HostFile())
        return self.files[-1]

    def assert_closed(self) -> None:
        """What the guest owned was closed once, what it gave back or had borrowed was not."""
        mine, *borrowed = self.files
        assert mine.times_closed == (0 if mine in self.given else 1)
        assert not any(file.times_closed for file in borrowed)

    @property
    def imports(self) -> dict[str, Any]:
        silent = dict.fromkeys(SILENT, lambda *args: None)
        give = dict.fromkeys(("give-file", "give-stream", "give-future"), self.given.append)
        return {
            "wait": self.wait,
            "lend": self.lend,
            "pair": lambda: (1, 2),
            "mode": lambda: self.mode,
            "file": HostFile,
            **silent,
            **give,
        }


class HostFile:
    def __init__(self) -> None:
        self.times_closed = 0

    def close(self) -> None:
        self.times_closed += 1


def assert_over(instance: Instance, host: Host) -> None:
    """Nothing of an instance is left in the host once its block is left."""
    assert not instance.driver.host_tasks
    assert not instance.driver.calls
    assert instance.machine.closed
    assert not instance.machine.unfinished
    assert not host.waiting
    host.assert_closed()

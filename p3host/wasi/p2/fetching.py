"""Sources whose bytes come only while somebody waits for them."""

from __future__ import annotations

import anyio

from ..background import Background
from ..byte_streams import ByteSource


class FetchingSource(ByteSource):
    """Such a source as guests of WASI 0.2 expect it: whoever asks whether there is something has it fetched by a task
    of the host's, so that it comes to one that never waits, or whose polls always end with another pollable."""

    def __init__(self, source: ByteSource, background: Background) -> None:
        self.source = source
        self.background = background
        self.fetched: anyio.Event | None = None  # while it is being fetched

    def ready(self) -> bool:
        if self.source.ready():
            return True
        if self.fetched is None:
            self.fetched = anyio.Event()
            self.background.start_task("input of a guest", self.fetch)
        return False

    def take(self, max_count: int) -> bytes | None:
        return self.source.take(max_count)

    async def wait(self) -> None:
        await (self.source.wait() if self.fetched is None else self.fetched.wait())

    async def fetch(self) -> None:
        fetched = self.fetched
        assert fetched is not None
        try:
            await self.source.wait()
        finally:
            self.fetched = None
            fetched.set()

    def close(self) -> None:
        self.source.close()

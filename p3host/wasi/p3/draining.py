"""What the host does with a stream of a guest, whose end a future tells."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, Protocol

import anyio

from ..background import Finishing
from ..later import MaybeLater


class GuestStream(Protocol):
    """A `stream<u8>` that a guest passed."""

    @property
    def waiting(self) -> bool:
        """Whether a read waits, and nothing has come for it."""

    async def read(self, max_count: int, /) -> bytes:
        """At most `max_count` bytes, and b"" at the end."""

    def unread(self) -> bytes:
        """Takes what a cancelled read had got."""

    def close(self) -> object: ...


class Draining(Awaitable[None]):
    """Work on a stream of a guest, as an awaitable for the future that tells its end.

    A guest that drops the future doesn't want to know; what it writes to the stream is done all the same.
    """

    def __init__(self, data: GuestStream, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.data = data
        self.work = work

    def __await__(self) -> Generator[Any, Any, None]:
        return self.work().__await__()

    def on_dropped(self) -> None:
        """It goes on."""

    @property
    def waits_for(self) -> object:
        """The stream, while there is nothing to do but wait for more of it."""
        return self.data if self.data.waiting else None


async def drain(
    data: GuestStream, max_count: int, write: Callable[[bytes], MaybeLater[None]], finishing: Finishing
) -> None:
    """Gives `write` each piece until the guest ends the stream, and drops it. The guest was told that a piece is taken
    as soon as it had come: so it is written even if this is cancelled meanwhile, as it is when the guest exits."""

    async def finish(writing: MaybeLater[None]) -> None:
        if writing is not None:
            with finishing.shield():
                await writing

    try:
        with finishing.work():
            try:
                while piece := await data.read(max_count):
                    await finish(write(piece))
            except anyio.get_cancelled_exc_class():
                piece = data.unread()
                if piece:
                    with suppress(OSError):  # nobody is left to be told
                        await finish(write(piece))
                raise
    finally:
        data.close()

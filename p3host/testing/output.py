"""What a guest has written."""

from __future__ import annotations

from contextlib import nullcontext

import anyio

from ..errors import Deadlock
from .virtual_time import current_virtual_time


class Output:
    """The standard output, or standard error, of a guest: what it has written so far."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.written = anyio.Event()

    def write(self, data: bytes) -> None:
        self.data += data
        self.written.set()
        self.written = anyio.Event()

    @property
    def bytes(self) -> bytes:
        return bytes(self.data)

    @property
    def text(self) -> str:
        return self.data.decode(errors="replace")

    @property
    def lines(self) -> list[str]:
        """Without their ends; the last one need not be complete."""
        return [line.decode(errors="replace") for line in self.data.splitlines()]

    async def wait_for(self, text: str) -> None:
        """Returns when it has written this text. Put a time-out around it.

        :raises Deadlock: in virtual time, when nothing can ever go on and it has not.
        """
        wanted = text.encode()
        virtual_time = current_virtual_time()
        with nullcontext() if virtual_time is None else virtual_time.until_stuck() as scope:
            while wanted not in self.data:
                await self.written.wait()
        if scope is not None and scope.cancelled_caught:
            raise Deadlock(f"{text!r} will never be written, as every task waits, and no timer is left: {self!r}")

    def __repr__(self) -> str:
        return f"<output {self.text!r}>"

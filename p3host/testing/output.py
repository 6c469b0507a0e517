"""What a guest has written."""

from __future__ import annotations

import anyio


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
        return self.text.splitlines()

    async def wait_for(self, text: str) -> None:
        """Returns when it has written this text. Put a time-out around it."""
        while text.encode() not in self.data:
            await self.written.wait()

    def __repr__(self) -> str:
        return f"<output {self.text!r}>"

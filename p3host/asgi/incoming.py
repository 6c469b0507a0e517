"""What comes from the client: the body of its request, then the word that it is gone."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any

import anyio
from anyio import TaskHandle
from anyio.abc import TaskGroup

from .messages import Message, Receive

READ_AHEAD = 65536  # bytes
MOST_AHEAD = 1 << 20  # bytes, where nobody reads for long
LONG = 1.0  # seconds
PATIENCE = 0.1  # seconds


class Incoming:
    """The body, an async iterator of pieces. `on_gone` is called when the client goes away while someone listens: who
    reads, or `watch`, which reads ahead a little, so that a body that nobody reads doesn't hide that.

    One task at a time calls `receive`.
    """

    def __init__(self, receive: Receive, on_gone: Callable[[], None]) -> None:
        self.receive = receive
        self.on_gone = on_gone
        self.pieces: deque[bytes] = deque()
        self.held = 0  # bytes in `pieces`
        self.whole = False
        self.gone = False
        self.wanted = True
        self.is_cut_off = False
        self.receiving = False
        self.changed: anyio.Event | None = None
        self.watching: TaskHandle[None, Any] | None = None

    def __aiter__(self) -> Incoming:
        return self

    async def __anext__(self) -> bytes:
        """:raises ConnectionResetError: the client is gone before the body's end"""
        while not self.pieces:
            if self.gone or self.is_cut_off:
                raise ConnectionResetError("the client is gone")
            if self.whole:
                raise StopAsyncIteration
            await self.progress()
        piece = self.pieces.popleft()
        self.held -= len(piece)
        self.notify()
        return piece

    async def watch(self) -> None:
        """Waits until the client is gone. Some servers can't finish a `send` to one that is gone before what came from
        it has been taken: so a little more is taken for each second in which nobody reads."""
        while not self.gone:
            if self.held >= READ_AHEAD and self.wanted:
                with anyio.move_on_after(LONG if self.held < MOST_AHEAD else math.inf):
                    await self.change()
                    continue
            await self.progress()

    def discard(self) -> None:
        """Whatever comes from now on is thrown away: the response has been given."""
        self.wanted = False
        self.notify()

    async def progress(self) -> None:
        """Takes one message, or waits until another task has."""
        if self.receiving:
            await self.change()
            return
        self.receiving = True
        try:
            message = await self.receive()
        except Exception:  # a server whose connection broke
            message = {"type": "http.disconnect"}
        finally:
            self.receiving = False
            self.notify()
        self.take(message)

    def take(self, message: Message) -> None:
        if message["type"] == "http.request":
            piece = message.get("body", b"")
            if piece and self.wanted:
                self.pieces.append(piece)
                self.held += len(piece)
            elif piece:
                self.is_cut_off = True
            if not message.get("more_body", False):
                self.whole = True
        elif message["type"] == "http.disconnect":
            self.gone = True
            self.on_gone()

    async def change(self) -> None:
        if self.changed is None:
            self.changed = anyio.Event()
        await self.changed.wait()

    def notify(self) -> None:
        if self.changed is not None:
            self.changed.set()
            self.changed = None


class Watchers:
    """Watches over the clients of exchanges that last. Most have ended before it matters whether their clients are
    still there, so only one that is older than `PATIENCE` gets a task for that."""

    def __init__(self, group: TaskGroup) -> None:
        self.group = group
        self.fresh: dict[Incoming, None] = {}
        self.arrived = anyio.Event()

    def add(self, incoming: Incoming) -> None:
        self.fresh[incoming] = None
        self.arrived.set()

    def remove(self, incoming: Incoming) -> None:
        if incoming in self.fresh:
            del self.fresh[incoming]
        elif incoming.watching is not None:
            incoming.watching.cancel()

    async def run(self) -> None:
        while True:
            if not self.fresh:
                self.arrived = anyio.Event()
                await self.arrived.wait()
            seen = list(self.fresh)
            await anyio.sleep(PATIENCE)
            for incoming in seen:
                if incoming in self.fresh:
                    del self.fresh[incoming]
                    incoming.watching = self.group.start_soon(incoming.watch, name="p3host: watches a client")

"""The C guests, and the host's side of what they import: fakes whose calls end when a test says so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
from anyio.abc import TaskGroup, TaskStatus
from anyio.lowlevel import checkpoint

from p3host import Component

GUESTS = Path(__file__).parents[2] / "guests"


@cache
def guest(name: str) -> Component:
    return Component.load(GUESTS / name / f"{name}.wasm")


def interface(**functions: Any) -> SimpleNamespace:
    """A provider of an imported interface."""
    return SimpleNamespace(**{name: f.call if isinstance(f, Imported) else f for name, f in functions.items()})


class HostCall:
    """One call of an import, in progress until it is answered, fails or is cancelled."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        self.args = args
        self.outcome = "waiting"
        self.ended = anyio.Event()
        self.unwound = anyio.Event()
        self.value: Any = None

    def answer(self, value: Any) -> None:
        """Ends the call, with an exception if `value` is one."""
        self.value = value
        self.ended.set()


class Imported:
    """An import that waits. `calls` has every call of it, in the guest's order; `most` is how many have been in
    progress at once. `when_cancelled` says how a cancelled call ends: what it returns is the answer all the same,
    unless that is None."""

    def __init__(self, when_cancelled: Callable[[HostCall], Awaitable[Any]] | None = None) -> None:
        self.calls: list[HostCall] = []
        self.running = 0
        self.most = 0
        self.when_cancelled = when_cancelled

    def call(self, *args: Any) -> Awaitable[Any]:
        call = HostCall(args)
        self.calls.append(call)
        self.running += 1
        self.most = max(self.most, self.running)
        return self.serve(call)

    async def serve(self, call: HostCall) -> Any:
        try:
            await call.ended.wait()
        except anyio.get_cancelled_exc_class():
            call.outcome = "cancelled"
            if self.when_cancelled is None:
                raise
            with anyio.fail_after(20, shield=True):
                value = await self.when_cancelled(call)
            if value is None:
                raise
            return value
        finally:
            self.running -= 1
        call.outcome = "answered"
        if isinstance(call.value, Exception):
            raise call.value
        return call.value

    @property
    def waiting(self) -> list[HostCall]:
        return [call for call in self.calls if call.outcome == "waiting"]

    async def started(self, count: int) -> None:
        """Waits until so many calls have started in all, and nothing more happens by itself."""
        await until(lambda: len(self.calls) >= count)
        await settled()


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not condition():
            await checkpoint()


async def settled() -> None:
    """Lets everything go on that waits for nothing but its turn."""
    for _ in range(20):
        await checkpoint()


class Started:
    """A call of a guest in a task of its own: see `start`."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.outcome: Any = "waiting"
        self.done = anyio.Event()

    async def run(
        self, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...], *, task_status: TaskStatus[None]
    ) -> None:
        with self.scope:
            task_status.started()
            try:
                self.outcome = await function(*args)
            except Exception as error:
                self.outcome = error
            except anyio.get_cancelled_exc_class():
                self.outcome = "cancelled"
                raise
            finally:
                self.done.set()

    @property
    def over(self) -> bool:
        return self.done.is_set()

    async def ended(self) -> Any:
        with anyio.fail_after(20):
            await self.done.wait()
        return self.outcome


async def start(group: TaskGroup, function: Callable[..., Awaitable[Any]], *args: Any) -> Started:
    """Starts a call. Calls that are started one after the other reach the guest in this order."""
    started = Started()
    await group.start(started.run, function, args)
    return started


class Pieces:
    """An async iterable of pieces that tells how many it has given, and whether it was closed."""

    def __init__(self, pieces: Sequence[Any]) -> None:
        self.pieces = iter(pieces)
        self.given = 0
        self.closed = False

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        await checkpoint()
        piece = next(self.pieces, None)
        if piece is None:
            raise StopAsyncIteration
        if isinstance(piece, Exception):
            raise piece
        self.given += 1
        return piece

    async def aclose(self) -> None:
        self.closed = True


class Later:
    """An awaitable that gives a value (or raises it, if it is an exception) after a turn of the loop. Unlike a
    coroutine, it need not be awaited."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from checkpoint().__await__()
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


class Never:
    """An awaitable that gives no value."""

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from anyio.sleep_forever().__await__()


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]

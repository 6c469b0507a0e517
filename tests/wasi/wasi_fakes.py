"""What stands in for a guest and its host when the providers of WASI are called directly."""

from __future__ import annotations

import errno
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel

from p3host.errors import Err
from p3host.wasi.byte_streams import PIECE, ByteSink, ByteSource


async def finish(answer: Any) -> Any:
    """The result of a provider's function, awaited where it has to be."""
    return await answer if inspect.isawaitable(answer) else answer


async def outcome(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a call returns, at once or later, or the error code it fails with."""
    try:
        return await finish(function(*arguments))
    except Err as failure:
        return getattr(failure.value, "tag", failure.value)


class TaskGroupBackground:
    """An instance, as far as it runs tasks."""

    def __init__(self, tasks: anyio.abc.TaskGroup) -> None:
        self.tasks = tasks

    def start_task(self, name: str, run: Callable[[], Awaitable[None]]) -> Any:
        return self.tasks.start_soon(run, name=name)


@asynccontextmanager
async def running() -> AsyncIterator[TaskGroupBackground]:
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            yield TaskGroupBackground(tasks)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()


class GuestStream:
    """A `stream<u8>` that a guest writes piece by piece."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.pieces = list(pieces)
        self.closed = False

    async def read(self, max_count: int) -> bytes:
        await anyio.lowlevel.checkpoint()
        if not self.pieces:
            return b""
        piece, rest = self.pieces[0][:max_count], self.pieces[0][max_count:]
        self.pieces[:1] = [rest] if rest else []
        return piece

    def close(self) -> None:
        self.closed = True


class ScriptedSource(ByteSource):
    """Answers with each step in turn: bytes, an error, or None, which takes a `wait` to get past. At last the end."""

    def __init__(self, *steps: bytes | OSError | None) -> None:
        self.steps = list(steps)
        self.waits = 0
        self.closed = False

    def ready(self) -> bool:
        return not self.steps or self.steps[0] is not None

    def take(self, max_count: int) -> bytes | None:
        if not self.steps:
            return b""
        step = self.steps[0]
        if isinstance(step, OSError):
            raise step
        if step is not None:
            self.steps[:1] = [step[max_count:]] if step[max_count:] else []
            return step[:max_count]
        return None

    async def wait(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.waits += 1
        if self.steps and self.steps[0] is None:
            del self.steps[0]

    def close(self) -> None:
        self.closed = True


class ScriptedSink(ByteSink):
    """Takes `capacity` bytes between two waits, promises `promise` if given, and fails once it holds `limit` bytes."""

    def __init__(self, capacity: int = PIECE, limit: int | None = None, promise: int | None = None) -> None:
        self.data = b""
        self.capacity = capacity
        self.free = capacity
        self.limit = limit
        self.promise = promise
        self.waits = 0
        self.closed = False

    def room(self) -> int:
        return min(self.free, PIECE) if self.promise is None else self.promise

    def write_now(self, data: bytes) -> int:
        if self.limit is not None and len(self.data) >= self.limit:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe", "/secret/path")
        count = min(self.free, len(data))
        self.data += data[:count]
        self.free -= count
        return count

    async def wait(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.waits += 1
        self.free = self.capacity

    def close(self) -> None:
        self.closed = True


class ManualClock:
    """A monotonic clock that only `advance` moves."""

    resolution = 7

    def __init__(self, now: int = 0) -> None:
        self.time = now
        self.changed = anyio.Event()

    def now(self) -> int:
        return self.time

    def advance(self, nanoseconds: int) -> None:
        self.time += nanoseconds
        self.changed.set()
        self.changed = anyio.Event()

    async def sleep_until(self, when: int) -> None:
        while self.time < when:
            await self.changed.wait()

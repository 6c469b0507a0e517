"""Guests' streams and futures in Python: what their readable ends are shown as."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from ..errors import Err, InstanceClosed, P3HostError, StreamDropped, Trap
from ..runtime.stream import Buffer, CopyResult, OnCopy, OnCopyDone, Reclaim, Shared
from ..types import FutureType, PrimitiveType, ResultType, StreamType, ValType
from ..values import Ok
from .sources import Piece

if TYPE_CHECKING:
    from ..runtime.instance import ComponentInstance
    from .driver import Driver

DEFAULT_READ = 65536


class Collector:
    """The buffer of a host that reads: up to `limit` elements, kept as the guest's pieces."""

    __slots__ = ("limit", "pieces", "progress")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.progress = 0
        self.pieces: list[Any] = []

    @property
    def remain(self) -> int:
        return self.limit - self.progress

    @property
    def is_zero_length(self) -> bool:
        return self.limit == 0

    def read(self, count: int) -> Any:
        raise AssertionError("a host that reads has nothing to be read from")

    def write(self, values: Any, count: int) -> None:
        self.pieces.append(values)
        self.progress += count

    def joined(self, elem_type: ValType | None) -> Any:
        """The elements: bytes for u8, the count for a stream without a type, else a list."""
        if elem_type is None:
            return self.progress
        if elem_type is PrimitiveType.U8:
            return b"".join(self.pieces)
        return [element for piece in self.pieces for element in piece]


class Unread:
    """A readable end together with elements out of it that cancelled reads had got: whoever reads next gets them."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.elem_type = shared.elem_type
        self.pieces: deque[Piece] = deque()

    @property
    def failure(self) -> Trap | None:
        return self.shared.failure

    def read(self, inst: ComponentInstance | None, buffer: Buffer, on_copy: OnCopy, on_copy_done: OnCopyDone) -> None:
        if not self.pieces:
            self.shared.read(inst, buffer, on_copy, on_copy_done)
            return
        piece = self.pieces[0]
        count = min(piece.remain, buffer.remain)
        if count:
            buffer.write(piece.read(count), count)
        if piece.remain == 0:
            self.pieces.popleft()
        on_copy_done(CopyResult.COMPLETED)

    def write(self, inst: ComponentInstance | None, buffer: Buffer, on_copy: OnCopy, on_copy_done: OnCopyDone) -> None:
        raise AssertionError("a readable end is not written to")

    def cancel(self) -> None:
        self.shared.cancel()

    def drop(self) -> None:
        self.shared.drop()

    def abandon(self, buffer: Buffer | None, failure: Trap) -> None:
        self.shared.abandon(buffer, failure)


class Arrival(Protocol):
    """What is set when a read has ended."""

    def set(self) -> object: ...


class HostEnd:
    """What Python's end of a guest's stream or future has in common."""

    def __init__(self, driver: Driver, shared: Shared, t: StreamType | FutureType) -> None:
        self.driver = driver
        self.shared: Shared | None = shared
        self.type = t
        self.buffer: Collector | None = None
        self.result: CopyResult | None = None
        self.arrived: Arrival | None = None
        self.begun = False  # the read is known to the shared state
        self.at_end = False
        driver.host_ends.add(self)

    def take(self) -> Shared:
        """Gives the end up, so that it can be passed on to a guest."""
        shared = self.shared
        if shared is None or self.buffer is not None or self.at_end:
            raise ValueError(
                "the end of a stream or future can't be passed on: it is in use, at its end, or was given up"
            )
        self.shared = None
        return shared

    def close(self) -> None:
        """Drops the end. The guest's writes are answered with "dropped"."""
        shared, self.shared = self.shared, None
        if shared is not None:
            self.cancel_pending(shared)
            shared.drop()
            if not self.driver.closing:
                self.driver.step()

    def __enter__(self) -> HostEnd:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def aclose(self) -> None:
        self.close()

    def on_copy(self, reclaim: Reclaim) -> None:
        reclaim()
        self.on_copy_done(CopyResult.COMPLETED)

    def on_copy_done(self, result: CopyResult) -> None:
        if result is CopyResult.DROPPED and self.driver.store.trap is not None:
            self.begun = False
            return  # no end of the stream, but that of the guest: `check_alive` tells the reader
        self.result = result
        if self.arrived is not None:
            self.arrived.set()

    async def copy(self, limit: int) -> Collector:
        """Reads into a buffer until something has been copied, or the other end is gone."""
        driver = self.driver
        driver.check_usable()
        shared, buffer = self.prepare(limit)
        try:
            driver.step(partial(self.begin, shared, buffer))
            if self.result is None:
                self.check_alive()
                self.arrived = driver.readers[self] = arrived = driver.event_class()
                try:
                    driver.check_not_waited_for("the read of a stream or future")
                    await arrived.wait()
                except BaseException:
                    self.cancel_pending(shared)
                    self.give_back(shared, buffer)
                    raise
                finally:
                    del driver.readers[self]
                    self.arrived = None
            self.conclude(shared, buffer)
        finally:
            self.buffer = None
        return buffer

    def prepare(self, limit: int) -> tuple[Shared, Collector]:
        shared = self.shared
        if shared is None:
            raise StreamDropped("the stream or future was closed, or passed on")
        if self.buffer is not None:
            raise anyio.BusyResourceError("reading from")
        self.buffer = Collector(limit)
        self.result = None
        self.begun = False
        return shared, self.buffer

    def conclude(self, shared: Shared, buffer: Collector) -> None:
        if self.result is None:
            self.check_alive()
        if self.result is CopyResult.DROPPED:
            if shared.failure is not None and not buffer.progress:
                raise failed_peer(shared.failure)
            self.at_end = True

    def begin(self, shared: Shared, buffer: Collector) -> None:
        if self.buffer is buffer and self.result is None:  # not cancelled while the store was busy
            self.begun = True
            shared.read(None, buffer, self.on_copy, self.on_copy_done)

    def cancel_pending(self, shared: Shared) -> None:
        """Takes the buffer of a read back at once, so that no guest writes into it that nobody looks at any more."""
        if self.buffer is not None and self.result is None:
            if self.begun:
                shared.cancel()
            else:
                self.on_copy_done(CopyResult.CANCELLED)

    def give_back(self, shared: Shared, buffer: Collector) -> None:
        """Keeps what a cancelled read had got, as nobody was told of it, for the next one."""
        if buffer.progress and self.shared is not None:
            unread = shared if isinstance(shared, Unread) else Unread(shared)
            unread.pieces.appendleft(Piece(buffer.joined(self.type.elem_type), self.type.elem_type))
            self.shared = unread

    def check_alive(self) -> None:
        if self.driver.closing:
            raise InstanceClosed("the instance was closed while its stream or future was read")
        trap = self.driver.store.trap
        if trap is not None:
            raise failed_peer(trap) from trap


def failed_peer(trap: Trap) -> Trap:
    return Trap(f"the guest at the other end trapped: {trap.message}", trap.backtrace)


class StreamReader(HostEnd):
    """The readable end of a guest's `stream<T>`: an async iterable of pieces, with `read` and `close`.

    Pieces are bytes where T is u8, lists of elements otherwise, and counts where the stream has no element type.
    Leaving a `with` block, or `close`, drops the end.
    """

    def __enter__(self) -> StreamReader:
        return self

    async def read(self, max_count: int = DEFAULT_READ) -> Any:
        """Waits for at least one element and returns at most `max_count`; an empty piece is the end of the stream.

        A read that is cancelled takes nothing: what it had got by then is for the next one.
        """
        if max_count < 0:
            raise ValueError(f"the number of elements to read must not be negative: {max_count}")
        elem_type = self.type.elem_type
        while not self.at_end:
            buffer = await self.copy(max_count)
            if buffer.progress or max_count == 0:
                return buffer.joined(elem_type)
        return Collector(0).joined(elem_type)

    receive = read

    async def read_all(self) -> Any:
        """Everything until the end of the stream, as one piece."""
        pieces = [piece async for piece in self]
        elem_type = self.type.elem_type
        if elem_type is None:
            return sum(pieces)
        if elem_type is PrimitiveType.U8:
            return b"".join(pieces)
        return [element for piece in pieces for element in piece]

    async def __aiter__(self) -> AsyncIterator[Any]:
        while piece := await self.read():
            yield piece
            await self.driver.breathe()


class FutureReader(HostEnd):
    """The readable end of a guest's `future<T>`: an awaitable. A `result`'s error case is raised as `Err`.

    Raises `StreamDropped` when the guest is gone without having written a value.
    """

    def __enter__(self) -> FutureReader:
        return self

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.read().__await__()

    async def read(self) -> Any:
        if self.at_end:
            raise StreamDropped("a future can be awaited once")
        value = self.value(await self.copy(1))
        if isinstance(value, Err):
            raise value
        return value.value

    def value(self, buffer: Collector) -> Ok | Err:
        """What was read; Ok where the type is no `result`, too."""
        if not buffer.progress:
            raise StreamDropped("the other end of the future was dropped before it was written to")
        self.at_end = True
        self.close()
        value = None if self.type.elem_type is None else buffer.pieces[0][0]
        if not isinstance(self.type.elem_type, ResultType):
            return Ok(value)
        assert isinstance(value, Ok | Err)
        return value

    def watch(self, then: Callable[[Ok | P3HostError], None]) -> None:
        """Has `then` called with the value, for a `result` Ok or `Err`, when it is there, without a task that waits
        for it; with another error if it will never be. Not after `close`."""
        shared, buffer = self.prepare(1)
        self.arrived = self.driver.readers[self] = Watch(partial(self.watched, shared, buffer, then))
        self.driver.step(partial(self.begin, shared, buffer))

    def watched(self, shared: Shared, buffer: Collector, then: Callable[[Ok | P3HostError], None]) -> None:
        self.end_watch()
        outcome: Ok | P3HostError
        try:
            self.conclude(shared, buffer)
            self.buffer = None
            outcome = self.value(buffer)
        except P3HostError as error:
            outcome = error
        then(outcome)

    def end_watch(self) -> None:
        self.driver.readers.pop(self, None)
        self.arrived = None

    def close(self) -> None:
        if isinstance(self.arrived, Watch):
            self.end_watch()
        super().close()


class Watch:
    """Stands where a task would wait: calls `then` instead."""

    __slots__ = ("set",)

    def __init__(self, then: Callable[[], None]) -> None:
        self.set = then

"""Streams and futures in Python: what a guest's are shown as, and what Python's own are given to guests as."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import ByteReceiveStream, ObjectReceiveStream

from ..errors import Err, InstanceClosed, StreamDropped, Trap
from ..runtime.stream import Buffer, CopyResult, OnCopy, OnCopyDone, Reclaim, Shared
from ..types import FutureType, PrimitiveType, ResultType, StreamType, ValType
from ..values import Ok
from .driver import HostTask

if TYPE_CHECKING:
    from ..runtime.instance import ComponentInstance
    from .driver import Driver

DEFAULT_READ = 65536
MAX_READ = 1 << 20


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
            return self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)
        return [element for piece in self.pieces for element in piece]


class Piece:
    """The buffer of a host that writes: what is left of a bytes-like object, a sequence, or a count."""

    __slots__ = ("elem_type", "length", "progress", "values")

    def __init__(self, values: Any, elem_type: ValType | None) -> None:
        self.elem_type = elem_type
        if elem_type is None:
            self.length = int(values)
        else:
            if elem_type is PrimitiveType.U8:
                values = memoryview(bytes(values) if isinstance(values, list | tuple) else values).cast("B")
            elif not hasattr(values, "__getitem__"):
                values = list(values)
            self.length = len(values)
        self.values = values
        self.progress = 0

    @property
    def remain(self) -> int:
        return self.length - self.progress

    @property
    def is_zero_length(self) -> bool:
        return self.length == 0

    def read(self, count: int) -> Any:
        start = self.progress
        self.progress += count
        return count if self.elem_type is None else self.values[start : start + count]

    def write(self, values: Any, count: int) -> None:
        raise AssertionError("a host that writes has no room to be written to")


class HostEnd:
    """What Python's end of a guest's stream or future has in common."""

    def __init__(self, driver: Driver, shared: Shared, t: StreamType | FutureType) -> None:
        self.driver = driver
        self.shared: Shared | None = shared
        self.type = t
        self.buffer: Collector | None = None
        self.result: CopyResult | None = None
        self.arrived: anyio.Event | None = None
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
        if shared is not None and not self.driver.closing:
            self.cancel_pending(shared)
            shared.drop()
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
        self.result = result
        if self.arrived is not None:
            self.arrived.set()

    async def copy(self, limit: int) -> Collector:
        """Reads into a buffer until something has been copied, or the other end is gone."""
        driver = self.driver
        driver.check_usable()
        shared = self.shared
        if shared is None:
            raise StreamDropped("the stream or future was closed, or passed on")
        if self.buffer is not None:
            raise anyio.BusyResourceError("reading from")
        buffer = self.buffer = Collector(limit)
        self.result = None
        self.begun = False
        try:
            driver.step(partial(self.begin, shared, buffer))
            if self.result is None:
                self.check_alive()
                self.arrived = driver.readers[self] = anyio.Event()
                try:
                    driver.check_not_waited_for("the read of a stream or future")
                    await self.arrived.wait()
                except BaseException:
                    self.cancel_pending(shared)
                    raise
                finally:
                    del driver.readers[self]
                    self.arrived = None
            if self.result is None:
                self.check_alive()
        finally:
            self.buffer = None
        if self.result is CopyResult.DROPPED:
            self.at_end = True
        return buffer

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

    def check_alive(self) -> None:
        if self.driver.closing:
            raise InstanceClosed("the instance was closed while its stream or future was read")
        trap = self.driver.store.trap
        if trap is not None:
            raise Trap(f"the guest at the other end trapped: {trap.message}", trap.backtrace) from trap


class StreamReader(HostEnd):
    """The readable end of a guest's `stream<T>`: an async iterable of pieces, with `read` and `close`.

    Pieces are bytes where T is u8, lists of elements otherwise, and counts where the stream has no element type.
    Leaving a `with` block, or `close`, drops the end.
    """

    def __enter__(self) -> StreamReader:
        return self

    async def read(self, max_count: int = DEFAULT_READ) -> Any:
        """Waits for at least one element and returns at most `max_count`; an empty piece is the end of the stream."""
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
        buffer = await self.copy(1)
        if not buffer.progress:
            raise StreamDropped("the other end of the future was dropped before it was written to")
        self.at_end = True
        self.close()
        value = None if self.type.elem_type is None else buffer.pieces[0][0]
        if isinstance(self.type.elem_type, ResultType):
            if isinstance(value, Err):
                raise value
            assert isinstance(value, Ok)
            return value.value
        return value


class HostSource:
    """What Python gives in place of a stream's or future's writable end: it answers a guest's reads.

    Elements come from one host task, which `run` is the work of. `piece` is what it has delivered and the guest has not
    read yet; it goes on only when that is used up and the guest wants more. So nothing is buffered beyond one piece.
    """

    def __init__(self, driver: Driver, elem_type: ValType | None, name: str) -> None:
        self.driver = driver
        self.elem_type = elem_type
        self.name = name
        self.piece: Piece | None = None
        self.ended = False
        self.dropped = False
        self.task: HostTask | None = None
        self.buffer: Buffer | None = None
        self.on_copy: OnCopy | None = None
        self.on_copy_done: OnCopyDone | None = None
        self.wanted: anyio.Event | None = None

    # As the shared state of the guest's readable end

    def read(self, inst: ComponentInstance | None, buffer: Buffer, on_copy: OnCopy, on_copy_done: OnCopyDone) -> None:
        if self.piece is not None:
            self.copy(self.piece, buffer)
            on_copy_done(CopyResult.COMPLETED)
        elif self.ended:
            on_copy_done(CopyResult.DROPPED)
        else:
            self.buffer, self.on_copy, self.on_copy_done = buffer, on_copy, on_copy_done
            self.want()

    def copy(self, piece: Piece, buffer: Buffer) -> None:
        count = min(piece.remain, buffer.remain)
        if count:
            buffer.write(piece.read(count), count)
        if piece.remain == 0:
            self.piece = None
            self.used_up()

    def used_up(self) -> None:
        """A piece has been read whole."""

    def write(self, inst: ComponentInstance | None, buffer: Buffer, on_copy: OnCopy, on_copy_done: OnCopyDone) -> None:
        raise AssertionError("the host is the writer")

    def cancel(self) -> None:
        on_copy_done = self.on_copy_done
        assert on_copy_done is not None
        self.forget_reader()
        on_copy_done(CopyResult.CANCELLED)

    def drop(self) -> None:
        self.dropped = True
        self.piece = None
        if self.task is not None:
            self.task.cancel()

    def forget_reader(self) -> None:
        self.buffer = self.on_copy = self.on_copy_done = None

    # As the end of the host task

    def want(self) -> None:
        """The guest waits for the next piece."""
        if self.task is None:
            self.task = self.driver.start(HostTask(self.name, self.run, None))
        elif self.wanted is not None:
            self.wanted.set()

    async def run(self) -> None:
        raise NotImplementedError

    async def deliver(self, values: Any) -> None:
        """Hands a piece to the guest, and waits until the guest wants another one."""
        piece = Piece(values, self.elem_type)
        if piece.length == 0:
            return
        self.driver.step(partial(self.offer, piece))
        while self.piece is not None or self.buffer is None:
            self.wanted = anyio.Event()
            if self.dropped:
                return
            await self.wanted.wait()

    def offer(self, piece: Piece) -> None:
        """Copies into the guest's pending read. The guest learns of it by an event; what it has not read is kept."""
        self.piece = piece
        buffer, on_copy = self.buffer, self.on_copy
        if buffer is not None and on_copy is not None:
            if buffer.is_zero_length:
                on_copy_done = self.on_copy_done
                assert on_copy_done is not None
                self.forget_reader()
                on_copy_done(CopyResult.COMPLETED)
                return
            self.copy(piece, buffer)
            on_copy_done = self.on_copy_done
            assert on_copy_done is not None
            self.forget_reader()
            on_copy_done(CopyResult.COMPLETED)

    def end(self) -> None:
        self.ended = True
        on_copy_done = self.on_copy_done
        if on_copy_done is not None and self.piece is None:
            self.forget_reader()
            on_copy_done(CopyResult.DROPPED)


class BytesSource(HostSource):
    """A stream whose elements are all there: no host task is needed."""

    def __init__(self, driver: Driver, elem_type: ValType | None, values: Any) -> None:
        super().__init__(driver, elem_type, "a stream of given elements")
        piece = Piece(values, elem_type)
        self.piece = piece if piece.length else None
        self.ended = True


class IterableSource(HostSource):
    """A stream out of an async iterable. Its task starts with the first read and closes the iterable at the end."""

    def __init__(self, driver: Driver, elem_type: ValType | None, iterable: AsyncIterable[Any]) -> None:
        super().__init__(driver, elem_type, f"the stream {type(iterable).__name__}")
        self.iterable = iterable

    def used_up(self) -> None:
        if self.wanted is not None:
            self.wanted.set()

    def drop(self) -> None:
        never_read = self.task is None
        super().drop()
        if never_read and not self.driver.closing:
            self.task = self.driver.start(HostTask(self.name, partial(close_all, self.iterable), None))

    async def run(self) -> None:
        iterator = self.pieces() if isinstance(self.iterable, ByteReceiveStream) else aiter(self.iterable)
        try:
            async for values in iterator:
                await self.deliver(values)
                if self.dropped:
                    break
                await self.driver.breathe()
        except anyio.EndOfStream:
            pass
        except Exception as error:
            trap = Trap(f"{self.name} raised {type(error).__name__}: {error}")
            trap.__cause__ = error
            self.driver.step(partial(raise_error, trap))
        finally:
            await close_all(iterator, self.iterable)
        self.driver.step(self.end)

    async def pieces(self) -> AsyncIterator[bytes]:
        """What the guest asks for, and no more: the rest stays in the stream for others."""
        assert isinstance(self.iterable, ByteReceiveStream)
        while True:
            wanted = self.buffer.remain if self.buffer is not None else 0
            yield await self.iterable.receive(min(wanted or DEFAULT_READ, MAX_READ))


async def close_all(*closables: object) -> None:
    for closable in closables:
        close = getattr(closable, "aclose", None)
        if close is not None:
            with anyio.CancelScope(shield=True):
                await close()


class AwaitableSource(HostSource):
    """A future out of an awaitable, which is awaited at once."""

    def __init__(self, driver: Driver, elem_type: ValType | None, awaitable: Awaitable[Any]) -> None:
        super().__init__(driver, elem_type, f"the future {getattr(awaitable, '__name__', type(awaitable).__name__)}")
        self.awaitable = awaitable
        self.task = driver.start(HostTask(self.name, self.run, None))

    async def run(self) -> None:
        returns_result = isinstance(self.elem_type, ResultType)
        try:
            value = await self.awaitable
        except Exception as error:
            if not (returns_result and isinstance(error, Err)):
                trap = Trap(f"{self.name} raised {type(error).__name__}: {error}")
                trap.__cause__ = error
                self.driver.step(partial(raise_error, trap))
                return
            value = error
        else:
            if returns_result:
                value = Ok(value)
        if not self.dropped:
            self.driver.step(partial(self.offer, Piece([value] if self.elem_type is not None else 1, self.elem_type)))


def raise_error(error: Exception) -> None:
    raise error


class PythonEdge:
    """How one store's streams and futures look to Python, and Python's to it."""

    driver: Driver

    def wrap_stream(self, shared: Shared, t: StreamType) -> StreamReader:
        return StreamReader(self.driver, shared, t)

    def wrap_future(self, shared: Shared, t: FutureType) -> FutureReader:
        return FutureReader(self.driver, shared, t)

    def unwrap_stream(self, value: Any, t: StreamType) -> Shared:
        if isinstance(value, StreamReader):
            return value.take()
        if isinstance(value, ByteReceiveStream | ObjectReceiveStream | AsyncIterable):
            return IterableSource(self.driver, t.elem_type, value)
        try:
            return BytesSource(self.driver, t.elem_type, value)
        except (TypeError, ValueError):
            raise TypeError(f"expected an async iterable, a sequence, or bytes for a stream, got {value!r}") from None

    def unwrap_future(self, value: Any, t: FutureType) -> Shared:
        if isinstance(value, FutureReader):
            return value.take()
        if isinstance(value, Awaitable):
            return AwaitableSource(self.driver, t.elem_type, value)
        raise TypeError(f"expected an awaitable for a future, got {value!r}")

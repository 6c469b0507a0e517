"""Python's streams and futures for guests: what answers the reads of their readable ends."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from anyio.abc import ByteReceiveStream

from ..errors import Err, Trap, trap_if
from ..runtime.choice import Choice, choose_amount, promptly
from ..runtime.stream import Buffer, CopyResult, OnCopy, OnCopyDone
from ..types import PrimitiveType, ResultType, ValType
from ..values import Ok
from .driver import HostTask

if TYPE_CHECKING:
    from ..runtime.instance import ComponentInstance
    from .driver import Driver

UNKNOWN_WANT = 65536
MAX_READ = 1 << 20
MAX_SOURCES = 30_000  # each has a host task, which takes some 10 kB


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


class HostSource:
    """What Python gives in place of a stream's or future's writable end: it answers a guest's reads.

    Elements come from one host task, which `run` is the work of. `piece` is what it has delivered and the guest has not
    read yet; it goes on only when that is used up and the guest wants more. So nothing is buffered beyond one piece.

    :raises Trap: the guests of the store have `MAX_SOURCES` of them
    """

    def __init__(self, driver: Driver, elem_type: ValType | None, name: str) -> None:
        trap_if(len(driver.sources) >= MAX_SOURCES, f"more than {MAX_SOURCES} streams and futures of the host")
        self.driver = driver
        self.elem_type = elem_type
        self.name = name
        self.piece: Piece | None = None
        self.ended = False
        self.dropped = False
        self.failure: Trap | None = None
        self.task: HostTask | None = None
        self.buffer: Buffer | None = None
        self.on_copy_done: OnCopyDone | None = None
        self.wanted: anyio.Event | None = None
        driver.sources[self] = None

    # As the shared state of the guest's readable end

    def read(self, inst: ComponentInstance | None, buffer: Buffer, on_copy: OnCopy, on_copy_done: OnCopyDone) -> None:
        if self.piece is not None:
            if promptly(self.driver.store.choose, Choice.ANSWER, self.name):
                self.copy(self.piece, buffer)
                on_copy_done(CopyResult.COMPLETED)
            else:
                self.buffer, self.on_copy_done = buffer, on_copy_done
                self.driver.step(self.offer)
        elif self.ended:
            on_copy_done(CopyResult.DROPPED)
        else:
            self.buffer, self.on_copy_done = buffer, on_copy_done
            self.want()

    def copy(self, piece: Piece, buffer: Buffer) -> None:
        count = choose_amount(self.driver.store.choose, min(piece.remain, buffer.remain))
        if count:
            try:
                buffer.write(piece.read(count), count)
            except (TypeError, ValueError) as error:
                raise Trap(f"{self.name} gave a wrong value: {error}") from error
        if piece.remain == 0:
            self.piece = None
            self.used_up()

    def used_up(self) -> None:
        """A piece has been read whole."""

    def write(self, inst: ComponentInstance | None, buffer: Buffer, on_copy: OnCopy, on_copy_done: OnCopyDone) -> None:
        raise AssertionError("the host is the writer")

    def cancel(self) -> None:
        self.answer(CopyResult.CANCELLED)

    def drop(self) -> None:
        self.dropped = True
        self.piece = None
        self.driver.sources.pop(self, None)
        if self.task is not None:
            self.task.cancel()

    def abandon(self, buffer: Buffer | None, failure: Trap) -> None:
        """The guest that read from it is gone."""
        self.buffer = self.on_copy_done = None
        self.drop()

    def end_with_store(self) -> None:
        """The store that it was lowered into is gone; a guest of another one that has it is at its end."""
        self.failure = self.driver.store.trap
        self.ended = True
        self.piece = None
        if self.on_copy_done is not None:
            self.answer(CopyResult.DROPPED)

    def answer(self, result: CopyResult) -> None:
        """Ends the guest's pending read."""
        on_copy_done = self.on_copy_done
        assert on_copy_done is not None
        self.buffer = self.on_copy_done = None
        on_copy_done(result)

    # As the end of the host task

    def want(self) -> None:
        """The guest waits for the next piece."""
        if self.task is None:
            self.task = self.driver.start(HostTask(self.name, self.run, None, waits_for=self.waits_for))
        elif self.wanted is not None:
            self.wanted.set()

    async def run(self) -> None:
        raise NotImplementedError

    def waits_for(self) -> object:
        """What of the guest its task waits for, if it waits for nothing else: that more is wanted, here."""
        rests = self.wanted is not None and not self.wanted.is_set() and not self.dropped
        return self if rests else None

    async def deliver(self, values: Any) -> None:
        """Hands a piece to the guest, and waits until the guest wants another one."""
        piece = Piece(values, self.elem_type)
        if piece.length == 0 or self.dropped:
            return
        self.piece = piece
        self.driver.step(self.offer)
        while self.piece is not None or self.buffer is None:
            self.wanted = anyio.Event()
            if self.dropped:
                return
            self.driver.is_waiting_again()
            await self.wanted.wait()

    def offer(self) -> None:
        """Copies into the guest's pending read. The guest learns of it by an event; what it has not read is kept. By
        the time that a store which was busy does this, the guest may have read the piece."""
        piece, buffer = self.piece, self.buffer
        if piece is not None and buffer is not None:
            if not buffer.is_zero_length:
                self.copy(piece, buffer)
            self.answer(CopyResult.COMPLETED)

    def end(self) -> None:
        self.ended = True
        if self.on_copy_done is not None and self.piece is None:
            self.answer(CopyResult.DROPPED)


class BytesSource(HostSource):
    """A stream whose elements are all there: no host task is needed."""

    def __init__(self, driver: Driver, elem_type: ValType | None, values: Any) -> None:
        super().__init__(driver, elem_type, "a stream of given elements")
        piece = Piece(values, elem_type)
        self.piece = piece if piece.length else None
        self.ended = True


class IterableSource(HostSource):
    """A stream out of an async iterable. Its task starts with the first read and closes the iterable at the end.

    The task can't close it before the guest goes on. An iterable that has to know at once that nobody reads on has a
    method `on_dropped`, which is called when the guest has dropped the stream or was told its end, or when the instance
    has ended.
    """

    def __init__(self, driver: Driver, elem_type: ValType | None, iterable: AsyncIterable[Any]) -> None:
        super().__init__(driver, elem_type, f"the stream {type(iterable).__name__}")
        self.iterable = iterable
        self.tell_dropped: Callable[[], None] | None = getattr(iterable, "on_dropped", None)
        self.unread = True  # so nothing but this closes the iterable

    def used_up(self) -> None:
        if self.wanted is not None:
            self.wanted.set()

    def want(self) -> None:
        self.unread = False
        super().want()

    def drop(self) -> None:
        super().drop()
        self.end_unread()

    def end_with_store(self) -> None:
        super().end_with_store()
        self.end_unread()

    def tell(self) -> None:
        tell, self.tell_dropped = self.tell_dropped, None
        if tell is not None:
            tell()

    def end_unread(self) -> None:
        """Nobody reads on: tells an iterable that has to know, and closes one that was never read."""
        self.tell()
        if self.unread:
            self.unread = False
            self.task = self.driver.start(HostTask(self.name, partial(close_all, self.iterable), None))

    def disown(self) -> None:
        """The iterable is the application's again, untouched."""
        self.unread = False
        self.tell_dropped = None
        self.driver.sources.pop(self, None)

    async def run(self) -> None:
        iterator = None if isinstance(self.iterable, ByteReceiveStream) else aiter(self.iterable)
        try:
            try:
                while not self.dropped:
                    await self.deliver(await (self.receive() if iterator is None else anext(iterator)))
                    await self.driver.breathe()
            except (StopAsyncIteration, anyio.EndOfStream):
                pass
        except Exception as error:
            trap = Trap(f"{self.name} raised {type(error).__name__}: {error}")
            trap.__cause__ = error
            self.driver.step(partial(raise_error, trap))
        finally:
            await close_all(iterator, self.iterable)
        self.driver.step(self.end)

    def end(self) -> None:
        super().end()
        self.tell()

    def receive(self) -> Awaitable[bytes]:
        """What the guest asks for, and no more: the rest stays in the stream for others."""
        assert isinstance(self.iterable, ByteReceiveStream)
        wanted = self.buffer.remain if self.buffer is not None else 0
        return self.iterable.receive(min(wanted or UNKNOWN_WANT, MAX_READ))


async def close_all(*closables: object) -> None:
    with anyio.CancelScope(shield=True):
        for closable in closables:
            close = getattr(closable, "aclose", None)
            if close is not None:
                await close()


class AwaitableSource(HostSource):
    """A future out of an awaitable, which is awaited at once.

    It is cancelled when the guest drops the future. One whose work is wanted all the same has a method `on_dropped`,
    which is called then instead. One that waits for the guest itself may say so by an attribute `waits_for`: the
    guest's stream, or its own that the guest reads, while it waits for nothing else, else None.
    """

    def __init__(self, driver: Driver, elem_type: ValType | None, awaitable: Awaitable[Any]) -> None:
        try:
            super().__init__(
                driver, elem_type, f"the future {getattr(awaitable, '__name__', type(awaitable).__name__)}"
            )
        except Trap:
            if isinstance(awaitable, Coroutine):
                awaitable.close()  # nobody is going to await it
            raise
        self.awaitable = awaitable
        self.begin()

    def begin(self) -> None:
        self.task = self.driver.start(HostTask(self.name, self.run, None, waits_for=self.waits_for))

    def want(self) -> None:
        """It has begun, or does so by itself."""

    def waits_for(self) -> object:
        return getattr(self.awaitable, "waits_for", None)

    def drop(self) -> None:
        dropped = getattr(self.awaitable, "on_dropped", None)
        if dropped is None:
            super().drop()
        else:
            self.dropped = True
            self.piece = None
            self.driver.sources.pop(self, None)
            dropped()

    async def run(self) -> None:
        returns_result = isinstance(self.elem_type, ResultType)
        self.driver.is_waiting_again()
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
        self.resolve(value)

    def resolve(self, value: Any) -> None:
        if not self.dropped:
            self.piece = Piece([value] if self.elem_type is not None else 1, self.elem_type)
            self.driver.step(self.offer)


class Promised(Awaitable[Any], Protocol):
    """An awaitable for a `result` that can tell when its outcome is there: `when_settled` has a function called then,
    or once the outcome has to be awaited after all. `on_dropped` is called when no guest wants it any more."""

    @property
    def outcome(self) -> Ok | Err | None: ...

    def when_settled(self, then: Callable[[], None], /) -> None: ...

    def on_dropped(self) -> None: ...


class PromiseSource(AwaitableSource):
    """A future out of an awaitable that tells by itself when it is settled: there is no host task for it before."""

    awaitable: Promised

    def begin(self) -> None:
        self.awaitable.when_settled(self.settled)

    def settled(self) -> None:
        outcome = self.awaitable.outcome
        if outcome is None:
            super().begin()
        else:
            self.resolve(outcome)

    def drop(self) -> None:
        told = self.dropped
        HostSource.drop(self)
        if not told:
            self.awaitable.on_dropped()

    def end_with_store(self) -> None:
        super().end_with_store()
        self.drop()


def raise_error(error: Exception) -> None:
    raise error

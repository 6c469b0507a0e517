"""The edge between a store and Python: how streams and futures cross it."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable
from typing import TYPE_CHECKING, Any

from anyio.abc import ByteReceiveStream, ObjectReceiveStream

from ..runtime.stream import Shared
from ..types import FutureType, StreamType
from .sources import AwaitableSource, BytesSource, IterableSource, PromiseSource
from .streams import FutureReader, HostEnd, StreamReader

if TYPE_CHECKING:
    from .driver import Driver


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
            source = PromiseSource if hasattr(value, "when_settled") else AwaitableSource
            return source(self.driver, t.elem_type, value)
        raise TypeError(f"expected an awaitable for a future, got {value!r}")

    def give_back(self, value: Any, shared: Shared) -> None:
        if isinstance(value, HostEnd):
            value.shared = shared
        elif isinstance(shared, IterableSource):
            shared.disown()
        else:
            shared.drop()

"""The value of a `future` that is set by whoever learns it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

import anyio

from ..errors import Err
from ..values import Ok

T = TypeVar("T")


class Promise(Generic[T]):
    """What a function returns for a `future<result<T, E>>` whose value comes by itself, so that no task has to wait for
    it. The host of a guest asks by `when_settled`; anybody may await it, any number of times.

    `outcome` is None until it is settled.
    """

    outcome: Ok | Err | None = None
    then: Callable[[], None] | None = None
    event: anyio.Event | None = None

    def settle(self, outcome: Ok | Err) -> None:
        """The first word counts."""
        if self.outcome is None:
            self.outcome = outcome
            if self.event is not None:
                self.event.set()
            self.call_then()

    def when_settled(self, then: Callable[[], None]) -> None:
        """Has `then` called once it is worth while to look: `outcome` is there, or, if not, awaiting has to be done."""
        if self.outcome is None:
            self.then = then
        else:
            then()

    def call_then(self) -> None:
        then, self.then = self.then, None
        if then is not None:
            then()

    def on_dropped(self) -> None:
        """The guest has dropped the future."""

    def __await__(self) -> Generator[Any, Any, T]:
        return self.result().__await__()

    async def result(self) -> T:
        """:raises Err: the error case"""
        if self.outcome is None:
            if self.event is None:
                self.event = anyio.Event()
            await self.event.wait()
        outcome = self.outcome
        if isinstance(outcome, Err):
            raise Err(outcome.value)
        assert outcome is not None
        value: T = outcome.value
        return value

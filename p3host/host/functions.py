"""Python functions as component functions: what a guest's imports are linked to."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import Err
from ..runtime.choice import Choice, promptly
from ..runtime.task import Call, OnCancel, failed_call
from ..types import FuncType, FutureType, ResultType
from ..values import Ok
from .driver import HostTask
from .interrupts import guard

if TYPE_CHECKING:
    from ..runtime.instance import ComponentInstance
    from .driver import Driver


class HostFunction:
    """What is known of a Python function when it is linked. `may_wait` says that a call may have to be awaited: the
    function is `async def`, or its return annotation names an awaitable."""

    def __init__(self, function: Callable[..., Any], name: str, t: FuncType) -> None:
        self.function = function
        self.name = name
        self.type = t
        self.returns_result = isinstance(t.result, ResultType)
        # An awaitable returned for a future is the future; only an async WIT function's `async def` gives one later.
        self.returns_future = isinstance(t.result, FutureType) and not t.is_async
        self.may_wait = not self.returns_future and may_wait(function)

    def call(self, args: Sequence[Any]) -> Any:
        """Calls the function; a `result` comes as Ok or Err. What it raises otherwise is the guest's trap."""
        outer = guard.depth
        try:
            guard.open()
            value = self.function(*args)
            guard.depth = outer
        except Err as error:
            guard.depth = outer
            if self.returns_result:
                return error
            raise failed_call(self.name, error) from error
        except BaseException as error:
            guard.depth = outer
            failure = failed_call(self.name, error)
            if failure is error:
                raise
            raise failure from error
        return Ok(value) if self.returns_result and not isinstance(value, Awaitable) else value

    def must_wait_for(self, value: Any) -> bool:
        return not self.returns_future and isinstance(value, Awaitable)


class BoundHostFunction:
    """A host function in one store: callable as every component function is."""

    __slots__ = ("driver", "host")

    def __init__(self, host: HostFunction, driver: Driver) -> None:
        self.host = host
        self.driver = driver

    def __call__(self, call: Call, caller: ComponentInstance | None) -> OnCancel:
        args = call.on_start()
        value = self.call_in_context(call, args)
        if not self.host.must_wait_for(value):
            self.answer(call, value)
            return nothing_to_cancel
        driver, host = self.driver, self.host

        def serve() -> Awaitable[None]:
            return driver.serve_call(task, call, value, host.returns_result)

        task = HostTask(host.name, serve, call.context, call)
        driver.start(task)
        return lambda caller: task.cancel()

    def answer(self, call: Call, value: Any) -> None:
        driver = self.driver
        choose = driver.store.choose
        if not self.host.type.is_async or promptly(choose, Choice.ANSWER, self.host.name):
            call.on_resolve(value)
        else:
            driver.answer(call, partial(call.on_resolve, value))

    def call_in_context(self, call: Call, args: Sequence[Any]) -> Any:
        context = call.context
        return self.host.call(args) if context is None else context.copy().run(self.host.call, args)

    def call_direct(self, call: Call, args: Sequence[Any]) -> Any:
        """For callers that can't wait."""
        value = self.call_in_context(call, args)
        if inspect.iscoroutine(value) and not self.host.returns_future:
            value.close()
            raise TypeError(
                f"the host function {self.host.name!r} returned a coroutine: define it with 'async def', or annotate "
                "its return type with Awaitable"
            )
        return value


def nothing_to_cancel(caller: ComponentInstance | None) -> None:
    """The call has been resolved."""


def may_wait(function: Callable[..., Any]) -> bool:
    function = inspect.unwrap(getattr(function, "func", function))
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
        return True
    annotation = getattr(function, "__annotations__", {}).get("return", "")
    text = annotation if isinstance(annotation, str) else repr(annotation)
    text += repr(getattr(function, "__globals__", {}).get(text.partition("[")[0]))  # it may be the name of an alias
    return "Awaitable" in text or "Coroutine" in text or "Future" in text

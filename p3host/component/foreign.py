"""Links one instance's exports to another instance's imports: calls that cross from store to store.

The callee's store is stepped by its own driver, within the caller's call; what it answers at once is taken at once.
What it answers later is posted to the caller's store, as a host function's answer would be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import InstanceClosed, Trap
from ..runtime.task import Call, OnCancel
from ..types import BorrowType, CompoundType, FuncType, OwnType, ResourceType, ValType

if TYPE_CHECKING:
    from ..host.driver import Driver
    from ..runtime.instance import ComponentInstance
    from .exports import ExportedFunction


class ForeignFunction:
    """An export of another store, as a function of this one."""

    __slots__ = ("driver", "export")

    def __init__(self, export: ExportedFunction, driver: Driver) -> None:
        self.export = export
        self.driver = driver

    def __call__(self, call: Call, caller: ComponentInstance | None) -> OnCancel:
        foreign = ForeignCall(call, self.driver, self.export)
        foreign.start()
        return foreign.request_cancellation


class ForeignCall:
    """One such call, between the caller's end and the callee."""

    __slots__ = ("call", "caller", "context", "export", "on_cancel", "on_stuck", "starting")

    def __init__(self, call: Call, caller: Driver, export: ExportedFunction) -> None:
        self.call = call
        self.caller = caller
        self.export = export
        self.context: Context | None = call.context
        self.on_cancel: OnCancel | None = None
        self.on_stuck: Callable[[], None] | None = None
        self.starting = True

    @property
    def callee(self) -> Driver:
        return self.export.driver

    def start(self) -> None:
        callee = self.callee
        try:
            callee.check_usable()
        except InstanceClosed:
            raise Trap(f"the instance that exports {self.export.name!r} was closed") from None
        if callee.store.trap is not None:
            raise Trap(f"the instance that exports {self.export.name!r} trapped before") from callee.store.trap
        callee.meet(self.caller)
        callee.calls[self] = None
        self.caller.outgoing[self] = None
        callee.step(self.begin)
        self.starting = False

    def begin(self) -> None:
        self.on_cancel = self.export.func(self, None)

    def on_start(self) -> Sequence[Any]:
        return self.call.on_start()

    def on_resolve(self, result: Any) -> None:
        self.end(partial(self.call.on_resolve, result))

    def on_fail(self, error: BaseException) -> None:
        self.fail(error)

    def fail(self, error: BaseException) -> None:
        self.end(partial(self.call.on_fail, error))

    def end(self, answer: partial[None]) -> None:
        self.export.driver.calls.pop(self, None)
        if self not in self.caller.outgoing:
            return  # it has ended before
        del self.caller.outgoing[self]
        if self.starting:
            answer()
        elif not self.caller.closing:
            self.caller.answer(self.call, answer)

    def request_cancellation(self, caller: ComponentInstance | None) -> None:
        callee = self.export.driver
        if not callee.closing:
            callee.step(self.cancel)

    def cancel(self) -> None:
        if self in self.export.driver.calls and self.on_cancel is not None:
            self.on_cancel(None)


ANY_RESOURCE = ResourceType("any resource")


def same_signature(a: FuncType, b: FuncType) -> bool:
    """Whether two function types of different components agree, where each resource type is taken for any other."""
    return (
        a.is_async == b.is_async
        and list(map(erase, a.param_types)) == list(map(erase, b.param_types))
        and (a.result and erase(a.result)) == (b.result and erase(b.result))
    )


def erase(t: ValType) -> ValType:
    if isinstance(t, OwnType):
        return OwnType(ANY_RESOURCE)
    if isinstance(t, BorrowType):
        return BorrowType(ANY_RESOURCE)
    return t.map(erase) if isinstance(t, CompoundType) else t

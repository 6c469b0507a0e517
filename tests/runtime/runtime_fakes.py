"""A world without wasm: Python functions and generators stand for core code.

A core function that calls nothing that blocks can be a plain function. Any other is a generator: it yields what it
calls, made by `at_once` or by a method of `Guest`, and is sent the result; `PREEMPT` stands for the end of its slice.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextvars import Context
from functools import partial
from inspect import isgenerator
from typing import Any, TypeAlias

from p3host.abi.layout import MAX_FLAT_PARAMS
from p3host.abi.lift import compile_lift_result
from p3host.abi.options import AbiOptions
from p3host.runtime import canon
from p3host.runtime.choice import Chooser
from p3host.runtime.copying import element_codec
from p3host.runtime.function import LiftedFunc, LiftedType, LoweredFunc, canon_lower_async, canon_lower_sync
from p3host.runtime.instance import ComponentInstance
from p3host.runtime.options import CanonicalOptions
from p3host.runtime.resource import RuntimeResource
from p3host.runtime.store import Store
from p3host.runtime.stream import (
    CopyEnd,
    ReadableFutureEnd,
    ReadableStreamEnd,
    WritableFutureEnd,
    WritableStreamEnd,
)
from p3host.runtime.task import Call, FuncInst, OnCancel
from p3host.runtime.thread import SUSPEND, Status, Thread, call_routine
from p3host.types import CoreFuncType, FuncType, FutureType, PrimitiveType, ResourceType, StreamType, ValType

U8, U32 = PrimitiveType.U8, PrimitiveType.U32
BYTES = StreamType(U8)
BYTE = FutureType(U8)
ABI = AbiOptions()
PREEMPT = object()
THREAD_START = CoreFuncType(("i32",), ())
Core: TypeAlias = Generator[Any, Any, Any]
Body: TypeAlias = Callable[..., Any]


class FakeMemory:
    def __init__(self, size: int = 4096) -> None:
        self.data = bytearray(size)
        self.view = memoryview(self.data)

    def refresh(self) -> memoryview:
        return self.view

    def u32(self, pointer: int) -> int:
        return int.from_bytes(self.data[pointer : pointer + 4], "little")


class FakeFiber:
    def __init__(self, body: Body, args: Sequence[Any]) -> None:
        self.body = body
        self.args = args
        self.generator: Any = None
        self.result: Any = None
        self.value: Any = None
        self.error: BaseException | None = None
        self.closed = False

    def step(self) -> Status:
        assert not self.closed
        if self.generator is None:
            made = self.body(*self.args)
            if not isgenerator(made):
                self.result = made
                return Status.DONE
            self.generator = made
        if self.error is not None:
            raise self.error
        value, self.value = self.value, None
        while True:
            try:
                called = self.generator.send(value)
            except StopIteration as stop:
                self.result = stop.value
                return Status.DONE
            if called is PREEMPT:
                return Status.PREEMPTED
            value = called()
            if value is SUSPEND:
                return Status.SUSPENDED

    def answer(self, value: Any) -> None:
        self.value = value

    def fail(self, error: BaseException) -> None:
        self.error = error

    def close(self) -> None:
        self.closed = True


class FakeFunc:
    def __init__(self, body: Body) -> None:
        self.body = body

    def fiber(self, args: Sequence[Any]) -> FakeFiber:
        return FakeFiber(self.body, args)

    def call(self, *args: Any) -> Any:
        fiber = self.fiber(args)
        assert fiber.step() is Status.DONE, "a call that may not block has blocked"
        return fiber.result


class FakeTable:
    def __init__(self, *bodies: Body | None) -> None:
        self.funcs = [None if body is None else FakeFunc(body) for body in bodies]

    def get(self, index: int, t: CoreFuncType) -> FakeFunc | None:
        return self.funcs[index]


class PlainEdge:
    """Streams, futures and resources cross as what they are inside of the runtime."""

    def wrap(self, value: Any, t: Any = None) -> Any:
        return value

    wrap_stream = unwrap_stream = wrap_future = unwrap_future = wrap_resource = wrap

    def give_back(self, value: Any, shared: Any) -> None:
        pass


class HostCaller:
    """The host's call of an export."""

    context: Context | None = None

    def __init__(self, func: FuncInst, *args: Any) -> None:
        self.func = func
        self.args = args
        self.results: list[Any] = []
        self.failure: BaseException | None = None
        self.started = False
        self.on_cancel: OnCancel | None = None

    def on_start(self) -> Sequence[Any]:
        self.started = True
        return self.args

    def on_resolve(self, result: Any) -> None:
        self.results.append(result)

    def on_fail(self, error: BaseException) -> None:
        self.failure = error

    def begin(self) -> None:
        self.on_cancel = self.func(self, None)

    def cancel(self) -> None:
        assert self.on_cancel is not None
        self.on_cancel(None)


def tick(store: Store, action: Callable[[], None] | None = None) -> None:
    """Runs what is ready. With a chooser, each tick takes one turn."""
    store.tick(action)
    while store.choose is not None and store.has_work and store.preempted is None:
        store.tick()


class HostImport:
    """A function of the host that answers when the test says so, or at once with `answer`."""

    def __init__(self, store: Store, answer: Any = None) -> None:
        self.store = store
        self.answer = answer
        self.calls: list[Call] = []
        self.args: list[Sequence[Any]] = []
        self.cancelled: list[Call] = []

    def __call__(self, call: Call, caller: ComponentInstance | None) -> OnCancel:
        self.args.append(call.on_start())
        self.calls.append(call)
        if self.answer is not None:
            call.on_resolve(self.answer)
        return lambda caller: self.cancelled.append(call)

    def resolve(self, value: Any = None, position: int = 0) -> None:
        call = self.calls[position]
        self.store.post(call, partial(call.on_resolve, value))
        tick(self.store)

    def fail(self, error: BaseException) -> None:
        self.store.post(self.calls[0], partial(self.calls[0].on_fail, error))
        tick(self.store)


class World:
    """A store and what happened in it: `log` is for the guests to write to."""

    def __init__(self, choose: Chooser | None = None, max_handles: int = 1000) -> None:
        self.store = Store(PlainEdge(), choose=choose, max_handles=max_handles, slice_seconds=60.0)
        self.failures: list[BaseException] = []
        self.store.on_poison = self.failures.append
        self.log: list[Any] = []

    def guest(self, name: str = "guest", parent: Guest | None = None) -> Guest:
        return Guest(self, name, parent)

    def call(self, func: FuncInst, *args: Any) -> HostCaller:
        caller = HostCaller(func, *args)
        tick(self.store, caller.begin)
        return caller

    def cancel(self, caller: HostCaller) -> None:
        tick(self.store, caller.cancel)

    def waits(self) -> list[str]:
        """Who waits for what."""
        return [f"{thread.task.describe()} {thread.describe()}" for thread in self.store.threads]

    def trap(self) -> str:
        """The message of the trap that has ended the store."""
        assert self.store.trap is not None, "nothing has trapped"
        assert len(self.failures) == 1
        return self.store.trap.message


def at_once(function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
    return partial(function, *args)


class Guest:
    """One component instance, with its core functions, and the built-ins as it would call them."""

    def __init__(self, world: World, name: str, parent: Guest | None) -> None:
        self.world = world
        self.store = world.store
        self.inst = ComponentInstance(self.store, parent.inst if parent else None, name)
        self.store.instances.append(self.inst)
        self.memory = FakeMemory()
        self.allocated = 2048
        self.realloc = FakeFunc(self.bump)

    def bump(self, old: int, old_size: int, alignment: int, new_size: int) -> int:
        pointer = (self.allocated + alignment - 1) & -alignment
        self.allocated = pointer + new_size
        return pointer

    def options(self, **named: Any) -> CanonicalOptions:
        return CanonicalOptions(self.inst, self.memory, named.pop("realloc", self.realloc), **named)

    def thread(self) -> Thread:
        assert self.store.current is not None
        return self.store.current

    def blocking(self, routine: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        return lambda: call_routine(self.thread(), routine(self.thread(), *args))

    # What it exports

    def lift(
        self,
        body: Body,
        params: Sequence[ValType] = (),
        result: ValType | None = None,
        *,
        abi: str = "stackful",
        callback: Body | None = None,
        is_async: bool = True,
        post_return: Body | None = None,
        name: str = "f",
    ) -> LiftedFunc:
        """`abi` is "sync", "stackful", or "callback" (which a `callback` implies)."""
        t = FuncType(tuple((f"p{i}", param) for i, param in enumerate(params)), result, is_async)
        is_async_abi = callback is not None or abi != "sync"
        options = self.options(
            is_async=is_async_abi,
            callback=FakeFunc(callback) if callback else None,
            post_return=FakeFunc(post_return) if post_return else None,
            core_func=FakeFunc(body),
        )
        return LiftedFunc(name, LiftedType(t, ABI, is_async_abi), options)

    def resource(self, name: str = "r", destructor: Body | None = None) -> tuple[RuntimeResource, ResourceType]:
        """A resource type that this guest implements, and the static type that stands for it."""
        lifted = None
        if destructor is not None:
            lifted = self.lift(destructor, (U32,), abi="sync", is_async=False, name="destructor")
        return self.add_resource(RuntimeResource(name, self.inst, lifted))

    def add_resource(self, resource: RuntimeResource) -> tuple[RuntimeResource, ResourceType]:
        self.store.resources.append(resource)
        return resource, ResourceType(resource.name, len(self.store.resources) - 1)

    # What it imports

    def lower(
        self,
        callee: FuncInst,
        params: Sequence[ValType] = (),
        result: ValType | None = None,
        *,
        is_async: bool = False,
        async_type: bool = True,
        name: str = "import",
    ) -> Callable[..., Callable[[], Any]]:
        t = FuncType(tuple((f"p{i}", param) for i, param in enumerate(params)), result, async_type)
        lifted = (ABI, callee.lifted.is_async) if isinstance(callee, LiftedFunc) else None
        lowered = LoweredFunc(name, t, ABI, is_async, lifted)
        options = self.options(is_async=is_async)
        start = canon_lower_async if is_async else canon_lower_sync
        return lambda *flat: lambda: call_routine(self.thread(), start(lowered, options, callee, self.thread(), flat))

    # Built-ins

    def task_return(self, *flat: Any, result: ValType | None = None, **options: Any) -> Callable[[], Any]:
        lift = compile_lift_result(result, ABI, MAX_FLAT_PARAMS)
        return lambda: canon.canon_task_return(self.thread(), self.options(**options), result, lift, flat)

    def task_cancel(self) -> Callable[[], Any]:
        return lambda: canon.canon_task_cancel(self.thread())

    def set_new(self) -> Callable[[], Any]:
        return at_once(canon.canon_waitable_set_new, self.inst)

    def set_wait(self, set_index: int, pointer: int = 0) -> Callable[[], Any]:
        return self.blocking(canon.canon_waitable_set_wait, self.memory, set_index, pointer)

    def set_poll(self, set_index: int, pointer: int = 0) -> Callable[[], Any]:
        return lambda: canon.canon_waitable_set_poll(self.thread(), self.memory, set_index, pointer)

    def set_drop(self, set_index: int) -> Callable[[], Any]:
        return at_once(canon.canon_waitable_set_drop, self.inst, set_index)

    def join(self, index: int, set_index: int) -> Callable[[], Any]:
        return at_once(canon.canon_waitable_join, self.inst, index, set_index)

    def subtask_cancel(self, index: int, is_async: bool = False) -> Callable[[], Any]:
        return self.blocking(canon.canon_subtask_cancel, is_async, index)

    def subtask_drop(self, index: int) -> Callable[[], Any]:
        return at_once(canon.canon_subtask_drop, self.inst, index)

    def yield_(self) -> Callable[[], Any]:
        return self.blocking(canon.canon_thread_yield)

    def suspend(self) -> Callable[[], Any]:
        return self.blocking(canon.canon_thread_suspend)

    def switch(self, name: str, index: int) -> Callable[[], Any]:
        """`name` is `suspend_then_resume` and the like."""
        return self.blocking(getattr(canon, f"canon_thread_{name}"), index)

    def new(self, t: StreamType | FutureType) -> Callable[[], Any]:
        """Gives the indices of the readable and the writable end."""

        def make() -> tuple[int, int]:
            match t:
                case StreamType():
                    made = canon.canon_stream_new(self.inst, t)
                case FutureType():
                    made = canon.canon_future_new(self.inst, t)
            return made & 0xFFFF_FFFF, made >> 32

        return make

    def copy(
        self, reads: bool, t: StreamType | FutureType, index: int, pointer: int, count: int = 1, is_async: bool = True
    ) -> Callable[[], Any]:
        kind, codec = end_kind(reads, t), element_codec(t.elem_type, ABI)
        options = self.options(is_async=is_async)
        if is_async:
            return at_once(canon.copy_async, kind, t, codec, options, index, pointer, count)
        return lambda: call_routine(
            self.thread(), canon.copy_sync(kind, t, codec, self.thread(), options, index, pointer, count)
        )

    def read(
        self, t: StreamType | FutureType, index: int, pointer: int, count: int = 1, *, is_async: bool = True
    ) -> Any:
        return self.copy(True, t, index, pointer, count, is_async)

    def write(
        self, t: StreamType | FutureType, index: int, pointer: int, count: int = 1, *, is_async: bool = True
    ) -> Any:
        return self.copy(False, t, index, pointer, count, is_async)

    def cancel_read(self, t: StreamType | FutureType, index: int, is_async: bool = False) -> Callable[[], Any]:
        return at_once(canon.cancel_copy, end_kind(True, t), self.inst, t, is_async, index)

    def cancel_write(self, t: StreamType | FutureType, index: int, is_async: bool = False) -> Callable[[], Any]:
        return at_once(canon.cancel_copy, end_kind(False, t), self.inst, t, is_async, index)

    def drop_readable(self, t: StreamType | FutureType, index: int) -> Callable[[], Any]:
        return at_once(canon.drop_end, end_kind(True, t), self.inst, t, index)

    def drop_writable(self, t: StreamType | FutureType, index: int) -> Callable[[], Any]:
        return at_once(canon.drop_end, end_kind(False, t), self.inst, t, index)

    def resource_drop(self, resource: RuntimeResource, index: int) -> Callable[[], Any]:
        return lambda: call_routine(self.thread(), canon.canon_resource_drop(self.inst, resource, index))


def end_kind(reads: bool, t: StreamType | FutureType) -> type[CopyEnd]:
    if isinstance(t, StreamType):
        return ReadableStreamEnd if reads else WritableStreamEnd
    return ReadableFutureEnd if reads else WritableFutureEnd


# Functions of guests that several tests use


def blocker(world: World, guest: Any, name: str, abi: str, gate: HostImport) -> Any:
    """A function that logs its name, calls the host's gate, logs again and returns."""
    call = guest.lower(gate)

    def body() -> Core:
        world.log.append(f"{name} in")
        yield call()
        world.log.append(f"{name} out")
        if abi != "sync":
            yield guest.task_return()
        return 0 if abi == "callback" else None

    return guest.lift(body, abi=abi, callback=(lambda *event: 0) if abi == "callback" else None, name=name)


def yielding(world: World, guest: Guest, name: str, turns: int = 2) -> Any:
    def body() -> Core:
        for _ in range(turns):
            world.log.append(name)
            yield guest.yield_()
        yield guest.task_return()

    return guest.lift(body, name=name)


def blocked(world: World, guest: Guest, gate: HostImport) -> Any:
    call = guest.lower(gate)

    def body() -> Core:
        yield call()
        world.log.append("went on")
        yield guest.task_return()

    return guest.lift(body)

"""What core instances export and import: functions, memories, tables, globals and tags of one machine."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import byref
from threading import get_ident
from typing import TYPE_CHECKING, Any

from wasmtime import _bindings as bindings

from ..errors import Trap, trap_if
from ..types import CoreExternType, CoreFuncType, CoreMemoryType, CoreTableType, PointerType
from . import native
from .fiber import Fiber
from .native import Argument, argument
from .signatures import CoreValue, Frame, signature

if TYPE_CHECKING:
    from .machine import Machine

FUNC_KIND = b"\0"
THREAD_START = CoreFuncType(("i32",), ())


class Extern:
    """A definition in a machine's store. `storage` has wasmtime's `wasmtime_extern_t` of it, at `offset`."""

    __slots__ = ("argument", "machine", "offset", "storage", "type")
    type: CoreExternType

    def __init__(self, machine: Machine, storage: ctypes.Array[Any], t: CoreExternType, offset: int = 0) -> None:
        self.machine = machine
        self.storage = storage
        self.offset = offset
        self.type = t
        self.argument: Argument = byref(storage, offset)

    @property
    def handle(self) -> Argument:
        """The `wasmtime_func_t`, `wasmtime_memory_t` and so on."""
        return byref(self.storage, self.offset + native.EXTERN_OFFSET)


class Global(Extern):
    __slots__ = ()


class Tag(Extern):
    __slots__ = ()


class Func(Extern):
    """A core function of a guest."""

    __slots__ = ("pool",)
    type: CoreFuncType

    def __init__(self, machine: Machine, storage: ctypes.Array[Any], t: CoreFuncType, offset: int = 0) -> None:
        super().__init__(machine, storage, t, offset)
        self.pool: list[Frame] = []  # frames that no entry uses at present

    def fiber(self, arguments: Sequence[CoreValue] = (), may_block: bool = True) -> Fiber:
        """An entry into the function, which starts with its first step. Integers are given as unsigned numbers.

        In an entry that may not block, a step runs to the end: ticks don't end it before its budget of processor time
        (`EngineConfig.entry_budget_seconds`) is used up, and a host function that suspends is a trap.
        """
        pool = self.pool
        frame = pool.pop() if pool else self.make_frame()
        frame.write(frame, arguments)
        fiber = Fiber(self.machine, frame)
        if not may_block:
            fiber.may_block = False
        return fiber

    def call(self, *arguments: CoreValue) -> Any:
        """The result of an entry that may not block (`realloc`, a post-return).

        :raises Trap: as `Fiber.step` does.
        """
        fiber = self.fiber(arguments, may_block=False)
        fiber.step()
        return fiber.result

    def make_frame(self) -> Frame:
        machine = self.machine
        if machine.thread != get_ident():
            raise machine.unusable()
        layout = signature(self.type)
        frame = Frame(layout.size, layout.errors_offset)
        for index, kind in enumerate(layout.kinds):
            frame.buffer[index * native.VALUE_SIZE] = kind
        frame.enter = native.func_call_async
        frame.write = layout.write
        frame.read = layout.read
        frame.pool = self.pool
        frame.keep = self.storage
        frame.arguments = (
            machine.context_argument,
            self.handle,
            argument(frame.address),
            argument(layout.param_count),
            argument(frame.address + layout.results_offset),
            argument(layout.result_count),
            *frame.error_arguments(),
        )
        return frame


class Memory(Extern):
    """A linear memory. It only grows and never moves; `view` is the part that was there at the last `refresh`.

    After the machine was closed `view` is empty. Slices that were taken from it before must be gone by then.
    """

    __slots__ = ("base", "pointer", "view")
    type: CoreMemoryType

    def __init__(self, machine: Machine, storage: ctypes.Array[Any], t: CoreMemoryType, offset: int = 0) -> None:
        super().__init__(machine, storage, t, offset)
        self.pointer: PointerType = t.limits.pointer
        self.view = memoryview(b"")
        self.base: int = native.memory_data(machine.context_argument, self.handle) or 0
        self.refresh()

    def refresh(self) -> memoryview:
        """Sets and returns a `view` of the memory's present size."""
        machine = self.machine
        if not machine.closed:
            size: int = native.memory_data_size(machine.context_argument, self.handle)
            if size != len(self.view):
                self.view = native.memory_view(self.base, size, native.WRITABLE)
        return self.view

    def release(self) -> None:
        view, self.view = self.view, memoryview(b"")
        try:
            view.release()
        except BufferError:  # somebody's view of the view is left; that one is for its owner to let go
            pass


class Table(Extern):
    __slots__ = ()
    type: CoreTableType

    def get(self, index: int, t: CoreFuncType = THREAD_START) -> Func | None:
        """The function at `index`, or None where the element is null.

        :raises Trap: if `index` is out of bounds, or the function has another type than `t`.
        """
        machine = self.machine
        machine.check()
        value = (ctypes.c_char * native.VALUE_SIZE)()
        within = native.table_get(machine.context_argument, self.handle, argument(index), byref(value))
        trap_if(not within, f"undefined element: the table has no element {index}")
        assert value[0] == bytes([native.FUNCREF])
        reference = bindings.wasmtime_func_t.from_buffer(value, native.VALUE_OFFSET)
        if reference.store_id == 0:
            return None
        storage = (ctypes.c_char * native.EXTERN_SIZE)()
        extern = bindings.wasmtime_extern_t.from_buffer(storage)
        storage[0] = FUNC_KIND
        extern.of.func = reference
        func = Func(machine, storage, t)
        if not machine.has_type(func, t):
            raise Trap(f"indirect call type mismatch: the element {index} isn't a {describe(t)}")
        return func


def describe(t: CoreFuncType) -> str:
    return f"({' '.join(t.params)}) -> ({' '.join(t.results)})"

"""A machine: one store of wasmtime with the core instances in it."""

from __future__ import annotations

import ctypes
import sys
from collections import deque
from collections.abc import Callable, Sequence
from ctypes import byref
from dataclasses import dataclass
from itertools import count
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeAlias

from wasmtime import _bindings as bindings

from ..errors import InstanceClosed, LinkError
from ..types import CoreFuncType, CoreGlobalType, CoreMemoryType, CoreTableType, CoreTagType
from . import native
from .externs import Extern, Func, Global, Memory, Table, Tag
from .failures import trap_from
from .fiber import Fiber, running_fibers
from .host_functions import HostFunc, Shim
from .native import Argument, argument
from .signals import check_handler
from .signatures import Frame, Slots

if TYPE_CHECKING:
    from .compiler import Engine, ImportArguments, Module

Import: TypeAlias = HostFunc | Extern
Instantiation: TypeAlias = Fiber
"""A fiber whose result is a `CoreInstance`."""

PAGE = 65536
NOT_POOLED: deque[Frame] = deque(maxlen=0)


@dataclass(frozen=True, kw_only=True)
class MachineLimits:
    """What the guests of one machine may have. `memory_bytes` and `table_elements` bound each memory and table.

    A guest that grows beyond them is told so by `memory.grow` and `table.grow`; an instantiation traps.
    """

    memory_bytes: int = 1 << 32
    table_elements: int = 1_000_000
    instances: int = 1000
    memories: int = 100
    tables: int = 1000


class Machine:
    """One store: core instances that can be linked with each other. Host functions are called with its `state`.

    Only the thread that made a machine may use it.
    """

    def __init__(self, engine: Engine, state: Any, limits: MachineLimits | None = None) -> None:
        self.closed = True  # until there is something to close
        if engine.config.signals_based_traps:
            check_handler(engine.trap_handler)
        self.engine = engine
        self.state = state
        self.limits = limits or MachineLimits()
        self.thread = get_ident()
        self.poll = native.poll_held if engine.ticker.is_native else native.poll_released
        self.unfinished: set[Fiber] = set()  # started, and neither done nor closed
        self.memories: dict[tuple[int, int], Memory] = {}  # by wasmtime's handle: many instances can export one memory
        self.mailboxes: dict[Shim, Slots] = {}
        self.host_imports: dict[HostFunc, tuple[ctypes.Array[Any], int]] = {}  # where their `wasmtime_extern_t` are
        self.store: Any = bindings.wasmtime_store_new(engine.wasmtime.ptr(), None, native.NO_FINALIZER)
        context = bindings.wasmtime_store_context(self.store)
        self.context_argument: Argument = argument(native.address(context))
        bindings.wasmtime_context_epoch_deadline_async_yield_and_update(context, 1)
        self.set_limits(0)
        engine.ticker.acquire()
        self.closed = False

    def set_limits(self, shims: int) -> None:
        """Tells wasmtime the limits. Shims and their mailboxes come on top of what guests may have."""
        limits = self.limits
        bindings.wasmtime_store_limiter(
            self.store,
            max(limits.memory_bytes, PAGE),
            limits.table_elements,
            limits.instances + shims,
            limits.tables,
            limits.memories + shims,
        )

    def check(self) -> None:
        """:raises RuntimeError: on another thread than the machine's.
        :raises InstanceClosed: after `close`."""
        if self.thread != get_ident():
            raise self.unusable()

    def unusable(self) -> Exception:
        if self.closed:
            return InstanceClosed("the machine was closed")
        return RuntimeError("a machine can be used only by the thread that made it")

    def instantiate(self, module: Module, imports: Sequence[Import] = ()) -> Instantiation:
        """An instantiation of `module`, which runs its start function: a fiber whose result is a `CoreInstance`.

        `imports` has one item for each of `module.imports`.

        :raises LinkError: if the module is of another engine, or an import is missing or of another machine. Where an
            import's type doesn't match, the step raises it.
        """
        self.check()
        if module.engine is not self.engine:
            raise LinkError(["the module was compiled by another engine than the machine's"])
        if len(imports) != len(module.imports):
            raise LinkError([f"the module has {len(module.imports)} imports, {len(imports)} were given"])
        if not imports:
            return self.enter_instance(module, module.prepared_argument)
        self.add_host_functions([item for item in imports if isinstance(item, HostFunc)])
        linker = Linker(self)
        for names, item in zip(module.import_arguments, imports, strict=True):
            if isinstance(item, HostFunc):
                linker.define(names, byref(*self.host_imports[item]))
            elif item.machine is self:
                linker.define(names, item.argument)
            else:
                raise LinkError([f"an import is of another machine: {item.type}"])
        return self.enter_instance(module, linker.argument, linker, module.argument)

    def enter_instance(self, module: Module | Shim, target: Argument, linker: object = None, *of: Argument) -> Fiber:
        """An instantiation from a linker, with the module, or from a prepared instance."""
        frame = Frame(native.INSTANCE_SIZE + 16, native.INSTANCE_SIZE)
        frame.enter = native.linker_instantiate_async if of else native.instance_pre_instantiate_async
        frame.read = lambda done: CoreInstance(self, module, done)
        frame.pool = NOT_POOLED
        frame.keep = (module, linker)
        instance = argument(frame.address)
        frame.arguments = (target, self.context_argument, *of, instance, *frame.error_arguments())
        return Fiber(self, frame)

    def func(self, host_func: HostFunc) -> Func:
        """A host function as a core function of this machine."""
        self.check()
        self.add_host_functions([host_func])
        storage, offset = self.host_imports[host_func]
        return Func(self, storage, host_func.type, offset)

    def add_host_functions(self, funcs: Sequence[HostFunc]) -> None:
        new = tuple(dict.fromkeys(func for func in funcs if func not in self.host_imports))
        if not new:
            return
        shim = self.engine.shim(new)
        self.set_limits(len(self.mailboxes) + 1)
        fiber = self.enter_instance(shim, shim.prepared_argument)
        fiber.may_block = False
        fiber.step()
        context, instance = self.context_argument, fiber.result.handle
        storage = (ctypes.c_char * (native.EXTERN_SIZE * len(shim.exports)))()
        for (name, length), offset in zip(shim.exports, count(0, native.EXTERN_SIZE)):
            found = native.instance_export_get(context, instance, name, length, byref(storage, offset))
            assert found
        base = native.memory_data(context, byref(storage, native.EXTERN_OFFSET))
        self.mailboxes[shim] = Slots(native.memory_view(base, PAGE, native.WRITABLE))
        for func, offset in zip(new, count(native.EXTERN_SIZE, native.EXTERN_SIZE)):
            self.host_imports[func] = storage, offset

    def has_type(self, func: Func, t: CoreFuncType) -> bool:
        """Whether a function from a guest's table has the type `t`. (wasmtime's C API can't name every type.)"""
        probe = self.engine.probe(t)
        linker = Linker(self)
        linker.define(probe.import_arguments[0], func.argument)
        prepared = ctypes.c_void_p()
        error = native.linker_instantiate_pre(linker.argument, probe.argument, byref(prepared))
        if error is None:
            native.instance_pre_delete(argument(prepared.value or 0))
            return True
        native.error_delete(argument(error))
        return False

    def close(self) -> None:
        """Ends every entry, and frees the store with all instances. Does nothing the second time.

        :raises RuntimeError: while guest code of this machine runs.
        """
        if self.closed:
            return
        self.check()
        if any(fiber.machine is self for fiber in running_fibers()):
            raise RuntimeError("a machine can't be closed while it runs")
        for fiber in list(self.unfinished):
            fiber.close()
        self.closed = True
        self.thread = -1
        for memory in self.memories.values():
            memory.release()
        self.mailboxes.clear()
        self.host_imports.clear()
        bindings.wasmtime_store_delete(self.store)
        self.engine.ticker.release()

    def __del__(self) -> None:
        if not self.closed and not sys.is_finalizing():
            self.thread = get_ident()  # nobody else has it any more
            self.close()


class Linker:
    """A linker of wasmtime for one instantiation: definitions of a store can't be linked in another one."""

    def __init__(self, machine: Machine) -> None:
        self.context = machine.context_argument
        self.argument: Argument = argument(native.linker_new(machine.engine.argument))

    def define(self, names: ImportArguments, item: Argument) -> None:
        error = native.linker_define(self.argument, self.context, *names, item)
        if error is not None:
            raise trap_from(0, error)

    def __del__(self) -> None:
        native.linker_delete(self.argument)


EXTERN_KINDS: dict[type, Callable[..., Extern]] = {
    CoreFuncType: Func,
    CoreMemoryType: Memory,
    CoreTableType: Table,
    CoreGlobalType: Global,
    CoreTagType: Tag,
}


class CoreInstance:
    """An instance of a core module. Its exports are looked up when they are asked for."""

    def __init__(self, machine: Machine, module: Module | Shim, frame: Frame) -> None:
        self.machine = machine
        self.module = module
        self.storage = (ctypes.c_char * native.INSTANCE_SIZE).from_buffer_copy(frame.buffer)
        self.handle: Argument = byref(self.storage)
        self.externs: dict[str, Extern] = {}

    def export(self, name: str) -> Extern:
        """The export `name`: a `Func`, `Memory`, `Table`, `Global` or `Tag`.

        :raises KeyError: if there is none.
        """
        extern = self.externs.get(name)
        if extern is None:
            machine = self.machine
            machine.check()
            assert not isinstance(self.module, Shim)
            t = self.module.exports[name]
            storage = (ctypes.c_char * native.EXTERN_SIZE)()
            names = self.module.export_arguments[name]
            found = native.instance_export_get(machine.context_argument, self.handle, *names, byref(storage))
            assert found
            extern = EXTERN_KINDS[type(t)](machine, storage, t)
            if isinstance(extern, Memory):
                extern = machine.memories.setdefault(memory_key(storage), extern)
            self.externs[name] = extern
        return extern


def memory_key(storage: ctypes.Array[Any]) -> tuple[int, int]:
    """What tells the memories of one store apart."""
    memory = bindings.wasmtime_memory_t.from_buffer(storage, native.EXTERN_OFFSET)
    return memory._anon_1.__private1, memory.__private2

"""A component linked: its modules compiled, and its host functions made. Instantiated often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..abi.options import AbiOptions
from ..engine import HostFunc, Module
from ..runtime.function import LiftedFunc, LiftedType, run_until_resolved
from ..runtime.instance import ComponentInstance
from ..runtime.options import CanonicalOptions
from ..runtime.resource import RuntimeResource
from ..runtime.store import HostEntry, Store
from ..runtime.task import Call, OnCancel, Task, TaskState
from ..runtime.thread import Routine, Thread
from ..types import FuncType, PrimitiveType
from .bindings import builtin, lower
from .program import (
    BindFunc,
    BindOptions,
    BindTable,
    CanonItem,
    CoreExportItem,
    CoreItem,
    DefineResource,
    InstantiateCore,
    LiftedDef,
    LoweredCanon,
    MakeInstance,
    ModuleItem,
    Program,
)

if TYPE_CHECKING:
    from ..engine import CoreInstance, Machine

DESTRUCTOR_TYPE = FuncType((("rep", PrimitiveType.U64),), None)  # of a representation of 32 bits, too


class Linked:
    """What all instances share that are linked alike. `hosts` tells of each imported function whether it may wait."""

    def __init__(
        self,
        program: Program,
        modules: Sequence[Module],
        imported_modules: Sequence[Module],
        hosts: dict[int, bool],
    ) -> None:
        self.program = program
        self.modules = modules
        self.imported_modules = imported_modules
        self.lifted: list[LiftedType | None] = [
            LiftedType(func.type, program.options[func.options].abi, program.options[func.options].is_async)
            if isinstance(func, LiftedDef)
            else None
            for func in program.funcs
        ]
        self.destructor = LiftedType(DESTRUCTOR_TYPE, AbiOptions(), is_async=False)
        guest_destructors = {
            step.slot for step in program.steps if isinstance(step, DefineResource) and step.destructor is not None
        }

        def is_host_resource(slot: int) -> bool:
            return slot not in guest_destructors

        self.host_funcs: list[HostFunc] = [
            lower(program, canon, hosts.get(canon.func))
            if isinstance(canon, LoweredCanon)
            else builtin(program, canon, is_host_resource)
            for canon in program.canons
        ]
        # What each core instantiation is given: for each import of the module, in its order
        self.core_imports: list[list[HostFunc | CoreExportItem]] = [
            [self.core_import(step, module_name, name) for module_name, name, _ in self.module(step.module).imports]
            for step in program.steps
            if isinstance(step, InstantiateCore)
        ]

    def module(self, item: ModuleItem) -> Module:
        return self.imported_modules[item.index] if item.imported else self.modules[item.index]

    def core_import(self, step: InstantiateCore, module_name: str, name: str) -> HostFunc | CoreExportItem:
        arg = step.args[module_name]
        item: CoreItem = CoreExportItem(arg, name) if isinstance(arg, int) else arg[name]
        return self.host_funcs[item.index] if isinstance(item, CanonItem) else item


class Instantiation:
    """One run of a linked component's program, on a thread of its own as start functions are guest code."""

    def __init__(self, linked: Linked, store: Store, machine: Machine) -> None:
        self.linked = linked
        self.store = store
        self.machine = machine
        self.core_instances: list[CoreInstance] = []
        for step in linked.program.steps:
            if isinstance(step, MakeInstance):
                parent = None if step.parent is None else store.instances[step.parent]
                store.instances.append(ComponentInstance(store, parent, step.name))

    def __call__(self, call: Call, caller: ComponentInstance | None) -> OnCancel:
        store = self.store
        root = store.instances[0]
        entered = root.enter_from(caller)
        task = Task(HostEntry("instantiate", root), call)
        task.state = TaskState.STARTED
        thread = task.implicit_thread = Thread(task)
        thread.stack.append(self.run(task))
        thread.run(None)
        run_until_resolved(task)
        store.when_thawed_leave(entered)
        return task.request_cancellation

    def run(self, task: Task) -> Routine[None]:
        store, program = self.store, self.linked.program
        thread = task.implicit_thread
        core_imports = iter(self.linked.core_imports)
        for step in program.steps:
            match step:
                case InstantiateCore():
                    task.inst = store.instances[step.instance]
                    start = self.begin_start(task)
                    imports = [
                        item if isinstance(item, HostFunc) else self.core_instances[item.instance].export(item.name)
                        for item in next(core_imports)
                    ]
                    module = self.linked.module(step.module)
                    self.core_instances.append((yield self.machine.instantiate(module, imports)))
                    start.unregister_thread(thread)
                    thread.index, thread.task = 0, task
                case BindOptions():
                    store.options.append(self.bind_options(step))
                case BindTable():
                    store.tables.append(self.core_item(step.table))
                case BindFunc():
                    self.bind_func(step.index)
                case DefineResource():
                    self.define_resource(step)
                case MakeInstance():
                    pass
        task.inst = store.instances[0]
        task.return_(None)

    def begin_start(self, task: Task) -> Task:
        """A task for one start function, in its own instance, where threads that it leaves behind go on."""
        thread = task.implicit_thread
        thread.storage = [0, 0]
        thread.task = start = Task(HostEntry("instantiate", task.inst), task.call)
        start.implicit_thread = thread
        start.state = TaskState.RESOLVED
        start.register_thread(thread)
        return start

    def core_item(self, item: CoreItem | None) -> Any:
        if item is None:
            return None
        if isinstance(item, CanonItem):
            return self.machine.func(self.linked.host_funcs[item.index])
        return self.core_instances[item.instance].export(item.name)

    def bind_options(self, step: BindOptions) -> CanonicalOptions:
        options = step.options
        return CanonicalOptions(
            self.store.instances[options.instance],
            memory=self.core_item(options.memory),
            realloc=self.core_item(options.realloc),
            string_encoding=options.abi.string_encoding,
            is_async=options.is_async,
            callback=self.core_item(options.callback),
            post_return=self.core_item(options.post_return),
            core_func=self.core_item(options.core_func),
        )

    def bind_func(self, index: int) -> None:
        func = self.linked.program.funcs[index]
        assert isinstance(func, LiftedDef)
        lifted = self.linked.lifted[index]
        assert lifted is not None
        self.store.funcs[index] = LiftedFunc(func.name, lifted, self.store.options[func.options])

    def define_resource(self, step: DefineResource) -> None:
        store = self.store
        name = self.linked.program.resources[step.slot].name
        destructor = None
        if step.destructor is not None:
            destructor = LiftedFunc(f"the destructor of {name}", self.linked.destructor, store.options[step.destructor])
        store.resources[step.slot] = RuntimeResource(name, store.instances[step.instance], destructor)


def prepare_store(program: Program, store: Store) -> None:
    """Makes room for what instantiation and linking fill in by index."""
    store.funcs = [None] * len(program.funcs)
    store.resources = [None] * len(program.resources)  # type: ignore[list-item]

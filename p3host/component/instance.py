"""A running instance, for the time of an `async with` block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio

from ..engine import Engine, Machine, MachineLimits
from ..errors import InstanceClosed
from ..host.calls import HostCall, RunningCall
from ..host.driver import Driver
from ..host.edge import PythonEdge
from ..host.functions import BoundHostFunction, HostFunction
from ..host.interrupts import protect
from ..host.streams import HostEnd
from ..host.tasks import TaskTree, task_tree
from ..runtime.resource import Resource, RuntimeResource
from ..runtime.store import DEFAULT_MAX_ARGUMENT_BYTES, DEFAULT_MAX_HANDLES, DEFAULT_MAX_TASKS, Store
from ..types import FuncType, NamedType, ResourceType
from ..values import value_class
from .exports import ExportedFunction, GuestResource, Interface, ResourceClass, add_export, close_resource
from .foreign import ForeignFunction
from .imports import Imports
from .linked import Instantiation, Linked, prepare_store
from .program import FuncItem, InstanceItem, Item, ModuleItem, TypeItem

if TYPE_CHECKING:
    from ..host.scheduling import Scheduler
    from ..wasi.background import LateBackground
    from . import Component

DEFAULT_GRACE_SECONDS = 5.0


class Edge(PythonEdge):
    """Adds resources to what the host shows of a store."""

    def __init__(self) -> None:
        self.resource_classes: dict[RuntimeResource, ResourceClass] = {}

    def wrap_resource(self, resource: Resource) -> GuestResource:
        known = self.resource_classes.get(resource.resource)
        if known is None:
            known = self.resource_classes[resource.resource] = ResourceClass(
                resource.resource.name, self.driver, resource.resource
            )
        return GuestResource(known, resource)


class Instance:
    """An instance of a component: made by `Component.instantiate`, alive within its `async with` block.

    `exports` has what the component exports. Only the thread that entered the block may use the instance.
    """

    def __init__(
        self,
        component: Component,
        linked: Linked,
        imports: Imports,
        *,
        limits: MachineLimits | None = None,
        grace_seconds: float = DEFAULT_GRACE_SECONDS,
        max_handles: int = DEFAULT_MAX_HANDLES,
        max_tasks: int = DEFAULT_MAX_TASKS,
        max_argument_bytes: int = DEFAULT_MAX_ARGUMENT_BYTES,
        scheduler: Scheduler | None = None,
        on_handle: Callable[[object], None] | None = None,
        detect_deadlock: bool = False,
        background: LateBackground,
    ) -> None:
        self.component = component
        self.linked = linked
        self.imports = imports
        self.limits = limits
        self.grace_seconds = grace_seconds
        self.max_handles = max_handles
        self.max_tasks = max_tasks
        self.max_argument_bytes = max_argument_bytes
        self.scheduler = scheduler
        self.on_handle = on_handle
        self.detect_deadlock = detect_deadlock
        self.background = background
        self.opened = False
        self.exported: Interface | None = None

    @property
    def exports(self) -> Interface:
        """What the component exports.

        :raises InstanceClosed: before the block is entered.
        """
        if self.exported is None:
            raise InstanceClosed(
                "an instance has no exports before its 'async with' block is entered: write "
                "'async with component.instantiate(...) as instance:' and use 'instance.exports' inside"
            )
        return self.exported

    async def __aenter__(self) -> Self:
        if self.opened:
            raise InstanceClosed("an instance can be entered once: call instantiate again")
        protect(
            (
                *(Instance.__aenter__, Instance.__aexit__, ExportedFunction.__call__, ExportedFunction.begin),
                *(RunningCall.finish, HostCall.give_up, Driver.run_host_task, HostEnd.copy),
            ),
            (HostFunction.call, Driver.serve_call),
        )
        self.opened = True
        self.host_task = anyio.get_current_task().id
        engine: Engine = self.component.engine
        edge = Edge()
        store = Store(
            edge,
            choose=None if self.scheduler is None else self.scheduler.choose,
            slice_seconds=engine.config.slice_seconds,
            max_handles=self.max_handles,
            max_tasks=self.max_tasks,
            max_argument_bytes=self.max_argument_bytes,
            on_handle=self.on_handle,
        )
        prepare_store(self.linked.program, store)
        self.driver = edge.driver = Driver(store, self.grace_seconds, self.scheduler)
        await self.driver.breathe()  # making instances takes the loop's time as running guests does
        with self.driver.taking_time():
            self.machine = Machine(engine, store, self.limits)
        try:
            self.link_imports(store, edge)
            self.task_group = anyio.create_task_group()
            await self.task_group.__aenter__()
            self.driver.open(self.task_group)
            self.background.instance = self.driver
            try:
                call = HostCall(self.driver, Instantiation(self.linked, store, self.machine), "instantiate", ())
                call.start()
                if call.pending:
                    await call.wait(self.detect_deadlock)
                call.result()
            except BaseException as error:
                await self.leave(type(error), error, error.__traceback__)
                raise
        except BaseException:
            self.machine.close()
            raise
        self.exported = self.collect(self.component.name, self.linked.program.exports)
        return self

    def tasks(self) -> TaskTree:
        """What goes on in the instance now: its tasks, and who or what each waits for, and for how long. Printed, it
        explains any wait.

        :raises InstanceClosed: before the block is entered.
        """
        self.exports  # noqa: B018 - for its check
        return task_tree(self.driver)

    def run_within_calls_only(self) -> None:
        """From now on guests go on only while a call of an export is in progress: what a call leaves ready waits for
        the next one. Scripts count on that."""
        driver = self.driver
        driver.store.may_go_on = lambda: bool(driver.calls)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if anyio.get_current_task().id != self.host_task:
            raise RuntimeError("the 'async with' block of an instance has to be left in the task that entered it")
        try:
            await self.leave(kind, error, trace)
        finally:
            self.machine.close()

    async def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends all that runs in the instance. What the block raised is raised as it is, never in a group."""
        finishing = self.background.finishing
        try:
            self.driver.close()
            if error is None or isinstance(error, Exception):
                await finishing.finish()
        finally:
            finishing.give_up()
            self.task_group.cancel_scope.cancel()
            await self.leave_task_group(kind, error, trace)

    async def leave_task_group(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, Exception):  # no cancellation, so not the group's to judge
                await self.task_group.__aexit__(None, None, None)
            else:
                await self.task_group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            rest = only_error(group)
            if rest is not error:
                raise rest from None

    def link_imports(self, store: Store, edge: Edge) -> None:
        program = self.linked.program
        for index, target in self.imports.functions.items():
            if isinstance(target, ExportedFunction):
                store.funcs[index] = ForeignFunction(target, self.driver)
            else:
                store.funcs[index] = BoundHostFunction(target, self.driver)
        for slot, provider in self.imports.resources.items():
            if isinstance(provider, ResourceClass):
                store.resources[slot] = provider.resource
                edge.resource_classes[provider.resource] = provider
            else:
                drop = partial(close_resource, self.driver)
                store.resources[slot] = RuntimeResource(program.resources[slot].name, None, drop=drop)

    def collect(self, name: str, items: Mapping[str, Item]) -> Interface:
        """The Python objects of exports, interfaces within interfaces included."""
        interface = Interface(name)
        for export, item in items.items():
            match item:
                case FuncItem():
                    add_export(interface, export, self.function(item, export))
                case InstanceItem():
                    add_export(interface, export, self.collect(export, item.exports))
                case ModuleItem():
                    add_export(interface, export, self.linked.module(item))
                case TypeItem(type=ResourceType() as resource):
                    runtime = self.driver.store.resources[resource.slot]
                    if runtime.impl is not None:
                        resource_class = ResourceClass(export, self.driver, runtime)
                        edge = self.driver.store.edge
                        assert isinstance(edge, Edge)
                        resource_class = edge.resource_classes.setdefault(runtime, resource_class)
                        runtime.drop = resource_class.drop  # for guests of other stores
                        add_export(interface, export, resource_class)
                case TypeItem(type=t) if isinstance(t, NamedType):
                    add_export(interface, export, value_class(t))
        return interface

    def function(self, item: FuncItem, name: str) -> ExportedFunction:
        t: FuncType = self.linked.program.funcs[item.index].type
        return ExportedFunction(self.driver, item.index, name, t, self.detect_deadlock)


def only_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error that is not a part of ending the block itself."""
    rest: BaseException = group
    while isinstance(rest, BaseExceptionGroup) and len(rest.exceptions) == 1:
        rest = rest.exceptions[0]
    return rest

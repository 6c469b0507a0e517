"""The index spaces of a component while it is validated (Explainer.md, "Index Spaces"): the type of each definition."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from ..errors import DecodeError
from ..types import (
    ComponentType,
    CoreExternType,
    CoreFuncType,
    CoreGlobalType,
    CoreMemoryType,
    CoreTableType,
    CoreTagType,
    CoreValType,
    ExternType,
    FuncType,
    InstanceType,
    ModuleType,
    ResourceType,
    TypeExtern,
)
from .definitions import CoreSort, CoreSortIndex, Sort, SortIndex
from .resolve import TypeScope, item

MAX_DEFINITIONS = 1_000_000  # in each index space
MAX_INSTANCES = 10_000  # that instantiating a component makes, those of its nested components included

CoreInstance = dict[str, CoreExternType]
Entry = TypeVar("Entry")


@dataclass(eq=False)
class Spaces:
    """`scope` has the spaces of types, core types and instances. `local_resources` are the representations of the
    resource types that the component itself defines. `instance_counts` says, for each component type by identity, how
    many instances one instantiation makes."""

    parent: Spaces | None = None
    scope: TypeScope = field(init=False)
    core_modules: list[ModuleType] = field(default_factory=list)
    core_instances: list[CoreInstance] = field(default_factory=list)
    core_funcs: list[CoreFuncType] = field(default_factory=list)
    core_tables: list[CoreTableType] = field(default_factory=list)
    core_memories: list[CoreMemoryType] = field(default_factory=list)
    core_globals: list[CoreGlobalType] = field(default_factory=list)
    core_tags: list[CoreTagType] = field(default_factory=list)
    funcs: list[FuncType] = field(default_factory=list)
    components: list[ComponentType] = field(default_factory=list)
    local_resources: dict[ResourceType, CoreValType] = field(default_factory=dict)
    context_type: CoreValType | None = None
    instance_count: int = 1
    instance_counts: dict[int, tuple[ComponentType, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scope = TypeScope(None if self.parent is None else self.parent.scope)
        if self.parent is not None:
            self.instance_counts = self.parent.instance_counts

    def outer(self, count: int, offset: int) -> Spaces:
        """The spaces of the component that encloses this one `count` times."""
        self.scope.outer(count, offset)
        spaces = self
        for _ in range(count):
            assert spaces.parent is not None
            spaces = spaces.parent
        return spaces

    def add(self, extern: ExternType, offset: int) -> None:
        """Appends what was imported, exported or aliased to the index space of its sort."""
        match extern:
            case FuncType():
                append(self.funcs, extern, offset)
            case TypeExtern():
                append(self.scope.types, extern.type, offset)
            case InstanceType():
                append(self.scope.instances, extern, offset)
            case ComponentType():
                append(self.components, extern, offset)
            case ModuleType():
                append(self.core_modules, extern, offset)

    def add_core(self, extern: CoreExternType, offset: int) -> None:
        match extern:
            case CoreFuncType():
                append(self.core_funcs, extern, offset)
            case CoreTableType():
                append(self.core_tables, extern, offset)
            case CoreMemoryType():
                append(self.core_memories, extern, offset)
            case CoreGlobalType():
                append(self.core_globals, extern, offset)
            case CoreTagType():
                append(self.core_tags, extern, offset)

    def extern(self, target: SortIndex, offset: int) -> ExternType:
        """What an index of a component-level sort refers to."""
        match target.sort:
            case CoreSort.MODULE:
                return item(self.core_modules, target.index, "module", offset)
            case Sort.FUNC:
                return item(self.funcs, target.index, "function", offset)
            case Sort.TYPE:
                return TypeExtern(item(self.scope.types, target.index, "type", offset))
            case Sort.COMPONENT:
                return item(self.components, target.index, "component", offset)
            case Sort.INSTANCE:
                return item(self.scope.instances, target.index, "instance", offset)
            case Sort.VALUE:
                raise DecodeError("component values are not supported", offset)
        raise DecodeError(f"a core {target.sort.name.lower()} cannot be exported or be an argument", offset)

    def core_extern(self, target: CoreSortIndex, offset: int) -> CoreExternType:
        match target.sort:
            case CoreSort.FUNC:
                return item(self.core_funcs, target.index, "core function", offset)
            case CoreSort.TABLE:
                return item(self.core_tables, target.index, "core table", offset)
            case CoreSort.MEMORY:
                return item(self.core_memories, target.index, "core memory", offset)
            case CoreSort.GLOBAL:
                return item(self.core_globals, target.index, "core global", offset)
            case CoreSort.TAG:
                return item(self.core_tags, target.index, "core tag", offset)
        raise DecodeError(f"a core instance cannot export a {target.sort.name.lower()}", offset)

    def count_instances(self, component: ComponentType | None, offset: int) -> None:
        """Counts what one more instance of a component makes; one that is imported counts as one."""
        _, count = (None, 1) if component is None else self.instance_counts.get(id(component), (None, 1))
        self.instance_count += count
        if self.instance_count > MAX_INSTANCES:
            raise DecodeError(f"the component makes more than {MAX_INSTANCES} instances", offset)


def append(space: list[Entry], entry: Entry, offset: int) -> None:
    if len(space) >= MAX_DEFINITIONS:
        raise DecodeError(f"more than {MAX_DEFINITIONS} definitions of one sort", offset)
    space.append(entry)

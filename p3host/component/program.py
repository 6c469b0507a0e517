"""A component's definitions as a flat program: what to do, in order, to make an instance.

`program_writer.py` makes it once for a component, so that instantiating at run time is a walk over a list. Nothing here
depends on what the imports will be linked to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from ..abi.options import AbiOptions
from ..binary.definitions import (
    CanonBuiltin,
    CoreModule,
)
from ..binary.definitions import (
    Component as ComponentDefinition,
)
from ..records import Record
from ..types import (
    CoreFuncType,
    DefinedType,
    ExternType,
    FuncType,
    ModuleType,
    ResourceType,
    ValType,
)

if TYPE_CHECKING:
    from .program_writer import Frame


class CoreExportItem(Record):
    """Something that a core instance exports; `instance` is its number in the program."""

    instance: int
    name: str


class CanonItem(Record):
    """The core function of a canonical definition; `index` is its place in `Program.canons`."""

    index: int


CoreItem: TypeAlias = CoreExportItem | CanonItem


class Options(Record):
    """Canonical options with everything that they refer to. `instance` is the component instance they belong to."""

    instance: int
    abi: AbiOptions
    memory: CoreItem | None = None
    realloc: CoreItem | None = None
    post_return: CoreItem | None = None
    callback: CoreItem | None = None
    core_func: CoreItem | None = None  # the lifted function
    is_async: bool = False


class FuncItem(Record):
    """A component function: a lifted one, or one that is imported. `index` is its place in `Program.funcs`."""

    index: int


class ModuleItem(Record):
    """A core module: the program's `index`th, or an imported one."""

    index: int
    imported: bool = False


class InstanceItem(Record):
    exports: Mapping[str, Item]


class ComponentItem(Record):
    definition: ComponentDefinition
    frame: Frame


class TypeItem(Record):
    type: DefinedType


Item: TypeAlias = FuncItem | ModuleItem | InstanceItem | ComponentItem | TypeItem

# What the program does, in order


class InstantiateCore(Record):
    """Makes the next core instance. An argument is the number of a core instance, or items by name."""

    module: ModuleItem
    args: Mapping[str, Mapping[str, CoreItem] | int]
    instance: int  # the component instance that it becomes a part of


class BindOptions(Record):
    """Makes the next canonical options."""

    options: Options


class DefineResource(Record):
    slot: int
    instance: int
    destructor: int | None  # its options, that of a lifted function


class BindFunc(Record):
    """Makes the lifted function with this index."""

    index: int


class MakeInstance(Record):
    """Makes the next component instance."""

    parent: int | None
    name: str


class BindTable(Record):
    """Takes a table that threads get their functions from."""

    table: CoreItem


Step: TypeAlias = InstantiateCore | BindOptions | BindTable | DefineResource | BindFunc | MakeInstance

# The static parts


class LiftedDef(Record):
    name: str
    type: FuncType
    options: int


class ImportedDef(Record):
    """An imported function: `path` is the import's name, then the names of the exports of the imported instance."""

    path: tuple[str, ...]
    type: FuncType

    @property
    def name(self) -> str:
        return "#".join(self.path)


class LoweredCanon(Record):
    func: int
    options: int
    signature: CoreFuncType


class BuiltinCanon(Record):
    """A built-in with its immediates resolved."""

    definition: CanonBuiltin
    instance: int
    options: int
    type: DefinedType | None
    result: ValType | None
    table: int | None
    signature: CoreFuncType


@dataclass
class Program:
    """All that is known of a component before it is linked."""

    modules: list[CoreModule] = field(default_factory=list)
    imported_modules: list[tuple[tuple[str, ...], ModuleType]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    canons: list[LoweredCanon | BuiltinCanon] = field(default_factory=list)
    funcs: list[LiftedDef | ImportedDef] = field(default_factory=list)
    options: list[Options] = field(default_factory=list)
    resources: list[ResourceType] = field(default_factory=list)
    imported_resources: dict[int, tuple[str, ...]] = field(default_factory=dict)  # by slot
    imports: dict[str, ExternType] = field(default_factory=dict)
    exports: dict[str, Item] = field(default_factory=dict)
    instances: int = 0

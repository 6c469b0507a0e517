"""What the decoder makes of a component's bytes: one frozen dataclass for each production of Binary.md.

Nothing is resolved here: types, functions and instances are indices into the index spaces that the definitions build
up, in order. `offset` is where a definition starts in the file, for messages.
"""

from __future__ import annotations

from dataclasses import field
from enum import Enum
from typing import TypeAlias

from ..records import Record
from ..types import Attributes, CoreExternType, CoreFuncType, CoreValType, PrimitiveType, StringEncoding


class CoreSort(Enum):
    FUNC = 0x00
    TABLE = 0x01
    MEMORY = 0x02
    GLOBAL = 0x03
    TAG = 0x04
    TYPE = 0x10
    MODULE = 0x11
    INSTANCE = 0x12


class Sort(Enum):
    FUNC = 0x01
    VALUE = 0x02
    TYPE = 0x03
    COMPONENT = 0x04
    INSTANCE = 0x05


class CoreSortIndex(Record):
    sort: CoreSort
    index: int


class SortIndex(Record):
    """An index into the space of `sort`; a core sort is possible where the format allows it (modules)."""

    sort: Sort | CoreSort
    index: int


class Definition(Record, kw_only=True):
    offset: int = field(default=0, compare=False)


# Sections 1 to 6: modules, instances, components, aliases


class CoreModule(Definition):
    """A core module's bytes, as they stand in the file."""

    data: memoryview


class CoreInstantiate(Definition):
    module: int
    args: tuple[tuple[str, int], ...]  # name, core instance index


class CoreInlineExports(Definition):
    exports: tuple[tuple[str, CoreSortIndex], ...]


class NestedComponent(Definition):
    component: Component


class Instantiate(Definition):
    component: int
    args: tuple[tuple[str, SortIndex], ...]


class InlineExports(Definition):
    exports: tuple[tuple[ExternName, SortIndex], ...]


class AliasExport(Definition):
    sort: Sort | CoreSort  # a core sort only as MODULE
    instance: int
    name: str


class AliasCoreExport(Definition):
    sort: CoreSort
    instance: int
    name: str


class AliasOuter(Definition):
    sort: Sort | CoreSort
    count: int  # how many scopes outward, 0 is the current one
    index: int


# Types. A value type is an index or a primitive type.

ValTypeRef: TypeAlias = int | PrimitiveType


class RecordDef(Record):
    record_fields: tuple[tuple[str, ValTypeRef], ...]


class VariantDef(Record):
    cases: tuple[tuple[str, ValTypeRef | None], ...]


class ListDef(Record):
    elem_type: ValTypeRef
    length: int | None = None


class TupleDef(Record):
    types: tuple[ValTypeRef, ...]


class FlagsDef(Record):
    labels: tuple[str, ...]


class EnumDef(Record):
    labels: tuple[str, ...]


class OptionDef(Record):
    payload: ValTypeRef


class ResultDef(Record):
    ok: ValTypeRef | None
    error: ValTypeRef | None


class MapDef(Record):
    key_type: ValTypeRef
    value_type: ValTypeRef


class OwnDef(Record):
    resource: int


class BorrowDef(Record):
    resource: int


class StreamDef(Record):
    elem_type: ValTypeRef | None


class FutureDef(Record):
    elem_type: ValTypeRef | None


DefValType: TypeAlias = (
    PrimitiveType
    | RecordDef
    | VariantDef
    | ListDef
    | TupleDef
    | FlagsDef
    | EnumDef
    | OptionDef
    | ResultDef
    | MapDef
    | OwnDef
    | BorrowDef
    | StreamDef
    | FutureDef
)


class ResourceDef(Record):
    rep: CoreValType
    destructor: int | None


class FuncDef(Record):
    params: tuple[tuple[str, ValTypeRef], ...]
    result: ValTypeRef | None
    is_async: bool = False


class InstanceTypeDef(Record):
    declarations: tuple[Declaration, ...]


class ComponentTypeDef(Record):
    declarations: tuple[Declaration, ...]


DefType: TypeAlias = DefValType | ResourceDef | FuncDef | InstanceTypeDef | ComponentTypeDef


class TypeDefinition(Definition):
    type: DefType


# Core types. Those beyond plain functions and modules are kept only so that indices count right.


class CoreGcType(Record):
    """A core type that is no plain function type (a struct, an array, a non-final function type); `text` names it."""

    text: str


class CoreRecursiveTypes(Record):
    """A `rec` group: it adds each of its types to the core type index space."""

    types: tuple[CoreFuncType | CoreGcType, ...]


class CoreImportDecl(Record):
    """`type` is an index into the module type's own type index space where the import is a function or a tag."""

    module: str
    name: str
    type: CoreExternDesc


class CoreExportDecl(Record):
    name: str
    type: CoreExternDesc


class CoreFuncRef(Record):
    """An extern type given by a type index: a function, or a tag."""

    sort: CoreSort
    type_index: int


CoreExternDesc: TypeAlias = CoreExternType | CoreFuncRef


class CoreOuterAlias(Record):
    count: int
    index: int


class ModuleTypeDef(Record):
    declarations: tuple[CoreImportDecl | CoreExportDecl | CoreOuterAlias | CoreTypeDefinition, ...]


CoreDefType: TypeAlias = CoreFuncType | CoreGcType | CoreRecursiveTypes | ModuleTypeDef


class CoreTypeDefinition(Definition):
    type: CoreDefType


# Imports, exports and their names


class ExternName(Record):
    """An import's or export's name with its attributes."""

    name: str
    attributes: Attributes | None = None


class ExternDesc(Record):
    """An extern type by index: `sort` MODULE, FUNC, COMPONENT or INSTANCE, or TYPE with an `eq` bound."""

    sort: Sort | CoreSort
    type_index: int


class SubResource(Record):
    """The bound of a type import or export that leaves the resource abstract: `(sub resource)`."""


class ValueDesc(Record):
    """A value import or export: equal to the value `index`, or of the type `type`."""

    index: int | None
    type: ValTypeRef | None


ExternTypeDesc: TypeAlias = ExternDesc | SubResource | ValueDesc


class ImportDecl(Definition):
    name: ExternName
    type: ExternTypeDesc


class ExportDecl(Definition):
    name: ExternName
    type: ExternTypeDesc


Declaration: TypeAlias = (
    CoreTypeDefinition | TypeDefinition | AliasExport | AliasCoreExport | AliasOuter | ImportDecl | ExportDecl
)


class Import(Definition):
    name: ExternName
    type: ExternTypeDesc


class Export(Definition):
    name: ExternName
    target: SortIndex
    type: ExternTypeDesc | None


class Start(Definition):
    function: int
    args: tuple[int, ...]
    results: int


class Value(Definition):
    type: ValTypeRef
    data: bytes


# Canonical definitions


class CanonOptions(Record):
    """The `canonopt`s of one definition, with core indices. `present` names those that were written, in order and with
    duplicates: "string-encoding", "memory", "realloc", "post-return", "async", "callback"."""

    string_encoding: StringEncoding = "utf8"
    memory: int | None = None
    realloc: int | None = None
    post_return: int | None = None
    is_async: bool = False
    callback: int | None = None
    present: tuple[str, ...] = ()


class CanonKind(Enum):
    """Every canonical built-in, by its opcode; `lift` and `lower` have definitions of their own."""

    RESOURCE_NEW = 0x02
    RESOURCE_DROP = 0x03
    RESOURCE_REP = 0x04
    TASK_CANCEL = 0x05
    SUBTASK_CANCEL = 0x06
    TASK_RETURN = 0x09
    CONTEXT_GET = 0x0A
    CONTEXT_SET = 0x0B
    THREAD_YIELD = 0x0C
    SUBTASK_DROP = 0x0D
    STREAM_NEW = 0x0E
    STREAM_READ = 0x0F
    STREAM_WRITE = 0x10
    STREAM_CANCEL_READ = 0x11
    STREAM_CANCEL_WRITE = 0x12
    STREAM_DROP_READABLE = 0x13
    STREAM_DROP_WRITABLE = 0x14
    FUTURE_NEW = 0x15
    FUTURE_READ = 0x16
    FUTURE_WRITE = 0x17
    FUTURE_CANCEL_READ = 0x18
    FUTURE_CANCEL_WRITE = 0x19
    FUTURE_DROP_READABLE = 0x1A
    FUTURE_DROP_WRITABLE = 0x1B
    ERROR_CONTEXT_NEW = 0x1C
    ERROR_CONTEXT_DEBUG_MESSAGE = 0x1D
    ERROR_CONTEXT_DROP = 0x1E
    WAITABLE_SET_NEW = 0x1F
    WAITABLE_SET_WAIT = 0x20
    WAITABLE_SET_POLL = 0x21
    WAITABLE_SET_DROP = 0x22
    WAITABLE_JOIN = 0x23
    BACKPRESSURE_INC = 0x24
    BACKPRESSURE_DEC = 0x25
    THREAD_INDEX = 0x26
    THREAD_NEW_INDIRECT = 0x27
    THREAD_RESUME_LATER = 0x28
    THREAD_SUSPEND = 0x29
    THREAD_SUSPEND_THEN_RESUME = 0x2A
    THREAD_YIELD_THEN_RESUME = 0x2B
    THREAD_SUSPEND_THEN_PROMOTE = 0x2C
    THREAD_YIELD_THEN_PROMOTE = 0x2D
    THREAD_SPAWN_REF = 0x40
    THREAD_SPAWN_INDIRECT = 0x41
    THREAD_AVAILABLE_PARALLELISM = 0x42

    @property
    def text(self) -> str:
        """Its name in the text format, such as "waitable-set.new"."""
        name = self.name.lower()
        nouns = (noun for noun in ("error_context", "waitable_set") if name.startswith(noun))
        noun = next(nouns, name.partition("_")[0])
        return f"{noun}.{name[len(noun) + 1 :]}".replace("_", "-")


class Lift(Definition):
    core_func: int
    options: CanonOptions
    type_index: int


class Lower(Definition):
    func: int
    options: CanonOptions


class CanonBuiltin(Definition):
    """A canonical built-in; each immediate is set only where its production has it."""

    kind: CanonKind
    type_index: int | None = None  # a resource, stream or future type; a core function type for `thread.new-indirect`
    result: ValTypeRef | None = None  # `task.return`
    options: CanonOptions = CanonOptions()
    is_async: bool = False  # the cancels' `async?`
    cancellable: bool = False  # `cancel?`, which has left the language: validation refuses it
    memory: int | None = None  # `waitable-set.wait` and `poll`
    core_type: CoreValType | None = None  # `context.get` and `context.set`
    immediate: int | None = None  # the index of `context.get` and `context.set`, the table of `thread.new-indirect`
    shared: bool = False


CanonDefinition: TypeAlias = Lift | Lower | CanonBuiltin

AnyDefinition: TypeAlias = (
    CoreModule
    | CoreInstantiate
    | CoreInlineExports
    | CoreTypeDefinition
    | NestedComponent
    | Instantiate
    | InlineExports
    | AliasExport
    | AliasCoreExport
    | AliasOuter
    | TypeDefinition
    | CanonDefinition
    | Start
    | Import
    | Export
    | Value
)


class Component(Definition):
    """A component: its definitions in the order of the file. `names` is what its name section says, by sort and
    index, and `name` the component's own; both may be empty."""

    definitions: tuple[AnyDefinition, ...]
    name: str = ""
    names: dict[tuple[Sort | CoreSort, int], str] = field(default_factory=dict, compare=False)

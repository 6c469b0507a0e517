"""Type definitions to resolved types (Explainer.md, "Type Definitions").

A `TypeScope` holds the type index spaces of a component, a component type or an instance type. A definition is
resolved in the scope that it stands in; whoever resolves it appends the result to the index space. Every error is a
`DecodeError` at the offset that was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypeVar

from ..errors import DecodeError
from ..types import (
    BorrowType,
    ComponentType,
    CoreExternType,
    CoreFuncType,
    CoreMemoryType,
    CoreTableType,
    CoreTagType,
    DefinedType,
    EnumType,
    ExternType,
    FlagsType,
    FuncType,
    FutureType,
    InstanceType,
    ListType,
    MapType,
    ModuleType,
    OptionType,
    OwnType,
    PrimitiveType,
    RecordType,
    ResourceType,
    ResultType,
    StreamType,
    TupleType,
    TypeExtern,
    ValType,
    VariantType,
)
from .definitions import (
    AliasCoreExport,
    AliasExport,
    AliasOuter,
    BorrowDef,
    ComponentTypeDef,
    CoreDefType,
    CoreExportDecl,
    CoreExternDesc,
    CoreFuncRef,
    CoreGcType,
    CoreImportDecl,
    CoreOuterAlias,
    CoreRecursiveTypes,
    CoreSort,
    CoreTypeDefinition,
    Declaration,
    DefType,
    DefValType,
    EnumDef,
    ExportDecl,
    ExternTypeDesc,
    FlagsDef,
    FuncDef,
    FutureDef,
    ImportDecl,
    InstanceTypeDef,
    ListDef,
    MapDef,
    ModuleTypeDef,
    OptionDef,
    OwnDef,
    RecordDef,
    ResourceDef,
    ResultDef,
    Sort,
    StreamDef,
    SubResource,
    TupleDef,
    TypeDefinition,
    ValTypeRef,
    ValueDesc,
    VariantDef,
)
from .extern_names import ExternNames, VisibleTypes
from .names import find_conflict, is_label
from .substitution import freshen
from .type_table import TypeTable, named

KEY_TYPES = frozenset(PrimitiveType) - {PrimitiveType.F32, PrimitiveType.F64, PrimitiveType.ERROR_CONTEXT}

ScopeKind: TypeAlias = Literal["component", "component type", "instance type", "module type"]
CoreType: TypeAlias = CoreFuncType | CoreGcType | ModuleType
Item = TypeVar("Item")


@dataclass(eq=False)
class TypeScope:
    """The type index spaces of one component or type, as far as they have been defined.

    `instances` are those that aliases can take types from. All scopes of one file share one `table`.
    """

    parent: TypeScope | None = None
    kind: ScopeKind = "component"
    types: list[DefinedType] = field(default_factory=list)
    core_types: list[CoreType] = field(default_factory=list)
    instances: list[InstanceType] = field(default_factory=list)
    table: TypeTable = field(default_factory=TypeTable)

    def __post_init__(self) -> None:
        if self.parent is not None:
            self.table = self.parent.table

    def outer(self, count: int, offset: int = 0) -> TypeScope:
        """The scope that encloses this one `count` times; 0 is this one itself."""
        scope = self
        for _ in range(count):
            if scope.parent is None:
                raise DecodeError(f"invalid outer alias count {count}: there are not so many enclosing scopes", offset)
            scope = scope.parent
        return scope

    def outer_type(self, count: int, index: int, offset: int = 0) -> DefinedType:
        """The type that an outer alias refers to. Resource types don't cross the boundary of a component."""
        t = item(self.outer(count, offset).types, index, "type", offset)
        if self.leaves_component(count) and self.table.mentions_resource(t, offset):
            raise DecodeError(
                "an outer alias can't take a type that transitively refers to resources out of another component",
                offset,
            )
        return t

    def leaves_component(self, count: int) -> bool:
        scope: TypeScope | None = self
        for _ in range(count):
            assert scope is not None
            if scope.kind == "component":
                return True
            scope = scope.parent
        return False

    def bind(self, extern: ExternType) -> None:
        """Appends what an import, export or alias introduces to the index spaces of this scope, if it has one."""
        if isinstance(extern, TypeExtern):
            self.types.append(extern.type)
        elif isinstance(extern, InstanceType):
            self.instances.append(extern)


def item(space: Sequence[Item], index: int, what: str, offset: int) -> Item:
    if index >= len(space):
        raise DecodeError(f"{what} index out of bounds: there is no {what} {index}", offset)
    return space[index]


def valtype(scope: TypeScope, ref: ValTypeRef, offset: int = 0) -> ValType:
    if isinstance(ref, PrimitiveType):
        return ref
    t = item(scope.types, ref, "type", offset)
    if isinstance(t, (ResourceType, FuncType, InstanceType, ComponentType)):
        raise DecodeError(f"type {ref} is not a defined value type", offset)
    return t


def resource_type(scope: TypeScope, index: int, offset: int = 0) -> ResourceType:
    t = item(scope.types, index, "type", offset)
    if not isinstance(t, ResourceType):
        raise DecodeError(f"type {index} is not a resource type", offset)
    return t


def func_type(scope: TypeScope, index: int, offset: int = 0) -> FuncType:
    t = item(scope.types, index, "type", offset)
    if not isinstance(t, FuncType):
        raise DecodeError(f"type {index} is not a function type", offset)
    return t


def define_type(scope: TypeScope, definition: DefType, offset: int = 0) -> DefinedType:
    """Resolves any definition but a resource's, which makes a new type each time its component is instantiated."""
    if isinstance(definition, PrimitiveType):
        return definition
    assert not isinstance(definition, ResourceDef)
    match definition:
        case FuncDef():
            return function_type(scope, definition, offset)
        case InstanceTypeDef():
            return instance_type(scope, definition, offset)
        case ComponentTypeDef():
            return component_type(scope, definition, offset)
    return scope.table.intern(compound_type(scope, definition, offset), offset)


def compound_type(scope: TypeScope, definition: DefValType, offset: int) -> ValType:
    match definition:
        case OwnDef():
            return OwnType(resource_type(scope, definition.resource, offset))
        case BorrowDef():
            return BorrowType(resource_type(scope, definition.resource, offset))
        case ListDef():
            return ListType(valtype(scope, definition.elem_type, offset), definition.length)
        case OptionDef():
            return OptionType(valtype(scope, definition.payload, offset))
        case ResultDef():
            return ResultType(optional(scope, definition.ok, offset), optional(scope, definition.error, offset))
        case TupleDef():
            return TupleType(tuple(valtype(scope, ref, offset) for ref in definition.types))
        case RecordDef():
            check_labels([label for label, _ in definition.record_fields], "record field", offset)
            return RecordType(tuple((label, valtype(scope, ref, offset)) for label, ref in definition.record_fields))
        case VariantDef():
            check_labels([label for label, _ in definition.cases], "variant case", offset)
            return VariantType(tuple((label, optional(scope, ref, offset)) for label, ref in definition.cases))
        case EnumDef():
            check_labels(definition.labels, "enum case", offset)
            return EnumType(definition.labels)
        case FlagsDef():
            check_labels(definition.labels, "flag", offset)
            return FlagsType(definition.labels)
        case StreamDef():
            return StreamType(sent_type(scope, definition.elem_type, "stream", offset))
        case FutureDef():
            return FutureType(sent_type(scope, definition.elem_type, "future", offset))
        case MapDef():
            key = valtype(scope, definition.key_type, offset)
            if key not in KEY_TYPES:
                raise DecodeError("the key type of a map must be bool, an integer type, char or string", offset)
            return MapType(key, valtype(scope, definition.value_type, offset))
        case PrimitiveType():
            return definition


def sent_type(scope: TypeScope, ref: ValTypeRef | None, kind: str, offset: int) -> ValType | None:
    elem_type = optional(scope, ref, offset)
    if kind == "stream" and elem_type is PrimitiveType.CHAR:
        raise DecodeError("`stream<char>` is not valid", offset)
    if scope.table.contains_borrow(elem_type):
        raise DecodeError(f"the element type of a {kind} cannot contain a `borrow`", offset)
    return elem_type


def optional(scope: TypeScope, ref: ValTypeRef | None, offset: int) -> ValType | None:
    return None if ref is None else valtype(scope, ref, offset)


def check_labels(labels: Sequence[str], what: str, offset: int) -> None:
    for label in labels:
        if not label:
            raise DecodeError(f"{what} name cannot be empty", offset)
        if not is_label(label):
            raise DecodeError(f"{what} name `{label}` is not in kebab case", offset)
    conflict = find_conflict(labels)
    if conflict is not None:
        raise DecodeError(f"{what} name `{conflict[0]}` conflicts with previous name `{conflict[1]}`", offset)


def function_type(scope: TypeScope, definition: FuncDef, offset: int) -> FuncType:
    check_labels([label for label, _ in definition.params], "function parameter", offset)
    params = tuple((label, valtype(scope, ref, offset)) for label, ref in definition.params)
    result = optional(scope, definition.result, offset)
    if scope.table.contains_borrow(result):
        raise DecodeError("a function's result cannot contain a `borrow`", offset)
    return FuncType(params, result, definition.is_async)


def instance_type(scope: TypeScope, definition: InstanceTypeDef, offset: int) -> InstanceType:
    inner = TypeScope(scope, "instance type")
    exports = ExternNames("export", scope.table)
    resources: list[ResourceType] = []
    for declaration in definition.declarations:
        if isinstance(declaration, ExportDecl):
            extern = extern_type(inner, declaration.type, declaration.name.name, declaration.offset)
            exports.add(declaration.name, extern, declaration.offset)
            inner.bind(extern)
            resources += fresh_resources(extern)
        else:
            declare(inner, declaration)
    t = InstanceType(exports.externs, tuple(resources), exports.attributes)
    scope.table.check_nesting(t, offset)
    return t


def component_type(scope: TypeScope, definition: ComponentTypeDef, offset: int) -> ComponentType:
    inner = TypeScope(scope, "component type")
    visible = VisibleTypes(scope.table)
    imports = ExternNames("import", scope.table, visible)
    exports = ExternNames("export", scope.table, visible)
    import_resources: list[ResourceType] = []
    resources: list[ResourceType] = []
    for declaration in definition.declarations:
        if isinstance(declaration, (ImportDecl, ExportDecl)):
            is_import = isinstance(declaration, ImportDecl)
            extern = extern_type(inner, declaration.type, declaration.name.name, declaration.offset)
            (imports if is_import else exports).add(declaration.name, extern, declaration.offset)
            inner.bind(extern)
            (import_resources if is_import else resources).extend(fresh_resources(extern))
        else:
            declare(inner, declaration)
    t = ComponentType(
        imports.externs,
        exports.externs,
        tuple(import_resources),
        tuple(resources),
        imports.attributes,
        exports.attributes,
    )
    scope.table.check_nesting(t, offset)
    return t


def declare(scope: TypeScope, declaration: Declaration) -> None:
    """A declaration that only defines or aliases a type or an instance."""
    offset = declaration.offset
    scope.table.charge(1, offset)
    match declaration:
        case TypeDefinition():
            if isinstance(declaration.type, ResourceDef):
                raise DecodeError("resources can only be defined within a concrete component", offset)
            scope.types.append(define_type(scope, declaration.type, offset))
        case CoreTypeDefinition():
            scope.core_types.extend(define_core_type(scope, declaration.type, offset))
        case AliasExport(sort=Sort.TYPE | Sort.INSTANCE):
            scope.bind(export_alias(scope, declaration))
        case AliasOuter(sort=Sort.TYPE):
            scope.types.append(scope.outer_type(declaration.count, declaration.index, offset))
        case AliasOuter(sort=CoreSort.TYPE):
            core_types = scope.outer(declaration.count, offset).core_types
            scope.core_types.append(item(core_types, declaration.index, "core type", offset))
        case AliasExport() | AliasCoreExport() | AliasOuter():
            raise DecodeError("an alias inside a type may only refer to types or instances", offset)
        case _:
            raise DecodeError("an instance type can't declare imports", offset)


EXTERN_CLASSES: dict[Sort | CoreSort, tuple[type[object], str]] = {
    Sort.FUNC: (FuncType, "function"),
    Sort.TYPE: (TypeExtern, "type"),
    Sort.INSTANCE: (InstanceType, "instance"),
    Sort.COMPONENT: (ComponentType, "component"),
    CoreSort.MODULE: (ModuleType, "module"),
}


def export_alias(scope: TypeScope, alias: AliasExport) -> ExternType:
    """What an instance exports by the alias's name, which must be of the alias's sort."""
    instance = item(scope.instances, alias.instance, "instance", alias.offset)
    extern = instance.exports.get(alias.name)
    if extern is None:
        raise DecodeError(f"instance {alias.instance} has no export named `{alias.name}`", alias.offset)
    if alias.sort not in EXTERN_CLASSES:
        raise DecodeError("component values are not supported", alias.offset)
    extern_class, what = EXTERN_CLASSES[alias.sort]
    if not isinstance(extern, extern_class):
        raise DecodeError(f"export `{alias.name}` of instance {alias.instance} is no {what}", alias.offset)
    return extern


def extern_type(scope: TypeScope, desc: ExternTypeDesc, name: str, offset: int = 0) -> ExternType:
    """The type of an import or export called `name`.

    Its abstract resources are new ones: `fresh_resources` tells which. A type of a kind that carries a name carries
    this one.
    """
    if isinstance(desc, SubResource):
        return TypeExtern(ResourceType(name), "sub")
    if isinstance(desc, ValueDesc):
        raise DecodeError(f"`{name}` is a value: component values are not supported", offset)
    if desc.sort is CoreSort.MODULE:
        module = item(scope.core_types, desc.type_index, "core type", offset)
        if not isinstance(module, ModuleType):
            raise DecodeError(f"core type {desc.type_index} is not a module type", offset)
        return module
    if desc.sort is Sort.FUNC:
        return func_type(scope, desc.type_index, offset)
    t = item(scope.types, desc.type_index, "type", offset)
    if desc.sort is Sort.TYPE:
        return named_extern(t, name)
    if desc.sort is Sort.INSTANCE:
        if not isinstance(t, InstanceType):
            raise DecodeError(f"type {desc.type_index} is not an instance type", offset)
        return freshen(scope.table, t, offset)
    assert desc.sort is Sort.COMPONENT
    if not isinstance(t, ComponentType):
        raise DecodeError(f"type {desc.type_index} is not a component type", offset)
    return t


def named_extern(t: DefinedType, name: str) -> TypeExtern:
    if isinstance(t, (ResourceType, FuncType, InstanceType, ComponentType)):
        return TypeExtern(t)
    return TypeExtern(named(t, name))


def fresh_resources(extern: ExternType) -> tuple[ResourceType, ...]:
    """The resource types that a result of `extern_type` introduces."""
    if isinstance(extern, InstanceType):
        return extern.resources
    if isinstance(extern, TypeExtern) and extern.bound == "sub" and isinstance(extern.type, ResourceType):
        return (extern.type,)
    return ()


def define_core_type(scope: TypeScope, definition: CoreDefType, offset: int = 0) -> tuple[CoreType, ...]:
    """The types that a definition appends to the core type index space: one, or those of a `rec` group."""
    if isinstance(definition, CoreRecursiveTypes):
        return definition.types
    if isinstance(definition, ModuleTypeDef):
        return (module_type_of(scope, definition, offset),)
    return (definition,)


def module_type_of(scope: TypeScope, definition: ModuleTypeDef, offset: int) -> ModuleType:
    types: list[CoreType] = []
    imports: dict[tuple[str, str], CoreExternType] = {}
    exports: dict[str, CoreExternType] = {}
    for declaration in definition.declarations:
        match declaration:
            case CoreTypeDefinition():
                assert not isinstance(declaration.type, ModuleTypeDef)
                types += define_core_type(scope, declaration.type, declaration.offset)
            case CoreOuterAlias():
                types.append(outer_core_type(scope, declaration, types, offset))
            case CoreImportDecl():
                key = (declaration.module, declaration.name)
                if key in imports:
                    raise DecodeError(f"duplicate import name `{declaration.module}:{declaration.name}`", offset)
                imports[key] = core_extern_type(types, declaration.type, offset)
            case CoreExportDecl():
                if declaration.name in exports:
                    raise DecodeError(f"export name `{declaration.name}` already defined", offset)
                exports[declaration.name] = core_extern_type(types, declaration.type, offset)
    return ModuleType(imports, exports)


def outer_core_type(scope: TypeScope, alias: CoreOuterAlias, types: list[CoreType], offset: int) -> CoreType:
    """A core type from the module type itself (count 0) or from a scope around it."""
    space = types if alias.count == 0 else scope.outer(alias.count - 1, offset).core_types
    t = item(space, alias.index, "core type", offset)
    if isinstance(t, ModuleType):
        raise DecodeError("a module type can't alias another module type", offset)
    return t


def core_extern_type(types: Sequence[CoreType], desc: CoreExternDesc, offset: int) -> CoreExternType:
    """The type of a core import or export, whose functions and tags are given by an index into `types`."""
    if isinstance(desc, CoreFuncRef):
        t = item(types, desc.type_index, "core type", offset)
        if not isinstance(t, CoreFuncType):
            raise DecodeError(f"core type {desc.type_index} is not a plain function type", offset)
        if desc.sort is CoreSort.TAG and t.results:
            raise DecodeError("the type of a tag cannot have results", offset)
        return CoreTagType(t) if desc.sort is CoreSort.TAG else t
    if isinstance(desc, (CoreMemoryType, CoreTableType)):
        check_core_limits(desc, offset)
    return desc


def check_core_limits(t: CoreMemoryType | CoreTableType, offset: int) -> None:
    limits = t.limits
    what = "memory" if isinstance(t, CoreMemoryType) else "table"
    if limits.maximum is not None and limits.minimum > limits.maximum:
        raise DecodeError(f"the minimum size of a {what} must not be greater than its maximum", offset)
    if isinstance(t, CoreTableType):
        if limits.shared:
            raise DecodeError("shared tables need shared-everything threads, which are not supported", offset)
        return
    bits = 64 if limits.pointer == "i64" else 32
    if max(limits.minimum, limits.maximum or 0) > 2 ** (bits - t.page_size_log2):
        raise DecodeError("memory size is larger than its addresses can reach", offset)
    if limits.shared and limits.maximum is None:
        raise DecodeError("a shared memory must have a maximum size", offset)

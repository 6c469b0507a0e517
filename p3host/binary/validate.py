"""Checks a component against the rules of the component level (Binary.md, Explainer.md, CanonicalABI.md) and gives its
type. What is inside core modules is left to the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..errors import DecodeError
from ..types import (
    ComponentType,
    CoreExternType,
    CoreFuncType,
    ExternType,
    InstanceType,
    ModuleType,
    ResourceType,
    TypeExtern,
)
from .definitions import (
    AliasCoreExport,
    AliasExport,
    AliasOuter,
    AnyDefinition,
    CanonBuiltin,
    Component,
    CoreInlineExports,
    CoreInstantiate,
    CoreModule,
    CoreSort,
    CoreTypeDefinition,
    Export,
    Import,
    InlineExports,
    Instantiate,
    Lift,
    Lower,
    NestedComponent,
    ResourceDef,
    Sort,
    Start,
    TypeDefinition,
    Value,
)
from .extern_names import ExternNames, VisibleTypes
from .resolve import define_core_type, define_type, export_alias, extern_type, fresh_resources, item, named_extern
from .spaces import CoreInstance, Spaces, append
from .substitution import Substitution
from .subtyping import CORE_KINDS, Mismatch, check_core, check_subtype, core_func_text
from .validate_canon import builtin_type, lift_type, lower_type

ReadModule = Callable[[memoryview, int], ModuleType]


def validate(
    component: Component, core_modules: ReadModule, signatures: dict[int, CoreFuncType] | None = None
) -> ComponentType:
    """The type of a valid component.

    `core_modules` gives the type of the core module in some bytes that start at an offset of the file. `signatures`
    is filled with the core type of each `canon lower` and built-in, by the offset of its definition.

    :raises DecodeError: at the offset of the first definition that breaks a rule.
    """
    return Validator(Spaces(), core_modules, {} if signatures is None else signatures).component(component)


class Validator:
    """Validates one component, definition by definition; nested components have validators of their own."""

    def __init__(self, spaces: Spaces, core_modules: ReadModule, signatures: dict[int, CoreFuncType]) -> None:
        self.spaces = spaces
        self.signatures = signatures
        self.scope = spaces.scope
        self.table = spaces.scope.table
        self.core_modules = core_modules
        visible = VisibleTypes(self.table)
        self.imports = ExternNames("import", self.table, visible)
        self.exports = ExternNames("export", self.table, visible)
        self.import_resources: list[ResourceType] = []
        self.aliases: list[ResourceType] = []

    def component(self, component: Component) -> ComponentType:
        for definition in component.definitions:
            self.table.charge(1, definition.offset)
            self.define(definition)
        t = self.component_type(component.offset)
        self.table.check_nesting(t, component.offset)
        self.spaces.instance_counts[id(t)] = (t, self.spaces.instance_count)
        return t

    def define(self, definition: AnyDefinition) -> None:
        spaces, offset = self.spaces, definition.offset
        match definition:
            case TypeDefinition():
                self.define_type(definition)
            case AliasExport():
                spaces.add(export_alias(self.scope, definition), offset)
            case AliasCoreExport():
                self.core_export_alias(definition)
            case AliasOuter():
                self.outer_alias(definition)
            case Lift():
                append(spaces.funcs, lift_type(spaces, definition), offset)
            case Lower():
                self.add_core_func(lower_type(spaces, definition), offset)
            case CanonBuiltin():
                self.add_core_func(builtin_type(spaces, definition), offset)
            case Import():
                self.import_definition(definition)
            case Export():
                self.export_definition(definition)
            case CoreTypeDefinition():
                for t in define_core_type(self.scope, definition.type, offset):
                    append(self.scope.core_types, t, offset)
            case CoreModule():
                append(spaces.core_modules, self.core_modules(definition.data, offset), offset)
            case CoreInstantiate():
                append(spaces.core_instances, self.core_instantiate(definition), offset)
            case CoreInlineExports():
                append(spaces.core_instances, self.core_inline_exports(definition), offset)
            case NestedComponent():
                nested = Validator(Spaces(spaces), self.core_modules, self.signatures)
                append(spaces.components, nested.component(definition.component), offset)
            case Instantiate():
                self.add_instance(self.instantiate(definition), offset)
            case InlineExports():
                self.add_instance(self.inline_exports(definition), offset)
            case Start():
                raise DecodeError("component start functions are not supported", offset)
            case Value():
                raise DecodeError("component values are not supported", offset)

    def add_core_func(self, signature: CoreFuncType, offset: int) -> None:
        self.signatures[offset] = signature
        append(self.spaces.core_funcs, signature, offset)

    def define_type(self, definition: TypeDefinition) -> None:
        offset = definition.offset
        if not isinstance(definition.type, ResourceDef):
            append(self.scope.types, define_type(self.scope, definition.type, offset), offset)
            return
        rep, destructor = definition.type.rep, definition.type.destructor
        if rep not in ("i32", "i64"):
            raise DecodeError(f"resources can only be represented by i32 or i64, not {rep}", offset)
        if destructor is not None:
            t = item(self.spaces.core_funcs, destructor, "core function", offset)
            if t != CoreFuncType((rep,), ()):
                raise DecodeError(
                    f"wrong signature for a destructor: expected (func (param {rep})), found {core_func_text(t)}",
                    offset,
                )
        resource = ResourceType()
        self.spaces.local_resources[resource] = rep
        append(self.scope.types, resource, offset)

    # Aliases

    def core_export_alias(self, alias: AliasCoreExport) -> None:
        instance = item(self.spaces.core_instances, alias.instance, "core instance", alias.offset)
        extern = instance.get(alias.name)
        if extern is None:
            raise DecodeError(f"core instance {alias.instance} has no export named `{alias.name}`", alias.offset)
        if CORE_KINDS[type(extern)] != alias.sort.name.lower():
            raise DecodeError(
                f"export `{alias.name}` of core instance {alias.instance} is no {alias.sort.name.lower()}",
                alias.offset,
            )
        self.spaces.add_core(extern, alias.offset)

    def outer_alias(self, alias: AliasOuter) -> None:
        offset = alias.offset
        outer = self.spaces.outer(alias.count, offset)
        match alias.sort:
            case Sort.TYPE:
                append(self.scope.types, self.scope.outer_type(alias.count, alias.index, offset), offset)
            case Sort.COMPONENT:
                append(self.spaces.components, item(outer.components, alias.index, "component", offset), offset)
            case CoreSort.TYPE:
                append(self.scope.core_types, item(outer.scope.core_types, alias.index, "core type", offset), offset)
            case CoreSort.MODULE:
                append(self.spaces.core_modules, item(outer.core_modules, alias.index, "module", offset), offset)
            case _:
                raise DecodeError(f"an outer alias can't refer to a {alias.sort.name.lower()}", offset)

    # Core instances

    def core_instantiate(self, definition: CoreInstantiate) -> CoreInstance:
        offset = definition.offset
        module = item(self.spaces.core_modules, definition.module, "module", offset)
        args: dict[str, CoreInstance] = {}
        for name, index in definition.args:
            if name in args:
                raise DecodeError(f"duplicate module instantiation argument named `{name}`", offset)
            args[name] = item(self.spaces.core_instances, index, "core instance", offset)
        for (module_name, name), expected in module.imports.items():
            if module_name not in args:
                raise DecodeError(f"missing module instantiation argument named `{module_name}`", offset)
            actual = args[module_name].get(name)
            if actual is None:
                raise DecodeError(
                    f"module instantiation argument `{module_name}` does not export an item named `{name}`", offset
                )
            try:
                check_core(actual, expected)
            except Mismatch as mismatch:
                raise DecodeError(
                    f"type mismatch for export `{name}` of module instantiation argument `{module_name}`: {mismatch}",
                    offset,
                ) from None
        self.table.charge(len(module.imports) + len(module.exports), offset)
        self.spaces.count_instances(None, offset)
        return dict(module.exports)

    def core_inline_exports(self, definition: CoreInlineExports) -> CoreInstance:
        exports: dict[str, CoreExternType] = {}
        for name, target in definition.exports:
            if name in exports:
                raise DecodeError(f"export name `{name}` already defined", definition.offset)
            exports[name] = self.spaces.core_extern(target, definition.offset)
        return exports

    # Instances

    def add_instance(self, instance: InstanceType, offset: int) -> None:
        self.table.check_nesting(instance, offset)
        append(self.scope.instances, instance, offset)

    def instantiate(self, definition: Instantiate) -> InstanceType:
        offset = definition.offset
        component = item(self.spaces.components, definition.component, "component", offset)
        args: dict[str, ExternType] = {}
        for name, target in definition.args:
            if name in args:
                raise DecodeError(
                    f"instantiation argument `{name}` conflicts with a previous argument `{name}`", offset
                )
            args[name] = self.spaces.extern(target, offset)
        substitution = Substitution(self.table, offset)
        for name, expected in component.imports.items():
            if name not in args:
                raise DecodeError(f"missing import named `{name}`: no instantiation argument has its name", offset)
            try:
                check_subtype(args[name], expected, substitution)
            except Mismatch as mismatch:
                raise DecodeError(f"type mismatch for import `{name}`: {mismatch}", offset) from None
        for resource in component.resources:
            substitution.bind_resource(resource, ResourceType(resource.name))
        self.spaces.count_instances(component, offset)
        exports = {name: substitution(extern) for name, extern in component.exports.items()}
        return InstanceType(exports, attributes=component.export_attributes)

    def inline_exports(self, definition: InlineExports) -> InstanceType:
        exports = ExternNames("export", self.table, names_resources=False)
        for name, target in definition.exports:
            exports.add(name, self.spaces.extern(target, definition.offset), definition.offset)
        return InstanceType(exports.externs, attributes=exports.attributes)

    # Imports and exports

    def import_definition(self, definition: Import) -> None:
        extern = extern_type(self.scope, definition.type, definition.name.name, definition.offset)
        self.imports.add(definition.name, extern, definition.offset)
        self.import_resources += fresh_resources(extern)
        self.spaces.add(extern, definition.offset)

    def export_definition(self, definition: Export) -> None:
        offset = definition.offset
        extern = self.spaces.extern(definition.target, offset)
        if definition.type is not None:
            expected = extern_type(self.scope, definition.type, definition.name.name, offset)
            try:
                check_subtype(extern, expected, Substitution(self.table, offset))
            except Mismatch as mismatch:
                raise DecodeError(
                    f"ascribed type of export `{definition.name.name}` is not compatible with the item's: {mismatch}",
                    offset,
                ) from None
            extern = expected
        extern = self.introduce(extern, definition.name.name)
        self.exports.add(definition.name, extern, offset)
        self.spaces.add(extern, offset)

    def introduce(self, extern: ExternType, name: str) -> ExternType:
        """The type of what an export introduces: an exported type is another one than the type that it was given."""
        match extern:
            case TypeExtern(type=ResourceType() as resource, bound="eq"):
                return TypeExtern(self.alias(resource, name))
            case TypeExtern(bound="eq"):
                return named_extern(extern.type, name)
        return extern

    def alias(self, resource: ResourceType, name: str) -> ResourceType:
        original = self.table.resource(resource)
        original.name = original.name or name
        alias = ResourceType(name)
        self.table.aliases[alias] = original
        self.aliases.append(alias)
        return alias

    def component_type(self, offset: int) -> ComponentType:
        """The component's type, with each resource type in place of its aliases."""
        substitution = Substitution(self.table, offset)
        for alias in self.aliases:
            substitution.bind_resource(alias, self.table.aliases[alias])
        imports = {name: substitution(extern) for name, extern in self.imports.externs.items()}
        known = dict.fromkeys(self.import_resources)
        count = len(known)
        exports = close(self.exports.externs, substitution, known)
        return ComponentType(
            imports,
            exports,
            tuple(self.import_resources),
            tuple(known)[count:],
            self.imports.attributes,
            self.exports.attributes,
        )


def close(
    exports: Mapping[str, ExternType], substitution: Substitution, known: dict[ResourceType, None]
) -> dict[str, ExternType]:
    """The exports as a component's type has them: the first export of a resource type that isn't known yet leaves it
    abstract, and later ones are equal to the first."""
    closed: dict[str, ExternType] = {}
    for name, extern in exports.items():
        image = substitution(extern)
        if isinstance(image, InstanceType):
            substitution.table.charge(len(image.exports), substitution.offset)
            image = InstanceType(close(image.exports, substitution, known), attributes=image.attributes)
        elif isinstance(image, TypeExtern) and isinstance(resource := image.type, ResourceType):
            image = TypeExtern(resource, "eq" if resource in known else "sub")
            known[resource] = None
        closed[name] = image
    return closed

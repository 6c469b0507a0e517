"""Replaces resource types, and types known by identity, in component types."""

from __future__ import annotations

from typing import TypeVar, cast

from ..types import (
    BorrowType,
    ComponentType,
    CompoundType,
    FuncType,
    InstanceType,
    ModuleType,
    NamedType,
    OwnType,
    PrimitiveType,
    ResourceType,
    TypeExtern,
    ValType,
)
from .type_table import TypeTable

AnyType = TypeVar(
    "AnyType",
    bound=PrimitiveType
    | CompoundType
    | ResourceType
    | FuncType
    | TypeExtern
    | InstanceType
    | ComponentType
    | ModuleType,
)


class Substitution:
    """A substitution that is built up while it is applied: a type is bound before any type that mentions it is copied.

    A type that mentions nothing that is replaced stays the same object. `offset` is where to report that the work of
    the file is used up.
    """

    def __init__(self, table: TypeTable, offset: int) -> None:
        self.table = table
        self.offset = offset
        self.resources: dict[ResourceType, ResourceType] = {}
        self.done: dict[int, tuple[object, object]] = {}  # by identity; the original is kept alive with its image

    def bind_resource(self, t: ResourceType, actual: ResourceType) -> None:
        self.resources[t] = actual
        self.done[id(t)] = (t, actual)

    def bind_value(self, t: ValType, actual: ValType) -> None:
        self.done[id(t)] = (t, actual)

    def __call__(self, t: AnyType) -> AnyType:
        if isinstance(t, (PrimitiveType, ModuleType)):
            return t
        known = self.done.get(id(t))
        if known is None:
            self.table.charge(1, self.offset)
            known = self.done[id(t)] = (t, self.image(t))
        return cast(AnyType, known[1])

    def image(self, t: object) -> object:
        match t:
            case ResourceType():
                return self.resources.get(t, t)
            case CompoundType():
                return self.value_image(t)
            case FuncType():
                self.table.charge(len(t.params), self.offset)
                params = tuple((label, self(param_type)) for label, param_type in t.params)
                result = t.result and self(t.result)
                if result is t.result and all(new[1] is old[1] for new, old in zip(params, t.params, strict=True)):
                    return t
                return FuncType(params, result, t.is_async)
            case TypeExtern():
                inner = self(t.type)
                return t if inner is t.type else TypeExtern(inner, t.bound)
            case InstanceType():
                self.table.charge(len(t.resources), self.offset)
                exports = {name: self(extern) for name, extern in t.exports.items()}
                if all(exports[name] is extern for name, extern in t.exports.items()):
                    return t
                return InstanceType(exports, tuple(map(self, t.resources)), t.attributes)
            case ComponentType():
                imports = {name: self(extern) for name, extern in t.imports.items()}
                exports = {name: self(extern) for name, extern in t.exports.items()}
                if all(imports[name] is extern for name, extern in t.imports.items()) and all(
                    exports[name] is extern for name, extern in t.exports.items()
                ):
                    return t
                return ComponentType(
                    imports, exports, t.import_resources, t.resources, t.import_attributes, t.export_attributes
                )
            case _:
                raise AssertionError(t)

    def value_image(self, t: CompoundType) -> ValType:
        if isinstance(t, (OwnType, BorrowType)):
            actual = self.resources.get(t.resource, t.resource)
            return t if actual is t.resource else self.table.intern(type(t)(actual), self.offset)
        parts = t.parts()
        self.table.charge(len(parts), self.offset)
        if all(self(part) is part for part in parts):
            return t
        image = t.map(self)
        return image if isinstance(t, NamedType) and t.name else self.table.intern(image, self.offset)


def freshen(table: TypeTable, t: InstanceType, offset: int) -> InstanceType:
    """The type of one instance of type `t`: its abstract resources are new ones."""
    if not t.resources:
        return t
    substitution = Substitution(table, offset)
    for resource in t.resources:
        substitution.bind_resource(resource, ResourceType(resource.name))
    return substitution(t)

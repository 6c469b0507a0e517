"""The names of imports and exports: form, uniqueness, annotations, attributes, and the types that they make visible
(Binary.md, "Import and Export Definitions"; Explainer.md, "Name Uniqueness" and "External Visibility of Types").
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..errors import DecodeError
from ..types import (
    Attributes,
    BorrowType,
    ComponentType,
    CompoundType,
    ExternType,
    FuncType,
    InstanceType,
    ModuleType,
    NamedType,
    OwnType,
    ResourceType,
    ResultType,
    TypeExtern,
    ValType,
)
from .definitions import ExternName
from .names import ExternNameParts, parse_extern_name, restore_version, uniqueness_key
from .type_table import TypeTable, func_parts

Direction = Literal["import", "export"]


def describe(extern: ExternType) -> str:
    match extern:
        case FuncType():
            return "func"
        case TypeExtern():
            return "type"
        case InstanceType():
            return "instance"
        case ComponentType():
            return "component"
        case ModuleType():
            return "module"


@dataclass
class VisibleTypes:
    """The types, by identity, that a component has an import's or export's name for, and those that are made of such
    types alone. Imports can't use the names of exports; exports can use both."""

    table: TypeTable
    imported: MutableMapping[int, object] = field(default_factory=dict)
    exported: MutableMapping[int, object] = field(default_factory=dict)

    def register(self, extern: ExternType, direction: Direction, offset: int) -> bool:
        """Whether all that `extern` refers to has a name. The types that it names itself count from then on."""
        self.table.charge(1, offset)
        match extern:
            case TypeExtern():
                if not self.refers_to_visible(extern, direction, offset):
                    return False
                if direction == "import":
                    self.imported[id(extern.type)] = extern.type
                self.exported[id(extern.type)] = extern.type
                return True
            case InstanceType():
                return all(self.register(inner, direction, offset) for inner in extern.exports.values())
            case FuncType():
                return self.are_visible(func_parts(extern), direction, offset)
            case ComponentType() | ModuleType():
                return True

    def refers_to_visible(self, extern: TypeExtern, direction: Direction, offset: int) -> bool:
        match extern.type:
            case FuncType() as t:
                return self.are_visible(func_parts(t), direction, offset)
            case InstanceType() as t:
                inner = VisibleTypes(self.table, ChainMap({}, self.imported), ChainMap({}, self.exported))
                return inner.register(t, direction, offset)
            case OwnType() | BorrowType() as t:
                return self.are_visible((t,), direction, offset)
            case CompoundType() as t:
                return self.are_visible(t.parts(), direction, offset)
            case ResourceType() as t:
                return extern.bound == "sub" or direction == "export" or id(t) in self.imported
            case _:
                return True

    def are_visible(self, types: Sequence[ValType], direction: Direction, offset: int) -> bool:
        """A type of a kind that carries a name must have one, and a handle's resource; other types need it of their
        parts only."""
        visible = self.imported if direction == "import" else self.exported
        unnamed: dict[int, ValType] = {}
        rest = list(types)
        while rest:
            t = rest.pop()
            if not isinstance(t, CompoundType) or id(t) in visible or id(t) in unnamed:
                continue
            if isinstance(t, NamedType):
                return False
            if isinstance(t, (OwnType, BorrowType)) and id(t.resource) not in visible:
                return False
            unnamed[id(t)] = t
            rest += t.parts()
        self.table.charge(len(types) + len(unnamed), offset)
        visible.update(unnamed)
        return True


@dataclass
class ExternNames:
    """All imports, or all exports, of one component, instance or type, in order.

    Types must be visible where `visible` is given. `resources` are the resource types by plain name, for the annotated
    names that refer to them.
    """

    direction: Direction
    table: TypeTable
    visible: VisibleTypes | None = None
    names_resources: bool = True
    externs: dict[str, ExternType] = field(default_factory=dict)
    attributes: dict[str, Attributes] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    resources: dict[str, ResourceType] = field(default_factory=dict)

    def add(self, name: ExternName, extern: ExternType, offset: int) -> None:
        if isinstance(extern, TypeExtern) and isinstance(extern.type, CompoundType):
            self.table.charge(len(extern.type.parts()), offset)  # a named type is a copy
        try:
            parts = parse_extern_name(name.name)
            if name.attributes is not None:
                check_attributes(name.attributes, parts, extern)
                self.attributes[name.name] = name.attributes
            self.check_annotation(name.name, parts, extern)
        except ValueError as error:
            raise DecodeError(f"{self.direction} name `{name.name}` is not valid: {error}", offset) from None
        self.check_uniqueness(name.name, offset)
        if self.visible is not None and not self.visible.register(extern, self.direction, offset):
            raise DecodeError(
                f"{describe(extern)} not valid to be used as {self.direction} `{name.name}`: it refers to a type "
                f"without external name; {self.direction} that type first, and refer to the type which that introduces",
                offset,
            )
        if isinstance(extern, TypeExtern) and isinstance(extern.type, ResourceType) and self.names_resources:
            self.resources[name.name] = extern.type
        self.externs[name.name] = extern

    def check_uniqueness(self, name: str, offset: int) -> None:
        key = uniqueness_key(name)
        if key in self.keys:
            raise DecodeError(f"{self.direction} name `{name}` conflicts with previous name `{self.keys[key]}`", offset)
        self.keys[key] = name

    def check_annotation(self, name: str, parts: ExternNameParts, extern: ExternType) -> None:
        """Holds a constructor, method or static function against the resource that its name says it belongs to."""
        if parts.resource is None:
            return
        if not isinstance(extern, FuncType):
            raise ValueError("it names a function, but is not a func")
        resource = self.resources.get(parts.resource)
        match parts.kind:
            case "constructor":
                result = extern.result
                if isinstance(result, ResultType):
                    result = result.ok
                if not isinstance(result, OwnType):
                    raise ValueError("a constructor should return `(own $T)` or `(result (own $T))`")
                used = result.resource
            case "method":
                if not extern.params or extern.params[0][0] != "self":
                    raise ValueError("a method should have a first argument called `self`")
                first = extern.params[0][1]
                if not isinstance(first, BorrowType):
                    raise ValueError("a method should take a first argument of `(borrow $T)`")
                used = first.resource
            case _:
                if resource is None:
                    raise ValueError(f"the resource name `{parts.resource}` is not known in this context")
                return
        if used is not resource:
            names = [known for known, t in self.resources.items() if t is used]
            if not names:
                raise ValueError("the resource used in the function does not have a name in this context")
            raise ValueError(f"the function does not match the expected resource name `{names[0]}`")


def check_attributes(attributes: Attributes, parts: ExternNameParts, extern: ExternType) -> None:
    if attributes.implements is not None:
        if parse_extern_name(attributes.implements).kind != "interface":
            raise ValueError(f"`implements` must be an interface name, not `{attributes.implements}`")
        if not isinstance(extern, InstanceType):
            raise ValueError("only instances can have an `implements` attribute")
        if parts.kind != "label":
            raise ValueError("a name with `implements` must be a plain name")
    if attributes.version_suffix is not None:
        if parts.kind != "interface":
            raise ValueError("only an interface name can have a `versionsuffix`")
        restore_version(parts, attributes.version_suffix)

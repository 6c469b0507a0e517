"""A component's type printed as WIT: a world, and the interfaces that it imports and exports (WIT.md).

The format of components says less than WIT: it has neither comments nor the world's name, and value types have no
identity. So a record, variant, enum or flags type is taken to be used from another interface if that one exports an
equal type by the same name. An interface that is both imported and exported is printed once, with the items of both.
What WIT can't say (core modules, components and values as imports, for example) is printed as a comment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeAlias

from ..types import (
    Attributes,
    BorrowType,
    ComponentType,
    EnumType,
    ExternType,
    FlagsType,
    FuncType,
    FutureType,
    InstanceType,
    ListType,
    MapType,
    ModuleType,
    NamedType,
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
from .names import ExternNameParts, is_label, parse_extern_name, parse_interface_name, restore_version

DeclaredType: TypeAlias = ResourceType | NamedType
"""The types that WIT refers to by name alone."""

KEYWORDS = {primitive.value for primitive in PrimitiveType} | {
    "as", "async", "borrow", "constructor", "enum", "export", "flags", "from", "func", "future", "import", "include",
    "interface", "list", "map", "option", "own", "package", "record", "resource", "result", "static", "stream", "tuple",
    "type", "use", "variant", "with", "world",
}  # fmt: skip


@dataclass
class Scope:
    """A world or an interface, in which names of types are looked up. `interface` is its name if others can use it."""

    externs: dict[str, ExternType] = field(default_factory=dict)
    names: dict[DeclaredType, list[str]] = field(default_factory=dict)
    interface: str | None = None
    uses: dict[str, dict[str, str]] = field(default_factory=dict)  # by interface: names here to names there
    attributes: dict[str, Attributes] = field(default_factory=dict)

    def add(self, externs: Mapping[str, ExternType], attributes: Mapping[str, Attributes]) -> None:
        for name, extern in externs.items():
            if name not in self.externs and name in attributes:
                self.attributes[name] = attributes[name]
            self.externs.setdefault(name, extern)
            if isinstance(extern, TypeExtern) and isinstance(extern.type, DeclaredType):
                self.names.setdefault(extern.type, []).append(name)

    def use(self, interface: str, name: str) -> str:
        """Uses a type of another interface that is not exported here, and returns what it is called here."""
        used = self.uses.setdefault(interface, {})
        for local, there in used.items():
            if there == name:
                return local
        taken = name in self.externs or any(name in locals_ for locals_ in self.uses.values())
        local = f"{parse_interface_name(interface).projection}-{name}" if taken else name
        used[local] = name
        return local


def print_wit(component_type: ComponentType, name: str) -> str:
    """The WIT of a component whose world is called `name`, or "root" where that is no label."""
    return WitPrinter(component_type).document(name if is_label(name) else "root")


class WitPrinter:
    """Prints one component type. `origins` tells by which interfaces, and by what names there, a type is exported."""

    def __init__(self, component_type: ComponentType) -> None:
        self.world = Scope()
        self.interfaces: dict[str, Scope] = {}
        self.origins: dict[DeclaredType, list[tuple[str, str]]] = {}
        t = component_type
        self.imports = with_full_names(t.imports, t.import_attributes)
        self.exports = with_full_names(t.exports, t.export_attributes)
        for externs, attributes in (self.imports, self.exports):
            self.world.add(externs, attributes)
            for name, extern in externs.items():
                interface = interface_of(name, attributes)
                if isinstance(extern, InstanceType) and interface is not None:
                    scope = self.interfaces.setdefault(interface, Scope(interface=interface))
                    scope.add(extern.exports, extern.attributes)
                    self.note_origins(interface, extern)

    def note_origins(self, interface: str, instance: InstanceType) -> None:
        for name, extern in instance.exports.items():
            if isinstance(extern, TypeExtern) and isinstance(extern.type, DeclaredType):
                self.origins.setdefault(extern.type, []).append((interface, name))

    def document(self, name: str) -> str:
        packages: dict[str, list[str]] = {}
        for interface, scope in self.interfaces.items():
            parts = parse_interface_name(interface)
            block = braces(f"interface {escape(parts.projection)}", self.items(scope))
            packages.setdefault(package_name(parts), []).append(block)
        sections = ["package root:component;", braces(f"world {escape(name)}", self.world_items())]
        sections += [braces(f"package {package}", paragraphs(blocks)) for package, blocks in packages.items()]
        return "\n\n".join(sections) + "\n"

    def world_items(self) -> list[str]:
        types = self.type_items(self.world)
        imports = self.world_items_of("import", *self.imports)
        exports = self.world_items_of("export", *self.exports)
        return paragraphs(self.use_items(self.world), types, [lines(imports), lines(exports)])

    def world_items_of(
        self, direction: str, externs: Mapping[str, ExternType], attributes: Mapping[str, Attributes]
    ) -> list[str]:
        return [
            with_external_id(self.world_item(direction, name, extern, interface_of(name, attributes)), name, attributes)
            for name, extern in externs.items()
        ]

    def world_item(self, direction: str, name: str, extern: ExternType, interface: str | None) -> str:
        parts = parse_extern_name(name)
        if isinstance(extern, TypeExtern) or (isinstance(extern, FuncType) and self.is_member(self.world, parts)):
            return ""
        if isinstance(extern, InstanceType):
            if interface is not None:
                path = interface_path(parse_interface_name(interface))
                return f"{direction} {path};" if parts.kind == "interface" else f"{direction} {escape(name)}: {path};"
            scope = Scope()
            scope.add(extern.exports, extern.attributes)
            return braces(f"{direction} {escape(name)}: interface", self.items(scope))
        if isinstance(extern, FuncType) and parts.kind == "label":
            return f"{direction} {escape(name)}: {self.func(self.world, extern)};"
        return f"// {direction} {name}: {what(extern)}"

    def items(self, scope: Scope) -> list[str]:
        types = self.type_items(scope)
        functions = []
        for name, extern in scope.externs.items():
            parts = parse_extern_name(name)
            if isinstance(extern, TypeExtern) or self.is_member(scope, parts):
                continue
            if isinstance(extern, FuncType) and parts.kind == "label":
                item = f"{escape(name)}: {self.func(scope, extern)};"
            else:
                item = f"// {name}: {what(extern)}"
            functions.append(with_external_id(item, name, scope.attributes))
        return paragraphs(self.use_items(scope), types, [lines(functions)])

    def use_items(self, scope: Scope) -> list[str]:
        """To be called last: what else a scope prints decides what it uses."""
        items = []
        for interface, used in scope.uses.items():
            parts = parse_interface_name(interface)
            own = scope.interface is not None and package_name(parse_interface_name(scope.interface))
            path = escape(parts.projection) if own == package_name(parts) else interface_path(parts)
            names = [escape(n) if n == local else f"{escape(n)} as {escape(local)}" for local, n in used.items()]
            items.append(f"use {path}.{{{', '.join(names)}}};")
        return [lines(items)]

    def type_items(self, scope: Scope) -> list[str]:
        items = []
        for name, extern in scope.externs.items():
            if isinstance(extern, TypeExtern):
                items.append(with_external_id(self.type_item(scope, name, extern), name, scope.attributes))
        return items

    def type_item(self, scope: Scope, name: str, extern: TypeExtern) -> str:
        t = extern.type
        if isinstance(t, FuncType | InstanceType | ComponentType):
            return f"// type {name}: {what(t)}"
        if not isinstance(t, DeclaredType):
            return f"type {escape(name)} = {self.value_type(scope, t)};"
        used = self.used_from(scope, name, t)
        if used is not None:
            interface, there = used
            scope.uses.setdefault(interface, {})[name] = there
            return ""
        if not isinstance(t, ResourceType):
            return self.definition(scope, name, t)
        first = scope.names[t][0]
        return self.resource(scope, name) if first == name else f"type {escape(name)} = {escape(first)};"

    def used_from(self, scope: Scope, name: str, t: DeclaredType) -> tuple[str, str] | None:
        """The interface, and the name there, that a type which this scope exports by `name` comes from."""
        origins = self.origins.get(t, [])
        if isinstance(t, ResourceType):
            origin = origins[0] if origins else None
            return None if origin is None or origin[0] == scope.interface else origin
        for interface, origin_name in origins:
            if interface == scope.interface:
                return None
            if origin_name == name and not same_interface(interface, scope.interface):
                return interface, origin_name
        return None

    def definition(self, scope: Scope, name: str, t: DeclaredType) -> str:
        match t:
            case RecordType():
                fields = [f"{escape(label)}: {self.value_type(scope, part)}," for label, part in t.record_fields]
                return braces(f"record {escape(name)}", fields)
            case VariantType():
                cases = [
                    f"{escape(label)}," if part is None else f"{escape(label)}({self.value_type(scope, part)}),"
                    for label, part in t.cases
                ]
                return braces(f"variant {escape(name)}", cases)
            case EnumType():
                return braces(f"enum {escape(name)}", [f"{escape(label)}," for label in t.labels])
            case _:
                assert isinstance(t, FlagsType)
                return braces(f"flags {escape(name)}", [f"{escape(label)}," for label in t.labels])

    def resource(self, scope: Scope, name: str) -> str:
        members = []
        for member, extern in scope.externs.items():
            parts = parse_extern_name(member)
            if parts.resource == name and isinstance(extern, FuncType):
                members.append(with_external_id(self.member(scope, parts, extern), member, scope.attributes))
        return braces(f"resource {escape(name)}", members) if members else f"resource {escape(name)};"

    def member(self, scope: Scope, parts: ExternNameParts, func: FuncType) -> str:
        if parts.kind == "constructor":
            params = self.params(scope, func.params)
            fallible = isinstance(func.result, ResultType)
            return f"constructor({params}){self.result(scope, func) if fallible else ''};"
        label = escape(parts.labels[1])
        if parts.kind == "static":
            return f"{label}: static {self.func(scope, func)};"
        return f"{label}: {self.func(scope, FuncType(func.params[1:], func.result, func.is_async))};"

    def is_member(self, scope: Scope, parts: ExternNameParts) -> bool:
        """Whether a function is printed with a resource that the scope defines."""
        extern = None if parts.resource is None else scope.externs.get(parts.resource)
        if not isinstance(extern, TypeExtern) or not isinstance(extern.type, ResourceType):
            return False
        assert parts.resource is not None
        used = self.used_from(scope, parts.resource, extern.type)
        return used is None and scope.names[extern.type][0] == parts.resource

    def func(self, scope: Scope, func: FuncType) -> str:
        prefix = "async " if func.is_async else ""
        return f"{prefix}func({self.params(scope, func.params)}){self.result(scope, func)}"

    def params(self, scope: Scope, params: Iterable[tuple[str, ValType]]) -> str:
        return ", ".join(f"{escape(label)}: {self.value_type(scope, t)}" for label, t in params)

    def result(self, scope: Scope, func: FuncType) -> str:
        return "" if func.result is None else f" -> {self.value_type(scope, func.result)}"

    def value_type(self, scope: Scope, t: ValType) -> str:
        def text(part: ValType | None) -> str:
            return "_" if part is None else self.value_type(scope, part)

        match t:
            case PrimitiveType():
                return t.value
            case OwnType():
                return self.name(scope, t.resource)
            case BorrowType():
                return f"borrow<{self.name(scope, t.resource)}>"
            case ListType():
                return f"list<{text(t.elem_type)}>" if t.length is None else f"list<{text(t.elem_type)}, {t.length}>"
            case TupleType():
                return f"tuple<{', '.join(map(text, t.types))}>"
            case OptionType():
                return f"option<{text(t.payload)}>"
            case ResultType(ok=None, error=None):
                return "result"
            case ResultType(error=None):
                return f"result<{text(t.ok)}>"
            case ResultType():
                return f"result<{text(t.ok)}, {text(t.error)}>"
            case MapType():
                return f"map<{text(t.key_type)}, {text(t.value_type)}>"
            case StreamType() | FutureType():
                kind = "stream" if isinstance(t, StreamType) else "future"
                return kind if t.elem_type is None else f"{kind}<{text(t.elem_type)}>"
            case _:
                assert isinstance(t, NamedType)
                return self.name(scope, t)

    def name(self, scope: Scope, t: DeclaredType) -> str:
        """What a type is called in a scope; the name it carries decides where equal types have several."""
        names = scope.names.get(t)
        if names:
            return escape(t.name if t.name in names else names[0])
        origins = self.origins.get(t)
        if origins:
            return escape(scope.use(*next((o for o in origins if o[1] == t.name), origins[0])))
        return escape(t.name or "anonymous")


def with_full_names(
    externs: Mapping[str, ExternType], attributes: Mapping[str, Attributes]
) -> tuple[Mapping[str, ExternType], Mapping[str, Attributes]]:
    """Both by names in which interfaces have all of their version."""
    full = {
        name: f"{parts.unversioned}@{restore_version(parts, given.version_suffix)}"
        for name, given in attributes.items()
        if given.version_suffix is not None and (parts := parse_interface_name(name))
    }
    if not full:
        return externs, attributes
    return (
        {full.get(name, name): extern for name, extern in externs.items()},
        {full.get(name, name): given for name, given in attributes.items()},
    )


def interface_of(name: str, attributes: Mapping[str, Attributes]) -> str | None:
    """The name of the interface that an instance with this name, or with these attributes, is of."""
    if parse_extern_name(name).kind == "interface":
        return name
    return attributes[name].implements if name in attributes else None


def with_external_id(item: str, name: str, attributes: Mapping[str, Attributes]) -> str:
    external_id = attributes[name].external_id if name in attributes else None
    return item if external_id is None or not item else f"@external-id({quoted(external_id)})\n{item}"


def quoted(text: str) -> str:
    """A string literal, as core WebAssembly's text format has them."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in escaped) + '"'


def what(extern: ExternType) -> str:
    match extern:
        case FuncType():
            return "function"
        case InstanceType():
            return "instance"
        case ComponentType():
            return "component"
        case ModuleType():
            return "core module"
        case TypeExtern():
            return "type"


def escape(name: str) -> str:
    return f"%{name}" if name in KEYWORDS else name


def version(parts: ExternNameParts) -> str:
    """The version with its `@`; one that is canonical has zeros for what it leaves out, since WIT wants all numbers."""
    v = parts.version
    if v is None:
        return ""
    return f"@{v.major}.{v.minor}.{v.patch}" if v.is_canonical else f"@{v}"


def package_name(parts: ExternNameParts) -> str:
    return f"{escape(parts.namespace)}:{escape(parts.package)}{version(parts)}"


def interface_path(parts: ExternNameParts) -> str:
    return f"{escape(parts.namespace)}:{escape(parts.package)}/{escape(parts.projection)}{version(parts)}"


def same_interface(one: str, other: str | None) -> bool:
    """Whether two names are of one interface, perhaps in different versions."""
    return other is not None and parse_interface_name(one).unversioned == parse_interface_name(other).unversioned


def braces(head: str, items: Iterable[str]) -> str:
    body = [f"  {line}" if line else "" for line in chain.from_iterable(item.split("\n") for item in items)]
    return "\n".join([f"{head} {{", *body, "}"])


def lines(items: Iterable[str]) -> str:
    return "\n".join(item for item in items if item)


def paragraphs(*groups: list[str]) -> list[str]:
    """The items that are not empty, with an empty line between each two."""

    def spaced() -> Iterator[str]:
        for i, item in enumerate(item for group in groups for item in group if item):
            if i:
                yield ""
            yield item

    return list(spaced())

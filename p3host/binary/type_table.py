"""Value types made once: equal types of one component are one object, and comparing two is comparing identities.

Two kinds of sameness are kept apart. `intern` gives types of the same parts the same object, but leaves types that were
given a name by an import or export apart, since the external visibility of types (Explainer.md) depends on the index
that a type was named through. `structure` forgets names, so that types are equal exactly when their structures are the
same object.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..abi.layout import elem_size
from ..errors import DecodeError
from ..types import (
    BorrowType,
    ComponentType,
    CompoundType,
    DefinedType,
    EnumType,
    ExternType,
    FlagsType,
    FuncType,
    FutureType,
    InstanceType,
    ListType,
    MapType,
    NamedType,
    OwnType,
    PrimitiveType,
    RecordType,
    ResourceType,
    ResultType,
    StreamType,
    TypeExtern,
    ValType,
    VariantType,
)

MAX_TYPE_SIZE = 100_000  # nodes of a type written out as a tree
MAX_TYPE_DEPTH = 100
MAX_TYPE_NESTING = 32  # instance and component types in one another
MAX_ELEM_SIZE = 2**28  # bytes
MAX_WORK = 300_000  # steps of defining, copying and comparing types in one file; large real components take 2,000


def shape(t: CompoundType) -> object:
    """What two types of one class must have in common, beside their parts."""
    match t:
        case RecordType():
            return tuple(label for label, _ in t.record_fields)
        case VariantType():
            return tuple((label, payload is None) for label, payload in t.cases)
        case EnumType() | FlagsType():
            return t.labels
        case ListType():
            return t.length
        case ResultType():
            return t.ok is None
        case _:
            return None


@dataclass
class TypeTable:
    """The value types of one file, and the account of the work that its types cost.

    `aliases` leads from the resource type that an export introduced to the one that it stands for.
    """

    interned: dict[object, ValType] = field(default_factory=dict)
    structures: dict[object, ValType] = field(default_factory=dict)
    structure_of: dict[int, tuple[ValType, ValType]] = field(default_factory=dict)  # by identity; keeps it alive
    borrows: dict[int, tuple[ValType, bool]] = field(default_factory=dict)
    pointers: dict[int, tuple[ValType, bool]] = field(default_factory=dict)
    nesting_of: dict[int, tuple[object, int]] = field(default_factory=dict)
    aliases: dict[ResourceType, ResourceType] = field(default_factory=dict)
    work: int = 0

    def charge(self, steps: int, offset: int) -> None:
        """Counts work that a small file could otherwise make large."""
        self.work += steps
        if self.work > MAX_WORK:
            raise DecodeError("the types of the component are too complex", offset)

    def intern(self, t: ValType, offset: int) -> ValType:
        """The one object for types of the same kind and parts. A new type is checked against the limits."""
        if not isinstance(t, CompoundType):
            return t
        resource = id(t.resource) if isinstance(t, (OwnType, BorrowType)) else None
        key = (type(t), shape(t), resource, *map(id, t.parts()))
        known = self.interned.get(key)
        if known is None:
            check_limits(t, offset)
            if elem_size(self.structure(t), "i64") >= MAX_ELEM_SIZE:
                raise DecodeError(f"a value of the type takes {MAX_ELEM_SIZE} bytes or more", offset)
            known = self.interned[key] = t
        return known

    def structure(self, t: ValType) -> ValType:
        """The one object for types that are equal, whatever their names and the aliases of resources that they use."""
        if not isinstance(t, CompoundType):
            return t
        known = self.structure_of.get(id(t))
        if known is None:
            resource = id(self.resource(t.resource)) if isinstance(t, (OwnType, BorrowType)) else None
            key = (type(t), shape(t), resource, *(id(self.structure(part)) for part in t.parts()))
            known = self.structure_of[id(t)] = (t, self.structures.setdefault(key, t))
        return known[1]

    def equal(self, a: ValType | None, b: ValType | None) -> bool:
        if a is None or b is None:
            return a is b
        return a is b or self.structure(a) is self.structure(b)

    def structural(self, t: FuncType, offset: int) -> FuncType:
        """The same function type with the structures of its value types, for what is remembered by type."""
        self.charge(len(t.params), offset)
        params = tuple((label, self.structure(param_type)) for label, param_type in t.params)
        return FuncType(params, t.result and self.structure(t.result), t.is_async)

    def resource(self, t: ResourceType) -> ResourceType:
        """The resource type itself that an alias stands for."""
        return self.aliases.get(t, t)

    def contains_borrow(self, t: ValType | None) -> bool:
        if not isinstance(t, CompoundType):
            return False
        known = self.borrows.get(id(t))
        if known is None:
            found = isinstance(t, BorrowType) or any(map(self.contains_borrow, t.parts()))
            known = self.borrows[id(t)] = (t, found)
        return known[1]

    def contains_pointer(self, t: ValType | None) -> bool:
        """Whether a value of type `t` lies in memory in part: it has a string, a list or a map."""
        if not isinstance(t, CompoundType):
            return t is PrimitiveType.STRING
        if isinstance(t, MapType) or (isinstance(t, ListType) and t.length is None):
            return True
        if isinstance(t, (StreamType, FutureType)):
            return False
        known = self.pointers.get(id(t))
        if known is None:
            known = self.pointers[id(t)] = (t, any(map(self.contains_pointer, t.parts())))
        return known[1]

    def nesting(self, t: DefinedType | ExternType) -> int:
        """How deep instance and component types stand in one another in `t`."""
        if isinstance(t, TypeExtern):
            return self.nesting(t.type)
        if not isinstance(t, (InstanceType, ComponentType)):
            return 0
        known = self.nesting_of.get(id(t))
        if known is None:
            imports = t.imports.values() if isinstance(t, ComponentType) else ()
            depth = 1 + max(map(self.nesting, (*imports, *t.exports.values())), default=0)
            known = self.nesting_of[id(t)] = (t, depth)
        return known[1]

    def check_nesting(self, t: InstanceType | ComponentType, offset: int) -> None:
        if self.nesting(t) > MAX_TYPE_NESTING:
            raise DecodeError(f"instance and component types nest more than {MAX_TYPE_NESTING} deep", offset)

    def mentions_resource(self, t: DefinedType, offset: int) -> bool:
        """Whether `t` refers to a resource type that it doesn't introduce itself."""
        mentioned: set[ResourceType] = set()
        introduced: set[ResourceType] = set()
        seen: dict[int, object] = {}
        rest: list[DefinedType | ExternType] = [t]
        while rest:
            part = rest.pop()
            if id(part) in seen or isinstance(part, PrimitiveType):
                continue
            seen[id(part)] = part
            self.charge(1, offset)
            match part:
                case ResourceType():
                    mentioned.add(part)
                case OwnType() | BorrowType():
                    mentioned.add(part.resource)
                case CompoundType():
                    rest += part.parts()
                case FuncType():
                    rest += func_parts(part)
                case TypeExtern():
                    rest.append(part.type)
                case InstanceType():
                    introduced.update(part.resources)
                    rest += part.exports.values()
                case ComponentType():
                    introduced.update(part.import_resources, part.resources)
                    rest += (*part.imports.values(), *part.exports.values())
        return not mentioned <= introduced


def func_parts(t: FuncType) -> tuple[ValType, ...]:
    return t.param_types if t.result is None else (*t.param_types, t.result)


def named(t: ValType, name: str) -> ValType:
    """The type that an import or export of `t` by a name introduces: an object of its own if its kind carries names."""
    return replace(t, name=name) if isinstance(t, NamedType) else t


def check_limits(t: CompoundType, offset: int) -> None:
    if t.size > MAX_TYPE_SIZE:
        raise DecodeError(f"a type has more than {MAX_TYPE_SIZE} parts", offset)
    if t.depth > MAX_TYPE_DEPTH:
        raise DecodeError(f"a type nests more than {MAX_TYPE_DEPTH} deep", offset)

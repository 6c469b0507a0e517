"""Component value, function and extern types (Explainer.md, "Type Definitions"), resolved: no type index is left.

Types are immutable and hashable. A type caches its hash and the size it has when written out as a tree, so that one
that shares its parts many times costs no more than its parts. Two value types are equal when they have the same
structure; a resource type equals itself alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Literal, TypeAlias

from .records import Record

CoreValType: TypeAlias = str  # "i32", "i64", "f32", "f64", "v128", or a reference type in text form, as "funcref"
PointerType: TypeAlias = Literal["i32", "i64"]
StringEncoding: TypeAlias = Literal["utf8", "utf16", "latin1+utf16"]


class PrimitiveType(Enum):
    """The value types without parts; the value is the type's name in WIT."""

    BOOL = "bool"
    S8 = "s8"
    U8 = "u8"
    S16 = "s16"
    U16 = "u16"
    S32 = "s32"
    U32 = "u32"
    S64 = "s64"
    U64 = "u64"
    F32 = "f32"
    F64 = "f64"
    CHAR = "char"
    STRING = "string"
    ERROR_CONTEXT = "error-context"


@dataclass(eq=False)
class ResourceType:
    """A resource type: equal to itself alone.

    `slot` is its place in the list of run-time resources of a linked component; -1 until it is linked. `name` is for
    messages.
    """

    name: str = ""
    slot: int = -1


class CompoundType(Record):
    """What all value types with parts have. `size` counts the nodes of the type written out as a tree, `depth` how deep
    they stand. `likeness` is an object that types share once they have been found equal: types that share parts many
    times are compared in the time that their parts take, not their trees."""

    size: int = field(init=False, repr=False, default=1)
    depth: int = field(init=False, repr=False, default=1)
    cached_hash: int = field(init=False, repr=False, default=0)
    likeness: object = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        size, depth = 1, 1
        for part in self.parts():
            if isinstance(part, CompoundType):
                size += part.size
                depth = max(depth, part.depth)
            else:
                size += 1
        set_field = object.__setattr__
        set_field(self, "size", size)
        set_field(self, "depth", depth + 1)
        set_field(self, "cached_hash", hash((type(self).__name__, self.key())))
        set_field(self, "likeness", object())

    def parts(self) -> tuple[ValType, ...]:
        """The value types that this one is made of, in order."""
        return ()

    def key(self) -> tuple[object, ...]:
        """What makes two types of this kind equal."""
        raise NotImplementedError

    def map(self, change: Callable[[ValType], ValType]) -> ValType:
        """The same type with `change` applied to each of its parts."""
        return self

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other):
            return NotImplemented
        assert isinstance(other, CompoundType)
        if self.likeness is other.likeness:
            return True
        if self.cached_hash != other.cached_hash or self.key() != other.key():
            return False
        object.__setattr__(other, "likeness", self.likeness)
        return True

    def __hash__(self) -> int:
        return self.cached_hash


class ListType(CompoundType):
    """`list<T>`, or `list<T, N>` where `length` is given."""

    elem_type: ValType
    length: int | None = None

    def parts(self) -> tuple[ValType, ...]:
        return (self.elem_type,)

    def key(self) -> tuple[object, ...]:
        return (self.elem_type, self.length)

    def map(self, change: Callable[[ValType], ValType]) -> ValType:
        return replace(self, elem_type=change(self.elem_type))


class RecordType(CompoundType):
    """A record: (label, type) for each field. `name` is the name it is exported by, if any, and is not compared."""

    record_fields: tuple[tuple[str, ValType], ...]
    name: str = ""

    def parts(self) -> tuple[ValType, ...]:
        return tuple(field_type for _, field_type in self.record_fields)

    def key(self) -> tuple[object, ...]:
        return self.record_fields

    def map(self, change: Callable[[ValType], ValType]) -> ValType:
        return replace(self, record_fields=tuple((label, change(t)) for label, t in self.record_fields))


class TupleType(CompoundType):
    types: tuple[ValType, ...]

    def parts(self) -> tuple[ValType, ...]:
        return self.types

    def key(self) -> tuple[object, ...]:
        return self.types

    def map(self, change: Callable[[ValType], ValType]) -> ValType:
        return replace(self, types=tuple(map(change, self.types)))


class VariantType(CompoundType):
    """A variant: (label, payload type or None) for each case."""

    cases: tuple[tuple[str, ValType | None], ...]
    name: str = ""

    def parts(self) -> tuple[ValType, ...]:
        return tuple(payload for _, payload in self.cases if payload is not None)

    def key(self) -> tuple[object, ...]:
        return self.cases

    def map(self, change: Callable[[ValType], ValType]) -> ValType:
        return replace(self, cases=tuple((label, t if t is None else change(t)) for label, t in self.cases))


class EnumType(CompoundType):
    labels: tuple[str, ...]
    name: str = ""

    def key(self) -> tuple[object, ...]:
        return self.labels


class FlagsType(CompoundType):
    labels: tuple[str, ...]
    name: str = ""

    def key(self) -> tuple[object, ...]:
        return self.labels


class OptionType(CompoundType):
    payload: ValType

    def parts(self) -> tuple[ValType, ...]:
        return (self.payload,)

    def key(self) -> tuple[object, ...]:
        return (self.payload,)

    def map(self, change: Callable[[ValType], ValType]) -> ValType:
        return replace(self, payload=change(self.payload))


class ResultType(CompoundType):
    ok: ValType | None = None
    error: ValType | None = None

    def parts(self) -> tuple[ValType, ...]:
        return tuple(payload for payload in (self.ok, self.error) if payload is not None)

    def key(self) -> tuple[object, ...]:
        return (self.ok, self.error)

    def map(self, change: Callable[[ValType], ValType]) -> ValType:
        return ResultType(self.ok and change(self.ok), self.error and change(self.error))


class MapType(CompoundType):
    key_type: ValType
    value_type: ValType

    def parts(self) -> tuple[ValType, ...]:
        return (self.key_type, self.value_type)

    def key(self) -> tuple[object, ...]:
        return (self.key_type, self.value_type)

    def map(self, change: Callable[[ValType], ValType]) -> ValType:
        return MapType(change(self.key_type), change(self.value_type))


class OwnType(CompoundType):
    resource: ResourceType

    def key(self) -> tuple[object, ...]:
        return (self.resource,)


class BorrowType(CompoundType):
    resource: ResourceType

    def key(self) -> tuple[object, ...]:
        return (self.resource,)


class StreamType(CompoundType):
    elem_type: ValType | None = None

    def parts(self) -> tuple[ValType, ...]:
        return () if self.elem_type is None else (self.elem_type,)

    def key(self) -> tuple[object, ...]:
        return (self.elem_type,)

    def map(self, change: Callable[[ValType], ValType]) -> ValType:
        return StreamType(self.elem_type and change(self.elem_type))


class FutureType(CompoundType):
    elem_type: ValType | None = None

    def parts(self) -> tuple[ValType, ...]:
        return () if self.elem_type is None else (self.elem_type,)

    def key(self) -> tuple[object, ...]:
        return (self.elem_type,)

    def map(self, change: Callable[[ValType], ValType]) -> ValType:
        return FutureType(self.elem_type and change(self.elem_type))


ValType: TypeAlias = PrimitiveType | CompoundType
NamedType: TypeAlias = RecordType | VariantType | EnumType | FlagsType
"""The value types that have a name of their own in most languages, and a class in Python."""


class FuncType(Record):
    """A component function: (label, type) for each parameter, the result or None, and whether its type is `async`."""

    params: tuple[tuple[str, ValType], ...]
    result: ValType | None = None
    is_async: bool = False

    @property
    def param_types(self) -> tuple[ValType, ...]:
        return tuple(param_type for _, param_type in self.params)


# Core types, as far as the component level sees them (a module type is what a module imports and exports).


class CoreFuncType(Record):
    params: tuple[CoreValType, ...]
    results: tuple[CoreValType, ...]


class Limits(Record):
    minimum: int
    maximum: int | None = None
    pointer: PointerType = "i32"
    shared: bool = False


class CoreTableType(Record):
    elem_type: CoreValType
    limits: Limits


class CoreMemoryType(Record):
    limits: Limits
    page_size_log2: int = 16


class CoreGlobalType(Record):
    value_type: CoreValType
    mutable: bool


class CoreTagType(Record):
    func: CoreFuncType


CoreExternType: TypeAlias = CoreFuncType | CoreTableType | CoreMemoryType | CoreGlobalType | CoreTagType


class ModuleType(Record):
    imports: Mapping[tuple[str, str], CoreExternType]
    exports: Mapping[str, CoreExternType]


# Extern types of the component level: what a component can import and export.


class TypeExtern(Record):
    """A type that is imported or exported: `type` is it. `bound` is "eq", or "sub" for an abstract resource."""

    type: DefinedType
    bound: Literal["eq", "sub"] = "eq"


class Attributes(Record):
    """What is said of an import or export beside its name and its type; it doesn't count when types are compared."""

    implements: str | None = None
    version_suffix: str | None = None
    external_id: str | None = None


class InstanceType(Record):
    """The exports of an instance, in order. `resources` are the resource types that this type leaves abstract: each
    use of the type stands for fresh ones. `attributes` has the names that have some."""

    exports: Mapping[str, ExternType]
    resources: tuple[ResourceType, ...] = ()
    attributes: Mapping[str, Attributes] = field(default_factory=dict, compare=False)


class ComponentType(Record):
    """Imports and exports in order, and the attributes of those that have some. `import_resources` are bound by what is
    imported, `resources` made anew by each instantiation."""

    imports: Mapping[str, ExternType]
    exports: Mapping[str, ExternType]
    import_resources: tuple[ResourceType, ...] = ()
    resources: tuple[ResourceType, ...] = ()
    import_attributes: Mapping[str, Attributes] = field(default_factory=dict, compare=False)
    export_attributes: Mapping[str, Attributes] = field(default_factory=dict, compare=False)


DefinedType: TypeAlias = ValType | ResourceType | FuncType | InstanceType | ComponentType
ExternType: TypeAlias = FuncType | TypeExtern | InstanceType | ComponentType | ModuleType


def contains(t: ValType | None, kinds: type[CompoundType] | tuple[type[CompoundType], ...]) -> bool:
    """Whether a value of type `t` can hold one of the given kinds of types, streams and futures looked into."""
    seen: set[ValType] = set()

    def search(types: Iterable[ValType]) -> bool:
        for part in types:
            if isinstance(part, kinds):
                return True
            if isinstance(part, CompoundType) and part not in seen:
                seen.add(part)
                if search(part.parts()):
                    return True
        return False

    return t is not None and search((t,))

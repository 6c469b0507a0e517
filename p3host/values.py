"""The Python shapes of component values: names, and the classes made from types.

A class is made once for all types of the same structure, so values of two components compare equal where their types
do. Labels of the type become Python names by `python_name` and `class_name`.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass
from enum import Enum, Flag
from typing import Any, ClassVar, TypeVar, cast
from weakref import WeakValueDictionary

from .types import CompoundType, EnumType, FlagsType, NamedType, RecordType, VariantType


@dataclass(frozen=True, slots=True)
class Some:
    """A present `option`; only needed where options nest, and accepted everywhere an option is."""

    value: Any


@dataclass(frozen=True, slots=True)
class Ok:
    """The ok case of a `result` that is nested in a value; the error case is `errors.Err`."""

    value: Any = None


class RepeatedKeys(dict[Any, Any]):
    """A `map` in which a guest repeated a key: a dict with the last value of each; `pairs` has them all, in order.

    It is passed on to another guest whole.
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[Any, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def map_of(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    made = dict(pairs)
    return made if len(made) == len(pairs) else RepeatedKeys(pairs)


def python_name(label: str) -> str:
    """The Python name of a function, parameter or field: `wait-for` is `wait_for`, `class` is `class_`."""
    name = label.replace("-", "_").lower()
    return f"{name}_" if keyword.iskeyword(name) else name


def class_name(label: str) -> str:
    """The Python name of a type, case or resource: `error-code` is `ErrorCode`, `none` is `None_`."""
    name = "".join(word.capitalize() for word in label.split("-"))
    return f"{name}_" if keyword.iskeyword(name) else name


def member_name(label: str) -> str:
    """The Python name of a member of an enum or flags: `not-found` is `NOT_FOUND`."""
    return label.replace("-", "_").upper()


MadeClass = TypeVar("MadeClass", bound=type)
CACHE_LIMIT = 1 << 12

classes: WeakValueDictionary[CompoundType, type] = WeakValueDictionary()


def made_once(t: CompoundType, make: Callable[[], MadeClass]) -> MadeClass:
    made = classes.get(t)
    if made is None:
        made = classes[t] = make()
    return cast(MadeClass, made)


def type_name(t: NamedType, default: str) -> str:
    return class_name(t.name.rpartition("/")[2]) or default


class Record:
    """The base of all classes made for records: dataclasses with slots."""

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]] = ()

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__match_args__)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__name__}({shown})"


def record_class(t: RecordType) -> type[Record]:
    """A dataclass with one field for each field of the record."""

    def make() -> type[Record]:
        # With `field()`, as what a class has by the name already (`mro`) would be taken for a default.
        names = [(python_name(label), Any, field()) for label, _ in t.record_fields]
        module = {"__module__": __name__}
        return make_dataclass(
            type_name(t, "Record"), names, bases=(Record,), namespace=module, slots=True, eq=False, repr=False
        )

    return made_once(t, make)


class Variant:
    """The base of all classes made for variants.

    `tag` is the case's label in WIT, and `value` its payload, or None where the case has none. A variant's class has
    its cases as attributes: `Filter.All()`, `Filter.Some("x")`.
    """

    __slots__ = ()
    cases: ClassVar[tuple[type[Variant], ...]] = ()
    tag: ClassVar[str]
    value: Any

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        assert isinstance(other, Variant)
        return bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash((self.tag, self.value))


class PayloadCase(Variant):
    __slots__ = ("value",)
    __match_args__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({self.value!r})"


class EmptyCase(Variant):
    __slots__ = ()
    __match_args__ = ()
    value = None

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}()"


def variant_classes(t: VariantType) -> tuple[type[Variant], tuple[type[Variant], ...]]:
    """The class of a variant, and its subclass for each case in the order of the type."""

    def make() -> type[Variant]:
        name = type_name(t, "Variant")
        base: type[Variant] = type(name, (Variant,), {"__slots__": (), "__module__": __name__})
        cases: list[type[Variant]] = []
        for label, payload in t.cases:
            kind = EmptyCase if payload is None else PayloadCase
            case_name = class_name(label)
            names = {"__slots__": (), "__module__": __name__, "__qualname__": f"{name}.{case_name}", "tag": label}
            case = type(case_name, (base, kind), names)
            setattr(base, case_name, case)
            cases.append(case)
        base.cases = tuple(cases)
        return base

    base = made_once(t, make)
    return base, base.cases


class LabelEnum(Enum):
    """The base of all classes made for enums: a member's value is its label, `discriminant` its place in the type."""

    discriminant: int

    def __init__(self, _label: str) -> None:
        self.discriminant = len(type(self).__members__)


def enum_class(t: EnumType) -> type[LabelEnum]:
    """An enum with a member for each label, in upper case; its value is the label."""

    def make() -> type[LabelEnum]:
        members = [(member_name(label), label) for label in t.labels]
        made: type[LabelEnum] = cast(Any, LabelEnum)(type_name(t, "Enum"), members, module=__name__)
        return made

    return made_once(t, make)


class LabelFlags(Flag):
    """The base of all classes made for flags; the members are in the order of the labels."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._value_ == other._value_

    def __hash__(self) -> int:
        return hash(self._value_)

    @classmethod
    def _missing_(cls, value: object) -> Any:
        if isinstance(value, int) and value >= 0 and value >> len(cls.__members__):  # early 3.11 lets it pass
            raise ValueError(f"{value} has bits that {cls.__name__} has no flags for")
        # The standard library keeps every combination that ever was; a guest could name them all.
        member = super()._missing_(value)
        if len(cls._value2member_map_) > CACHE_LIMIT:
            cls._value2member_map_.pop(value, None)
        return member


def flags_class(t: FlagsType) -> type[LabelFlags]:
    """An `enum.Flag` with a member for each label, in upper case."""

    def make() -> type[LabelFlags]:
        members = [(member_name(label), 1 << i) for i, label in enumerate(t.labels)]
        made: type[LabelFlags] = cast(Any, LabelFlags)(type_name(t, "Flags"), members, module=__name__)
        return made

    return made_once(t, make)


def value_class(t: NamedType) -> type:
    """The class of a type that has one. A variant's has its cases as attributes."""
    match t:
        case RecordType():
            return record_class(t)
        case VariantType():
            return variant_classes(t)[0]
        case EnumType():
            return enum_class(t)
        case FlagsType():
            return flags_class(t)

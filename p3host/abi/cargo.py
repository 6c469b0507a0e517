"""What a value that passes from guest to guest is on its way: where `taking.py` leaves it, and `giving.py` finds it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from .codegen import tuple_text
from .options import AbiOptions


@dataclass(frozen=True)
class Route:
    """From which kind of place a value passes to which: core values or linear memory, each with its options."""

    source: AbiOptions
    target: AbiOptions
    flat_source: bool = False
    flat_target: bool = False

    @property
    def is_direct(self) -> bool:
        """Whether the value lies in memory on both sides."""
        return not self.flat_source and not self.flat_target

    @property
    def behind_pointers(self) -> Route:
        """The route of what a list holds."""
        return replace(self, flat_source=False, flat_target=False)


class Number(NamedTuple):
    """The bits of a number as an unsigned int, a float, or whatever a handle was lifted to."""

    name: str


class Run(NamedTuple):
    """Bytes that are copied as they are."""

    name: str
    size: int


class Parts(NamedTuple):
    parts: tuple[Cargo, ...]


class Merged(NamedTuple):
    """An option or result whose cases with a payload share its type, a plain one: a zero stands for an absent one."""

    discriminant: str
    payload: Cargo


class Choice(NamedTuple):
    """An option or result; `payload` is the variable that `packed` makes of the payload's."""

    discriminant: str
    payload: str
    cases: tuple[Cargo | None, Cargo | None]


class Case(NamedTuple):
    """A variant; `payload` is what the function of the case took."""

    discriminant: str
    payload: str


class Block(NamedTuple):
    """A range of the source's memory that is copied as it is: checked, `length` units of `unit` bytes long."""

    pointer: str
    length: str
    unit: int
    alignment: int


class Taken(NamedTuple):
    """What a function took: of a type that is not converted in place, of a list, or of a string."""

    name: str


Cargo: TypeAlias = Number | Run | Parts | Merged | Choice | Case | Block | Taken


def variables(cargo: Cargo | None) -> list[str]:
    match cargo:
        case None:
            return []
        case Parts(parts):
            return all_variables(parts)
        case Merged(discriminant, payload):
            return [discriminant, *variables(payload)]
        case Choice(discriminant, name) | Case(discriminant, name):
            return [discriminant, name]
        case Block(pointer, length):
            return [pointer, length]
        case _:
            return [cargo.name]


def all_variables(cargos: Iterable[Cargo]) -> list[str]:
    return [name for cargo in cargos for name in variables(cargo)]


def packed(cargo: Cargo | None) -> str:
    """The variables of a value as one, in an expression or as a target."""
    names = variables(cargo)
    return names[0] if len(names) == 1 else tuple_text(names)

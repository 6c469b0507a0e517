"""Frozen dataclasses that cost little to define: there are many, and each command that starts pays for all of them."""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, dataclass_transform


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Record:
    """A subclass is a dataclass. Only its `__init__` is generated; the other methods are inherited.

    Equal records have the same class and equal fields, those with `compare=False` left aside. That no field is assigned
    to is for type checkers to see.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    compared_fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, kw_only: bool = False) -> None:
        dataclass(eq=False, repr=False, kw_only=kw_only)(cls)
        cls.compared_fields = tuple(each.name for each in fields(cls) if each.compare)

    def compared(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self.compared_fields])

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        assert isinstance(other, Record)
        return self.compared() == other.compared()

    def __hash__(self) -> int:
        return hash((type(self), self.compared()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr)
        return f"{type(self).__qualname__}({shown})"

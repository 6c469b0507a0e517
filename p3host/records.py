"""Frozen dataclasses that cost little to define: there are many, and each command that starts pays for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, ClassVar, dataclass_transform


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Record:
    """A subclass is a dataclass, but none of its methods is generated: all are inherited from here.

    Equal records have the same class and equal fields, those with `compare=False` left aside. That no field is assigned
    to is for type checkers to see.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    positional_fields: ClassVar[tuple[str, ...]] = ()
    compared_fields: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[dict[str, Callable[[], Any]]] = {}
    init_fields: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, kw_only: bool = False) -> None:
        dataclass(init=False, eq=False, repr=False, kw_only=kw_only)(cls)
        given = [each for each in fields(cls) if each.init]
        cls.positional_fields = tuple([each.name for each in given if not each.kw_only])
        cls.compared_fields = tuple([each.name for each in fields(cls) if each.compare])
        cls.init_fields = frozenset([each.name for each in given])
        cls.defaults = {each.name: default_maker(each) for each in given if has_default(each)}

    def __init__(self, *values: Any, **named: Any) -> None:
        cls = type(self)
        positional = cls.positional_fields
        state = dict(zip(positional, values, strict=False))
        if named:
            state.update(named)
        if len(state) != len(values) + len(named) or not state.keys() <= cls.init_fields:
            raise TypeError(f"{cls.__name__} takes each of {', '.join(positional)} once, got {values} and {named}")
        if len(state) < len(cls.init_fields):
            for name in cls.init_fields - state.keys():
                make = cls.defaults.get(name)
                if make is None:
                    raise TypeError(f"{cls.__name__} needs a value for {name}")
                state[name] = make()
        self.__dict__.update(state)
        self.__post_init__()

    def __post_init__(self) -> None:
        """Called when the fields are set."""

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


def has_default(each: Field[Any]) -> bool:
    return each.default is not MISSING or each.default_factory is not MISSING


def default_maker(each: Field[Any]) -> Callable[[], Any]:
    if each.default_factory is not MISSING:
        return each.default_factory
    return lambda: each.default

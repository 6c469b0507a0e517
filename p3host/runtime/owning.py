"""What a guest gives up is nobody's while it is lifted: it goes back where that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ..types import OwnType, ValType, contains

if TYPE_CHECKING:
    from .options import CanonicalOptions

F = TypeVar("F", bound=Callable[..., Any])


def all_or_nothing(lift: F, types: Iterable[ValType | None]) -> F:
    """Where a lift traps halfway, the guest has again what it gave up: so what ends its store can release it."""
    if not any(t is not None and contains(t, OwnType) for t in types):
        return lift

    def lift_all_or_nothing(context: CanonicalOptions, *args: Any) -> Any:
        taken = context.store.taken
        try:
            return lift(context, *args)
        except BaseException:
            for handle in taken:
                context.inst.handles.add(handle)
            raise
        finally:
            taken.clear()

    return cast(F, lift_all_or_nothing)


def pass_all_or_nothing(pass_: F, types: Iterable[ValType | None]) -> F:
    """The same of what passes values from one guest to another: what the other one has not got yet goes back."""
    if not any(t is not None and contains(t, OwnType) for t in types):
        return pass_

    def pass_or_keep(source: CanonicalOptions, target: CanonicalOptions, *args: Any) -> Any:
        taken = source.store.taken
        given_before = target.store.num_given
        try:
            return pass_(source, target, *args)
        except BaseException:
            for handle in taken[target.store.num_given - given_before :]:
                source.inst.handles.add(handle)
            raise
        finally:
            taken.clear()

    return cast(F, pass_or_keep)

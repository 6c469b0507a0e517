"""Resources and the handles to them (CanonicalABI.md, "Resource State")."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import Trap

if TYPE_CHECKING:
    from .instance import ComponentInstance
    from .task import FuncInst, Task


class RuntimeResource:
    """A resource type at run time: made anew by each instantiation, equal to itself alone.

    `impl` is the instance that implements it, None for the host. A guest's representation is an i32, the host's is the
    Python object itself. `destructor` runs a guest's destructor; `drop` is called with the host's object.
    """

    __slots__ = ("destructor", "drop", "impl", "name")

    def __init__(
        self,
        name: str,
        impl: ComponentInstance | None,
        destructor: FuncInst | None = None,
        drop: Callable[[Any], None] | None = None,
    ) -> None:
        self.name = name
        self.impl = impl
        self.destructor = destructor
        self.drop = drop


class ResourceHandle:
    """An entry of a handle table. `borrow_scope` is the task that a borrowed handle was lowered for."""

    __slots__ = ("borrow_scope", "num_lends", "own", "rep", "resource")

    def __init__(self, resource: RuntimeResource, rep: Any, own: bool, borrow_scope: Task | None = None) -> None:
        self.resource = resource
        self.rep = rep
        self.own = own
        self.borrow_scope = borrow_scope
        self.num_lends = 0


class Resource:
    """A guest's resource outside of it: owned by whoever holds this object, or borrowed for the time of one call.

    An owned one is given up by passing it as an `own`, or by dropping it, which runs the guest's destructor.
    """

    __slots__ = ("alive", "num_lends", "own", "rep", "resource")

    def __init__(self, resource: RuntimeResource, rep: int, own: bool) -> None:
        self.resource = resource
        self.rep = rep
        self.own = own
        self.alive = True
        self.num_lends = 0

    def __repr__(self) -> str:
        state = "" if self.alive else " (given up)"
        return f"<{'own' if self.own else 'borrow'} {self.resource.name or 'resource'}{state}>"


def get_handle(instance: ComponentInstance, index: int, resource: RuntimeResource) -> ResourceHandle:
    handle = instance.handles.get(index)
    if not isinstance(handle, ResourceHandle):
        raise Trap(f"handle index {index} is no resource")
    if handle.resource is not resource:
        raise Trap(
            f"handle index {index} used with the wrong type: it is a {handle.resource.name or 'resource'}, "
            f"expected a {resource.name or 'resource'}"
        )
    return handle

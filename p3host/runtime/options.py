"""Canonical options of one definition in one instance, as the context of lifting and lowering.

(CanonicalABI.md, "Lifting and Lowering Context".) What crosses here has the host's shape on both sides: a host's
resource is the Python object itself, a guest's is a `Resource`, a stream or future is what the store's host edge wraps
the shared state in. So a handle that goes from guest to guest is lifted on one side and lowered on the other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..abi.context import Memory
from ..errors import Trap, trap_if
from ..types import BorrowType, FutureType, OwnType, StreamType, StringEncoding
from .instance import ComponentInstance, ErrorContext
from .resource import Resource, ResourceHandle, get_handle
from .stream import ReadableFutureEnd, ReadableStreamEnd
from .task import Subtask, Task

if TYPE_CHECKING:
    from .instance import HandleEntry
    from .thread import CoreFunc


MAX_I32 = 0xFFFF_FFFF


def nothing() -> None:
    pass


class NoMemory:
    """Stands where a definition has no memory: validation makes sure that nothing asks for one byte of it."""

    view = memoryview(b"")

    def refresh(self) -> memoryview:
        return self.view


NO_MEMORY = NoMemory()


class CanonicalOptions:
    """The options of one canonical definition, bound to an instance. `scope` is the task that borrows are lowered for,
    or the subtask that lends what is lifted; `with_scope` makes the options of one call where a type borrows."""

    __slots__ = (
        "callback",
        "core_func",
        "inst",
        "is_async",
        "lifted_bytes",
        "memory",
        "post_return",
        "realloc_func",
        "scope",
        "store",
        "string_encoding",
    )

    def __init__(
        self,
        inst: ComponentInstance,
        memory: Memory | None = None,
        realloc: CoreFunc | None = None,
        string_encoding: StringEncoding = "utf8",
        is_async: bool = False,
        callback: CoreFunc | None = None,
        post_return: CoreFunc | None = None,
        core_func: CoreFunc | None = None,
    ) -> None:
        self.inst = inst
        self.store = inst.store
        self.memory: Memory = memory or NO_MEMORY
        self.realloc_func = realloc
        self.string_encoding = string_encoding
        self.is_async = is_async
        self.callback = callback
        self.post_return = post_return
        self.core_func = core_func
        self.scope: Task | Subtask | None = None
        self.lifted_bytes = 0

    def with_scope(self, scope: Task | Subtask) -> CanonicalOptions:
        scoped = CanonicalOptions.__new__(CanonicalOptions)
        scoped.inst = self.inst
        scoped.store = self.store
        scoped.memory = self.memory
        scoped.realloc_func = self.realloc_func
        scoped.string_encoding = self.string_encoding
        scoped.is_async = self.is_async
        scoped.callback = self.callback
        scoped.post_return = self.post_return
        scoped.core_func = self.core_func
        scoped.scope = scope
        scoped.lifted_bytes = 0
        return scoped

    def realloc(self, old: int, old_size: int, alignment: int, new_size: int) -> int:
        if self.realloc_func is None:
            raise Trap("a value needs memory in the guest, which gave no realloc function")
        store = self.store
        outer = store.current
        store.current = store.scratch_thread(self.inst)
        try:
            pointer = self.enter_without_leave(self.realloc_func, (old, old_size, alignment, new_size))
        finally:
            store.current = outer
        assert isinstance(pointer, int)
        return pointer

    def enter_without_leave(self, func: CoreFunc, args: tuple[int | float, ...]) -> Any:
        """Calls realloc (a task of its own) or post-return (a part of the current one), which may call nothing outside
        of the instance."""
        inst = self.inst
        assert inst.may_leave
        inst.may_leave = False
        result = func.call(*args)
        inst.may_leave = True
        return result

    def give(self, entry: HandleEntry, undo: Callable[[], None] = nothing) -> int:
        """Puts what is lowered into the guest's handle table. `undo` has the host get it back."""
        index = self.inst.handles.add(entry)
        lowered = self.store.lowered
        if lowered is not None:
            lowered.append((index, undo))
        return index

    def take_back(self) -> None:
        """Ends the lowering of arguments that were refused: the guest keeps no handle, and the host loses nothing."""
        for index, undo in reversed(self.store.lowered or ()):
            self.inst.handles.remove(index)
            undo()

    # Resources

    def lift_own(self, index: int, t: OwnType) -> Any:
        resource = self.store.resources[t.resource.slot]
        handle = get_handle(self.inst, index, resource)
        if handle.num_lends:
            raise Trap(f"cannot give up the handle {index} while it is lent out")
        if not handle.own:
            raise Trap(f"cannot pass the borrowed handle {index} as an own")
        self.inst.handles.remove(index)
        self.store.taken.append(handle)
        return (
            handle.rep if resource.impl is None else self.store.edge.wrap_resource(Resource(resource, handle.rep, True))
        )

    def lift_borrow(self, index: int, t: BorrowType) -> Any:
        resource = self.store.resources[t.resource.slot]
        handle = get_handle(self.inst, index, resource)
        if self.scope is not None:
            assert isinstance(self.scope, Subtask)
            self.scope.add_lender(handle)
        if resource.impl is None:
            return handle.rep
        borrowed = Resource(resource, handle.rep, own=False)
        if self.scope is not None:
            self.scope.borrowed = [*(self.scope.borrowed or ()), borrowed]
        else:
            self.store.borrowed.append(borrowed)
        return self.store.edge.wrap_resource(borrowed)

    def lower_own(self, value: Any, t: OwnType) -> int:
        resource = self.store.resources[t.resource.slot]
        if resource.impl is None:
            self.store.num_given += 1
            return self.give(ResourceHandle(resource, value, own=True))
        given = guest_resource(value, t.resource.name)
        if given.resource is not resource:
            raise TypeError(f"expected an own<{resource.name}>, got {value!r}")
        if not given.own or not given.alive or given.num_lends:
            raise ValueError(f"{value!r} can't be given up: it is borrowed, lent out, or was given up before")
        given.alive = False
        self.store.num_given += 1
        return self.give(ResourceHandle(resource, given.rep, own=True), partial(setattr, given, "alive", True))

    def lower_borrow(self, value: Any, t: BorrowType) -> int:
        resource = self.store.resources[t.resource.slot]
        scope = self.scope
        assert isinstance(scope, Task)
        if resource.impl is None:
            rep = value
        else:
            given = guest_resource(value, t.resource.name)
            if given.resource is not resource or not given.alive:
                raise TypeError(f"expected a borrow<{resource.name}>, got {value!r}")
            rep = given.rep
            scope.borrow(given)
            if resource.impl is self.inst:
                assert isinstance(rep, int)
                if rep > MAX_I32:
                    raise Trap(f"a borrow is passed in an i32, which has no room for the representation {rep:#x}")
                return rep
        scope.num_borrows += 1
        return self.give(ResourceHandle(resource, rep, own=False, borrow_scope=scope))

    # Streams, futures, error contexts

    def lift_stream(self, index: int, t: StreamType) -> Any:
        end = self.inst.handles.get(index)
        if not isinstance(end, ReadableStreamEnd):
            raise Trap(f"handle index {index} is no readable end of a stream")
        end.check_transferable(t)
        self.inst.handles.remove(index)
        return self.store.edge.wrap_stream(end.shared, t)

    def lift_future(self, index: int, t: FutureType) -> Any:
        end = self.inst.handles.get(index)
        if not isinstance(end, ReadableFutureEnd):
            raise Trap(f"handle index {index} is no readable end of a future")
        end.check_transferable(t)
        self.inst.handles.remove(index)
        return self.store.edge.wrap_future(end.shared, t)

    def lower_stream(self, value: Any, t: StreamType) -> int:
        edge = self.store.edge
        shared = edge.unwrap_stream(value, t)
        return self.give(ReadableStreamEnd(shared, t), partial(edge.give_back, value, shared))

    def lower_future(self, value: Any, t: FutureType) -> int:
        edge = self.store.edge
        shared = edge.unwrap_future(value, t)
        return self.give(ReadableFutureEnd(shared, t), partial(edge.give_back, value, shared))

    def lift_error_context(self, index: int) -> Any:
        context = self.inst.handles.get(index)
        trap_if(not isinstance(context, ErrorContext), f"handle index {index} is no error context")
        return context

    def lower_error_context(self, value: Any) -> int:
        context = value if isinstance(value, ErrorContext) else ErrorContext(str(value))
        return self.give(context)


def guest_resource(value: Any, name: str) -> Resource:
    """A guest's resource, given as itself or as the public object that carries it."""
    resource = getattr(value, "handle", value)
    if not isinstance(resource, Resource):
        raise TypeError(f"expected a resource of type {name!r}, got {value!r}")
    return resource

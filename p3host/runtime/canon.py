"""The canonical built-ins, one function each (CanonicalABI.md, "Canonical Definitions" from `resource.new` on).

Each decodes its operands, guards, and delegates. Those that may block are routines; the others answer at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..abi.context import Memory
from ..abi.layout import pointer_size
from ..abi.memory import aligned_view
from ..abi.options import AbiOptions
from ..abi.strings import load_string
from ..errors import Trap, trap_if
from ..types import CoreFuncType, FutureType, StreamType, ValType
from .copying import ElementCodec
from .instance import ComponentInstance, ErrorContext
from .options import NO_MEMORY, CanonicalOptions
from .resource import ResourceHandle, RuntimeResource, get_handle
from .store import FuncTable
from .stream import (
    BLOCKED,
    CopyEnd,
    CopyState,
    GuestBuffer,
    ReadableFutureEnd,
    ReadableStreamEnd,
    SharedFuture,
    SharedStream,
    WritableFutureEnd,
    WritableStreamEnd,
)
from .task import CANCELLED, Subtask, Task
from .thread import FREEZE, CoreFunc, Routine, Thread
from .waitable import Event, Waitable, WaitableSet

MAX_BACKPRESSURE = 2**16
MAX_DEBUG_MESSAGE = 1024  # characters that the host keeps of one; the specification lets it shorten them

# Resources


def canon_resource_new(inst: ComponentInstance, resource: RuntimeResource, rep: int) -> int:
    inst.check_may_leave()
    return inst.handles.add(ResourceHandle(resource, rep, own=True))


def canon_resource_rep(inst: ComponentInstance, resource: RuntimeResource, index: int) -> int:
    rep = get_handle(inst, index, resource).rep
    assert isinstance(rep, int)
    return rep


def take_for_drop(inst: ComponentInstance, resource: RuntimeResource, index: int) -> ResourceHandle:
    inst.check_may_leave()
    handle = get_handle(inst, index, resource)
    if handle.num_lends:
        raise Trap(f"cannot drop the handle {index} while it is lent out")
    inst.handles.remove(index)
    if not handle.own:
        assert handle.borrow_scope is not None
        handle.borrow_scope.num_borrows -= 1
    elif resource.impl is not None and not resource.impl.may_enter_from(inst):
        raise Trap(
            f"cannot enter component instance {resource.impl.describe()}, which implements {resource.name!r}: it is "
            "already running"
        )
    return handle


def canon_resource_drop(inst: ComponentInstance, resource: RuntimeResource, index: int) -> Routine[None]:
    handle = take_for_drop(inst, resource, index)
    if handle.own and resource.destructor is not None:
        resource.destructor(DestructorCall(handle.rep, inst.store.current), inst)
        if inst.store.frozen:
            yield FREEZE


def drop_host_resource(inst: ComponentInstance, resource: RuntimeResource, index: int) -> None:
    """`resource.drop` of a resource without a guest's destructor, which answers at once."""
    handle = take_for_drop(inst, resource, index)
    if handle.own and resource.drop is not None:
        resource.drop(handle.rep)


class DestructorCall:
    """The call of a destructor: it takes the representation and has no result."""

    def __init__(self, rep: Any, thread: Thread | None) -> None:
        self.rep = rep
        self.thread = thread
        self.context = thread.task.call.context if thread is not None else None

    def on_start(self) -> Sequence[Any]:
        return (self.rep,)

    def on_resolve(self, result: Any) -> None:
        assert result is not CANCELLED

    def on_fail(self, error: BaseException) -> None:
        raise error


# Context, backpressure


def canon_context_get(thread: Thread, slot: int, mask: int) -> int:
    return thread.storage[slot] & mask


def canon_context_set(thread: Thread, slot: int, value: int) -> None:
    thread.storage[slot] = value


def canon_backpressure_inc(inst: ComponentInstance) -> None:
    inst.backpressure += 1
    trap_if(inst.backpressure == MAX_BACKPRESSURE, "backpressure counter overflow")


def canon_backpressure_dec(inst: ComponentInstance) -> None:
    trap_if(inst.backpressure == 0, "backpressure counter underflow")
    inst.backpressure -= 1
    if inst.backpressure == 0:
        inst.release_backpressure()


# Tasks


def canon_task_return(
    thread: Thread,
    options: CanonicalOptions,
    result_type: ValType | None,
    lift: Callable[[Any, Sequence[int | float]], Any],
    flat_args: Sequence[int | float],
) -> None:
    task = thread.task
    task.inst.check_may_leave()
    callee = task.func.options
    if callee is None or not callee.is_async:
        raise Trap("task.return called by a function that was not lifted as async")
    declared = task.func.type.result
    if result_type is not declared and result_type != declared:
        raise Trap("invalid task.return signature: its result type is not the one of the current task")
    # One that names no memory needs none; guests leave it out even where the lift has one for its parameters.
    if options.string_encoding != callee.string_encoding or (
        options.memory is not callee.memory and options.memory is not NO_MEMORY
    ):
        raise Trap("invalid task.return options: they are not those of the current task")
    task.check_returnable()
    passer = task.call.func.passer if isinstance(task.call, Subtask) else None
    if passer is None:
        task.return_(lift(options, flat_args))
    else:
        task.return_((options, passer.take_result(options, flat_args)))


def canon_task_cancel(thread: Thread) -> None:
    task = thread.task
    task.inst.check_may_leave()
    callee = task.func.options
    trap_if(callee is None or not callee.is_async, "task.cancel called by a function that was not lifted as async")
    task.cancel()


# Waitable sets


def canon_waitable_set_new(inst: ComponentInstance) -> int:
    inst.check_may_leave()
    return inst.handles.add(WaitableSet(inst.store))


def get_waitable_set(inst: ComponentInstance, index: int) -> WaitableSet:
    inst.check_may_leave()
    waitable_set = inst.handles.get(index)
    if not isinstance(waitable_set, WaitableSet):
        raise Trap(f"handle index {index} is no waitable set")
    return waitable_set


def canon_waitable_set_wait(thread: Thread, memory: Memory, set_index: int, pointer: int) -> Routine[int]:
    waitable_set = get_waitable_set(thread.task.inst, set_index)
    event = yield from waitable_set.wait_for_event(thread, False)
    return store_event(memory, pointer, event)


def canon_waitable_set_poll(thread: Thread, memory: Memory, set_index: int, pointer: int) -> int:
    waitable_set = get_waitable_set(thread.task.inst, set_index)
    return store_event(memory, pointer, waitable_set.poll(thread, False))


def store_event(memory: Memory, pointer: int, event: Event) -> int:
    trap_if(pointer % 4, f"the event buffer at {pointer:#x} is not aligned to 4")
    if pointer + 8 > len(memory.view) and pointer + 8 > len(memory.refresh()):
        raise Trap(f"the event buffer at {pointer:#x} is out of bounds of memory")
    code, first, second = event
    memory.view[pointer : pointer + 8] = (first | second << 32).to_bytes(8, "little")
    return code


def canon_waitable_set_drop(inst: ComponentInstance, index: int) -> None:
    get_waitable_set(inst, index).check_droppable()
    inst.handles.remove(index)


def canon_waitable_join(inst: ComponentInstance, index: int, set_index: int) -> None:
    inst.check_may_leave()
    waitable = inst.handles.get(index)
    if not isinstance(waitable, Waitable):
        raise Trap(f"handle index {index} is no waitable")
    trap_if(waitable.sync_waiter, "cannot join a waitable to a set while a thread waits for it")
    waitable.join(get_waitable_set(inst, set_index) if set_index else None)


# Subtasks


def get_subtask(inst: ComponentInstance, index: int) -> Subtask:
    inst.check_may_leave()
    subtask = inst.handles.get(index)
    if not isinstance(subtask, Subtask):
        raise Trap(f"handle index {index} is no subtask")
    return subtask


def canon_subtask_cancel(thread: Thread, is_async: bool, index: int) -> Routine[int]:
    inst = thread.task.inst
    subtask = get_subtask(inst, index)
    trap_if(subtask.resolve_delivered, "subtask.cancel called after the subtask's resolution was delivered")
    trap_if(subtask.cancellation_requested, "subtask.cancel called twice")
    check_sync_use(subtask, is_async, "subtask")
    if not subtask.resolved:
        subtask.cancellation_requested = True
        assert subtask.on_cancel is not None
        subtask.on_cancel(inst)
        if inst.store.frozen:
            yield FREEZE
        if not subtask.resolved:
            if is_async:
                return BLOCKED
            while not subtask.resolved:
                # An event that tells of a mere start is passed over: the cancel's answer is how the call ended.
                if subtask.pending_event is not None:
                    subtask.get_pending_event()
                yield from subtask.wait_for_pending_event(thread)
    subtask.get_pending_event()
    return subtask.state


def check_sync_use(waitable: Waitable, is_async: bool, what: str) -> None:
    trap_if(
        waitable.waitable_set and not is_async,
        f"a {what} is used synchronously while added to a waitable set (guests built with wit-bindgen 0.51 to 0.58 "
        "do this: rebuild with 0.59 or newer)",
    )


def canon_subtask_drop(inst: ComponentInstance, index: int) -> None:
    subtask = get_subtask(inst, index)
    subtask.check_droppable()
    inst.handles.remove(index)
    subtask.leave_set()


# Streams and futures


def canon_stream_new(inst: ComponentInstance, t: StreamType) -> int:
    inst.check_may_leave()
    shared = SharedStream(t.elem_type, inst.store.choose)
    readable = inst.handles.add(ReadableStreamEnd(shared, t))
    return readable | inst.handles.add(WritableStreamEnd(shared, t)) << 32


def canon_future_new(inst: ComponentInstance, t: FutureType) -> int:
    inst.check_may_leave()
    shared = SharedFuture(t.elem_type)
    readable = inst.handles.add(ReadableFutureEnd(shared, t))
    return readable | inst.handles.add(WritableFutureEnd(shared, t)) << 32


def get_end(inst: ComponentInstance, kind: type[CopyEnd], t: StreamType | FutureType, index: int) -> CopyEnd:
    inst.check_may_leave()
    end = inst.handles.get(index)
    if type(end) is not kind:
        raise Trap(f"handle index {index} is no {kind.what}")
    assert isinstance(end, CopyEnd)
    end.check_type(t)
    return end


def start_copy(
    kind: type[CopyEnd],
    t: StreamType | FutureType,
    codec: ElementCodec,
    options: CanonicalOptions,
    index: int,
    pointer: int,
    count: int,
) -> CopyEnd:
    inst = options.inst
    end = get_end(inst, kind, t, index)
    end.check_can_copy()
    if not options.is_async:
        check_sync_use(end, False, end.what)
    end.start(inst, index, GuestBuffer(codec, options, pointer, count))
    return end


def copy_async(
    kind: type[CopyEnd],
    t: StreamType | FutureType,
    codec: ElementCodec,
    options: CanonicalOptions,
    index: int,
    pointer: int,
    count: int,
) -> int:
    end = start_copy(kind, t, codec, options, index, pointer, count)
    return BLOCKED if end.pending_event is None else end.get_pending_event()[2]


def copy_sync(
    kind: type[CopyEnd],
    t: StreamType | FutureType,
    codec: ElementCodec,
    thread: Thread,
    options: CanonicalOptions,
    index: int,
    pointer: int,
    count: int,
) -> Routine[int]:
    end = start_copy(kind, t, codec, options, index, pointer, count)
    if end.pending_event is None:
        yield from end.wait_for_pending_event(thread)
    return end.get_pending_event()[2]


def cancel_copy(
    kind: type[CopyEnd], inst: ComponentInstance, t: StreamType | FutureType, is_async: bool, index: int
) -> int:
    """Cancels a copy. Every peer gives the buffer back at once, so both forms answer without blocking."""
    end = get_end(inst, kind, t, index)
    trap_if(end.state is not CopyState.COPYING, f"no copy to cancel is in progress on the {end.what}")
    trap_if(end.sync_waiter, f"cannot cancel a copy of the {end.what} that a thread waits for")
    check_sync_use(end, is_async, end.what)
    end.state = CopyState.CANCELLING
    if end.pending_event is None:
        end.shared.cancel()
    return end.get_pending_event()[2]


def drop_end(kind: type[CopyEnd], inst: ComponentInstance, t: StreamType | FutureType, index: int) -> None:
    end = get_end(inst, kind, t, index)
    end.check_droppable()
    inst.handles.remove(index)
    end.drop()


# Threads


def thread_index(thread: Thread) -> int:
    if not thread.index:
        thread.index = thread.task.inst.threads.add(thread)
    return thread.index


def canon_thread_index(thread: Thread) -> int:
    thread.task.inst.check_may_leave()
    return thread_index(thread)


def canon_thread_new_indirect(
    thread: Thread, table: FuncTable, start_type: CoreFuncType, func_index: int, argument: int
) -> int:
    task = thread.task
    task.inst.check_may_leave()
    func = table.get(func_index, start_type)
    if func is None:
        raise Trap(f"uninitialized element: the table has no function at {func_index}")
    new_thread = Thread(task, run_explicit_thread(task, func, argument))
    task.register_thread(new_thread)
    return thread_index(new_thread)


def run_explicit_thread(task: Task, func: CoreFunc, argument: int) -> Routine[None]:
    thread = task.inst.store.current
    assert thread is not None
    yield func.fiber((argument,))
    task.unregister_thread(thread)


def get_suspended(thread: Thread, index: int) -> Thread:
    inst = thread.task.inst
    inst.check_may_leave()
    other = inst.threads.get(index)
    trap_if(not other.suspended, f"thread {index} is not suspended")
    return other


def canon_thread_resume_later(thread: Thread, index: int) -> None:
    get_suspended(thread, index).resume_later()


def canon_thread_suspend(thread: Thread) -> Routine[int]:
    thread.task.inst.check_may_leave()
    return int((yield from thread.suspend(False)))


def canon_thread_yield(thread: Thread) -> Routine[int]:
    thread.task.inst.check_may_leave()
    return int((yield from thread.yield_(False)))


def canon_thread_suspend_then_resume(thread: Thread, index: int) -> Routine[int]:
    return int((yield from thread.suspend(False, get_suspended(thread, index))))


def canon_thread_yield_then_resume(thread: Thread, index: int) -> Routine[int]:
    return int((yield from thread.yield_then_resume(False, get_suspended(thread, index))))


def get_promotable(thread: Thread, index: int) -> Thread | None:
    """The other thread, taken out of its wait if it is ready, else None."""
    inst = thread.task.inst
    inst.check_may_leave()
    other = inst.threads.get(index)
    if not other.is_ready:
        return None
    other.stop_waiting()
    return other


def canon_thread_suspend_then_promote(thread: Thread, index: int) -> Routine[int]:
    return int((yield from thread.suspend(False, get_promotable(thread, index))))


def canon_thread_yield_then_promote(thread: Thread, index: int) -> Routine[int]:
    other = get_promotable(thread, index)
    if other is None:
        return int((yield from thread.yield_(False)))
    return int((yield from thread.yield_then_resume(False, other)))


# Error contexts


def canon_error_context_new(options: CanonicalOptions, abi: AbiOptions, pointer: int, length: int) -> int:
    options.inst.check_may_leave()
    message = load_string(options, pointer, length, abi)
    return options.inst.handles.add(ErrorContext(message[:MAX_DEBUG_MESSAGE]))


def get_error_context(inst: ComponentInstance, index: int) -> ErrorContext:
    inst.check_may_leave()
    context = inst.handles.get(index)
    trap_if(not isinstance(context, ErrorContext), f"handle index {index} is no error context")
    assert isinstance(context, ErrorContext)
    return context


def canon_error_context_debug_message(
    options: CanonicalOptions, abi: AbiOptions, store_message: Callable[[Any, Any, int], None], index: int, pointer: int
) -> None:
    message = get_error_context(options.inst, index).debug_message
    size = pointer_size(abi.pointer)
    aligned_view(options, pointer, size, 2 * size, "the place for a debug message")
    store_message(options, message, pointer)


def canon_error_context_drop(inst: ComponentInstance, index: int) -> None:
    get_error_context(inst, index)
    inst.handles.remove(index)

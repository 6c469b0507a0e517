"""The host functions behind a component's canonical definitions.

They are made once for a linked component: each finds the instance that it serves through the store it is called in.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..abi.layout import MAX_FLAT_PARAMS
from ..abi.lift import compile_lift_result
from ..abi.lower import compile_store
from ..binary.definitions import CanonKind
from ..engine import HostFunc
from ..runtime import canon
from ..runtime.copying import element_codec
from ..runtime.function import LoweredFunc, canon_lower_async, canon_lower_sync, start_async_lower
from ..runtime.owning import all_or_nothing
from ..runtime.store import Store
from ..runtime.stream import (
    CopyEnd,
    ReadableFutureEnd,
    ReadableStreamEnd,
    WritableFutureEnd,
    WritableStreamEnd,
)
from ..runtime.thread import Thread, call_routine
from ..types import CoreFuncType, FutureType, OwnType, PrimitiveType, ResourceType, StreamType, contains
from .program import BuiltinCanon, LiftedDef, LoweredCanon, Program

Callback = Callable[..., Any]


def current(store: Store) -> Thread:
    thread = store.current
    assert thread is not None
    return thread


def lower(program: Program, item: LoweredCanon, may_wait: bool | None) -> HostFunc:
    """`may_wait` says whether an imported function may have to be waited for; None where the callee is a guest."""
    func = program.funcs[item.func]
    options = program.options[item.options]
    func_index, options_index = item.func, item.options
    lifted = None
    if isinstance(func, LiftedDef):
        callee = program.options[func.options]
        lifted = (callee.abi, callee.is_async)
    lowered = LoweredFunc(func.name, func.type, options.abi, options.is_async, lifted)
    is_guest = may_wait is None
    # Such a call could give up what it borrows: handles have to count what they lend.
    lends_and_gives = lowered.borrows and any(contains(param, OwnType) for param in func.type.param_types)

    def call_direct(store: Store, *flat: Any) -> Any:
        bound = store.options[options_index]
        bound.inst.check_may_leave()
        args = lowered.lift_params(bound, flat)
        value = store.funcs[func_index].call_direct(current(store).task.call, args)
        if store.borrowed:
            store.end_borrows()
        return lowered.lower_result(bound, value, flat)

    def call_sync(store: Store, *flat: Any) -> Any:
        thread = current(store)
        routine = canon_lower_sync(lowered, store.options[options_index], store.funcs[func_index], thread, flat)
        return call_routine(thread, routine)

    def call_async_guest(store: Store, *flat: Any) -> Any:
        thread = current(store)
        routine = canon_lower_async(lowered, store.options[options_index], store.funcs[func_index], thread, flat)
        return call_routine(thread, routine)

    def call_async(store: Store, *flat: Any) -> int:
        return start_async_lower(lowered, store.options[options_index], store.funcs[func_index], current(store), flat)

    if options.is_async:
        return HostFunc(item.signature, call_async_guest if is_guest else call_async, is_guest, func.name)
    if may_wait is False and not lends_and_gives:
        return HostFunc(item.signature, call_direct, False, func.name)
    return HostFunc(item.signature, call_sync, True, func.name)


def builtin(program: Program, item: BuiltinCanon, host_resource: Callable[[int], bool]) -> HostFunc:
    """`host_resource` tells whether the resource type in a slot is the host's, or has no destructor of a guest's."""
    kind = item.definition.kind
    make = BUILTINS[kind]
    call, may_block = make(program, item, host_resource)
    return HostFunc(item.signature, call, may_block, kind.text)


Made = tuple[Callback, bool]
Maker = Callable[[Program, BuiltinCanon, Callable[[int], bool]], Made]


def of_instance(function: Callback) -> Maker:
    """A built-in that needs its component instance alone."""

    def make(program: Program, item: BuiltinCanon, host_resource: Callable[[int], bool]) -> Made:
        index = item.instance

        def call(store: Store, *operands: int) -> Any:
            return function(store.instances[index], *operands)

        return call, False

    return make


def of_thread(function: Callback, *extra: Any) -> Maker:
    """A built-in that needs the thread that calls it, and answers at once."""

    def make(program: Program, item: BuiltinCanon, host_resource: Callable[[int], bool]) -> Made:
        def call(store: Store, *operands: int) -> Any:
            return function(store.current, *extra, *operands)

        return call, False

    return make


def blocking_of_thread(function: Callback) -> Maker:
    def make(program: Program, item: BuiltinCanon, host_resource: Callable[[int], bool]) -> Made:
        def call(store: Store, *operands: int) -> Any:
            thread = current(store)
            return call_routine(thread, function(thread, *operands))

        return call, True

    return make


def of_resource(function: Callback) -> Maker:
    def make(program: Program, item: BuiltinCanon, host_resource: Callable[[int], bool]) -> Made:
        index, slot = item.instance, resource_slot(item)

        def call(store: Store, operand: int) -> Any:
            return function(store.instances[index], store.resources[slot], operand)

        return call, False

    return make


def resource_slot(item: BuiltinCanon) -> int:
    assert isinstance(item.type, ResourceType)
    return item.type.slot


def resource_drop(program: Program, item: BuiltinCanon, host_resource: Callable[[int], bool]) -> Made:
    slot, instance = resource_slot(item), item.instance
    if host_resource(slot):
        return of_resource(canon.drop_host_resource)(program, item, host_resource)

    def call(store: Store, index: int) -> Any:
        thread = current(store)
        return call_routine(thread, canon.canon_resource_drop(store.instances[instance], store.resources[slot], index))

    return call, True


def context(function: Callback) -> Maker:
    def make(program: Program, item: BuiltinCanon, host_resource: Callable[[int], bool]) -> Made:
        slot = item.definition.immediate
        assert slot is not None
        if function is canon.canon_context_get:
            mask = 0xFFFF_FFFF if item.definition.core_type == "i32" else 0xFFFF_FFFF_FFFF_FFFF
            return (lambda store: canon.canon_context_get(store.current, slot, mask)), False
        return (lambda store, value: canon.canon_context_set(store.current, slot, value)), False

    return make


def task_return(program: Program, item: BuiltinCanon, host_resource: Callable[[int], bool]) -> Made:
    result, options_index = item.result, item.options
    lift = all_or_nothing(compile_lift_result(result, program.options[options_index].abi, MAX_FLAT_PARAMS), (result,))

    def call(store: Store, *flat: Any) -> None:
        thread = store.current
        assert thread is not None
        canon.canon_task_return(thread, store.options[options_index], result, lift, flat)

    return call, False


def waitable_set_wait(program: Program, item: BuiltinCanon, host_resource: Callable[[int], bool]) -> Made:
    options_index = item.options

    def call(store: Store, set_index: int, pointer: int) -> Any:
        thread = current(store)
        memory = store.options[options_index].memory
        return call_routine(thread, canon.canon_waitable_set_wait(thread, memory, set_index, pointer))

    return call, True


def waitable_set_poll(program: Program, item: BuiltinCanon, host_resource: Callable[[int], bool]) -> Made:
    options_index = item.options

    def call(store: Store, set_index: int, pointer: int) -> int:
        memory = store.options[options_index].memory
        return canon.canon_waitable_set_poll(current(store), memory, set_index, pointer)

    return call, False


def subtask_cancel(program: Program, item: BuiltinCanon, host_resource: Callable[[int], bool]) -> Made:
    is_async = item.definition.is_async

    def call(store: Store, index: int) -> Any:
        thread = current(store)
        return call_routine(thread, canon.canon_subtask_cancel(thread, is_async, index))

    return call, True


def new_ends(function: Callback) -> Maker:
    def make(program: Program, item: BuiltinCanon, host_resource: Callable[[int], bool]) -> Made:
        index, t = item.instance, item.type
        return (lambda store: function(store.instances[index], t)), False

    return make


def copies(kind: type[CopyEnd]) -> Maker:
    def make(program: Program, item: BuiltinCanon, host_resource: Callable[[int], bool]) -> Made:
        t = item.type
        assert isinstance(t, StreamType | FutureType)
        options_index = item.options
        options = program.options[options_index]
        codec = element_codec(t.elem_type, options.abi)
        copy_async = partial(canon.copy_async, kind, t, codec)
        copy_sync = partial(canon.copy_sync, kind, t, codec)

        def call_async(store: Store, index: int, pointer: int, count: int = 1) -> int:
            return copy_async(store.options[options_index], index, pointer, count)

        def call_sync(store: Store, index: int, pointer: int, count: int = 1) -> Any:
            thread = current(store)
            return call_routine(thread, copy_sync(thread, store.options[options_index], index, pointer, count))

        return (call_async, False) if options.is_async else (call_sync, True)

    return make


def cancels(kind: type[CopyEnd]) -> Maker:
    def make(program: Program, item: BuiltinCanon, host_resource: Callable[[int], bool]) -> Made:
        t, instance, is_async = item.type, item.instance, item.definition.is_async
        assert isinstance(t, StreamType | FutureType)

        def call(store: Store, index: int) -> int:
            return canon.cancel_copy(kind, store.instances[instance], t, is_async, index)

        return call, False

    return make


def drops(kind: type[CopyEnd]) -> Maker:
    def make(program: Program, item: BuiltinCanon, host_resource: Callable[[int], bool]) -> Made:
        t, instance = item.type, item.instance
        assert isinstance(t, StreamType | FutureType)

        def call(store: Store, index: int) -> None:
            canon.drop_end(kind, store.instances[instance], t, index)

        return call, False

    return make


def error_context_new(program: Program, item: BuiltinCanon, host_resource: Callable[[int], bool]) -> Made:
    options_index = item.options
    abi = program.options[options_index].abi

    def call(store: Store, pointer: int, length: int) -> int:
        return canon.canon_error_context_new(store.options[options_index], abi, pointer, length)

    return call, False


def error_context_debug_message(program: Program, item: BuiltinCanon, host_resource: Callable[[int], bool]) -> Made:
    options_index = item.options
    abi = program.options[options_index].abi
    store_message = compile_store(PrimitiveType.STRING, abi)

    def call(store: Store, index: int, pointer: int) -> None:
        canon.canon_error_context_debug_message(store.options[options_index], abi, store_message, index, pointer)

    return call, False


def thread_new_indirect(program: Program, item: BuiltinCanon, host_resource: Callable[[int], bool]) -> Made:
    table_index = item.table
    assert table_index is not None
    start_type = CoreFuncType(item.signature.params[1:], ())

    def call(store: Store, index: int, argument: int) -> int:
        return canon.canon_thread_new_indirect(current(store), store.tables[table_index], start_type, index, argument)

    return call, False


BUILTINS: dict[CanonKind, Maker] = {
    CanonKind.RESOURCE_NEW: of_resource(canon.canon_resource_new),
    CanonKind.RESOURCE_DROP: resource_drop,
    CanonKind.RESOURCE_REP: of_resource(canon.canon_resource_rep),
    CanonKind.TASK_CANCEL: of_thread(canon.canon_task_cancel),
    CanonKind.SUBTASK_CANCEL: subtask_cancel,
    CanonKind.TASK_RETURN: task_return,
    CanonKind.CONTEXT_GET: context(canon.canon_context_get),
    CanonKind.CONTEXT_SET: context(canon.canon_context_set),
    CanonKind.THREAD_YIELD: blocking_of_thread(canon.canon_thread_yield),
    CanonKind.SUBTASK_DROP: of_instance(canon.canon_subtask_drop),
    CanonKind.STREAM_NEW: new_ends(canon.canon_stream_new),
    CanonKind.STREAM_READ: copies(ReadableStreamEnd),
    CanonKind.STREAM_WRITE: copies(WritableStreamEnd),
    CanonKind.STREAM_CANCEL_READ: cancels(ReadableStreamEnd),
    CanonKind.STREAM_CANCEL_WRITE: cancels(WritableStreamEnd),
    CanonKind.STREAM_DROP_READABLE: drops(ReadableStreamEnd),
    CanonKind.STREAM_DROP_WRITABLE: drops(WritableStreamEnd),
    CanonKind.FUTURE_NEW: new_ends(canon.canon_future_new),
    CanonKind.FUTURE_READ: copies(ReadableFutureEnd),
    CanonKind.FUTURE_WRITE: copies(WritableFutureEnd),
    CanonKind.FUTURE_CANCEL_READ: cancels(ReadableFutureEnd),
    CanonKind.FUTURE_CANCEL_WRITE: cancels(WritableFutureEnd),
    CanonKind.FUTURE_DROP_READABLE: drops(ReadableFutureEnd),
    CanonKind.FUTURE_DROP_WRITABLE: drops(WritableFutureEnd),
    CanonKind.ERROR_CONTEXT_NEW: error_context_new,
    CanonKind.ERROR_CONTEXT_DEBUG_MESSAGE: error_context_debug_message,
    CanonKind.ERROR_CONTEXT_DROP: of_instance(canon.canon_error_context_drop),
    CanonKind.WAITABLE_SET_NEW: of_instance(canon.canon_waitable_set_new),
    CanonKind.WAITABLE_SET_WAIT: waitable_set_wait,
    CanonKind.WAITABLE_SET_POLL: waitable_set_poll,
    CanonKind.WAITABLE_SET_DROP: of_instance(canon.canon_waitable_set_drop),
    CanonKind.WAITABLE_JOIN: of_instance(canon.canon_waitable_join),
    CanonKind.BACKPRESSURE_INC: of_instance(canon.canon_backpressure_inc),
    CanonKind.BACKPRESSURE_DEC: of_instance(canon.canon_backpressure_dec),
    CanonKind.THREAD_INDEX: of_thread(canon.canon_thread_index),
    CanonKind.THREAD_NEW_INDIRECT: thread_new_indirect,
    CanonKind.THREAD_RESUME_LATER: of_thread(canon.canon_thread_resume_later),
    CanonKind.THREAD_SUSPEND: blocking_of_thread(canon.canon_thread_suspend),
    CanonKind.THREAD_SUSPEND_THEN_RESUME: blocking_of_thread(canon.canon_thread_suspend_then_resume),
    CanonKind.THREAD_YIELD_THEN_RESUME: blocking_of_thread(canon.canon_thread_yield_then_resume),
    CanonKind.THREAD_SUSPEND_THEN_PROMOTE: blocking_of_thread(canon.canon_thread_suspend_then_promote),
    CanonKind.THREAD_YIELD_THEN_PROMOTE: blocking_of_thread(canon.canon_thread_yield_then_promote),
}

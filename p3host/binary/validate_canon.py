"""The rules of canonical definitions, and the types of the functions that they make (CanonicalABI.md, "Canonical
Definitions").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..abi.layout import MAX_FLAT_ASYNC_PARAMS, MAX_FLAT_PARAMS, MAX_FLAT_RESULTS, flatten_func, flatten_types
from ..errors import DecodeError
from ..types import (
    CoreFuncType,
    CoreMemoryType,
    CoreValType,
    FuncType,
    FutureType,
    Limits,
    PointerType,
    StreamType,
)
from .definitions import CanonBuiltin, CanonKind, CanonOptions, Lift, Lower
from .resolve import func_type, item, resource_type, valtype
from .spaces import Spaces
from .subtyping import Mismatch, check_core, core_func_text, core_matches

MEMORY_OPTIONS = frozenset(("string-encoding", "memory"))
LOWER_OPTIONS = MEMORY_OPTIONS | {"realloc", "async"}
LIFT_OPTIONS = LOWER_OPTIONS | {"post-return", "callback"}
CALLBACK = CoreFuncType(("i32", "i32", "i32"), ("i32",))
CONTEXT_SLOTS = 2


@dataclass(frozen=True)
class CheckedOptions:
    """The options of one definition, valid by themselves; `require` says that what they are for needs one of them."""

    options: CanonOptions
    pointer: PointerType
    offset: int

    def require(self, option: str, reason: str) -> None:
        if option not in self.options.present:
            raise DecodeError(f"canonical option `{option}` is required {reason}", self.offset)


def check_options(spaces: Spaces, options: CanonOptions, allowed: frozenset[str], offset: int) -> CheckedOptions:
    """The rules that hold for options wherever they stand ("canonopt Validation")."""
    for option in options.present:
        if options.present.count(option) > 1:
            if option == "string-encoding":
                raise DecodeError("a canonical encoding option conflicts with another one", offset)
            raise DecodeError(f"canonical option `{option}` is specified more than once", offset)
        if option not in allowed:
            raise DecodeError(f"canonical option `{option}` cannot be specified here", offset)
    pointer: PointerType = "i32"
    if options.memory is not None:
        pointer = memory_pointer(spaces, options.memory, offset)
    if options.realloc is not None:
        if options.memory is None:
            raise DecodeError("canonical option `realloc` requires `memory` to also be specified", offset)
        check_signature(spaces, options.realloc, CoreFuncType((pointer,) * 4, (pointer,)), "realloc", offset)
    if options.is_async and options.post_return is not None:
        raise DecodeError("canonical option `post-return` cannot be specified together with `async`", offset)
    if options.callback is not None:
        if not options.is_async:
            raise DecodeError("canonical option `callback` requires `async` to also be specified", offset)
        check_signature(spaces, options.callback, CALLBACK, "callback", offset)
    return CheckedOptions(options, pointer, offset)


def memory_pointer(spaces: Spaces, index: int, offset: int) -> PointerType:
    """The type of addresses in a memory that the canonical ABI can use: it is not shared and has usual pages."""
    memory = item(spaces.core_memories, index, "memory", offset)
    try:
        check_core(memory, CoreMemoryType(Limits(0, None, memory.limits.pointer)))
    except Mismatch as mismatch:
        raise DecodeError(
            f"canonical option `memory` refers to a memory that cannot be used: {mismatch}", offset
        ) from None
    return memory.limits.pointer


def check_signature(spaces: Spaces, index: int, expected: CoreFuncType, option: str, offset: int) -> None:
    actual = item(spaces.core_funcs, index, "core function", offset)
    if actual != expected:
        raise DecodeError(
            f"canonical option `{option}` uses a core function with an incorrect signature: "
            f"expected {core_func_text(expected)}, found {core_func_text(actual)}",
            offset,
        )


def check_async(options: CanonOptions, ft: FuncType, offset: int) -> None:
    if options.is_async and not ft.is_async:
        raise DecodeError("the `async` canonical option requires an async function type", offset)


def lift_type(spaces: Spaces, lift: Lift) -> FuncType:
    """Checks a `canon lift` and gives the type of its function."""
    offset, options = lift.offset, lift.options
    core_func = item(spaces.core_funcs, lift.core_func, "core function", offset)
    ft = func_type(spaces.scope, lift.type_index, offset)
    checked = check_options(spaces, options, LIFT_OPTIONS, offset)
    check_async(options, ft, offset)
    table = spaces.scope.table
    flat = table.structural(ft, offset)
    if len(flatten_types(flat.param_types, checked.pointer)) > MAX_FLAT_PARAMS:
        checked.require("memory", "to pass so many parameters")
        checked.require("realloc", "to pass so many parameters")
    if any(map(table.contains_pointer, flat.param_types)):
        checked.require("memory", "to pass strings and lists as parameters")
        checked.require("realloc", "to pass strings and lists as parameters")
    if flat.result is not None:
        most = MAX_FLAT_PARAMS if options.is_async else MAX_FLAT_RESULTS
        if len(flatten_types((flat.result,), checked.pointer)) > most or table.contains_pointer(flat.result):
            checked.require("memory", "to return a result of this type")
    expected = flatten_func(flat, checked.pointer, "lift", options.is_async, options.callback is not None)
    if core_func.params != expected.params:
        raise DecodeError(
            f"lowered parameter types {list(expected.params)} do not match parameter types {list(core_func.params)} "
            f"of core function {lift.core_func}",
            offset,
        )
    if core_func.results != expected.results:
        raise DecodeError(
            f"lowered result types {list(expected.results)} do not match result types {list(core_func.results)} "
            f"of core function {lift.core_func}",
            offset,
        )
    if options.post_return is not None:
        check_signature(spaces, options.post_return, CoreFuncType(expected.results, ()), "post-return", offset)
    return ft


def lower_type(spaces: Spaces, lower: Lower) -> CoreFuncType:
    """Checks a `canon lower` and gives the type of its core function."""
    offset, options = lower.offset, lower.options
    ft = item(spaces.funcs, lower.func, "function", offset)
    checked = check_options(spaces, options, LOWER_OPTIONS, offset)
    check_async(options, ft, offset)
    table = spaces.scope.table
    flat = table.structural(ft, offset)
    most_params, most_results = (MAX_FLAT_ASYNC_PARAMS, 0) if options.is_async else (MAX_FLAT_PARAMS, MAX_FLAT_RESULTS)
    if len(flatten_types(flat.param_types, checked.pointer)) > most_params:
        checked.require("memory", "to pass so many parameters")
    if any(map(table.contains_pointer, flat.param_types)):
        checked.require("memory", "to pass strings and lists as parameters")
    if flat.result is not None:
        if len(flatten_types((flat.result,), checked.pointer)) > most_results:
            checked.require("memory", "to return a result of this type")
        if table.contains_pointer(flat.result):
            checked.require("memory", "to return strings and lists")
            checked.require("realloc", "to return strings and lists")
    return flatten_func(flat, checked.pointer, "lower", options.is_async, False)


def builtin_type(spaces: Spaces, builtin: CanonBuiltin) -> CoreFuncType:
    """Checks a canonical built-in and gives the type of its core function."""
    known = FIXED_TYPES.get(builtin.kind)
    return known if known is not None else BUILTINS[builtin.kind](spaces, builtin)


FIXED_TYPES = {
    CanonKind.TASK_CANCEL: CoreFuncType((), ()),
    CanonKind.SUBTASK_CANCEL: CoreFuncType(("i32",), ("i32",)),
    CanonKind.SUBTASK_DROP: CoreFuncType(("i32",), ()),
    CanonKind.BACKPRESSURE_INC: CoreFuncType((), ()),
    CanonKind.BACKPRESSURE_DEC: CoreFuncType((), ()),
    CanonKind.ERROR_CONTEXT_DROP: CoreFuncType(("i32",), ()),
    CanonKind.WAITABLE_SET_NEW: CoreFuncType((), ("i32",)),
    CanonKind.WAITABLE_SET_DROP: CoreFuncType(("i32",), ()),
    CanonKind.WAITABLE_JOIN: CoreFuncType(("i32", "i32"), ()),
    CanonKind.THREAD_INDEX: CoreFuncType((), ("i32",)),
    CanonKind.THREAD_RESUME_LATER: CoreFuncType(("i32",), ()),
    CanonKind.THREAD_SUSPEND: CoreFuncType((), ("i32",)),
    CanonKind.THREAD_YIELD: CoreFuncType((), ("i32",)),
    CanonKind.THREAD_SUSPEND_THEN_RESUME: CoreFuncType(("i32",), ("i32",)),
    CanonKind.THREAD_YIELD_THEN_RESUME: CoreFuncType(("i32",), ("i32",)),
    CanonKind.THREAD_SUSPEND_THEN_PROMOTE: CoreFuncType(("i32",), ("i32",)),
    CanonKind.THREAD_YIELD_THEN_PROMOTE: CoreFuncType(("i32",), ("i32",)),
}


def local_resource(spaces: Spaces, builtin: CanonBuiltin) -> CoreValType:
    """The representation of a resource type that the component itself defines."""
    assert builtin.type_index is not None
    resource = spaces.scope.table.resource(resource_type(spaces.scope, builtin.type_index, builtin.offset))
    if resource not in spaces.local_resources:
        raise DecodeError(
            f"type {builtin.type_index} is not a local resource: another component defines it", builtin.offset
        )
    return spaces.local_resources[resource]


def resource_new(spaces: Spaces, builtin: CanonBuiltin) -> CoreFuncType:
    return CoreFuncType((local_resource(spaces, builtin),), ("i32",))


def resource_rep(spaces: Spaces, builtin: CanonBuiltin) -> CoreFuncType:
    return CoreFuncType(("i32",), (local_resource(spaces, builtin),))


def resource_drop(spaces: Spaces, builtin: CanonBuiltin) -> CoreFuncType:
    assert builtin.type_index is not None
    resource_type(spaces.scope, builtin.type_index, builtin.offset)
    return CoreFuncType(("i32",), ())


def task_return(spaces: Spaces, builtin: CanonBuiltin) -> CoreFuncType:
    checked = check_options(spaces, builtin.options, MEMORY_OPTIONS, builtin.offset)
    if builtin.result is None:
        return CoreFuncType((), ())
    result = spaces.scope.table.structure(valtype(spaces.scope, builtin.result, builtin.offset))
    if len(flatten_types((result,), checked.pointer)) > MAX_FLAT_PARAMS or spaces.scope.table.contains_pointer(result):
        checked.require("memory", "to return a result of this type")
    return flatten_func(FuncType((("result", result),)), checked.pointer, "lower", False, False)


def context_type(spaces: Spaces, builtin: CanonBuiltin) -> CoreValType:
    t, slot = builtin.core_type, builtin.immediate
    assert t is not None
    assert slot is not None
    if t not in ("i32", "i64"):
        raise DecodeError(f"the type of a context slot must be i32 or i64, not {t}", builtin.offset)
    if slot >= CONTEXT_SLOTS:
        raise DecodeError(f"context slot {slot} is out of range: there are {CONTEXT_SLOTS}", builtin.offset)
    if spaces.context_type not in (None, t):
        raise DecodeError("all context slots of a component must have the same type", builtin.offset)
    spaces.context_type = t
    return t


def context_get(spaces: Spaces, builtin: CanonBuiltin) -> CoreFuncType:
    return CoreFuncType((), (context_type(spaces, builtin),))


def context_set(spaces: Spaces, builtin: CanonBuiltin) -> CoreFuncType:
    return CoreFuncType((context_type(spaces, builtin),), ())


def wait(spaces: Spaces, builtin: CanonBuiltin) -> CoreFuncType:
    assert builtin.memory is not None
    return CoreFuncType(("i32", memory_pointer(spaces, builtin.memory, builtin.offset)), ("i32",))


def copied_type(spaces: Spaces, builtin: CanonBuiltin) -> StreamType | FutureType:
    """The stream or future type of a built-in, of the kind that the built-in is for."""
    assert builtin.type_index is not None
    kind = builtin.kind.name.partition("_")[0].lower()
    t = item(spaces.scope.types, builtin.type_index, "type", builtin.offset)
    if not isinstance(t, StreamType if kind == "stream" else FutureType):
        raise DecodeError(f"type {builtin.type_index} is not a {kind} type", builtin.offset)
    return t


def new_ends(spaces: Spaces, builtin: CanonBuiltin) -> CoreFuncType:
    copied_type(spaces, builtin)
    return CoreFuncType((), ("i64",))


def drop_end(spaces: Spaces, builtin: CanonBuiltin) -> CoreFuncType:
    copied_type(spaces, builtin)
    return CoreFuncType(("i32",), ())


def cancel_copy(spaces: Spaces, builtin: CanonBuiltin) -> CoreFuncType:
    copied_type(spaces, builtin)
    return CoreFuncType(("i32",), ("i32",))


def copy(spaces: Spaces, builtin: CanonBuiltin) -> CoreFuncType:
    """`stream.read`, `stream.write`, `future.read` and `future.write`."""
    t = copied_type(spaces, builtin)
    checked = check_options(spaces, builtin.options, LOWER_OPTIONS, builtin.offset)
    if t.elem_type is not None:
        checked.require("memory", "to copy elements")
    if builtin.kind in (CanonKind.STREAM_READ, CanonKind.FUTURE_READ) and spaces.scope.table.contains_pointer(
        t.elem_type
    ):
        checked.require("realloc", "to read strings and lists")
    if isinstance(t, StreamType):
        return CoreFuncType(("i32", checked.pointer, checked.pointer), (checked.pointer,))
    return CoreFuncType(("i32", checked.pointer), ("i32",))


def error_context_new(spaces: Spaces, builtin: CanonBuiltin) -> CoreFuncType:
    checked = check_options(spaces, builtin.options, MEMORY_OPTIONS | {"realloc"}, builtin.offset)
    checked.require("memory", "to pass a debug message")
    return CoreFuncType((checked.pointer, checked.pointer), ("i32",))


def error_context_debug_message(spaces: Spaces, builtin: CanonBuiltin) -> CoreFuncType:
    checked = check_options(spaces, builtin.options, MEMORY_OPTIONS | {"realloc"}, builtin.offset)
    checked.require("memory", "to return a debug message")
    checked.require("realloc", "to return a debug message")
    return CoreFuncType(("i32", checked.pointer), ())


def thread_new_indirect(spaces: Spaces, builtin: CanonBuiltin) -> CoreFuncType:
    assert builtin.type_index is not None
    assert builtin.immediate is not None
    start = item(spaces.scope.core_types, builtin.type_index, "core type", builtin.offset)
    if start not in (CoreFuncType(("i32",), ()), CoreFuncType(("i64",), ())):
        raise DecodeError("the start function of a thread must take one i32 or i64 and return nothing", builtin.offset)
    assert isinstance(start, CoreFuncType)
    table = item(spaces.core_tables, builtin.immediate, "core table", builtin.offset)
    if not core_matches(table.elem_type, "funcref"):
        raise DecodeError("the table of a thread's start function must have elements of type funcref", builtin.offset)
    return CoreFuncType((table.limits.pointer, *start.params), ("i32",))


def unsupported(spaces: Spaces, builtin: CanonBuiltin) -> CoreFuncType:
    raise DecodeError(f"`{builtin.kind.text}` needs shared-everything threads, which are not supported", builtin.offset)


BUILTINS: dict[CanonKind, Callable[[Spaces, CanonBuiltin], CoreFuncType]] = {
    CanonKind.RESOURCE_NEW: resource_new,
    CanonKind.RESOURCE_DROP: resource_drop,
    CanonKind.RESOURCE_REP: resource_rep,
    CanonKind.TASK_RETURN: task_return,
    CanonKind.CONTEXT_GET: context_get,
    CanonKind.CONTEXT_SET: context_set,
    CanonKind.STREAM_NEW: new_ends,
    CanonKind.STREAM_READ: copy,
    CanonKind.STREAM_WRITE: copy,
    CanonKind.STREAM_CANCEL_READ: cancel_copy,
    CanonKind.STREAM_CANCEL_WRITE: cancel_copy,
    CanonKind.STREAM_DROP_READABLE: drop_end,
    CanonKind.STREAM_DROP_WRITABLE: drop_end,
    CanonKind.FUTURE_NEW: new_ends,
    CanonKind.FUTURE_READ: copy,
    CanonKind.FUTURE_WRITE: copy,
    CanonKind.FUTURE_CANCEL_READ: cancel_copy,
    CanonKind.FUTURE_CANCEL_WRITE: cancel_copy,
    CanonKind.FUTURE_DROP_READABLE: drop_end,
    CanonKind.FUTURE_DROP_WRITABLE: drop_end,
    CanonKind.ERROR_CONTEXT_NEW: error_context_new,
    CanonKind.ERROR_CONTEXT_DEBUG_MESSAGE: error_context_debug_message,
    CanonKind.WAITABLE_SET_WAIT: wait,
    CanonKind.WAITABLE_SET_POLL: wait,
    CanonKind.THREAD_NEW_INDIRECT: thread_new_indirect,
    CanonKind.THREAD_SPAWN_REF: unsupported,
    CanonKind.THREAD_SPAWN_INDIRECT: unsupported,
    CanonKind.THREAD_AVAILABLE_PARALLELISM: unsupported,
}

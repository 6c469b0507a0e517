"""Canonical definitions (Binary.md, "Canonical Definitions")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..definitions import CanonBuiltin, CanonDefinition, CanonKind, CanonOptions, Lift, Lower
from ..reader import Reader
from .component_types import resultlist
from .core_types import core_typeidx, core_valtype
from .value_types import typeidx

LIFT = 0x00
LOWER = 0x01
MAX_OPTIONS = 16

KINDS = {kind.value: kind for kind in CanonKind}
STRING_ENCODINGS = {0x00: "utf8", 0x01: "utf16", 0x02: "latin1+utf16"}
INDEX_OPTIONS = {0x03: "memory", 0x04: "realloc", 0x05: "post_return", 0x07: "callback"}
ASYNC_OPTION = 0x06


def canon(reader: Reader) -> CanonDefinition:
    offset = reader.position
    opcode = reader.byte("a canonical definition")
    if opcode == LIFT:
        reader.zero("the sort (func) of canon lift")
        core_func = reader.u32("a core function index")
        options = canon_options(reader)
        return Lift(core_func, options, typeidx(reader), offset=offset)
    if opcode == LOWER:
        reader.zero("the sort (func) of canon lower")
        func = reader.u32("a function index")
        return Lower(func, canon_options(reader), offset=offset)
    kind = KINDS.get(opcode)
    if kind is None:
        raise reader.unexpected(opcode, "the opcode of a canonical definition")
    return CanonBuiltin(kind, **IMMEDIATES[kind](reader), offset=offset)


def canon_options(reader: Reader) -> CanonOptions:
    values: dict[str, Any] = {}
    present = reader.vec(lambda r: canonopt(r, values), "options of a canonical definition", MAX_OPTIONS)
    return CanonOptions(**values, present=present)


def canonopt(reader: Reader, values: dict[str, Any]) -> str:
    """Reads one option into `values`, where the last of duplicates stays, and returns its name in the text format."""
    opcode = reader.byte("a canonical option")
    if opcode in STRING_ENCODINGS:
        values["string_encoding"] = STRING_ENCODINGS[opcode]
        return "string-encoding"
    if opcode in INDEX_OPTIONS:
        option = INDEX_OPTIONS[opcode]
        values[option] = reader.u32(f"the index of option {option}")
        return option.replace("_", "-")
    if opcode == ASYNC_OPTION:
        values["is_async"] = True
        return "async"
    raise reader.unexpected(opcode, "the opcode of a canonical option")


Immediates = dict[str, Any]


def no_immediates(reader: Reader) -> Immediates:
    return {}


def type_immediate(reader: Reader) -> Immediates:
    return {"type_index": typeidx(reader)}


def options_immediate(reader: Reader) -> Immediates:
    return {"options": canon_options(reader)}


def copy_immediates(reader: Reader) -> Immediates:
    return {"type_index": typeidx(reader), "options": canon_options(reader)}


def async_immediate(reader: Reader) -> Immediates:
    return {"is_async": reader.flag("async")}


def cancel_copy_immediates(reader: Reader) -> Immediates:
    return {"type_index": typeidx(reader), "is_async": reader.flag("async")}


def cancellable_immediate(reader: Reader) -> Immediates:
    return {"cancellable": reader.flag("cancellable")}


def wait_immediates(reader: Reader) -> Immediates:
    return {"cancellable": reader.flag("cancellable"), "memory": reader.u32("a core memory index")}


def task_return_immediates(reader: Reader) -> Immediates:
    return {"result": resultlist(reader), "options": canon_options(reader)}


def context_immediates(reader: Reader) -> Immediates:
    return {"core_type": core_valtype(reader), "immediate": reader.u32("a context slot")}


def indirect_immediates(reader: Reader) -> Immediates:
    return {"type_index": core_typeidx(reader), "immediate": reader.u32("a core table index")}


def shared_immediate(reader: Reader) -> Immediates:
    return {"shared": reader.flag("shared")}


def spawn_ref_immediates(reader: Reader) -> Immediates:
    return {**shared_immediate(reader), "type_index": core_typeidx(reader)}


def spawn_indirect_immediates(reader: Reader) -> Immediates:
    return {**shared_immediate(reader), **indirect_immediates(reader)}


IMMEDIATES: dict[CanonKind, Callable[[Reader], Immediates]] = {
    CanonKind.RESOURCE_NEW: type_immediate,
    CanonKind.RESOURCE_DROP: type_immediate,
    CanonKind.RESOURCE_REP: type_immediate,
    CanonKind.TASK_CANCEL: no_immediates,
    CanonKind.SUBTASK_CANCEL: async_immediate,
    CanonKind.TASK_RETURN: task_return_immediates,
    CanonKind.CONTEXT_GET: context_immediates,
    CanonKind.CONTEXT_SET: context_immediates,
    CanonKind.THREAD_YIELD: cancellable_immediate,
    CanonKind.SUBTASK_DROP: no_immediates,
    CanonKind.STREAM_NEW: type_immediate,
    CanonKind.STREAM_READ: copy_immediates,
    CanonKind.STREAM_WRITE: copy_immediates,
    CanonKind.STREAM_CANCEL_READ: cancel_copy_immediates,
    CanonKind.STREAM_CANCEL_WRITE: cancel_copy_immediates,
    CanonKind.STREAM_DROP_READABLE: type_immediate,
    CanonKind.STREAM_DROP_WRITABLE: type_immediate,
    CanonKind.FUTURE_NEW: type_immediate,
    CanonKind.FUTURE_READ: copy_immediates,
    CanonKind.FUTURE_WRITE: copy_immediates,
    CanonKind.FUTURE_CANCEL_READ: cancel_copy_immediates,
    CanonKind.FUTURE_CANCEL_WRITE: cancel_copy_immediates,
    CanonKind.FUTURE_DROP_READABLE: type_immediate,
    CanonKind.FUTURE_DROP_WRITABLE: type_immediate,
    CanonKind.ERROR_CONTEXT_NEW: options_immediate,
    CanonKind.ERROR_CONTEXT_DEBUG_MESSAGE: options_immediate,
    CanonKind.ERROR_CONTEXT_DROP: no_immediates,
    CanonKind.WAITABLE_SET_NEW: no_immediates,
    CanonKind.WAITABLE_SET_WAIT: wait_immediates,
    CanonKind.WAITABLE_SET_POLL: wait_immediates,
    CanonKind.WAITABLE_SET_DROP: no_immediates,
    CanonKind.WAITABLE_JOIN: no_immediates,
    CanonKind.BACKPRESSURE_INC: no_immediates,
    CanonKind.BACKPRESSURE_DEC: no_immediates,
    CanonKind.THREAD_INDEX: no_immediates,
    CanonKind.THREAD_NEW_INDIRECT: indirect_immediates,
    CanonKind.THREAD_RESUME_LATER: no_immediates,
    CanonKind.THREAD_SUSPEND: cancellable_immediate,
    CanonKind.THREAD_SUSPEND_THEN_RESUME: cancellable_immediate,
    CanonKind.THREAD_YIELD_THEN_RESUME: cancellable_immediate,
    CanonKind.THREAD_SUSPEND_THEN_PROMOTE: cancellable_immediate,
    CanonKind.THREAD_YIELD_THEN_PROMOTE: cancellable_immediate,
    CanonKind.THREAD_SPAWN_REF: spawn_ref_immediates,
    CanonKind.THREAD_SPAWN_INDIRECT: spawn_indirect_immediates,
    CanonKind.THREAD_AVAILABLE_PARALLELISM: shared_immediate,
}

"""wasmtime's C functions as the other files call them, and the layout of its structures.

The functions that are called all the time take argument objects made once by `argument`, which ctypes passes on as
they are; that is half the cost of a call. `held` functions keep the GIL, `released` ones let other threads run.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import CFUNCTYPE, PYFUNCTYPE, c_bool, c_char, c_char_p, c_size_t, c_ssize_t, c_void_p, py_object
from typing import Any, TypeAlias

from wasmtime import _bindings as bindings
from wasmtime._ffi import dll

Argument: TypeAlias = Any
"""An argument object of ctypes (`byref(...)`)."""


class Text:
    """A name as wasmtime takes it: a pointer and a length in bytes."""

    def __init__(self, text: str) -> None:
        encoded = text.encode()
        self.buffer = ctypes.create_string_buffer(encoded)
        self.arguments = ctypes.byref(self.buffer), argument(len(encoded))


class FutureHandle(c_void_p):
    """A `wasmtime_call_future_t*`; a class of its own, so that ctypes hands it out as an object and takes it back."""


def held(name: str, result: Any = None) -> Callable[..., Any]:
    return PYFUNCTYPE(result)((name, dll))


def released(name: str, result: Any = None) -> Callable[..., Any]:
    return CFUNCTYPE(result)((name, dll))


def argument(value: int) -> Argument:
    """An address, or a number, as an argument object. Whoever makes it keeps what is at the address alive."""
    return ctypes.byref(c_char.from_address(value))


def address(managed: Any) -> int:
    """The address of a structure that one of wasmtime's own classes holds, or of a pointer's target."""
    pointer = managed.ptr() if hasattr(managed, "ptr") else managed
    value = ctypes.cast(pointer, c_void_p).value
    assert value is not None
    return value


func_call_async = held("wasmtime_func_call_async", FutureHandle)
linker_instantiate_async = held("wasmtime_linker_instantiate_async", FutureHandle)
instance_pre_instantiate_async = held("wasmtime_instance_pre_instantiate_async", FutureHandle)
poll_held = held("wasmtime_call_future_poll", c_bool)
poll_released = released("wasmtime_call_future_poll", c_bool)
future_delete = held("wasmtime_call_future_delete")

set_epoch_deadline = held("wasmtime_context_set_epoch_deadline")

linker_new = held("wasmtime_linker_new", c_void_p)
linker_delete = held("wasmtime_linker_delete")
linker_define = held("wasmtime_linker_define", c_void_p)
linker_instantiate_pre = held("wasmtime_linker_instantiate_pre", c_void_p)
instance_pre_delete = held("wasmtime_instance_pre_delete")
error_delete = held("wasmtime_error_delete")
module_new = CFUNCTYPE(c_void_p, c_void_p, c_char_p, c_size_t, c_void_p)(("wasmtime_module_new", dll))
instance_export_get = held("wasmtime_instance_export_get", c_bool)

memory_data = held("wasmtime_memory_data", c_void_p)
memory_data_size = held("wasmtime_memory_data_size", c_size_t)
table_get = held("wasmtime_table_get", c_bool)

memory_view = PYFUNCTYPE(py_object, c_void_p, c_ssize_t, ctypes.c_int)(("PyMemoryView_FromMemory", ctypes.pythonapi))
WRITABLE = 0x200

NOW = argument(0)
"""The epoch deadline that has passed already: the next function entry or loop in wasm yields."""

VALUE_SIZE = ctypes.sizeof(bindings.wasmtime_val_t)
VALUE_OFFSET = bindings.wasmtime_val_t.of.offset
VALUE_KINDS = {"i32": 0, "i64": 1, "f32": 2, "f64": 3}
FUNCREF = 5

EXTERN_SIZE = ctypes.sizeof(bindings.wasmtime_extern_t)
EXTERN_OFFSET = bindings.wasmtime_extern_t.of.offset
INSTANCE_SIZE = ctypes.sizeof(bindings.wasmtime_instance_t)

assert VALUE_SIZE % 8 == VALUE_OFFSET % 8 == 0


NO_FINALIZER = CFUNCTYPE(None, c_void_p)(0)


def returns_null_when_void() -> bool:
    """Whether a callback without a result leaves null where its caller looks for a pointer.

    An exception can come before the first instruction of a callback (an interrupt, the limit of recursion). A callback
    with a result then returns whatever was on the stack, which wasmtime takes for a trap to free.
    """
    callback = CFUNCTYPE(None)(lambda: None)
    call = CFUNCTYPE(c_void_p)(ctypes.cast(callback, c_void_p).value or 0)
    return all(call() is None for _ in range(3))


CALLBACK = CFUNCTYPE(None) if returns_null_when_void() else CFUNCTYPE(c_void_p)
"""The type of a host function's callback. It ignores its arguments: they come through the mailbox."""

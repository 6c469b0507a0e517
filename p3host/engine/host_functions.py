"""Python functions that guests call.

wasm reaches a Python function through a function of a small module, the *shim*, which is generated for the host
functions that one instantiation brings. It writes the arguments into a *mailbox*, a memory of its own, calls back into
Python, and takes the result from there:

    slot 0          what became of the call: RETURNED, WAITS or UNFINISHED
    slot 1 onwards  the arguments; slot 1 is the result's too

Slot 0 is UNFINISHED before Python is called, so a callback that doesn't run to its end can never pass for one that
returned: the shim traps. A call that WAITS has set the epoch deadline to now. The next function that the shim enters
yields then, which suspends the fiber; whoever resumes it has written the answer into the mailbox before.

There is one mailbox for all calls of a machine's shim, so guest code must not be entered where Python may run anything
at any time: from finalizers and signal handlers.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import wasmtime
from wasmtime import _bindings as bindings

from ..runtime.thread import SUSPEND
from ..types import CoreFuncType
from . import native
from .native import Argument, Text, address, argument
from .signatures import Slots, check_types, compile_function, slot

if TYPE_CHECKING:
    from .fiber import Fiber

RETURNED, WAITS, UNFINISHED = 0, 1, 2
SLOT = 8
MAILBOX = "mailbox"
SHIM_NAME = "p3host shim"


class Running(threading.local):
    """The innermost fiber that runs on this thread."""

    fiber: Fiber | None = None


running = Running()


@dataclass(frozen=True, eq=False)
class HostFunc:
    """A Python function with a core type. It belongs to no machine and can be used by many.

    `call(state, *arguments)` gets the `state` of the machine that runs it, integers as unsigned numbers, and returns
    the core result or None. What it raises ends the guest's call: a `Trap` is raised by the step as it is, any other
    `Exception` as the cause of a `Trap`, and any other exception (KeyboardInterrupt, a cancellation) as it is.
    A function that `may_block` can return `SUSPEND`: its result comes later, through `Fiber.answer` or `fail`.
    """

    type: CoreFuncType
    call: Callable[..., Any]
    may_block: bool = False
    name: str = ""
    shims: dict[tuple[object, ...], Shim] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        check_types(self.type, f"the host function {self.name}")


class Shim:
    """The compiled shim of some host functions, and the callbacks that its imports are bound to."""

    def __init__(self, engine: wasmtime.Engine, funcs: tuple[HostFunc, ...]) -> None:
        self.funcs = funcs
        self.callbacks = [native.CALLBACK(make_callback(self, func)) for func in funcs]
        self.module = wasmtime.Module(engine, shim_text(funcs))
        linker = wasmtime.Linker(engine)
        nothing = wasmtime.FuncType([], [])
        for index, callback in enumerate(self.callbacks):
            name = str(index).encode()
            error = bindings.wasmtime_linker_define_func_unchecked(
                linker.ptr(),
                b"",
                0,
                name,
                len(name),
                nothing.ptr(),
                ctypes.cast(callback, bindings.wasmtime_func_unchecked_callback_t),
                None,
                native.NO_FINALIZER,
            )
            assert not error
        # A shim exports its mailbox, then one function for each host function.
        self.names = [Text(name) for name in (MAILBOX, *map(str, range(len(funcs))))]
        self.exports = [name.arguments for name in self.names]
        self.prepared = linker.instantiate_pre(self.module)
        self.prepared_argument: Argument = argument(address(self.prepared))


def shim_text(funcs: Iterable[HostFunc]) -> str:
    funcs = tuple(funcs)
    imports = "".join(f'(import "" "{index}" (func $host{index}))' for index in range(len(funcs)))
    exports = "".join(map(shim_function, range(len(funcs)), funcs))
    return f"""(module $"{SHIM_NAME}" {imports}
      (memory (export "{MAILBOX}") 1 1)
      (func $settle (param $outcome i32)
        (if (i32.eq (local.get $outcome) (i32.const {UNFINISHED})) (then unreachable))
        (if (i32.load (i32.const 0)) (then unreachable)))
      {exports})"""


def shim_function(index: int, func: HostFunc) -> str:
    params = " ".join(func.type.params)
    stores = "".join(
        f"({t}.store (i32.const {SLOT * (position + 1)}) (local.get {position}))"
        for position, t in enumerate(func.type.params)
    )
    result = "".join(f"({t}.load (i32.const {SLOT}))" for t in func.type.results)
    return f"""(func (export "{index}") (param {params}) (result {" ".join(func.type.results)})
      (i32.store (i32.const 0) (i32.const {UNFINISHED})) {stores}
      (call $host{index})
      (if (i32.load (i32.const 0)) (then (call $settle (i32.load (i32.const 0)))))
      {result})"""


def write_result(t: CoreFuncType) -> list[str]:
    if not t.results:
        return ["if result is not None: raise TypeError(f'a function without a result returned {result!r}')"]
    return [f"{slot(t.results[0], SLOT, 'mailbox')} = result"]


def make_callback(shim: Shim, func: HostFunc) -> Callable[[], None]:
    """The callback of one host function, which must let no exception out."""
    arguments = "".join(f", {slot(t, SLOT * (index + 1), 'mailbox')}" for index, t in enumerate(func.type.params))
    write = "\n            ".join(write_result(func.type))
    suspends = f"if result is SUSPEND:\n            fiber.suspend(mailbox, write)\n{' ' * 8}else:"
    source = f"""
def callback():
    try:
        fiber = running.fiber
        machine = fiber.machine
        mailbox = machine.mailboxes[shim]
        result = call(machine.state{arguments})
        {suspends if func.may_block else "if True:"}
            {write}
            mailbox.u32[0] = {RETURNED}
    except BaseException as exception:
        fiber = running.fiber
        fiber.raised = (exception, name)
        fiber.suspension = None
        mailbox.u32[0] = {UNFINISHED}
"""
    names = {
        "running": running,
        "shim": shim,
        "call": func.call,
        "name": func.name or getattr(func.call, "__qualname__", "of the host"),
        "SUSPEND": SUSPEND,
        "write": make_answer(func.type),
    }
    return compile_function("callback", source, names)


def make_answer(t: CoreFuncType) -> Callable[[Slots, Any], None]:
    """Writes the result of a call that waited into the mailbox."""
    lines = ["def answer(mailbox, result):", *(f"    {line}" for line in write_result(t))]
    return compile_function("answer", "\n".join([*lines, f"    mailbox.u32[0] = {RETURNED}"]), {})

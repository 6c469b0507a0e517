"""wasmtime's traps and errors as p3host's."""

from __future__ import annotations

import ctypes
from ctypes import POINTER

import wasmtime
from wasmtime import _bindings as bindings
from wasmtime._trap import FrameList

from ..errors import Exit, LinkError, P3HostError, Trap
from .host_functions import SHIM_NAME

INTERRUPTED = "a host function was interrupted before it could run"
UNCAUGHT = "uncaught wasm exception"


def trap_from(trap: int, error: int) -> Trap | LinkError:
    """What the addresses of a `wasm_trap_t` or a `wasmtime_error_t` stand for. They are freed."""
    if trap:
        with wasmtime.Trap._from_ptr(ctypes.cast(trap, POINTER(bindings.wasm_trap_t))) as owned:
            return describe(str(owned), owned.frames)
    with wasmtime.WasmtimeError._from_ptr(ctypes.cast(error, POINTER(bindings.wasmtime_error_t))) as failed:
        return describe(str(failed), wasm_trace(failed))


def wasm_trace(error: wasmtime.WasmtimeError) -> list[wasmtime.Frame]:
    frames = FrameList(error)
    bindings.wasmtime_error_wasm_trace(error.ptr(), ctypes.byref(frames.vec))
    return [wasmtime.Frame._from_ptr(frames.vec.data[index], frames) for index in range(frames.vec.size)]


def describe(text: str, frames: list[wasmtime.Frame]) -> Trap | LinkError:
    if text.startswith(("incompatible import type", "unknown import")):
        return LinkError([": ".join(causes(text))])
    if frames and frames[0].module_name == SHIM_NAME:
        return Trap(INTERRUPTED, backtrace(frames))
    reason = causes(text)[-1]
    return Trap(UNCAUGHT if reason == "thrown Wasm exception" else reason, backtrace(frames))


def causes(text: str) -> list[str]:
    """The messages in wasmtime's report of an error, from the outermost to the root."""
    head, _, tail = text.partition("\n\nCaused by:\n")
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    if len(lines) > 1:
        lines = [line.partition(": ")[2] if line.partition(": ")[0].isdigit() else line for line in lines]
    return [head.partition("\n")[0], *lines]


def backtrace(frames: list[wasmtime.Frame]) -> str:
    guest = [frame for frame in frames if frame.module_name != SHIM_NAME]
    lines = []
    for index, frame in enumerate(guest):
        function = frame.func_name or f"<wasm function {frame.func_index}>"
        lines.append(f"{index:>4}: {frame.module_offset:#8x} - {frame.module_name or '<unnamed>'}!{function}")
    return "\n".join(lines)


def failure(raised: tuple[BaseException, str] | None, reported: Trap | LinkError) -> BaseException:
    """What a step raises: `raised` is the exception that a host function left with, and the function's name."""
    if raised is None:
        return reported
    exception, name = raised
    trace = reported.backtrace if isinstance(reported, Trap) else ""
    if isinstance(exception, Trap):
        if trace and not exception.backtrace:
            exception.backtrace = trace
            exception.args = (exception.message, trace)
        return exception
    if isinstance(exception, Exit) or not isinstance(exception, Exception):
        return exception
    described = str(exception) if isinstance(exception, P3HostError) else f"{type(exception).__name__}: {exception}"
    trap = Trap(f"the host function {name} failed: {described}", trace)
    trap.__cause__ = exception
    return trap

"""Runs core WebAssembly on wasmtime: compiled modules, their instances, and entries that can be left and gone on with.

Nothing else in p3host knows wasmtime. A `Machine` is one store; a `Fiber` one entry into a guest of it, on a stack of
its own, so that thousands can be suspended at once and go on in any order. Every entry is a fiber.
"""

from __future__ import annotations

from ..runtime.thread import SUSPEND, Status
from .compiler import Engine, EngineConfig, Module, ModuleError, text_to_binary
from .externs import Extern, Func, Global, Memory, Table, Tag
from .fiber import Fiber, State
from .host_functions import HostFunc
from .machine import CoreInstance, Import, Instantiation, Machine, MachineLimits

__all__ = [
    "SUSPEND",
    "CoreInstance",
    "Engine",
    "EngineConfig",
    "Extern",
    "Fiber",
    "Func",
    "Global",
    "HostFunc",
    "Import",
    "Instantiation",
    "Machine",
    "MachineLimits",
    "Memory",
    "Module",
    "ModuleError",
    "State",
    "Status",
    "Table",
    "Tag",
    "text_to_binary",
]

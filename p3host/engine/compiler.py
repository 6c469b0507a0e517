"""The engine: compiles core modules, and holds what all machines share."""

from __future__ import annotations

import ctypes
import os
import stat
import threading
from collections.abc import Sequence
from ctypes import POINTER
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias

import wasmtime
from wasmtime import _bindings as bindings

from ..binary.core_modules import TAG, module_type
from ..errors import DecodeError, P3HostError
from ..types import CoreExternType, CoreFuncType, CoreTagType
from . import native
from .exceptions import function_that_keeps_exceptions, sections
from .failures import causes
from .host_functions import HostFunc, Shim
from .native import Argument, Text, address, argument
from .signals import segv_handler
from .ticker import Ticker

HOST_STACK_BYTES = 1 << 20  # what Python needs at least below a guest that calls it
WORTH_A_THREAD = 1 << 16  # bytes

ImportArguments: TypeAlias = tuple[Argument, Argument, Argument, Argument]


def text_to_binary(text: str) -> bytes:
    """The binary form of a component or a core module in text form.

    :raises DecodeError: if the text is malformed; the message has the line and the column.
    """
    try:
        return bytes(wasmtime.wat2wasm(text))
    except wasmtime.WasmtimeError as error:
        raise DecodeError(str(error), 0) from None


class ModuleError(P3HostError):
    """A core module is invalid, or of a kind that can't be run. `index` is its place among those compiled."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(f"core module {index}: {message}")
        self.index = index
        self.message = message


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """How guests are compiled and run.

    `cache`: whether compiled code is kept on disk, or the directory to keep it in. Whoever can write there can run
    code in this process, so it has to belong to the user alone. `slice_seconds`: how long a guest keeps the event loop
    at most. `entry_budget_seconds`: the processor time of one call that may not block, such as `realloc`.
    `signals_based_traps`: off, memory accesses are checked by code instead of by signal handlers (slower by up to
    40 %); needed where something else installs handlers later, as `faulthandler.enable()` does. `wasm_stack_bytes`:
    the part of a fiber's stack, `async_stack_bytes`, that guests may use; host functions get the rest. `native_ticker`:
    whether the clock that interrupts guests may be a timer of the kernel.
    """

    cache: bool | str | os.PathLike[str] = True
    slice_seconds: float = 0.010
    entry_budget_seconds: float = 1.0
    signals_based_traps: bool = True
    wasm_stack_bytes: int = 1 << 20
    async_stack_bytes: int = 4 << 20
    native_ticker: bool = True

    def __post_init__(self) -> None:
        if self.async_stack_bytes < self.wasm_stack_bytes + HOST_STACK_BYTES:
            raise ValueError(f"async_stack_bytes must exceed wasm_stack_bytes by {HOST_STACK_BYTES} at least")
        if self.slice_seconds <= 0:
            raise ValueError("slice_seconds must be positive")


class Engine:
    """Compiles modules, and keeps the clock that interrupts guests. Can be used by many machines and threads.

    wasmtime installs signal handlers when the first engine is made. `faulthandler.enable()` has to come before that,
    or traps kill the process; else use `EngineConfig(signals_based_traps=False)`. So no import of p3host makes an
    engine.
    """

    default_lock: ClassVar[threading.Lock] = threading.Lock()
    default_engine: ClassVar[Engine | None] = None
    trap_handler: ClassVar[int | None] = None  # wasmtime's, once an engine has had it installed

    def __init__(self, config: EngineConfig | None = None) -> None:
        self.config = config or EngineConfig()
        self.wasmtime = wasmtime.Engine(wasmtime_config(self.config))
        if self.config.signals_based_traps and Engine.trap_handler is None:
            Engine.trap_handler = segv_handler()
        self.argument: Argument = argument(address(self.wasmtime))
        self.ticker = Ticker(self.wasmtime, self.config.slice_seconds / 2, self.config.native_ticker)
        self.probes: dict[CoreFuncType, Module] = {}

    @classmethod
    def default(cls) -> Engine:
        """The engine of this process for whoever needs no other configuration."""
        with cls.default_lock:
            if cls.default_engine is None:
                cls.default_engine = cls()
            return cls.default_engine

    def compile(self, modules: Sequence[bytes | memoryview]) -> list[Module]:
        """Compiles the core modules of a component, on all processors.

        :raises ModuleError: if one is invalid, or needs what guests can't have (garbage collection, threads,
            exceptions that are kept as values).
        """
        data = [bytes(module) for module in modules]
        if len(data) > 1 and sum(map(len, data)) > WORTH_A_THREAD:
            from concurrent.futures import ThreadPoolExecutor  # not before it is needed: commands are to start soon

            with ThreadPoolExecutor(os.cpu_count()) as pool:
                compiled = list(pool.map(self.compile_one, range(len(data)), data))
        else:
            compiled = list(map(self.compile_one, range(len(data)), data))
        # Without a tag nothing is ever thrown, so what could be kept of an exception is null.
        if any(module.has_tags for module in compiled):
            for index, module in enumerate(data):
                check_exceptions(index, module)
        return compiled

    def compile_one(self, index: int, data: bytes) -> Module:
        pointer = POINTER(bindings.wasmtime_module_t)()
        error = native.module_new(address(self.wasmtime), data, len(data), ctypes.addressof(pointer))
        if error is not None:
            failed = ctypes.cast(error, POINTER(bindings.wasmtime_error_t))
            with wasmtime.WasmtimeError._from_ptr(failed) as described:
                raise ModuleError(index, ": ".join(causes(str(described))))
        module = wasmtime.Module._from_ptr(pointer)
        try:
            return Module(self, module, data)
        except DecodeError as unreadable:
            raise ModuleError(index, str(unreadable)) from None

    def shim(self, funcs: tuple[HostFunc, ...]) -> Shim:
        """The shim of some host functions: made once, and kept by the first of them."""
        key = (self, *funcs)
        shims = funcs[0].shims
        if key not in shims:
            shims[key] = Shim(self.wasmtime, funcs)
        return shims[key]

    def probe(self, t: CoreFuncType) -> Module:
        """A module that imports a function of the type `t`."""
        if t not in self.probes:
            params, results = " ".join(t.params), " ".join(t.results)
            text = f'(module (import "" "" (func (param {params}) (result {results}))))'
            self.probes[t] = self.compile([text_to_binary(text)])[0]
        return self.probes[t]


class Module:
    """A compiled core module. `imports` has (module, name, type) in order, `exports` the types by name."""

    def __init__(self, engine: Engine, module: wasmtime.Module, data: bytes) -> None:
        self.engine = engine
        self.module = module
        self.argument: Argument = argument(address(module))
        # wasmtime's C API ends the process over types that it has no name for, so it isn't asked.
        t = module_type(memoryview(data))
        self.imports: list[tuple[str, str, CoreExternType]] = [(*key, item) for key, item in t.imports.items()]
        self.exports: dict[str, CoreExternType] = dict(t.exports)
        self.has_tags = any(section_id == TAG for section_id, _ in sections(data)) or any(
            isinstance(item, CoreTagType) for item in t.imports.values()
        )

    @cached_property
    def import_arguments(self) -> list[ImportArguments]:
        """The names of each import, as wasmtime takes them."""
        self.import_names = [(Text(module), Text(name)) for module, name, _ in self.imports]
        return [(*module.arguments, *name.arguments) for module, name in self.import_names]

    @cached_property
    def export_arguments(self) -> dict[str, tuple[Argument, Argument]]:
        self.export_names = {name: Text(name) for name in self.exports}
        return {name: text.arguments for name, text in self.export_names.items()}

    @cached_property
    def prepared(self) -> wasmtime.InstancePre:
        """What a module without imports is instantiated from."""
        return wasmtime.Linker(self.engine.wasmtime).instantiate_pre(self.module)

    @cached_property
    def prepared_argument(self) -> Argument:
        return argument(address(self.prepared))


def check_exceptions(index: int, data: bytes) -> None:
    function = function_that_keeps_exceptions(data)
    if function is not None:
        raise ModuleError(
            index,
            f"its function {function} catches exceptions by reference (catch_ref or catch_all_ref), which can't be kept"
            " while it is suspended: build the guest so that it catches exceptions by value, or without exceptions",
        )


def wasmtime_config(config: EngineConfig) -> wasmtime.Config:
    result = wasmtime.Config()
    result.epoch_interruption = True
    result.max_wasm_stack = config.wasm_stack_bytes
    bindings.wasmtime_config_async_stack_size_set(result.ptr(), config.async_stack_bytes)
    result.signals_based_traps = config.signals_based_traps
    result.memory_may_move = False  # a cached view of a memory relies on it
    result.wasm_gc = False
    result.wasm_threads = False
    result.wasm_exceptions = True
    result.wasm_function_references = True
    result.wasm_tail_call = True
    result.wasm_memory64 = True
    result.wasm_multi_memory = True
    if config.cache:
        load_cache(result, config.cache)
    return result


def load_cache(result: wasmtime.Config, wanted: Literal[True] | str | os.PathLike[str]) -> None:
    """Switches wasmtime's cache on. Only a directory that was asked for by name has to be usable."""
    directory = default_cache() if wanted is True else Path(wanted)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_owner(directory)
        result.cache = str(cache_settings(directory.resolve()))
    except OSError:
        if wanted is not True:
            raise


def cache_settings(directory: Path) -> Path:
    """The file that tells wasmtime where its cache is; it lies there too, and is written once."""
    path = directory / "wasmtime.toml"
    quoted = "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in str(directory))
    text = f'[cache]\ndirectory = "{quoted}"\n'
    if not path.exists() or path.read_text("utf-8") != text:
        draft = directory / f"wasmtime.toml.{os.getpid()}"
        draft.write_text(text, "utf-8")
        draft.replace(path)
    return path


def default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "p3host"


def check_owner(directory: Path) -> None:
    if hasattr(os, "getuid"):
        status = directory.stat()
        if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(
                f"the cache directory {directory} has to belong to its user and be writable by no other"
            )

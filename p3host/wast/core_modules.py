"""Core modules in scripts: each is run as a component that lifts its functions."""

from __future__ import annotations

from typing import Any

from ..component import Component
from ..engine import Engine
from ..errors import DecodeError
from ..types import CoreFuncType
from .constants import CORE_TYPES

MAX_PARAMS = 16  # a component function of more takes them through memory


class CoreModule:
    """A core module that needs no imports. `names` tells the component's name of each function that can be invoked: one
    of numbers alone, with a result at most.

    :raises ModuleError: if the module is invalid.
    """

    def __init__(self, binary: bytes) -> None:
        (self.module,) = Engine.default().compile([binary])
        if self.module.imports:
            module, name, _ = self.module.imports[0]
            raise DecodeError(f"core modules of scripts can't have imports, and this one needs {module!r} {name!r}", 0)
        funcs = {name: t for name, t in self.module.exports.items() if isinstance(t, CoreFuncType) and is_liftable(t)}
        self.names = {name: f"f{index}" for index, name in enumerate(funcs)}
        exports = "".join(f"(export {quote(name)} {func_text(t)})" for name, t in funcs.items())
        lifts = "".join(lift_text(self.names[name], name, t) for name, t in funcs.items())
        self.component = Component.load(
            f'(component (import "module" (core module $M {exports})) (core instance $m (instantiate $M)) {lifts})'
        )

    @property
    def imports(self) -> dict[str, Any]:
        return {"module": self.module}


def is_liftable(t: CoreFuncType) -> bool:
    numbers = all(part in CORE_TYPES for part in (*t.params, *t.results))
    return numbers and len(t.results) <= 1 and len(t.params) <= MAX_PARAMS


def func_text(t: CoreFuncType) -> str:
    return f"(func {''.join(f'(param {p})' for p in t.params)} {''.join(f'(result {r})' for r in t.results)})"


def lift_text(component_name: str, name: str, t: CoreFuncType) -> str:
    params = "".join(f'(param "p{index}" {CORE_TYPES[p].value})' for index, p in enumerate(t.params))
    results = "".join(f"(result {CORE_TYPES[r].value})" for r in t.results)
    return f'(func (export "{component_name}") {params} {results} (canon lift (core func $m {quote(name)})))'


def quote(name: str) -> str:
    return '"' + "".join(f"\\{byte:02x}" for byte in name.encode()) + '"'

"""A component run by wasmtime-py's own component API, to stand beside p3host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import wasmtime
from wasmtime import component

SYNC = """(component
  (core module $M
    (memory (export "memory") 64)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536))
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "echo") (param i32 i32) (result i32)
      (i32.store (i32.const 16) (local.get 0)) (i32.store (i32.const 20) (local.get 1)) (i32.const 16)))
  (core instance $m (instantiate $M))
  (alias core export $m "memory" (core memory $memory))
  (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $m "add")))
  (func (export "echo") (param "s" string) (result string)
    (canon lift (core func $m "echo") (memory $memory) (realloc (core func $m "realloc"))))
  (func (export "echo-bytes") (param "b" (list u8)) (result (list u8))
    (canon lift (core func $m "echo") (memory $memory) (realloc (core func $m "realloc")))))"""


def wasmtime_exports() -> Callable[[str], Callable[..., Any]]:
    """The synchronous functions `add`, `echo` and `echo-bytes`, by name."""
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    loaded = component.Component(engine, SYNC)
    instance = component.Linker(engine).instantiate(store, loaded)

    def export(name: str) -> Callable[..., Any]:
        func = instance.get_func(store, name)
        assert func is not None

        def call(*args: Any) -> Any:
            result = func(store, *args)
            func.post_return(store)
            return result

        return call

    return export

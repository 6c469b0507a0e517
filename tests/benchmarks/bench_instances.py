"""Instances of the Go reactor: made for one call each, or kept and used again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import wasmtime
from measure import GUESTS, Row, Scale, best, repeated, repeated_plain

from p3host import Component, Wasi

POOL = 8
TEXT = "hello"
ECHOED = "echo(hello)"


async def instances(scale: Scale) -> list[Row]:
    component = Component.load(GUESTS / "go-reactor/go-reactor.wasm")
    imports: Mapping[str, Any] = {"wait": no_wait, "lookup": str.upper}

    async def fresh() -> None:
        async with component.instantiate(imports, wasi=Wasi()):
            pass

    async def fresh_called() -> None:
        async with component.instantiate(imports, wasi=Wasi()) as instance:
            assert await instance.exports.sleep_echo(0, TEXT) == ECHOED

    async def pooled(count: int) -> None:
        for number in range(count):
            assert await pool[number % POOL].exports.sleep_echo(0, TEXT) == ECHOED

    pool = [component.instantiate(imports, wasi=Wasi()) for _ in range(POOL)]
    count = scale.count(10)
    instantiate_core = CoreInstances(component).instantiate
    made, core = await best(scale, count, repeated(fresh), repeated_plain(instantiate_core))
    (called,) = await best(scale, count, repeated(fresh_called))
    for instance in pool:
        await instance.__aenter__()
    (reused,) = await best(scale, count * 4, pooled)
    for instance in reversed(pool):
        await instance.__aexit__(None, None, None)
    beside = "wasmtime-py, its largest core module"
    return [
        Row("Go reactor, instances made", 1 / made, "1/s", beside, 1 / core),
        Row("Go reactor, a fresh instance for each call", 1 / called, "1/s"),
        Row(f"Go reactor, calls of {POOL} pooled instances", 1 / reused, "1/s"),
    ]


async def no_wait(ms: int) -> None:
    pass


class CoreInstances:
    """The largest core module of a component, its imports answered by traps, instantiated by wasmtime-py."""

    def __init__(self, component: Component) -> None:
        config = wasmtime.Config()
        config.wasm_exceptions = True
        self.engine = wasmtime.Engine(config)
        largest = max(component.program.modules, key=lambda module: len(module.data))
        self.module = wasmtime.Module(self.engine, bytes(largest.data))

    def instantiate(self) -> None:
        store = wasmtime.Store(self.engine)
        linker = wasmtime.Linker(self.engine)
        linker.define_unknown_imports_as_traps(self.module)
        linker.instantiate(store, self.module)

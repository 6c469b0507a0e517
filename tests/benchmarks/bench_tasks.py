"""Many tasks that wait: on one instance, and in many instances on one event loop."""

from __future__ import annotations

import gc
import io
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any

import anyio
from measure import GUESTS, Row, Scale, resident_bytes
from processes import in_fresh_process

from p3host import Component, Exit, Wasi

TASKS = 10_000
COMMANDS = 100


async def suspended(scale: Scale) -> list[Row]:
    count = scale.count(TASKS)
    rows: list[Row] = []
    seconds_beside, bytes_beside = in_fresh_process(wait_all, "", count, scale.backend)
    for name, export in (("with a callback", "park"), ("on their stacks", "park-on-stack")):
        seconds, memory = in_fresh_process(wait_all, export, count, scale.backend)
        title = f"{count:,} suspended tasks {name}"
        rows.append(Row(f"{title}: time of each", seconds * 1e6, "µs", "two host tasks", seconds_beside * 1e6))
        rows.append(Row(f"{title}: memory of each", memory / 1000, "kB", "two host tasks", bytes_beside / 1000))
    return rows


def wait_all(export: str, count: int, backend: str) -> tuple[float, float]:
    """The seconds, and the bytes of memory, that one of `count` waiting tasks takes from start to end. Without a name
    of an export, the two host tasks that every call of it needs: the caller's and the import's."""
    return anyio.run(wait_all_in, export, count, backend=backend)


async def wait_all_in(export: str, count: int) -> tuple[float, float]:
    gate, all_wait = anyio.Event(), anyio.Event()
    waiting = 0

    async def pass_gate() -> None:
        nonlocal waiting
        waiting += 1
        if waiting == count:
            all_wait.set()
        await gate.wait()

    async def measure(call: Callable[[], Coroutine[Any, Any, object]]) -> tuple[float, float]:
        gc.collect()
        before, started = resident_bytes(), perf_counter()
        async with anyio.create_task_group() as group:
            for _ in range(count):
                group.start_soon(call)
            await all_wait.wait()
            memory = resident_bytes() - before
            gate.set()
        return (perf_counter() - started) / count, memory / count

    if not export:
        async with anyio.create_task_group() as imports:

            async def call() -> None:
                imports.start_soon(pass_gate)
                await gate.wait()

            return await measure(call)
    component = Component.load(GUESTS / "text/waits.wat")
    async with component.instantiate({"now": int, "now-sync": int, "gate": pass_gate}) as instance:
        return await measure(instance.exports[export])


async def commands(scale: Scale) -> list[Row]:
    """Stock Go programs, each of which sleeps a second through WASI 0.2, all in one process on one event loop."""
    count = scale.count(COMMANDS)
    sleep = min(10 * scale.factor, 1.0)
    statuses: list[int] = []
    component = Component.load(GUESTS / "go-command/go-command.wasm")
    outputs = [io.BytesIO() for _ in range(count)]

    async def run(output: io.BytesIO) -> None:
        async with component.instantiate(wasi=Wasi(args=["go-command", f"{sleep}s"], stdout=output)) as instance:
            try:
                await instance.exports["wasi:cli/run@0.2"].run()
            except Exit as exited:
                statuses.append(exited.status)

    started = perf_counter()
    async with anyio.create_task_group() as group:
        for output in outputs:
            group.start_soon(run, output)
    seconds = perf_counter() - started
    assert statuses == [0] * count
    assert all(b"slept long enough: true" in output.getvalue() for output in outputs)
    return [Row(f"{count} stock Go commands that sleep {sleep:g} s", seconds, "s", "one sleep", sleep, goal=2.5)]

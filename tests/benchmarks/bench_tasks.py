"""Many tasks that wait: on one instance, and in many instances on one event loop."""

from __future__ import annotations

import gc
from time import perf_counter

import anyio
from measure import GUESTS, Row, Scale, resident_bytes

from p3host import Component, Exit, Wasi

TASKS = 10_000
COMMANDS = 100


async def suspended(scale: Scale) -> list[Row]:
    count = scale.count(TASKS)
    component = Component.load(GUESTS / "text/waits.wat")
    rows: list[Row] = []
    gate = anyio.Event()

    async def wait() -> None:
        await gate.wait()

    async def wait_in_a_task() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(gate.wait)

    async def measure(name: str, one: object, beside: tuple[float, float] | None) -> tuple[float, float]:
        """The seconds and the bytes of one waiting task of each kind, its start and its end included."""
        nonlocal gate
        gate = anyio.Event()
        gc.collect()
        before, started = resident_bytes(), perf_counter()
        async with anyio.create_task_group() as group:
            for _ in range(count):
                group.start_soon(one)  # type: ignore[arg-type]
            await anyio.wait_all_tasks_blocked()
            memory = (resident_bytes() - before) / count
            gate.set()
        seconds = (perf_counter() - started) / count
        if beside is not None:
            rows.append(Row(f"{name}: time", seconds * 1e6, "µs", "two host tasks", beside[0] * 1e6))
            rows.append(Row(f"{name}: memory", memory / 1000, "kB", "two host tasks", beside[1] / 1000))
        return seconds, memory

    return rows

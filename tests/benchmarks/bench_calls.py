"""Calls that never wait: of exports by the host, and of host functions by the guest."""

from __future__ import annotations

from collections.abc import Callable

import anyio
from anyio.lowlevel import checkpoint
from measure import GUESTS, Row, Scale, best, busy_thread, repeated, repeated_plain
from wasmtime_components import wasmtime_exports

from p3host import Component

MICRO = 1e6


async def exports(scale: Scale) -> list[Row]:
    component = Component.load(GUESTS / "text/bench.wat")
    wasmtime_add = wasmtime_exports()("add")
    wasmtime_echo = wasmtime_exports()("echo")
    count = scale.count(200)
    async with component.instantiate({"host-now": lambda: 0}) as instance:
        add, sync_add = instance.exports["add"], instance.exports["sync-add"]
        echo = instance.exports["echo"]

        async def at_once(count: int) -> None:
            async with anyio.create_task_group() as group:
                for _ in range(count):
                    group.start_soon(add, 1, 2)

        beside = "wasmtime-py add"
        asynchronous, synchronous, plain = [
            MICRO * seconds
            for seconds in await best(
                scale, count, repeated(add, 1, 2), repeated(sync_add, 1, 2), repeated_plain(wasmtime_add, 1, 2)
            )
        ]
        text = "hello world"
        echoed, echoed_plain = [
            MICRO * seconds
            for seconds in await best(scale, count, repeated(echo, text), repeated_plain(wasmtime_echo, text))
        ]
        with busy_thread():
            busy, busy_plain = [
                MICRO * seconds
                for seconds in await best(
                    scale, scale.count(300), repeated(add, 1, 2), repeated_plain(wasmtime_add, 1, 2)
                )
            ]
    return [
        Row("async add", asynchronous, "µs", beside, plain, ratio_goal=1 / 2),
        Row("sync add", synchronous, "µs", beside, plain),
        Row("async add, a busy thread beside", busy, "µs", beside, busy_plain, ratio_goal=1 / 2),
        Row("async echo of 11 bytes", echoed, "µs", "wasmtime-py echo", echoed_plain),
    ]


async def imports(scale: Scale) -> list[Row]:
    """The guest calls the host again and again, within one call of its export. Beside stands what anyio takes to start
    an empty task."""
    component = Component.load(GUESTS / "text/waits.wat")
    count = scale.count(200)
    rows: list[Row] = []
    cases: list[tuple[str, Callable[[], object], str, float | None]] = [
        ("sync lower of a def", plain, "call-sync", None),
        ("async lower of a def", plain, "call-async", None),
        ("async lower of an async def that returns at once", at_once, "call-async", 3),
        ("async lower of an async def that waits", later, "call-async", 3),
    ]
    for name, function, export, goal in cases:
        provided = {"now": function, "now-sync": plain, "gate": later}
        async with component.instantiate(provided) as instance:
            calls, tasks = await best(scale, count, instance.exports[export], start_tasks)
        rows.append(Row(name, calls * MICRO, "µs", "a task's start", tasks * MICRO, ratio_goal=goal))
    async with component.instantiate({"now": later, "now-sync": plain, "gate": later}) as instance:
        call = instance.exports["call-async"]

        async def concurrently(count: int) -> None:
            async with anyio.create_task_group() as group:
                for _ in range(count):
                    group.start_soon(call, 1)

        calls, tasks = await best(scale, count, concurrently, start_tasks)
    rows.append(Row("200 calls at once, each waits for one", calls * MICRO, "µs", "a task's start", tasks * MICRO))
    return rows


def plain() -> int:
    return 7


async def at_once() -> int:
    return 7


async def later() -> int:
    await checkpoint()
    return 7


async def nothing() -> None:
    pass


async def start_tasks(count: int) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(nothing)

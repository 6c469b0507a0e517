"""Calls that never wait: of exports by the host, and of host functions by the guest."""

from __future__ import annotations

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
    count = scale.count(3000)
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
        Row("async add", asynchronous, "µs", beside, plain, ratio_goal=1 / 3),
        Row("sync add", synchronous, "µs", beside, plain, ratio_goal=1 / 2),
        Row("async add, a busy thread beside", busy, "µs", beside, busy_plain, ratio_goal=1 / 3),
        Row("async echo of 11 bytes", echoed, "µs", "wasmtime-py echo", echoed_plain, ratio_goal=1 / 2),
    ]


async def imports(scale: Scale) -> list[Row]:
    component = Component.load(GUESTS / "text/waits.wat")
    count = scale.count(3000)
    rows: list[Row] = []

    def plain() -> int:
        return 7

    async def at_once() -> int:
        return 7

    async def later() -> int:
        await checkpoint()
        return 7

    async def start_tasks(count: int) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(count):
                group.start_soon(nothing)

    async def nothing() -> None:
        pass

    (task,) = [MICRO * seconds for seconds in await best(scale, count, start_tasks)]
    async with component.instantiate({"now": plain, "now-sync": plain, "gate": later}) as instance:
        for kind in ("async", "sync"):
            (seconds,) = await best(scale, 1, repeated(instance.exports[f"call-{kind}"], count))
            rows.append(Row(f"{kind} lower of a def", MICRO * seconds / count, "µs", "a task's start", task))
    for name, function in (("that returns at once", at_once), ("that waits", later)):
        async with component.instantiate({"now": function, "now-sync": plain, "gate": later}) as instance:
            (one,) = await best(scale, 1, repeated(instance.exports["call-async"], count))
            rows.append(
                Row(
                    f"async lower of an async def {name}",
                    MICRO * one / count,
                    "µs",
                    "a task's start",
                    task,
                    ratio_goal=3,
                )
            )
    async with component.instantiate({"now": later, "now-sync": plain, "gate": later}) as instance:
        call_one = instance.exports["call-async"]

        async def concurrently(count: int) -> None:
            async with anyio.create_task_group() as group:
                for _ in range(count):
                    group.start_soon(call_one, 1)

        (all_at_once,) = [MICRO * seconds for seconds in await best(scale, scale.count(1000), concurrently)]
        rows.append(Row("a call of its own for each of 1,000 at once", all_at_once, "µs", "a task's start", task))
    return rows

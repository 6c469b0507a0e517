"""Bytes into a guest and out of it: as lists, and as streams."""

from __future__ import annotations

from collections.abc import AsyncIterator

from measure import GUESTS, Row, Scale, best, repeated, repeated_plain
from wasmtime_components import wasmtime_exports

from p3host import Component, ExportedFunction

PIECE = 65536


async def lists(scale: Scale) -> list[Row]:
    component = Component.load(GUESTS / "text/bench.wat")
    rows: list[Row] = []
    async with component.instantiate({"host-now": lambda: 0}) as instance:
        echo = instance.exports["echo-bytes"]
        for size, label in ((1000, "1 kB"), (100_000, "100 kB"), (1_000_000, "1 MB")):
            data = bytes(size)
            target = memoryview(bytearray(size))

            def copy_twice(data: bytes, target: memoryview) -> bytes:
                target[:] = data
                return bytes(target)

            echoed, copied = await best(
                scale,
                scale.count(20_000_000 // (size + 100_000)),
                repeated(echo, data),
                repeated_plain(copy_twice, data, target),
            )
            goal = 3 if size >= 100_000 else None
            rows.append(
                Row(f"list<u8> of {label} in and out", echoed * 1e6, "µs", "two copies", copied * 1e6, ratio_goal=goal)
            )
            if size == 1000:
                (plain,) = await best(scale, scale.count(50), repeated_plain(wasmtime_exports()("echo-bytes"), data))
                rows.append(Row(rows[-1].name, echoed * 1e6, "µs", "wasmtime-py echo-bytes", plain * 1e6))
    return rows


async def streams(scale: Scale) -> list[Row]:
    component = Component.load(GUESTS / "text/streams.wat")
    total = scale.count(1 << 25) // PIECE * PIECE + PIECE
    rows: list[Row] = []
    async with component.instantiate() as instance:
        sink, source = instance.exports["sink"], instance.exports["source"]
        (copied,) = await best(scale, 1, repeated_plain(copy, total))
        for name, run in (("host to guest", write), ("guest to host", read)):
            function = sink if run is write else source
            (seconds,) = await best(scale, 1, repeated(run, function, total))
            rows.append(
                Row(
                    f"stream<u8> {name} in 64 KiB pieces",
                    total / seconds / 1e9,
                    "GB/s",
                    "one copy",
                    total / copied / 1e9,
                    goal=1,
                    more_is_better=True,
                )
            )
    return rows


def copy(total: int) -> None:
    piece, target = bytes(PIECE), memoryview(bytearray(PIECE))
    for _ in range(total // PIECE):
        target[:] = piece


async def write(sink: ExportedFunction, total: int) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        piece = bytes(PIECE)
        for _ in range(total // PIECE):
            yield piece

    assert await sink(pieces()) == total


async def read(source: ExportedFunction, total: int) -> None:
    received = 0
    async for piece in await source(total):
        received += len(piece)
    assert received == total

"""Values from guest to guest: in one composed component, and between two instances, where they become Python's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from measure import GUESTS, Row, Scale, best

from p3host import Component, Interface

PIECE = 65536
COMPOSED_CALLS = """(component
  {callee}
  {caller}
  (instance $callee (instantiate $Callee))
  (instance $caller (instantiate $Caller (with "callee" (instance $callee))))
  (export "caller" (instance $caller)))"""
COMPOSED_STREAMS = """(component
  {streams}
  (instance $first (instantiate $Streams))
  (instance $second (instantiate $Streams))
  (export "first" (instance $first))
  (export "second" (instance $second)))"""


def nested(file: str, name: str) -> str:
    """The text of a component, as one that is defined within another."""
    return (GUESTS / "text" / file).read_text().replace("(component\n", f"(component ${name}\n", 1)


async def composed(scale: Scale) -> list[Row]:
    return [*await calls(scale), await stream(scale)]


async def calls(scale: Scale) -> list[Row]:
    text = COMPOSED_CALLS.format(callee=nested("callee.wat", "Callee"), caller=nested("caller.wat", "Caller"))
    composed, callee, caller = (
        Component.load(source) for source in (text, GUESTS / "text/callee.wat", GUESTS / "text/caller.wat")
    )
    rows = []
    async with (
        composed.instantiate() as one,
        callee.instantiate() as second,
        caller.instantiate({"callee": second.exports}) as first,
    ):
        for name, export, count, repetitions in (
            ("add", "add", 1, 1000),
            ("list<u8> of 1 kB", "bytes", 1000, 1000),
            ("list<u8> of 100 kB", "bytes", 100_000, 500),
            ("list<string> of 100", "strings", 100, 20),
            ("list of 1000 records", "items", 1000, 20),
        ):
            within, between = await best(
                scale,
                scale.count(repetitions),
                repeated_within(one.exports["caller"], export, count),
                repeated_within(first.exports, export, count),
            )
            rows.append(Row(f"composed: {name}", within * 1e6, "µs", "two instances", between * 1e6))
    return rows


def repeated_within(exports: Interface, name: str, count: int) -> Callable[[int], Awaitable[None]]:
    function = exports[name]

    async def repeat(repetitions: int) -> None:
        assert await function(repetitions, count) == repetitions * (2 if name == "add" else count)

    return repeat


async def stream(scale: Scale) -> Row:
    component = Component.load(COMPOSED_STREAMS.format(streams=nested("streams.wat", "Streams")))
    total = scale.count(1 << 28) // PIECE * PIECE + PIECE
    async with component.instantiate() as instance:
        source, sink = instance.exports["first"]["source"], instance.exports["second"]["sink"]

        async def run(repetitions: int) -> None:
            for _ in range(repetitions):
                assert await sink(await source(total)) == total

        (seconds,) = await best(scale, 1, run)
    return Row("stream<u8> guest to guest in 64 KiB pieces", total / seconds / 1e9, "GB/s", goal=2, more_is_better=True)

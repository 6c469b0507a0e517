"""Measures p3host beside wasmtime-py, plain Python and the event loop, and prints a table.

python tests/benchmarks/run.py [--backend asyncio|trio] [--quick | --tiny] [SUBJECT...]
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
from bench_bytes import lists, streams
from bench_calls import exports, imports
from bench_composed import composed
from bench_instances import instances
from bench_serve import serve
from bench_startup import startup
from bench_tasks import commands, suspended
from bench_throughput import throughput
from measure import TINY, Row, Scale, print_table
from processes import in_fresh_process

SUBJECTS: dict[str, Callable[[Scale], Awaitable[list[Row]]]] = {
    subject.__name__: subject
    for subject in (
        exports,
        imports,
        lists,
        streams,
        composed,
        startup,
        instances,
        suspended,
        commands,
        serve,
        throughput,
    )
}


def measure(subject: str, scale: Scale) -> list[Row]:
    return anyio.run(SUBJECTS[subject], scale, backend=scale.backend)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures p3host and prints a table.")
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"{', '.join(SUBJECTS)}; all without one")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    parser.add_argument("--quick", action="store_true", help="one round of a tenth of the work")
    parser.add_argument("--tiny", action="store_true", help="as little as there can be: to see that it runs")
    options = parser.parse_args()
    unknown = [subject for subject in options.subjects if subject not in SUBJECTS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(SUBJECTS)}")
    scale = Scale(backend=options.backend)
    if options.quick or options.tiny:
        scale = replace(scale, factor=TINY.factor if options.tiny else 0.1, rounds=1)
    rows: list[Row] = []
    for subject in options.subjects or SUBJECTS:
        rows += in_fresh_process(measure, subject, scale)
    print_table(rows)


if __name__ == "__main__":
    main()

"""Measures p3host beside wasmtime-py, plain Python and the event loop, and prints a table.

python tests/benchmarks/run.py [--backend asyncio|trio] [--quick] [SUBJECT...]
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable

import anyio
from bench_bytes import lists, streams
from bench_calls import exports, imports
from bench_instances import instances
from bench_startup import startup
from bench_tasks import commands, suspended
from measure import Row, Scale, print_table
from processes import in_fresh_process

SUBJECTS: dict[str, Callable[[Scale], Awaitable[list[Row]]]] = {
    subject.__name__: subject for subject in (exports, imports, lists, streams, startup, instances, suspended, commands)
}


def measure(subject: str, scale: Scale) -> list[Row]:
    return anyio.run(SUBJECTS[subject], scale, backend=scale.backend)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures p3host and prints a table.")
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"{', '.join(SUBJECTS)}; all without one")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    parser.add_argument("--quick", action="store_true", help="one round of a tenth of the work")
    options = parser.parse_args()
    unknown = [subject for subject in options.subjects if subject not in SUBJECTS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(SUBJECTS)}")
    scale = Scale(0.1, 1, options.backend) if options.quick else Scale(backend=options.backend)
    rows: list[Row] = []
    for subject in options.subjects or SUBJECTS:
        rows += in_fresh_process(measure, subject, scale)
    print_table(rows)


if __name__ == "__main__":
    main()

"""The start of a small command whose compiled code is cached, as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from time import perf_counter

from measure import GUESTS, Row, Scale

COMMANDS = {"C command": "c-cli/c-cli.wasm", "Go command": "go-hello/go-hello.wasm"}
IMPORTS = "import wasmtime, asyncio, anyio"


async def startup(scale: Scale) -> list[Row]:
    """`p3host run` less a process that does nothing but import what p3host is built on."""
    rows: list[Row] = []
    for name, guest in COMMANDS.items():
        run = [sys.executable, "-c", "from p3host.cli import main; main()", "run", str(GUESTS / guest)]
        beside = [sys.executable, "-c", IMPORTS]
        seconds = milliseconds(scale, run, beside)
        goal = 60 if name == "C command" else None
        rows.append(Row(f"start of a small {name}, above imports", seconds[0] - seconds[1], "ms", goal=goal))
        rows.append(Row(f"p3host run, {name}", seconds[0], "ms", "imports alone", seconds[1]))
    return rows


def milliseconds(scale: Scale, *commands: list[str]) -> list[float]:
    """The best times of some commands that take turns."""
    times = [float("inf")] * len(commands)
    for command in commands:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for _ in range(scale.rounds * 2):
        for index, command in enumerate(commands):
            started = perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times[index] = min(times[index], (perf_counter() - started) * 1000)
    return times

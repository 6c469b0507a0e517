"""The start of a small command whose compiled code is cached, as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from tempfile import TemporaryDirectory
from time import perf_counter

from measure import GUESTS, Row, Scale

RUN = [sys.executable, "-m", "p3host", "run", str(GUESTS / "c-cli/c-cli.wasm")]
IMPORTS = [sys.executable, "-c", "import wasmtime, asyncio, anyio"]
IMPORTS_ALL = [sys.executable, "-c", "import wasmtime, asyncio, anyio, anyio._backends._asyncio, click"]


async def startup(scale: Scale) -> list[Row]:
    """`p3host run` less a process that does nothing but import what p3host is built on."""
    run, imports, all_imports = milliseconds(scale, RUN, IMPORTS, IMPORTS_ALL)
    return [
        Row("p3host run, a small C command", run, "ms", "imports of its dependencies", imports),
        Row("the same above these imports", run - imports, "ms", goal=60),
        Row("the same above these, the backend's and click's", run - all_imports, "ms"),
    ]


def milliseconds(scale: Scale, *commands: list[str]) -> list[float]:
    """The best times of some commands that take turns. Python's bytecode is cached, as it is after an installation."""
    times = [float("inf")] * len(commands)
    with TemporaryDirectory() as bytecode:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = bytecode

        def run(command: list[str]) -> None:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)

        for command in commands:
            run(command)
        for _ in range(min(scale.rounds, 15)):
            for index, command in enumerate(commands):
                started = perf_counter()
                run(command)
                times[index] = min(times[index], (perf_counter() - started) * 1000)
    return times

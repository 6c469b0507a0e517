"""Commands for the tests, and `p3host run` in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

GUESTS = Path(__file__).resolve().parents[1] / "guests"
C_FILES = str(GUESTS / "c-files" / "c-files.wasm")
GO_HELLO = str(GUESTS / "go-hello" / "go-hello.wasm")
GO_COMMAND = str(GUESTS / "go-command" / "go-command.wasm")
BACKENDS = ("asyncio", "trio")


def command(code: str, version: str = "0.3.0", imports: str = "", core: str = "") -> str:
    """A command whose `run` is a synchronously lifted core function."""
    is_async = "async" if version.startswith("0.3") else ""
    return f"""(component {imports}
      (core module $Main {core} (func (export "run") (result i32) {code}))
      (core instance $main (instantiate $Main {'(with "" (instance $given))' if imports else ""}))
      (func $run {is_async} (result (result)) (canon lift (core func $main "run")))
      (instance $interface (export "run" (func $run)))
      (export "wasi:cli/run@{version}" (instance $interface)))"""


WAITING = command(
    "(call $wait (call $new) (i32.const 0))",
    imports="""(core module $Memory (memory (export "memory") 1))
      (core instance $memory (instantiate $Memory))
      (core func $new (canon waitable-set.new))
      (core func $wait (canon waitable-set.wait (memory (core memory $memory "memory"))))
      (core instance $given (export "new" (func $new)) (export "wait" (func $wait)))""",
    core='(import "" "new" (func $new (result i32))) (import "" "wait" (func $wait (param i32 i32) (result i32)))',
)


@contextmanager
def running(*args: str | Path, stderr: int | IO[str] = subprocess.PIPE) -> Iterator[subprocess.Popen[bytes]]:
    """`p3host run` in a process of its own."""
    run = [sys.executable, "-m", "p3host", "run", *map(str, args)]
    with subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr) as process:
        try:
            yield process
        finally:
            process.kill()

"""Commands for the tests, and `p3host run` in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

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


PRINTING = """
  (import "wasi:cli/types@0.3.0" (instance $types
    (type $e (enum "io" "illegal-byte-sequence" "pipe"))
    (export "error-code" (type (eq $e)))))
  (alias export $types "error-code" (type $error-code))
  (import "wasi:cli/stdout@0.3.0" (instance $stdout
    (alias outer 1 $error-code (type $outer))
    (export "error-code" (type $e (eq $outer)))
    (export "write-via-stream" (func (param "data" (stream u8)) (result (future (result (error $e))))))))
  (import "wasi:cli/exit@0.3.0" (instance $exit (export "exit-with-code" (func (param "status-code" u8)))))
  (import "wasi:clocks/monotonic-clock@0.3.0" (instance $clock
    (export "wait-for" (func async (param "how-long" u64)))))
  (type $bytes (stream u8))
  (type $result (result (error $error-code)))
  (type $future (future $result))
  (core module $Memory (memory (export "memory") 17) (data (i32.const 16) "one\\ntwo\\n"))
  (core instance $libc (instantiate $Memory))
  (alias core export $libc "memory" (core memory $memory))
  (core func $new (canon stream.new $bytes))
  (core func $print (canon lower (func $stdout "write-via-stream")))
  (core func $write (canon stream.write $bytes (memory $memory)))
  (core func $end (canon stream.drop-writable $bytes))
  (core func $outcome (canon future.read $future (memory $memory)))
  (core func $drop (canon future.drop-readable $future))
  (core func $exit (canon lower (func $exit "exit-with-code")))
  (core func $sleep (canon lower (func $clock "wait-for")))
  (core func $set-new (canon waitable-set.new))
  (core func $set-wait (canon waitable-set.wait (memory $memory)))
  (core instance $given
    (export "memory" (memory $memory)) (export "new" (func $new)) (export "print" (func $print))
    (export "write" (func $write)) (export "end" (func $end)) (export "outcome" (func $outcome))
    (export "drop" (func $drop)) (export "exit" (func $exit)) (export "sleep" (func $sleep))
    (export "set-new" (func $set-new)) (export "set-wait" (func $set-wait)))"""

PRINTING_CORE = """
  (import "" "memory" (memory 1))
  (import "" "new" (func $new (result i64))) (import "" "print" (func $print (param i32) (result i32)))
  (import "" "write" (func $write (param i32 i32 i32) (result i32))) (import "" "end" (func $end (param i32)))
  (import "" "outcome" (func $outcome (param i32 i32) (result i32))) (import "" "drop" (func $drop (param i32)))
  (import "" "exit" (func $exit (param i32))) (import "" "sleep" (func $sleep (param i64)))
  (import "" "set-new" (func $set-new (result i32)))
  (import "" "set-wait" (func $set-wait (param i32 i32) (result i32)))
  (func $open (local $ends i64)
    (local.set $ends (call $new))
    (global.set $output (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
    (global.set $written (call $print (i32.wrap_i64 (local.get $ends)))))
  (func $forever (drop (call $set-wait (call $set-new) (i32.const 0))))
  (global $output (mut i32) (i32.const 0)) (global $written (mut i32) (i32.const 0))"""


WRITE = "(drop (call $write (global.get $output) (i32.const 16) (i32.const 8)))"
"""Writes the two lines to the stream that `$open` made."""

WRITE_ON = """(loop $on (br_if $on (i32.ne (i32.and (i32.const 15)
  (call $write (global.get $output) (i32.const 24) (i32.const 100000))) (i32.const 1))))"""
"""Writes zeros until the other end is dropped."""

EXIT_WITH_OUTCOME = """(drop (call $outcome (global.get $written) (i32.const 0)))
  (call $exit (i32.add (i32.mul (i32.load8_u (i32.const 0)) (i32.const 10)) (i32.load8_u (i32.const 1))))"""
"""Exits with 0 if all was written, else with 10 for `io` and 12 for `pipe`."""


def printing(code: str) -> str:
    """A command over `wasi:cli/stdout` whose `run` has the code. `$open` leaves the writable end of a stream in
    `$output`, the future beside it in `$written`; memory has "one\\n" at 16, "two\\n" at 20, and 1 MiB of zeros."""
    return command(code, imports=PRINTING, core=PRINTING_CORE)


def write_guest(folder: Path, text: str) -> Path:
    path = folder / "guest.wasm"
    path.write_text(text)
    return path


@contextmanager
def running(
    *args: str | Path,
    stdin: int | IO[Any] = subprocess.PIPE,
    stdout: int | IO[Any] = subprocess.PIPE,
    stderr: int | IO[Any] = subprocess.PIPE,
) -> Iterator[subprocess.Popen[bytes]]:
    """`p3host run` in a process of its own."""
    run = [sys.executable, "-m", "p3host", "run", *map(str, args)]
    with subprocess.Popen(run, stdin=stdin, stdout=stdout, stderr=stderr) as process:
        try:
            yield process
        finally:
            process.kill()

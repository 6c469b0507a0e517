"""What a command of `p3host run` writes arrives: as it is written, whole, and with an error where it can't."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_guests import (
    BACKENDS,
    EXIT_WITH_OUTCOME,
    GO_COMMAND,
    WRITE,
    WRITE_ON,
    printing,
    running,
    write_guest,
)

DROP = "(call $drop (global.get $written))"
END = "(call $end (global.get $output))"
BIG = "(drop (call $write (global.get $output) (i32.const 24) (i32.const 60000)))"
BIG_SIZE = 2 * 60000  # each taken whole, and together more than a pipe holds

ENDINGS = {
    "returns": "",
    "ends the stream": END,
    "drops the future": DROP,
    "drops both": DROP + END,
    "exits": "(call $exit (i32.const 0))",
    "drops the future and exits": DROP + "(call $exit (i32.const 0))",
    "traps": "unreachable",
}


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_was_written_arrives_however_the_guest_ends(tmp_path: Path, backend: str, ending: str) -> None:
    path = write_guest(tmp_path, printing(f"(call $open) {WRITE} {ENDINGS[ending]} i32.const 0"))
    with running("--backend", backend, path) as process:
        assert process.communicate(timeout=30)[0] == b"one\ntwo\n"
        assert process.returncode == (134 if ending == "traps" else 0)


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_was_written_arrives_by_a_slow_pipe(tmp_path: Path, backend: str, ending: str) -> None:
    path = write_guest(tmp_path, printing(f"(call $open) {BIG} {BIG} {ENDINGS[ending]} i32.const 0"))
    with running("--backend", backend, path) as process:
        assert process.stdout is not None
        size = 0
        while piece := os.read(process.stdout.fileno(), 4096):
            size += len(piece)
        assert size == BIG_SIZE
        assert process.wait(30) == (134 if ending == "traps" else 0)


@pytest.mark.parametrize("order", ["drop first", "drop last"])
def test_dropping_the_future_ends_no_write(tmp_path: Path, backend: str, order: str) -> None:
    drops = (DROP, "") if order == "drop first" else ("", DROP)
    path = write_guest(tmp_path, printing(f"(call $open) {drops[0]} {WRITE} {drops[1]} {WRITE} {END} i32.const 0"))
    with running("--backend", backend, path) as process:
        assert process.communicate(timeout=30) == (b"one\ntwo\none\ntwo\n", b"")
        assert process.returncode == 0


def test_output_is_seen_while_the_guest_sleeps(backend: str, tmp_path: Path) -> None:
    path = write_guest(tmp_path, printing(f"(call $open) {WRITE} (call $sleep (i64.const 60000000000)) i32.const 0"))
    for args in ([path], [GO_COMMAND, "60s"]):
        with running("--backend", backend, *args) as process:
            assert process.stdout is not None
            assert process.stdout.readline() in (b"one\n", b"start\n")


UNWRITABLE = {"closed": 10, "full": 10, "a pipe without a reader": 12}


def run_unwritable(kind: str, *args: str | Path, data: bytes = b"") -> tuple[int, str]:
    """Runs a command whose standard output is of that kind; gives its exit status, and what it wrote to stderr."""
    run = [sys.executable, "-m", "p3host", "run", *map(str, args)]
    if kind == "closed":
        run = ["sh", "-c", 'exec "$@" >&-', "sh", *run]
    readable, writable = os.pipe()
    os.close(readable)
    with open("/dev/full", "wb") as full, os.fdopen(writable, "wb") as pipe:
        stdout = full if kind == "full" else pipe
        done = subprocess.run(run, stdout=stdout, stderr=subprocess.PIPE, input=data, timeout=60)
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("kind", UNWRITABLE)
def test_output_that_can_not_be_written_is_an_error_of_the_guest(tmp_path: Path, backend: str, kind: str) -> None:
    path = write_guest(tmp_path, printing(f"(call $open) {WRITE_ON} {EXIT_WITH_OUTCOME} i32.const 0"))
    assert run_unwritable(kind, "--backend", backend, path) == (UNWRITABLE[kind], "")


@pytest.mark.parametrize("kind", UNWRITABLE)
def test_a_guest_that_does_not_mind_ends_as_ever(tmp_path: Path, backend: str, kind: str) -> None:
    path = write_guest(tmp_path, printing(f"(call $open) {WRITE_ON} i32.const 0"))
    assert run_unwritable(kind, "--backend", backend, path) == (0, "")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("closed", "write /dev/stdout: Bad file number\n"),
        ("full", "write /dev/stdout: No space left on device\n"),
        ("a pipe without a reader", "write /dev/stdout: Broken pipe\n"),
    ],
)
def test_a_program_of_wasi_0_2_is_told_the_error(backend: str, kind: str, told: str) -> None:
    assert run_unwritable(kind, "--backend", backend, GO_COMMAND, "stdin", "1ms", data=b"input\n") == (1, told)


def test_a_reader_that_has_enough_ends_a_program_quietly(backend: str) -> None:
    with open("/dev/zero", "rb") as zeros, running("--backend", backend, GO_COMMAND, "stdin", stdin=zeros) as process:
        assert process.stdout is not None
        assert process.stdout.read(10) == bytes(10)
        process.stdout.close()
        assert process.wait(30) == 1
        assert process.stderr is not None
        assert process.stderr.read() == b"write /dev/stdout: Broken pipe\n"  # the words of the guest

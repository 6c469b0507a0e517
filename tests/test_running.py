"""`p3host run` ends when it is told to, by a signal or its limit of time, and tells what it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command_guests import BACKENDS, C_FILES, GO_COMMAND, GO_HELLO, command, running

from p3host.running import GRACE_SECONDS


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(data: str | bytes) -> Path:
        path = tmp_path / "guest.wasm"
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    return write


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("args", [[GO_HELLO], [GO_COMMAND, "10s"]], ids=["cancelled", "not cancellable"])
def test_ctrl_c_ends_with_130(backend: str, args: list[str]) -> None:
    run = [sys.executable, "-m", "p3host", "run", "--backend", backend, *args]
    with subprocess.Popen(run, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()  # it runs
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert time.monotonic() - started < GRACE_SECONDS + 2
        assert process.stderr.read() == b""


@pytest.mark.parametrize("backend", BACKENDS)
def test_second_ctrl_c_ends_with_130_too(backend: str) -> None:
    run = [sys.executable, "-m", "p3host", "run", "--backend", backend, GO_COMMAND, "10s"]
    with subprocess.Popen(run, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()  # it runs
        process.send_signal(signal.SIGINT)
        time.sleep(GRACE_SECONDS / 4)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr.read() == b""


def wait_until_sigusr1_is(process: subprocess.Popen[bytes], disposition: str) -> None:
    """`disposition` is "SigIgn", ignored, or "SigCgt", caught."""
    for _ in range(3000):
        status = Path(f"/proc/{process.pid}/status").read_text()
        mask = int(status.partition(f"{disposition}:")[2].split()[0], 16)
        if mask >> (signal.SIGUSR1 - 1) & 1:
            return
        time.sleep(0.01)
    pytest.fail(f"SIGUSR1 was never {disposition}")


@pytest.mark.parametrize("backend", BACKENDS)
def test_sigusr1_prints_who_waits_for_what_and_the_guest_goes_on(backend: str) -> None:
    with running("--backend", backend, C_FILES, "cat", "exit", "7") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        for word in (b"one", b"two"):
            process.stdin.write(word)
            process.stdin.flush()
            assert process.stdout.read(3) == word  # it runs, and soon waits for more
            process.send_signal(signal.SIGUSR1)
            assert process.stderr.readline().decode() == f"p3host: what goes on in process {process.pid}:\n"
            assert process.stderr.readline().startswith(b"task 'run' (started), for ")
            told = b""
            while b"the stream StdinStream of the host (running)" not in told:
                told = process.stderr.readline()
        assert process.communicate() == (b"", b"")
        assert process.returncode == 7


@pytest.mark.parametrize("backend", BACKENDS)
def test_sigusr1_tells_of_a_guest_that_computes(write: Callable[[str], Path], backend: str) -> None:
    with running("--backend", backend, write(command("(loop $on (br $on)) unreachable"))) as process:
        assert process.stderr is not None
        wait_until_sigusr1_is(process, "SigCgt")
        process.send_signal(signal.SIGUSR1)
        lines = [process.stderr.readline() for _ in range(3)]
        assert lines[1].startswith(b"task 'run' (started)")
        assert lines[2] == b"  thread computes, and its time slice is over\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130


@pytest.mark.parametrize("backend", BACKENDS)
def test_sigusr1_before_anything_runs_is_ignored(tmp_path: Path, backend: str) -> None:
    path = tmp_path / "guest.wasm"
    os.mkfifo(path)  # it waits for the component to come
    with running("--backend", backend, path) as process:
        wait_until_sigusr1_is(process, "SigIgn")
        process.send_signal(signal.SIGUSR1)
        path.write_text(command("i32.const 1"))
        assert process.communicate() == (b"", b"")
        assert process.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("backend", BACKENDS)
def test_sigusr1_that_can_not_be_answered_changes_nothing(backend: str) -> None:
    with open("/dev/full", "w") as full, running("--backend", backend, C_FILES, "cat", stderr=full) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"one")
        process.stdin.flush()
        assert process.stdout.read(3) == b"one"
        process.send_signal(signal.SIGUSR1)
        process.stdin.write(b"two")
        process.stdin.flush()
        assert process.stdout.read(3) == b"two"
        assert process.communicate()[0] == b""
        assert process.returncode == 0

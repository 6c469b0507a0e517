"""`p3host run` ends when it is told to, by a signal or its limit of time, and tells what it does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from command_guests import BACKENDS, C_FILES, GO_COMMAND, GO_HELLO, WRITE, command, printing, running, write_guest

from p3host.running import GRACE_SECONDS
from p3host.runtime.function import CallbackCode
from p3host.runtime.waitable import EventCode


def wait_until_signal_is(process: subprocess.Popen[bytes], number: signal.Signals, disposition: str) -> None:
    """`disposition` is "SigIgn", ignored, or "SigCgt", caught."""
    for _ in range(3000):
        status = Path(f"/proc/{process.pid}/status").read_text()
        mask = int(status.partition(f"{disposition}:")[2].split()[0], 16)
        if mask >> (number - 1) & 1:
            return
        time.sleep(0.01)
    pytest.fail(f"{number.name} was never {disposition}")


def wait_until_it_runs(process: subprocess.Popen[bytes]) -> None:
    wait_until_signal_is(process, signal.SIGUSR1, "SigCgt")


def wait_until_it_has_computed(process: subprocess.Popen[bytes], seconds: int) -> None:
    used = 0
    while used < seconds * os.sysconf("SC_CLK_TCK"):
        used = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11])  # utime
        time.sleep(0.01)


SPINNING = command("(loop $on (br $on)) unreachable")
SPINNING_AT_START = command("i32.const 0", core="(func $spin (loop $on (br $on))) (start $spin)")
SPINNING_ON_CANCEL = f"""(component
  (core module $Main
    (func (export "run") (result i32) (i32.const {CallbackCode.YIELD}))
    (func (export "event") (param $event i32) (param i32 i32) (result i32)
      (if (i32.eq (local.get $event) (i32.const {EventCode.TASK_CANCELLED})) (then (loop $on (br $on))))
      (i32.const {CallbackCode.YIELD})))
  (core instance $main (instantiate $Main))
  (func $run async (result (result))
    (canon lift (core func $main "run") async (callback (core func $main "event"))))
  (instance $interface (export "run" (func $run)))
  (export "wasi:cli/run@0.3.0" (instance $interface)))"""
HELD = printing("(call $sleep (i64.const 60000000000)) i32.const 0")
POLLING = command(
    "(call $block (call $subscribe (i64.const 60000000000))) i32.const 0",
    version="0.2.0",
    imports="""
      (import "wasi:io/poll@0.2.0" (instance $poll
        (export "pollable" (type $p (sub resource)))
        (export "[method]pollable.block" (func (param "self" (borrow $p))))))
      (alias export $poll "pollable" (type $pollable))
      (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
        (alias outer 1 $pollable (type $outer))
        (export "pollable" (type $p (eq $outer)))
        (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
      (core func $block (canon lower (func $poll "[method]pollable.block")))
      (core func $subscribe (canon lower (func $clock "subscribe-duration")))
      (core instance $given (export "block" (func $block)) (export "subscribe" (func $subscribe)))""",
    core="""(import "" "block" (func $block (param i32)))
      (import "" "subscribe" (func $subscribe (param i64) (result i32)))""",
)
PRINTING_FOR_EVER = printing(f"(call $open) (loop $on {WRITE} (br $on)) unreachable")

GUESTS_THAT_GO_ON: dict[str, str | list[str]] = {
    "computing": SPINNING,
    "computing in its start function": SPINNING_AT_START,
    "computing once it is told to cancel": SPINNING_ON_CANCEL,
    "asleep": [C_FILES, "sleep", "60000"],
    "held by a call of a type that is not async": HELD,
    "polling by WASI 0.2": POLLING,
    "a language's sleep by WASI 0.2": [GO_COMMAND, "60s"],
    "reading stdin": [C_FILES, "cat"],
    "reading stdin by WASI 0.2": [GO_COMMAND, "stdin"],
    "writing to a full pipe": PRINTING_FOR_EVER,
    "writing to a full pipe by WASI 0.2": [GO_COMMAND, "stdin"],
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("doing", GUESTS_THAT_GO_ON)
def test_a_guest_that_goes_on_is_ended(tmp_path: Path, doing: str, backend: str) -> None:
    guest = GUESTS_THAT_GO_ON[doing]
    args = ["--backend", backend, *(guest if isinstance(guest, list) else [write_guest(tmp_path, guest)])]
    with open("/dev/zero", "rb") as zeros, ExitStack() as stack:
        stdin = zeros if "full pipe" in doing else subprocess.PIPE
        limited = stack.enter_context(running("--timeout", "0.75", *args, stdin=stdin))
        interrupted = stack.enter_context(running("--timeout", "60", *args, stdin=stdin))
        if doing == "computing in its start function":
            wait_until_it_has_computed(interrupted, 2)
        else:
            wait_until_it_runs(interrupted)
        interrupted.send_signal(signal.SIGINT)
        assert interrupted.wait(30) == 130
        assert limited.wait(30) == 124
        assert interrupted.stderr is not None
        assert interrupted.stderr.read() == b""
        assert limited.stderr is not None
        assert re.fullmatch(
            rb"p3host: \S+ is ended: it has run for the 0.75 seconds that --timeout gives it\n", limited.stderr.read()
        )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("doing", ["computing", "asleep"])
def test_sigterm_ends_a_guest_with_143(tmp_path: Path, doing: str, backend: str) -> None:
    guest = GUESTS_THAT_GO_ON[doing]
    args = guest if isinstance(guest, list) else [write_guest(tmp_path, guest)]
    with running("--backend", backend, *args) as process:
        wait_until_it_runs(process)
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30) == (b"", b"")
        assert process.returncode == 143


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_guest_that_ends_in_time_has_its_own_status(backend: str) -> None:
    with running("--timeout", "60", "--backend", backend, C_FILES, "sleep", "1", "exit", "7") as process:
        assert process.communicate(timeout=30) == (b"", b"")
        assert process.returncode == 7


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_second_signal_ends_the_process_without_grace(tmp_path: Path, backend: str) -> None:
    with running("--backend", backend, write_guest(tmp_path, SPINNING)) as process:
        wait_until_it_runs(process)
        process.send_signal(signal.SIGTERM)
        while process.poll() is None:
            time.sleep(0.02)
            process.send_signal(signal.SIGINT)
        assert process.communicate() == (b"", b"")
        assert process.returncode == 130  # and not 143, as the grace period would have given


STUCK_HOST = """
import sys
from functools import partial
import anyio
from anyio.abc import ObjectReceiveStream
from p3host import Component, Wasi, running

class Stuck(ObjectReceiveStream):
    async def receive(self):
        print("reading", flush=True)
        with anyio.CancelScope(shield=True):
            await anyio.sleep_forever()
    async def aclose(self): ...

running.GRACE_SECONDS = running.OVERDUE_SECONDS = 0.1
limit = float(sys.argv[2])
with running.stopping_on_signals():
    wasi = Wasi(args=["guest", "cat"], stdin=Stuck())
    anyio.run(partial(running.run_command, Component.load(sys.argv[1]), wasi, limit, print), backend=sys.argv[3])
"""


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("limit", ["0.5", "60"])
def test_a_host_that_does_not_end_does_not_keep_the_process(backend: str, limit: str) -> None:
    run = [sys.executable, "-c", STUCK_HOST, C_FILES, limit, backend]
    with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"reading\n"
        if limit == "60":
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == (143 if limit == "60" else 124)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_signal_that_was_ignored_from_the_start_is_ignored(tmp_path: Path, backend: str) -> None:
    program = "trap '' INT; exec \"$@\""
    run = [sys.executable, "-m", "p3host", "run", "--backend", backend, C_FILES, "sleep", "60000"]
    with subprocess.Popen(["sh", "-c", program, "sh", *run], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_until_it_runs(process)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30) == (b"", b"")
        assert process.returncode == 143


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_anything_runs_ends_the_process(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "guest.wasm"
    os.mkfifo(path)  # it waits for the component to come
    with running(path) as process:
        wait_until_signal_is(process, signal.SIGTERM, "SigCgt")
        process.send_signal(number)
        assert process.communicate(timeout=30) == (b"", b"")
        assert process.returncode == 128 + number


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
def test_sigusr1_tells_of_a_guest_that_computes(tmp_path: Path, backend: str) -> None:
    with running("--backend", backend, write_guest(tmp_path, SPINNING)) as process:
        assert process.stderr is not None
        wait_until_it_runs(process)
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
        wait_until_signal_is(process, signal.SIGUSR1, "SigIgn")
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

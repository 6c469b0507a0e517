"""Commands as toolchains make them, over the libraries of their languages: see the verbs in guests/README.md."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from language_guests import GUESTS, build, guest_path, or_skip

from p3host import Exit, Network, Wasi
from p3host.testing import Testbed, read_only

COMMANDS = ("c-command", "zig-cc-command", "rust-command", "go-command", "python-command")
BUILT_HERE = ("c-command", "rust-command", "go-command")  # from source too, where their tools are there
BACKENDS = ("asyncio", "trio")
SECONDS = 60
HOUR = 3600.0

parametrize_commands = pytest.mark.parametrize("command", COMMANDS)
parametrize_backends = pytest.mark.parametrize("backend", BACKENDS)


@dataclass(frozen=True)
class Case:
    """What a command is given, as options of `Testbed.run`, and what it does. A message may be any."""

    args: str
    status: int = 0
    stdout: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


DIRECTORIES = {"/in": read_only({"b.txt": "some\ntext", "a.txt": "", "c/d.txt": ""}), "/out": {}}
CASES = {
    "arguments": Case("arguments one ü --flag", stdout="arguments\none\nü\n--flag\n"),
    "variable": Case("variable A", stdout="1=2 ü\n", given={"env": {"A": "1=2 ü"}}),
    "variable that is not there": Case("variable B", status=1, given={"env": {"A": "1=2 ü"}}),
    "no input": Case("upper"),
    "input": Case("upper", stdout="ONE\nTWO\nTHREE", given={"stdin": b"one\ntwo\nthree"}),
    "much output": Case("lines 20000", stdout="".join(f"{i}\n" for i in range(20_000))),
    "copy": Case("copy /in/b.txt /out/b.txt", given={"files": DIRECTORIES}, files={"/out/b.txt": b"SOME\nTEXT"}),
    "copy what is not there": Case("copy /in/d.txt /out/b.txt", status=1, given={"files": DIRECTORIES}),
    "copy to where only reading is granted": Case("copy /in/b.txt /in/d.txt", status=1, given={"files": DIRECTORIES}),
    "copy from where nothing is granted": Case("copy /etc/passwd /out/x", status=1, given={"files": DIRECTORIES}),
    "copy from above a directory": Case("copy /in/../etc/passwd /out/x", status=1, given={"files": DIRECTORIES}),
    "list": Case("list /in", stdout="a.txt\nb.txt\nc\n", given={"files": DIRECTORIES}),
    "list what is no directory": Case("list /in/a.txt", status=1, given={"files": DIRECTORIES}),
    "status 0": Case("status 0"),
    "any other status": Case("status 7", status=1),
}


@pytest.mark.virtual_time
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@parametrize_commands
async def test_a_command_does_what_it_is_told(testbed: Testbed, command: str, case: Case) -> None:
    done = await testbed.run(guest_path(command), *case.args.split(), **case.given)
    written = done.stdout.text
    if case.args.startswith("arguments"):
        written = written.partition("\n")[2]  # without the program's own name
    assert (done.status, written) == (case.status, case.stdout)
    if case.status != 0 and not case.args.startswith(("status", "variable")):
        assert done.stderr.text
    assert {path: done.files[path] for path in case.files} == case.files


@pytest.mark.virtual_time
@parametrize_commands
async def test_sleeping_commands_sleep_at_once(testbed: Testbed, command: str) -> None:
    path = guest_path(command)
    statuses = []

    async def run() -> None:
        done = await testbed.run(path, "sleep", str(int(HOUR * 1000)))
        statuses.append((done.status, done.stdout.text))

    started = anyio.current_time()
    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(run)
    assert statuses == [(0, "slept\n")] * 10
    assert HOUR <= anyio.current_time() - started < HOUR + 1


@pytest.mark.virtual_time
@parametrize_commands
async def test_a_line_is_answered_before_the_next_one_comes(testbed: Testbed, command: str) -> None:
    path, args = guest_path(command), (command, "upper")
    send, receive = anyio.create_memory_object_stream[bytes]()
    async with (
        receive,
        testbed.instantiate(path, args=args, stdin=receive, allow_leaks=True) as guest,
        anyio.create_task_group() as calls,
    ):
        calls.start_soon(run_to_the_end, guest.exports["wasi:cli/run"].run)
        async with send:
            for line in ("one\n", "two\n", "three\n"):
                await send.send(line.encode())
                await guest.stdout.wait_for(line.upper())


async def run_to_the_end(run: Any) -> None:
    """Go's commands leave through `wasi:cli/exit`."""
    try:
        await run()
    except Exit as left:
        if left.status != 0:
            raise


@pytest.mark.virtual_time
@pytest.mark.parametrize("command", ["c-command", "zig-cc-command"])
async def test_what_polls_input_and_a_clock_learns_which_comes_first(testbed: Testbed, command: str) -> None:
    path, milliseconds = guest_path(command), str(int(HOUR * 1000))
    send, receive = anyio.create_memory_object_stream[bytes](1)
    async with send, receive:
        started = anyio.current_time()
        assert (await testbed.run(path, "wait", milliseconds, stdin=receive)).stdout.text == "time\n"
        assert HOUR <= anyio.current_time() - started < HOUR + 1
        await send.send(b"x")
        assert (await testbed.run(path, "wait", milliseconds, stdin=receive)).stdout.text == "input\n"
    assert (await testbed.run(path, "wait", milliseconds, stdin=b"")).stdout.text == "input\n"  # it is at its end
    assert anyio.current_time() - started < HOUR + 1


@pytest.mark.virtual_time
async def test_goroutines_of_wasi_0_3_sleep_while_another_one_reads_input(testbed: Testbed) -> None:
    send, receive = anyio.create_memory_object_stream[bytes]()
    args = ("go-hello", "1000", "echo")
    async with (
        receive,
        testbed.instantiate(GUESTS / "go-hello/go-hello.wasm", args=args, stdin=receive) as guest,
        anyio.create_task_group() as calls,
    ):
        calls.start_soon(guest.exports["wasi:cli/run"].run)
        async with send:
            await send.send(b"one\n")
            await guest.stdout.wait_for("you say one\n")
            await guest.stdout.wait_for("goroutine 1000: hello 3 of 3\n")
            await send.send(b"two\n")
            await guest.stdout.wait_for("you say two\n")
            assert "all done" not in guest.stdout.text
    assert guest.stdout.text.endswith("all done\n")


@pytest.mark.virtual_time
async def test_the_heap_of_stock_go_keeps_clear_of_the_adapter(testbed: Testbed) -> None:
    done = await testbed.run(guest_path("go-command"), "hold", "100")  # MiB
    assert (done.status, done.stderr.text) == (0, "")


@pytest.mark.anyio
async def test_asyncio_of_python_sleeps_in_many_tasks(testbed: Testbed) -> None:
    wasi = Wasi(network=Network(tcp_bind=["127.0.0.1"], tcp_connect=["127.0.0.1"]))  # it connects to itself
    done = await testbed.run(guest_path("python-command"), "gather", "3", wasi=wasi)
    assert (done.status, done.stdout.text) == (0, "1\n2\n3\n")


@pytest.mark.anyio
async def test_asyncio_of_python_connects_to_a_server(testbed: Testbed) -> None:
    async def serve(connection: anyio.abc.ByteStream) -> None:
        async with connection:
            received = b"".join([piece async for piece in connection])
            await connection.send(received.upper())

    path = guest_path("python-command")
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    grants = {"tcp_bind": ["127.0.0.1"], "tcp_connect": ["127.0.0.1"]}
    async with listener, anyio.create_task_group() as server:
        server.start_soon(listener.serve, serve)
        granted = Wasi(network=Network(lookup=["localhost"], **grants))
        done = await testbed.run(path, "connect", "localhost", str(port), wasi=granted)
        assert (done.status, done.stdout.text) == (0, "HELLO\n")
        no_lookup = Wasi(network=Network(**grants))
        assert (await testbed.run(path, "connect", "localhost", str(port), wasi=no_lookup)).status == 1
        assert (await testbed.run(path, "connect", "127.0.0.1", str(port))).status == 1
        server.cancel_scope.cancel()


@pytest.mark.virtual_time
@pytest.mark.parametrize("command", ["python-cli", "js-cli"])
async def test_a_command_of_wasi_0_3_has_its_streams_and_sleeps(testbed: Testbed, command: str) -> None:
    done = await testbed.run(guest_path(command), "one", "two", stdin=b"some\ntext" * 10_000)
    lines = done.stdout.text.split("\n", 4)
    assert lines[0].endswith(" one two")
    assert lines[1:4] == ["slept 10 ms", "slept 20 ms", "slept 30 ms"]
    assert lines[4] == "SOME\nTEXT" * 10_000
    assert done.status == 0


# On the command line


def command_line(backend: str, *args: str | Path) -> list[str]:
    return [sys.executable, "-m", "p3host", "run", "--backend", backend, *map(str, args)]


@parametrize_backends
@parametrize_commands
def test_a_directory_is_what_the_command_line_grants(command: str, backend: str, tmp_path: Path) -> None:
    copy_on_the_command_line(guest_path(command), backend, tmp_path)


def copy_on_the_command_line(command: Path, backend: str, folder: Path) -> None:
    (folder / "a.txt").write_text("some text")
    line = command_line(backend, "--dir", f"{folder}::/data", command, "copy", "/data/a.txt", "/data/b.txt")
    assert subprocess.run(line, timeout=SECONDS).returncode == 0
    assert (folder / "b.txt").read_text() == "SOME TEXT"


@parametrize_backends
@parametrize_commands
def test_much_goes_through_pipes(command: str, backend: str) -> None:
    line = command_line(backend, guest_path(command), "upper")
    done = subprocess.run(line, input=b"some text\n" * 10_000, capture_output=True, timeout=SECONDS)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"SOME TEXT\n" * 10_000, b"")


@pytest.mark.parametrize("command", BUILT_HERE)
def test_a_command_is_what_its_source_gives_here(command: str, tmp_path: Path) -> None:
    copy_on_the_command_line(or_skip(*build(command, "--output", tmp_path)), "asyncio", tmp_path)


@parametrize_backends
@parametrize_commands
def test_who_reads_the_output_may_go_away(command: str, backend: str) -> None:
    line = command_line(backend, guest_path(command), "lines", "1000000")
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        process.stderr.read()  # what the language says about it
        assert process.wait(SECONDS) in (0, 1, 134)


@parametrize_backends
@parametrize_commands
def test_ctrl_c_ends_a_command(command: str, backend: str) -> None:
    line = command_line(backend, guest_path(command), "upper")
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"some text\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"SOME TEXT\n"  # and it waits for more
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
        assert process.stderr.read() == b""

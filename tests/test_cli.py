"""`p3host run` and `p3host inspect`, as a user meets them."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_guests import BACKENDS, C_FILES, GO_COMMAND, GO_HELLO, GUESTS, WAITING, command

from p3host import Component, cli
from p3host.wasi import Directory, Http, Network, Wasi
from p3host.wasi.http_transport.patterns import origin_of

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process; returns its exit status and what it wrote."""

    def run(*args: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            cli.main([str(arg) for arg in args], prog_name="p3host")
        gc.unfreeze()  # this process goes on
        status = left.value.code or 0
        assert isinstance(status, int)
        return (status, *capfd.readouterr())

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(data: str | bytes) -> Path:
        path = tmp_path / "guest.wasm"
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    return write


@pytest.mark.parametrize("backend", BACKENDS)
def test_goroutines_of_a_command_print_as_they_run(run: Run, backend: str) -> None:
    status, out, err = run("run", "--backend", backend, GO_HELLO, "2")
    assert (status, err) == (0, "")
    words = [line.split(maxsplit=1)[1] for line in out.splitlines()]
    assert words[0] == "2 goroutines are asleep"
    assert words[-1] == "all done"
    assert sorted(words[1:-1]) == [f"goroutine {i}: hello {n} of 3" for i in (1, 2) for n in (1, 2, 3)]
    assert words[1:-1] != sorted(words[1:-1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_follows_the_component_is_the_guests(run: Run, monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    monkeypatch.setenv("PASSED_ON", "yes")
    monkeypatch.delenv("NOWHERE", raising=False)
    options = ["--env", "A=1=2", "--env", "EMPTY=", "--env", "PASSED_ON", "--env", "NOWHERE", "--backend", backend]
    status, out, err = run("run", *options, GO_COMMAND, "1ms", "args", "env")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == 'args: ["1ms" "args" "env"]'
    assert sorted(line for line in lines if line.startswith("env: ")) == [
        "env: A=1=2",
        "env: EMPTY=",
        "env: PASSED_ON=yes",
    ]


def test_a_component_of_any_name_is_run(run: Run, write: Callable[[str], Path]) -> None:
    path = write(command("i32.const 0"))
    strange = path.rename(path.with_name("\udcff.wasm"))
    assert run("run", strange) == (0, "", "")


def test_options_after_the_component_are_the_guests(run: Run) -> None:
    status, _, err = run("run", GO_COMMAND, "--env")
    assert (status, err) == (1, '"--env": give a duration, args, env, stdin or exit=N\n')


@pytest.mark.parametrize("backend", BACKENDS)
def test_exit_status_is_the_guests(run: Run, backend: str) -> None:
    assert run("run", "--backend", backend, GO_COMMAND, "1ms", "exit=7")[0] == 1


@pytest.mark.parametrize(("code", "expected"), [("i32.const 0", 0), ("i32.const 1", 1)])
@pytest.mark.parametrize("version", ["0.3.0", "0.3.0-rc-2026-03-15", "0.2.0", "0.2.6"])
def test_result_of_run_is_the_exit_status(
    run: Run, write: Callable[[str], Path], code: str, expected: int, version: str
) -> None:
    assert run("run", write(command(code, version))) == (expected, "", "")


def test_status_given_to_exit_is_the_exit_status(run: Run, write: Callable[[str], Path]) -> None:
    text = command(
        "(call $exit (i32.const 42)) unreachable",
        imports="""(import "wasi:cli/exit@0.3.0" (instance $exits
            (export "exit-with-code" (func (param "status-code" u8)))))
          (core func $exit (canon lower (func $exits "exit-with-code")))
          (core instance $given (export "exit" (func $exit)))""",
        core='(import "" "exit" (func $exit (param i32)))',
    )
    assert run("run", write(text)) == (42, "", "")


def test_newer_run_is_preferred(run: Run, write: Callable[[str], Path]) -> None:
    old = command("i32.const 1", "0.2.0").replace("$run", "$old").replace("$interface", "$older")
    new = command("i32.const 0")
    both = (
        f"(component (component $Old {old[len('(component') :]} (component $New {new[len('(component') :]}"
        + """
      (instance $old (instantiate $Old)) (instance $new (instantiate $New))
      (export "wasi:cli/run@0.2.0" (instance $old "wasi:cli/run@0.2.0"))
      (export "wasi:cli/run@0.3.0" (instance $new "wasi:cli/run@0.3.0")))"""
    )
    assert run("run", write(both)) == (0, "", "")


def test_stdin_is_the_terminals(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "p3host", "run", GO_COMMAND, "stdin", "1ms"]
    done = subprocess.run(run, input=b"one\ntwo\n", capture_output=True, timeout=30)
    assert done.returncode == 0
    assert done.stdout.startswith(b"one\ntwo\nstart\n")


@pytest.mark.parametrize("backend", BACKENDS)
def test_trap_prints_its_backtrace(run: Run, write: Callable[[str], Path], backend: str) -> None:
    status, out, err = run("run", "--backend", backend, write(command("unreachable")))
    assert (status, out) == (134, "")
    assert "guest.wasm trapped: " in err
    assert "unreachable" in err
    assert err.splitlines()[1].strip().startswith("0: ")
    assert "Traceback" not in err


@pytest.mark.parametrize("backend", BACKENDS)
def test_deadlock_is_reported(run: Run, write: Callable[[str], Path], backend: str) -> None:
    status, _, err = run("run", "--backend", backend, write(WAITING))
    assert status == 134
    assert "thread waits for a waitable set" in err


@pytest.mark.parametrize("backend", BACKENDS)
def test_sigusr1_after_the_end_is_ignored(run: Run, backend: str) -> None:
    assert run("run", "--backend", backend, C_FILES)[0] == 0
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_inspect_tells_that_it_can_not_write() -> None:
    with open("/dev/full", "w") as full:
        inspect = [sys.executable, "-m", "p3host", "inspect", str(GUESTS / "text" / "hello.wat")]
        done = subprocess.run(inspect, stdout=full, stderr=subprocess.PIPE, timeout=30)
    assert (done.returncode, done.stderr) == (2, b"p3host: can't write: No space left on device\n")


def granted(*args: str) -> list[Directory]:
    directories: list[Directory] = cli.run.make_context("run", [*args, "guest.wasm"]).params["directories"]
    return directories


def test_directories_can_be_written_to_unless_they_are_read_only(tmp_path: Path) -> None:
    host = str(tmp_path)
    assert granted("--dir", f"{host}::/data") == [Directory(host, "/data", writable=True)]
    assert granted("--dir", f"{host}::/data::ro") == [Directory(host, "/data")]
    assert granted("--dir", host) == [Directory(host, host, writable=True)]


def network(*args: str) -> Network:
    parameters = cli.run.make_context("run", [*args, "guest.wasm"]).params
    granted: Network = cli.network_of(parameters["net"], parameters["listen"], parameters["lookup"])
    return granted


def test_network_is_granted_by_protocol_or_for_both() -> None:
    assert network() == Network()
    options = ["--net", "10.0.0.0/8:80", "--net", "udp:[::1]", "--listen", "tcp:localhost:8000-8009", "--listen", "*"]
    assert network(*options, "--lookup", "*.example.com", "--lookup", "localhost") == Network(
        tcp_connect=["10.0.0.0/8:80"],
        udp_send=["10.0.0.0/8:80", "[::1]"],
        tcp_bind=["localhost:8000-8009", "*"],
        udp_bind=["*"],
        lookup=["*.example.com", "localhost"],
    )


@pytest.mark.parametrize(
    ("options", "reached"),
    [
        ([], []),
        (["--http", "https://a.test"], ["https://a.test"]),
        (["--http", "https://a.test", "--http", "http://localhost:*"], ["https://a.test", "http://localhost:8080"]),
        (["--http", "*"], ["https://a.test", "http://localhost:8080", "http://b.test"]),
    ],
)
def test_http_is_granted_by_pattern(
    run: Run, monkeypatch: pytest.MonkeyPatch, options: list[str], reached: list[str]
) -> None:
    grants: list[Wasi] = []

    async def run_command(component: Component, wasi: Wasi, *rest: object) -> int:
        grants.append(wasi)
        return 0

    monkeypatch.setattr(cli, "run_command", run_command)
    assert run("run", *options, GO_HELLO) == (0, "", "")
    http = grants[0].http
    assert isinstance(http, Http) or not options
    patterns = http.patterns if isinstance(http, Http) else ()
    for url in ("https://a.test", "http://localhost:8080", "http://b.test"):
        origin = origin_of(*url.split("://"))
        assert origin is not None
        assert any(pattern.matches(origin) for pattern in patterns) is (url in reached)


@pytest.mark.parametrize(
    ("options", "variable", "hours"),
    [
        ([], "Asia/Tokyo", 0),
        (["--time-zone", "Asia/Tokyo"], None, 9),
        (["--time-zone", "local"], "Asia/Karachi", 5),
    ],
)
def test_time_zone_is_none_but_the_one_that_is_named(
    run: Run,
    write: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    variable: str | None,
    hours: int,
) -> None:
    monkeypatch.setenv("TZ", variable) if variable else monkeypatch.delenv("TZ", raising=False)
    text = command(
        "(call $exit (i32.div_s (call $offset (i64.const 1700000000) (i32.const 0)) (i32.const 3600))) unreachable",
        imports="""(import "wasi:clocks/wall-clock@0.2.1" (instance $clock
            (type $record (record (field "seconds" u64) (field "nanoseconds" u32)))
            (export "datetime" (type (eq $record)))))
          (alias export $clock "datetime" (type $datetime))
          (import "wasi:clocks/timezone@0.2.1" (instance $zone
            (alias outer 1 $datetime (type $outer)) (export "datetime" (type $datetime (eq $outer)))
            (export "utc-offset" (func (param "when" $datetime) (result s32)))))
          (import "wasi:cli/exit@0.2.1" (instance $exits (export "exit-with-code" (func (param "status-code" u8)))))
          (core func $offset (canon lower (func $zone "utc-offset")))
          (core func $exit (canon lower (func $exits "exit-with-code")))
          (core instance $given (export "offset" (func $offset)) (export "exit" (func $exit)))""",
        core="""(import "" "offset" (func $offset (param i64 i32) (result i32)))
          (import "" "exit" (func $exit (param i32)))""",
    )
    assert run("run", *options, write(text)) == (hours, "", "")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["run"], "Missing argument 'COMPONENT'"),
        (["run", "--nonsense", "x.wasm"], "No such option"),
        (["run", "--backend", "curio", "x.wasm"], "'curio' is not one of"),
        (["run", "--env", "=x", "x.wasm"], "give NAME=VALUE"),
        (["run", "--env", "A=\udcff", "x.wasm"], "not UTF-8"),
        (["run", "x.wasm", "\udcff"], "not UTF-8"),
        (["run", "--dir", "::/", "x.wasm"], "give HOST::GUEST"),
        (["run", "--dir", ".::/::rw", "x.wasm"], "give HOST::GUEST"),
        (["run", "--dir", "nowhere::/", "x.wasm"], "create it first"),
        (
            ["run", "--net", "example.com:80", "x.wasm"],
            "'example.com:80' is no HOST[:PORTS]: hosts are given by address",
        ),
        (["run", "--net", "udp:", "x.wasm"], "the host is missing"),
        (["run", "--listen", "::1", "x.wasm"], "in brackets"),
        (["run", "--lookup", "a b", "x.wasm"], "'a b' is no host name"),
        (["run", "--http", "ftp://x.test", "x.wasm"], "'ftp://x.test' is no [SCHEME://]HOST[:PORT]"),
        (["run", "--http", "https://x.test/v1", "x.wasm"], "and no path"),
        (["run", "--time-zone", "Atlantis", "x.wasm"], "no time zone is known as 'Atlantis'"),
        (["walk"], "No such command"),
        (["run", "nowhere.wasm"], "can't read nowhere.wasm: No such file or directory"),
        (["inspect", "nowhere.wasm"], "can't read nowhere.wasm: No such file or directory"),
        (["run", str(GUESTS)], "Is a directory"),
        (["run", str(GUESTS / "c1" / "c1.wasm")], "exports no wasi:cli/run of WASI 0.3 or 0.2, but p3host:c1/guest"),
    ],
)
def test_users_mistake_is_told_and_exits_with_2(run: Run, args: list[str], message: str) -> None:
    status, out, err = run(*args)
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize("subcommand", ["run", "inspect"])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no valid component"),
        (b"\0asm\1\0\0\0", "found a core module"),
        ((GUESTS / "c1" / "c1.wasm").read_bytes()[:5000], "(at offset "),
        (b"(component (nonsense))", "is no valid component"),
        (b"(component \xff)", "must be UTF-8"),
    ],
    ids=["empty", "core module", "truncated", "malformed text", "text that is not UTF-8"],
)
def test_file_that_is_no_component_exits_with_2(
    run: Run, write: Callable[[bytes], Path], subcommand: str, data: bytes, message: str
) -> None:
    status, out, err = run(subcommand, write(data))
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_missing_imports_are_listed(run: Run, write: Callable[[str], Path]) -> None:
    text = command("i32.const 0").replace(
        "(component", '(component (import "one" (func)) (import "local:a/two@1.0.0" (instance (export "f" (func))))', 1
    )
    status, _, err = run("run", write(text))
    assert status == 2
    assert "one: missing" in err
    assert "local:a/two@1.0.0#f: missing" in err


def test_run_with_parameters_is_no_command(run: Run, write: Callable[[str], Path]) -> None:
    text = """(component
      (core module $Main (func (export "run") (param i32)))
      (core instance $main (instantiate $Main))
      (func $run (param "x" u32) (canon lift (core func $main "run")))
      (instance $interface (export "run" (func $run)))
      (export "wasi:cli/run@0.3.0" (instance $interface)))"""
    status, _, err = run("run", write(text))
    assert status == 2
    assert "no function run() as commands have" in err


def test_inspect_prints_wit_and_the_use_of_the_abi(run: Run) -> None:
    status, out, err = run("inspect", GUESTS / "text" / "hello.wat")
    assert (status, err) == (0, "")
    assert "export wasi:cli/run@0.3.0;" in out
    assert "run: async func() -> result;" in out
    assert out.endswith(
        """
// core modules: 2, 794 bytes
// lifts: 0 sync, 1 async with callback, 0 async stackful
// lowers: 1 sync, 0 async
// built-ins: future.drop-readable (1), future.read (1), stream.drop-writable (1), stream.new (1), stream.write (1), \
task.return (1), waitable-set.drop (1), waitable-set.new (1), waitable.join (1)
"""
    )


def test_inspect_counts_within_nested_components(run: Run, write: Callable[[str], Path]) -> None:
    status, out, _ = run("inspect", write(f"(component {WAITING})"))
    assert status == 0
    assert "// lifts: 1 sync, 0 async with callback, 0 async stackful" in out
    assert "// built-ins: waitable-set.new (1), waitable-set.wait (1)" in out


def test_version(run: Run) -> None:
    status, out, _ = run("--version")
    assert status == 0
    assert out.startswith("p3host, version 0.")

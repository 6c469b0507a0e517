"""The testbed: what an instance in a test gets, what it doesn't get, and what is seen of it."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from guest_text import BEHAVIOURS, component_text, sync_export

from p3host import Component, Deadlock, DecodeError, LinkError, MachineLimits, Trap, Wasi
from p3host.testing import Completed, Guest, LeakError, ManualClock, Testbed, double, from_seed
from p3host.wasi import Directory, Stdio

pytestmark = pytest.mark.virtual_time

GUESTS = Path(__file__).parents[2] / "guests"
C_FILES = GUESTS / "c-files/c-files.wasm"
RUN = "wasi:cli/run@0.3"

EMPTY = "(component)"
COMMAND = """(component
  (core module $Main (func (export "run") (result i32) (i32.const {})))
  (core instance $main (instantiate $Main))
  (func $run async (result (result)) (canon lift (core func $main "run")))
  (instance $interface (export "run" (func $run)))
  (export "wasi:cli/run@{}" (instance $interface)))"""


async def run_in(guest: Guest) -> None:
    await guest.exports[RUN].run()


# Loading


def test_a_file_is_loaded_once(testbed: Testbed) -> None:
    assert testbed.load(C_FILES) is testbed.load(str(C_FILES))


def test_a_file_that_has_changed_is_loaded_again(tmp_path: Path) -> None:
    testbed, path = Testbed(tmp_path), tmp_path / "guest.wat"
    path.write_text(EMPTY)
    first = testbed.load("guest.wat")
    path.write_text(COMMAND.format(0, "0.3.0"))
    second = testbed.load("guest.wat")
    assert list(first.type.exports) == []
    assert list(second.type.exports) == ["wasi:cli/run@0.3.0"]
    os.utime(path, (1, 1))
    assert testbed.load("guest.wat") is not second


def test_paths_are_taken_from_the_base(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/guest.wat").write_text(EMPTY)
    testbed = Testbed(tmp_path)
    loaded = testbed.load("sub/guest.wat")
    assert loaded.name == "guest"
    assert testbed.load(Path("sub/guest.wat")) is loaded
    assert testbed.load(tmp_path / "sub/guest.wat") is loaded


def test_the_fixture_takes_paths_from_the_root_of_the_tests(testbed: Testbed, request: pytest.FixtureRequest) -> None:
    assert testbed.load("guests/c-files/c-files.wasm") is testbed.load(C_FILES)
    assert testbed.base == request.config.rootpath


@pytest.mark.parametrize("text", [EMPTY, "\n  (component)", ";; a comment\n(component)", "(; another ;) (component)"])
def test_text_is_loaded_once(text: str) -> None:
    testbed = Testbed()
    assert testbed.load(text) is testbed.load(text)
    assert testbed.load(text) is not testbed.load(f"{text} ")


def test_bytes_are_loaded_once_and_components_are_what_they_are() -> None:
    testbed, data = Testbed(), C_FILES.read_bytes()
    loaded = testbed.load(data)
    assert testbed.load(bytes(bytearray(data))) is loaded
    assert testbed.load(loaded) is loaded
    other = Component.load(EMPTY)
    assert testbed.load(other) is other


@pytest.mark.parametrize(
    ("source", "kind"),
    [("nowhere.wasm", FileNotFoundError), ("(component (nonsense))", DecodeError), (b"\0asm", DecodeError)],
)
def test_what_can_not_be_loaded_is_told_each_time(source: str | bytes, kind: type[Exception]) -> None:
    testbed = Testbed()
    for _ in range(2):
        with pytest.raises(kind):
            testbed.load(source)


# What an instance gets


async def test_arguments_follow_the_programs_name(testbed: Testbed) -> None:
    done = await testbed.run(GUESTS / "go-command/go-command.wasm", "1ms", "args", "ü")
    assert done.stdout.lines[0] == 'args: ["1ms" "args" "ü"]'
    async with testbed.instantiate(C_FILES, args=["any name", "env", "A"], env={"A": "B"}) as guest:
        await run_in(guest)
    assert guest.stdout.text == "B\n"


async def test_environment_variables(testbed: Testbed) -> None:
    env = {"A": "1=2", "EMPTY": "", "Ü": "grüße"}
    assert (await testbed.run(C_FILES, "env", "A", "env", "EMPTY", "env", "Ü", env=env)).stdout.lines == [*env.values()]


@pytest.mark.parametrize("stdin", [b"", b"some text", b"x" * 100_000])
async def test_stdin_is_bytes(testbed: Testbed, stdin: bytes) -> None:
    assert (await testbed.run(C_FILES, "cat", stdin=stdin)).stdout.bytes == stdin


async def test_stdin_is_a_stream_that_the_test_writes_to(testbed: Testbed) -> None:
    send, receive = anyio.create_memory_object_stream[bytes](0)
    async with (
        testbed.instantiate(C_FILES, args=["c-files", "cat"], stdin=receive) as guest,
        anyio.create_task_group() as calls,
        send,
    ):
        calls.start_soon(run_in, guest)
        for word in ("one", "two"):
            await send.send(f"{word}\n".encode())
            await guest.stdout.wait_for(word)
            assert guest.stdout.lines[-1] == word
        send.close()
    assert guest.stdout.text == "one\ntwo\n"
    receive.close()


async def test_stdout_and_stderr_are_told_apart(testbed: Testbed) -> None:
    done = await testbed.run(C_FILES, "env", "A", "env", "B", env={"A": "there"})
    assert (done.status, done.stdout.text, done.stderr.text) == (1, "there\n", "c-files: B: not set\n")


async def test_time_begins_at_new_year_and_goes_on_with_the_loop(testbed: Testbed) -> None:
    done = await testbed.run(C_FILES, "now", "sleep", "90061500", "now")
    begun, mark, ended, later = map(float, done.stdout.lines)
    assert begun == datetime(2000, 1, 1, tzinfo=UTC).timestamp()
    assert (ended - begun, later - mark) == pytest.approx((90061.5, 90061.5), abs=1e-3)


async def test_time_begins_when_the_test_says(testbed: Testbed) -> None:
    now = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)
    await anyio.sleep(1000)
    done = await testbed.run(C_FILES, "now", now=now)
    assert float(done.stdout.lines[0]) == now.timestamp()


async def test_a_moment_without_a_time_zone_is_refused(testbed: Testbed) -> None:
    with pytest.raises(ValueError, match="time zone"):
        await testbed.run(C_FILES, now=datetime(2026, 11, 25))


async def test_a_manual_clock_goes_on_when_the_test_says(testbed: Testbed) -> None:
    clock = ManualClock(datetime(1970, 1, 1, 0, 1, tzinfo=UTC))
    args = ["c-files", "now", "sleep", "5000", "now"]
    async with testbed.instantiate(C_FILES, args=args, clock=clock) as guest, anyio.create_task_group() as calls:
        calls.start_soon(run_in, guest)
        await anyio.sleep(3600)
        assert guest.stdout.lines == ["60.000000000"] * 2
        clock.advance(4.5)
        await anyio.sleep(3600)
        assert guest.stdout.lines == ["60.000000000"] * 2
        clock.advance(1)
    assert guest.stdout.lines[2:] == ["65.500000000"] * 2


async def test_a_guest_that_sleeps_by_a_clock_that_stands_still_is_a_deadlock(testbed: Testbed) -> None:
    with pytest.raises(Deadlock, match="wait-for"):
        await testbed.run(C_FILES, "sleep", "1000", clock=ManualClock())


async def test_a_seed_gives_the_same_random_numbers(testbed: Testbed) -> None:
    async def numbers(**options: Any) -> str:
        return (await testbed.run(C_FILES, "random", "32", **options)).stdout.text

    assert len(await numbers()) == 65
    assert await numbers() == await numbers(seed=0)
    assert await numbers(seed=1) == await numbers(seed=1)
    assert len({await numbers(seed=seed) for seed in range(5)}) == 5


async def test_nothing_is_of_the_machine(testbed: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_MACHINE", "1")
    commands = ["cat", "random", "32", "now", "env", "OF_THE_MACHINE"]
    runs = [await testbed.run(C_FILES, *commands) for _ in range(2)]
    assert runs[0].stdout.text == runs[1].stdout.text
    assert runs[0].stdout.lines[1] == "946684800.000000000"
    assert runs[0].stderr.text == "c-files: OF_THE_MACHINE: not set\n"
    go = await testbed.run(GUESTS / "go-command/go-command.wasm", "1ms", "args", "env", "stdin")
    assert [line for line in go.stdout.lines if line.startswith("env")] == []


@pytest.mark.anyio
async def test_in_real_time_the_time_of_day_is_still_the_tests_own(testbed: Testbed) -> None:
    done = await testbed.run(C_FILES, "now", "sleep", "10", "now")
    begun, mark, ended, later = map(float, done.stdout.lines)
    assert begun == pytest.approx(datetime(2000, 1, 1, tzinfo=UTC).timestamp(), abs=300)
    assert ended - begun >= 0.0099  # as a float can tell
    assert later - mark >= 0.0099


# What else it is granted


async def test_directories_of_wasi_are_kept_beside_files(testbed: Testbed, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("of the host")
    wasi = Wasi(directories=[Directory(tmp_path, "/host")])
    done = await testbed.run(C_FILES, "copy", "/host/a", "/data/b", wasi=wasi, files={"/data": {}})
    assert dict(done.files) == {"/data/b": b"OF THE HOST"}
    denied = await testbed.run(C_FILES, "remove", "/host/a", wasi=wasi)
    assert denied.stderr.text == "c-files: /host/a: read-only\n"


class FixedTime:
    resolution = 1

    def now(self) -> int:
        return 5 * 10**9

    async def sleep_until(self, when: int) -> None:
        pass


class Sevens:
    def randbytes(self, n: int) -> bytes:
        return b"\7" * n

    def getrandbits(self, k: int) -> int:
        return 7


async def test_clocks_and_random_numbers_of_wasi_come_first(testbed: Testbed) -> None:
    wasi = Wasi(monotonic_clock=FixedTime(), system_clock=FixedTime(), random=Sevens())
    done = await testbed.run(C_FILES, "now", "sleep", "1000", "now", "random", "2", wasi=wasi, seed=3)
    assert done.stdout.lines == ["5.000000000"] * 4 + ["0707"]


async def test_a_manual_clock_comes_before_those_of_wasi(testbed: Testbed) -> None:
    clock = ManualClock(datetime(1970, 1, 1, tzinfo=UTC))
    wasi = Wasi(monotonic_clock=FixedTime(), system_clock=FixedTime())
    assert (await testbed.run(C_FILES, "now", wasi=wasi, clock=clock)).stdout.lines == ["0.000000000"] * 2


@pytest.mark.parametrize(
    ("name", "grant"),
    [("args", ["a"]), ("env", {"A": "1"}), ("stdin", b"x"), ("stdout", Stdio.PROCESS), ("stderr", Stdio.PROCESS)],
)
async def test_what_the_testbed_gives_itself_is_refused_in_wasi(testbed: Testbed, name: str, grant: Any) -> None:
    with pytest.raises(TypeError, match=f"wasi={name}: a testbed's instances get it by an argument of its own"):
        await testbed.run(C_FILES, wasi=Wasi(**{name: grant}))


async def test_limits_are_the_instances(testbed: Testbed) -> None:
    grow = {"imports": {"wait": double(0)}, "allow_leaks": True}
    async with testbed.instantiate(BEHAVIOURS, **grow) as guest:
        assert await guest.exports.grow(10) == 4
    async with testbed.instantiate(BEHAVIOURS, **grow, limits=MachineLimits(memory_bytes=13 << 16)) as guest:
        assert await guest.exports.grow(9) == 4
        assert await guest.exports.grow(1) == -1


async def test_the_grace_period_is_the_instances(testbed: Testbed) -> None:
    async def deaf(ms: int) -> int:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(1000)
        return 0

    started = anyio.current_time()
    async with testbed.instantiate(BEHAVIOURS, {"wait": deaf}, grace_seconds=7.0, allow_leaks=True) as guest:
        with anyio.move_on_after(1.0):
            await guest.exports["nap-deaf"](1)
        assert anyio.current_time() - started == pytest.approx(8.0)


async def test_missing_imports_are_told_at_once(testbed: Testbed) -> None:
    with pytest.raises(LinkError) as caught:
        async with testbed.instantiate('(component (import "one" (func)) (import "two" (func)))'):
            pass
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["one", "two"]


# Commands


@pytest.mark.parametrize("version", ["0.2.0", "0.2.6", "0.3.0", "0.3.0-rc-2026-03-15"])
@pytest.mark.parametrize("status", [0, 1])
async def test_the_status_is_what_run_returns(testbed: Testbed, version: str, status: int) -> None:
    text = COMMAND.format(status, version).replace("async", "" if version.startswith("0.2") else "async")
    assert (await testbed.run(text)).status == status


@pytest.mark.parametrize("status", [0, 1, 3, 255])
async def test_the_status_is_what_the_guest_exits_with(testbed: Testbed, status: int) -> None:
    done = await testbed.run(C_FILES, "env", "A", "exit", str(status), "trap", env={"A": "written before"})
    assert (done.status, done.stdout.text) == (status, "written before\n")


async def test_a_trap_is_raised_with_what_the_command_has_written(testbed: Testbed) -> None:
    with pytest.raises(Trap, match="unreachable") as caught:
        await testbed.run(C_FILES, "env", "A", "trap", env={"A": "before"})
    assert caught.value.__notes__ == ["It has written 'before\\n' to stdout, '' to stderr"]


async def test_a_command_that_can_never_end_is_a_deadlock(testbed: Testbed) -> None:
    with pytest.raises(Deadlock, match=r"(?s)no task can ever go on.*'run'.*waits for a waitable set") as caught:
        await testbed.run(C_FILES, "env", "A", "hang", env={"A": "before"})
    assert "before" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("source", "exports"),
    [(EMPTY, "nothing"), (BEHAVIOURS, "nap, nap-anyway"), (COMMAND.format(0, "0.4.0"), "wasi:cli/run@0.4.0")],
)
async def test_what_is_no_command_is_refused(testbed: Testbed, source: str, exports: str) -> None:
    expected = rf"it is no command: it exports no wasi:cli/run of WASI 0\.3 or 0\.2, but {exports}"
    with pytest.raises(LinkError, match=expected):
        await testbed.run(source)


async def test_a_command_runs_until_its_time_out(testbed: Testbed) -> None:
    with anyio.move_on_after(60.0) as scope:
        await testbed.run(C_FILES, "sleep", "3600000")
    assert scope.cancelled_caught


# What is left


async def leave_open(testbed: Testbed, how: str, **options: Any) -> Completed | None:
    """Runs a command that leaves its directory open, as C's library does."""
    files = {"/data": {"a": "1"}}
    if how == "run":
        return await testbed.run(C_FILES, "list", "/data", files=files, **options)
    async with testbed.instantiate(C_FILES, args=["c-files", "list", "/data"], files=files, **options) as guest:
        await run_in(guest)
    return None


async def test_what_a_command_leaves_is_not_looked_at(testbed: Testbed) -> None:
    done = await leave_open(testbed, "run")
    assert done is not None
    assert done.stdout.lines == ["a"]


@pytest.mark.parametrize(("how", "options"), [("instantiate", {}), ("run", {"allow_leaks": ()})])
async def test_what_a_command_leaves_is_told_if_it_is_looked_at(
    testbed: Testbed, how: str, options: dict[str, Any]
) -> None:
    with pytest.raises(LeakError) as caught:
        await leave_open(testbed, how, **options)
    assert [leak.name for leak in caught.value.leaks] == ["own<descriptor>"]
    assert "made in the task of 'run'" in str(caught.value)


@pytest.mark.parametrize("how", ["instantiate", "run"])
@pytest.mark.parametrize("allowed", [{"own<descriptor>"}, {"own"}, True])
async def test_what_a_command_leaves_may_be_left_if_it_is_allowed(testbed: Testbed, how: str, allowed: Any) -> None:
    await leave_open(testbed, how, allow_leaks=allowed)


async def test_a_command_that_exits_leaves_nothing(testbed: Testbed) -> None:
    done = await testbed.run(C_FILES, "list", "/data", "exit", "0", files={"/data": {}}, allow_leaks=())
    assert done.status == 0


# Deadlocks


WAITS_WHEN_IT_STARTS = """(component
  (import "wait" (func $wait))
  (core func $wait (canon lower (func $wait)))
  (core module $Main (import "" "wait" (func $wait)) (start $wait))
  (core instance (instantiate $Main (with "" (instance (export "wait" (func $wait)))))))"""


async def forever() -> None:
    await anyio.sleep_forever()


async def test_an_instance_that_can_never_start_is_a_deadlock(testbed: Testbed) -> None:
    with pytest.raises(Deadlock, match="no task can ever go on"):
        async with testbed.instantiate(WAITS_WHEN_IT_STARTS, {"wait": forever}):
            pass


@pytest.mark.parametrize("depth", [1, 3])
async def test_all_calls_of_all_instances_end_when_none_can_go_on(testbed: Testbed, depth: int) -> None:
    ended = []

    async def call(function: Callable[[], Awaitable[Any]]) -> None:
        with pytest.raises(Deadlock):
            await function()
        ended.append(1)

    async with (
        testbed.instantiate(BEHAVIOURS, {"wait": double(0)}) as one,
        testbed.instantiate(BEHAVIOURS, {"wait": double(0)}) as two,
        anyio.create_task_group() as calls,
    ):
        for guest in (one, two):
            for _ in range(depth):
                calls.start_soon(call, guest.exports.forever)
    assert len(ended) == 2 * depth


async def test_calls_end_only_when_nothing_else_can_go_on(testbed: Testbed) -> None:
    log = []
    async with testbed.instantiate(BEHAVIOURS, {"wait": double(0)}) as guest, anyio.create_task_group() as calls:

        async def call() -> None:
            with pytest.raises(Deadlock):
                await guest.exports.forever()
            log.append("deadlock")

        calls.start_soon(call)
        await anyio.sleep(86400)
        log.append("slept")
    assert log == ["slept", "deadlock"]


# Schedules


async def test_a_schedule_decides_and_explains_what_fails(testbed: Testbed) -> None:
    schedule = from_seed(1, tracing=True)

    async def fail() -> None:
        async with testbed.instantiate(C_FILES, args=["c-files", "cat"], stdin=b"text", schedule=schedule) as guest:
            await run_in(guest)
            assert guest.stdout.text == "text"
            raise LookupError("wrong")

    with pytest.raises(LookupError) as caught:
        await fail()
    (note,) = caught.value.__notes__
    assert note.startswith("The schedule '")
    assert "call 1 of 'run' begins" in note
    assert schedule.turns > 0


async def test_how_fast_a_disk_is_changes_no_schedule(testbed: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    async def turns() -> int:
        schedule = from_seed(1)
        async with testbed.instantiate(
            GUESTS / "c-throughput-p2/c-throughput-p2.wasm",
            args=["c-throughput-p2", "write", "out", "10000", "1000"],
            files={"/data": {}},
            schedule=schedule,
            allow_leaks={"own<descriptor>", "own<network>", "own<output-stream>"},
        ) as guest:
            await guest.exports["wasi:cli/run@0.2"].run()
            assert guest.files["/data/out"] == bytes(10000)
        return schedule.turns

    def slow_pwrite(*arguments: Any) -> int:
        time.sleep(0.003)
        return pwrite(*arguments)

    fast, pwrite = await turns(), os.pwrite
    monkeypatch.setattr(os, "pwrite", slow_pwrite)
    assert await turns() == fast


@pytest.mark.parametrize("seed", range(1, 6))
async def test_files_and_sleeps_are_the_same_under_any_schedule(testbed: Testbed, seed: int) -> None:
    done = await testbed.run(
        C_FILES, "copy", "/data/a", "/data/b", "sleep", "50", "list", "/data", "cat",
        files={"/data": {"a": "x" * 10_000}}, stdin=b"stdin", schedule=from_seed(seed),
    )  # fmt: skip
    assert done.files["/data/b"] == b"X" * 10_000
    assert sorted(done.stdout.lines) == ["a", "b", "stdin"]


# What can be seen of it


async def test_a_guest_shows_its_exports_instance_and_tasks(testbed: Testbed) -> None:
    async with testbed.instantiate(BEHAVIOURS, {"wait": double(1, after=1.0)}) as guest:
        assert guest.exports is guest.instance.exports
        assert guest.tasks() == ()
        async with anyio.create_task_group() as calls:
            calls.start_soon(guest.exports.nap, 1)
            await anyio.sleep(0.5)
            assert str(guest.tasks()).startswith("task 'nap' (started), for 0.500 s")


async def test_each_instance_has_its_own(testbed: Testbed) -> None:
    text = component_text(
        code='(global $n (mut i32) (i32.const 0)) (func (export "next") (result i32)'
        "  (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n))",
        exports=sync_export("next", "", "u32"),
    )
    async with testbed.instantiate(text) as one, testbed.instantiate(text) as two:
        assert [await one.exports.next(), await one.exports.next(), await two.exports.next()] == [1, 2, 1]

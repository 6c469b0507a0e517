from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from engine_guests import BLOCK, BLOCKER, compile_text, core_type, finish, func, instantiate, suspend

from p3host.engine import CoreInstance, Engine, EngineConfig, HostFunc, Machine
from p3host.errors import Trap
from p3host.runtime.thread import SUSPEND, Status

SLICE = 0.010


@contextmanager
def busy_thread() -> Iterator[list[int]]:
    """A Python thread that never waits, and counts."""
    counter = [0]
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            counter[0] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield counter
    finally:
        stop.set()
        thread.join()


def test_a_spinning_guest_is_preempted_again_and_again(blocker: CoreInstance) -> None:
    fiber = func(blocker, "spin").fiber()
    started = time.thread_time()
    assert [fiber.step() for _ in range(5)] == [Status.PREEMPTED] * 5
    assert time.thread_time() - started < 1.0
    fiber.close()


def test_a_slice_is_used_before_a_fiber_is_preempted(blocker: CoreInstance) -> None:
    spin, add = func(blocker, "spin").fiber(), func(blocker, "add")
    spin.step()
    for _ in range(5):
        time.sleep(SLICE)  # deadlines are long past
        assert add.fiber((1, 2)).step() is Status.DONE
        started = time.monotonic()
        assert spin.step() is Status.PREEMPTED
        assert time.monotonic() - started > SLICE * 0.3
    spin.close()


def test_blocked_is_told_from_preempted(machine: Machine) -> None:
    text = """(module (import "host" "block" (func $block (param i32) (result i32)))
      (func $spin (param i32) (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
      (func (export "go") (param $times i32) (result i32)
        (call $spin (local.get $times)) (call $block (i32.const 1)) (call $spin (local.get $times))))"""
    fiber = func(instantiate(machine, text, [BLOCK]), "go").fiber((200_000_000,))
    seen = []
    while (status := fiber.step()) is not Status.DONE:
        if status is Status.SUSPENDED:
            fiber.answer(5)
        if not seen or seen[-1] is not status:
            seen.append(status)
    assert seen == [Status.PREEMPTED, Status.SUSPENDED, Status.PREEMPTED]
    assert fiber.result == 5


def test_calls_that_may_not_block_are_not_preempted(blocker: CoreInstance) -> None:
    assert func(blocker, "count").call(100_000_000) == 100_000_000


def test_calls_that_may_not_block_have_a_budget() -> None:
    engine = Engine(EngineConfig(entry_budget_seconds=0.05))
    machine = Machine(engine, state=None)
    instance = instantiate(machine, compile_text(BLOCKER, engine), [BLOCK])
    with pytest.raises(Trap, match="processor time"):
        func(instance, "spin").call()
    assert func(instance, "add").call(1, 2) == 3
    machine.close()


NESTED = """(module (import "host" "f" (func $f (param i32) (result i32)))
  (func (export "once") (param i32) (result i32) (call $f (local.get 0)))
  (func (export "forever") (param i32) (loop $l (drop (call $f (local.get 0))) (br $l))))"""


def test_a_nested_call_longer_than_a_tick_returns_its_result(machine: Machine, blocker: CoreInstance) -> None:
    count = func(blocker, "count")
    host = HostFunc(core_type("i32", "i32"), lambda state, times: count.call(times))
    assert finish(func(instantiate(machine, NESTED, [host]), "once").fiber((50_000_000,))) == 50_000_000


@pytest.mark.parametrize("times", [1, 3_000_000])
def test_nested_calls_do_not_keep_their_caller_from_being_preempted(
    machine: Machine, blocker: CoreInstance, times: int
) -> None:
    count = func(blocker, "count")
    host = HostFunc(core_type("i32", "i32"), lambda state, times: count.call(times) and 0)
    fiber = func(instantiate(machine, NESTED, [host]), "forever").fiber((times,))
    assert [fiber.step() for _ in range(3)] == [Status.PREEMPTED] * 3
    fiber.close()


def test_fibers_suspended_inside_a_call_do_not_keep_it_from_being_preempted(
    machine: Machine, blocker: CoreInstance
) -> None:
    deep = func(blocker, "deep")

    def start(state: list[Any], key: int) -> int:
        fiber = deep.fiber((key, 1))
        suspend(fiber)
        fiber.close()
        return 0

    fiber = func(instantiate(machine, NESTED, [HostFunc(core_type("i32", "i32"), start)]), "forever").fiber((1,))
    assert [fiber.step() for _ in range(3)] == [Status.PREEMPTED] * 3
    fiber.close()


def test_a_call_that_starts_many_suspended_fibers_is_not_preempted_for_it(
    machine: Machine, blocker: CoreInstance
) -> None:
    deep = func(blocker, "deep")

    def start(state: list[Any], key: int) -> int:
        fiber = deep.fiber((key, 1))
        assert fiber.step() is Status.SUSPENDED
        state.append(fiber)
        return 0

    once = func(instantiate(machine, NESTED, [HostFunc(core_type("i32", "i32"), start)]), "once")
    results = [once.fiber((key,)).step() for key in range(200)]
    assert results.count(Status.DONE) >= 195  # a tick may fall in any of them


def test_two_guests_and_the_loop_share_the_processor(machine: Machine, blocker: CoreInstance) -> None:
    other = Machine(machine.engine, state=[])
    counts = [func(one, "count").fiber((100_000_000,)) for one in (blocker, instantiate(other, BLOCKER, [BLOCK]))]
    turns = []
    while any(fiber.result is None for fiber in counts):
        for index, fiber in enumerate(counts):
            if fiber.result is None:
                fiber.step()
                turns.append(index)
    assert [fiber.result for fiber in counts] == [100_000_000] * 2
    assert turns[:4] == [0, 1, 0, 1]
    other.close()


@pytest.mark.parametrize("native", [True, False])
def test_a_spinning_guest_lets_python_threads_go_on(native: bool) -> None:
    engine = Engine(EngineConfig(native_ticker=native))
    machine = Machine(engine, state=None)
    fiber = func(instantiate(machine, compile_text(BLOCKER, engine), [BLOCK]), "spin").fiber()
    with busy_thread() as counter:
        assert fiber.step() is Status.PREEMPTED
        before = counter[0]
        for _ in range(3):
            assert fiber.step() is Status.PREEMPTED
        assert counter[0] > before
    fiber.close()
    machine.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the timer that needs no GIL is Linux's")
def test_short_entries_stay_cheap_beside_a_busy_python_thread(blocker: CoreInstance) -> None:
    add = func(blocker, "add")
    with busy_thread():
        best = min(timed(lambda: [add.fiber((1, 2)).step() for _ in range(100)]) for _ in range(20))
    assert best / 100 < 0.000_200  # half a millisecond each if they released the GIL


def timed(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@pytest.mark.parametrize("native", [True, False])
def test_the_ticker_runs_while_machines_live(native: bool) -> None:
    engine = Engine(EngineConfig(native_ticker=native))
    machines = [Machine(engine, state=None) for _ in range(2)]
    assert engine.ticker.users == 2
    machines[0].close()
    machines[0].close()
    assert engine.ticker.users == 1
    machines[1].close()
    assert engine.ticker.users == 0
    if not native:
        deadline = time.monotonic() + 2
        while any(thread.name == "p3host epoch ticker" for thread in threading.enumerate()):
            assert time.monotonic() < deadline
            time.sleep(0.005)
    again = Machine(engine, state=None)
    fiber = func(instantiate(again, compile_text(BLOCKER, engine), [BLOCK]), "spin").fiber()
    assert fiber.step() is Status.PREEMPTED
    again.close()


def test_a_suspended_fiber_waits_through_many_ticks(machine: Machine) -> None:
    text = """(module (import "host" "wait" (func $wait (result i64)))
      (func (export "go") (result i64) (i64.add (call $wait) (i64.const 1))))"""
    host = HostFunc(core_type("", "i64"), lambda state: SUSPEND, may_block=True)
    fiber = func(instantiate(machine, text, [host]), "go").fiber()
    suspend(fiber)
    time.sleep(3 * SLICE)
    fiber.answer(2**40)
    assert finish(fiber) == 2**40 + 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_preempts_its_guests_too() -> None:
    script = """
import os, sys
sys.path[:0] = sys.argv[1:]
from engine_guests import *
from p3host.engine import *
machine = Machine(Engine.default(), state=None)
instance = instantiate(machine, BLOCKER, [BLOCK])
child = os.fork()
fiber = func(instance, "spin").fiber()
statuses = [fiber.step().name for _ in range(3)]
machine.close()
if child:
    assert os.waitpid(child, 0)[1] == 0
print(statuses == ["PREEMPTED"] * 3, flush=True)
os._exit(0)
"""
    command = [sys.executable, "-c", script, os.path.dirname(__file__), os.getcwd()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == ["True", "True"]

from __future__ import annotations

import gc
import math
import random
import threading
from typing import Any

import pytest
from engine_guests import BLOCK, BLOCKER, compile_text, core_type, finish, func, instantiate, suspend

from p3host.engine import CoreInstance, Engine, EngineConfig, HostFunc, Machine, State
from p3host.errors import InstanceClosed, LinkError, Trap
from p3host.runtime.thread import SUSPEND, Status


def test_a_call_that_never_blocks_is_done_in_one_step(blocker: CoreInstance) -> None:
    fiber = func(blocker, "add").fiber((1, 2))
    assert fiber.step() is Status.DONE
    assert fiber.result == 3
    assert func(blocker, "add").call(0xFFFF_FFFF, 2) == 1


def test_a_function_without_result_gives_none(blocker: CoreInstance) -> None:
    assert func(blocker, "nothing").call() is None


@pytest.mark.parametrize(
    ("value_type", "values"),
    [
        ("i32", [0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF]),
        ("i64", [0, 1, 0x8000_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF]),
        ("f32", [0.0, -0.5, math.inf, 3.4028234663852886e38]),
        ("f64", [0.0, -0.1, -math.inf, 5e-324]),
    ],
)
def test_values_of_each_core_type_pass_unchanged(machine: Machine, value_type: str, values: list[float]) -> None:
    text = f"""(module (import "host" "same" (func $same (param i32 {value_type} i64 f64) (result {value_type})))
      (func (export "same") (param i32 {value_type} f32) (result {value_type})
        (call $same (i32.const -1) (local.get 1) (i64.const -1) (f64.const 0.5))))"""
    seen: list[tuple[Any, ...]] = []

    def same(state: object, *arguments: Any) -> Any:
        seen.append(arguments)
        return arguments[1]

    host = HostFunc(core_type(f"i32 {value_type} i64 f64", value_type), same)
    exported = func(instantiate(machine, text, [host]), "same")
    for value in values:
        assert exported.call(7, value, 1.5) == value
        assert seen.pop() == (0xFFFF_FFFF, value, 0xFFFF_FFFF_FFFF_FFFF, 0.5)
    if value_type in ("f32", "f64"):
        assert math.isnan(exported.call(7, math.nan, 1.5))


def test_thousands_suspend_in_one_machine_and_go_on_in_any_order(blocker: CoreInstance) -> None:
    deep = func(blocker, "deep")
    count = 2000
    fibers = {key: deep.fiber((key, key % 100)) for key in range(count)}
    for fiber in fibers.values():
        suspend(fiber)
    # Beside them: one that traps after it was suspended, one that is given up, one that overflows its stack.
    doomed, dropped = func(blocker, "trap").fiber((1,)), deep.fiber((2, 50))
    suspend(doomed)
    suspend(dropped)
    with pytest.raises(Trap, match="call stack exhausted"):
        finish(func(blocker, "overflow").fiber((0,)))
    with pytest.raises(Trap, match="out of bounds memory access"):
        finish(func(blocker, "outside").fiber())
    dropped.close()
    gc.collect()
    doomed.answer(0)
    with pytest.raises(Trap, match="unreachable"):
        doomed.step()
    for position, key in enumerate(random.Random(7).sample(sorted(fibers), count)):
        fibers[key].answer(key * 10)
        assert finish(fibers[key]) == key * 10 + key % 100
        if position % 500 == 0:
            gc.collect()


def test_a_fiber_can_suspend_again_and_again(blocker: CoreInstance) -> None:
    fiber = func(blocker, "twice").fiber((5,))
    suspend(fiber)
    fiber.answer(30)
    suspend(fiber)
    fiber.answer(12)
    assert finish(fiber) == 42


def test_a_fiber_suspended_in_one_call_is_resumed_inside_another(machine: Machine) -> None:
    text = """(module
      (import "host" "block" (func $block (param i32) (result i32)))
      (import "host" "inside" (func $inside (param i32) (result i32)))
      (func (export "block") (param i32) (result i32) (i32.add (call $block (local.get 0)) (call $block (local.get 0))))
      (func (export "inside") (param i32) (result i32) (call $inside (local.get 0))))"""

    def inside(state: list[Any], value: int) -> int:
        first.answer(20)
        suspend(first)
        return value + 1

    instance = instantiate(machine, text, [BLOCK, HostFunc(core_type("i32", "i32"), inside)])
    first = func(instance, "block").fiber((0,))
    suspend(first)
    assert finish(func(instance, "inside").fiber((6,))) == 7
    first.answer(22)
    assert finish(first) == 42


def test_fibers_of_several_machines_nest(machine: Machine) -> None:
    text = """(module
      (import "host" "down" (func $down (param i32) (result i32)))
      (func (export "down") (param i32) (result i32) (i32.add (i32.const 1) (call $down (local.get 0)))))"""
    module = compile_text(text)
    other = Machine(machine.engine, state=[])

    def down(state: list[Any], depth: int) -> int:
        result = (exports[depth % 2].call(depth - 1) if depth else 0) if depth % 3 else step_suspended(depth)
        assert isinstance(result, int)
        return result

    def step_suspended(depth: int) -> int:
        if depth == 0:
            return 0
        fiber = waiting.pop()
        fiber.answer(0)
        finish(fiber)
        result = exports[depth % 2].call(depth - 1)
        assert isinstance(result, int)
        return result

    host = HostFunc(core_type("i32", "i32"), down)
    exports = [func(instantiate(one, module, [host]), "down") for one in (machine, other)]
    blockers = [instantiate(one, BLOCKER, [BLOCK]) for one in (machine, other)]
    waiting = [func(blockers[index % 2], "deep").fiber((index, 5)) for index in range(40)]
    for fiber in waiting:
        suspend(fiber)
    assert exports[0].call(60) == 61
    other.close()


def test_entries_nest_until_python_ends_them_with_a_trap(machine: Machine) -> None:
    text = """(module (import "host" "again" (func $again (param i32) (result i32)))
      (func (export "again") (param i32) (result i32) (call $again (local.get 0))))"""

    def again(state: object, depth: int) -> Any:
        return exported.call(depth - 1) if depth else 5

    exported = func(instantiate(machine, text, [HostFunc(core_type("i32", "i32"), again)]), "again")
    assert exported.call(100) == 5
    with pytest.raises(Trap) as caught:
        exported.call(1_000_000)
    cause: BaseException | None = caught.value
    while isinstance(cause, Trap):
        cause = cause.__cause__
    assert cause is None or "maximum recursion depth" in str(cause)
    assert exported.call(1) == 5


def test_answer_may_be_nothing_for_a_function_without_result(machine: Machine) -> None:
    text = (
        """(module (import "host" "wait" (func $wait)) (func (export "go") (result i32) (call $wait) (i32.const 3)))"""
    )
    wait = HostFunc(core_type(), lambda state: SUSPEND, may_block=True)
    fiber = func(instantiate(machine, text, [wait]), "go").fiber()
    suspend(fiber)
    fiber.answer()
    assert finish(fiber) == 3


def test_fail_unwinds_the_guest_with_the_exception_as_cause(blocker: CoreInstance) -> None:
    fiber = func(blocker, "deep").fiber((1, 3))
    suspend(fiber)
    error = ValueError("no such key")
    fiber.fail(error)
    with pytest.raises(Trap, match="no such key") as caught:
        fiber.step()
    assert caught.value.__cause__ is error
    assert caught.value.backtrace.count("deep") == 4 or caught.value.backtrace.count("wasm function") == 4
    assert fiber.state is State.FAILED


def test_fail_with_what_is_no_exception_raises_that(blocker: CoreInstance) -> None:
    fiber = func(blocker, "deep").fiber((1, 3))
    suspend(fiber)
    error = KeyboardInterrupt()
    fiber.fail(error)
    with pytest.raises(KeyboardInterrupt) as caught:
        fiber.step()
    assert caught.value is error


def test_an_unanswered_fiber_can_not_go_on_and_is_not_harmed(blocker: CoreInstance) -> None:
    fiber = func(blocker, "deep").fiber((1, 0))
    suspend(fiber)
    with pytest.raises(RuntimeError, match="answer"):
        fiber.step()
    fiber.answer(9)
    assert finish(fiber) == 9


@pytest.mark.parametrize("make", ["done", "ready", "closed", "failed"])
def test_only_a_suspended_fiber_is_answered(blocker: CoreInstance, make: str) -> None:
    fiber = func(blocker, "outside" if make == "failed" else "nothing").fiber()
    if make == "failed":
        with pytest.raises(Trap):
            fiber.step()
    elif make == "done":
        fiber.step()
    elif make == "closed":
        fiber.close()
    with pytest.raises(RuntimeError, match="only a suspended fiber"):
        fiber.answer(1)
    with pytest.raises(RuntimeError, match="only a suspended fiber"):
        fiber.fail(ValueError())
    if make != "ready":
        with pytest.raises(RuntimeError, match="can't go on"):
            fiber.step()
    fiber.close()
    fiber.close()


def test_a_fiber_can_be_closed_in_any_state_but_running(blocker: CoreInstance, machine: Machine) -> None:
    ready, suspended = func(blocker, "nothing").fiber(), func(blocker, "deep").fiber((1, 3))
    preempted = func(blocker, "spin").fiber()
    suspend(suspended)
    assert preempted.step() is Status.PREEMPTED
    for fiber in (ready, suspended, preempted):
        fiber.close()
        assert fiber.state is State.CLOSED
    assert not machine.unfinished


def test_a_running_fiber_can_neither_be_closed_nor_stepped_nor_its_machine(machine: Machine) -> None:
    errors = []

    def meddle(state: object) -> None:
        for attempt in (fiber.close, fiber.step, machine.close):
            with pytest.raises(RuntimeError) as caught:
                attempt()
            errors.append(str(caught.value))

    text = """(module (import "host" "f" (func $f)) (func (export "f") (call $f)))"""
    fiber = func(instantiate(machine, text, [HostFunc(core_type(), meddle)]), "f").fiber()
    assert finish(fiber) is None
    assert errors == [
        "a running fiber can't be closed",
        "a fiber that is running can't go on",
        "a machine can't be closed while it runs",
    ]


def test_frames_are_used_again(blocker: CoreInstance) -> None:
    add = func(blocker, "add")
    first = add.fiber((1, 2))
    first.step()
    second, third = add.fiber((3, 4)), add.fiber((5, 6))
    assert second.frame is first.frame
    second.step()
    third.step()
    assert (first.result, second.result, third.result) == (3, 7, 11)
    assert len(add.pool) == 2


def test_a_machine_belongs_to_its_thread(machine: Machine, blocker: CoreInstance) -> None:
    add = func(blocker, "add")
    suspended = func(blocker, "deep").fiber((1, 3))
    suspend(suspended)
    errors = []

    def meddle() -> None:
        for attempt in (
            lambda: add.call(1, 2),
            suspended.step,
            suspended.close,
            machine.close,
            lambda: instantiate(machine, "(module)"),
            lambda: blocker.export("memory"),
        ):
            try:
                attempt()
            except RuntimeError as error:
                errors.append(str(error))

    thread = threading.Thread(target=meddle)
    thread.start()
    thread.join()
    assert errors == ["a machine can be used only by the thread that made it"] * 6
    assert add.call(1, 2) == 3


def test_machines_of_several_threads_run_at_once() -> None:
    module = compile_text(BLOCKER)
    results = []

    def work() -> None:
        machine = Machine(Engine.default(), state=[])
        instance = instantiate(machine, module, [BLOCK])
        fibers = [func(instance, "deep").fiber((key, 3)) for key in range(50)]
        for fiber in fibers:
            suspend(fiber)
        finish(func(instance, "count").fiber((10_000_000,)))
        for key, fiber in enumerate(fibers):
            fiber.answer(key)
        results.append(sum(finish(fiber) for fiber in fibers))
        machine.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [sum(range(50)) + 150] * 3


def test_stacks_have_the_size_that_was_configured() -> None:
    text = """(module (func $down (export "down") (param i32) (result i32)
      (if (result i32) (local.get 0)
        (then (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1)))))
        (else (i32.const 0)))))"""
    small = EngineConfig(wasm_stack_bytes=1 << 16, async_stack_bytes=2 << 20)
    for config, depth in ((small, 500), (EngineConfig(), 10_000)):
        engine = Engine(config)
        machine = Machine(engine, state=None)
        down = func(instantiate(machine, compile_text(text, engine)), "down")
        assert down.call(depth) == depth
        if config is small:
            with pytest.raises(Trap, match="call stack exhausted"):
                down.call(10_000)
        machine.close()
    with pytest.raises(ValueError, match="async_stack_bytes"):
        EngineConfig(wasm_stack_bytes=2 << 20, async_stack_bytes=2 << 20)


def test_a_function_with_types_that_python_has_not_can_not_be_entered(machine: Machine) -> None:
    text = """(module (func (export "vector") (param v128)) (func (export "reference") (result funcref) (ref.null func))
      (func (export "two") (result i32 i32) (i32.const 1) (i32.const 2)))"""
    instance = instantiate(machine, text)
    for name, problem in (("vector", "v128"), ("reference", "funcref"), ("two", "more than one result")):
        with pytest.raises(LinkError, match=problem):
            func(instance, name).fiber()


def test_nothing_can_be_entered_after_close(machine: Machine, blocker: CoreInstance) -> None:
    ready = func(blocker, "add").fiber((1, 2))
    machine.close()
    for attempt in (
        ready.step,
        lambda: func(blocker, "add").call(1, 2),
        lambda: blocker.export("trap"),
        lambda: instantiate(machine, "(module)"),
    ):
        with pytest.raises(InstanceClosed):
            attempt()
    ready.close()

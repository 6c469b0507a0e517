from __future__ import annotations

import random
import signal
import sys
from types import FrameType
from typing import Any

import pytest
from engine_guests import compile_text, core_type, finish, func, instantiate, suspend

from p3host.engine import Engine, Fiber, HostFunc, Machine
from p3host.engine.native import returns_null_when_void
from p3host.errors import LinkError, Trap
from p3host.runtime.thread import SUSPEND, Status

CALLER = """(module (import "host" "f" (func $f (param i32) (result i32)))
  (func (export "f") (param i32) (result i32) (call $f (local.get 0)))
  (func (export "check") (param $times i32) (result i32) (local $wrong i32)
    (loop $l
      (if (i32.ne (call $f (local.get $times)) (i32.add (local.get $times) (i32.const 77)))
        (then (local.set $wrong (i32.add (local.get $wrong) (i32.const 1)))))
      (br_if $l (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (local.get $wrong)))"""
UNARY = core_type("i32", "i32")


def test_a_host_function_gets_the_state_of_the_machine_that_runs_it() -> None:
    module, host = compile_text(CALLER), HostFunc(UNARY, lambda state, value: state + value)
    machines = [Machine(Engine.default(), state) for state in (100, 200)]
    exports = [func(instantiate(machine, module, [host]), "f") for machine in machines]
    assert [export.call(5) for export in exports] == [105, 205]
    for machine in machines:
        machine.close()


def test_a_trap_is_raised_as_it_is_with_the_backtrace_of_the_guest(machine: Machine) -> None:
    trap = Trap("the handle is unknown")

    def fail(state: object, value: int) -> int:
        raise trap

    with pytest.raises(Trap) as caught:
        func(instantiate(machine, CALLER, [HostFunc(UNARY, fail)]), "f").call(5)
    assert caught.value is trap
    assert trap.message == "the handle is unknown"
    assert "wasm function" in trap.backtrace
    assert str(trap) == f"{trap.message}\n{trap.backtrace}"
    assert "shim" not in trap.backtrace


def test_another_exception_is_the_cause_of_a_trap(machine: Machine) -> None:
    error = KeyError("x")

    def fail(state: object, value: int) -> int:
        raise error

    with pytest.raises(Trap, match="the host function lookup failed: KeyError: 'x'") as caught:
        func(instantiate(machine, CALLER, [HostFunc(UNARY, fail, name="lookup")]), "f").call(5)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("may_block", [False, True])
def test_what_is_no_exception_leaves_the_step_as_the_same_object(
    machine: Machine, kind: type[BaseException], may_block: bool
) -> None:
    error = kind()
    fails = [True, False]

    def fail(state: object, value: int) -> int:
        if fails.pop(0):
            raise error
        return value

    export = func(instantiate(machine, CALLER, [HostFunc(UNARY, fail, may_block)]), "f")
    fiber = export.fiber((5,))
    with pytest.raises(kind) as caught:
        fiber.step()
    assert caught.value is error
    assert export.call(5) == 5


@pytest.mark.parametrize("result", [None, "text", -1, 1 << 32, 1.5])
def test_a_result_that_is_no_core_value_is_a_trap(machine: Machine, result: object) -> None:
    export = func(instantiate(machine, CALLER, [HostFunc(UNARY, lambda state, value: result)]), "f")
    with pytest.raises(Trap) as caught:
        export.call(5)
    assert isinstance(caught.value.__cause__, (TypeError, ValueError))


def test_a_result_where_none_is_due_is_a_trap(machine: Machine) -> None:
    text = """(module (import "host" "f" (func $f)) (func (export "f") (call $f)))"""
    export = func(instantiate(machine, text, [HostFunc(core_type(), lambda state: 5)]), "f")
    with pytest.raises(Trap, match="returned 5"):
        export.call()


def test_a_function_that_may_block_can_answer_at_once(machine: Machine) -> None:
    host = HostFunc(UNARY, lambda state, value: SUSPEND if value % 2 else value + 77, may_block=True)
    instance = instantiate(machine, CALLER, [host])
    fiber = func(instance, "check").fiber((100,))
    suspensions = 0
    while fiber.step() is not Status.DONE:
        suspensions += 1
        fiber.answer(99 - 2 * (suspensions - 1) + 77)
    assert (suspensions, fiber.result) == (50, 0)


@pytest.mark.parametrize("may_block", [False, True])
def test_only_a_function_that_may_block_can_suspend(machine: Machine, may_block: bool) -> None:
    host = HostFunc(UNARY, lambda state, value: SUSPEND, may_block)
    export = func(instantiate(machine, CALLER, [host]), "f")
    if may_block:
        suspend(export.fiber((1,)))
    else:
        with pytest.raises(Trap):
            export.fiber((1,)).step()


def test_an_entry_that_may_not_block_traps_when_it_does(machine: Machine) -> None:
    host = HostFunc(UNARY, lambda state, value: SUSPEND, may_block=True)
    export = func(instantiate(machine, CALLER, [host]), "f")
    with pytest.raises(Trap, match="may not block"):
        export.call(1)
    with pytest.raises(Trap, match="may not block"):
        export.fiber((1,), may_block=False).step()


def test_realloc_is_called_from_a_host_function_in_a_fiber_that_then_suspends(machine: Machine) -> None:
    text = """(module (import "host" "get" (func $get (result i32)))
      (memory (export "memory") 1)
      (global $top (mut i32) (i32.const 16))
      (func (export "realloc") (param i32 i32 i32 i32) (result i32)
        (global.set $top (i32.add (global.get $top) (local.get 3))) (i32.sub (global.get $top) (local.get 3)))
      (func (export "go") (result i32) (i32.load (call $get))))"""

    def get(state: list[Any]) -> object:
        state.append(func(instance, "realloc").call(0, 0, 4, 8))
        return SUSPEND

    instance = instantiate(machine, text, [HostFunc(core_type("", "i32"), get, may_block=True)])
    fibers = [func(instance, "go").fiber() for _ in range(3)]
    for fiber in fibers:
        suspend(fiber)
    assert machine.state == [16, 24, 32]
    view = instance.export("memory").refresh()  # type: ignore[attr-defined]
    for pointer in machine.state:
        view[pointer] = pointer + 1
    for fiber, pointer in reversed(list(zip(fibers, machine.state, strict=True))):
        fiber.answer(pointer)
        assert finish(fiber) == pointer + 1


def test_one_host_function_serves_many_names_and_modules(machine: Machine) -> None:
    host, other = HostFunc(UNARY, lambda state, value: value + 1), HostFunc(UNARY, lambda state, value: value + 2)
    text = """(module
      (import "a" "f" (func $f (param i32) (result i32))) (import "b" "f" (func $g (param i32) (result i32)))
      (func (export "f") (param i32) (result i32) (call $f (call $g (local.get 0)))))"""
    module = compile_text(text)
    assert func(instantiate(machine, module, [host, host]), "f").call(0) == 2
    assert func(instantiate(machine, module, [host, other]), "f").call(0) == 3
    assert func(instantiate(machine, CALLER, [other]), "f").call(0) == 2
    assert machine.func(other).call(40) == 42
    assert machine.func(HostFunc(core_type(), lambda state: None)).call() is None


def test_a_host_function_of_a_type_that_python_has_not_is_refused() -> None:
    for t in (core_type("v128"), core_type("", "funcref"), core_type("", "i32 i32")):
        with pytest.raises(LinkError, match="the host function f"):
            HostFunc(t, lambda state: None, name="f")


def test_a_callback_that_is_interrupted_before_it_runs_is_a_trap(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda event: lost.append(event.exc_type))
    export = func(instantiate(machine, CALLER, [HostFunc(UNARY, lambda state, value: value)]), "f")
    assert export.call(5) == 5

    def interrupt(frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code.co_name == "callback":
            raise KeyboardInterrupt

    before = sys.gettrace()
    sys.settrace(interrupt)
    try:
        with pytest.raises(Trap, match="interrupted before it could run"):
            export.call(5)
    finally:
        sys.settrace(before)
    assert lost == [KeyboardInterrupt]
    assert export.call(5) == 5


def test_an_interrupt_just_after_a_function_suspended_is_not_kept_back(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspends = Fiber.suspend

    def interrupted(*arguments: Any) -> None:
        suspends(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(Fiber, "suspend", interrupted)
    host = HostFunc(UNARY, lambda state, value: SUSPEND, may_block=True)
    fiber = func(instantiate(machine, CALLER, [host]), "f").fiber((1,))
    with pytest.raises(KeyboardInterrupt):
        fiber.step()


def test_interrupts_at_any_moment_never_give_the_guest_a_wrong_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda event: None)
    machine = Machine(Engine.default(), state=None)
    instance = instantiate(machine, CALLER, [HostFunc(UNARY, lambda state, value: value + 77)])
    interrupted = trapped = done = 0
    fibers = [func(instance, "check").fiber((3000,)) for _ in range(200)]
    chance = random.Random(7)
    armed = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for fiber in fibers:
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.00005, 0.0012))
                while fiber.step() is not Status.DONE:
                    pass
                armed = False
                done += 1
                assert fiber.result == 0
            except KeyboardInterrupt:
                interrupted += 1
            except Trap:
                trapped += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 0
    assert interrupted + trapped + done == len(fibers)
    for fiber in fibers:
        fiber.close()
    assert func(instance, "check").call(10) == 0
    machine.close()


def test_callbacks_return_null_to_wasmtime_even_when_they_raise() -> None:
    assert returns_null_when_void()

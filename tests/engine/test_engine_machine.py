from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from engine_guests import BLOCK, BLOCKER, compile_text, core_type, finish, func, instantiate, memory, suspend

from p3host.engine import CoreInstance, Engine, HostFunc, Machine, MachineLimits, State, Table
from p3host.errors import LinkError, Trap
from p3host.runtime.thread import SUSPEND, Status


def test_a_start_function_runs_on_a_fiber(machine: Machine) -> None:
    text = """(module (import "host" "block" (func $block (param i32) (result i32)))
      (global $answer (export "answer") (mut i32) (i32.const 0))
      (func $start (global.set $answer (call $block (i32.const 7))))
      (func (export "get") (result i32) (global.get $answer))
      (start $start))"""
    fiber = machine.instantiate(compile_text(text), [BLOCK])
    suspend(fiber)
    fiber.answer(42)
    assert func(finish(fiber), "get").call() == 42


def test_a_start_function_is_preempted_and_can_be_closed(machine: Machine) -> None:
    fiber = machine.instantiate(compile_text("(module (func $f (loop $l (br $l))) (start $f))"))
    assert fiber.step() is Status.PREEMPTED
    fiber.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(module (func $f unreachable) (start $f))", "unreachable"),
        ('(module (memory 1) (data (i32.const 65536) "x"))', "out of bounds memory access"),
        ("(module (table 1 funcref) (func $f) (elem (i32.const 1) $f))", "out of bounds table access"),
    ],
)
def test_an_instantiation_traps(machine: Machine, text: str, message: str) -> None:
    fiber = machine.instantiate(compile_text(text))
    with pytest.raises(Trap, match=message):
        fiber.step()
    assert fiber.state is State.FAILED


def test_imports_must_match_in_number_type_and_machine(machine: Machine, blocker: CoreInstance) -> None:
    module = compile_text('(module (import "a" "b" (func (param i64))))')
    with pytest.raises(LinkError, match="1 imports, 0 were given"):
        machine.instantiate(module, [])
    with pytest.raises(LinkError, match="incompatible import type for `a::b`"):
        machine.instantiate(module, [BLOCK]).step()
    other = Machine(machine.engine, state=None)
    with pytest.raises(LinkError, match="another machine"):
        other.instantiate(module, [blocker.export("add")])
    other.close()
    foreign = Machine(Engine(), state=None)
    with pytest.raises(LinkError, match="another engine"):
        foreign.instantiate(compile_text("(module)"))
    foreign.close()


def test_instances_share_functions_memories_tables_globals_and_tags(machine: Machine) -> None:
    exporter = """(module
      (memory (export "memory") 1 2) (table (export "table") 2 funcref)
      (global (export "global") (mut i32) (i32.const 5))
      (tag (export "tag") (param i32))
      (func (export "f") (result i32) (i32.load (i32.const 0))))"""
    importer = """(module
      (import "e" "memory" (memory 1 2)) (import "e" "table" (table 2 funcref))
      (import "e" "global" (global $g (mut i32)))
      (import "e" "tag" (tag $t (param i32))) (import "e" "f" (func $f (result i32)))
      (func $throw (throw $t (i32.const 30)))
      (func (export "go") (result i32)
        (i32.store (i32.const 0) (i32.const 7))
        (i32.add (i32.add (call $f) (global.get $g))
          (block $b (result i32) (try_table (catch $t $b) (call $throw)) (i32.const 0)))))"""
    source = instantiate(machine, exporter)
    imports = [source.export(name) for name in ("memory", "table", "global", "tag", "f")]
    assert func(instantiate(machine, importer, imports), "go").call() == 42


def test_an_uncaught_exception_is_a_trap(machine: Machine) -> None:
    text = """(module (tag $t (param i32)) (func (export "throw") (param i32) (throw $t (local.get 0)))
      (func $throw (throw $t (i32.const 3)))
      (func (export "catch") (result i32)
        (block $b (result i32) (try_table (catch $t $b) (call $throw)) (i32.const 0))))"""
    instance = instantiate(machine, text)
    for _ in range(3):
        with pytest.raises(Trap, match="uncaught wasm exception"):
            func(instance, "throw").call(3)
        assert func(instance, "catch").call() == 3
        gc.collect()


def test_export_of_an_unknown_name_is_a_key_error(blocker: CoreInstance) -> None:
    with pytest.raises(KeyError):
        blocker.export("unknown")
    assert blocker.export("add") is blocker.export("add")


# Memories


def test_a_view_stays_good_while_the_memory_grows(blocker: CoreInstance) -> None:
    grown = memory(blocker)
    old = grown.view
    assert len(old) == 65536
    old[8] = 5
    suspended = func(blocker, "deep").fiber((1, 3))
    suspend(suspended)
    assert func(blocker, "grow").call(9) == 1
    assert len(grown.view) == 65536
    assert len(grown.refresh()) == 10 * 65536
    assert grown.refresh() is grown.view
    grown.view[8] += 1
    assert old[8] == 6
    suspended.answer(0)
    assert finish(suspended) == 3


def test_memories_say_how_wide_their_pointers_are(machine: Machine) -> None:
    instance = instantiate(
        machine, '(module (memory (export "a") 0) (memory (export "b") i64 1) (memory (export "c") 0 0))'
    )
    assert [memory(instance, name).pointer for name in "abc"] == ["i32", "i64", "i32"]
    assert [len(memory(instance, name).view) for name in "abc"] == [0, 65536, 0]


def test_one_memory_is_one_object_whoever_exports_it(machine: Machine) -> None:
    owner = instantiate(machine, '(module (memory (export "m") 1))')
    text = '(module (import "" "m" (memory 1)) (memory 1) (export "same" (memory 0)) (export "own" (memory 1)))'
    other = instantiate(machine, text, [owner.export("m")])
    assert other.export("same") is owner.export("m")
    assert other.export("own") is not owner.export("m")


def test_after_close_a_memory_is_empty(machine: Machine, blocker: CoreInstance) -> None:
    closed = memory(blocker)
    old, part = closed.view, memoryview(closed.view)
    part.release()
    machine.close()
    assert closed.view == b""
    assert closed.refresh() == b""
    with pytest.raises(ValueError, match="released"):
        old[0]


# Tables


def table_of(instance: CoreInstance, name: str = "table") -> Table:
    export = instance.export(name)
    assert isinstance(export, Table)
    return export


def test_a_table_gives_functions_of_the_type_that_is_asked_for(machine: Machine) -> None:
    text = """(module
      (table (export "table") 6 funcref) (type $empty (func)) (table (export "typed") 1 (ref null $empty))
      (global $last (mut i32) (i32.const 0))
      (func $start (param i32) (global.set $last (local.get 0)))
      (func $wide (param i64)) (func $vector (param v128)) (func $reference (param (ref null $empty)))
      (elem (i32.const 1) func $start $wide $vector $reference)
      (elem declare func $start)
      (func (export "last") (result i32) (global.get $last)))"""
    instance = instantiate(machine, text)
    table = table_of(instance)
    assert table.get(0) is None
    start = table.get(1)
    assert start is not None
    assert start.call(9) is None
    assert func(instance, "last").call() == 9
    wide = table.get(2, core_type("i64"))
    assert wide is not None
    assert wide.call(1 << 40) is None
    for index in (2, 3, 4):
        with pytest.raises(Trap, match="type mismatch"):
            table.get(index)
    for index in (6, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF):
        with pytest.raises(Trap, match="undefined element"):
            table.get(index)
    assert table_of(instance, "typed").get(0) is None


# Limits


@pytest.mark.parametrize(
    ("limits", "text", "message"),
    [
        (MachineLimits(memory_bytes=1 << 17), "(module (memory 3))", "exceeds memory limits"),
        (MachineLimits(table_elements=10), "(module (table 11 funcref))", "exceeds table limits"),
        (MachineLimits(memories=1), "(module (memory 1) (memory 1))", "memory count too high"),
        (MachineLimits(tables=1), "(module (table 1 funcref) (table 1 funcref))", "table count too high"),
        (MachineLimits(instances=0), "(module)", "instance count too high"),
        (MachineLimits(), "(module (table 4000000000 funcref))", "exceeds table limits"),
        (MachineLimits(), "(module (memory i64 0x10000000000))", "exceeds memory limits"),
    ],
)
def test_an_instantiation_beyond_the_limits_traps(limits: MachineLimits, text: str, message: str) -> None:
    machine = Machine(Engine.default(), None, limits)
    with pytest.raises(Trap, match=message):
        instantiate(machine, text)
    machine.close()


def test_growth_beyond_the_limits_fails_in_the_guest() -> None:
    machine = Machine(Engine.default(), None, MachineLimits(memory_bytes=1 << 17, table_elements=10))
    text = """(module (memory 1) (table $t 1 funcref)
      (func (export "memory") (param i32) (result i32) (memory.grow (local.get 0)))
      (func (export "table") (param i32) (result i32) (table.grow $t (ref.null func) (local.get 0))))"""
    instance = instantiate(machine, text)
    for name, fits in (("memory", 1), ("table", 9)):
        assert func(instance, name).call(fits + 1) == 0xFFFF_FFFF
        assert func(instance, name).call(0x7FFF_FFFF) == 0xFFFF_FFFF
        assert func(instance, name).call(fits) == 1
    machine.close()


def test_host_functions_count_against_no_limit_of_the_guest() -> None:
    machine = Machine(Engine.default(), None, MachineLimits(instances=2, memories=1, memory_bytes=1 << 16))
    text = """(module (import "host" "f" (func $f (result i32))) {memory} (func (export "f") (result i32) (call $f)))"""
    for index in range(2):
        host = HostFunc(core_type("", "i32"), lambda state: 5)
        instance = instantiate(machine, text.format(memory="" if index else "(memory 1)"), [host])
        assert func(instance, "f").call() == 5
    with pytest.raises(Trap, match="instance count"):
        instantiate(machine, text.format(memory=""), [HostFunc(core_type("", "i32"), lambda state: 5)])
    machine.close()


# Closing


def test_a_machine_closes_whatever_is_under_way() -> None:
    machine = Machine(Engine.default(), state=None)
    instance = instantiate(machine, BLOCKER, [BLOCK])
    fibers = [func(instance, "deep").fiber((key, 20)) for key in range(500)]
    for fiber in fibers:
        suspend(fiber)
    fibers[3].answer(5)
    fibers[4].fail(ValueError())
    spinning = func(instance, "spin").fiber()
    assert spinning.step() is Status.PREEMPTED
    start = machine.instantiate(compile_text("(module (func $f (loop $l (br $l))) (start $f))"))
    assert start.step() is Status.PREEMPTED
    ready = func(instance, "add").fiber((1, 2))
    gc.collect()
    machine.close()
    machine.close()
    gc.collect()
    assert {fiber.state for fiber in (*fibers, spinning, start)} == {State.CLOSED}
    ready.close()
    for fiber in fibers:
        fiber.close()


def test_a_machine_that_is_forgotten_is_freed_with_what_is_suspended() -> None:
    host = HostFunc(core_type("i32", "i32"), lambda state, key: SUSPEND, may_block=True)

    def forget() -> weakref.ref[Machine]:
        machine = Machine(Engine.default(), state=None)
        instance = instantiate(machine, BLOCKER, [host])
        for key in range(50):
            suspend(func(instance, "deep").fiber((key, 5)))
        return weakref.ref(machine)

    users = Engine.default().ticker.users
    references = [forget() for _ in range(5)]
    gc.collect()
    assert [reference() for reference in references] == [None] * 5
    assert Engine.default().ticker.users <= users


def test_a_machine_can_be_forgotten_inside_another_ones_call(machine: Machine) -> None:
    def forget(state: Any) -> None:
        other = Machine(machine.engine, state=None)
        instance = instantiate(other, BLOCKER, [BLOCK])
        suspend(func(instance, "deep").fiber((1, 5)))
        del other, instance
        gc.collect()

    text = """(module (import "host" "f" (func $f)) (func (export "f") (result i32) (call $f) (i32.const 4)))"""
    assert func(instantiate(machine, text, [HostFunc(core_type(), forget)]), "f").call() == 4


def test_host_functions_may_be_forgotten_while_a_machine_uses_them(machine: Machine) -> None:
    text = """(module (import "host" "f" (func $f (param i32) (result i32)))
      (func (export "f") (param i32) (result i32) (call $f (local.get 0))))"""
    module = compile_text(text)

    def make(number: int) -> CoreInstance:
        return instantiate(machine, module, [HostFunc(core_type("i32", "i32"), lambda state, value: value + number)])

    instances = [make(number) for number in range(20)]
    gc.collect()
    assert [func(instance, "f").call(1) for instance in instances] == list(range(1, 21))

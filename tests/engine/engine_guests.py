"""Core guests in text form, and what makes instances of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from p3host.engine import CoreInstance, Engine, Fiber, Func, HostFunc, Import, Machine, Memory, Module, text_to_binary
from p3host.runtime.thread import SUSPEND, Status
from p3host.types import CoreFuncType


def core_type(params: str = "", results: str = "") -> CoreFuncType:
    return CoreFuncType(tuple(params.split()), tuple(results.split()))


def compile_text(text: str, engine: Engine | None = None) -> Module:
    (module,) = (engine or Engine.default()).compile([text_to_binary(text)])
    return module


def instantiate(machine: Machine, module: Module | str, imports: Sequence[Import] = ()) -> CoreInstance:
    if isinstance(module, str):
        module = compile_text(module, machine.engine)
    fiber = machine.instantiate(module, imports)
    finish(fiber)
    instance = fiber.result
    assert isinstance(instance, CoreInstance)
    return instance


def func(instance: CoreInstance, name: str) -> Func:
    export = instance.export(name)
    assert isinstance(export, Func)
    return export


def memory(instance: CoreInstance, name: str = "memory") -> Memory:
    export = instance.export(name)
    assert isinstance(export, Memory)
    return export


def finish(fiber: Fiber) -> Any:
    """Steps a fiber that isn't suspended to its end."""
    while (status := fiber.step()) is Status.PREEMPTED:
        pass
    assert status is Status.DONE
    return fiber.result


def suspend(fiber: Fiber) -> None:
    while (status := fiber.step()) is Status.PREEMPTED:
        pass
    assert status is Status.SUSPENDED


BLOCK = HostFunc(core_type("i32", "i32"), lambda state, key: SUSPEND, may_block=True, name="block")

# `deep` blocks at the bottom of a recursion and adds one for each level on the way back.
BLOCKER = """(module
  (import "host" "block" (func $block (param i32) (result i32)))
  (memory (export "memory") 1 10)
  (global $count (mut i32) (i32.const 0))
  (func $deep (export "deep") (param $key i32) (param $depth i32) (result i32)
    (if (result i32) (local.get $depth)
      (then (i32.add (i32.const 1) (call $deep (local.get $key) (i32.sub (local.get $depth) (i32.const 1)))))
      (else (call $block (local.get $key)))))
  (func (export "twice") (param i32) (result i32)
    (i32.add (call $block (local.get 0)) (call $block (i32.add (local.get 0) (i32.const 1)))))
  (func (export "trap") (param i32) (result i32) (drop (call $block (local.get 0))) unreachable)
  (func $forever (export "overflow") (param i32) (result i32) (i32.add (call $forever (local.get 0)) (i32.const 1)))
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "nothing"))
  (func (export "spin") (loop $l (br $l)))
  (func (export "count") (param $times i32) (result i32)
    (loop $l
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (br_if $l (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (global.get $count))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "outside") (result i32) (i32.load (i32.const -4))))"""

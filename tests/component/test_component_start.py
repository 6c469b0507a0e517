"""Start functions, in the instance that they belong to."""

from __future__ import annotations

import pytest
from guest_text import let_others_run

from p3host.component import Component

pytestmark = pytest.mark.anyio

THREAD_LEFT_BY_A_START_FUNCTION = """(component
  (component $Inner
    (core module $Table (table (export "table") 1 funcref))
    (core instance $table (instantiate $Table))
    (alias core export $table "table" (core table $t))
    (core type $start (func (param i32)))
    (core func $index (canon thread.index))
    (core func $new (canon thread.new-indirect $start (core table $t)))
    (core func $later (canon thread.resume-later))
    (core module $Main
      (import "" "index" (func $index (result i32)))
      (import "" "new" (func $new (param i32 i32) (result i32)))
      (import "" "later" (func $later (param i32)))
      (import "table" "table" (table 1 funcref))
      (global $seen (mut i32) (i32.const 0))
      (func $worker (param i32) (global.set $seen (i32.add (local.get 0) (call $index))))
      (elem (i32.const 0) func $worker)
      (func $start
        (drop (call $index))
        (call $later (call $new (i32.const 0) (i32.const 40))))
      (start $start)
      (func (export "seen") (result i32) (global.get $seen)))
    (core instance $main (instantiate $Main
      (with "" (instance (export "index" (func $index)) (export "new" (func $new)) (export "later" (func $later))))
      (with "table" (instance $table))))
    (func (export "seen") (result u32) (canon lift (core func $main "seen"))))
  (instance $inner (instantiate $Inner))
  (core func $index (canon thread.index))
  (core module $Outer (import "" "index" (func $index (result i32))) (func $start (drop (call $index))) (start $start))
  (core instance (instantiate $Outer (with "" (instance (export "index" (func $index))))))
  (func (export "seen") (alias export $inner "seen")))"""


async def test_a_thread_that_a_start_function_leaves_behind_goes_on_in_its_own_instance() -> None:
    async with Component.load(THREAD_LEFT_BY_A_START_FUNCTION).instantiate() as instance:
        await let_others_run()
        assert await instance.exports.seen() == 42


CONTEXT_OF_START_FUNCTIONS = """(component
  (component $Writer
    (core func $set (canon context.set i32 0))
    (core module $M (import "" "set" (func $set (param i32))) (func $start (call $set (i32.const 42))) (start $start))
    (core instance (instantiate $M (with "" (instance (export "set" (func $set)))))))
  (component $Reader
    (core func $get (canon context.get i32 0))
    (core module $M
      (import "" "get" (func $get (result i32)))
      (global $seen (mut i32) (i32.const -1))
      (func $start (global.set $seen (call $get)))
      (start $start)
      (func (export "seen") (result i32) (global.get $seen)))
    (core instance $m (instantiate $M (with "" (instance (export "get" (func $get))))))
    (func (export "seen") (result u32) (canon lift (core func $m "seen"))))
  (instance (instantiate $Writer))
  (instance $reader (instantiate $Reader))
  (func (export "seen") (alias export $reader "seen")))"""


async def test_a_start_function_sees_nothing_of_the_context_of_another_one() -> None:
    async with Component.load(CONTEXT_OF_START_FUNCTIONS).instantiate() as instance:
        assert await instance.exports.seen() == 0

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

"""A cancelled call of Python's reaches the guest where it blocks in a built-in that is `cancellable`."""

from __future__ import annotations

import anyio
import pytest
from cancellable_text import assemble
from guest_text import Canons, component_text, stackful_export, sync_export

from p3host.component import Component

pytestmark = pytest.mark.anyio

CANONS: Canons = {
    "began": ("lower (func $began)", ""),
    "set-new": ("waitable-set.new", "(result i32)"),
    "wait": ("waitable-set.wait cancellable (memory $memory)", "(param i32 i32) (result i32)"),
    "poll": ("waitable-set.poll cancellable (memory $memory)", "(param i32 i32) (result i32)"),
    "yield": ("thread.yield cancellable", "(result i32)"),
    "plain-yield": ("thread.yield", "(result i32)"),
    "suspend": ("thread.suspend cancellable", "(result i32)"),
    "task-cancel": ("task.cancel", ""),
}
CODE = """
    (global $told (mut i32) (i32.const 0))
    (func $acknowledge (global.set $told (i32.add (global.get $told) (i32.const 1))) (call $task-cancel))
    (func (export "wait") (call $began)
      (if (i32.ne (call $wait (call $set-new) (i32.const 8)) (i32.const 6)) (then unreachable))
      (call $acknowledge))
    (func (export "poll") (call $began)
      (loop $on
        (if (call $plain-yield) (then unreachable))
        (br_if $on (i32.ne (call $poll (call $set-new) (i32.const 8)) (i32.const 6))))
      (call $acknowledge))
    (func (export "yield") (call $began) (loop $on (br_if $on (i32.eqz (call $yield)))) (call $acknowledge))
    (func (export "suspend") (call $began)
      (if (i32.ne (call $suspend) (i32.const 1)) (then unreachable))
      (call $acknowledge))
    (func (export "told") (result i32) (global.get $told))"""
NAMES = ["wait", "poll", "yield", "suspend"]
EXPORTS = "\n".join(map(stackful_export, NAMES)) + "\n" + sync_export("told", result="u32")


@pytest.mark.parametrize("name", NAMES)
async def test_cancelled_call_ends_where_the_guest_acknowledges(name: str) -> None:
    began = anyio.Event()

    def begin() -> None:
        began.set()

    text = component_text(imports='(import "began" (func $began))', code=CODE, exports=EXPORTS, canons=CANONS)
    async with Component(assemble(text)).instantiate({"began": begin}) as instance:
        async with anyio.create_task_group() as host_tasks:
            host_tasks.start_soon(instance.exports[name])
            await began.wait()
            host_tasks.cancel_scope.cancel()
        assert await instance.exports.told() == 1

"""Guests that misbehave where they are entered on the side: in realloc, after a return, in a destructor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from guest_text import ALLOCATOR, load
from hostile_guests import CANONS, TYPES, bystander, hostile_imports

from p3host import MachineLimits, Trap

pytestmark = pytest.mark.anyio

ACTIONS = {
    "wait": "(drop (call $wait (i32.const 0) (i32.const 0)))",
    "wait-sync": "(drop (call $wait-sync (i32.const 0)))",
    "return": "(call $return (i32.const 0))",
    "nothing": "",
    "trap": "(unreachable)",
    "recurse": "(call $act) (call $act)",
    "spin": "(loop $on (br $on))",
    "grow": "(drop (memory.grow (i32.const 1)))",
    "drop-again": "(call $r-drop (global.get $handle))",
    "make-and-drop": "(global.set $mode (i32.const -1)) (call $r-drop (call $r-new (i32.const 8)))",
    "block": "(drop (call $set-wait (call $set-new) (i32.const 0)))",
}
NUMBERS = {name: number for number, name in enumerate(ACTIONS)}


def entries_text() -> str:
    late = '(realloc (core func $late "realloc"))'
    definitions = "\n".join(
        f"(core func ${name} (canon {text.replace('(realloc $realloc)', late)}))" for name, (text, _) in CANONS.items()
    )
    imports = "\n".join(f'(import "" "{name}" (func ${name} {signature}))' for name, (_, signature) in CANONS.items())
    given = " ".join(f'(export "{name}" (func ${name}))' for name in CANONS)
    actions = "\n".join(
        f"(if (i32.eq (global.get $mode) (i32.const {NUMBERS[name]})) (then {code}))" for name, code in ACTIONS.items()
    )
    types = TYPES.replace("(type $r (resource (rep i32)))", "")
    options = f"(memory $memory) {late}"
    return f"""(component
  (core module $Late
    (table (export "table") 2 funcref)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (call_indirect (param i32 i32 i32 i32) (result i32)
        (local.get 0) (local.get 1) (local.get 2) (local.get 3) (i32.const 1)))
    (func (export "destroy") (param i32) (call_indirect (param i32) (local.get 0) (i32.const 0))))
  (core instance $late (instantiate $Late))
  (type $r (resource (rep i32) (dtor (core func $late "destroy"))))
  {types}
  {ALLOCATOR}
  {definitions}
  (core module $Main
    (import "memory" "memory" (memory 4))
    (import "memory" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (import "late" "table" (table 2 funcref))
    {imports}
    (global $mode (mut i32) (i32.const {NUMBERS["nothing"]}))
    (global $handle (mut i32) (i32.const 0))
    (func $act {actions})
    (func $destroy (param i32) (call $act))
    (elem (i32.const 0) $destroy $allocate)
    (func (export "mode") (param i32) (global.set $mode (local.get 0)))
    (func $allocate (param i32 i32 i32 i32) (result i32)
      (call $act) (call $realloc (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
    (func (export "take") (param i32 i32) (result i32) (local.get 1))
    (func (export "text") (result i32) (i32.store (i32.const 16) (i32.const 64)) (i32.const 16))
    (func (export "text-after") (param i32) (call $act))
    (func (export "make") (result i32) (call $r-new (i32.const 7)))
    (func (export "drop") (global.set $handle (call $r-new (i32.const 7))) (call $r-drop (global.get $handle)))
    (func (export "read") (param i32) (result i32)
      (drop (call $t-read (local.get 0) (i32.const 0) (i32.const 1)))
      (call $join (local.get 0) (call $set-new))
      (i32.const 0x22))
    (func (export "read-event") (param i32 i32 i32) (result i32) (call $return (i32.const 1)) (i32.const 0)))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory)) (with "late" (instance $late)) (with "" (instance {given}))))
  (export $made "made" (type $r))
  (func (export "mode") (param "m" u32) (canon lift (core func $main "mode")))
  (func (export "take") (param "s" string) (result u32) (canon lift (core func $main "take") {options}))
  (func (export "text") (result string)
    (canon lift (core func $main "text") {options} (post-return (core func $main "text-after"))))
  (func (export "make") (result (own $made)) (canon lift (core func $main "make")))
  (func (export "drop") (canon lift (core func $main "drop")))
  (func (export "read") async (param "t" $t) (result u32)
    (canon lift (core func $main "read") async (callback (core func $main "read-event")) {options})))"""


ENTRIES = entries_text()


async def attack(name: str, action: str, message: str, *args: Any, **settings: Any) -> None:
    async with bystander(), load(ENTRIES).instantiate(hostile_imports([]), **settings) as instance:
        await instance.exports.mode(NUMBERS[action])
        with pytest.raises(Trap, match=message):
            await instance.exports[name](*args)
        with pytest.raises(Trap, match="after it trapped"):
            await instance.exports[name](*args)
    assert not instance.driver.host_tasks


@pytest.mark.parametrize(("action", "message"), [("trap", "unreachable"), ("recurse", "stack exhausted")])
@pytest.mark.parametrize("name", ["take", "text", "drop"])
async def test_trap_on_the_side_is_the_calls_trap(name: str, action: str, message: str) -> None:
    await attack(name, action, message, *(("some text",) if name == "take" else ()))


async def test_memory_may_grow_on_the_side() -> None:
    async with load(ENTRIES).instantiate(hostile_imports([]), limits=MachineLimits(memory_bytes=8 * 65536)) as instance:
        await instance.exports.mode(NUMBERS["grow"])
        for _ in range(10):  # and be refused to
            assert await instance.exports.take("some text") == 9
            assert await instance.exports.text() == ""
            await instance.exports.drop()


@pytest.mark.parametrize(
    ("action", "message"),
    [("block", "cannot block"), ("wait-sync", "cannot block"), ("drop-again", "unknown handle"), ("return", "async")],
)
@pytest.mark.parametrize("by_host", [False, True])
async def test_destructor_that_breaks_a_rule_traps(action: str, message: str, by_host: bool) -> None:
    if not by_host:
        await attack("drop", action, message)
        return
    async with bystander(), load(ENTRIES).instantiate(hostile_imports([])) as instance:
        made = await instance.exports.make()
        await instance.exports.mode(NUMBERS[action])
        made.drop()
        made.drop()
        with pytest.raises(Trap, match=message):
            await instance.exports.take("some text")


async def test_destructor_may_make_and_drop_others() -> None:
    async with load(ENTRIES).instantiate(hostile_imports([])) as instance:
        await instance.exports.mode(NUMBERS["make-and-drop"])
        await instance.exports.drop()
        assert len(instance.driver.store.instances[0].handles) == 0


async def test_destructor_that_never_ends_is_ended_with_its_call() -> None:
    async with bystander(), load(ENTRIES).instantiate(hostile_imports([]), grace_seconds=0.02) as instance:
        await instance.exports.mode(NUMBERS["spin"])
        with anyio.move_on_after(0.03) as scope:
            await instance.exports.drop()
        assert scope.cancelled_caught
        with pytest.raises(Trap, match="killed"):
            await instance.exports.take("some text")


async def test_destructor_that_never_ends_and_nobody_waits_for_is_killed() -> None:
    async with bystander(), load(ENTRIES).instantiate(hostile_imports([]), grace_seconds=0.02) as instance:
        made = await instance.exports.make()
        await instance.exports.mode(NUMBERS["spin"])
        made.drop()
        with anyio.fail_after(2), pytest.raises(Trap, match=r"nobody waits for.*killed"):
            await instance.exports.take("some text")


@pytest.mark.parametrize(("action", "message"), [("trap", "unreachable"), ("wait", "cannot leave")])
async def test_realloc_that_fails_when_the_host_delivers_traps_who_waits(action: str, message: str) -> None:
    async def texts() -> AsyncIterator[list[str]]:
        await instance.exports.mode(NUMBERS[action])
        yield ["some text"]

    async with bystander(), load(ENTRIES).instantiate(hostile_imports([])) as instance:
        with pytest.raises(Trap, match=message):
            await instance.exports.read(texts())

"""A component that breaks one rule of values or of tasks in each of its exports, and what every test of hostile guests
has in common. What can be done to built-ins stands in `hostile_rows`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from guest_text import Canons, behaviours, callback_export, component_text, load, stackful_export, sync_export

from p3host import Trap


async def wait(ms: int) -> int:
    await anyio.sleep(ms / 1000)
    return ms


@asynccontextmanager
async def bystander() -> AsyncIterator[None]:
    """Another instance has a call in progress during the block, which ends as if nothing had happened."""
    results = []
    begun, over = anyio.Event(), anyio.Event()

    async def wait_for_the_attack(ms: int) -> int:
        begun.set()
        await over.wait()
        return ms

    async with behaviours().instantiate({"wait": wait_for_the_attack}) as other:

        async def nap() -> None:
            results.append(await other.exports.nap(3))

        async with anyio.create_task_group() as group:
            group.start_soon(nap)
            await begun.wait()
            yield
            over.set()
        assert results == [3]
        assert await other.exports.add(1, 2) == 3
        assert not other.driver.host_tasks
        assert not other.driver.store.threads
        assert len(other.driver.store.instances[0].handles) == 0


async def assert_traps(
    text: str, name: str, message: str, *args: Any, imports: Mapping[str, Any] | None = None, **settings: Any
) -> None:
    """A call of `name` traps, every later one too, and nothing of it is left in the host."""
    async with bystander():
        async with load(text).instantiate(imports, **settings) as instance:
            with pytest.raises(Trap, match=message):
                await instance.exports[name](*args)
            with pytest.raises(Trap, match="after it trapped"):
                await instance.exports[name](*args)
        assert not instance.driver.host_tasks
        assert not instance.driver.calls
        assert instance.machine.closed


TYPES = """(type $s (stream u8)) (type $t (stream string)) (type $l (list u64))
  (type $r (resource (rep i32))) (type $ls (list string)) (type $cases (enum "a" "b"))
  (import "cases" (type $e (eq $cases)))
  (import "wait" (func $wait async (param "ms" u32) (result u32)))
  (import "both" (func $both (param "a" $s) (param "b" $s)))
  (import "list" (func $list (param "l" $l)))
  (import "strings" (func $strings (param "l" $ls)))
  (import "string" (func $string (param "s" string)))
  (import "char" (func $char (param "c" char)))
  (import "enum" (func $enum (param "e" $e)))"""

IO = "(memory $memory) (realloc $realloc)"
CANONS: Canons = {
    "wait": ("lower (func $wait) async (memory $memory)", "(param i32 i32) (result i32)"),
    "wait-sync": ("lower (func $wait)", "(param i32) (result i32)"),
    "both": ("lower (func $both)", "(param i32 i32)"),
    "list": ("lower (func $list) (memory $memory)", "(param i32 i32)"),
    "strings": ("lower (func $strings) (memory $memory)", "(param i32 i32)"),
    "string": ("lower (func $string) (memory $memory)", "(param i32 i32)"),
    "char": ("lower (func $char)", "(param i32)"),
    "enum": ("lower (func $enum)", "(param i32)"),
    "set-new": ("waitable-set.new", "(result i32)"),
    "set-wait": ("waitable-set.wait (memory $memory)", "(param i32 i32) (result i32)"),
    "set-drop": ("waitable-set.drop", "(param i32)"),
    "join": ("waitable.join", "(param i32 i32)"),
    "return": ("task.return (result u32)", "(param i32)"),
    "return-nothing": ("task.return", ""),
    "return-string": ("task.return (result string) (memory $memory)", "(param i32 i32)"),
    "cancel": ("task.cancel", ""),
    "inc": ("backpressure.inc", ""),
    "r-new": ("resource.new $r", "(param i32) (result i32)"),
    "r-drop": ("resource.drop $r", "(param i32)"),
    "s-new": ("stream.new $s", "(result i64)"),
    "t-read": (f"stream.read $t async {IO}", "(param i32 i32 i32) (result i32)"),
}

# In the core code: $pair puts the readable end of what `new` gives into the global $in.
PRELUDE = """
    (global $in (mut i32) (i32.const 0))
    (func $pair (param $ends i64) (global.set $in (i32.wrap_i64 (local.get $ends))))
"""

IN, END = "(global.get $in)", 4 * 65536


def i32(value: int) -> str:
    return f"(i32.const {value})"


# Name: the code of a function without parameters, lifted synchronously, and what the trap says.
SYNC_ATTACKS: dict[str, tuple[str, str]] = {
    "give-twice": (f"(call $pair (call $s-new)) (call $both {IN} {IN})", "unknown handle index"),
    "list-2-29": (f"(call $list {i32(0)} {i32(2**29)})", "longer than"),
    "list-unaligned": (f"(call $list {i32(4)} {i32(1)})", "align"),
    "strings-2-29": (f"(call $strings {i32(0)} {i32(2**29)})", "longer than"),
    "string-2-31": (f"(call $string {i32(0)} {i32(-(2**31))})", "longer than"),
    "string-no-utf-8": (f"(i32.store8 {i32(64)} {i32(0xFF)}) (call $string {i32(64)} {i32(1)})", "utf-?8"),
    "surrogate": (f"(call $char {i32(0xD800)})", "char|code point"),
    "char-too-high": (f"(call $char {i32(0x110000)})", "char|code point"),
    "enum-too-high": (f"(call $enum {i32(2)})", "discriminant|case"),
}

# Name: the code of an async function's start (gives a callback code), that of its callback, and what the trap says.
CALLBACK_ATTACKS: dict[str, tuple[str, str, str]] = {
    "code-3": (i32(3), "unreachable", "callback code 3"),
    "code-15": (i32(-1), "unreachable", "callback code 15"),
    "wait-for-0": (i32(2), "unreachable", "unknown handle index 0"),
    "wait-for-stream": (f"(call $pair (call $s-new)) {i32(0x12)}", "unreachable", "is no waitable set"),
    "wait-for-dropped": (f"(call $set-drop (call $set-new)) {i32(0x12)}", "unreachable", "unknown handle index 1"),
    "code-later": (i32(1), i32(5), "callback code 5"),
    "no-return": (i32(1), i32(0), "without calling task.return"),
    "returns-nothing": (f"(call $return-nothing) {i32(0)}", "unreachable", "signature"),
    "returns-a-string": (f"(call $return-string {i32(0)} {i32(0)}) {i32(0)}", "unreachable", "signature"),
    "cancels-itself": (f"(call $cancel) {i32(0)}", "unreachable", "without a cancellation"),
    "traps-later": (f"(call $inc) {i32(1)}", "unreachable", "unreachable"),
    "never-ends-its-stack": ("(call $deep) (unreachable)", "unreachable", "stack exhausted"),
}

# These give the caller its result before they break the rule.
LATE_ATTACKS: dict[str, tuple[str, str, str]] = {
    "returns-twice": (f"(call $return {i32(1)}) (call $return {i32(1)}) {i32(0)}", "unreachable", "resolved"),
    "returns-later-again": (f"(call $return {i32(1)}) {i32(1)}", f"(call $return {i32(1)}) {i32(0)}", "resolved"),
    "cancels-after-return": (f"(call $return {i32(1)}) (call $cancel) {i32(0)}", "unreachable", "without a cancell"),
    "traps-after-return": (f"(call $return {i32(1)}) (unreachable)", "unreachable", "unreachable"),
    "code-after-return": (f"(call $return {i32(1)}) {i32(9)}", "unreachable", "callback code 9"),
}


def export(name: str, sig: str, body: str) -> str:
    return f'(func (export "{name}") {sig} {body})'


def hostile_text() -> str:
    code = [PRELUDE, "(func $deep (call $deep) (call $deep))"]
    exports = []
    for name, (body, _) in SYNC_ATTACKS.items():
        code.append(export(name, "", body))
        exports.append(sync_export(name))
    for name, (start, event, _) in (CALLBACK_ATTACKS | LATE_ATTACKS).items():
        code.append(export(name, "(result i32)", start))
        code.append(export(f"{name}-event", "(param i32 i32 i32) (result i32)", event))
        exports.append(callback_export(name, "", "u32"))
    code.append(export("fine", "(result i32)", f"(call $string {i32(END - 2)} {i32(2)}) {i32(1)}"))
    exports.append(sync_export("fine", "", "u32"))
    code.append(export("empty", "", f"(call $string {i32(END)} {i32(0)})"))
    exports.append(sync_export("empty"))
    code.append(export("waits", "(result i32)", f"(i32.or {i32(2)} (i32.shl (call $set-new) {i32(4)}))"))
    code.append(export("waits-event", "(param i32 i32 i32) (result i32)", "unreachable"))
    exports.append(callback_export("waits", "", "u32"))
    code.append(export("no-return-stackful", "", f"(drop (call $wait-sync {i32(0)}))"))
    exports.append(stackful_export("no-return-stackful", "", "u32"))
    return component_text(imports=TYPES, canons=CANONS, code="\n".join(code), exports="\n".join(exports))


HOSTILE = hostile_text()


def hostile_imports(got: list[Any]) -> dict[str, Any]:
    return {
        "wait": wait,
        "both": lambda a, b: got.extend((a, b)),
        **dict.fromkeys(("list", "strings", "string", "char", "enum"), got.append),
    }

"""A component that breaks one rule in each of its exports, and what every test of hostile guests has in common."""

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


TYPES = """(type $s (stream u8)) (type $t (stream string)) (type $f (future u8)) (type $l (list u64))
  (type $r (resource (rep i32))) (type $ls (list string)) (type $cases (enum "a" "b"))
  (import "cases" (type $e (eq $cases)))
  (import "wait" (func $wait async (param "ms" u32) (result u32)))
  (import "give" (func $give (param "s" $s)))
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
    "give": ("lower (func $give)", "(param i32)"),
    "both": ("lower (func $both)", "(param i32 i32)"),
    "list": ("lower (func $list) (memory $memory)", "(param i32 i32)"),
    "strings": ("lower (func $strings) (memory $memory)", "(param i32 i32)"),
    "string": ("lower (func $string) (memory $memory)", "(param i32 i32)"),
    "char": ("lower (func $char)", "(param i32)"),
    "enum": ("lower (func $enum)", "(param i32)"),
    "set-new": ("waitable-set.new", "(result i32)"),
    "set-wait": ("waitable-set.wait (memory $memory)", "(param i32 i32) (result i32)"),
    "set-poll": ("waitable-set.poll (memory $memory)", "(param i32 i32) (result i32)"),
    "set-drop": ("waitable-set.drop", "(param i32)"),
    "join": ("waitable.join", "(param i32 i32)"),
    "subtask-cancel": ("subtask.cancel", "(param i32) (result i32)"),
    "subtask-drop": ("subtask.drop", "(param i32)"),
    "return": ("task.return (result u32)", "(param i32)"),
    "return-nothing": ("task.return", ""),
    "return-string": ("task.return (result string) (memory $memory)", "(param i32 i32)"),
    "cancel": ("task.cancel", ""),
    "yield": ("thread.yield", "(result i32)"),
    "inc": ("backpressure.inc", ""),
    "dec": ("backpressure.dec", ""),
    "r-new": ("resource.new $r", "(param i32) (result i32)"),
    "r-rep": ("resource.rep $r", "(param i32) (result i32)"),
    "r-drop": ("resource.drop $r", "(param i32)"),
    "s-new": ("stream.new $s", "(result i64)"),
    "s-read": ("stream.read $s async (memory $memory)", "(param i32 i32 i32) (result i32)"),
    "s-write": ("stream.write $s async (memory $memory)", "(param i32 i32 i32) (result i32)"),
    "s-read-sync": ("stream.read $s (memory $memory)", "(param i32 i32 i32) (result i32)"),
    "s-cancel-read": ("stream.cancel-read $s", "(param i32) (result i32)"),
    "s-cancel-write": ("stream.cancel-write $s", "(param i32) (result i32)"),
    "s-drop-r": ("stream.drop-readable $s", "(param i32)"),
    "s-drop-w": ("stream.drop-writable $s", "(param i32)"),
    "t-new": ("stream.new $t", "(result i64)"),
    "t-read": (f"stream.read $t async {IO}", "(param i32 i32 i32) (result i32)"),
    "t-write": (f"stream.write $t async {IO}", "(param i32 i32 i32) (result i32)"),
    "f-new": ("future.new $f", "(result i64)"),
    "f-read": ("future.read $f async (memory $memory)", "(param i32 i32) (result i32)"),
    "f-write": ("future.write $f async (memory $memory)", "(param i32 i32) (result i32)"),
    "f-drop-r": ("future.drop-readable $f", "(param i32)"),
    "f-drop-w": ("future.drop-writable $f", "(param i32)"),
}

# In the core code: $pair takes what `new` gives apart into the globals $in (readable) and $out (writable).
PRELUDE = """
    (global $in (mut i32) (i32.const 0))
    (global $out (mut i32) (i32.const 0))
    (func $pair (param $ends i64)
      (global.set $in (i32.wrap_i64 (local.get $ends)))
      (global.set $out (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32)))))
    (func $reading (call $pair (call $s-new)) (drop (call $s-read (global.get $in) (i32.const 0) (i32.const 4))))
    (func $pending (param $ms i32) (result i32)
      (i32.shr_u (call $wait (local.get $ms) (i32.const 16)) (i32.const 4)))
"""

IN, OUT, END = "(global.get $in)", "(global.get $out)", 4 * 65536


def i32(value: int) -> str:
    return f"(i32.const {value})"


def read(pointer: int, count: int) -> str:
    return f"(call $pair (call $s-new)) (drop (call $s-read {IN} {i32(pointer)} {i32(count)}))"


PASS_TWICE = f"(call $pair (call $s-new)) (call $both {IN} {IN})"
STALE = f"(call $pair (call $s-new)) (call $give {IN}) (call $s-drop-r {IN})"

# Name: the code of a function without parameters, lifted synchronously, and what the trap says.
SYNC_ATTACKS: dict[str, tuple[str, str]] = {
    "handle-0": (f"(call $set-drop {i32(0)})", "unknown handle index 0"),
    "handle-99": (f"(call $set-drop {i32(99)})", "unknown handle index 99"),
    "handle-minus-1": (f"(call $subtask-drop {i32(-1)})", "unknown handle index 4294967295"),
    "set-as-subtask": ("(call $subtask-drop (call $set-new))", "is no subtask"),
    "set-as-stream": ("(call $s-drop-r (call $set-new))", "is no readable end"),
    "set-as-resource": ("(call $r-drop (call $set-new))", "is no resource"),
    "set-joins-set": ("(call $join (call $set-new) (call $set-new))", "is no waitable"),
    "join-to-stream": (f"(call $pair (call $s-new)) (call $join {IN} {OUT})", "is no waitable set"),
    "set-twice": (f"(call $set-drop (call $set-new)) (call $set-drop {i32(1)})", "unknown handle index 1"),
    "set-with-members": (
        f"(call $pair (call $s-new)) (call $join {IN} (call $set-new)) (call $set-drop {i32(3)})",
        "still has members",
    ),
    "poll-out-of-bounds": (f"(drop (call $set-poll (call $set-new) {i32(END - 4)}))", "out of bounds"),
    "poll-unaligned": (f"(drop (call $set-poll (call $set-new) {i32(2)}))", "not aligned"),
    "rep-of-nothing": (f"(drop (call $r-rep {i32(5)}))", "unknown handle index 5"),
    "resource-twice": (f"(call $r-drop (call $r-new {i32(7)})) (call $r-drop {i32(1)})", "unknown handle index 1"),
    "read-the-writable": (f"(call $pair (call $s-new)) (drop (call $s-read {OUT} {i32(0)} {i32(1)}))", "no readable"),
    "read-of-another-type": (
        f"(call $pair (call $s-new)) (drop (call $t-read {IN} {i32(0)} {i32(1)}))",
        "another type",
    ),
    "read-future-as-stream": (
        f"(call $pair (call $f-new)) (drop (call $s-read {IN} {i32(0)} {i32(1)}))",
        "no readable",
    ),
    "read-2-28": (read(0, 2**28), "too long"),
    "read-2-32": (read(0, -1), "too long"),
    "read-over-the-end": (read(END - 3, 4), "out of bounds"),
    "read-far-out": (read(-1, 1), "out of bounds"),
    "read-maximal": (read(8, 2**28 - 1), "out of bounds"),
    "read-unaligned": (f"(call $pair (call $t-new)) (drop (call $t-read {IN} {i32(2)} {i32(1)}))", "not aligned"),
    "read-overflow": (
        f"(call $pair (call $t-new)) (drop (call $t-read {IN} {i32(0)} {i32(2**28 - 1)}))",
        "out of bounds",
    ),
    "read-while-reading": (f"(call $reading) (drop (call $s-read {IN} {i32(0)} {i32(4)}))", "in progress"),
    "drop-while-reading": (f"(call $reading) (call $s-drop-r {IN})", "in progress"),
    "give-while-reading": (f"(call $reading) (call $give {IN})", "while it is copying"),
    "cancel-write-of-a-read": (f"(call $reading) (drop (call $s-cancel-write {OUT}))", "no copy to cancel"),
    "cancel-by-the-wrong-end": (f"(call $reading) (drop (call $s-cancel-write {IN}))", "no writable end"),
    "cancel-nothing": (f"(call $pair (call $s-new)) (drop (call $s-cancel-read {IN}))", "no copy to cancel"),
    "cancel-twice": (
        f"(call $reading) (drop (call $s-cancel-read {IN})) (drop (call $s-cancel-read {IN}))",
        "no copy to cancel",
    ),
    "read-after-the-end": (
        f"""(call $pair (call $s-new)) (call $s-drop-w {OUT})
            (drop (call $s-read {IN} {i32(0)} {i32(1)})) (drop (call $s-read {IN} {i32(0)} {i32(1)}))""",
        "after its other end was dropped",
    ),
    "give-the-writable": (f"(call $pair (call $s-new)) (call $give {OUT})", "no readable end"),
    "give-twice": (PASS_TWICE, "unknown handle index"),
    "give-in-a-set": (
        f"(call $pair (call $s-new)) (call $join {IN} (call $set-new)) (call $give {IN})",
        "waitable set",
    ),
    "drop-what-was-given": (STALE, "unknown handle index"),
    "strings-within-one-instance": (
        f"""(call $pair (call $t-new)) (drop (call $t-read {IN} {i32(0)} {i32(1)}))
            (drop (call $t-write {OUT} {i32(0)} {i32(1)}))""",
        "within one instance",
    ),
    "future-unwritten": (f"(call $pair (call $f-new)) (call $f-drop-w {OUT})", "not written"),
    "future-twice": (
        f"""(call $pair (call $f-new)) (drop (call $f-read {IN} {i32(0)})) (drop (call $f-write {OUT} {i32(9)}))
            (drop (call $f-write {OUT} {i32(9)}))""",
        "done",
    ),
    "backpressure-below-0": ("(call $dec)", "backpressure"),
    "backpressure-without-end": ("(loop $on (call $inc) (br $on))", "backpressure"),
    "return-from-sync": (f"(call $return {i32(1)})", "not lifted as async"),
    "cancel-of-sync": ("(call $cancel)", "task.cancel"),
    "block-on-a-set": (f"(drop (call $set-wait (call $set-new) {i32(0)}))", "cannot block"),
    "block-on-a-stream": (
        f"(call $pair (call $s-new)) (drop (call $s-read-sync {IN} {i32(0)} {i32(1)}))",
        "cannot block",
    ),
    "block-on-the-host": (f"(drop (call $wait-sync {i32(1)}))", "cannot block"),
    "subtask-unresolved": (f"(call $subtask-drop (call $pending {i32(60_000)}))", "not yet resolved"),
    "subtask-in-a-set": (
        f"""(call $join (call $pending {i32(60_000)}) (call $set-new)) (drop (call $subtask-cancel {i32(1)}))""",
        "waitable set",
    ),
    "list-over-the-end": (f"(call $list {i32(END - 8)} {i32(2)})", "out of bounds"),
    "list-2-29": (f"(call $list {i32(0)} {i32(2**29)})", "longer than"),
    "list-2-32": (f"(call $list {i32(8)} {i32(-1)})", "longer than"),
    "list-unaligned": (f"(call $list {i32(4)} {i32(1)})", "align"),
    "strings-2-29": (f"(call $strings {i32(0)} {i32(2**29)})", "longer than"),
    "string-over-the-end": (f"(call $string {i32(END - 1)} {i32(2)})", "out of bounds"),
    "string-far-out": (f"(call $string {i32(-1)} {i32(1)})", "out of bounds"),
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
        **dict.fromkeys(("give", "list", "strings", "string", "char", "enum"), got.append),
    }

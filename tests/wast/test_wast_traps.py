"""Traps of guests, whose messages mean what other hosts' scripts expect."""

from __future__ import annotations

import pytest
from guest_text import Canons, callback_export, component_text, sync_export

from p3host.wast import run_script

pytestmark = pytest.mark.anyio

STREAM, FUTURE = "(param i32 i32 i32) (result i32)", "(param i32 i32) (result i32)"
CANONS: Canons = {
    "stream.new": ("stream.new $bytes", "(result i64)"),
    "stream.read": ("stream.read $bytes async (memory $memory)", STREAM),
    "stream.read-sync": ("stream.read $bytes (memory $memory)", STREAM),
    "stream.write": ("stream.write $bytes async (memory $memory)", STREAM),
    "stream.drop-readable": ("stream.drop-readable $bytes", "(param i32)"),
    "stream.drop-writable": ("stream.drop-writable $bytes", "(param i32)"),
    "text.new": ("future.new $text", "(result i64)"),
    "text.read": (
        "future.read $text async (memory $memory) (realloc $realloc)",
        FUTURE,
    ),
    "text.write": ("future.write $text async (memory $memory)", FUTURE),
    "text.drop-writable": ("future.drop-writable $text", "(param i32)"),
    "set.new": ("waitable-set.new", "(result i32)"),
    "set.wait": ("waitable-set.wait (memory $memory)", FUTURE),
    "join": ("waitable.join", "(param i32 i32)"),
    "new": ("resource.new $thing", "(param i32) (result i32)"),
    "drop": ("resource.drop $thing", "(param i32)"),
    "other.drop": ("resource.drop $other", "(param i32)"),
    "return": ("task.return", ""),
    "return-number": ("task.return (result u32)", "(param i32)"),
    "backpressure.dec": ("backpressure.dec", ""),
    "suspend": ("thread.suspend", "(result i32)"),
    "resume-later": ("thread.resume-later", "(param i32)"),
    "index": ("thread.index", "(result i32)"),
}
TYPES = """(type $bytes (stream u8)) (type $text (future string))
  (type $thing (resource (rep i32))) (type $other (resource (rep i32)))"""
# `$stream` and `$text` make both ends, of which the readable one is then in $r, and the writable one in $w.
HELPERS = """
  (global $r (mut i32) (i32.const 0)) (global $w (mut i32) (i32.const 0))
  (func $ends (param i64)
    (global.set $r (i32.wrap_i64 (local.get 0)))
    (global.set $w (i32.wrap_i64 (i64.shr_u (local.get 0) (i64.const 32)))))
  (func $stream (call $ends (call $stream.new)))
  (func $text (call $ends (call $text.new)))
  (func $read (result i32) (call $stream.read (global.get $r) (i32.const 0) (i32.const 4)))
  (func $write (result i32) (call $stream.write (global.get $w) (i32.const 0) (i32.const 4)))
  (func (export "f-event") (param i32 i32 i32) (result i32) (unreachable))"""


def script_of(code: str, export: str, expected: str) -> str:
    component = component_text(code=f"{HELPERS}\n{code}", imports=TYPES, canons=CANONS, exports=export)
    return f'{component}\n(assert_trap (invoke "f") "{expected}")'


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("(call $stream) (drop (call $read)) (drop (call $read))", "concurrent operations active on a future/stream"),
        (
            "(call $stream) (drop (call $read)) (call $stream.drop-readable (global.get $r))",
            "cannot remove busy stream",
        ),
        ("(call $stream) (drop (call $write)) (call $stream.drop-writable (global.get $w))", "cannot drop busy stream"),
        (
            "(call $stream) (call $stream.drop-writable (global.get $w)) (drop (call $read)) (drop (call $read))",
            "cannot read from stream after being notified that the writable end dropped",
        ),
        (
            "(call $stream) (call $stream.drop-readable (global.get $r)) (drop (call $write)) (drop (call $write))",
            "cannot write after being notified that the readable end dropped",
        ),
        (
            "(call $stream) (call $join (global.get $r) (call $set.new))"
            "(drop (call $stream.read-sync (global.get $r) (i32.const 0) (i32.const 4)))",
            "waitable cannot be used synchronously while added to a waitable set",
        ),
        (
            "(call $stream) (drop (call $stream.read (global.get $r) (i32.const 0) (i32.const 0x10000000)))",
            "stream read/write count too large",
        ),
        (
            "(call $text) (call $text.drop-writable (global.get $w))",
            "cannot drop future write end without first writing",
        ),
        (
            "(call $text) (drop (call $text.read (global.get $r) (i32.const 0)))"
            "(drop (call $text.write (global.get $w) (i32.const 0)))",
            "cannot read from and write to intra-component future",
        ),
        ("(drop (call $set.wait (call $set.new) (i32.const 0)))", "cannot block a synchronous task before returning"),
        ("(drop (call $suspend))", "deadlock detected: event loop cannot make further progress"),
        ("(call $resume-later (call $index))", "cannot resume thread which is not suspended"),
        ("(call $drop (i32.const 0))", "unknown handle index 0"),
        (
            "(call $other.drop (call $new (i32.const 1)))",
            "handle index 1 used with the wrong type, expected guest-defined",
        ),
        ("(call $backpressure.dec)", "backpressure counter overflow"),
    ],
)
async def test_trap_of_a_builtin(body: str, expected: str) -> None:
    await passes(script_of(f'(func (export "f") {body})', sync_export("f"), expected))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("(i32.const 7)", "unsupported callback code"),
        ("(i32.const 0)", "async-lifted export failed to produce a result"),
        ("(call $return-number (i32.const 1)) (i32.const 0)", "invalid `task.return` signature and/or options"),
        ("(i32.or (i32.const 2) (i32.shl (call $set.new) (i32.const 4)))", "deadlock detected"),
    ],
)
async def test_trap_of_an_async_function(code: str, expected: str) -> None:
    await passes(script_of(f'(func (export "f") (result i32) {code})', callback_export("f"), expected))


@pytest.mark.parametrize(
    ("t", "code", "expected"),
    [
        ("char", "(i32.const 0xd800)", "invalid `char` bit pattern"),
        ("(option u8)", "(i32.store (i32.const 0) (i32.const 2)) (i32.const 0)", "discriminant 2 out of range"),
        ("string", "(i32.const 2)", "unaligned pointer"),
        ("string", "(i32.store (i32.const 0) (i32.const -1)) (i32.const 0)", "string content out-of-bounds"),
        (
            "string",
            "(i32.store (i32.const 8) (i32.const 0xe2)) (i32.store (i32.const 0) (i32.const 8))"
            "(i32.store (i32.const 4) (i32.const 1)) (i32.const 0)",
            "incomplete utf-8 byte sequence",
        ),
        (
            "(list u8)",
            "(i32.store (i32.const 0) (i32.const -1)) (i32.store (i32.const 4) (i32.const 1)) (i32.const 0)",
            "list content out-of-bounds",
        ),
    ],
)
async def test_trap_of_a_value(t: str, code: str, expected: str) -> None:
    body = f'(func (export "f") (result i32) (i32.store (i32.const 4) (i32.const 1)) {code})'
    await passes(script_of(body, sync_export("f", result=t, options="(memory $memory)"), expected))


async def passes(script: str) -> None:
    assert [outcome.problem for outcome in await run_script(script.encode())] == [None, None]

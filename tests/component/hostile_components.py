"""The components that the tables of misuses run in: every built-in, and code that makes what is to be misused."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from guest_text import ALLOCATOR, Canons, component_text
from hostile_builtins import BUFFER, BUILTINS, END, FUNCTIONS, HELD, i32

from p3host.component import Component
from p3host.types import CoreFuncType

WAIT = '(import "wait" (func $wait async (param "ms" u32) (result u32)))'
TABLE = f"""(core module $Table (table (export "table") {len(FUNCTIONS)} funcref))
  (core instance $table (instantiate $Table))
  (alias core export $table "table" (core table $functions))
  (core type $start (func (param i32)))"""
TABLE_IMPORT = f'(import "table" "table" (table {len(FUNCTIONS)} funcref))'
TABLE_ARGUMENT = '(with "table" (instance $table))'

ACTING = 13  # the representation of the resource whose destructor acts
IN, OUT, SET = "(global.get $in)", "(global.get $out)", "(global.get $set)"
TASK, THREAD = "(global.get $task)", "(global.get $thread)"
FOREVER = i32(60_000)


def readable(ends: str) -> str:
    return f"(i32.wrap_i64 {ends})"


def writable(ends: str) -> str:
    return f"(i32.wrap_i64 (i64.shr_u {ends} (i64.const 32)))"


def function(name: str) -> str:
    return i32(FUNCTIONS.index(name))


def index_of(status: str) -> str:
    """The subtask in what an async lower gives."""
    return f"(i32.shr_u {status} (i32.const 4))"


HOLDER_CANONS: Canons = {
    "wait": ("lower (func $wait) async (memory $memory)", "(param i32 i32) (result i32)"),
    "r-new": ("resource.new $r", "(param i32) (result i32)"),
    "set-new": ("waitable-set.new", "(result i32)"),
    "s-new": ("stream.new $s", "(result i64)"),
    "f-new": ("future.new $f", "(result i64)"),
    "error-new": ("error-context.new (memory $memory)", "(param i32 i32) (result i32)"),
    "thread-new": ("thread.new-indirect $start (core table $functions)", "(param i32 i32) (result i32)"),
    "return": ("task.return", ""),
    "cancel": ("task.cancel", ""),
    "inc": ("backpressure.inc", ""),
    "dec": ("backpressure.dec", ""),
}
HELD_CODE = {
    "own": f"(call $r-new {i32(7)})",
    "waitable set": "(call $set-new)",
    "subtask": index_of(f"(call $wait {FOREVER} {i32(16)})"),
    "readable end of a stream": readable("(call $s-new)"),
    "writable end of a stream": writable("(call $s-new)"),
    "readable end of a future": readable("(call $f-new)"),
    "writable end of a future": writable("(call $f-new)"),
    "error context": f"(call $error-new {i32(0)} {i32(0)})",
    "thread": f"(call $thread-new {i32(0)} {i32(0)})",
}


def holder_text() -> str:
    """The other instance. `hold` makes one of `HELD` at an index of 40 or so. `idle` ends when it is cancelled, `soon`
    after one turn, `take` at once, but not before `let-in` if `keep-out` was called."""
    holds = "\n".join(
        f"(if (i32.eq (local.get $kind) {i32(number)}) (then (return {HELD_CODE[kind]})))"
        for number, kind in enumerate(HELD)
    )
    code = f"""
    {TABLE_IMPORT}
    (func $nothing (param i32))
    (elem (i32.const 0) $nothing)
    (func $hold (export "hold") (param $kind i32) (result i32) (local $i i32)
      (loop $on
        (drop (call $set-new)) (drop (call $thread-new {i32(0)} {i32(0)}))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $on (i32.lt_u (local.get $i) (i32.const 40))))
      {holds}
      (unreachable))
    (func (export "idle") (result i32) (i32.or {i32(2)} (i32.shl (call $set-new) {i32(4)})))
    (func (export "idle-event") (param $code i32) (param i32 i32) (result i32)
      (if (i32.ne (local.get $code) {i32(6)}) (then (unreachable)))
      (call $cancel) (i32.const 0))
    (func (export "soon") (result i32) (i32.const 1))
    (func (export "soon-event") (param i32 i32 i32) (result i32) (call $return) (i32.const 0))
    (func (export "take") (param i32) (result i32) (call $return) (i32.const 0))
    (func (export "take-event") (param i32 i32 i32) (result i32) (unreachable))
    (func (export "take-now") (param i32))
    (func (export "keep-out") (call $inc))
    (func (export "let-in") (call $dec))"""
    exports = '(func (export "hold") (param "kind" u32) (result u32) (canon lift (core func $main "hold")))'
    for name, param in (("idle", ""), ("soon", ""), ("take", '(param "s" $s)')):
        callback = f'(callback (core func $main "{name}-event"))'
        exports += f'(func (export "{name}") async {param} (canon lift (core func $main "{name}") async {callback}))'
    for name, param in (("take-now", '(param "s" $s)'), ("keep-out", ""), ("let-in", "")):
        exports += f'(func (export "{name}") {param} (canon lift (core func $main "{name}")))'
    return component_text(
        imports=f"{WAIT} (type $s (stream u8)) (type $f (future u8)) (type $r (resource (rep i32))) {TABLE}",
        canons=HOLDER_CANONS,
        code=code,
        exports=exports,
        arguments=TABLE_ARGUMENT,
    ).replace("(component", "(component $Holder", 1)


HOLDER_EXPORTS = ("hold", "idle", "soon", "take", "take-now", "keep-out", "let-in")
TYPES = f"""(type $s (stream u8)) (type $t (stream string)) (type $e (stream))
  (type $f (future u8)) (type $g (future string)) (type $h (future)) (type $pair (tuple u32 u32)) (type $l (list u64))
  {TABLE}
  (core module $Destructor {TABLE_IMPORT} (func (export "destroy") (param i32)
    (call_indirect (param i32) (local.get 0) {function("destroy")})))
  (core instance $destructor (instantiate $Destructor {TABLE_ARGUMENT}))
  (type $r (resource (rep i32))) (type $d (resource (rep i32) (dtor (core func $destructor "destroy"))))
  (import "file" (type $file (sub resource)))
  {WAIT}
  (import "lend" (func $lend async (param "file" (borrow $file))))
  (import "give-file" (func $give-file (param "file" (own $file))))
  (import "borrow-file" (func $borrow-file (param "file" (borrow $file))))
  (import "lend-and-give" (func $lend-and-give async (param "lent" (borrow $file)) (param "given" (own $file))))
  (import "give-and-lend" (func $give-and-lend (param "given" (own $file)) (param "lent" (borrow $file))))
  (import "give-twice" (func $give-twice (param "one" (own $file)) (param "other" (own $file))))
  (import "give-stream" (func $give-stream (param "s" $s)))
  (import "give-future" (func $give-future (param "f" $f)))
  (import "give-error" (func $give-error (param "e" error-context)))
  (import "many" (func $many async {" ".join(f'(param "p{i}" u32)' for i in range(17))}))
  (import "pair" (func $pair async (result $pair)))
  (import "list" (func $list (param "l" $l)))
  (import "string" (func $string (param "s" string)))
  (import "mode" (func $mode (result u32)))
  (core module $OtherMemory (memory (export "memory") 1))
  (core instance $other-memory (instantiate $OtherMemory))
  (alias core export $other-memory "memory" (core memory $other-memory))
  {holder_text()}
  (instance $holder (instantiate $Holder (with "wait" (func $wait))))
  {" ".join(f'(alias export $holder "{name}" (func ${name}))' for name in HOLDER_EXPORTS)}"""
MORE_LOWERS: Canons = {
    "mode": ("lower (func $mode)", "(result i32)"),
    "hold": ("lower (func $hold)", "(param i32) (result i32)"),
    "idle": ("lower (func $idle) async", "(result i32)"),
    "soon": ("lower (func $soon) async", "(result i32)"),
    "keep-out": ("lower (func $keep-out)", ""),
    "let-in": ("lower (func $let-in)", ""),
}


@cache
def canons() -> Canons:
    """All built-ins, each with its core signature."""
    definitions = "\n".join(f"(core func (canon {builtin.text}))" for builtin in BUILTINS.values())
    probe = Component.load(f"(component {TYPES} {ALLOCATOR} {definitions})")
    signatures = [canon.signature for canon in probe.program.canons[-len(BUILTINS) :]]
    known = {
        name: (builtin.text, signature_text(signature))
        for (name, builtin), signature in zip(BUILTINS.items(), signatures, strict=True)
    }
    return {**known, **MORE_LOWERS}


def signature_text(signature: CoreFuncType) -> str:
    params = f"(param {' '.join(signature.params)})" if signature.params else ""
    results = f"(result {' '.join(signature.results)})" if signature.results else ""
    return f"{params} {results}"


def call(name: str, *operands: str) -> str:
    """A call of a built-in that drops its result. Operands that are not given are good ones."""
    given = [*operands, *(operand.good for operand in BUILTINS[name].operands[len(operands) :])]
    code = f"(call ${name} {' '.join(given)})"
    return f"(drop {code})" if "result" in canons()[name][1] else code


def call_with_zeros(name: str) -> str:
    return call(name, *(i32(0) for _ in BUILTINS[name].operands))


def expect(code: str, value: int) -> str:
    """Traps with "unreachable" where the code gives another value."""
    return f"(if (i32.ne {code} {i32(value)}) (then (unreachable)))"


def ends_text(letter: str) -> str:
    """New pairs of ends."""
    return f"""
    (func ${letter} (local $ends i64)
      (local.set $ends (call ${letter}-new))
      (global.set $in {readable("(local.get $ends)")}) (global.set $out {writable("(local.get $ends)")}))
    (func ${letter}-in (result i32) (call ${letter}) {IN})
    (func ${letter}-out (result i32) (call ${letter}) {OUT})"""


MAKERS = f"""
    {TABLE_IMPORT}
    (global $in (mut i32) (i32.const 0)) (global $out (mut i32) (i32.const 0))
    (global $set (mut i32) (i32.const 0)) (global $task (mut i32) (i32.const 0))
    (global $thread (mut i32) (i32.const 0))
    (global $file (mut i32) (i32.const 0)) (global $borrowed (mut i32) (i32.const 0))
    {"".join(ends_text(letter) for letter in "stefgh")}
    (func $freed-s-in (result i32) (call $s) (call $s-drop-readable {IN}) {IN})
    (func $freed-s-out (result i32) (call $s) (call $s-drop-writable {OUT}) {OUT})
    (func $freed-f-in (result i32) (call $f) (call $f-drop-readable {IN}) {IN})
    (func $freed-f-out (result i32)
      (call $f) (call $f-drop-readable {IN}) (drop (call $f-write {OUT} {i32(BUFFER)})) (call $f-drop-writable {OUT})
      {OUT})
    (func $freed-own (result i32) (local $i i32)
      (call $r-drop (local.tee $i (call $r-new (i32.const 7)))) (local.get $i))
    (func $freed-set (result i32) (local $i i32) (call $set-drop (local.tee $i (call $set-new))) (local.get $i))
    (func $set-with-event (result i32)
      (call $s) {call("s-read", IN)} {call("s-write", OUT)}
      (global.set $set (call $set-new)) (call $join {IN} {SET}) {SET})
    (func $freed-error (result i32) (local $i i32)
      (call $error-drop (local.tee $i (call $error-new (i32.const 0) (i32.const 0)))) (local.get $i))

    ;; subtasks: of the host, that is in progress; of the other instance; one that was cancelled
    (func $pending (result i32) (global.set $task {index_of(f"(call $wait {FOREVER} {i32(16)})")}) (global.get $task))
    (func $idle-task (result i32) (global.set $task {index_of("(call $idle)")}) (global.get $task))
    (func $soon-task (result i32) (global.set $task {index_of("(call $soon)")}) (global.get $task))
    (func $cancelled-task (result i32) (drop (call $subtask-cancel (call $idle-task))) (global.get $task))
    (func $freed-subtask (result i32) (call $subtask-drop (call $cancelled-task)) (global.get $task))

    (func $many-sets (result i32) (local $i i32) (local $index i32)
      (loop $on
        (local.set $index (call $set-new))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $on (i32.lt_u (local.get $i) (i32.const 20))))
      (local.get $index))
    (func $many-threads (result i32) (local $i i32) (local $index i32)
      (loop $on
        (local.set $index (call $new-thread))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $on (i32.lt_u (local.get $i) (i32.const 20))))
      (local.get $index))

    ;; threads: not begun, ended, ready, waiting; `$with` runs one until it blocks or ends
    (func $nothing (param i32))
    (func $wait-in-set (param i32) {call("set-wait", SET)})
    (func $read-stream (param i32) {call("s-read-sync", IN)})
    (func $write-stream (param i32) {call("s-write-sync", OUT)})
    (func $read-future (param i32) {call("f-read-sync", IN)})
    (func $write-future (param i32) {call("f-write-sync", OUT)})
    (func $cancel-subtask (param i32) {call("subtask-cancel", TASK)})
    (func $returns (param i32) (call $return-nothing))
    (func $destroy (param i32) (if (i32.eq (local.get 0) {i32(ACTING)}) (then (call $act))))
    (func $other-type)
    (elem (i32.const 0) {" ".join(f"${name}" for name in FUNCTIONS if name != "null")})
    (func $new-thread (result i32) (call $thread-new (i32.const 0) (i32.const 0)))
    (func $with (param $function i32) (result i32)
      (global.set $thread (call $thread-new (local.get $function) (i32.const 0)))
      (drop (call $yield-then-resume (global.get $thread)))
      (global.get $thread))
    (func $ended-thread (result i32) (call $with {function("nothing")}))
    (func $ready-thread (result i32)
      (global.set $thread (call $new-thread)) (call $resume-later (global.get $thread)) (global.get $thread))
    (func $waiting-thread (result i32)
      (global.set $set (call $set-new)) (call $with {function("wait-in-set")}))

    ;; what is in progress in every instance under test: a resource of the host, its stream being read, a call of it
    (func (export "prepare") (param $f i32) (param $s i32)
      (global.set $file (local.get $f))
      (drop (call $s-read (local.get $s) (i32.const 2048) (i32.const 16)))
      (drop (call $pending)))
    (func (export "fine"))
    (func (export "borrow") (param i32) (global.set $borrowed (local.get 0)))
"""
BASE_EXPORTS = """
  (func (export "prepare") (param "file" (own $file)) (param "s" $s) (canon lift (core func $main "prepare")))
  (func (export "fine") (canon lift (core func $main "fine")))"""
assert END == 4 * 65536  # of guest_text's allocator


def hostile_component(code: Iterable[str], exports: Iterable[str], act: str = "") -> str:
    """`act` is what the destructor does, and other functions where tests want it."""
    return component_text(
        imports=TYPES,
        canons=canons(),
        code="\n".join([MAKERS, f"(func $act {act})", *code]),
        exports="\n".join([BASE_EXPORTS, *exports]),
        arguments=TABLE_ARGUMENT,
    )

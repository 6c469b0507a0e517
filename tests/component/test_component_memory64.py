"""Components whose memories and tables have addresses of 64 bits (CanonicalABI.md, the clauses marked 🐘), from end to
end."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
from guest_text import Canons, imported_func, load

from p3host import Err, ErrorContext, Ok, Some, StreamReader, Trap
from p3host.abi.layout import flatten_types

pytestmark = pytest.mark.anyio

ALLOCATOR = """(core module $Memory
    (memory (export "memory") i64 4)
    (global $next (mut i64) (i64.const 4096))
    (func (export "realloc") (param i64 i64 i64 i64) (result i64) (local $at i64)
      (local.set $at (i64.and (i64.add (global.get $next) (i64.const 15)) (i64.const -16)))
      (global.set $next (i64.add (local.get $at) (local.get 3)))
      (memory.copy (local.get $at) (local.get 0) (local.get 1))
      (local.get $at)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $memory))
  (alias core export $memory "realloc" (core func $realloc))"""
MEMORY = "(memory $memory) (realloc $realloc)"


def wide_text(*, code: str, exports: str, imports: str = "", canons: Canons | None = None) -> str:
    """`component_text` with a memory of 64 bits."""
    canons = canons or {}
    definitions = "\n".join(f"  (core func ${name} (canon {text}))" for name, (text, _) in canons.items())
    core_imports = "\n".join(f'    (import "" "{name}" (func ${name} {sig}))' for name, (_, sig) in canons.items())
    given = " ".join(f'(export "{name}" (func ${name}))' for name in canons)
    return f"""(component
  {imports}
  {ALLOCATOR}
{definitions}
  (core module $Main
    (import "memory" "memory" (memory i64 4))
    (import "memory" "realloc" (func $realloc (param i64 i64 i64 i64) (result i64)))
{core_imports}
{code})
  (core instance $main (instantiate $Main (with "memory" (instance $memory)) (with "" (instance {given}))))
{exports})"""


def passing_on(types: str, t: str, options: str = "") -> str:
    """Its export `echo` calls its import `host`, and returns what that returns."""
    func = imported_func(f'(component {types} (import "host" (func (param "v" {t}) (result {t}))))')
    flat = flatten_types(func.param_types, "i64")
    params = ["i64"] if len(flat) > 16 else [*flat]
    args = " ".join(f"(local.get {i})" for i in range(len(params)))
    if len(flat) > 1:
        host, body, result = f"(param {' '.join([*params, 'i64'])})", f"(call $host {args} (i64.const 1024))", "i64"
        body += " (i64.const 1024)"
    else:
        host, body, result = f"(param {flat[0]}) (result {flat[0]})", f"(call $host {args})", flat[0]
    return wide_text(
        imports=f'{types} (import "host" (func $host (param "v" {t}) (result {t})))',
        canons={"host": (f"lower (func $host) {MEMORY} {options}", host)},
        code=f'(func (export "echo") (param {" ".join(params)}) (result {result}) {body})',
        exports=f"""(func (export "echo") (param "v" {t}) (result {t})
          (canon lift (core func $main "echo") {MEMORY} {options}))""",
    )


VALUES: list[tuple[str, str, Any]] = [
    ("", "u32", 2**32 - 1),
    ("", "s64", -(2**63)),
    ("", "f32", -math.inf),
    ("", "char", "\U0010ffff"),
    ("", "string", "héllo \U0001f600"),
    ("(type $t (list u8))", "$t", bytes(range(256)) * 20),
    ("(type $t (list string))", "$t", ["a", "", "ü"]),
    ("(type $t (list (tuple u8 string (list u16))))", "$t", [(1, "x", [1, 2]), (2, "", [])]),
    ("(type $t (tuple " + "string " * 12 + "))", "$t", tuple("abcdefghijkl")),
    ("(type $t (option string))", "$t", None),
    ("(type $t (option (option string)))", "$t", Some("x")),
    ("(type $t (list (result string (error f32))))", "$t", [Ok("x"), Err(0.5)]),
    ("(type $t (map string (list u32)))", "$t", {"a": [1], "b": []}),
    ("(type $t (list string 3))", "$t", ["a", "b", "c"]),
    ("(type $t (list (map u8 string) 2))", "$t", [{1: "x"}, {}]),
]


@pytest.mark.parametrize(("types", "t", "value"), VALUES, ids=[types or t for types, t, _ in VALUES])
@pytest.mark.parametrize("encoding", ["utf8", "utf16", "latin1+utf16"])
async def test_value_passes_through(types: str, t: str, value: Any, encoding: str) -> None:
    seen: list[Any] = []

    def host(given: Any) -> Any:
        seen.append(given)
        return given

    text = passing_on(types, t, f"string-encoding={encoding}")
    async with load(text).instantiate({"host": host}) as instance:
        assert await instance.exports.echo(value) == value
    assert seen == [value]


# One guest, whose built-ins take addresses of 64 bits

CANONS: Canons = {
    "new": ("stream.new $s", "(result i64)"),
    "read": (f"stream.read $s {MEMORY} async", "(param i32 i64 i64) (result i64)"),
    "write": ("stream.write $s (memory $memory)", "(param i32 i64 i64) (result i64)"),
    "drop-readable": ("stream.drop-readable $s", "(param i32)"),
    "drop-writable": ("stream.drop-writable $s", "(param i32)"),
    "future-read": (f"future.read $f {MEMORY}", "(param i32 i64) (result i32)"),
    "set-new": ("waitable-set.new", "(result i32)"),
    "wait": ("waitable-set.wait (memory $memory)", "(param i32 i64) (result i32)"),
    "poll": ("waitable-set.poll (memory $memory)", "(param i32 i64) (result i32)"),
    "join": ("waitable.join", "(param i32 i32)"),
    "return": ("task.return (result $s) (memory $memory)", "(param i32)"),
    "return-text": ("task.return (result string) (memory $memory)", "(param i64 i64)"),
    "get": ("context.get i64 1", "(result i64)"),
    "set": ("context.set i64 1", "(param i64)"),
    "context-new": ("error-context.new (memory $memory)", "(param i64 i64) (result i32)"),
    "message": (f"error-context.debug-message {MEMORY}", "(param i32 i64)"),
}
TYPES = """(type $s (stream string)) (type $f (future string))"""
CODE = """
    (func (export "relay") (param $in i32) (local $ends i64) (local $status i64)
      (local.set $ends (call $new))
      (call $return (i32.wrap_i64 (local.get $ends)))
      (call $set (i64.shr_u (local.get $ends) (i64.const 32)))
      (call $relay (local.get $in) (call $set-new))
      (call $drop-readable (local.get $in))
      (call $drop-writable (i32.wrap_i64 (call $get))))
    (func $relay (param $in i32) (param $wait i32) (local $status i64)
      (loop $on
        (local.set $status (call $read (local.get $in) (i64.const 64) (i64.const 3)))
        (if (i64.eq (local.get $status) (i64.const 0xffffffff)) (then
          (call $join (local.get $in) (local.get $wait))
          (if (i32.ne (call $wait (local.get $wait) (i64.const 16)) (i32.const 2)) (then unreachable))
          (if (i32.ne (i32.load (i64.const 16)) (local.get $in)) (then unreachable))
          (local.set $status (i64.load32_u (i64.const 20)))
          (call $join (local.get $in) (i32.const 0))
          (if (call $poll (local.get $wait) (i64.const 16)) (then unreachable))))
        (if (i64.ne (i64.shr_u (local.get $status) (i64.const 4)) (i64.const 0)) (then
          (drop (call $write
            (i32.wrap_i64 (call $get)) (i64.const 64) (i64.shr_u (local.get $status) (i64.const 4))))))
        (br_if $on (i64.eqz (i64.and (local.get $status) (i64.const 15))))))
    (func (export "await") (param $future i32)
      (if (call $future-read (local.get $future) (i64.const 64)) (then unreachable))
      (call $return-text (i64.load (i64.const 64)) (i64.load (i64.const 72))))
    (func (export "context") (param $value i64) (result i64) (call $set (local.get $value)) (call $get))
    (func (export "explain") (param $context i32) (param $at i64) (result i64)
      (call $message (local.get $context) (local.get $at))
      (i64.store (i64.const 64) (i64.load (local.get $at)))
      (i64.store (i64.const 72) (i64.load offset=8 (local.get $at)))
      (i64.const 64))
    (func (export "complain") (param $at i64) (param $length i64) (result i32)
      (call $context-new (local.get $at) (local.get $length)))"""
EXPORTS = f"""
  (func (export "relay") async (param "in" $s) (result $s)
    (canon lift (core func $main "relay") async (memory $memory)))
  (func (export "await") async (param "in" $f) (result string)
    (canon lift (core func $main "await") async (memory $memory)))
  (func (export "context") (param "value" u64) (result u64) (canon lift (core func $main "context")))
  (func (export "explain") (param "context" error-context) (param "at" u64) (result string)
    (canon lift (core func $main "explain") (memory $memory)))
  (func (export "complain") (param "why" string) (result error-context)
    (canon lift (core func $main "complain") {MEMORY}))"""


def guest() -> Any:
    return load(wide_text(imports=TYPES, canons=CANONS, code=CODE, exports=EXPORTS))


async def test_stream_is_copied_element_by_element() -> None:
    async def words() -> AsyncIterator[list[str]]:
        yield ["a", "b"]
        yield ["héllo"] * 5

    async with guest().instantiate() as instance:
        stream = await instance.exports.relay(words())
        assert isinstance(stream, StreamReader)
        assert await stream.read_all() == ["a", "b", *["héllo"] * 5]


async def test_future_is_read() -> None:
    async def word() -> str:
        return "late"

    async with guest().instantiate() as instance:
        assert await instance.exports.await_(word()) == "late"


async def test_context_slots_have_64_bits() -> None:
    async with guest().instantiate() as instance:
        assert await instance.exports.context(2**64 - 1) == 2**64 - 1


async def test_error_context_is_made_and_read() -> None:
    async with guest().instantiate() as instance:
        assert (await instance.exports.complain("bad")).debug_message == "bad"
        assert await instance.exports.explain(ErrorContext("worse"), 128) == "worse"


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (68, "needs an alignment of 8"),
        (4 * 65536 - 8, "out of bounds"),
        (2**40, "out of bounds"),
        (2**64 - 8, "out of bounds"),
    ],
)
async def test_place_of_a_debug_message_is_checked(at: int, message: str) -> None:
    async with guest().instantiate() as instance:
        with pytest.raises(Trap, match=message):
            await instance.exports.explain(ErrorContext("x"), at)


THREADS = """(component
  (core module $Main
    (import "" "new" (func $new (param i64 i64) (result i32)))
    (import "" "switch" (func $switch (param i32) (result i32)))
    (import "" "resume-later" (func $resume-later (param i32)))
    (import "" "index" (func $index (result i32)))
    (import "" "table" (table $table i64 2 funcref))
    (global $got (mut i64) (i64.const 0))
    (global $main (mut i32) (i32.const 0))
    (func $start (param $value i64)
      (global.set $got (local.get $value))
      (call $resume-later (global.get $main)))
    (elem (table $table) (i64.const 1) func $start)
    (func (export "run") (param $entry i64) (param $value i64) (result i64)
      (global.set $main (call $index))
      (drop (call $switch (call $new (local.get $entry) (local.get $value))))
      (global.get $got)))
  (core module $Table (table (export "table") i64 2 funcref))
  (core instance $table (instantiate $Table))
  (alias core export $table "table" (core table $t))
  (core type $start (func (param i64)))
  (core func $new (canon thread.new-indirect $start (core table $t)))
  (core func $switch (canon thread.suspend-then-resume))
  (core func $resume-later (canon thread.resume-later))
  (core func $index (canon thread.index))
  (core instance $main (instantiate $Main (with "" (instance
    (export "new" (func $new)) (export "switch" (func $switch)) (export "resume-later" (func $resume-later))
    (export "index" (func $index)) (export "table" (table $t))))))
  (func (export "run") (param "entry" u64) (param "value" u64) (result u64)
    (canon lift (core func $main "run"))))"""


async def test_thread_starts_with_an_argument_of_64_bits_out_of_a_table_of_64_bits() -> None:
    async with load(THREADS).instantiate() as instance:
        assert await instance.exports.run(1, 2**64 - 2) == 2**64 - 2


@pytest.mark.parametrize(
    ("entry", "message"),
    [(0, "uninitialized"), (2, "has no element 2"), (2**32 + 1, "has no element"), (2**64 - 1, "has no element")],
)
async def test_thread_without_a_function_traps(entry: int, message: str) -> None:
    async with load(THREADS).instantiate() as instance:
        with pytest.raises(Trap, match=message):
            await instance.exports.run(entry, 0)

"""The types of values that the specification still gates, between Python and a guest and from guest to guest: maps,
fixed-length lists, error contexts."""

from __future__ import annotations

from typing import Any

import pytest
from guest_text import ALLOCATOR, MEMORY, imported_func, load, passing_on

from p3host import ErrorContext, Trap
from p3host.abi.layout import elem_size

pytestmark = pytest.mark.anyio

VALUES: list[tuple[str, list[Any]]] = [
    ("(map string u32)", [{}, {"a": 1, "b": 2**32 - 1}]),
    ("(map u8 (list (map char bool)))", [{1: [{"x": True}, {}], 2: []}]),
    ("(map s64 (tuple f32 string))", [{-1: (0.5, "half")}]),
    ("(list u8 4)", [b"abcd", bytes(4)]),
    ("(list s16 3)", [[-1, 0, 1]]),
    ("(list string 20)", [[f"word {i}" for i in range(20)]]),
    ("(list (tuple u8 string) 2)", [[(1, "x"), (2, "")]]),
    ("(list (list u8 2) 3)", [[b"ab", b"cd", b"ef"]]),
    ("(list (map string (list u8 2)) 2)", [[{"x": b"ab"}, {}]]),
    ("(option (list u32 2))", [None, [1, 2]]),
    ("(tuple u8 (map string u8) (list f64 2))", [(7, {"k": 8}, [0.5, 1.5])]),
]
TABLE = pytest.mark.parametrize(("t", "values"), VALUES, ids=[t for t, _ in VALUES])


@TABLE
async def test_value_goes_through_a_guest(t: str, values: list[Any]) -> None:
    seen: list[Any] = []

    def host(value: Any) -> Any:
        seen.append(value)
        return value

    text = passing_on(f"(type $x {t})", '(param "v" $x)', "(result $x)")
    async with load(text).instantiate({"host": host}) as instance:
        assert [await instance.exports.echo(value) for value in values] == values
    assert seen == values


@pytest.mark.parametrize(
    ("t", "value"),
    [
        ("(list u8 4)", b"abc"),
        ("(list u8 4)", b"abcde"),
        ("(list string 2)", ["a"]),
        ("(map string u8)", {"a": 256}),
        ("(map u8 string)", {"a": "b"}),
        ("(map u8 string)", None),
    ],
)
async def test_argument_of_another_shape_is_refused(t: str, value: Any) -> None:
    text = passing_on(f"(type $x {t})", '(param "v" $x)', "(result $x)")
    async with load(text).instantiate({"host": lambda value: value}) as instance:
        with pytest.raises((TypeError, ValueError)):
            await instance.exports.echo(value)


def in_a_stream(t: str) -> str:
    """`through` has one guest write the elements of a list to a stream, out of which another reads them by twos into a
    list again, which goes back."""
    types = f"(type $x {t}) (type $list (list $x)) (type $s (stream $x))"
    func = imported_func(f'(component {types} (import "host" (func (param "v" $x))))')
    size = elem_size(func.param_types[0], "i32")
    return f"""(component
  {types}
  (component $Reader
    {types}
    {ALLOCATOR}
    (core func $read (canon stream.read $s {MEMORY}))
    (core func $drop (canon stream.drop-readable $s))
    (core func $return (canon task.return (result $list) (memory $memory)))
    (core module $Main
      (import "" "read" (func $read (param i32 i32 i32) (result i32)))
      (import "" "drop" (func $drop (param i32)))
      (import "" "return" (func $return (param i32 i32)))
      (import "" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
      (func (export "collect") (param $in i32) (local $at i32) (local $count i32) (local $status i32)
        (local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 16384)))
        (loop $on
          (local.set $status (call $read (local.get $in)
            (i32.add (local.get $at) (i32.mul (local.get $count) (i32.const {size}))) (i32.const 2)))
          (local.set $count (i32.add (local.get $count) (i32.shr_u (local.get $status) (i32.const 4))))
          (br_if $on (i32.eqz (i32.and (local.get $status) (i32.const 15)))))
        (call $drop (local.get $in))
        (call $return (local.get $at) (local.get $count))))
    (core instance $main (instantiate $Main (with "" (instance
      (export "read" (func $read)) (export "drop" (func $drop)) (export "return" (func $return))
      (export "realloc" (func $realloc))))))
    (func (export "collect") async (param "in" $s) (result $list)
      (canon lift (core func $main "collect") async (memory $memory))))
  (component $Writer
    {types}
    (import "collect" (func $collect async (param "in" $s) (result $list)))
    {ALLOCATOR}
    (core func $collect' (canon lower (func $collect) async {MEMORY}))
    (core func $new (canon stream.new $s))
    (core func $write (canon stream.write $s (memory $memory)))
    (core func $drop (canon stream.drop-writable $s))
    (core func $set-new (canon waitable-set.new))
    (core func $join (canon waitable.join))
    (core func $wait (canon waitable-set.wait (memory $memory)))
    (core func $return (canon task.return (result $list) (memory $memory)))
    (core module $Main
      (import "" "memory" (memory 1))
      (import "" "collect" (func $collect (param i32 i32) (result i32)))
      (import "" "new" (func $new (result i64)))
      (import "" "write" (func $write (param i32 i32 i32) (result i32)))
      (import "" "drop" (func $drop (param i32)))
      (import "" "set-new" (func $set-new (result i32)))
      (import "" "join" (func $join (param i32 i32)))
      (import "" "wait" (func $wait (param i32 i32) (result i32)))
      (import "" "return" (func $return (param i32 i32)))
      (func (export "through") (param $at i32) (param $left i32)
        (local $ends i64) (local $out i32) (local $subtask i32) (local $set i32) (local $count i32)
        (local.set $ends (call $new))
        (local.set $out (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
        (local.set $subtask
          (i32.shr_u (call $collect (i32.wrap_i64 (local.get $ends)) (i32.const 64)) (i32.const 4)))
        (loop $on (if (local.get $left) (then
          (local.set $count (i32.shr_u
            (call $write (local.get $out) (local.get $at) (local.get $left)) (i32.const 4)))
          (local.set $left (i32.sub (local.get $left) (local.get $count)))
          (local.set $at (i32.add (local.get $at) (i32.mul (local.get $count) (i32.const {size}))))
          (br $on))))
        (call $drop (local.get $out))
        (local.set $set (call $set-new))
        (call $join (local.get $subtask) (local.get $set))
        (drop (call $wait (local.get $set) (i32.const 80)))
        (call $return (i32.load (i32.const 64)) (i32.load (i32.const 68)))))
    (core instance $main (instantiate $Main (with "" (instance
      (export "memory" (memory $memory)) (export "collect" (func $collect')) (export "new" (func $new))
      (export "write" (func $write)) (export "drop" (func $drop)) (export "set-new" (func $set-new))
      (export "join" (func $join)) (export "wait" (func $wait)) (export "return" (func $return))))))
    (func (export "through") async (param "values" $list) (result $list)
      (canon lift (core func $main "through") async {MEMORY})))
  (instance $reader (instantiate $Reader))
  (instance $writer (instantiate $Writer (with "collect" (func $reader "collect"))))
  (func (export "through") (alias export $writer "through")))"""


@TABLE
async def test_value_goes_from_guest_to_guest_in_a_list_and_in_a_stream(t: str, values: list[Any]) -> None:
    given = values * 5
    async with load(in_a_stream(t)).instantiate() as instance:
        result = await instance.exports.through(given)
    assert b"".join(result) == b"".join(given) if isinstance(given[0], bytes) else result == given


async def test_error_contexts_go_from_guest_to_guest_in_a_stream() -> None:
    given = [ErrorContext("first"), ErrorContext("second"), ErrorContext("third")]
    async with load(in_a_stream("error-context")).instantiate() as instance:
        assert await instance.exports.through(given) == given


ERRORS = f"""(component
  (component $Maker
    {ALLOCATOR}
    (core func $new (canon error-context.new (memory $memory)))
    (core module $Main
      (import "" "memory" (memory 1))
      (import "" "new" (func $new (param i32 i32) (result i32)))
      (data (i32.const 16) "disk on fire")
      (func (export "make") (result i32) (call $new (i32.const 16) (i32.const 12))))
    (core instance $main (instantiate $Main (with "" (instance
      (export "memory" (memory $memory)) (export "new" (func $new))))))
    (func (export "make") (result error-context) (canon lift (core func $main "make"))))
  (component $Reader
    (import "make" (func $make (result error-context)))
    {ALLOCATOR}
    (core func $make' (canon lower (func $make)))
    (core func $message (canon error-context.debug-message {MEMORY}))
    (core func $drop (canon error-context.drop))
    (core module $Main
      (import "" "make" (func $make (result i32)))
      (import "" "message" (func $message (param i32 i32)))
      (import "" "drop" (func $drop (param i32)))
      (func (export "explain") (param $twice i32) (result i32) (local $error i32)
        (local.set $error (call $make))
        (call $message (local.get $error) (i32.const 32))
        (call $drop (local.get $error))
        (if (local.get $twice) (then (call $drop (local.get $error))))
        (i32.const 32)))
    (core instance $main (instantiate $Main (with "" (instance
      (export "make" (func $make')) (export "message" (func $message)) (export "drop" (func $drop))))))
    (func (export "explain") (param "twice" bool) (result string)
      (canon lift (core func $main "explain") (memory $memory))))
  (instance $maker (instantiate $Maker))
  (instance $reader (instantiate $Reader (with "make" (func $maker "make"))))
  (func (export "explain") (alias export $reader "explain")))"""


async def test_error_context_of_one_guest_is_read_by_another() -> None:
    async with load(ERRORS).instantiate() as instance:
        assert await instance.exports.explain(False) == "disk on fire"
        with pytest.raises(Trap, match="unknown handle"):
            await instance.exports.explain(True)

"""The rules of canonical definitions, their options, and the core types of the functions that they make."""

from __future__ import annotations

import pytest
from component_bytes import component, name, section, types, u32, vec
from validation_cases import encode, is_limit_of_wasmtime, refusal, wasmtime_refusal

from p3host.binary.core_modules import module_type
from p3host.binary.decoder import decode
from p3host.binary.definitions import CanonKind
from p3host.binary.validate import validate
from p3host.types import CoreFuncType

# What the cases can use: a memory, functions of several types, and options that name them.
LIBRARY = """
  (core module $m
    (memory (export "mem") 1) (memory (export "mem64") i64 1) (table (export "table") 1 funcref)
    (table (export "externs") 1 externref)
    (func (export "nop")) (func (export "i") (param i32)) (func (export "r") (result i32) i32.const 0)
    (func (export "ii") (param i32 i32)) (func (export "ii-r") (param i32 i32) (result i32) i32.const 0)
    (func (export "callback") (param i32 i32 i32) (result i32) i32.const 0)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
    (func (export "realloc64") (param i64 i64 i64 i64) (result i64) i64.const 0))
  (core instance $i (instantiate $m))
  (alias core export $i "mem" (core memory $mem)) (alias core export $i "mem64" (core memory $mem64))
  (alias core export $i "table" (core table $table)) (alias core export $i "externs" (core table $externs))
  (alias core export $i "nop" (core func $nop)) (alias core export $i "i" (core func $i))
  (alias core export $i "r" (core func $r)) (alias core export $i "ii" (core func $ii))
  (alias core export $i "ii-r" (core func $ii-r)) (alias core export $i "callback" (core func $callback))
  (alias core export $i "realloc" (core func $realloc)) (alias core export $i "realloc64" (core func $realloc64))
  (type $resource (resource (rep i32))) (type $borrow (borrow $resource))
  (type $u8s (stream u8)) (type $strings (stream string)) (type $units (stream))
  (type $u8 (future u8)) (type $string (future string)) (type $unit (future))
"""
MEM = "(memory $mem)"
REALLOC = "(memory $mem) (realloc $realloc)"
SEVENTEEN = " ".join(f'(param "p{i}" u32)' for i in range(17))
FIVE = " ".join(f'(param "p{i}" u32)' for i in range(5))


def lift(func: str, ft: str, options: str = "") -> str:
    return f"(func {ft} (canon lift (core func ${func}) {options}))"


def lower(ft: str, options: str = "") -> str:
    return f'(import "f" (func $f {ft})) (core func (canon lower (func $f) {options}))'


def builtin(text: str) -> str:
    return f"(core func (canon {text}))"


INVALID = {
    # lift: core signatures
    "lift with other parameters": (lift("i", ""), "lowered parameter types [] do not match parameter types ['i32']"),
    "lift with other results": (lift("r", ""), "lowered result types [] do not match result types ['i32']"),
    "async lift with a result in core": (lift("r", "async", "async"), "lowered result types []"),
    "callback lift without a result in core": (
        lift("nop", "async", "async (callback $callback)"),
        "lowered result types ['i32']",
    ),
    "lift by a type that is no function": (
        "(type $t u8) (func (type $t) (canon lift (core func $nop)))",
        "is not a function type",
    ),
    # lift: options that are required
    "list parameter without memory": (lift("ii", '(param "x" (list u8))'), "option `memory` is required"),
    "list parameter without realloc": (lift("ii", '(param "x" (list u8))', MEM), "option `realloc` is required"),
    "many parameters without realloc": (lift("i", SEVENTEEN, MEM), "`realloc` is required to pass so many parameters"),
    "large result without memory": (lift("r", "(result (tuple u8 u8))"), "option `memory` is required"),
    "async string result without memory": (lift("nop", "async (result string)", "async"), "`memory` is required"),
    # options by themselves
    "memory twice": (lift("nop", "", f"{MEM} {MEM}"), "option `memory` is specified more than once"),
    "realloc twice": (lift("nop", "", f"{REALLOC} (realloc $realloc)"), "`realloc` is specified more than once"),
    "async twice": (lower("async", f"{MEM} async async"), "`async` is specified more than once"),
    "two encodings": (lift("nop", "", "string-encoding=utf8 string-encoding=utf16"), "encoding option conflicts"),
    "no such memory": (lift("nop", "", "(memory 5)"), "there is no memory 5"),
    "realloc without memory": (lift("nop", "", "(realloc $realloc)"), "`realloc` requires `memory`"),
    "realloc of another type": (lift("nop", "", f"{MEM} (realloc $ii-r)"), "`realloc` uses a core function"),
    "realloc for the other pointers": (
        lift("nop", "", f"{MEM} (realloc $realloc64)"),
        "expected (func (param i32 i32 i32 i32) (result i32)), found (func (param i64 i64 i64 i64) (result i64))",
    ),
    "post-return of another type": (lift("r", "(result u8)", "(post-return $nop)"), "expected (func (param i32))"),
    "post-return of an async lift": (lift("nop", "async", "async (post-return $nop)"), "together with `async`"),
    "callback of another type": (lift("r", "async", "async (callback $realloc)"), "`callback` uses a core function"),
    "callback of a sync lift": (lift("nop", "async", "(callback $callback)"), "`callback` requires `async`"),
    "async lift of a sync function": (lift("nop", "", "async"), "requires an async function type"),
    "async lower of a sync function": (lower("", "async"), "requires an async function type"),
    "post-return of a lower": (lower("", "(post-return $nop)"), "`post-return` cannot be specified here"),
    "callback of a lower": (lower("async", f"{MEM} async (callback $callback)"), "`callback` cannot be specified"),
    # lower: options that are required
    "lowered list without memory": (lower('(param "x" string)'), "option `memory` is required"),
    "lowered parameters without memory": (lower(SEVENTEEN), "option `memory` is required to pass so many"),
    "async lowered parameters without memory": (lower(f"async {FIVE}", "async"), "option `memory` is required"),
    "lowered result without memory": (lower("(result (tuple u8 u8))"), "option `memory` is required"),
    "async lowered result without memory": (lower("async (result u8)", "async"), "option `memory` is required"),
    "lowered string result without realloc": (lower("(result string)", MEM), "option `realloc` is required"),
    # built-ins
    "new of a value type": ("(type $t u8)" + builtin("resource.new $t"), "is not a resource type"),
    "new of an imported resource": (
        '(import "r" (type $t (sub resource)))' + builtin("resource.new $t"),
        "is not a local resource",
    ),
    "rep of a resource that is ascribed": (
        '(export $t "r" (type $resource) (type (sub resource)))' + builtin("resource.rep $t"),
        "is not a local resource",
    ),
    "drop of a function type": ("(type $t (func))" + builtin("resource.drop $t"), "is not a resource type"),
    "slot that doesn't exist": (builtin("context.get i32 2"), "context slot 2 is out of range"),
    "slot of a float": (builtin("context.set f32 0"), "must be i32 or i64, not f32"),
    "slots of two types": (
        builtin("context.get i32 0") + builtin("context.set i64 0"),
        "all context slots of a component must have the same type",
    ),
    "returned string without memory": (builtin("task.return (result string)"), "option `memory` is required"),
    "return with realloc": (builtin(f"task.return {REALLOC}"), "`realloc` cannot be specified here"),
    "stream built-in of a future": (builtin("stream.new $u8"), "is not a stream type"),
    "future built-in of a stream": (builtin("future.drop-readable $u8s"), "is not a future type"),
    "stream built-in of a resource": (builtin("stream.cancel-read $resource"), "is not a stream type"),
    "stream read without memory": (builtin("stream.read $u8s async"), "`memory` is required to copy elements"),
    "stream of strings read without realloc": (builtin(f"stream.read $strings async {MEM}"), "`realloc` is required"),
    "future of a string read without realloc": (builtin(f"future.read $string async {MEM}"), "`realloc` is required"),
    "stream read with a callback": (
        builtin(f"stream.read $u8s async {MEM} (callback $callback)"),
        "`callback` cannot be specified here",
    ),
    "wait without that memory": (builtin("waitable-set.wait (memory 9)"), "there is no memory 9"),
    "error context without memory": (builtin("error-context.new"), "`memory` is required"),
    "debug message without realloc": (builtin(f"error-context.debug-message {MEM}"), "`realloc` is required"),
    "async error context": (builtin(f"error-context.new {MEM} async"), "`async` cannot be specified here"),
    "thread of another type": (
        "(core type $t (func))" + builtin("thread.new-indirect $t (core table $table)"),
        "must take one i32 or i64",
    ),
    "thread from a table of something else": (
        "(core type $t (func (param i32)))" + builtin("thread.new-indirect $t (core table $externs)"),
        "must have elements of type funcref",
    ),
    "thread without that table": (
        "(core type $t (func (param i32)))" + builtin("thread.new-indirect $t (core table 9)"),
        "there is no core table 9",
    ),
}


@pytest.mark.parametrize(("definitions", "fragment"), INVALID.values(), ids=INVALID.keys())
def test_invalid_definition_is_refused_with_its_reason(definitions: str, fragment: str) -> None:
    data = encode(f"(component {LIBRARY} {definitions})")
    assert fragment in refusal(data)
    assert wasmtime_refusal(data)


I32 = ("i32",)
LOWERED = {
    "no parameters": ("", "", (), ()),
    "numbers": ('(param "x" u64) (param "y" f32) (result char)', "", ("i64", "f32"), I32),
    "many parameters": (SEVENTEEN, MEM, I32, ()),
    "strings": ('(param "x" string) (result string)', REALLOC, ("i32", "i32", "i32"), ()),
    "async": ("async", "async", (), I32),
    "async with four parameters": ('async (param "x" string) (param "y" string)', f"{MEM} async", I32 * 4, I32),
    "async with five parameters": (f"async {FIVE} (result u8)", f"{MEM} async", I32 * 2, I32),
    "sync lower of an async function": ('async (param "x" u8)', "", I32, ()),
}
BUILTINS = {
    "resource.new $resource": (I32, I32),
    "resource.drop $resource": (I32, ()),
    "resource.rep $resource": (I32, I32),
    "task.cancel": ((), ()),
    "subtask.cancel": (I32, I32),
    "subtask.cancel async": (I32, I32),
    "task.return": ((), ()),
    f"task.return (result string) {MEM} string-encoding=utf16": (I32 * 2, ()),
    "task.return (result f64)": (("f64",), ()),
    "task.return (result $borrow)": (I32, ()),
    "context.get i32 0": ((), I32),
    "context.set i32 1": (I32, ()),
    "context.get i64 1": ((), ("i64",)),
    "thread.yield": ((), I32),
    "subtask.drop": (I32, ()),
    "stream.new $u8s": ((), ("i64",)),
    f"stream.read $u8s {MEM}": (I32 * 3, I32),
    f"stream.read $strings async {REALLOC}": (I32 * 3, I32),
    "stream.read $u8s async (memory $mem64)": (("i32", "i64", "i64"), ("i64",)),
    f"stream.write $strings async {MEM}": (I32 * 3, I32),
    "stream.write $units async": (I32 * 3, I32),
    "stream.cancel-read $u8s": (I32, I32),
    "stream.cancel-write $u8s async": (I32, I32),
    "stream.drop-readable $u8s": (I32, ()),
    "stream.drop-writable $u8s": (I32, ()),
    "future.new $u8": ((), ("i64",)),
    f"future.read $u8 {MEM}": (I32 * 2, I32),
    f"future.read $string async {REALLOC}": (I32 * 2, I32),
    "future.write $unit async": (I32 * 2, I32),
    "future.write $u8 async (memory $mem64)": (("i32", "i64"), I32),
    "future.cancel-read $u8": (I32, I32),
    "future.cancel-write $u8": (I32, I32),
    "future.drop-readable $u8": (I32, ()),
    "future.drop-writable $u8": (I32, ()),
    f"error-context.new {MEM}": (I32 * 2, I32),
    f"error-context.debug-message {REALLOC}": (I32 * 2, ()),
    "error-context.drop": (I32, ()),
    "waitable-set.new": ((), I32),
    f"waitable-set.wait {MEM}": (I32 * 2, I32),
    "waitable-set.poll (memory $mem64)": (("i32", "i64"), I32),
    "waitable-set.drop": (I32, ()),
    "waitable.join": (I32 * 2, ()),
    "backpressure.inc": ((), ()),
    "backpressure.dec": ((), ()),
    "thread.index": ((), I32),
    "thread.new-indirect $start (core table $table)": (I32 * 2, I32),
    "thread.resume-later": (I32, ()),
    "thread.suspend": ((), I32),
    "thread.suspend-then-resume": (I32, I32),
    "thread.yield-then-resume": (I32, I32),
    "thread.suspend-then-promote": (I32, I32),
    "thread.yield-then-promote": (I32, I32),
}


def signature(data: bytes) -> CoreFuncType:
    """The core type of the one canonical definition in a component that isn't a lift."""
    signatures: dict[int, CoreFuncType] = {}
    validate(decode(data), module_type, signatures)
    (found,) = signatures.values()
    return found


@pytest.mark.parametrize(("ft", "options", "params", "results"), LOWERED.values(), ids=LOWERED.keys())
def test_lowered_function_has_its_flattened_type(
    ft: str, options: str, params: tuple[str, ...], results: tuple[str, ...]
) -> None:
    data = encode(f"(component {LIBRARY} {lower(ft, options)})")
    assert signature(data) == CoreFuncType(params, results)
    assert wasmtime_refusal(data) == ""


@pytest.mark.parametrize(("text", "types_"), BUILTINS.items(), ids=BUILTINS.keys())
def test_builtin_has_its_core_type(text: str, types_: tuple[tuple[str, ...], tuple[str, ...]]) -> None:
    data = encode(f"(component {LIBRARY} (core type $start (func (param i32))) {builtin(text)})")
    assert signature(data) == CoreFuncType(*types_)
    reason = wasmtime_refusal(data)
    assert not reason or is_limit_of_wasmtime(reason)


def test_every_builtin_has_a_case() -> None:
    named = {text.split()[0].replace(".", "_").replace("-", "_").upper() for text in BUILTINS}
    unsupported = {"THREAD_SPAWN_REF", "THREAD_SPAWN_INDIRECT", "THREAD_AVAILABLE_PARALLELISM"}
    assert named | unsupported == {kind.name for kind in CanonKind}


LIFTED = {
    "sync": lift("r", "(result u32)"),
    "with post-return": lift("r", "(result string)", f"{REALLOC} (post-return $i)"),
    "strings": lift("ii", '(param "x" string)', f"{REALLOC} string-encoding=latin1+utf16"),
    "many parameters": lift("i", SEVENTEEN, REALLOC),
    "callback": lift("r", "async (result string)", f"{MEM} async (callback $callback)"),
    "stackful": lift("nop", "async", "async"),
    "sync lift of an async function": lift("r", "async (result u8)"),
}


@pytest.mark.parametrize("definitions", LIFTED.values(), ids=LIFTED.keys())
def test_valid_lift_is_accepted(definitions: str) -> None:
    data = encode(f"(component {LIBRARY} {definitions})")
    assert refusal(data) == ""
    reason = wasmtime_refusal(data)
    assert not reason or is_limit_of_wasmtime(reason)


def test_memory_of_64_bits_makes_wide_pointers() -> None:
    definitions = lower('(param "x" string) (result string)', "(memory $mem64) (realloc $realloc64)")
    data = encode(f"(component {LIBRARY} {definitions})")
    assert signature(data) == CoreFuncType(("i64", "i64", "i64"), ())


def test_shared_memory_is_refused() -> None:
    data = encode(
        """(component (core module $m (memory (export "mem") 1 1 shared)) (core instance $i (instantiate $m))
          (core func (canon waitable-set.wait (memory (core memory $i "mem")))))"""
    )
    assert "mismatch in the shared flag of the memory" in refusal(data)


@pytest.mark.parametrize(
    "canon",
    [b"\x0c\1", b"\x20\1\0", b"\x21\1\0", b"\x29\1", b"\x2a\1", b"\x2b\1", b"\x2c\1", b"\x2d\1"],
)
def test_cancellable_changes_no_signature(canon: bytes) -> None:
    memory = b"\0asm\1\0\0\0" + section(5, vec(b"\0\1")) + section(7, vec(name("m") + b"\2\0"))
    parts = [section(1, memory), section(2, vec(b"\0\0" + vec())), section(6, vec(b"\0\2\1\0" + name("m")))]
    plain, cancellable = (
        signature(component(*parts, section(8, vec(definition))))
        for definition in (canon[:1] + b"\0" + canon[2:], canon)
    )
    assert cancellable == plain


@pytest.mark.parametrize("canon", [b"\x40\0\0", b"\x41\0\0\0", b"\x42\0", b"\x42\1"])
def test_shared_everything_threads_are_refused(canon: bytes) -> None:
    data = component(section(3, vec(b"\x60" + vec(b"\x7f") + vec())), section(8, vec(canon)))
    assert "needs shared-everything threads, which are not supported" in refusal(data)


def test_fixed_length_lists_are_flattened_up_to_the_limit() -> None:
    many = component(
        types(b"\x67\x7d" + u32(2**27), b"\x40" + vec(name("x") + b"\0") + b"\1\0"),
        section(10, vec(b"\0" + name("f") + b"\1\1")),
        section(8, vec(b"\1\0\0" + vec())),
    )
    assert "`memory` is required to pass so many parameters" in refusal(many)

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from engine_guests import BLOCK, BLOCKER, compile_text, func, instantiate

from p3host.engine import Engine, EngineConfig, Machine, Memory, ModuleError, text_to_binary
from p3host.errors import DecodeError, Trap
from p3host.types import CoreFuncType, CoreGlobalType, CoreMemoryType, CoreTableType, CoreTagType, Limits


def compiles(text: str) -> bool:
    compile_text(text)
    return True


def test_modules_tell_their_imports_and_exports() -> None:
    module = compile_text("""(module
      (import "a" "f" (func (param i32 f64) (result i64))) (import "a" "m" (memory i64 1 2)) (import "" "" (global f32))
      (tag (export "tag") (param i32))
      (table (export "table") 3 funcref) (memory (export "memory") 1)
      (global (export "global") (mut v128) (v128.const i64x2 0 0))
      (func (export "f") (param externref)))""")
    assert module.imports == [
        ("a", "f", CoreFuncType(("i32", "f64"), ("i64",))),
        ("a", "m", CoreMemoryType(Limits(1, 2, "i64"))),
        ("", "", CoreGlobalType("f32", False)),
    ]
    assert module.exports == {
        "tag": CoreTagType(CoreFuncType(("i32",), ())),
        "table": CoreTableType("funcref", Limits(3)),
        "memory": CoreMemoryType(Limits(1)),
        "global": CoreGlobalType("v128", True),
        "f": CoreFuncType(("externref",), ()),
    }


@pytest.mark.parametrize(
    "text",
    [
        "(module (func (param i32) (result i32) (return_call 0 (local.get 0))))",
        "(module (type $t (func)) (func (param (ref $t)) (call_ref $t (local.get 0))))",
        "(module (memory i64 1) (memory 1) (func (drop (v128.load 1 (i32.const 0)))))",
        "(module (table 1 externref) (func (param externref) (result externref) (local.get 0)))",
        "(module (tag $t (param i32)) (func (block $b (result i32) (try_table (catch $t $b)) (i32.const 0)) drop))",
        "(module (func (block $b (try_table (catch_all $b)))))",
        # types that the C API of wasmtime has no name for
        '(module (type $t (func)) (func (export "f") (param (ref $t))))',
        '(module (type $t (func)) (global (export "g") (ref null $t) (ref.null $t)))',
        '(module (func (export "f") (param v128)) (func (export "g") (result exnref) (ref.null exn)))',
        '(module (table (export "t") i64 1 0x1000000000 funcref) (memory (export "m") i64 1 0x1000000000000))',
    ],
)
def test_the_features_that_guests_use_are_on(text: str) -> None:
    assert compiles(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(module (type (struct)))", "gc"),
        ("(module (func (drop (ref.i31 (i32.const 1)))))", "gc"),
        ("(module (func (param anyref)))", "gc"),
        ("(module (memory 1 2 shared))", "threads"),
        ("(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))", "threads"),
        ("(module (func (result i32)))", "type mismatch"),
    ],
)
def test_a_module_that_can_not_be_run_is_refused(text: str, message: str) -> None:
    engine = Engine.default()
    good = text_to_binary("(module)")
    with pytest.raises(ModuleError, match=message) as caught:
        engine.compile([good, memoryview(text_to_binary(text)), good])
    assert caught.value.index == 1
    assert str(caught.value).startswith("core module 1: ")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "data", [b"", b"\0asm", b"(module)", b"\0asm\x0d\0\x01\0", text_to_binary("(module (memory 1))")[:-1]]
)
def test_bytes_that_are_no_module_are_refused(data: bytes) -> None:
    with pytest.raises(ModuleError):
        Engine.default().compile([data])


def test_text_that_is_malformed_is_a_decode_error() -> None:
    with pytest.raises(DecodeError, match="1:10"):
        text_to_binary("(module (nothing))")


def test_many_modules_are_compiled_in_order() -> None:
    body = "(drop (i32.const 1))" * 5000
    texts = [f'(module (func (export "f{index}") {body}))' for index in range(6)]
    modules = Engine.default().compile([text_to_binary(text) for text in texts])
    assert [list(module.exports) for module in modules] == [[f"f{index}"] for index in range(6)]
    broken = [text_to_binary(text) for text in texts]
    broken[4] = broken[4][:-1]
    with pytest.raises(ModuleError) as caught:
        Engine.default().compile(broken)
    assert caught.value.index == 4


# Exceptions that are kept as values

CATCHES_BY_REFERENCE = [
    "(func (block $b (result exnref) (try_table (catch_all_ref $b)) unreachable) drop)",
    "(func (block $b (result i32 exnref) (try_table (catch_ref $t $b)) unreachable) drop drop)",
    "(func (loop (block $b (result exnref) (try_table (catch_all 1) (catch_all_ref $b)) unreachable) drop))",
]

# A function with an instruction of each shape, which a scan has to pass over. Constants look like catches.
SHAPES = """(type $v (func))
  (func $all (param $i i32) (param $r (ref null $v)) (local $x (ref null $v)) (local i64 f32 f64 v128)
    (block (loop (br 1)))
    (block $b (result i32) (if (result i32) (i32.const 0x1f) (then (i32.const -31)) (else (i32.const 1))))
    (br_table 0 0 0 (local.get $i)) unreachable
    (block $n (result (ref $v)) (br_on_null 1 (local.get $r))) drop
    (block (br_if 0 (i32.const 521))) (drop (i64.const -9223372036854775808)) (drop (i64.const 0x1f031f031f03))
    (drop (f32.const 1.5e-38)) (drop (f64.const 9.9e-300))
    (drop (v128.const i64x2 0x031f031f031f031f 0x031f031f031f031f))
    (drop (i8x16.shuffle 31 3 31 3 31 3 31 3 31 3 31 3 31 3 31 3
      (v128.load (i32.const 0)) (v128.load 1 offset=99999 (i64.const 0))))
    (drop (i8x16.extract_lane_s 3 (v128.load8_lane 1 3 (i64.const 0) (v128.load32_zero (i32.const 0)))))
    (drop (i32x4.add (i8x16.splat (local.get $i)) (f64x2.splat (f64.const 0))))
    (drop (select (result (ref null $v)) (local.get $r) (local.get $x) (local.get $i)))
    (drop (select (i32.const 1) (i32.const 2) (local.get $i)))
    (memory.copy 0 1 (i32.const 0) (i64.const 0) (i32.const 1))
    (memory.fill 1 (i64.const 0) (i32.const 0) (i64.const 0))
    (memory.init $d (i32.const 0) (i32.const 0) (i32.const 0)) (data.drop $d) (drop (memory.grow 1 (i64.const 0)))
    (table.init $e (i32.const 0) (i32.const 0) (i32.const 0)) (elem.drop $e) (drop (memory.size 1))
    (table.copy $table $table (i32.const 0) (i32.const 0) (i32.const 0)) (drop (table.size $table))
    (table.fill $table (i32.const 0) (ref.null func) (i32.const 0))
    (drop (table.grow $table (ref.null func) (i32.const 0)))
    (table.set $table (i32.const 0) (table.get $table (i32.const 0))) (global.set $g (global.get $g))
    (drop (i32.trunc_sat_f64_s (f64.const 1))) (drop (i32.load8_u offset=1000 (i32.const 0)))
    (i64.store 1 (i64.const 0) (i64.const 31))
    (call_indirect $table (type $v) (i32.const 0)) (call $empty) (drop (ref.is_null (ref.func $empty)))
    (call_ref $v (ref.as_non_null (local.get $r))) (drop (ref.null $v))
    (drop (local.tee $i (i32.extend8_s (i32.const 31))))
    (block $c (try_table (catch $u $c) (catch_all $c) (nop) (throw $u)))
    (if (local.get $i) (then (return_call $empty)))
    (if (local.get $i) (then (return_call_indirect $table (type $v) (i32.const 0))))
    (return_call_ref $v (ref.func $empty)))
  (func $empty) (elem declare func $empty)
  (memory 1) (memory i64 1) (table $table 3 funcref) (global $g (mut i32) (i32.const 0))
  (data $d "x") (elem $e func $empty) (tag $t (param i32)) (tag $u)"""


def test_a_scan_passes_over_every_shape_of_instruction() -> None:
    assert compiles(f"(module {SHAPES})")


@pytest.mark.parametrize("function", CATCHES_BY_REFERENCE)
def test_a_function_that_keeps_an_exception_is_refused(function: str) -> None:
    with pytest.raises(ModuleError, match="its function 2 catches exceptions by reference"):
        compile_text(f"(module {SHAPES} {function})")


def test_without_a_tag_there_is_no_exception_to_keep() -> None:
    catches = text_to_binary(f"(module {CATCHES_BY_REFERENCE[0]})")
    engine = Engine.default()
    assert len(engine.compile([catches])) == 1
    for thrower in ("(module (tag))", '(module (import "a" "b" (tag)))'):
        with pytest.raises(ModuleError) as caught:
            engine.compile([text_to_binary(thrower), catches])
        assert caught.value.index == 1


# Configuration


def test_the_default_engine_is_made_once() -> None:
    engines: list[Engine] = []
    threads = [threading.Thread(target=lambda: engines.append(Engine.default())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, engines))) == 1


def test_compiled_code_is_cached_in_the_directory_that_was_given(tmp_path: Path) -> None:
    directory = tmp_path / "a directory" / "cache"
    for _ in range(2):
        engine = Engine(EngineConfig(cache=directory))
        compile_text(BLOCKER, engine)
    assert [path for path in directory.rglob("*") if path.is_file()]
    assert directory.stat().st_mode & 0o077 == 0


def test_without_a_cache_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compile_text(BLOCKER, Engine(EngineConfig(cache=False)))
    assert not list(tmp_path.iterdir())
    compile_text(BLOCKER, Engine())
    assert list((tmp_path / "p3host").iterdir())


def test_a_cache_that_others_can_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "p3host"
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(PermissionError, match="belong"):
        Engine(EngineConfig(cache=directory))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compile_text(BLOCKER, Engine())  # the default one is done without
    assert not list(directory.iterdir())


def test_a_default_cache_that_can_not_be_made_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p3host").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compile_text(BLOCKER, Engine())
    with pytest.raises(OSError, match="exist"):
        Engine(EngineConfig(cache=tmp_path / "p3host"))


def test_traps_work_without_signals() -> None:
    engine = Engine(EngineConfig(signals_based_traps=False))
    machine = Machine(engine, state=None)
    instance = instantiate(machine, compile_text(BLOCKER, engine), [BLOCK])
    with pytest.raises(Trap, match="out of bounds memory access"):
        func(instance, "outside").call()
    memory = instance.export("memory")
    assert isinstance(memory, Memory)
    memory.view[0] = 5
    assert func(instance, "grow").call(9) == 1
    assert (memory.refresh()[0], len(memory.view)) == (5, 10 << 16)
    machine.close()


def run_script(script: str) -> str:
    command = [sys.executable, "-c", script, os.path.dirname(__file__)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()


def test_importing_makes_no_engine() -> None:
    script = "import p3host.engine as e; print(e.Engine.default_engine)"
    assert run_script(script) == "None"


def test_without_signals_faulthandler_may_come_later() -> None:
    script = """
import faulthandler, sys
sys.path.append(sys.argv[1])
from engine_guests import *
from p3host.engine import *
engine = Engine(EngineConfig(signals_based_traps=False))
machine = Machine(engine, state=None)
instance = instantiate(machine, compile_text(BLOCKER, engine), [BLOCK])
faulthandler.enable()
for _ in range(3):
    try:
        func(instance, "outside").call()
    except Exception as error:
        print(type(error).__name__)
"""
    assert run_script(script).split() == ["Trap"] * 3

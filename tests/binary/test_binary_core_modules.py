"""What a core module imports and exports."""

from __future__ import annotations

import pytest
import wasmtime
from component_bytes import MODULE, name, section, u32, vec
from hypothesis import given, settings
from hypothesis import strategies as st

from p3host.binary.core_modules import module_type
from p3host.errors import DecodeError
from p3host.types import (
    CoreFuncType,
    CoreGlobalType,
    CoreMemoryType,
    CoreTableType,
    CoreTagType,
    Limits,
    ModuleType,
)

EVERYTHING = bytes(
    wasmtime.wat2wasm(
        """(module
          (type $f (func (param i32 f64) (result i64)))
          (import "a" "f" (func (type $f)))
          (import "a" "t" (table 1 2 funcref))
          (import "b" "m" (memory 1))
          (import "b" "g" (global (mut f32)))
          (import "b" "e" (tag (param i32)))
          (table $own 3 externref)
          (table $filled 1 1 (ref func) (ref.func $nop))
          (memory $big i64 1 5)
          (global $n i64 (i64.add (i64.const -5) (i64.const 7)))
          (global $v v128 (v128.const i64x2 1 2))
          (global $x f64 (f64.const 1.5))
          (tag $mine (param f64))
          (func $nop (export "nop"))
          (start $nop)
          (elem (i32.const 0) func $nop)
          (data (memory 0) (i32.const 0) "text")
          (export "f" (func 0)) (export "t" (table 0)) (export "own" (table $own)) (export "filled" (table $filled))
          (export "m" (memory 0)) (export "big" (memory $big)) (export "g" (global 0)) (export "n" (global $n))
          (export "v" (global $v)) (export "x" (global $x)) (export "e" (tag 0)) (export "mine" (tag $mine))
          (@custom "something" "else"))"""
    )
)
F = CoreFuncType(("i32", "f64"), ("i64",))
TABLE = CoreTableType("funcref", Limits(1, 2))
MEMORY = CoreMemoryType(Limits(1))


def test_imports_and_exports_have_types() -> None:
    assert module_type(memoryview(EVERYTHING)) == ModuleType(
        {
            ("a", "f"): F,
            ("a", "t"): TABLE,
            ("b", "m"): MEMORY,
            ("b", "g"): CoreGlobalType("f32", True),
            ("b", "e"): CoreTagType(CoreFuncType(("i32",), ())),
        },
        {
            "nop": CoreFuncType((), ()),
            "f": F,
            "t": TABLE,
            "own": CoreTableType("externref", Limits(3)),
            "filled": CoreTableType("(ref func)", Limits(1, 1)),
            "m": MEMORY,
            "big": CoreMemoryType(Limits(1, 5, "i64")),
            "g": CoreGlobalType("f32", True),
            "n": CoreGlobalType("i64", False),
            "v": CoreGlobalType("v128", False),
            "x": CoreGlobalType("f64", False),
            "e": CoreTagType(CoreFuncType(("i32",), ())),
            "mine": CoreTagType(CoreFuncType(("f64",), ())),
        },
    )


def test_types_of_a_rec_group_count_one_by_one() -> None:
    data = bytes(
        wasmtime.wat2wasm(
            """(module (rec (type (struct (field i32))) (type (array (mut i8)))) (type $f (func (param f32)))
              (global (ref null 0) (ref.null none)) (global (ref 0) (struct.new 0 (i32.const 1)))
              (func (export "f") (type $f)))"""
        )
    )
    assert module_type(memoryview(data)).exports == {"f": CoreFuncType(("f32",), ())}


NOP_TYPE = section(1, vec(b"\x60\0\0"))
MALFORMED = {
    "a component": (b"\0asm\x0d\0\1\0", "expected the version header of a core module"),
    "nothing": (b"", "expected the version header"),
    "a section of unknown kind": (MODULE + section(14, b""), "malformed section id 14"),
    "sections out of order": (MODULE + section(3, vec()) + section(1, vec()), "section out of order: section 1"),
    "a section twice": (MODULE + section(1, vec()) + section(1, vec()), "section out of order"),
    "a section too long": (MODULE + b"\1\5\0", "unexpected end"),
    "a section with more than it says": (
        MODULE + section(1, vec() + b"\0"),
        "unexpected bytes at the end of section 1",
    ),
    "imports by the same name": (
        MODULE + NOP_TYPE + section(2, vec(name("a") + name("b") + b"\0\0", name("a") + name("b") + b"\0\0")),
        "duplicate import name `a:b`",
    ),
    "exports by the same name": (
        MODULE + section(5, vec(b"\0\1")) + section(7, vec(name("m") + b"\2\0", name("m") + b"\2\0")),
        "export name `m` already defined",
    ),
    "an import of an unknown type": (
        MODULE + section(2, vec(name("a") + name("b") + b"\0\7")),
        "there is no core type 7",
    ),
    "an export of what isn't there": (MODULE + section(7, vec(name("f") + b"\0\0")), "there is no function 0"),
    "an export of an unknown sort": (MODULE + section(7, vec(name("f") + b"\5\0")), "expected the sort of an export"),
    "a function of an unknown type": (
        MODULE + section(3, vec(b"\4")) + section(7, vec(name("f") + b"\0\0")),
        "there is no type 4",
    ),
    "a function of a struct type": (
        MODULE + section(1, vec(b"\x5f" + vec())) + section(3, vec(b"\0")) + section(7, vec(name("f") + b"\0\0")),
        "type 0 is not a plain function type",
    ),
    "a constant that is none": (MODULE + section(6, vec(b"\x7f\0\x01\x0b")), "an instruction of a constant expression"),
    "a count beyond the end": (MODULE + section(1, u32(1000)), "1000 types don't fit"),
}


@pytest.mark.parametrize(("data", "fragment"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_module_is_refused_with_the_offset_in_the_file(data: bytes, fragment: str) -> None:
    with pytest.raises(DecodeError) as caught:
        module_type(memoryview(data), 5000)
    assert f"in a core module: {caught.value.message}".count("in a core module") == 2
    assert fragment in caught.value.message
    assert 5000 <= caught.value.offset <= 5000 + len(data)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(8, len(EVERYTHING) - 1), st.integers(0, 6), st.binary(max_size=6)), min_size=1, max_size=3
    )
)
def test_mutated_module_is_read_or_refused(edits: list[tuple[int, int, bytes]]) -> None:
    data = bytearray(EVERYTHING)
    for start, length, replacement in edits:
        data[start : start + length] = replacement
    offset = 0
    try:
        module_type(memoryview(bytes(data)))
    except DecodeError as error:
        offset = error.offset
    assert 0 <= offset <= len(data)

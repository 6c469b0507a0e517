from __future__ import annotations

import pytest

from p3host.abi.copy import copy_elements, is_plain
from p3host.abi.layout import alignment, elem_size, flatten, flatten_count, flatten_func
from p3host.abi.lift import compile_lift, compile_load
from p3host.abi.lower import compile_lower, compile_store
from p3host.abi.options import AbiOptions
from p3host.abi.passing import compile_pass, compile_pass_elements, compile_pass_result
from p3host.types import (
    CoreFuncType,
    EnumType,
    FlagsType,
    FuncType,
    ListType,
    MapType,
    OptionType,
    PointerType,
    PrimitiveType,
    RecordType,
    ResultType,
    TupleType,
    ValType,
    VariantType,
)

P = PrimitiveType


@pytest.mark.parametrize(
    ("t", "align32", "size32", "align64", "size64"),
    [
        (P.STRING, 4, 8, 8, 16),
        (ListType(P.U8), 4, 8, 8, 16),
        (MapType(P.U8, P.U64), 4, 8, 8, 16),
        (ListType(P.U16, 5), 2, 10, 2, 10),
        (RecordType((("a", P.U8), ("b", P.U64), ("c", P.U8))), 8, 24, 8, 24),
        (TupleType((P.U8, P.STRING)), 4, 12, 8, 24),
        (OptionType(P.U8), 1, 2, 1, 2),
        (OptionType(P.STRING), 4, 12, 8, 24),
        (ResultType(P.U64, P.U8), 8, 16, 8, 16),
        (ResultType(), 1, 1, 1, 1),
        (EnumType(tuple(f"a{i}" for i in range(256))), 1, 1, 1, 1),
        (EnumType(tuple(f"a{i}" for i in range(257))), 2, 2, 2, 2),
        (VariantType(tuple((f"a{i}", P.U8) for i in range(257))), 2, 4, 2, 4),
        (EnumType(tuple(f"a{i}" for i in range(65537))), 4, 4, 4, 4),
        (FlagsType(tuple(f"a{i}" for i in range(9))), 2, 2, 2, 2),
        (FlagsType(tuple(f"a{i}" for i in range(17))), 4, 4, 4, 4),
    ],
)
def test_alignment_and_size(t: ValType, align32: int, size32: int, align64: int, size64: int) -> None:
    assert (alignment(t, "i32"), elem_size(t, "i32")) == (align32, size32)
    assert (alignment(t, "i64"), elem_size(t, "i64")) == (align64, size64)


def test_no_payload_has_no_size() -> None:
    assert elem_size(None, "i32") == 0


@pytest.mark.parametrize(
    ("t", "flat"),
    [
        (P.S8, ("i32",)),
        (P.U64, ("i64",)),
        (P.STRING, ("p", "p")),
        (ResultType(P.F32, P.U32), ("i32", "i32")),
        (ResultType(P.F32, P.F64), ("i32", "i64")),
        (ResultType(P.F64, P.U32), ("i32", "i64")),
        (ResultType(P.F32, P.F32), ("i32", "f32")),
        (ResultType(P.STRING, TupleType((P.F32, P.U8, P.F64))), ("i32", "p", "p", "f64")),
        (ListType(P.F32, 3), ("f32", "f32", "f32")),
    ],
)
def test_flattening(t: ValType, flat: tuple[str, ...]) -> None:
    assert flatten(t, "i32") == tuple("i32" if core_type == "p" else core_type for core_type in flat)
    assert flatten(t, "i64") == tuple("i64" if core_type == "p" else core_type for core_type in flat)


FOUR = (("a", P.U32), ("b", P.U32), ("c", P.U32), ("d", P.U32))


@pytest.mark.parametrize("p", ["i32", "i64"])
@pytest.mark.parametrize(
    ("ft", "lift", "lower", "async_lift", "async_lower"),
    [
        (FuncType(()), ("", ""), ("", ""), ("", "i"), ("", "i")),
        (FuncType((), P.U64), ("", "l"), ("", "l"), ("", "i"), ("p", "i")),
        (FuncType((), P.STRING), ("", "p"), ("p", ""), ("", "i"), ("p", "i")),
        (FuncType(FOUR), ("iiii", ""), ("iiii", ""), ("iiii", "i"), ("iiii", "i")),
        (FuncType((*FOUR, ("e", P.F32))), ("iiiif", ""), ("iiiif", ""), ("iiiif", "i"), ("p", "i")),
        (FuncType(FOUR * 4, P.U8), ("i" * 16, "i"), ("i" * 16, "i"), ("i" * 16, "i"), ("pp", "i")),
        (FuncType((*FOUR * 4, ("e", P.F32)), P.STRING), ("p", "p"), ("pp", ""), ("p", "i"), ("pp", "i")),
    ],
)
def test_core_function_types(
    p: PointerType,
    ft: FuncType,
    lift: tuple[str, str],
    lower: tuple[str, str],
    async_lift: tuple[str, str],
    async_lower: tuple[str, str],
) -> None:
    def core(texts: tuple[str, str]) -> CoreFuncType:
        names = {"i": "i32", "l": "i64", "f": "f32", "p": p}
        params, results = (tuple(names[letter] for letter in text) for text in texts)
        return CoreFuncType(params, results)

    assert flatten_func(ft, p, "lift", False, False) == core(lift)
    assert flatten_func(ft, p, "lower", False, False) == core(lower)
    assert flatten_func(ft, p, "lift", True, True) == core(async_lift)
    assert flatten_func(ft, p, "lift", True, False) == core((async_lift[0], ""))
    assert flatten_func(ft, p, "lower", True, False) == core(async_lower)


def doubled(t: ValType, times: int, of_lists: bool) -> ValType:
    for _ in range(times):
        part = ListType(t) if of_lists else t
        t = TupleType((part, part))
    return t


@pytest.mark.parametrize(
    "t",
    [
        ListType(P.U16, (1 << 27) - 1),
        doubled(P.U8, 27, of_lists=False),
        doubled(P.U8, 60, of_lists=True),
        doubled(P.BOOL, 20, of_lists=False),
        doubled(P.BOOL, 60, of_lists=True),
        VariantType((("a", doubled(P.S8, 60, of_lists=True)), ("b", doubled(P.U16, 60, of_lists=True)))),
    ],
)
def test_a_type_costs_no_more_than_its_definition(t: ValType) -> None:
    options = AbiOptions()
    assert flatten_count([t], "i32") in (4, 5, 17)
    assert flatten_count([t, t], "i32", 2) == 3
    compile_load(t, options)
    compile_store(t, options)
    compile_lift((t,), options, 16)
    compile_lower((t,), options, 16)
    compile_every_pass(t)


def compile_every_pass(t: ValType) -> None:
    options = AbiOptions()
    for max_flat in (0, 16):
        compile_pass((t,), options, options, max_flat)
        compile_pass_result(t, options, 16 - max_flat, options, max_flat)
    compile_pass_elements(t, options, options)


def nested_variants(times: int) -> ValType:
    t: ValType = P.U8
    for _ in range(times):
        t = VariantType((("a", t), ("b", t), ("c", t)))
    return t


def test_variants_of_variants_compile_once_per_type() -> None:
    t = nested_variants(15)
    compile_lift((t,), AbiOptions(), 16)
    compile_lower((t,), AbiOptions(), 16)
    compile_every_pass(t)


def test_equal_types_share_one_converter() -> None:
    options = AbiOptions()
    assert compile_lift((nested_variants(2),), options, 16) is compile_lift((nested_variants(2),), options, 16)


@pytest.mark.parametrize(
    "wrap", [OptionType, ListType, lambda t: TupleType((t,)), lambda t: ResultType(t, P.U8), lambda t: ListType(t, 1)]
)
def test_types_nested_a_hundred_deep_compile(wrap: type[ListType]) -> None:
    t: ValType = P.STRING
    for _ in range(100):
        t = wrap(t)
    for convert in (compile_load, compile_store):
        convert(t, AbiOptions())
    compile_lift((t,), AbiOptions(), 16)
    compile_lower((t,), AbiOptions(), 16)
    compile_every_pass(t)


@pytest.mark.parametrize(
    ("t", "plain"),
    [
        (P.U8, True),
        (P.F64, True),
        (TupleType((P.U8, P.S8, P.U16, P.F32)), True),
        (TupleType((P.U8, P.U64)), False),
        (TupleType((P.U64, P.U8)), False),
        (ListType(TupleType((P.U16, P.U8)), 2), False),
        (RecordType((("a", ListType(P.S16, 4)),)), True),
        (P.BOOL, False),
        (P.CHAR, False),
        (P.STRING, False),
        (P.ERROR_CONTEXT, False),
        (ListType(P.U8), False),
        (EnumType(("a",)), False),
        (FlagsType(("a",)), False),
        (OptionType(P.U8), False),
        (TupleType((P.U8, P.BOOL)), False),
        (None, False),
    ],
)
def test_plain_types(t: ValType | None, plain: bool) -> None:
    assert is_plain(t) is plain


def test_copying_between_memories_and_within_one() -> None:
    source, target = memoryview(bytearray(b"abcdef")), memoryview(bytearray(6))
    copy_elements(source, 1, target, 2, 3)
    assert bytes(target) == b"\0\0bcd\0"
    copy_elements(source, 0, source, 1, 5)
    assert bytes(source) == b"aabcde"

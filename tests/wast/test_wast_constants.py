"""Constants of scripts as Python values."""

from __future__ import annotations

import math
from typing import Any

import pytest

from p3host import Err, Ok, Some
from p3host.types import (
    EnumType,
    FlagsType,
    ListType,
    MapType,
    OptionType,
    OwnType,
    PrimitiveType,
    RecordType,
    ResourceType,
    ResultType,
    TupleType,
    ValType,
    VariantType,
)
from p3host.values import RepeatedKeys, enum_class, flags_class, record_class, variant_classes
from p3host.wast.constants import ConstantError, same, value_of
from p3host.wast.syntax import parse

U8, U32, S32, STRING = PrimitiveType.U8, PrimitiveType.U32, PrimitiveType.S32, PrimitiveType.STRING
RECORD = RecordType((("x-y", U32), ("z", STRING)))
VARIANT = VariantType((("nothing", None), ("some", U8)))
ENUM = EnumType(("red", "dark-blue"))
FLAGS = FlagsType(("read", "write", "execute"))
NESTED = OptionType(OptionType(U8))


def value(text: str, t: ValType) -> Any:
    (form,) = parse(text)
    return value_of(form, t)


@pytest.mark.parametrize(
    ("text", "t", "expected"),
    [
        ("(bool.const true)", PrimitiveType.BOOL, True),
        ("(u8.const 0xff)", U8, 255),
        ("(u32.const 4_000_000_000)", U32, 4_000_000_000),
        ("(s8.const -128)", PrimitiveType.S8, -128),
        ("(s8.const 0xff)", PrimitiveType.S8, -1),
        ("(i32.const 0xffffffff)", S32, -1),
        ("(i64.const -1)", PrimitiveType.S64, -1),
        ("(f64.const 0x1.8p1)", PrimitiveType.F64, 3.0),
        ("(f64.const -inf)", PrimitiveType.F64, -math.inf),
        ("(f32.const 0.1)", PrimitiveType.F32, 0.10000000149011612),
        (r'(char.const "\u{e9}")', PrimitiveType.CHAR, "é"),
        ('(str.const "a b")', STRING, "a b"),
        ("(list.const (u8.const 1) (u8.const 2))", ListType(U8), b"\x01\x02"),
        ("(list.const)", ListType(U32), []),
        ('(tuple.const (u8.const 1) (str.const ""))', TupleType((U8, STRING)), (1, "")),
        (
            '(record.const (field "x-y" (u32.const 1)) (field "z" str.const "w"))',
            RECORD,
            record_class(RECORD)(x_y=1, z="w"),
        ),
        ('(variant.const "nothing")', VARIANT, variant_classes(VARIANT)[0].Nothing()),
        ('(variant.const "some" (u8.const 3))', VARIANT, variant_classes(VARIANT)[0].Some(3)),
        ('(enum.const "dark-blue")', ENUM, enum_class(ENUM)("dark-blue")),
        ('(flags.const "read" "execute")', FLAGS, flags_class(FLAGS)(5)),
        ("(flags.const)", FLAGS, flags_class(FLAGS)(0)),
        ("(option.none)", OptionType(U8), None),
        ("(option.some (u8.const 1))", OptionType(U8), 1),
        ("(option.some (option.none))", NESTED, Some(None)),
        ("(result.ok)", ResultType(), Ok()),
        ("(result.ok (u8.const 1))", ResultType(U8), Ok(1)),
        ('(result.err (str.const "no"))', ResultType(U8, STRING), Err("no")),
        (
            "(list.const (tuple.const (u8.const 1) (u8.const 2)))",
            MapType(U8, U8),
            {1: 2},
        ),
    ],
)
def test_constant_is_a_value(text: str, t: ValType, expected: Any) -> None:
    assert same(value(text, t), expected)


def test_repeated_keys_of_a_map_are_kept() -> None:
    pair = "(tuple.const (u8.const 1) (u8.const {}))"
    made = value(f"(list.const {pair.format(2)} {pair.format(3)})", MapType(U8, U8))
    assert isinstance(made, RepeatedKeys)
    assert made.pairs == [(1, 2), (1, 3)]


@pytest.mark.parametrize(
    ("text", "t", "message"),
    [
        ("(u8.const 1)", U32, r"\(u8.const\) given where u32.const is needed"),
        ("(i64.const 1)", S32, r"\(i64.const\) given where s32.const"),
        ("(u8.const 256)", U8, "out of range"),
        ("(u8.const x)", U8, "malformed u8.const"),
        ("(u8.const)", U8, "malformed u8.const"),
        ("(u8.const (u8.const 1))", U8, "expected a number"),
        ("(bool.const 1)", PrimitiveType.BOOL, "malformed bool.const"),
        ("(tuple.const (u8.const 1))", TupleType((U8, U8)), "malformed tuple.const"),
        ("(list.const 1)", ListType(U8), "expected a constant, found 1"),
        ('(record.const (field "z" (u32.const 1)))', RECORD, "malformed record.const"),
        ('(enum.const "green")', ENUM, "malformed enum.const"),
        ('(flags.const "append")', FLAGS, "malformed flags.const"),
        ('(variant.const "some")', VARIANT, "malformed variant.const"),
        ("(option.const)", OptionType(U8), "option.some or option.none is needed"),
        ("(own.const)", OwnType(ResourceType()), "no constants of its type"),
    ],
)
def test_other_constants_are_refused(text: str, t: ValType, message: str) -> None:
    with pytest.raises(ConstantError, match=message):
        value(text, t)


@pytest.mark.parametrize(
    ("a", "b", "are_same"),
    [
        (math.nan, -math.nan, True),
        (0.0, -0.0, False),
        ([math.nan], [math.nan], True),
        ([1], [1, 2], False),
        (Ok(math.nan), Ok(math.nan), True),
        (Ok(1), Err(1), False),
        ({1: math.nan}, {1: math.nan}, True),
        ({1: 2, 3: 4}, {3: 4, 1: 2}, False),
        (True, 1, False),
        (b"\1", [1], False),
        (record_class(RECORD)(x_y=0.0, z=""), record_class(RECORD)(x_y=-0.0, z=""), False),
        (variant_classes(VARIANT)[0].Some(1), variant_classes(VARIANT)[0].Some(2), False),
        (variant_classes(VARIANT)[0].Some(None), variant_classes(VARIANT)[0].Nothing(), False),
    ],
)
def test_values_are_compared_as_scripts_mean_them(a: Any, b: Any, are_same: bool) -> None:
    assert same(a, b) is are_same

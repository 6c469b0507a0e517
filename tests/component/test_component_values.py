"""Every type of value goes from Python through a component, out of it into Python, and all the way back."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
from guest_text import load, passing_on

from p3host import Component, Err, ErrorContext, Ok, Some, Trap

pytestmark = pytest.mark.anyio

RECORD = (
    '(type $R (record (field "a" u8) (field "class" string) (field "b-c" (option f64)))) (import "r" (type $r (eq $R)))'
)
VARIANT = (
    '(type $V (variant (case "all") (case "some" string) (case "pair" (tuple u8 u64)))) (import "v" (type $v (eq $V)))'
)
ENUM = '(type $E (enum "not-found" "busy")) (import "e" (type $e (eq $E)))'
FLAGS = '(type $F (flags "read" "write" "run-it")) (import "f" (type $f (eq $F)))'
WIDE = "(type $t (tuple " + "u32 " * 20 + "))"
LONG_FLAGS = (
    f'(type $F (flags {" ".join(f"{chr(34)}f{i}{chr(34)}" for i in range(32))})) (import "f" (type $f (eq $F)))'
)

SAME = [
    ("", "bool", [True, False]),
    ("", "s8", [-128, 127]),
    ("", "u8", [0, 255]),
    ("", "s16", [-32768, 32767]),
    ("", "u16", [0, 65535]),
    ("", "s32", [-(2**31), 2**31 - 1]),
    ("", "u32", [0, 2**32 - 1]),
    ("", "s64", [-(2**63), 2**63 - 1]),
    ("", "u64", [0, 2**64 - 1]),
    ("", "f32", [0.5, -math.inf]),
    ("", "f64", [0.1, math.inf]),
    ("", "char", ["a", "\U0010ffff"]),
    ("", "string", ["", "héllo \U0001f600", "\0"]),
    ("(type $t (list u8))", "$t", [b"", bytes(range(256)) * 100]),
    ("(type $t (list u16))", "$t", [[], [1, 65535]]),
    ("(type $t (list f64))", "$t", [[0.5, -1.0]]),
    ("(type $t (list string))", "$t", [["a", "", "ü"]]),
    ("(type $t (list (list (tuple string u8))))", "$t", [[[], [("x", 1), ("y", 2)]]]),
    ("(type $t (tuple u8 string bool))", "$t", [(1, "x", True)]),
    (WIDE, "$t", [tuple(range(20))]),
    ("(type $t (option u32))", "$t", [None, 0, 7]),
    ("(type $t (option string))", "$t", [None, "", "x"]),
    ("(type $t (option (option u8)))", "$t", [None, Some(None), Some(3)]),
    ("(type $t (list (option (option string))))", "$t", [[None, Some(None), Some("x")]]),
    ("(type $t (list (result u8 (error string))))", "$t", [[Ok(1), Err("no")]]),
    ("(type $t (tuple (result) u8))", "$t", [(Ok(), 1), (Err(), 2)]),
    ("(type $t (option (result (result u8) (error string))))", "$t", [None, Ok(Ok(3)), Ok(Err()), Err("x")]),
]


@pytest.mark.parametrize(("types", "t", "values"), SAME, ids=[f"{types or t}" for types, t, _ in SAME])
async def test_value_is_the_same_on_both_sides(types: str, t: str, values: list[Any]) -> None:
    seen = []

    def host(value: Any) -> Any:
        seen.append(value)
        return value

    async with load(passing_on(types, f'(param "v" {t})', f"(result {t})")).instantiate({"host": host}) as instance:
        assert [await instance.exports.echo(value) for value in values] == values
    assert seen == values
    assert [type(value) for value in seen] == [type(value) for value in values]


async def test_f32_is_rounded_and_nan_stays_nan() -> None:
    component = load(passing_on("", '(param "v" f32)', "(result f32)"))
    async with component.instantiate({"host": lambda value: value}) as instance:
        assert await instance.exports.echo(0.1) == pytest.approx(0.1, rel=1e-7)
        assert math.isnan(await instance.exports.echo(math.nan))


async def test_record_has_its_fields_in_snake_case() -> None:
    seen: list[Any] = []

    def host(value: Any) -> Any:
        seen.append(value)
        return SimpleNamespace(a=value.a + 1, class_=value.class_.upper(), b_c=2.5)

    component = load(passing_on(RECORD, '(param "v" $r)', "(result $r)"))
    async with component.instantiate({"host": host}) as instance:
        result = await instance.exports.echo({"a": 1, "class_": "x", "b_c": None})
        again = await instance.exports.echo(result)
    assert (seen[0].a, seen[0].class_, seen[0].b_c) == (1, "x", None)
    assert (result.a, result.class_, result.b_c) == (2, "X", 2.5)
    assert again.a == 3
    assert type(again) is type(seen[0])
    assert repr(result) == "R(a=2, class_='X', b_c=2.5)"


async def test_variant_is_matched_by_its_cases() -> None:
    seen: list[Any] = []

    def host(value: Any) -> Any:
        seen.append(value)
        return value

    component = load(passing_on(VARIANT, '(param "v" $v)', "(result $v)"))
    async with component.instantiate({"host": host}) as instance:
        first = await instance.exports.echo(SimpleNamespace(tag="some", value="x"))
        variant = type(first).__mro__[1]
        for value in (variant.All(), variant.Some("y"), variant.Pair((1, 2))):
            assert await instance.exports.echo(value) == value
            assert seen[-1] == value
    match first:
        case variant.Some(text):
            assert text == "x"
        case _:
            pytest.fail(f"unexpected {first!r}")
    assert first.tag == "some"


async def test_exported_types_are_classes_of_the_interface() -> None:
    types = """(type $V (variant (case "all") (case "some" string))) (type $R (record (field "x" u8)))
      (type $E (enum "busy")) (type $F (flags "read"))"""
    text = f"""(component {types} (instance (export "local:a/types@1.0.0")
      (export "filter" (type $V)) (export "point" (type $R)) (export "state" (type $E)) (export "access" (type $F))))"""
    async with Component.load(text).instantiate() as instance:
        exported = instance.exports["local:a/types"]
        assert exported.Filter.Some("x").value == "x"
        assert exported.Point(x=1).x == 1
        assert exported.State.BUSY.value == "busy"
        assert list(exported.Access) == [exported.Access.READ]
        assert exported["filter"] is exported.Filter


async def test_enum_and_flags_are_the_standard_librarys() -> None:
    async with load(passing_on(ENUM, '(param "v" $e)', "(result $e)")).instantiate({"host": lambda v: v}) as instance:
        value = await instance.exports.echo("not-found")
        assert (value.name, value.value) == ("NOT_FOUND", "not-found")
        assert await instance.exports.echo(type(value).BUSY) is type(value).BUSY
    async with load(passing_on(FLAGS, '(param "v" $f)', "(result $f)")).instantiate({"host": lambda v: v}) as instance:
        flags = type(await instance.exports.echo({"read"}))
        both = flags.READ | flags.RUN_IT
        assert await instance.exports.echo(both) == both
        assert await instance.exports.echo(flags(0)) == flags(0)


async def test_32_flags_fill_a_word() -> None:
    async with load(passing_on(LONG_FLAGS, '(param "v" $f)', "(result $f)")).instantiate({"host": lambda v: v}) as i:
        value = await i.exports.echo({"f0", "f31"})
        assert value.value == 2**31 + 1


async def test_result_is_returned_or_raised_on_both_sides() -> None:
    def host(value: Any) -> str:
        if isinstance(value, Err):
            raise Err(len(value.value))
        return str(value.value)

    types = "(type $in (result u32 (error string))) (type $out (result string (error u32)))"
    component = load(passing_on(types, '(param "v" $in)', "(result $out)"))
    async with component.instantiate({"host": host}) as instance:
        assert await instance.exports.echo(Ok(7)) == "7"
        with pytest.raises(Err) as raised:
            await instance.exports.echo(Err("four"))
    assert raised.value.value == 4


async def test_result_without_values_is_none_or_an_error() -> None:
    def host(fails: bool) -> None:
        if fails:
            raise Err

    component = load(passing_on("(type $out (result))", '(param "v" bool)', "(result $out)"))
    async with component.instantiate({"host": host}) as instance:
        assert await instance.exports.echo(False) is None
        with pytest.raises(Err) as raised:
            await instance.exports.echo(True)
    assert raised.value.value is None


async def test_error_context_keeps_its_message() -> None:
    component = load(passing_on("", '(param "v" error-context)', "(result error-context)"))
    async with component.instantiate({"host": lambda value: value}) as instance:
        value = await instance.exports.echo(ErrorContext("what went wrong"))
    assert value.debug_message == "what went wrong"


async def test_function_without_parameters_and_result() -> None:
    calls = []
    async with load(passing_on("", "", "")).instantiate({"host": lambda: calls.append(1)}) as instance:
        assert await instance.exports.echo() is None
    assert calls == [1]


WRONG = [
    ("", "u8", 256, "256"),
    ("", "u8", -1, "-1"),
    ("", "u8", "1", "'1'"),
    ("", "u32", 1.5, "1.5"),
    ("", "bool", 2, "2"),
    ("", "char", "ab", "'ab'"),
    ("", "char", "\ud800", "surrogate"),
    ("", "string", b"x", "b'x'"),
    ("(type $t (list u8))", "$t", [1, 300], "300"),
    ("(type $t (list string))", "$t", ["a", 5], "5"),
    ("(type $t (tuple u8 u8))", "$t", (1,), "2"),
    (RECORD, "$r", {"a": 1}, "class"),
    (VARIANT, "$v", ("none", 1), "none"),
    (ENUM, "$e", "missing", "missing"),
    ("(type $t (option (option u8)))", "$t", "x", "'x'"),
]


@pytest.mark.parametrize(("types", "t", "value", "named"), WRONG, ids=[f"{t}-{value!r}" for _, t, value, _ in WRONG])
async def test_argument_of_the_wrong_type_harms_no_guest(types: str, t: str, value: Any, named: str) -> None:
    component = load(passing_on(types, f'(param "v" {t})', f"(result {t})"))
    async with component.instantiate({"host": lambda value: value}) as instance:
        for _ in range(2):
            with pytest.raises((TypeError, ValueError), match=named) as raised:
                await instance.exports.echo(value)
            assert "'v'" in str(raised.value)


async def test_wrong_number_of_arguments_is_a_type_error() -> None:
    component = load(passing_on("", '(param "the-value" u8)', "(result u8)"))
    async with component.instantiate({"host": lambda value: value}) as instance:
        for args, named in (((), {}), ((1, 2), {}), ((1,), {"the_value": 2}), ((), {"other": 1})):
            with pytest.raises(TypeError):
                await instance.exports.echo(*args, **named)
        assert await instance.exports.echo(the_value=5) == 5


async def test_host_function_with_a_result_of_the_wrong_type_traps_with_the_place() -> None:
    component = load(passing_on("(type $t (list u8))", '(param "v" $t)', "(result $t)"))
    async with component.instantiate({"host": lambda value: [1, 2, 999]}) as instance:
        with pytest.raises(Trap, match=r"host.*999"):
            await instance.exports.echo(b"")

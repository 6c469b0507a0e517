"""The type that a component gets, and when types are equal or match."""

from __future__ import annotations

import pytest
from validation_cases import encode, refusal, type_of, wasmtime_refusal

from p3host.types import (
    CoreFuncType,
    FuncType,
    InstanceType,
    ModuleType,
    OwnType,
    PrimitiveType,
    RecordType,
    TypeExtern,
)


def test_component_type_has_imports_and_exports_in_order() -> None:
    t = type_of(
        """(component
          (import "b" (func $f (param "x" u8) (result string))) (import "a" (instance $i (export "z" (func))))
          (core module $m (func (export "g"))) (export "m" (core module $m)) (export "g" (func $f)))"""
    )
    func = FuncType((("x", PrimitiveType.U8),), PrimitiveType.STRING)
    assert list(t.imports.items()) == [("b", func), ("a", InstanceType({"z": FuncType(())}))]
    assert list(t.exports) == ["m", "g"]
    assert t.exports["m"] == ModuleType({}, {"g": CoreFuncType((), ())})
    assert t.exports["g"] == func


def test_first_export_of_a_resource_is_abstract_and_later_ones_equal_it() -> None:
    t = type_of('(component (type $r (resource (rep i32))) (export "a" (type $r)) (export "b" (type $r)))')
    (resource,) = t.resources
    assert t.exports == {"a": TypeExtern(resource, "sub"), "b": TypeExtern(resource, "eq")}
    assert resource.name == "a"


def test_ascribed_export_of_a_resource_hides_which_it_is() -> None:
    t = type_of(
        '(component (type $r (resource (rep i32))) (export "a" (type $r)) (export "b" (type $r) (type (sub resource))))'
    )
    assert [extern.bound for extern in t.exports.values() if isinstance(extern, TypeExtern)] == ["sub", "sub"]
    assert len(t.resources) == 2


def test_function_of_a_component_type_uses_the_resource_that_is_exported() -> None:
    t = type_of(
        """(component (core module $m (func (export "f") (result i32) i32.const 1)) (core instance $i (instantiate $m))
          (type $r (resource (rep i32))) (export $x "r" (type $r))
          (func $f (result (own $x)) (canon lift (core func $i "f"))) (export "f" (func $f)))"""
    )
    assert t.exports["f"] == FuncType((), OwnType(t.resources[0]))


def test_imported_resources_are_bound_by_the_imports() -> None:
    t = type_of(
        """(component
          (import "r" (type $r (sub resource))) (import "i" (instance $i (export "q" (type (sub resource)))))
          (import "f" (func (param "x" (borrow $r)))) (export "out" (type $r)) (export "i2" (instance $i)))"""
    )
    assert [resource.name for resource in t.import_resources] == ["r", "q"]
    assert t.resources == ()
    assert t.exports["out"] == TypeExtern(t.import_resources[0], "eq")


def test_resources_of_a_nested_instance_are_new_ones() -> None:
    t = type_of(
        """(component
          (component $c (type $r (resource (rep i32))) (export "r" (type $r)))
          (instance $a (instantiate $c)) (instance $b (instantiate $c))
          (export "a" (instance $a)) (export "b" (instance $b)))"""
    )
    assert len(set(t.resources)) == 2


def test_named_types_carry_the_name_of_their_export() -> None:
    t = type_of(
        """(component (import "i" (instance
          (type $t (record (field "x" u8))) (export "point" (type $p (eq $t)))
          (export "f" (func (param "p" $p))))))"""
    )
    instance = t.imports["i"]
    assert isinstance(instance, InstanceType)
    point, f = instance.exports["point"], instance.exports["f"]
    assert isinstance(point, TypeExtern)
    assert isinstance(f, FuncType)
    assert isinstance(point.type, RecordType)
    assert point.type.name == "point"
    assert f.params[0][1] is point.type


# Resources and type equality

TWO_RESOURCES = '(import "a" (type $a (sub resource))) (import "b" (type $b (sub resource)))'
SAME_RESOURCE = '(component $same (import "x" (type $x (sub resource))) (import "y" (type (eq $x))))'


@pytest.mark.parametrize(
    ("definitions", "arguments", "fragment"),
    [
        (TWO_RESOURCES, '(with "x" (type $a)) (with "y" (type $a))', ""),
        (TWO_RESOURCES, '(with "x" (type $a)) (with "y" (type $b))', "resource types are not the same"),
        (f'{TWO_RESOURCES} (import "c" (type $c (eq $b)))', '(with "x" (type $c)) (with "y" (type $b))', ""),
        ("(type $a (resource (rep i32)))", '(with "x" (type $a)) (with "y" (type $a))', ""),
        (
            '(type $a (resource (rep i32))) (export $b "out" (type $a))',
            '(with "x" (type $a)) (with "y" (type $b))',
            "",
        ),
        (
            '(type $a (resource (rep i32))) (export $b "out" (type $a) (type (sub resource)))',
            '(with "x" (type $a)) (with "y" (type $b))',
            "resource types are not the same",
        ),
        (
            '(component $c (type $r (resource (rep i32))) (export "r" (type $r)))'
            "(instance $i (instantiate $c)) (instance $j (instantiate $c))",
            '(with "x" (type $i "r")) (with "y" (type $j "r"))',
            "resource types are not the same",
        ),
        (
            "(type $a (resource (rep i32)))"
            '(component $c (import "in" (type $r (sub resource))) (export "r" (type $r)))'
            '(instance $i (instantiate $c (with "in" (type $a)))) (instance $j (instantiate $c (with "in" (type $a))))',
            '(with "x" (type $i "r")) (with "y" (type $j "r"))',
            "",
        ),
        (
            '(type $t (instance (export "r" (type (sub resource)))))'
            '(import "i" (instance $i (type $t))) (import "j" (instance $j (type $t)))',
            '(with "x" (type $i "r")) (with "y" (type $j "r"))',
            "resource types are not the same",
        ),
        (
            '(import "c" (instance $c (type $t (instance (export "r" (type (sub resource)))))'
            ' (export "i" (instance (type $t))) (export "j" (instance (type $t)))))',
            '(with "x" (type $c "i" "r")) (with "y" (type $c "j" "r"))',
            "resource types are not the same",
        ),
        ("(type $a u8)", '(with "x" (type $a)) (with "y" (type $a))', "expected resource, found u8"),
    ],
)
def test_resource_types_are_equal_only_to_themselves(definitions: str, arguments: str, fragment: str) -> None:
    reason = refusal(encode(f"(component {definitions} {SAME_RESOURCE} (instance (instantiate $same {arguments})))"))
    assert fragment in reason
    assert bool(reason) == bool(fragment)


@pytest.mark.parametrize(
    ("expected", "actual", "fragment"),
    [
        ("u32", "u32", ""),
        ("u32", "s32", "expected u32, found s32"),
        ("(list u8)", "(list u8)", ""),
        ("(list u8)", "(list s8)", "type mismatch in list part 0: expected u8, found s8"),
        ("(list u8 2)", "(list u8 3)", "expected list 2 of 1 types, found list 3 of 1 types"),
        ("(tuple u8 u8)", "(tuple u8)", "expected tuple of 2 types, found tuple of 1 types"),
        ('(record (field "a" u8))', '(record (field "b" u8))', "expected record with `a` (1 in all)"),
        ('(record (field "a" u8))', '(record (field "a" char))', "type mismatch in record field `a`"),
        ('(variant (case "a" u8))', '(variant (case "a"))', "expected variant with `a`"),
        ('(variant (case "a") (case "b" u8))', '(variant (case "a") (case "b" s8))', "in variant case `b`"),
        ('(enum "a")', '(enum "b")', "expected enum"),
        ('(flags "a")', '(flags "a" "b")', "expected flags"),
        ("(option u8)", "(result u8)", "expected option, found result"),
        ("(result u8)", "(result (error u8))", "expected result"),
        ("(stream u8)", "(stream)", "expected stream"),
        ("(future u8)", "(stream u8)", "expected future, found stream"),
        ("(map u8 u8)", "(map u8 s8)", "map part 1"),
    ],
)
def test_value_types_are_equal_by_structure(expected: str, actual: str, fragment: str) -> None:
    text = f"""(component (component $c (type $t {expected}) (import "x" (type (eq $t))))
      (type $t {actual}) (instance (instantiate $c (with "x" (type $t)))))"""
    reason = refusal(encode(text))
    assert fragment in reason
    assert bool(reason) == bool(fragment)


@pytest.mark.parametrize(
    ("expected", "actual", "fragment"),
    [
        ('(param "x" u8) (result u8)', '(param "x" u8) (result u8)', ""),
        ("", "async", "expected sync function, found async function"),
        ('(param "x" u8)', "", "expected 1 parameters, found 0"),
        ('(param "x" u8)', '(param "y" u8)', "expected parameter named `x`, found `y`"),
        ('(param "x" u8)', '(param "x" u16)', "type mismatch in function parameter `x`: expected u8, found u16"),
        ("(result u8)", "", "type mismatch in the function's result: expected u8, found none"),
        ("(result u8)", "(result s8)", "type mismatch in the function's result"),
    ],
)
def test_function_types_are_equal_with_their_parameter_names(expected: str, actual: str, fragment: str) -> None:
    text = f"""(component (import "f" (func $f {actual})) (component $c (import "x" (func {expected})))
      (instance (instantiate $c (with "x" (func $f)))))"""
    reason = refusal(encode(text))
    assert fragment in reason
    assert bool(reason) == bool(fragment)


@pytest.mark.parametrize(
    ("expected", "actual", "fragment"),
    [
        ("(func (param i32))", '(func (export "x") (param i32))', ""),
        ("(func (param i32))", '(func (export "x"))', "expected: (func (param i32)), found: (func)"),
        ("(func)", '(memory (export "x") 1)', "expected func, found memory"),
        ("(memory 1)", '(memory (export "x") 2)', ""),
        ("(memory 2)", '(memory (export "x") 1)', "mismatch in memory limits: expected 2 to any, found 1 to any"),
        ("(memory 1 2)", '(memory (export "x") 1)', "mismatch in memory limits"),
        ("(memory 1 2)", '(memory (export "x") 1 3)', "mismatch in memory limits"),
        ("(memory 1)", '(memory (export "x") 1 3)', ""),
        ("(memory i64 1)", '(memory (export "x") 1)', "index type of the memory: expected i64, found i32"),
        ("(table 1 funcref)", '(table (export "x") 1 funcref)', ""),
        ("(table 1 funcref)", '(table (export "x") 1 externref)', "expected table element type funcref"),
        ("(table 2 funcref)", '(table (export "x") 1 funcref)', "mismatch in table limits"),
        ("(global i32)", '(global (export "x") i32 (i32.const 0))', ""),
        ("(global i32)", '(global (export "x") (mut i32) (i32.const 0))', "expected a global with mutable=False"),
        ("(global i64)", '(global (export "x") i32 (i32.const 0))', "expected global type i64, found i32"),
        ("(tag (param i32))", '(tag (export "x") (param i32))', ""),
        ("(tag (param i32))", '(tag (export "x") (param f32))', "found: (func (param f32))"),
    ],
)
def test_core_arguments_match_by_core_subtyping(expected: str, actual: str, fragment: str) -> None:
    text = f"""(component (core module $e {actual}) (core instance $e (instantiate $e))
      (core module $m (import "a" "x" {expected})) (core instance (instantiate $m (with "a" (instance $e)))))"""
    reason = refusal(encode(text))
    assert fragment in reason
    assert bool(reason) == bool(fragment)
    assert bool(wasmtime_refusal(encode(text))) == bool(fragment)


def test_shared_memory_is_no_memory_of_one_component() -> None:
    text = """(component (core module $e (memory (export "x") 1)) (core instance $e (instantiate $e))
      (core module $m (import "a" "x" (memory 1 1 shared)))
      (core instance (instantiate $m (with "a" (instance $e)))))"""
    assert "mismatch in the shared flag of the memory" in refusal(encode(text))

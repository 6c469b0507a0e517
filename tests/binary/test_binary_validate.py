"""The rules of component definitions: one table of what is refused and why, one of what is valid."""

from __future__ import annotations

import pytest
from validation_cases import check, encode, is_limit_of_wasmtime, refusal, wasmtime_refusal

from p3host.binary.definitions import Component, Start, Value
from p3host.binary.validate import validate
from p3host.errors import DecodeError
from p3host.types import ModuleType, PrimitiveType

LIFTABLE = """
  (core module $m (func (export "f") (result i32) i32.const 1))
  (core instance $i (instantiate $m))
"""

INVALID = {
    # index spaces
    "type out of bounds": ("(component (type (list 3)))", "type index out of bounds: there is no type 3"),
    "function out of bounds": ('(component (export "e" (func 0)))', "function index out of bounds"),
    "instance out of bounds": ('(component (alias export 1 "x" (func)))', "instance index out of bounds"),
    "core module out of bounds": ("(component (core instance (instantiate 2)))", "there is no module 2"),
    "component out of bounds": ("(component (instance (instantiate 0)))", "there is no component 0"),
    "core function out of bounds": ('(component (core instance (export "" (func 4))))', "there is no core function 4"),
    "core memory out of bounds": ('(component (core instance (export "" (memory 0))))', "there is no core memory 0"),
    "core table out of bounds": ('(component (core instance (export "" (table 0))))', "there is no core table 0"),
    "core global out of bounds": ('(component (core instance (export "" (global 0))))', "there is no core global 0"),
    "core tag out of bounds": ('(component (core instance (export "" (tag 0))))', "there is no core tag 0"),
    "argument out of bounds": (
        '(component (component $c) (instance (instantiate $c (with "x" (instance 7)))))',
        "there is no instance 7",
    ),
    # value types
    "function as a value": ("(component (type $f (func)) (type (option $f)))", "is not a defined value type"),
    "instance type as a value": ("(component (type $t (instance)) (type (list $t)))", "is not a defined value type"),
    "resource as a value": (
        "(component (type $r (resource (rep i32))) (type (tuple $r)))",
        "is not a defined value type",
    ),
    "own of a value type": ("(component (type $t u8) (type (own $t)))", "type 0 is not a resource type"),
    "borrow of a function type": ("(component (type $t (func)) (type (borrow $t)))", "type 0 is not a resource type"),
    "empty label": ('(component (type (record (field "" u8))))', "record field name cannot be empty"),
    "label in camel case": ('(component (type (enum "camelCase")))', "`camelCase` is not in kebab case"),
    "labels that differ in case": (
        '(component (type (variant (case "on") (case "ON"))))',
        "variant case name `ON` conflicts with previous name `on`",
    ),
    "flags by the same name": ('(component (type (flags "x" "y" "x")))', "flag name `x` conflicts"),
    "parameters by the same name": (
        '(component (type (func (param "p" u8) (param "p" u8))))',
        "function parameter name `p` conflicts",
    ),
    "stream of char": ("(component (type (stream char)))", "`stream<char>` is not valid"),
    "stream of borrows": (
        "(component (type $r (resource (rep i32))) (type (stream (list (borrow $r)))))",
        "the element type of a stream cannot contain a `borrow`",
    ),
    "future of a borrow": (
        "(component (type $r (resource (rep i32))) (type (future (borrow $r))))",
        "the element type of a future cannot contain a `borrow`",
    ),
    "borrow in a result": (
        "(component (type $r (resource (rep i32))) (type (func (result (option (borrow $r))))))",
        "a function's result cannot contain a `borrow`",
    ),
    "float as a key": ("(component (type (map f32 u8)))", "the key type of a map must be"),
    "value of 2^28 bytes": ("(component (type (list u16 134217728)))", "takes 268435456 bytes or more"),
    "value too large for 64-bit pointers": ("(component (type (list string 16777216)))", "268435456 bytes or more"),
    # types with declarations
    "resource in a type": (
        "(component (type (component (type (resource (rep i32))))))",
        "resources can only be defined within a concrete component",
    ),
    "function alias in a type": (
        '(component (type (component (import "i" (instance $i (export "f" (func)))) (alias export $i "f" (func)))))',
        "may only refer to types or instances",
    ),
    "component alias in a type": (
        "(component $c (component $d) (type (instance (alias outer $c $d (component)))))",
        "may only refer to types or instances",
    ),
    "import of a type by the wrong sort": (
        '(component (type $t (func)) (import "i" (instance (type $t))))',
        "type 0 is not an instance type",
    ),
    "component import of a function type": (
        '(component (type $t (func)) (component (alias outer 1 $t (type $u)) (import "i" (component (type $u)))))',
        "type 0 is not a component type",
    ),
    "function import of an instance type": (
        '(component (type $t (instance)) (import "i" (func (type $t))))',
        "type 0 is not a function type",
    ),
    "module import of a core function type": (
        '(component (core type $t (func)) (import "i" (core module (type $t))))',
        "core type 0 is not a module type",
    ),
    "exports of a module type by the same name": (
        '(component (core type (module (export "a" (func)) (export "a" (func)))))',
        "export name `a` already defined",
    ),
    "imports of a module type by the same name": (
        '(component (core type (module (import "m" "a" (func)) (import "m" "a" (func)))))',
        "duplicate import name `m:a`",
    ),
    "memory type without bounds": (
        '(component (core type (module (import "m" "a" (memory 65537)))))',
        "memory size is larger",
    ),
    "limits upside down": (
        '(component (core type (module (import "m" "a" (table 3 2 funcref)))))',
        "the minimum size of a table must not be greater",
    ),
    "shared memory without a maximum": (
        '(component (core type (module (import "m" "a" (memory 1 shared)))))',
        "a shared memory must have a maximum size",
    ),
    # aliases
    "no such export": ('(component (instance) (alias export 0 "x" (func)))', "instance 0 has no export named `x`"),
    "export of another sort": (
        '(component (import "i" (instance (export "x" (func)))) (alias export 0 "x" (instance)))',
        "export `x` of instance 0 is no instance",
    ),
    "no such core export": (
        '(component (core module $m) (core instance $i (instantiate $m)) (alias core export $i "x" (core func)))',
        "core instance 0 has no export named `x`",
    ),
    "core export of another sort": (
        '(component (core module $m (memory (export "x") 1)) (core instance $i (instantiate $m))'
        ' (alias core export $i "x" (core func)))',
        "export `x` of core instance 0 is no func",
    ),
    "alias from too far out": ("(component (component (alias outer 2 0 (type))))", "invalid outer alias count 2"),
    "alias of what comes later": (
        "(component (component (alias outer 1 0 (type))) (type u8))",
        "there is no type 0",
    ),
    "resource across a component": (
        "(component $c (type $r (resource (rep i32))) (component (alias outer $c $r (type))))",
        "transitively refers to resources",
    ),
    "handle across a component": (
        "(component $c (type $r (resource (rep i32))) (type $h (list (own $r)))"
        " (component (component (alias outer $c $h (type)))))",
        "transitively refers to resources",
    ),
    "resource across a component into a type": (
        "(component $c (type $r (resource (rep i32))) (component (type (instance (alias outer $c $r (type))))))",
        "transitively refers to resources",
    ),
    "instance type with an outer resource across a component": (
        '(component $c (type $r (resource (rep i32))) (type $t (instance (export "f" (func (result (own $r))))))'
        " (component (alias outer $c $t (type))))",
        "transitively refers to resources",
    ),
    # core instances
    "argument missing": (
        '(component (core module $m (import "a" "f" (func))) (core instance (instantiate $m)))',
        "missing module instantiation argument named `a`",
    ),
    "argument without the export": (
        '(component (core module $m (import "a" "f" (func))) (core instance $e)'
        ' (core instance (instantiate $m (with "a" (instance $e)))))',
        "argument `a` does not export an item named `f`",
    ),
    "argument twice": (
        '(component (core module $m) (core instance $e) (core instance (instantiate $m (with "a" (instance $e))'
        ' (with "a" (instance $e)))))',
        "duplicate module instantiation argument named `a`",
    ),
    "core export twice": (
        '(component (core module $m (func (export "f"))) (core instance $i (instantiate $m))'
        ' (core instance (export "f" (func $i "f")) (export "f" (func $i "f"))))',
        "export name `f` already defined",
    ),
    # instances
    "component argument missing": (
        '(component (component $c (import "x" (func))) (instance (instantiate $c)))',
        "missing import named `x`",
    ),
    "component argument twice": (
        '(component (component $c) (instance $i) (instance (instantiate $c (with "a" (instance $i))'
        ' (with "a" (instance $i)))))',
        "instantiation argument `a` conflicts",
    ),
    "component argument of another sort": (
        '(component (component $c (import "x" (func))) (instance $i)'
        ' (instance (instantiate $c (with "x" (instance $i)))))',
        "type mismatch for import `x`: expected func, found instance",
    ),
    "instance exports by the same name": (
        '(component (component $c) (instance (export "a" (component $c)) (export "a" (component $c))))',
        "export name `a` conflicts with previous name `a`",
    ),
    # exports
    "export of an incompatible type": (
        f"(component {LIFTABLE}"
        '(func $f (result u32) (canon lift (core func $i "f"))) (export "f" (func $f) (func (result s32))))',
        "ascribed type of export `f` is not compatible",
    ),
    "export that promises too much": (
        '(component (instance $i) (export "i" (instance $i) (instance (export "f" (func)))))',
        "missing expected export `f`",
    ),
    "exports by the same name": (
        '(component (instance $i) (export "x" (instance $i)) (export "x" (instance $i)))',
        "export name `x` conflicts with previous name `x`",
    ),
    # resources
    "destructor of another type": (
        '(component (core module $m (func (export "d"))) (core instance $i (instantiate $m))'
        ' (type (resource (rep i32) (dtor (core func $i "d")))))',
        "wrong signature for a destructor: expected (func (param i32)), found (func)",
    ),
    "resource represented by a float": ("(component (type (resource (rep f32))))", "can only be represented by"),
}


@pytest.mark.parametrize(("text", "fragment"), INVALID.values(), ids=INVALID.keys())
def test_invalid_component_is_refused_with_its_reason(text: str, fragment: str) -> None:
    assert fragment in refusal(encode(text))


@pytest.mark.parametrize("text", [text for text, _ in INVALID.values()], ids=INVALID.keys())
def test_wasmtime_refuses_what_is_refused(text: str) -> None:
    assert wasmtime_refusal(encode(text))


VALID = {
    "empty": "(component)",
    "every kind of value type": """(component
      (type $r (record (field "a" u8) (field "B" (list string)))) (type (variant (case "x" $r) (case "y")))
      (type (flags "a" "b")) (type (enum "a")) (type (result)) (type (result $r)) (type (result (error $r)))
      (type (tuple bool char f32)) (type (option $r)) (type (stream)) (type (stream $r)) (type (future))
      (type (future char)) (type (map string $r)))""",
    "values just below 2^28 bytes": "(component (type (list u16 134217727)) (type (map u8 (list u8 268435455))))",
    "error context": "(component (type (list error-context)))",
    "outer aliases of everything that may be taken": """(component $c
      (core module $m) (core type $t (func)) (component $d) (type $r (record (field "a" u8)))
      (component (alias outer $c $m (core module)) (alias outer $c $t (core type)) (alias outer $c $d (component))
        (alias outer $c $r (type))))""",
    "resource into a type": """(component $c (type $r (resource (rep i32)))
      (type (component (alias outer $c $r (type $x)) (type (own $x)))))""",
    "instance type with its own resource across a component": """(component $c
      (type $t (instance (export "r" (type $r (sub resource))) (export "f" (func (result (own $r))))))
      (component (alias outer $c $t (type $u)) (import "i" (instance (type $u)))))""",
    "arguments that nobody asked for": """(component (component $c) (instance $i)
      (instance (instantiate $c (with "Not-A Name" (instance $i)))))""",
    "instance with more exports than asked": """(component
      (import "i" (instance $i (export "a" (func)) (export "b" (func (param "x" u8)))))
      (component $c (import "x" (instance (export "b" (func (param "x" u8))))))
      (instance (instantiate $c (with "x" (instance $i)))))""",
    "module that imports less and exports more than asked": """(component
      (core module $m (import "a" "f" (func)) (func (export "g")) (memory (export "m") 2 3))
      (component $c (import "m" (core module
        (import "a" "f" (func)) (import "a" "h" (func)) (export "m" (memory 1)))))
      (instance (instantiate $c (with "m" (core module $m)))))""",
    "component that imports less and exports more than asked": """(component
      (component $d (import "a" (func $a)) (export "x" (func $a)) (export "y" (func $a)))
      (component $c (import "d" (component (import "a" (func)) (import "b" (func)) (export "x" (func)))))
      (instance (instantiate $c (with "d" (component $d)))))""",
    "destructors": """(component (core module $m (func (export "d") (param i32))) (core instance $i (instantiate $m))
      (type (resource (rep i32) (dtor (core func $i "d")))))""",
    "module types with what they define": """(component $c (core type $f (func (param i32)))
      (core type (module (alias outer $c $f (type $g)) (type $h (func (result f64)))
        (import "m" "g" (func (type $g))) (import "m" "t" (tag (type $g))) (export "h" (func (type $h)))
        (export "t" (table 1 externref)) (export "s" (global (mut i64))))))""",
}


@pytest.mark.parametrize("text", VALID.values(), ids=VALID.keys())
def test_valid_component_is_accepted(text: str) -> None:
    assert refusal(encode(text)) == ""


@pytest.mark.parametrize("text", VALID.values(), ids=VALID.keys())
def test_wasmtime_accepts_what_is_accepted(text: str) -> None:
    reason = wasmtime_refusal(encode(text))
    assert not reason or is_limit_of_wasmtime(reason)


# What is not supported, and limits


@pytest.mark.parametrize(
    ("definition", "fragment"),
    [
        (Value(PrimitiveType.U8, b"\0", offset=9), "component values are not supported"),
        (Start(0, (), 0, offset=9), "component start functions are not supported"),
    ],
)
def test_gated_definitions_are_refused(definition: Value | Start, fragment: str) -> None:
    with pytest.raises(DecodeError, match=fragment) as caught:
        validate(Component((definition,)), lambda data, offset: ModuleType({}, {}))
    assert caught.value.offset == 9


def chain(first: str, step: str, length: int) -> str:
    return first + "".join(step.format(i, i + 1) for i in range(length))


TYPE_LIMITS = {
    "tuples that double": (chain("(type $t0 (tuple u8 u8))", "(type $t{1} (tuple $t{0} $t{0}))", 60), "100000 parts"),
    "lists that nest": (chain("(type $t0 (list u8))", "(type $t{1} (list $t{0}))", 120), "nests more than 100 deep"),
    "instance types that nest": (
        chain(
            "(type $t0 (instance))",
            '(type $t{1} (instance (alias outer 1 $t{0} (type $t)) (export "a" (instance (type $t)))))',
            40,
        ),
        "nest more than 32 deep",
    ),
    "instance types that double": (
        chain(
            '(type $t0 (instance (export "r" (type (sub resource)))))',
            '(type $t{1} (instance (alias outer 1 $t{0} (type $t)) (export "a" (instance (type $t)))'
            ' (export "b" (instance (type $t)))))',
            30,
        ),
        "too complex",
    ),
    "exported instances that nest": (
        chain("(instance $i0)", '(instance $i{1} (export "a" (instance $i{0})))', 40),
        "nest more than 32 deep",
    ),
    "components whose instances double": (
        chain(
            "(component $c0)",
            "(component $c{1} (alias outer 1 $c{0} (component $c)) (instance (instantiate $c))"
            " (instance (instantiate $c)))",
            40,
        ),
        "makes more than 10000 instances",
    ),
}


@pytest.mark.parametrize(("definitions", "fragment"), TYPE_LIMITS.values(), ids=TYPE_LIMITS.keys())
def test_small_components_cannot_ask_for_endless_work(definitions: str, fragment: str) -> None:
    assert fragment in refusal(encode(f"(component {definitions})"))


def test_deepest_valid_types_need_no_deeper_stack() -> None:
    lists = chain("(type $t0 (list u8))", "(type $t{1} (list $t{0}))", 97)
    instances = chain(
        '(type $i0 (instance (export "t" (type (eq $t97)))))',
        '(type $i{1} (instance (alias outer 1 $i{0} (type $q)) (export "r" (type (sub resource)))'
        ' (export "a" (instance (type $q)))))',
        30,
    )
    text = "(component " * 45 + lists + instances + '(import "x" (instance (type $i30)))' + ")" * 45
    assert refusal(encode(text)) == ""


def test_errors_have_the_offset_of_the_definition() -> None:
    data = encode("(component (type u8) (type (list 9)))")
    with pytest.raises(DecodeError) as caught:
        check(data)
    assert data[caught.value.offset :].startswith(b"\x70\x09")

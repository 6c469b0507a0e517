"""Names of imports and exports: form, uniqueness, annotations, attributes, and the visibility of types."""

from __future__ import annotations

import pytest
from component_bytes import component, name, section, types, vec
from validation_cases import encode, is_limit_of_wasmtime, refusal, type_of, wasmtime_refusal

from p3host.types import Attributes, InstanceType

A = '(import "a" (type $a (sub resource)))'

INVALID = {
    # form and uniqueness
    "camel case": ('(import "aB" (func))', "`aB` is not in kebab case"),
    "empty name": ('(import "" (func))', "`` is not in kebab case"),
    "interface without a package": ('(import "a:/b" (func))', "its package `` is not in lower kebab case"),
    "version without a number": ('(import "a:b/c@x" (func))', "`x` is not a valid version"),
    "names that differ in case": (
        '(import "some-NAME" (func)) (import "some-name" (func))',
        "import name `some-name` conflicts with previous name `some-NAME`",
    ),
    "method by the name of another import": (
        f'{A} (import "[method]a.b" (func (param "self" (borrow $a)))) (import "[static]a.b" (func))',
        "import name `[static]a.b` conflicts with previous name `[method]a.b`",
    ),
    "method by the name of its resource": (
        f'{A} (import "[method]a.a" (func (param "self" (borrow $a))))',
        "conflicts with previous name `a`",
    ),
    "exports of an instance type that conflict": (
        '(type (instance (export "a" (func)) (export "A" (func))))',
        "export name `A` conflicts with previous name `a`",
    ),
    "name in an instance": ('(import "f" (func $f)) (instance (export "1" (func $f)))', "`1` is not in kebab case"),
    # annotations
    "unknown annotation": ('(import "[getter]a.b" (func))', "no known annotation"),
    "method that is an instance": (f'{A} (import "[method]a.b" (instance))', "is not a func"),
    "method of nothing": (f'{A} (import "[method]a.b" (func))', "should have a first argument called `self`"),
    "method of something else": (
        f'{A} (import "[method]a.b" (func (param "this" (borrow $a))))',
        "should have a first argument called `self`",
    ),
    "method of a value": (f'{A} (import "[method]a.b" (func (param "self" u8)))', "a first argument of `(borrow $T)`"),
    "method that owns its resource": (
        f'{A} (import "[method]a.b" (func (param "self" (own $a))))',
        "a first argument of `(borrow $T)`",
    ),
    "method of another resource": (
        f'{A} (import "b" (type $b (sub resource))) (import "[method]a.c" (func (param "self" (borrow $b))))',
        "does not match the expected resource name `b`",
    ),
    "static function of an unknown resource": ('(import "[static]a.b" (func))', "`a` is not known in this context"),
    "constructor without a result": (f'{A} (import "[constructor]a" (func))', "a constructor should return"),
    "constructor of a value": (f'{A} (import "[constructor]a" (func (result u8)))', "a constructor should return"),
    "constructor of a borrow in a result": (
        f'{A} (import "[constructor]a" (func (result (result (error (own $a))))))',
        "a constructor should return",
    ),
    "constructor of another resource": (
        f'{A} (import "b" (type $b (sub resource))) (import "[constructor]a" (func (result (own $b))))',
        "does not match the expected resource name `b`",
    ),
    "method of a resource that an instance exports": (
        '(import "i" (instance $i (export "a" (type (sub resource))))) (alias export $i "a" (type $a))'
        '(import "[method]a.b" (func (param "self" (borrow $a))))',
        "does not have a name in this context",
    ),
    "exported method of an imported resource": (
        f'{A} (import "f" (func $f (param "self" (borrow $a)))) (export "[method]a.f" (func $f))',
        "does not have a name in this context",
    ),
    "method in an instance of exports": (
        f'{A} (import "f" (func $f (param "self" (borrow $a))))'
        '(instance (export "a" (type $a)) (export "[method]a.f" (func $f)))',
        "does not have a name in this context",
    ),
    # attributes
    "implements on a function": ('(import "a" (implements "a:b/c") (func))', "only instances can have an `implements`"),
    "implements on an interface name": (
        '(import "a:b/c" (implements "a:b/d") (instance))',
        "a name with `implements` must be a plain name",
    ),
    "implements of a plain name": ('(import "a" (implements "b") (instance))', "must be an interface name, not `b`"),
    "implements of no name": (
        '(type (instance (export "a" (implements "") (instance))))',
        "export name `a` is not valid",
    ),
}


@pytest.mark.parametrize(("definitions", "fragment"), INVALID.values(), ids=INVALID.keys())
def test_invalid_name_is_refused_with_its_reason(definitions: str, fragment: str) -> None:
    data = encode(f"(component {definitions})")
    assert fragment in refusal(data)
    assert wasmtime_refusal(data)


VALID = {
    "labels": '(import "a" (func)) (import "b-2" (func)) (import "IO" (func)) (import "is-HTML" (func))',
    "versions": '(import "a:b/c" (func)) (import "a:b/c@0.2.0" (func)) (import "a:b/c@0.3.0-rc-1+build.5" (func))',
    "methods, static functions and constructors": f"""{A} (import "b" (type $b (eq $a)))
      (import "[constructor]a" (func (param "x" u8) (result (own $a))))
      (import "[constructor]b" (func (result (result (own $b) (error string)))))
      (import "[method]a.get" (func (param "self" (borrow $a)) (result u8)))
      (import "[static]a.merge" (func (param "x" (own $a)) (param "y" (own $a)) (result (own $a))))""",
    "methods inside an instance type": """(import "i" (instance (export "a" (type $a (sub resource)))
      (export "[method]a.get" (func (param "self" (borrow $a))))))""",
    "exported method with an ascribed type": f"""{A} (import "f" (func $f (param "self" (borrow $a))))
      (export $b "b" (type $a)) (export "[method]b.f" (func $f) (func (param "self" (borrow $b))))""",
    "attributes": """(import "a" (implements "a:b/c@1.2.3") (instance)) (import "b" (external-id "any thing") (func))
      (import "a:b/c" (external-id "") (instance)) (instance $i)
      (instance (export "x" (implements "a:b/c") (external-id "y") (instance $i)))""",
}


@pytest.mark.parametrize("definitions", VALID.values(), ids=VALID.keys())
def test_valid_name_is_accepted(definitions: str) -> None:
    data = encode(f"(component {definitions})")
    assert refusal(data) == ""
    reason = wasmtime_refusal(data)
    assert not reason or is_limit_of_wasmtime(reason)


@pytest.mark.parametrize(
    ("extern_name", "suffix", "fragment"),
    [
        ("a:b/c@0.3", ".1-rc.1", ""),
        ("a:b/c@1", ".2.3", ""),
        ("a:b/c@1", ".x", "not a valid version"),
        ("a:b/c@1.2.3", "", "without a canonical version"),
        ("a:b/c", ".1", "without a canonical version"),
        ("a", ".1", "only an interface name can have a `versionsuffix`"),
    ],
)
def test_version_suffix_completes_a_canonical_version(extern_name: str, suffix: str, fragment: str) -> None:
    attributes = vec(b"\1" + name(suffix))
    data = component(types(b"\x42" + vec()), section(10, vec(b"\2" + name(extern_name) + attributes + b"\5\0")))
    reason = refusal(data)
    assert fragment in reason
    assert bool(reason) == bool(fragment)


def test_attributes_are_ignored_by_type_checking() -> None:
    definitions = """(import "s" (instance $s (export "e" (implements "a:b/c") (instance))))
      (component $c (import "i" (external-id "x") (instance (export "e" (external-id "y") (instance)))))
      (instance (instantiate $c (with "i" (instance $s))))"""
    assert list(type_of(f"(component {definitions})").imports) == ["s"]


PLACEHOLDERS = {
    "{record}": '(type $r (record (field "x" u32)))',
    "{resource}": "(type $r (resource (rep i32)))",
    "{lift}": '(canon lift (core func $core "f"))',
}

VISIBILITY = {
    "record without a name": ('{record} (func $f (result $r) {lift}) (export "f" (func $f))', False),
    "record that is named after its use": (
        '{record} (func $f (result $r) {lift}) (export "r" (type $r)) (export "f" (func $f))',
        False,
    ),
    "record that is named before its use": (
        '{record} (export $s "r" (type $r)) (func $f (result $s) {lift}) (export "f" (func $f))',
        True,
    ),
    "record that an ascription names": (
        '{record} (func $f (result $r) {lift}) (export $s "r" (type $r)) (export "f" (func $f) (func (result $s)))',
        True,
    ),
    "resource without a name": ('{resource} (func $f (result (own $r)) {lift}) (export "f" (func $f))', False),
    "resource that is named after its use": (
        '{resource} (func $f (result (own $r)) {lift}) (export "r" (type $r)) (export "f" (func $f))',
        False,
    ),
    "resource that is named before its use": (
        '{resource} (export $s "r" (type $r)) (func $f (result (tuple (own $s))) {lift}) (export "f" (func $f))',
        True,
    ),
    "import that uses an export": ('{resource} (export $s "r" (type $r)) (import "f" (func (result (own $s))))', False),
    "export that uses an import": (
        '(import "r" (type $s (sub resource))) (func $f (result (own $s)) {lift}) (export "f" (func $f))',
        True,
    ),
    "import that is equal to a local record": ('{record} (import "x" (type $y (eq $r)))', True),
    "types without names of their own": ('(type $t (option (list (tuple u8 string)))) (export "t" (type $t))', True),
    "type made of one without a name": ('{record} (type $l (list $r)) (export "l" (type $l))', False),
    "instance that uses a type without a name": (
        '{record} (func $f (result $r) {lift}) (instance $i (export "f" (func $f))) (export "i" (instance $i))',
        False,
    ),
    "instance that names its type": (
        "{record} (func $f (result $r) {lift})"
        ' (instance $i (export "r" (type $r)) (export "f" (func $f))) (export "i" (instance $i))',
        True,
    ),
    "type of an instance that is exported": (
        '{record} (instance $i (export "r" (type $r))) (export $j "i" (instance $i)) (alias export $j "r" (type $s))'
        '(func $f (result $s) {lift}) (export "f" (func $f))',
        True,
    ),
    "type of an instance that is not exported": (
        '{record} (instance $i (export "r" (type $r))) (alias export $i "r" (type $s))'
        '(func $f (result $s) {lift}) (export "f" (func $f))',
        False,
    ),
    "instance type that is only defined": ('{record} (type (instance (export "f" (func (result $r)))))', True),
    "component type": ('{record} (type (component (export "f" (func (result $r)))))', False),
    "instance type that is exported": (
        '{record} (type $t (instance (export "f" (func (result $r))))) (export "t" (type $t))',
        False,
    ),
    "instance type that names its own": (
        '{record} (type $t (instance (export "r" (type $s (eq $r))) (export "f" (func (result $s)))))'
        '(import "i" (instance (type $t)))',
        True,
    ),
}


@pytest.mark.parametrize(("definitions", "valid"), VISIBILITY.values(), ids=VISIBILITY.keys())
def test_types_of_imports_and_exports_have_external_names(definitions: str, valid: bool) -> None:
    for placeholder, text in PLACEHOLDERS.items():
        definitions = definitions.replace(placeholder, text)
    data = encode(
        f"""(component (core module $m (func (export "f") (result i32) i32.const 1))
          (core instance $core (instantiate $m)) {definitions})"""
    )
    reason = refusal(data)
    assert (reason == "") is valid, reason
    assert valid or "not valid to be used as" in reason
    assert (wasmtime_refusal(data) == "") is valid


def test_import_that_must_equal_a_local_resource_is_refused() -> None:
    data = encode('(component (type $r (resource (rep i32))) (import "x" (type (eq $r))))')
    assert "type not valid to be used as import `x`" in refusal(data)


def test_attributes_stay_with_their_names() -> None:
    """Also where a component's exports become an instance's, and where resources are made fresh."""
    text = """(component
      (import "i" (implements "a:b/c") (external-id "I")
        (instance $i (export "r" (external-id "R") (type (sub resource))) (export "f" (external-id "F") (func))))
      (export "j" (external-id "J") (instance $i))
      (component $C
        (import "f" (func $f))
        (export "g" (external-id "G") (func $f)))
      (alias export $i "f" (func $f))
      (instance $c (instantiate $C (with "f" (func $f))))
      (export "k" (instance $c)))"""
    t = type_of(text)
    inner = {"r": Attributes(external_id="R"), "f": Attributes(external_id="F")}
    assert t.import_attributes == {"i": Attributes(implements="a:b/c", external_id="I")}
    assert t.export_attributes == {"j": Attributes(external_id="J")}
    for instance in (t.imports["i"], t.exports["j"]):
        assert isinstance(instance, InstanceType)
        assert instance.attributes == inner
    assert isinstance(made := t.exports["k"], InstanceType)
    assert made.attributes == {"g": Attributes(external_id="G")}

"""The classes of a component's types, for hosts that make values of them."""

from __future__ import annotations

from enum import Enum, Flag
from typing import Any

import pytest
from guest_text import MEMORY, component_text, load

pytestmark = pytest.mark.anyio

TYPES = """
  (type $level' (enum "low" "very-high"))
  (type $shape' (variant (case "empty") (case "circle" f64)))
  (type $point' (record (field "x" u32) (field "y-z" u32)))
  (type $access' (flags "read" "write"))"""


def interface(*names: str) -> str:
    exports = "\n".join(f"(alias outer $C ${n}' (type ${n}')) (export \"{n}\" (type ${n} (eq ${n}')))" for n in names)
    return f'{exports} (export "show" (func (param "p" $point) (result u32)))'


SHOWING = component_text(
    imports=f"""{TYPES}
  (import "local:shapes/types@1.2.0" (instance $types {interface("level", "shape", "point", "access")}))
  (alias export $types "point" (type $point))
  (import "origin" (func $origin (result $point)))
  (type $mood' (enum "calm"))
  (import "mood" (type $mood (eq $mood')))""",
    canons={"origin": (f"lower (func $origin) {MEMORY}", "(param i32)")},
    code="""
      (func (export "x") (result i32) (call $origin (i32.const 64)) (i32.load (i32.const 64)))""",
    exports="""
      (func (export "x") (result u32) (canon lift (core func $main "x")))""",
).replace("(component", "(component $C", 1)


@pytest.mark.parametrize("name", ["local:shapes/types@1.2.0", "local:shapes/types@1.0.0", "local:shapes/types"])
async def test_host_makes_values_of_imported_types(name: str) -> None:
    component = load(SHOWING)
    types = component.types(name)
    point = types.Point(3, y_z=4)
    assert types["point"] is types.Point
    assert point == types.Point(3, 4)
    provider = {"show": lambda p: 1}
    async with component.instantiate({name: provider, "origin": lambda: point}) as instance:
        assert await instance.exports.x() == 3


def test_kinds_of_types() -> None:
    types = load(SHOWING).types("local:shapes/types")
    assert issubclass(types.Level, Enum)
    assert types.Level.VERY_HIGH.value == "very-high"
    assert issubclass(types.Access, Flag)
    assert types.Shape.Circle(1.5).tag == "circle"
    assert types.Shape.Empty() == types.Shape.Empty()
    assert list(types) == ["level", "shape", "point", "access"]  # no functions


def test_types_beside_the_interfaces() -> None:
    assert load(SHOWING).types().Mood.CALM.value == "calm"


async def test_class_is_the_one_of_the_values_that_come_out() -> None:
    types = load(PASSING).types("local:shapes/out")
    async with load(PASSING).instantiate() as instance:
        exported: Any = instance.exports["local:shapes/out"]
        assert exported.Level is types.Level
        assert await exported.turn(types.Level.LOW) is types.Level.VERY_HIGH


PASSING = component_text(
    code='(func (export "turn") (param i32) (result i32) (i32.sub (i32.const 1) (local.get 0)))',
    exports="""
      (type $level (enum "low" "very-high"))
      (func $turn (param "l" $level) (result $level) (canon lift (core func $main "turn")))
      (component $Out
        (type $level' (enum "low" "very-high"))
        (import "level" (type $level (eq $level')))
        (import "turn" (func $turn (param "l" $level) (result $level)))
        (export $shown "level" (type $level))
        (export "turn" (func $turn) (func (param "l" $shown) (result $shown))))
      (instance $out (instantiate $Out (with "level" (type $level)) (with "turn" (func $turn))))
      (export "local:shapes/out" (instance $out))""",
)


def test_unknown_interface_is_named_beside_those_that_are_there() -> None:
    with pytest.raises(KeyError, match=r"local:shapes/others.*local:shapes/types@1.2.0"):
        load(SHOWING).types("local:shapes/others")
    with pytest.raises(AttributeError, match=r"Nothing.*Level"):
        _ = load(SHOWING).types("local:shapes/types").Nothing

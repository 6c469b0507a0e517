"""What Python values are accepted for each type, and what is said of the others."""

from __future__ import annotations

import enum
import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from abi_reference import FakeContext, Reference, python

from p3host.abi.lift import compile_lift
from p3host.abi.lower import compile_lower, compile_lower_result, compile_store, compile_store_elements
from p3host.abi.options import AbiOptions
from p3host.errors import Err
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
    StreamType,
    TupleType,
    ValType,
    VariantType,
)
from p3host.values import Ok, Some, enum_class, flags_class, record_class, variant_classes

P = PrimitiveType
POINT = RecordType((("x-axis", P.S32), ("class", P.U8)), "point")
NAMED = RecordType((("name", P.STRING), ("point", POINT)), "named")
SHAPE = VariantType((("nothing", None), ("circle", P.F32), ("point", POINT)), "shape")
COLOR = EnumType(("red", "dark-green"), "color")
RIGHTS = FlagsType(("read", "write", "run-it"), "rights")
Point, Color, Rights = record_class(POINT), enum_class(COLOR), flags_class(RIGHTS)
Nothing, Circle, PointShape = variant_classes(SHAPE)[1]


class OtherColor(enum.Enum):
    GREEN = "dark-green"


class Seven:
    def __index__(self) -> int:
        return 7


@dataclass
class Tagged:
    tag: str
    value: Any = None


def back(t: ValType, value: Any) -> Any:
    """The value after it went down and up, through core values and through memory."""
    context = FakeContext()
    flat = compile_lower((t,), AbiOptions(), 16)(context, (value,))
    spilled = compile_lower((t,), AbiOptions(), 0)(context, (value,))
    lifted = compile_lift((t,), AbiOptions(), 16)(context, flat)
    assert compile_lift((t,), AbiOptions(), 0)(context, spilled) == lifted
    return lifted[0]


@pytest.mark.parametrize(
    ("t", "value", "lifted"),
    [
        (P.U8, True, 1),
        (P.U8, Seven(), 7),
        (P.S8, -128, -128),
        (P.F64, 3, 3.0),
        (P.F64, Decimal("1.5"), 1.5),
        (P.F32, 1e39, math.inf),
        (P.F32, -1e39, -math.inf),
        (P.F32, 1 << 100, 2.0**100),
        (P.F32, 0.5, 0.5),
        (P.CHAR, "\U0010ffff", "\U0010ffff"),
        (POINT, Point(-1, 2), Point(-1, 2)),
        (POINT, SimpleNamespace(x_axis=-1, class_=2), Point(-1, 2)),
        (POINT, {"x-axis": -1, "class": 2}, Point(-1, 2)),
        (POINT, {"x_axis": -1, "class_": 2}, Point(-1, 2)),
        (TupleType((P.U8, P.STRING)), [1, "a"], (1, "a")),
        (OptionType(P.U8), Some(1), 1),
        (OptionType(P.U8), None, None),
        (OptionType(OptionType(P.U8)), Some(None), Some(None)),
        (OptionType(OptionType(P.U8)), Some(Some(1)), Some(1)),
        (OptionType(OptionType(P.U8)), 1, Some(1)),
        (OptionType(ResultType()), Err(), Err()),
        (ResultType(P.U8, P.STRING), Ok(1), Ok(1)),
        (ResultType(P.U8, P.STRING), Err("no"), Err("no")),
        (ResultType(P.U8, P.U8), Err(3), Err(3)),
        (ResultType(None, P.U8), Ok(), Ok()),
        (SHAPE, Nothing(), Nothing()),
        (SHAPE, "nothing", Nothing()),
        (SHAPE, Tagged("nothing"), Nothing()),
        (SHAPE, Tagged("circle", 2), Circle(2.0)),
        (SHAPE, PointShape({"x-axis": 1, "class": 2}), PointShape(Point(1, 2))),
        (COLOR, Color.DARK_GREEN, Color.DARK_GREEN),
        (COLOR, "dark-green", Color.DARK_GREEN),
        (COLOR, OtherColor.GREEN, Color.DARK_GREEN),
        (RIGHTS, Rights.READ | Rights.RUN_IT, Rights.READ | Rights.RUN_IT),
        (RIGHTS, Rights(0), Rights(0)),
        (RIGHTS, {"read", "run-it"}, Rights.READ | Rights.RUN_IT),
        (RIGHTS, [Rights.READ, "write"], Rights.READ | Rights.WRITE),
        (ListType(P.U8), [1, 2, 3], b"\1\2\3"),
        (ListType(P.U8), bytearray(b"ab"), b"ab"),
        (ListType(P.U8), memoryview(b"abcd")[::2], b"ac"),
        (ListType(P.U8), array("B", [1, 2]), b"\1\2"),
        (ListType(P.U8, 2), b"ab", b"ab"),
        (ListType(P.U8, 40), bytes(40), bytes(40)),
        (ListType(P.U8, 2), [1, 2], b"\1\2"),
        (ListType(P.U32), array("I", [1, 2]), [1, 2]),
        (ListType(P.U32), array("i", [1, 2]), [1, 2]),
        (ListType(P.S64), array("l", [1, -2]), [1, -2]),
        (ListType(P.U32), range(3), [0, 1, 2]),
        (ListType(P.U32), b"ab", [97, 98]),
        (ListType(P.U32), memoryview(array("I", [1, 2, 3]))[::2], [1, 3]),
        (ListType(P.F32), [1, 2.5, 1e39], [1.0, 2.5, math.inf]),
        (ListType(P.U16, 40), range(40), list(range(40))),
        (ListType(P.STRING), ("a", "b"), ["a", "b"]),
        (ListType(P.CHAR), {"a"}, ["a"]),
        (ListType(POINT), [{"x-axis": 1, "class": 2}, Point(3, 4)], [Point(1, 2), Point(3, 4)]),
        (ListType(SHAPE), ["nothing", Circle(1)], [Nothing(), Circle(1.0)]),
        (MapType(P.STRING, P.U8), {"a": 1}, {"a": 1}),
        (MapType(P.STRING, P.U8), [("a", 1)], {"a": 1}),
    ],
)
def test_values_that_are_accepted(t: ValType, value: Any, lifted: Any) -> None:
    assert back(t, value) == lifted
    assert type(back(t, value)) is type(lifted)


U32 = r"expected u32 \(0 to 4294967295\)"


@pytest.mark.parametrize(
    ("t", "value", "error", "message"),
    [
        (P.U32, -1, ValueError, rf"^parameter 'v': {U32}, got -1$"),
        (P.U32, 1 << 32, ValueError, rf"^parameter 'v': {U32}, got 4294967296$"),
        (P.U32, 1.0, TypeError, rf"^parameter 'v': {U32}, got 1.0$"),
        (P.U32, "1", TypeError, rf"^parameter 'v': {U32}, got '1'$"),
        (P.U32, None, TypeError, rf"^parameter 'v': {U32}, got None$"),
        (P.S8, 128, ValueError, r"expected s8 \(-128 to 127\), got 128"),
        (P.U64, 1 << 64, ValueError, "expected u64"),
        (P.S64, -(1 << 63) - 1, ValueError, "expected s64"),
        (P.BOOL, 1, TypeError, "expected bool, got 1"),
        (P.F64, "1.5", TypeError, "expected a float, got '1.5'"),
        (P.F64, 10**400, ValueError, "expected a float"),
        (P.F32, None, TypeError, "expected a float"),
        (P.CHAR, "ab", TypeError, "expected char"),
        (P.CHAR, 97, TypeError, "expected char"),
        (P.CHAR, "\ud800", ValueError, "lone surrogate"),
        (P.STRING, b"abc", TypeError, r"expected string \(str\), got b'abc' \(bytes\)"),
        (P.STRING, "a\udc80", ValueError, "lone surrogate at index 1"),
        (POINT, {"x-axis": 1}, TypeError, "missing field 'class_'"),
        (POINT, {"x-axis": 1, "class": 2, "z": 3}, TypeError, "has no field 'z'"),
        (POINT, SimpleNamespace(x_axis=1), TypeError, "expected a record with a field 'class_'"),
        (POINT, Point(1, 300), ValueError, r"^parameter 'v', field 'class': expected u8 \(0 to 255\), got 300$"),
        (NAMED, {"name": "a", "point": Point("x", 1)}, TypeError, "^parameter 'v', field 'point', field 'x-axis': exp"),
        (TupleType((P.U8, P.U8)), (1,), ValueError, "expected a sequence of length 2, got one of length 1"),
        (TupleType((P.U8, P.U8)), "ab", TypeError, "expected a sequence of length 2"),
        (TupleType((P.U8, P.U8)), (1, -1), ValueError, "^parameter 'v', item 1: expected u8"),
        (OptionType(P.U8), "x", TypeError, "expected u8"),
        (ResultType(P.U8, None), 1, TypeError, "expected Ok or Err, got 1"),
        (ResultType(P.U8, None), Ok("x"), TypeError, "^parameter 'v', ok: expected u8"),
        (ResultType(P.U8, P.STRING), Err(1), TypeError, "^parameter 'v', error: expected string"),
        (ResultType(P.U8, None), Err(1), TypeError, "carries no value, got 1"),
        (SHAPE, "circle", TypeError, "case 'circle' needs a value"),
        (SHAPE, "square", ValueError, "expected one of the cases 'nothing', 'circle', 'point', got 'square'"),
        (SHAPE, 3, TypeError, "expected a case of Shape, got 3"),
        (SHAPE, Tagged("nothing", 1), TypeError, "case 'nothing' carries no value"),
        (SHAPE, Circle("x"), TypeError, "^parameter 'v', case 'circle': expected a float"),
        (SHAPE, PointShape(Point(1, -1)), ValueError, "^parameter 'v', case 'point', field 'class': expected u8"),
        (COLOR, "blue", ValueError, "expected one of 'red', 'dark-green', got 'blue'"),
        (COLOR, 1, TypeError, "expected one of"),
        (RIGHTS, 1, TypeError, "expected Rights or a set of labels, got 1"),
        (RIGHTS, "read", TypeError, "expected Rights or a set of labels"),
        (RIGHTS, ["fly"], ValueError, "expected labels among 'read', 'write', 'run-it', got 'fly'"),
        (ListType(P.U8), 5, TypeError, "expected list of u8, got 5"),
        (ListType(P.U8), "abc", TypeError, "expected list of u8"),
        (ListType(P.U8), [1, 256], ValueError, "^parameter 'v': element 1: expected u8"),
        (ListType(P.U32), [1, 2, "x"], TypeError, "^parameter 'v': element 2: expected u32"),
        (ListType(P.STRING), "abc", TypeError, "expected list"),
        (ListType(P.STRING), {"a": 1}, TypeError, "expected list"),
        (ListType(P.STRING), ["a", 1], TypeError, "^parameter 'v', element 1: expected string"),
        (ListType(POINT), [Point(1, 2), Point(1, 256)], ValueError, "^parameter 'v', element 1, field 'class': exp"),
        (ListType(ListType(P.STRING)), [["a"], ["b", 2]], TypeError, "^parameter 'v', element 1, element 1: exp"),
        (ListType(P.U8, 3), b"ab", ValueError, "expected a sequence of length 3, got one of length 2"),
        (ListType(P.U16, 40), range(3), ValueError, "expected a sequence of length 40, got one of length 3"),
        (ListType(P.STRING, 40), ["a"], ValueError, "expected a sequence of length 40, got one of length 1"),
        (MapType(P.STRING, P.U8), {"a": -1}, ValueError, "^parameter 'v', element 0, item 1: expected u8"),
        (MapType(P.STRING, P.U8), 3, TypeError, "expected a mapping"),
    ],
)
@pytest.mark.parametrize("max_flat", [16, 0])
def test_values_that_are_refused(t: ValType, value: Any, error: type[Exception], message: str, max_flat: int) -> None:
    with pytest.raises(error, match=message) as caught:
        compile_lower((t,), AbiOptions(), max_flat, ("v",))(FakeContext(), (value,))
    assert caught.value.__context__ is None
    with pytest.raises(error):
        compile_store(t, AbiOptions())(FakeContext(), value, 64)
    with pytest.raises(error):
        compile_store_elements(t, AbiOptions())(FakeContext(), [value], 64)


def test_messages_name_the_place() -> None:
    context = FakeContext()
    with pytest.raises(TypeError, match=r"^value 1: expected bool"):
        compile_lower((P.U8, P.BOOL), AbiOptions(), 16)(context, (1, 2))
    with pytest.raises(TypeError, match=r"^result, ok: expected bool"):
        compile_lower_result(ResultType(P.BOOL), AbiOptions(), 16)(context, Ok(2), None)
    with pytest.raises(TypeError, match=r"^result, item 0: expected bool"):
        compile_lower_result(TupleType((P.BOOL, P.U8)), AbiOptions(), 1)(context, (3, 4), 64)
    with pytest.raises(ValueError, match=r"^element 1, field 'class': expected u8"):
        compile_store_elements(POINT, AbiOptions())(context, [Point(1, 2), Point(1, 256)], 64)
    with pytest.raises(ValueError, match=r"^field 'class': expected u8"):
        compile_store(POINT, AbiOptions())(context, Point(1, 256), 64)


def test_the_number_of_values_must_be_right() -> None:
    with pytest.raises(TypeError, match=r"^expected 2 values, got 1$"):
        compile_lower((P.U8, P.U8), AbiOptions(), 16)(FakeContext(), (1,))
    with pytest.raises(TypeError, match=r"^the function has no result, got 1$"):
        compile_lower_result(None, AbiOptions(), 1)(FakeContext(), 1, None)
    assert compile_lower_result(None, AbiOptions(), 1)(FakeContext(), None, None) == []
    assert compile_lower((), AbiOptions(), 16)(FakeContext(), ()) == []
    assert compile_lift((), AbiOptions(), 16)(FakeContext(), []) == ()


def test_handles_pass_through_the_context_in_order() -> None:
    own = OwnType(ResourceType("r"))
    context = FakeContext()
    assert compile_lift((own, P.ERROR_CONTEXT, OptionType(own)), AbiOptions(), 16)(context, [3, 4, 1, 5]) == (3, 4, 5)
    assert context.lifted == [("own", 3), ("error-context", 4), ("own", 5)]
    context.lifted.clear()
    assert compile_lift((OptionType(own),), AbiOptions(), 16)(context, [0, 5]) == (None,)
    assert context.lifted == []


@pytest.mark.parametrize(
    ("encoding", "text", "data", "length", "alignment"),
    [
        ("utf8", "aé€", "aé€".encode(), 6, 1),
        ("utf16", "a😀", "a😀".encode("utf-16-le"), 3, 2),
        ("latin1+utf16", "aÿ", b"a\xff", 2, 2),
        ("latin1+utf16", "aĀ", "aĀ".encode("utf-16-le"), 2 | 1 << 31, 2),
        ("latin1+utf16", "", b"", 0, 2),
    ],
)
def test_a_string_is_allocated_once_in_its_exact_size(
    encoding: Any, text: str, data: bytes, length: int, alignment: int
) -> None:
    context = FakeContext()
    pointer, got = compile_lower((P.STRING,), AbiOptions("i32", encoding), 16)(context, (text,))
    assert got == length
    assert context.allocations == [(pointer, alignment, len(data))]
    assert context.memory.data[int(pointer) : int(pointer) + len(data)] == data


class CountingView:
    """Stands in for a memory's view and counts what is done to it."""

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.operations = 0

    def __len__(self) -> int:
        return len(self.view)

    def __getitem__(self, key: slice) -> memoryview:
        self.operations += 1
        return self.view[key]

    def __setitem__(self, key: slice, value: Any) -> None:
        self.operations += 1
        self.view[key] = value


def as_bytes(count: int) -> bytes:
    return bytes(count)


def as_numbers(count: int) -> list[int]:
    return list(range(count))


@pytest.mark.parametrize(("elem_type", "make"), [(P.U8, as_bytes), (P.U32, as_numbers), (P.S64, as_numbers)])
@pytest.mark.parametrize("count", [1, 100, 100_000])
def test_bulk_numbers_take_one_view_operation(elem_type: ValType, make: Callable[[int], Any], count: int) -> None:
    context = FakeContext(1 << 20)
    view: Any = CountingView(context.memory.view)
    context.memory.view = view
    values = make(count)
    flat = compile_lower((ListType(elem_type),), AbiOptions(), 16)(context, (values,))
    assert view.operations == 1
    assert compile_lift((ListType(elem_type),), AbiOptions(), 16)(context, flat) == (values,)
    assert view.operations == 2


@pytest.mark.parametrize(
    ("t", "core_values", "lifted"),
    [
        (ResultType(P.U8, P.U32), [0, 0xFF02], Ok(2)),
        (ResultType(P.U8, P.U32), [1, 0xDEADBEEF], Err(0xDEADBEEF)),
        (ResultType(P.S8, P.U64), [0, 0xFFFFFFFF_000000FE], Ok(-2)),
        (ResultType(P.S32, P.U64), [0, 0xFFFFFFFF_80000000], Ok(-(1 << 31))),
        (ResultType(P.F32, P.U32), [0, 0x3F800000], Ok(1.0)),
        (ResultType(P.F32, P.U64), [0, 0xFFFFFFFF_3F800000], Ok(1.0)),
        (ResultType(P.F32, P.F64), [0, 0xFFFFFFFF_3F800000], Ok(1.0)),
        (ResultType(P.F32, P.F64), [1, 0x3FF0000000000000], Err(1.0)),
        (ResultType(P.STRING, P.U64), [0, 0xFFFFFFFF_00000010, 0], Ok("")),
        (VariantType((("f", P.F32), ("l", P.U64))), [0, 0xFFFFFFFF_3F800000], 1.0),
        (OptionType(ResultType(P.F32, P.U64)), [1, 0, 0xFFFFFFFF_3F800000], Ok(1.0)),
    ],
)
def test_only_the_bits_of_the_chosen_case_count(t: ValType, core_values: list[int], lifted: Any) -> None:
    (value,) = compile_lift((t,), AbiOptions(), 16)(FakeContext(), core_values)
    assert (value.value if isinstance(t, VariantType) else value) == lifted


TEXT_OR_BYTES = ResultType(P.STRING, ListType(P.U8))
MANY_TEXTS = TupleType((P.STRING,) * 25)  # too many to be stored in place
HANDLE = StreamType(None)


@pytest.mark.parametrize(
    ("first", "value"),
    [
        (VariantType((("a", P.STRING),)), (0, "four")),
        (TEXT_OR_BYTES, (0, "four")),
        (TEXT_OR_BYTES, (1, [1, 2, 3, 4])),
        (MANY_TEXTS, ("four",) * 25),
        (VariantType((("a", HANDLE),)), (0, 4)),
        (ResultType(HANDLE, P.U8), (0, 4)),
    ],
)
def test_parts_are_allocated_and_handles_are_made_in_their_order(first: ValType, value: Any) -> None:
    t = TupleType((first, P.STRING, HANDLE))
    context, other = FakeContext(), FakeContext()
    context.top = other.top = 1024
    compile_store(t, AbiOptions())(context, python(t, (value, "a", 1)), 16)
    Reference(other, AbiOptions()).store(t, (value, "a", 1), 16)
    assert context.allocations == other.allocations
    assert context.lowered == other.lowered
    assert context.memory.data == other.memory.data

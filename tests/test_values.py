from __future__ import annotations

import dataclasses
import enum

import pytest

from p3host.types import EnumType, FlagsType, PrimitiveType, RecordType, VariantType
from p3host.values import (
    CACHE_LIMIT,
    Ok,
    Some,
    Variant,
    class_name,
    enum_class,
    flags_class,
    python_name,
    record_class,
    variant_classes,
)

U8 = PrimitiveType.U8
PAIR = RecordType((("first-one", U8), ("class", U8)), "my-pair")
FILTER = VariantType((("all", None), ("none", None), ("some-of", U8)), "filter")


@pytest.mark.parametrize(
    ("label", "python", "cls"),
    [
        ("wait-for", "wait_for", "WaitFor"),
        ("class", "class_", "Class"),
        ("none", "none", "None_"),
        ("true", "true", "True_"),
        ("async", "async_", "Async"),
        ("HTTP-error", "http_error", "HttpError"),
        ("a1-b2", "a1_b2", "A1B2"),
        ("match", "match", "Match"),
    ],
)
def test_names(label: str, python: str, cls: str) -> None:
    assert python_name(label) == python
    assert class_name(label) == cls


def test_a_record_is_a_dataclass_with_slots() -> None:
    pair_class = record_class(PAIR)
    pair = pair_class(1, class_=2)
    assert (pair.first_one, pair.class_) == (1, 2)
    assert repr(pair) == "MyPair(first_one=1, class_=2)"
    assert pair == pair_class(1, 2) != pair_class(1, 3)
    assert pair != (1, 2)
    assert dataclasses.replace(pair, first_one=5) == pair_class(5, 2)
    assert dataclasses.asdict(pair) == {"first_one": 1, "class_": 2}
    match pair:
        case pair_class(first, class_=second):
            assert (first, second) == (1, 2)
    with pytest.raises(AttributeError):
        pair.other = 1
    with pytest.raises(TypeError, match="hash"):
        hash(pair)


def test_a_record_of_two_types_that_differ_is_never_equal() -> None:
    other = record_class(RecordType((("first-one", U8), ("class", PrimitiveType.U16))))
    assert record_class(PAIR)(1, 2) != other(1, 2)


def test_classes_are_made_once_for_equal_types() -> None:
    assert record_class(PAIR) is record_class(RecordType(PAIR.record_fields, "another-name"))
    assert variant_classes(FILTER)[1] is variant_classes(VariantType(FILTER.cases))[1]
    assert enum_class(EnumType(("a",))) is not enum_class(EnumType(("b",)))
    made = flags_class(FlagsType(("a",)))
    assert made is flags_class(FlagsType(("a",)))


def test_a_variant_is_a_base_with_a_class_for_each_case() -> None:
    base, (all_case, none_case, some_case) = variant_classes(FILTER)
    assert (base.All, base.None_, base.SomeOf) == (all_case, none_case, some_case)
    value = base.SomeOf(3)
    assert isinstance(value, base)
    assert isinstance(value, Variant)
    assert (value.tag, value.value) == ("some-of", 3)
    assert (base.All().tag, base.All().value) == ("all", None)
    assert value == base.SomeOf(3) != base.SomeOf(4)
    assert base.All() == base.All() != base.None_()
    assert {base.All(): 1}[base.All()] == 1
    assert repr(value) == "Filter.SomeOf(3)"
    assert repr(base.All()) == "Filter.All()"
    match value:
        case some_case(payload):
            assert payload == 3
    with pytest.raises(TypeError):
        base.All(1)
    with pytest.raises(AttributeError):
        value.other = 1


def test_an_enum_has_the_labels_as_values() -> None:
    color = enum_class(EnumType(("red", "dark-green"), "color"))
    assert issubclass(color, enum.Enum)
    assert [(member.name, member.value, member.discriminant) for member in color] == [
        ("RED", "red", 0),
        ("DARK_GREEN", "dark-green", 1),
    ]
    assert color("red") is color.RED
    assert repr(color.RED) == "<Color.RED: 'red'>"


def test_flags_are_an_enum_flag() -> None:
    rights = flags_class(FlagsType(("read", "run-it"), "rights"))
    assert issubclass(rights, enum.Flag)
    assert (rights.READ.value, rights.RUN_IT.value) == (1, 2)
    assert rights(3) == rights.READ | rights.RUN_IT
    assert rights.READ in rights(3)
    with pytest.raises(ValueError, match="8"):
        rights(8)


def test_combinations_of_flags_do_not_pile_up() -> None:
    bits = flags_class(FlagsType(tuple(f"b{i}" for i in range(32))))
    for i in range(CACHE_LIMIT + 500):
        assert bits(i).value == i
    assert len(bits._value2member_map_) <= CACHE_LIMIT
    assert bits(CACHE_LIMIT + 99) == bits(CACHE_LIMIT + 99)
    assert hash(bits(CACHE_LIMIT + 99)) == hash(bits(CACHE_LIMIT + 99))


def test_some_and_ok_are_values() -> None:
    assert Some(1) == Some(1) != Some(2)
    assert Ok() == Ok(None) != Ok(1)
    assert repr(Some(Ok("x"))) == "Some(value=Ok(value='x'))"
    match Some(5):
        case Some(value):
            assert value == 5

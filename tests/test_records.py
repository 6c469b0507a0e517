"""Records behave as the frozen dataclasses that they stand for."""

from __future__ import annotations

from dataclasses import field, fields, replace

import pytest

from p3host.records import Record


class Point(Record):
    x: int
    y: int = 0


class Named(Record, kw_only=True):
    offset: int = field(default=0, compare=False)


class Place(Named):
    name: str
    notes: list[str] = field(default_factory=list, repr=False)


def test_fields_are_given_by_position_or_name() -> None:
    assert (Point(1).x, Point(1).y) == (1, 0)
    assert Point(1, 2) == Point(y=2, x=1)
    assert Place("here", offset=4).offset == 4


@pytest.mark.parametrize("arguments", [(), (1, 2, 3)])
def test_wrong_number_of_fields_is_refused(arguments: tuple[int, ...]) -> None:
    with pytest.raises(TypeError):
        Point(*arguments)


def test_equal_records_have_equal_hashes() -> None:
    assert Point(1, 2) == Point(1, 2)
    assert hash(Point(1, 2)) == hash(Point(1, 2))
    assert {Point(1, 2): "a"}[Point(1, 2)] == "a"


def test_records_of_other_classes_or_fields_differ() -> None:
    class Vector(Record):
        x: int
        y: int = 0

    assert Point(1, 2) != Point(1, 3)
    assert Point(1) != Vector(1)
    assert Point(1) != (1, 0)


def test_field_without_comparison_makes_no_difference() -> None:
    assert Place("here", offset=1) == Place("here", offset=2)
    assert Place.compared_fields == ("name", "notes")


def test_repr_shows_the_fields() -> None:
    assert repr(Point(1)) == "Point(x=1, y=0)"
    assert repr(Place("here", ["a"])) == "Place(offset=0, name='here')"


def test_default_factory_makes_a_value_for_each() -> None:
    assert Place("here").notes is not Place("here").notes


def test_records_work_with_dataclasses_and_patterns() -> None:
    assert [each.name for each in fields(Point)] == ["x", "y"]
    assert replace(Point(1, 2), y=5) == Point(1, 5)
    match Point(3, 4):
        case Point(x, y):
            assert (x, y) == (3, 4)

"""Maps: a list of pairs in the ABI, a dict in Python."""

from __future__ import annotations

from p3host.abi.shapes import map_items
from p3host.values import RepeatedKeys, map_of

PAIRS = [("a", 1), ("b", 2), ("a", 3)]


def test_a_map_whose_keys_differ_is_a_dict() -> None:
    assert type(map_of(PAIRS[:2])) is dict
    assert map_items(map_of(PAIRS[:2])) == PAIRS[:2]


def test_a_map_with_a_repeated_key_is_passed_on_whole() -> None:
    lifted = map_of(PAIRS)
    assert lifted == {"a": 3, "b": 2}
    assert map_items(lifted) == PAIRS


def test_what_python_has_changed_since_counts() -> None:
    lifted = map_of(PAIRS)
    assert isinstance(lifted, RepeatedKeys)
    lifted["c"] = 4
    assert map_items(lifted) == [("a", 3), ("b", 2), ("c", 4)]

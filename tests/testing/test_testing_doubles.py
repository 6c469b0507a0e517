"""Doubles: what they answer, when, and what they remember."""

from __future__ import annotations

import inspect
from typing import Any

import anyio
import pytest

from p3host import Err
from p3host.testing import After, double

pytestmark = pytest.mark.virtual_time


@pytest.mark.parametrize(
    ("answers", "given"),
    [
        ((), [None, None]),
        ((1,), [1, 1, 1]),
        ((1, 2), [1, 2, 2]),
        ((lambda *args: sum(args),), [3, 3]),
        (([1, 2], "last"), [[1, 2], "last"]),
    ],
)
async def test_answers_come_one_for_each_call(answers: tuple[Any, ...], given: list[Any]) -> None:
    asked = double(*answers)
    assert [asked(1, 2) for _ in given] == given
    assert asked.calls == [(1, 2)] * len(given)


async def test_exceptions_are_raised() -> None:
    asked = double(Err("no"), ValueError("bad"))
    with pytest.raises(Err):
        asked()
    with pytest.raises(ValueError, match="bad"):
        asked()


async def test_answers_take_their_time() -> None:
    asked = double("now", After(2.0, "later"), After(1.0, Err("no")))
    assert inspect.iscoroutinefunction(type(asked).__call__)
    started = anyio.current_time()
    assert await asked("a") == "now"
    assert anyio.current_time() == started
    assert await asked("b") == "later"
    with pytest.raises(Err):
        await asked("c")
    assert anyio.current_time() - started == pytest.approx(3.0)
    assert asked.calls == [("a",), ("b",), ("c",)]


async def test_each_answer_can_take_the_same_time() -> None:
    asked = double(1, After(5.0, 2), after=1.0)
    started = anyio.current_time()
    assert [await asked(), await asked(), await asked()] == [1, 2, 2]
    assert anyio.current_time() - started == pytest.approx(11.0)

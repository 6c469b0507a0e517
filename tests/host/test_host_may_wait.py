"""Which Python functions are taken for ones whose result may have to be awaited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeAlias, TypeVar

import pytest

from p3host.host.functions import may_wait

T = TypeVar("T")
Later: TypeAlias = T | Coroutine[Any, Any, T]
Number: TypeAlias = int


async def asynchronous(x: int) -> int:
    return x


def plain(x: int) -> int:
    return x


def unannotated(x):  # type: ignore[no-untyped-def]
    return x


def gives_awaitable(x: int) -> Awaitable[int]:
    return asynchronous(x)


def gives_it_perhaps(x: int) -> Later[int]:
    return x


def gives_alias_of_a_number(x: int) -> Number:
    return x


class Methods:
    async def asynchronous(self) -> None: ...

    def perhaps(self) -> Later[None]: ...

    def plain(self) -> None: ...


class AsyncCallable:
    async def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("function", "waits"),
    [
        (asynchronous, True),
        (gives_awaitable, True),
        (gives_it_perhaps, True),
        (Methods().asynchronous, True),
        (Methods().perhaps, True),
        (partial(asynchronous, 1), True),
        (plain, False),
        (unannotated, False),
        (gives_alias_of_a_number, False),
        (Methods().plain, False),
        (partial(plain, 1), False),
        (str.upper, False),
        (int, False),
    ],
)
def test_function_may_wait(function: Callable[..., Any], waits: bool) -> None:
    assert may_wait(function) is waits


def test_object_with_an_async_call_may_wait() -> None:
    assert may_wait(AsyncCallable())

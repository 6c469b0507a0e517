"""Stand-ins for imports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio

from ..records import Record


class After(Record):
    """An answer of a double that comes so many seconds after the call."""

    seconds: float
    answer: Any = None


def double(*answers: Any, after: float = 0.0) -> Double:
    """A function for an import that gives prepared answers, one for each call, the last one again and again; without
    any, None. Its `calls` has the arguments of each call, in order.

    An answer that is an exception is raised (`Err` for the error case of a `result`, whatever else traps the guest), a
    function is called with the call's arguments, `After(seconds, answer)` waits first; whatever else is returned.
    With `after`, each answer takes so many seconds. Where none takes time, it is a plain function for the guest, which
    answers within the call.
    """
    waits = after > 0 or any(isinstance(answer, After) for answer in answers)
    return (WaitingDouble if waits else Double)(answers or (None,), after)


class Double:
    """What `double` makes."""

    def __init__(self, answers: Sequence[Any], after: float) -> None:
        self.answers = answers
        self.after = after
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, *args: Any) -> Any:
        return given(self.next_answer(args), args)

    def next_answer(self, args: tuple[Any, ...]) -> Any:
        answer = self.answers[min(len(self.calls), len(self.answers) - 1)]
        self.calls.append(args)
        return answer

    def __repr__(self) -> str:
        return f"<double, called {len(self.calls)} times>"


class WaitingDouble(Double):
    """One whose answers take time."""

    async def __call__(self, *args: Any) -> Any:
        answer = self.next_answer(args)
        seconds = self.after
        if isinstance(answer, After):
            seconds, answer = answer.seconds, answer.answer
        await anyio.sleep(seconds)
        return given(answer, args)


def given(answer: Any, args: tuple[Any, ...]) -> Any:
    if isinstance(answer, BaseException):
        raise answer
    return answer(*args) if callable(answer) else answer

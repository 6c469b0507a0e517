"""Grants are given as patterns: texts that are all parsed before one that is wrong is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ..errors import LinkError

Pattern = TypeVar("Pattern")


def parse_all(texts: Sequence[str], parse: Callable[[str], Pattern], form: str) -> tuple[Pattern, ...]:
    """What `parse` makes of each text; it raises ValueError with what is wrong. `form` is how a pattern reads.

    :raises LinkError: naming each text that is no pattern
    """
    patterns: list[Pattern] = []
    problems: list[str] = []
    for text in texts:
        try:
            patterns.append(parse(text))
        except ValueError as problem:
            problems.append(f"{text!r} is no {form}: {problem}")
    if problems:
        raise LinkError(problems)
    return tuple(patterns)

"""Messages of traps, compared by what they mean."""

from __future__ import annotations

import pytest

from p3host.wast.messages import MEANINGS, means


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        ("wasm trap: integer divide by zero", "integer divide by zero"),
        ("wasm trap: wasm `unreachable` instruction executed", "unreachable"),
        ("unknown handle index 5", "wasm trap: unknown handle index 5"),
        ("cannot enter the instance after it trapped: unknown handle index 1", "cannot enter component instance"),
        ("'f' can never return, as nothing is left to wait for", "deadlock detected: event loop cannot make"),
        ("cannot block: f is not async, and no other thread of its instance can go on", "deadlock detected"),
        ("cannot drop a readable end of a stream while a copy is in progress", "cannot remove busy stream"),
        ("anything", ""),
    ],
)
def test_message_means_what_is_expected(actual: str, expected: str) -> None:
    assert means(actual, expected)


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        ("unknown handle index 5", "unknown handle index 6"),
        ("unknown handle index 5", "cannot block a synchronous task before returning"),
        ("wasm trap: integer overflow", "unreachable"),
        ("'f' can never return", "cannot block a synchronous task before returning"),
        (
            "cannot copy on a readable end of a stream after its other end was dropped or it is done",
            "cannot read from future after previous read succeeded",
        ),
        (
            "cannot copy on a readable end of a stream after its other end was dropped or it is done",
            "cannot write after being notified that the readable end dropped",
        ),
    ],
)
def test_another_reason_is_not_what_is_expected(actual: str, expected: str) -> None:
    assert not means(actual, expected)


def test_no_two_meanings_are_worded_the_same() -> None:
    assert len(set(MEANINGS)) == len(MEANINGS)

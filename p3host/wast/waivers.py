"""Directives of WebAssembly/component-model's tests that contradict today's specification, which wins.

A directive is known by the last two parts of its file's path and by a digest of its text without white space, so that a
waiver holds for it alone, and no longer when it is changed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

RETURNS = "(returns)"
UNREACHABLE = "wasm `unreachable` instruction executed"
UNKNOWN_HANDLE = "unknown handle index"


@dataclass(frozen=True)
class Waiver:
    """`instead` is what the specification demands: a part of the trap's message, `RETURNS`, or None where the directive
    can't be carried out at all."""

    file: str
    digest: str
    instead: str | None
    reason: str


CANCELLABLE = (
    "the `cancellable` immediate has been removed from the specification (WebAssembly/component-model#716), and a "
    "component that uses it is invalid"
)
DONUT = (
    "a call between a parent and its child enters only the instances that the caller is not in (may_enter_from), so "
    "going back and forth between the two is no re-entrance; where the test's function runs, it is `unreachable` "
    "(WebAssembly/component-model#705 removes the test)"
)
BLOCKING_CALL = (
    "a synchronous call of an async function traps only if it blocks (the end of canon_lift), not beforehand: the "
    "callee is entered, and is `unreachable` (WebAssembly/component-model#696 changes the test)"
)
BLOCKING_COPY = (
    "a synchronous built-in traps only if it blocks, not beforehand: it looks its handle up first, and the test gives "
    "one that does not exist (WebAssembly/component-model#696 changes the test)"
)
EXCLUSIVE = (
    "a callback function that blocks within a synchronous built-in keeps its instance exclusively, and no thread but "
    "the caller's goes on until it blocks; so the second call is in the state STARTING (has_backpressure), where the "
    "test demands STARTED"
)

WAIVERS = (
    Waiver("async/cancellable.wast", "7ab2a05f82175a4f", None, CANCELLABLE),
    Waiver("async/cancellable.wast", "db80a336484621fd", None, CANCELLABLE),
    Waiver("binary/binary.wast", "a4494603914ff08d", None, CANCELLABLE),
    Waiver("async/trap-on-reenter.wast", "2d0db8dc81c489ff", UNREACHABLE, DONUT),
    Waiver("async/trap-on-reenter.wast", "c7dd97b3c4a9899d", RETURNS, DONUT),  # two directives with the same text
    Waiver("async/dont-block-start.wast", "abb4a45721f77380", UNREACHABLE, BLOCKING_CALL),
    Waiver("async/trap-if-block-and-sync.wast", "d4654e23b2edad90", UNREACHABLE, BLOCKING_CALL),
    Waiver("async/trap-if-block-and-sync.wast", "4c68b3e59864b993", UNREACHABLE, BLOCKING_CALL),
    Waiver("async/trap-if-block-and-sync.wast", "3d1507ef93b4374c", UNKNOWN_HANDLE, BLOCKING_COPY),
    Waiver("async/trap-if-block-and-sync.wast", "7da2e7fb04e8c187", UNKNOWN_HANDLE, BLOCKING_COPY),
    Waiver("async/trap-if-block-and-sync.wast", "98561e8300c6282a", UNKNOWN_HANDLE, BLOCKING_COPY),
    Waiver("async/trap-if-block-and-sync.wast", "ff660c60a906990e", UNKNOWN_HANDLE, BLOCKING_COPY),
    Waiver("async/trap-if-block-and-sync.wast", "2540c83d587e002d", UNKNOWN_HANDLE, BLOCKING_COPY),
    Waiver("async/trap-if-block-and-sync.wast", "9e111d7dcab7589c", UNKNOWN_HANDLE, BLOCKING_COPY),
    Waiver("async/trap-if-block-and-sync.wast", "204b9effb1a3f9ec", UNKNOWN_HANDLE, BLOCKING_COPY),
    Waiver("async/trap-if-block-and-sync.wast", "5376725dcfce0d5d", UNKNOWN_HANDLE, BLOCKING_COPY),
    Waiver("async/trap-if-block-and-sync.wast", "1b63e2709ede0f47", UNKNOWN_HANDLE, BLOCKING_COPY),
    Waiver("async/sync-streams.wast", "db80a336484621fd", UNREACHABLE, EXCLUSIVE),
)


def digest(directive: str) -> str:
    return hashlib.sha256("".join(directive.split()).encode()).hexdigest()[:16]


def find_waiver(file: str, directive: str, got: str | None) -> Waiver | None:
    """The waiver for a directive that did not go as its file expects, if it went as the specification demands."""
    for waiver in WAIVERS:
        if waiver.file == file and waiver.digest == digest(directive):
            allowed = waiver.instead is None or (got is not None and waiver.instead in got)
            return waiver if allowed else None
    return None

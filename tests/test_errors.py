"""Errors keep their shape when they are copied or pickled, as between processes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from p3host.errors import (
    CallCancelled,
    Deadlock,
    DecodeError,
    Err,
    Exit,
    InstanceClosed,
    LinkError,
    P3HostError,
    ResponseAborted,
    StreamDropped,
    TooManyCalls,
    Trap,
)

ERRORS = [
    DecodeError("expected a section", 0x2F),
    LinkError(["wait: missing", "lookup: not callable"]),
    Trap("unreachable"),
    Trap("unreachable", "   0: 0x21 - m!f"),
    Deadlock("nothing is left to wait for"),
    Exit(3),
    Err({"code": 1}),
    Err(),
    CallCancelled("by the guest"),
    InstanceClosed("too late"),
    StreamDropped("gone"),
    TooManyCalls("more than 10"),
    ResponseAborted("the guest trapped"),
]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_copy_is_the_same_error(error: P3HostError, duplicate: Callable[[P3HostError], P3HostError]) -> None:
    same = duplicate(error)
    assert type(same) is type(error)
    assert str(same) == str(error)
    assert vars(same) == vars(error)


def test_every_error_is_tried() -> None:
    def kinds(base: type[P3HostError]) -> set[type[P3HostError]]:
        return {base}.union(*map(kinds, base.__subclasses__()))

    public = {kind for kind in kinds(P3HostError) if kind.__module__ == P3HostError.__module__}
    assert {type(error) for error in ERRORS} == public - {P3HostError}


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DecodeError("expected a section", 0x2F), "expected a section (at offset 0x2f)"),
        (LinkError(["one", "two"]), "one\ntwo"),
        (Trap("unreachable"), "unreachable"),
        (Trap("unreachable", "   0: f"), "unreachable\n   0: f"),
        (Exit(3), "the guest exited with status 3"),
    ],
)
def test_message(error: P3HostError, text: str) -> None:
    assert str(error) == text

"""The signals by which a server is told to stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

STOPPING = (signal.SIGINT, signal.SIGTERM)


def ignore(*args: object) -> None:
    pass


@contextmanager
def surviving() -> Iterator[None]:
    """Within the block, the signals do nothing to this process unless somebody handles them."""
    before = {each: signal.signal(each, ignore) for each in STOPPING}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def end_at_once(number: signal.Signals) -> None:
    """Has a signal do what it does to processes that do not handle it."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)

"""Keeps Ctrl-C out of guests.

A Python signal handler can raise KeyboardInterrupt between any two instructions, so also at the entry of a callback
from wasm, where no `try` stands yet: the guest would see a wrong result. So while a step runs, the handler of SIGINT is
deferred to the end of the step. A host function is a gap in which it may raise, as Python programs expect: there it is
caught like any other exception.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any


class InterruptGuard:
    """Stands before the SIGINT handler that was in place. `depth` counts the steps that are running."""

    def __init__(self) -> None:
        self.users = 0
        self.depth = 0
        self.pending = False
        self.handler: Callable[[int, FrameType | None], Any] | None = None

    def install(self) -> None:
        """Called for each instance that is opened; only the main thread has signal handlers."""
        if threading.current_thread() is not threading.main_thread():
            return
        self.users += 1
        handler = signal.getsignal(signal.SIGINT)
        if handler != self.handle and callable(handler):
            self.handler = handler
            signal.signal(signal.SIGINT, self.handle)

    def uninstall(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        self.users -= 1
        if self.users == 0 and signal.getsignal(signal.SIGINT) == self.handle:
            signal.signal(signal.SIGINT, self.handler)

    def handle(self, signum: int, frame: FrameType | None) -> None:
        if self.depth:
            self.pending = True
        elif self.handler is not None:
            self.handler(signum, frame)

    def enter(self) -> int:
        """Starts a step, or a part of one that must not be interrupted; give the result to `leave`."""
        outer = self.depth
        self.depth = outer + 1
        return outer

    def leave(self, outer: int) -> None:
        """Ends what `enter` began. An interrupt that came meanwhile is delivered when the outermost one ends."""
        self.depth = outer
        if outer == 0 and self.pending:
            self.pending = False
            if self.handler is not None:
                self.handler(signal.SIGINT, sys._getframe())

    def open(self) -> None:
        """A host function runs now: until the caller puts `depth` back, interrupts may raise. One that came before
        waits for the end of the step, so that it is raised in no guest."""
        self.depth = 0


guard = InterruptGuard()


def protect(ours: Sequence[Callable[..., Any]], theirs: Sequence[Callable[..., Any]]) -> None:
    """Has trio hold KeyboardInterrupt back while one of our functions runs, and raise it in the main task's next
    checkpoint; except in what `theirs` call, which are the program's own functions.

    asyncio needs no such thing: it cancels its main task instead.
    """
    trio = sys.modules.get("trio")
    if trio is not None:
        for function in ours:
            trio.lowlevel.enable_ki_protection(function)
        for function in theirs:
            trio.lowlevel.disable_ki_protection(function)

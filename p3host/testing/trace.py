"""What happened in a schedule, as text for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import MethodType
from typing import Any

from ..component.foreign import ForeignCall
from ..host.calls import HostCall
from ..host.driver import Driver, root_of
from ..host.sources import HostSource
from ..host.streams import HostEnd
from ..runtime.choice import Choice
from ..runtime.task import Subtask, Task
from ..runtime.thread import Thread
from ..runtime.waitable import Waitable

LONGEST = 80  # lines that are shown of the end of a trace


class Trace:
    """The turns that a schedule has given, and the choices that departed from the usual order."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.numbers: dict[object, int] = {}
        self.counts: dict[str, int] = {}

    def add(self, choice: Choice, options: Sequence[object], picked: int, number: int | None) -> None:
        if choice is Choice.TURN and isinstance(options[0], Driver):
            options = [driver_text(option) for option in options]
            if not picked:
                return
        elif choice is not Choice.TURN and not picked:
            return
        texts = [self.describe(option) for option in options]
        text = texts[picked]
        if choice is not Choice.TURN:
            text = f"  {choice.value}: {text}"
        if picked:
            text += f"   <- choice {number}, in place of: {texts[0]}"
        self.lines.append(text)

    def text(self) -> str:
        left_out = max(0, len(self.lines) - LONGEST)
        lines = [f"({left_out} lines before)"] if left_out else []
        return "\n".join(f"  {line}" for line in lines + self.lines[left_out:])

    # One possibility

    def describe(self, option: object) -> str:
        match option:
            case Thread():
                waited = option.waits_for if isinstance(option.waits_for, str) else option.waits_for.describe()
                return f"{self.task(option.task)} goes on after {waited}"
            case Waitable():
                return option.describe()
            case (Subtask() as call, action):
                return f"{call.func.name!r} answers {self.task(call.thread.task)}"
            case (_, action) if callable(action):
                return self.action(action)
            case _:
                return str(option)

    def task(self, task: Task) -> str:
        root = root_of(task.call)
        name = task.func.name or "a function"
        if isinstance(root, HostCall):
            text = self.call(root)
            return text if root.name == name else f"{name!r} within {text}"
        return repr(name)

    def call(self, call: HostCall | ForeignCall) -> str:
        name = call.name if isinstance(call, HostCall) else call.export.name
        if call not in self.numbers:
            self.counts[name] = self.numbers[call] = self.counts.get(name, 0) + 1
        return f"call {self.numbers[call]} of {name!r}"

    def action(self, action: Callable[..., Any]) -> str:
        function = action.func if isinstance(action, partial) else action
        if not isinstance(function, MethodType):
            return getattr(function, "__qualname__", repr(function))
        owner, name = function.__self__, function.__name__
        match owner:
            case HostCall() | ForeignCall():
                return f"{self.call(owner)} {'begins' if name == 'begin' else 'is asked to cancel'}"
            case HostSource():
                return f"{owner.name} {'ends' if name == 'end' else 'gives a piece'}"
            case HostEnd():
                return f"the host reads from a {'stream' if hasattr(owner, 'read_all') else 'future'}"
            case Task():
                return f"{self.task(owner)} is asked to cancel again"
            case _:
                return f"{type(owner).__name__}.{name}"


def driver_text(option: object) -> str:
    if isinstance(option, Driver):
        return f"a turn of the instance {option.store.instances[0].describe()}"
    return f"time passes: {getattr(option, 'seconds', 0):.6f} s, until the next timer"

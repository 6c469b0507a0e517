"""What a test's instance has left behind, and where it came from."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from types import GeneratorType
from typing import TYPE_CHECKING

from ..host.driver import root_of
from ..records import Record
from ..runtime.instance import ErrorContext
from ..runtime.resource import ResourceHandle
from ..runtime.stream import CopyEnd, StreamEnd
from ..runtime.task import Subtask
from ..runtime.waitable import WaitableSet

if TYPE_CHECKING:
    from ..component import Instance
    from ..host.driver import Driver
    from ..runtime.store import Store
    from ..runtime.thread import Thread


class Leak(Record):
    """Something that is left. `kind` is one of "task", "host task", "unread", "subtask", "waitable set", "stream",
    "future", "error-context", "own" and "borrow"; `name` is the kind with more detail, such as "own<descriptor>"."""

    kind: str
    name: str
    text: str

    def allowed_by(self, allowed: Collection[str]) -> bool:
        return self.kind in allowed or self.name in allowed


class LeakError(AssertionError):
    """An instance was left with things that its guests never gave back. `leaks` lists them."""

    def __init__(self, leaks: Collection[Leak]) -> None:
        self.leaks = tuple(leaks)
        lines = "\n".join(f"  {leak.name}: {leak.text}" for leak in leaks)
        super().__init__(f"left in the instance (allow_leaks names what may be):\n{lines}")


class Origins:
    """Where the entries of an instance's handle tables came from. `note` is what `instantiate` takes as `on_handle`."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}
        self.calls: dict[object, int] = {}
        self.store: Store | None = None

    def note(self, entry: object) -> None:
        if self.store is None:
            text = "when the instance was made"
        else:
            thread: Thread | None = self.store.current or getattr(self.store.answered, "thread", None)
            text = "of unknown origin" if thread is None else self.place(thread)
        self.texts[id(entry)] = text  # a newer entry at the same address replaces one that is gone

    def place(self, thread: Thread) -> str:
        number = self.calls.setdefault(root_of(thread.task.call), len(self.calls) + 1)
        return f"made in {thread.task.describe()} (call {number} of those that made handles)"

    def of(self, entry: object) -> str:
        return self.texts.get(id(entry), "of unknown origin")


def find_leaks(instance: Instance, origins: Origins) -> Iterator[Leak]:
    """What is left in an instance whose guests have done all that they can do now."""
    driver = instance.driver
    store = driver.store
    for thread in store.threads:
        keeps = ", with its stack" if any(not isinstance(part, GeneratorType) for part in thread.stack) else ""
        yield Leak("task", f"task {thread.task.func.name}", f"its thread {thread.describe()}{keeps}")
    for inst in store.instances:
        for waiting in inst.entry_queue:
            yield Leak("task", f"task {waiting.task.func.name}", "it was never let into its instance")
        for entry in inst.handles:
            kind, name, state = described(entry)
            where = f" of {inst.describe()}" if inst.name else ""
            yield Leak(kind, name, f"{state}{' ' if state else ''}in the handle table{where}, {origins.of(entry)}")
    yield from host_leaks(driver)


def host_leaks(driver: Driver) -> Iterator[Leak]:
    for task in driver.host_tasks:
        yield Leak("host task", f"host task {task.name}", "it has not ended")
    for end in driver.host_ends:
        if end.shared is not None and not end.at_end:
            what = "stream" if hasattr(end, "read_all") else "future"
            yield Leak("unread", f"unread {what}", "the test holds its readable end, neither read nor closed")


def described(entry: object) -> tuple[str, str, str]:
    """The kind, the name and the state of an entry of a handle table."""
    match entry:
        case ResourceHandle():
            kind = "own" if entry.own else "borrow"
            return kind, f"{kind}<{entry.resource.name}>", ""
        case Subtask():
            state = "never dropped" if entry.resolved else "in progress"
            return "subtask", f"subtask {entry.func.name}", state
        case WaitableSet():
            return "waitable set", "waitable set", f"with {len(entry.elems)} members"
        case CopyEnd():
            kind = "stream" if isinstance(entry, StreamEnd) else "future"
            return kind, entry.what, "copying" if entry.copying else "never dropped"
        case ErrorContext():
            return "error-context", "error-context", f"{entry.debug_message!r}"
    raise AssertionError(entry)

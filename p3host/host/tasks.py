"""The tree of tasks: who waits for whom, for how long.

It is made of a store on demand, at any moment, and holds nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING

from ..records import Record
from ..runtime.stream import CopyEnd, StreamEnd
from ..runtime.task import Call, Subtask, Task, TaskState
from ..runtime.thread import Thread
from ..runtime.waitable import Waitable, WaitableSet

if TYPE_CHECKING:
    from ..runtime.instance import ComponentInstance
    from .driver import Driver, HostTask


class Kind(Enum):
    """What a node of the tree is."""

    TASK = "task"
    """A call of an export, or of a function of a guest by another; below it its threads, and the calls it has made."""
    THREAD = "thread"
    """Below it what it waits for."""
    CALL = "call"
    """A call of an import that has not resolved; below it the task or the host task that works on it."""
    WAITABLE_SET = "waitable set"
    """Below it what its members do."""
    COPY = "copy"
    """A copy to or from a stream or future that goes on."""
    HOST_TASK = "host task"
    """A function, an async iterable or an awaitable of the host that is awaited for a guest."""


class Node(Record):
    """One line of the tree. `seconds` is how long it has been like that; None where that is not known."""

    kind: Kind
    text: str
    seconds: float | None = None
    children: tuple[Node, ...] = ()

    def lines(self, depth: int = 0) -> Iterator[str]:
        time = "" if self.seconds is None else f", for {self.seconds:.3f} s"
        yield f"{'  ' * depth}{self.text}{time}"
        for child in self.children:
            yield from child.lines(depth + 1)

    def walk(self) -> Iterator[Node]:
        """The node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()

    def __str__(self) -> str:
        return "\n".join(self.lines())


TASK_STATES = {
    TaskState.INITIAL: "not let in yet",
    TaskState.STARTED: "started",
    TaskState.PENDING_CANCEL: "to be cancelled",
    TaskState.CANCEL_DELIVERED: "told to cancel",
    TaskState.RESOLVED: "has returned",
}


class TaskTree(tuple[Node, ...]):
    """What goes on in an instance: its tasks, and what the host does for it outside of them."""

    __slots__ = ()

    def walk(self) -> Iterator[Node]:
        for node in self:
            yield from node.walk()

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "nothing goes on"


def task_tree(driver: Driver) -> TaskTree:
    """The tree of all that goes on in a store now."""
    trap = driver.store.trap
    if trap is not None:
        return TaskTree([Node(Kind.TASK, f"the instance has trapped: {trap.message}")])
    return TreeMaker(driver).tree()


class TreeMaker:
    """Looks one store over, and then tells of each part. Stores that it calls have makers of their own."""

    def __init__(self, driver: Driver, makers: dict[Driver, TreeMaker] | None = None) -> None:
        self.driver = driver
        self.makers = {} if makers is None else makers
        self.makers[driver] = self
        store = self.store = driver.store
        self.now = store.now()
        self.told: set[object] = set()
        self.tasks: dict[Task, list[Thread]] = {}
        for inst in store.instances:
            for thread in inst.entry_queue:
                self.tasks[thread.task] = [thread]
        for thread in store.threads:
            self.tasks.setdefault(thread.task, []).append(thread)
        self.callees: dict[Call, Task] = {task.call: task for task in self.tasks}
        self.servants: dict[Call, HostTask] = {
            task.call: task for task in (*driver.host_tasks, *driver.starting) if task.call is not None
        }
        self.subtasks: dict[Task, list[Subtask]] = {}
        self.ends: dict[tuple[object, bool], tuple[ComponentInstance, CopyEnd]] = {}
        for inst in store.instances:
            for handle in inst.handles:
                if isinstance(handle, Subtask) and not handle.resolved:
                    self.subtasks.setdefault(handle.thread.task, []).append(handle)
                elif isinstance(handle, CopyEnd):
                    self.ends[handle.shared, handle.reads] = inst, handle

    def seconds(self, since: float) -> float:
        return max(0.0, self.now - since)

    def tree(self) -> TaskTree:
        roots = [self.task(task) for task in self.tasks if not isinstance(task.call, Subtask)]
        roots += [self.task(task) for task in self.tasks if task not in self.told]  # whose callers have ended
        roots += [self.copy(end, inst) for inst, end in self.ends.values() if end.copying and end not in self.told]
        roots += [self.host_task(task) for task in self.driver.host_tasks if task not in self.told]
        roots += [Node(Kind.HOST_TASK, "the host reads a stream or future of a guest") for _ in self.driver.readers]
        return TaskTree(roots)

    def task(self, task: Task) -> Node:
        self.told.add(task)
        inst = task.inst
        threads = tuple(self.thread(thread) for thread in self.tasks[task])
        calls = tuple(self.call(call) for call in self.subtasks.get(task, ()) if call not in self.told)
        where = f" of {inst.describe()}" if inst.name else ""
        since = getattr(task.call, "since", 0.0)  # of a call by the host
        return Node(
            Kind.TASK,
            f"task {task.func.name!r}{where} ({TASK_STATES[task.state]})",
            self.seconds(since) if since else None,
            threads + calls,
        )

    def thread(self, thread: Thread) -> Node:
        name = f"thread {thread.index}" if thread.index else "thread"
        held = self.store.held
        if held is not None and held.thread is thread:
            text = "holds its instance: it waits for a call of a type that is not async"
            return Node(Kind.THREAD, f"{name} {text}", None, (self.call(held),))
        if thread.running:
            computes = thread is self.store.preempted
            return Node(Kind.THREAD, f"{name} {'computes, and its time slice is over' if computes else 'runs'}")
        return Node(Kind.THREAD, f"{name} {thread.describe()}", self.seconds(thread.since), self.awaited(thread))

    def awaited(self, thread: Thread) -> tuple[Node, ...]:
        match thread.waits_for:
            case Subtask() as subtask:
                return (self.call(subtask, thread.since),)
            case WaitableSet() as waitable_set:
                return (self.waitable_set(waitable_set),)
            case Waitable() as waitable:
                return (self.waitable(waitable),)
        return ()

    def waitable_set(self, waitable_set: WaitableSet) -> Node:
        members = tuple(self.waitable(member) for member in waitable_set.elems)
        return Node(Kind.WAITABLE_SET, f"waitable set of {len(members)}", None, members)

    def waitable(self, waitable: Waitable) -> Node:
        if isinstance(waitable, Subtask):
            return self.call(waitable)
        assert isinstance(waitable, CopyEnd)
        return self.copy(waitable)

    def call(self, subtask: Subtask, since: float | None = None) -> Node:
        """`since` tells when a call began that is in no handle table."""
        self.told.add(subtask)
        state = subtask.state.name.lower().replace("_", " ")
        if subtask.pending_event is not None:
            state += ", an event of it is there"
        if subtask.cancellation_requested:
            state += ", asked to cancel"
        begun = subtask.since if subtask.index else since
        return Node(
            Kind.CALL,
            f"call of {subtask.func.name!r} ({state})",
            None if begun is None else self.seconds(begun),
            tuple(self.callee(subtask)),
        )

    def callee(self, call: Call) -> Iterator[Node]:
        if call in self.callees and self.callees[call] not in self.told:
            yield self.task(self.callees[call])
        if call in self.servants:
            yield self.host_task(self.servants[call])
        for outgoing in self.driver.outgoing:
            if outgoing.call is call:
                other = self.makers.get(outgoing.callee) or TreeMaker(outgoing.callee, self.makers)
                yield from other.callee(outgoing)

    def copy(self, end: CopyEnd, inst: ComponentInstance | None = None) -> Node:
        self.told.add(end)
        if not end.copying:
            state = "idle" if end.state.name == "IDLE" else "its other end is gone"
            return Node(Kind.COPY, f"{end.what} {end.index or ''} ({state})".replace("  ", " "))
        buffer = end.buffer
        assert buffer is not None
        doing = "reads" if end.reads else "writes"
        count = f" {buffer.remain} elements" if isinstance(end, StreamEnd) else ""
        state = "an event of it is there" if end.pending_event is not None else f"waits for {self.other_end(end)}"
        where = f" of {inst.describe()}" if inst is not None and inst.name else ""
        return Node(Kind.COPY, f"{end.what} {end.index}{where} {doing}{count}: {state}", self.seconds(end.since))

    def other_end(self, end: CopyEnd) -> str:
        known = self.ends.get((end.shared, not end.reads))
        if known is not None:
            inst, other = known
            return f"the {other.what} that {inst.describe() if inst.name else 'a guest'} has"
        name = getattr(end.shared, "name", None)
        return f"{name} of the host" if name else "the other end, which the host has"

    def host_task(self, task: HostTask) -> Node:
        self.told.add(task)
        state = "cancelled, and unwinding" if task.cancelled else "running"
        return Node(Kind.HOST_TASK, f"{task.name} of the host ({state})", self.seconds(task.since))

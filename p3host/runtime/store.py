"""The store: the instances of one linked component, and the queue of the threads that can go on (CanonicalABI.md,
"Embedding API").

The store does no I/O and waits for nothing. Its driver calls `tick` wherever something may have become ready. A tick
runs ready threads until there are none, or its time is over. What happens elsewhere meanwhile (a host function ends,
the host makes a call) is posted to the inbox, which the tick takes in first.

Two things freeze a store, and then nothing in it runs or is called until the thread that did it has gone on:
- its fiber was preempted at the end of its time slice (`preempted`);
- its guest waits in a call whose type is not async, which only the host can end (`held`).
`frozen` lists what has to go on, innermost first: the thread itself, then each that was waiting for it in a call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import Trap
from ..types import CoreFuncType, FuncType, FutureType, StreamType
from .choice import Choice, Chooser
from .instance import ComponentInstance, leave
from .resource import ResourceHandle
from .stream import CopyEnd
from .task import Call, Subtask, Task
from .thread import CoreFunc, Thread, always

if TYPE_CHECKING:
    from .options import CanonicalOptions
    from .resource import Resource, RuntimeResource
    from .stream import Shared

DEFAULT_MAX_HANDLES = 1_000_000
DEFAULT_MAX_ARGUMENT_BYTES = 1 << 30
DEFAULT_MAX_TASKS = 30_000  # each may need a suspended stack, and the kernel has about as many for a process


class HostEdge(Protocol):
    """How the host layer shows streams and futures to Python, and takes Python's."""

    def wrap_stream(self, shared: Shared, t: StreamType) -> Any: ...

    def unwrap_stream(self, value: Any, t: StreamType) -> Shared: ...

    def wrap_resource(self, resource: Resource) -> Any: ...

    def wrap_future(self, shared: Shared, t: FutureType) -> Any: ...

    def unwrap_future(self, value: Any, t: FutureType) -> Shared: ...

    def give_back(self, value: Any, shared: Shared) -> None:
        """Undoes `unwrap_stream` or `unwrap_future`."""


class FuncTable(Protocol):
    """A guest's table of functions. `get` gives None for a null, and traps out of bounds or for other core types."""

    def get(self, index: int, t: CoreFuncType) -> CoreFunc | None: ...


NO_VALUES = FuncType((), None)


class HostEntry:
    """Stands for the function of a task that no export was called for: instantiation, realloc, post-return."""

    __slots__ = ("inst", "name", "needs_exclusive", "options", "type")

    def __init__(self, name: str, inst: ComponentInstance) -> None:
        self.name = name
        self.inst = inst
        self.type = NO_VALUES
        self.needs_exclusive = False
        self.options = None


class NoCall:
    """The caller's end of such a task: nobody waits for it."""

    context: Context | None = None

    def on_start(self) -> Sequence[Any]:
        return ()

    def on_resolve(self, result: Any) -> None:
        pass

    def on_fail(self, error: BaseException) -> None:
        raise error


NO_CALL = NoCall()


class Store:
    """`choose` picks one possibility wherever the specification leaves a choice (`choice.py`); a tick then takes one
    turn. `slice_seconds` bounds one tick. `max_handles` bounds each table of an instance,
    `max_tasks` the threads that have begun, and the calls that guests have started and that go on.
    `max_argument_bytes` bounds what the lists and strings take, about, that such calls gave to the host. `on_handle` is
    told of each entry of a handle table when it is made."""

    def __init__(
        self,
        edge: HostEdge,
        *,
        choose: Chooser | None = None,
        slice_seconds: float = 0.01,
        max_handles: int = DEFAULT_MAX_HANDLES,
        max_tasks: int = DEFAULT_MAX_TASKS,
        max_argument_bytes: int = DEFAULT_MAX_ARGUMENT_BYTES,
        on_handle: Callable[[object], None] | None = None,
    ) -> None:
        self.edge = edge
        self.choose = choose
        self.slice_seconds = slice_seconds
        self.max_handles = max_handles
        self.max_tasks = max_tasks
        self.max_argument_bytes = max_argument_bytes
        self.on_handle = on_handle
        self.instances: list[ComponentInstance] = []
        self.resources: list[RuntimeResource] = []
        self.options: list[CanonicalOptions] = []
        self.funcs: list[Any] = []
        self.tables: list[FuncTable] = []
        self.queue: deque[Thread] = deque()
        self.yielded: deque[Thread] = deque()
        self.inbox: deque[tuple[Call | None, Callable[[], None]]] = deque()
        self.frozen: list[Callable[[], None]] = []
        self.preempted: Thread | None = None
        self.held: Subtask | None = None
        self.current: Thread | None = None
        self.answered: Call | None = None  # the call of the host that an action of the inbox ends just now
        self.threads: dict[Thread, None] = {}  # those that have begun and not ended
        self.taken: list[ResourceHandle] = []  # what the lift that is under way took from its guest
        self.num_given = 0  # owned resources that guests have been given
        self.lowered: list[tuple[int, Callable[[], None]]] | None = None  # by a call whose arguments may be refused
        self.borrowed: list[Resource] = []  # guests' resources that a host function sees which answers at once
        self.num_pending_subtasks = 0  # those in handle tables that have not resolved
        self.argument_bytes = 0  # of calls that have not resolved
        self.ticking = False
        self.trap: Trap | None = None
        self.on_poison: Callable[[BaseException], None] = ignore_poison
        self.on_wake: Callable[[], None] = ignore_wake
        self.may_go_on: Callable[[], bool] | None = None  # where given, ready threads wait while it answers False
        self.now: Callable[[], float] = monotonic  # seconds, for telling how long something has waited

    # What the driver calls

    def post(self, call: Call | None, action: Callable[[], None]) -> None:
        """Has the next tick do something that may enter guests. `call` is the call that it ends, if it ends one. What
        comes after a trap is forgotten."""
        if self.trap is None:
            self.inbox.append((call, action))

    def tick(self, action: Callable[[], None] | None = None) -> None:
        """Does `action` if given, then runs what is ready. Within a step, or while the store is frozen, the action is
        left for later: the tick that is under way, or the one that thaws the store, goes on with it."""
        if self.ticking or self.trap is not None:
            if action is not None:
                self.post(None, action)
            return
        self.ticking = True
        try:
            if action is not None:
                if self.frozen or self.inbox:
                    self.inbox.append((None, action))
                else:
                    action()
            if self.frozen or self.inbox or self.queue or self.yielded:
                self.run_ready()
        except BaseException as error:
            self.poison(error)
            if not isinstance(error, Exception):
                raise
        finally:
            self.ticking = False

    @property
    def has_work(self) -> bool:
        """Whether another tick would do something now."""
        if self.trap is not None:
            return False
        if self.held is not None:
            return any(call is self.held for call, _ in self.inbox)
        return bool(self.frozen or self.inbox or self.has_ready)

    @property
    def has_ready(self) -> bool:
        return bool(self.queue or self.yielded) and (self.may_go_on is None or self.may_go_on())

    def poison(self, error: BaseException) -> None:
        """Ends everything: after a trap no guest of this store runs again."""
        if self.trap is not None:
            return
        if isinstance(error, Trap):
            self.trap = error
        else:
            self.trap = Trap(f"a guest was interrupted by {type(error).__name__}: {error}")
            self.trap.__cause__ = error
        self.queue.clear()
        self.yielded.clear()
        self.inbox.clear()
        self.frozen.clear()
        self.preempted = None
        self.held = None
        self.on_poison(error)
        self.abandon_ends(self.trap)
        for failure in self.release_resources():
            self.trap.add_note(f"then closing a resource of the host failed: {failure!r}")

    def abandon_ends(self, trap: Trap) -> None:
        """Tells the other ends, which may be in other stores, that those of this one are gone."""
        for inst in self.instances:
            for handle in inst.handles:
                if isinstance(handle, CopyEnd):
                    handle.shared.abandon(handle.buffer, trap)

    def release_resources(self) -> list[Exception]:
        """Gives the host and other stores back what guests own of theirs. Returns what host destructors raised."""
        failures: list[Exception] = []
        for inst in self.instances:
            for handle in inst.handles:
                if not isinstance(handle, ResourceHandle) or not handle.own:
                    continue
                resource = handle.resource
                if resource.drop is not None and (resource.impl is None or resource.impl.store is not self):
                    handle.own = False
                    try:
                        resource.drop(handle.rep)
                    except Trap:
                        pass  # what holds for guests, such as an order, does not for this
                    except Exception as failure:
                        failures.append(failure)
        return failures

    def end_borrows(self) -> None:
        """The end of a call that the host answered at once: what it was lent is not its any more."""
        for resource in self.borrowed:
            resource.alive = False
        self.borrowed.clear()

    # What the tick does

    def run_ready(self) -> None:
        deadline = monotonic() + self.slice_seconds
        while True:
            if self.frozen:
                if self.held is not None and not self.take_answer_of_held():
                    return
                self.thaw()
                if self.frozen or self.choose is not None:
                    return
            if self.choose is not None:
                self.take_chosen(self.choose)
                return
            if self.inbox:
                self.act(*self.inbox.popleft())
            elif self.has_ready:
                self.take_turn((self.queue or self.yielded).popleft())
            else:
                return
            if monotonic() > deadline:
                return

    def take_chosen(self, choose: Chooser) -> None:
        """One turn of whatever the chooser picks: something that the host has done, or a thread that is ready."""
        options: list[Any] = list(self.inbox)
        if self.has_ready:
            for queue in (self.queue, self.yielded):
                for thread in [thread for thread in queue if not thread.is_ready]:
                    queue.remove(thread)
                    self.take_turn(thread)
                options += queue
        if not options:
            return
        picked = options[choose(Choice.TURN, options)]
        if isinstance(picked, Thread):
            (self.yielded if picked in self.yielded else self.queue).remove(picked)
            self.take_turn(picked)
        else:
            self.inbox.remove(picked)
            self.act(*picked)

    def act(self, call: Call | None, action: Callable[[], None]) -> None:
        """Does what was posted."""
        self.answered = call
        action()
        self.answered = None

    def take_turn(self, thread: Thread) -> None:
        thread.queued = False
        if thread.take_turn():
            entered = thread.task.inst.enter_from(None)
            thread.resume()
            self.when_thawed_leave(entered)

    def take_answer_of_held(self) -> bool:
        for position, (call, action) in enumerate(self.inbox):
            if call is self.held:
                del self.inbox[position]
                self.held = None
                self.act(call, action)
                return True
        return False

    def thaw(self) -> None:
        rest, self.frozen = self.frozen, []
        self.preempted = None
        for position, go_on in enumerate(rest):
            go_on()
            if self.frozen:
                self.frozen.extend(rest[position + 1 :])
                return

    # What the rest of the runtime calls

    def enqueue(self, thread: Thread) -> None:
        if self.trap is not None:
            return
        (self.yielded if thread.ready is always else self.queue).append(thread)
        if not self.ticking:  # something outside of this store's steps woke it: another store, a host task
            self.on_wake()

    def hold(self, subtask: Subtask) -> None:
        """Freezes the store until the host has answered this call."""
        assert self.held is None
        self.held = subtask

    def when_thawed_leave(self, entered: tuple[ComponentInstance, ...]) -> None:
        """Leaves the instances that a call entered, which is over unless it left the store frozen."""
        if self.frozen:
            self.frozen.append(lambda: leave(entered))
        else:
            leave(entered)

    def next_ready_in(self, inst: ComponentInstance) -> Thread | None:
        """Takes a thread of an instance out of the queue that could go on during a call of a sync type: none that
        needs the instance exclusively, as that call stands in the middle of its stack, or that was not let in yet."""
        for queue in (self.queue, self.yielded):
            ready = [
                thread
                for thread in queue
                if thread.task.inst is inst
                and thread is not inst.exclusive_thread
                and not thread.wants_exclusive
                and thread not in inst.entry_queue
                and thread.is_ready
            ]
            if ready:
                thread = ready[self.choose(Choice.TURN, ready) if self.choose else 0]
                queue.remove(thread)
                thread.queued = False
                return thread
        return None

    def scratch_thread(self, inst: ComponentInstance) -> Thread:
        """A thread for realloc, which may not block and ends at once. It serves one after the other, unless a guest has
        asked for its index."""
        thread = inst.scratch_thread
        if thread is None or thread.index:
            thread = inst.scratch_thread = Thread(Task(HostEntry("realloc", inst), NO_CALL))
        else:
            thread.storage = [0, 0]
        return thread


def ignore_poison(error: BaseException) -> None:
    pass


def ignore_wake() -> None:
    pass

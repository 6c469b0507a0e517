"""The specification's own definition of tasks, threads and subtasks, as a world of guests to compare p3host's with.

`definitions.py` of a checkout of WebAssembly/component-model is loaded as it is, but for its source of chance, and for
how it switches between stacks: here each stack is an OS thread that can be ended. `SpecGuest` has the methods of
`runtime_fakes.Guest` that the programs use, which are generators in both worlds.
"""

from __future__ import annotations

import importlib.util
import itertools
import random
import sys
import threading
from collections.abc import Callable, Sequence
from inspect import isgenerator
from pathlib import Path
from typing import Any

MAX_TICKS = 300


def load_definitions(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("component_model_definitions", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look for it there
    spec.loader.exec_module(module)
    number_threads(module)
    return module


def number_threads(definitions: Any) -> None:
    """Gives threads, which stand in sets, an order that is the same in each run."""
    make, numbers = definitions.Thread.__init__, itertools.count()

    def make_numbered(thread: Any, *args: Any) -> None:
        thread.number = next(numbers)
        make(thread, *args)

    definitions.Thread.__init__ = make_numbered


class Ended(BaseException):
    """Unwinds a stack that will not go on."""


class Stack:
    """A continuation. `cancelled` is what its next entry is told; `entry` is the entry that it runs in."""

    def __init__(self, function: Callable[[Any], Any] | None = None) -> None:
        self.function = function
        self.turn = threading.Semaphore(0)
        self.cancelled: Any = None
        self.entry: Entry | None = None
        self.ended = False


class Entry:
    """One entry of a stack: it is over when the stack returns (`rest` is None) or blocks (`rest` goes on with it)."""

    def __init__(self, current: Any) -> None:
        self.current = current
        self.over = threading.Semaphore(0)
        self.rest: Stack | None = None
        self.switch_to: Any = None


class Switching:
    """What `definitions.py` asks of stack switching."""

    def __init__(self, on_error: Callable[[BaseException], None]) -> None:
        self.on_error = on_error
        self.local = threading.local()
        self.blocked: dict[Stack, threading.Thread] = {}

    def cont_new(self, function: Callable[[Any], Any]) -> Stack:
        return Stack(function)

    def resume(self, stack: Stack, cancelled: Any, current: Any) -> tuple[Stack | None, Any]:
        entry = stack.entry = Entry(current)
        stack.cancelled = cancelled
        if stack.function is not None:
            threading.Thread(target=self.run, args=(stack,), daemon=True).start()
        else:
            del self.blocked[stack]
            stack.turn.release()
        entry.over.acquire()
        return entry.rest, entry.switch_to

    def run(self, stack: Stack) -> None:
        self.local.entry = stack.entry
        assert stack.function is not None
        switch_to = None
        try:
            switch_to = stack.function(stack.cancelled)
        except Ended:
            return
        except BaseException as error:
            self.on_error(error)
        entry = self.local.entry
        entry.switch_to = switch_to
        entry.over.release()

    def block(self, switch_to: Any) -> Any:
        entry: Entry = self.local.entry
        rest = entry.rest = Stack()
        entry.switch_to = switch_to
        self.blocked[rest] = threading.current_thread()
        entry.over.release()
        rest.turn.acquire()
        if rest.ended:
            raise Ended
        self.local.entry = rest.entry
        return rest.cancelled

    def current_thread(self) -> Any:
        return self.local.entry.current

    def end(self) -> None:
        for stack, thread in self.blocked.items():
            stack.ended = True
            stack.turn.release()
            thread.join()
        self.blocked.clear()


class Chance:
    """Stands for the module `random`: each draw is the next of `given`, then by lot. `draws` has each with the length
    that the log had."""

    def __init__(self, given: Sequence[int], seed: int, log: list[Any]) -> None:
        self.given = given
        self.lots = random.Random(seed)
        self.log = log
        self.draws: list[tuple[int, int]] = []

    def draw(self, count: int) -> int:
        made = len(self.draws)
        value = (self.given[made] if made < len(self.given) else self.lots.randrange(count)) % count
        self.draws.append((value, len(self.log)))
        return value

    def choice(self, threads: Any) -> Any:
        ordered = sorted(threads, key=lambda thread: thread.number)
        return ordered[self.draw(len(ordered))]

    def shuffle(self, things: list[Any]) -> None:
        pending = [thing for thing in things if thing.has_pending_event()]
        if len(pending) > 1:
            chosen = pending[self.draw(len(pending))]
            things.remove(chosen)
            things.insert(0, chosen)

    def randint(self, low: int, high: int) -> int:
        return low + self.draw(high - low + 1)


class SpecWorld:
    def __init__(self, definitions: Any, given: Sequence[int], seed: int) -> None:
        self.definitions = definitions
        self.log: list[Any] = []
        self.trap: BaseException | None = None
        self.log_at_trap = 0
        self.chance = definitions.random = Chance(given, seed, self.log)
        self.switching = switching = Switching(self.on_error)
        for name in ("cont_new", "resume", "block", "current_thread"):
            setattr(definitions, name, getattr(switching, name))
        self.store = definitions.Store()
        self.tasks: list[Any] = []

    def on_error(self, error: BaseException) -> None:
        if self.trap is None:
            self.trap = error
            self.log_at_trap = len(self.log)

    def guest(self, name: str, parent: SpecGuest | None = None) -> SpecGuest:
        return SpecGuest(self, parent)

    def run(self, func: Any) -> list[Any] | None:
        """The log of a call of the host's, to the end of all that it can lead to; None where there is no end, or where
        an assertion of the definition doesn't hold."""
        self.store.invoke(func[0], list, lambda result: None)
        for _ in range(MAX_TICKS):
            if self.trap is not None or not (self.retry_cancellations() or self.has_ready):
                break
            if self.has_ready:
                self.store.tick()
        else:
            self.switching.end()
            return None
        self.switching.end()
        if self.trap is None:
            return self.log
        if isinstance(self.trap, AssertionError):
            return None
        if not isinstance(self.trap, self.definitions.Trap):
            raise self.trap
        return [*self.log[: self.log_at_trap], "trap"]

    @property
    def has_ready(self) -> bool:
        return any(thread.ready() for thread in self.store.waiting)

    def retry_cancellations(self) -> bool:
        """A cancellation that could not be delivered is, once the instance is free (component-model#707)."""
        states = self.definitions.Task.State
        retried = False
        for task in self.tasks:
            thread = task.implicit_thread
            if task.state is states.PENDING_CANCEL and thread in task.threads and thread.cancellable:
                if task.inst.exclusive_thread in (None, thread) and self.chance.draw(2):
                    task.state = states.STARTED
                    task.request_cancellation(None)
                retried = True
        return retried


def drive(made: Any) -> Any:
    """Runs a core function, which is a generator of the built-ins that it calls."""
    if not isgenerator(made):
        return made
    value = None
    while True:
        try:
            call = made.send(value)
        except StopIteration as stop:
            return stop.value
        value = call()


class SpecGuest:
    def __init__(self, world: SpecWorld, parent: SpecGuest | None) -> None:
        d = self.d = world.definitions
        self.world = world
        self.store = world.store
        self.inst = d.ComponentInstance(self.store, parent.inst if parent else None)
        self.memory = d.MemInst(bytearray(256), "i32")

    def event(self, pointer: int) -> tuple[int, int]:
        first, second = (int.from_bytes(self.memory.bytes[pointer + i : pointer + i + 4], "little") for i in (0, 4))
        return first, second

    def lift(self, body: Any, *, abi: str, callback: Any = None, is_async: bool = True, name: str = "") -> Any:
        d = self.d
        options = d.CanonicalOptions(memory=self.memory, async_=abi != "sync")
        if callback is not None:
            options.callback = lambda args: [drive(callback(*map(int, args)))]

        def core(args: Any) -> list[Any]:
            task = d.current_task()
            if task not in self.world.tasks:
                self.world.tasks.append(task)
            result = drive(body())
            return [result] if callback is not None else []

        t = d.FuncType([], [], async_=is_async)
        return self.store.lift(core, t, options, self.inst), t

    def lower(self, callee: Any, *, is_async: bool = False, async_type: bool = True) -> Callable[[], Callable[[], Any]]:
        func, t = callee if isinstance(callee, tuple) else (callee.as_spec, self.d.FuncType([], [], async_=True))
        lowered = self.store.lower(func, t, self.d.CanonicalOptions(memory=self.memory, async_=is_async), self.inst)
        return lambda: lambda: next(iter(lowered([])), None)

    def call(self, name: str, *args: Any) -> Callable[[], Any]:
        return lambda: next(iter(getattr(self.d, f"canon_{name}")(*args)), None)

    def task_return(self) -> Any:
        return self.call("task_return", [], self.d.CanonicalOptions(memory=self.memory), [])

    def task_cancel(self) -> Any:
        return self.call("task_cancel")

    def set_new(self) -> Any:
        return self.call("waitable_set_new")

    def set_wait(self, set_index: int, pointer: int = 0) -> Any:
        return self.call("waitable_set_wait", False, self.memory, set_index, pointer)

    def set_poll(self, set_index: int, pointer: int = 0) -> Any:
        return self.call("waitable_set_poll", False, self.memory, set_index, pointer)

    def join(self, index: int, set_index: int) -> Any:
        return self.call("waitable_join", index, set_index)

    def subtask_cancel(self, index: int, is_async: bool = False) -> Any:
        return self.call("subtask_cancel", is_async, index)

    def yield_(self) -> Any:
        return self.call("thread_yield", False)

    def switch(self, name: str, index: int) -> Any:
        return self.call(f"thread_{name}", False, index)

    def index(self) -> Any:
        return self.call("thread_index")

    def resume_later(self, index: int) -> Any:
        return self.call("thread_resume_later", index)

    def new_thread(self, worker: Any) -> Any:
        t = self.d.CoreFuncType(["i32"], [])

        def start(args: Any) -> list[Any]:
            drive(worker(*args))
            return []

        return self.call("thread_new_indirect", t, OneFunc(self.d.CoreFuncRef(t, start)), 0, 0)

    def backpressure_inc(self) -> Any:
        return self.call("backpressure_inc")

    def relieve(self) -> None:
        """Ends backpressure, whichever thread is the current one."""
        self.inst.backpressure = 0


class OneFunc:
    def __init__(self, func: Any) -> None:
        self.func = func

    def get(self, index: int) -> Any:
        return self.func

"""Whatever p3host does with tasks, threads, subtasks and cancellations, the specification's own definition may do.

Random programs of a caller and the functions that it calls run in p3host, and then in `definitions.py` of the checkout
that P3HOST_COMPONENT_MODEL names, whose choices are searched for a run with the same log. The search is by lot, and
ends: where it finds none for a program of many threads, a longer one may.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from definitions_reference import SpecWorld, load_definitions

sys.path.append(str(Path(__file__).parent.parent / "runtime"))
from runtime_fakes import THREAD_START, Core, FakeTable, Guest, World

from p3host.runtime import canon
from p3host.runtime.stream import BLOCKED

VARIABLE = "P3HOST_COMPONENT_MODEL"
CHECKOUT = os.environ.get(VARIABLE, "")
MAX_RUNS = 10_000
PROGRAMS = 200
BACK = (
    0,
    1,
    1,
    1,
    1,
    2,
    2,
    2,
    3,
    3,
    4,
    5,
    6,
    8,
    12,
    20,
)  # how many draws before the last good one a run goes another way
TASK_CANCELLED, RETURNED = 6, 2
EXIT, YIELD, WAIT = 0, 1, 2
SWITCHES = ("yield_then_resume", "suspend_then_resume", "yield_then_promote", "suspend_then_promote")


@dataclass
class Segment:
    """What a function does before it ends, or goes back to its event loop with a code (or to wait for a gate)."""

    steps: list[str]
    end: str


@dataclass
class Function:
    abi: str
    is_async: bool
    acknowledges: bool
    segments: list[Segment]


@dataclass
class Program:
    functions: list[Function]
    caller: list[tuple[str, int]]
    is_parent: bool  # the caller is the parent of the instance that it calls


def make_program(lots: random.Random) -> Program:
    functions = []
    for _ in range(lots.randint(1, 2)):
        is_async = lots.random() < 0.85
        abi = lots.choice(["sync", "callback", "callback", "stackful"]) if is_async else "sync"
        steps = ["log", "yield"]
        if lots.random() < 0.4:
            steps += ["spawn", lots.choice(SWITCHES)]
        if is_async:
            steps += ["gate 0", "gate 1", "gate 0", "gate 1", "yield", "backpressure", "log"]
        if abi != "sync":
            steps += ["return", "return"]
        ends = ["yield", "wait", "wait 0", "wait 1", "exit"] if abi == "callback" else ["exit"]
        segments = [
            Segment([lots.choice(steps) for _ in range(lots.randint(0, 3))], lots.choice(ends))
            for _ in range(lots.randint(1, 3) if abi == "callback" else 1)
        ]
        functions.append(Function(abi, is_async, lots.random() < 0.6, segments))
    actions = ["call", "call", "call and wait", "cancel", "cancel", "cancel and wait", "open", "yield", "poll", "wait"]
    caller = [(lots.choice([*actions, "relieve"]), lots.randint(0, 1)) for _ in range(lots.randint(3, 7))]
    return Program(functions, caller, lots.random() < 0.5)


class Gate:
    """A function of the host that answers once it is open."""

    def __init__(self) -> None:
        self.is_open = False
        self.waiting: list[Callable[[], None]] = []

    def __call__(self, call: Any, caller: Any) -> Any:
        return self.as_spec(call.on_start, lambda result: call.on_resolve(None), caller)

    def as_spec(self, on_start: Any, on_resolve: Any, caller: Any) -> Any:
        on_start()
        if self.is_open:
            on_resolve([])
        else:
            self.waiting.append(lambda: on_resolve([]))
        return lambda caller: None

    def open(self) -> None:
        self.is_open = True
        waiting, self.waiting = self.waiting, []
        for resolve in waiting:
            resolve()


class HostGuest(Guest):
    """p3host's guest, with the built-ins that `SpecGuest` has besides."""

    def event(self, pointer: int) -> tuple[int, int]:
        return self.memory.u32(pointer), self.memory.u32(pointer + 4)

    def index(self) -> Any:
        return lambda: canon.canon_thread_index(self.thread())

    def resume_later(self, index: int) -> Any:
        return lambda: canon.canon_thread_resume_later(self.thread(), index)

    def new_thread(self, worker: Any) -> Any:
        return lambda: canon.canon_thread_new_indirect(self.thread(), FakeTable(worker), THREAD_START, 0, 0)

    def backpressure_inc(self) -> Any:
        return lambda: canon.canon_backpressure_inc(self.inst)

    def relieve(self) -> None:
        if self.inst.backpressure:
            self.inst.backpressure = 0
            self.inst.release_backpressure()


class Callee:
    """The functions of a program in one world."""

    def __init__(self, guest: Any, log: list[Any], gates: list[Gate]) -> None:
        self.guest = guest
        self.log = log
        self.gates = [guest.lower(gate) for gate in gates]
        self.async_gates = [guest.lower(gate, is_async=True) for gate in gates]

    def lift(self, name: str, function: Function) -> Any:
        calls: list[Call] = []  # by thread index, as each call keeps its own for its callbacks

        def body() -> Core:
            call = Call(self, f"{name}.{len(calls)}", function, (yield self.guest.index()))
            calls.append(call)
            self.log.append(f"{call.name} in")
            return (yield from call.segment())

        def callback(event: int, *rest: int) -> Core:
            index = yield self.guest.index()
            call = next(call for call in reversed(calls) if call.index == index)
            return (yield from call.callback(event))

        has_callback = function.abi == "callback"
        return self.guest.lift(
            body,
            abi=function.abi,
            is_async=function.is_async,
            callback=callback if has_callback else None,
            name=name,
        )


class Call:
    def __init__(self, callee: Callee, name: str, function: Function, index: int) -> None:
        self.callee = callee
        self.guest = callee.guest
        self.log = callee.log
        self.name = name
        self.function = function
        self.index = index
        self.position = 0
        self.threads = 0
        self.resolved = function.abi == "sync"

    def resolve(self, how: str) -> Core:
        if not self.resolved:
            self.resolved = True
            yield self.guest.task_return() if how == "return" else self.guest.task_cancel()

    def segment(self) -> Core:
        segment = self.function.segments[self.position]
        for step in segment.steps:
            yield from self.step(step)
            self.log.append(f"{self.name} {step}")
        word, _, gate = segment.end.partition(" ")
        if word == "exit":
            return (yield from self.end())
        if word == "yield":
            return YIELD
        set_index = yield self.guest.set_new()
        if gate:
            packed = yield self.callee.async_gates[int(gate)]()
            if packed == RETURNED:
                return YIELD
            yield self.guest.join(packed >> 4, set_index)
        return WAIT | set_index << 4

    def end(self) -> Core:
        yield from self.resolve("return")
        self.log.append(f"{self.name} out")
        return EXIT if self.function.abi == "callback" else None

    def callback(self, event: int) -> Core:
        self.log.append(f"{self.name} event {event}")
        self.position += 1
        if event == TASK_CANCELLED and self.function.acknowledges:
            yield from self.resolve("cancel")
            return (yield from self.end())
        if self.position == len(self.function.segments):
            return (yield from self.end())
        return (yield from self.segment())

    def step(self, step: str) -> Core:
        guest = self.guest
        match step.split(" "):
            case ["yield"]:
                yield guest.yield_()
            case ["gate", number]:
                yield self.callee.gates[int(number)]()
            case ["return"]:
                yield from self.resolve("return")
            case ["backpressure"]:
                yield guest.backpressure_inc()
            case ["spawn"]:
                yield guest.resume_later((yield guest.new_thread(self.worker(None))))
            case [name] if name in SWITCHES:
                wakes = (yield guest.index()) if name.startswith("suspend") else None
                other = yield guest.new_thread(self.worker(wakes))
                if name.endswith("promote"):
                    yield guest.resume_later(other)
                yield guest.switch(name, other)

    def worker(self, wakes: int | None) -> Any:
        self.threads += 1
        name = f"{self.name} thread {self.threads}"

        def work(argument: int) -> Core:
            self.log.append(name)
            yield self.guest.yield_()
            self.log.append(f"{name} goes on")
            if wakes is not None:
                yield self.guest.resume_later(wakes)

        return work


@dataclass
class Sub:
    number: int
    index: int
    is_cancelled: bool = False
    is_delivered: bool = False
    in_set: bool = True


def caller_body(program: Program, guest: Any, callee: Any, funcs: list[Any], gates: list[Gate], log: list[Any]) -> Any:
    types = [function.is_async for function in program.functions]
    lowered = [guest.lower(f, is_async=t, async_type=t) for f, t in zip(funcs, types, strict=True)]
    lowered_sync = [guest.lower(f, async_type=t) for f, t in zip(funcs, types, strict=True)]
    subs: list[Sub] = []

    def act(action: str, number: int, set_index: int) -> Core:
        which = number % len(funcs)
        if action == "call and wait" or (action == "call" and not types[which]):
            yield lowered_sync[which]()
        elif action == "call":
            packed = yield lowered[which]()
            log.append(packed & 0xF)
            if packed != RETURNED:
                subs.append(Sub(len(subs), packed >> 4))
                yield guest.join(packed >> 4, set_index)
        elif action.startswith("cancel"):
            live = [sub for sub in subs if not sub.is_delivered and not sub.is_cancelled]
            if not live:
                return
            sub = live[number % len(live)]
            if action == "cancel and wait":
                yield guest.join(sub.index, 0)
                sub.in_set = False
            resolved = guest.inst.handles.get(sub.index).resolved
            sub.is_cancelled = not (resolved() if callable(resolved) else resolved)
            answer = yield guest.subtask_cancel(sub.index, action == "cancel")
            log.append(int(answer))
            sub.is_delivered = answer != BLOCKED
        elif action == "open":
            gates[number].open()
        elif action == "yield":
            yield guest.yield_()
        elif action == "relieve":
            callee.relieve()
        elif action == "poll" or any(sub.in_set and not sub.is_delivered for sub in subs):
            code = yield (guest.set_poll if action == "poll" else guest.set_wait)(set_index, 8)
            log.append(int(code))
            if code:
                index, state = guest.event(8)
                sub = next(sub for sub in subs if sub.index == index)
                sub.is_delivered = state >= RETURNED
                log.append((sub.number, state))

    def body() -> Core:
        set_index = yield guest.set_new()
        for action, number in program.caller:
            yield from act(action, number, set_index)
            log.append(action)
        yield guest.task_return()
        log.append("end")

    return body


def bind(program: Program, guests: tuple[Any, Any], log: list[Any]) -> Any:
    """The caller as a lifted function."""
    caller, callee = guests
    gates = [Gate(), Gate()]
    made = Callee(callee, log, gates)
    funcs = [made.lift(f"f{number}", function) for number, function in enumerate(program.functions)]
    return caller.lift(caller_body(program, caller, callee, funcs, gates, log), abi="stackful")


def run_here(program: Program) -> list[Any]:
    world = World()
    caller = HostGuest(world, "caller", None)
    callee = HostGuest(world, "callee", caller if program.is_parent else None)
    world.call(bind(program, (caller, callee), world.log))
    if world.store.trap is None:
        return world.log
    assert world.store.trap.__cause__ is None
    return [*world.log, "trap"]


def find_run(definitions: Any, program: Program, log: list[Any], seed: int) -> int:
    """How much of the log a run of the specification's can have, of those tried: each goes another way shortly before
    the place to which the best one came."""
    lots = random.Random(seed)
    best, draws = 0, list[tuple[int, int]]()
    for number in range(MAX_RUNS):
        kept = max(0, len(draws) - lots.choice(BACK))
        world = SpecWorld(definitions, [value for value, _ in draws[:kept]], number)
        caller = world.guest("caller")
        callee = world.guest("callee", caller if program.is_parent else None)
        found = world.run(bind(program, (caller, callee), world.log))
        if found is None:
            continue
        if found == log:
            return len(log)
        same = next((i for i, (a, b) in enumerate(zip(found, log, strict=False)) if a != b), min(len(found), len(log)))
        if same > best or (same == best and lots.random() < 0.3):
            draws = [draw for draw in world.chance.draws if draw[1] <= same]
        best = max(best, same)
    return best


@pytest.mark.skipif(not CHECKOUT, reason=f"set {VARIABLE} to a checkout of WebAssembly/component-model")
@pytest.mark.parametrize("seed", range(PROGRAMS))
def test_what_happens_is_what_the_specification_allows(seed: int) -> None:
    program = make_program(random.Random(seed))
    log = run_here(program)
    definitions = load_definitions(Path(CHECKOUT, "design", "mvp", "canonical-abi", "definitions.py"))
    assert log[: find_run(definitions, program, log, seed)] == log, program

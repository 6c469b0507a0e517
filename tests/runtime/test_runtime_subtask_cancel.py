"""`subtask.cancel` at every state of its callee (CanonicalABI.md, "Tasks", `canon subtask.cancel`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from runtime_fakes import Core, Guest, HostImport, World, blocker

from p3host.runtime import canon
from p3host.runtime.stream import BLOCKED
from p3host.runtime.task import SubtaskState
from p3host.runtime.waitable import EventCode

EXIT, YIELD, WAIT = 0, 1, 2
STARTING, STARTED, RETURNED, CANCELLED_BEFORE_STARTED, CANCELLED_BEFORE_RETURNED = SubtaskState


@pytest.fixture
def world() -> World:
    return World()


# What becomes of a call when `subtask.cancel` finds it in each state. A callee acknowledges by task.cancel.


def kept_out(world: World, guest: Guest, gate: HostImport) -> Any:
    canon.canon_backpressure_inc(guest.inst)
    return guest.lift(lambda: None, abi="sync")


def between_callbacks(code: int, acknowledges: bool) -> Callable[[World, Guest, HostImport], Any]:
    def make(world: World, guest: Guest, gate: HostImport) -> Any:
        call = guest.lower(gate)

        def body() -> Core:
            return code | (yield guest.set_new()) << 4

        def callback(event: int, *rest: int) -> Core:
            if event != EventCode.TASK_CANCELLED:
                return code | (yield guest.set_new()) << 4
            if acknowledges:
                yield guest.task_cancel()
            else:
                yield call()
                yield guest.task_return()
            return EXIT

        return guest.lift(body, callback=callback)

    return make


def in_a_sync_call(abi: str) -> Callable[[World, Guest, HostImport], Any]:
    def make(world: World, guest: Guest, gate: HostImport) -> Any:
        return blocker(world, guest, "callee", abi, gate)

    return make


def in_a_wait(world: World, guest: Guest, gate: HostImport) -> Any:
    call = guest.lower(gate, is_async=True)

    def body() -> Core:
        index = (yield call()) >> 4
        set_index = yield guest.set_new()
        yield guest.join(index, set_index)
        yield guest.set_wait(set_index)
        yield guest.task_return()

    return guest.lift(body)


def returned(world: World, guest: Guest, gate: HostImport) -> Any:
    """It returns in the turn after the one in which it was called."""

    def body() -> Core:
        yield guest.yield_()
        yield guest.task_return()

    return guest.lift(body)


@pytest.mark.parametrize(
    ("make", "begins", "answer", "ends"),
    [
        (kept_out, STARTING, CANCELLED_BEFORE_STARTED, None),
        (between_callbacks(WAIT, True), STARTED, CANCELLED_BEFORE_RETURNED, None),
        (between_callbacks(YIELD, True), STARTED, CANCELLED_BEFORE_RETURNED, None),
        (between_callbacks(WAIT, False), STARTED, BLOCKED, RETURNED),
        (in_a_sync_call("sync"), STARTED, BLOCKED, RETURNED),
        (in_a_sync_call("callback"), STARTED, BLOCKED, RETURNED),
        (in_a_sync_call("stackful"), STARTED, BLOCKED, RETURNED),
        (in_a_wait, STARTED, BLOCKED, RETURNED),
        (returned, STARTED, RETURNED, None),
    ],
    ids=[
        "kept out",
        "waits, acknowledges",
        "yields, acknowledges",
        "waits, returns later",
        "sync lift in a sync call",
        "callback lift in a sync call",
        "stackful lift in a sync call",
        "in a wait in the middle of its stack",
        "has returned, not delivered",
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_subtask_cancel(
    world: World, make: Any, begins: SubtaskState, answer: int, ends: SubtaskState | None, is_async: bool
) -> None:
    """`answer` is that of the async form; `ends` is told by an event after `BLOCKED`, and is what the sync form answers
    when it has waited."""
    callee, guest, gate = world.guest("callee"), world.guest(), HostImport(world.store)
    call = guest.lower(make(world, callee, gate), is_async=True)
    answers: list[int] = []

    def body() -> Core:
        packed = yield call()
        answers.append(packed & 0xF)
        if make is returned:
            yield guest.yield_()
            yield guest.yield_()
        answers.append((yield guest.subtask_cancel(packed >> 4, is_async)))
        if answers[-1] == BLOCKED:
            set_index = yield guest.set_new()
            yield guest.join(packed >> 4, set_index)
            yield guest.set_wait(set_index, 8)
            answers.append(guest.memory.u32(12))
        yield guest.subtask_drop(packed >> 4)
        yield guest.task_return()

    caller = world.call(guest.lift(body))
    if ends is not None:
        assert answers == ([begins, BLOCKED] if is_async else [begins])
        gate.resolve()
    assert answers == [
        begins,
        *([answer] if answer != BLOCKED or is_async else []),
        *([ends] if ends is not None else []),
    ]
    assert caller.results == [None]

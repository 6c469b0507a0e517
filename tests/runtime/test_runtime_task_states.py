"""Every operation on a task in each of its states (CanonicalABI.md, "Tasks")."""

from __future__ import annotations

from typing import Any

import pytest
from runtime_fakes import U32, Core, HostCaller, World

from p3host.runtime.task import CANCELLED, TaskState
from p3host.runtime.waitable import EventCode

STARTED, PENDING = "started", "cancellation pending"
DELIVERED, RETURNED, ACKNOWLEDGED = "cancellation delivered", "returned", "cancellation acknowledged"
STATES = {
    STARTED: TaskState.STARTED,
    PENDING: TaskState.PENDING_CANCEL,
    DELIVERED: TaskState.CANCEL_DELIVERED,
    RETURNED: TaskState.RESOLVED,
    ACKNOWLEDGED: TaskState.RESOLVED,
}
NOT_RESOLVED = "ended without calling task.return or task.cancel"
RESOLVED = "task.return called after the task was resolved"
NOT_DELIVERED = "task.cancel called without a cancellation delivered"

# What the caller got in the end, or the trap
TABLE: list[tuple[str, str, list[Any] | str]] = [
    (STARTED, "end", NOT_RESOLVED),
    (STARTED, "return", [7]),
    (STARTED, "cancel", NOT_DELIVERED),
    (STARTED, "poll", EventCode.NONE.name),
    (PENDING, "end", NOT_RESOLVED),
    (PENDING, "return", [7]),
    (PENDING, "cancel", NOT_DELIVERED),
    (PENDING, "poll", EventCode.NONE.name),
    (DELIVERED, "end", NOT_RESOLVED),
    (DELIVERED, "return", [7]),
    (DELIVERED, "cancel", [CANCELLED]),
    (DELIVERED, "poll", EventCode.NONE.name),
    (RETURNED, "end", [7]),
    (RETURNED, "return", RESOLVED),
    (RETURNED, "cancel", NOT_DELIVERED),
    (RETURNED, "poll", EventCode.NONE.name),
    (ACKNOWLEDGED, "end", [CANCELLED]),
    (ACKNOWLEDGED, "return", RESOLVED),
    (ACKNOWLEDGED, "cancel", NOT_DELIVERED),
    (ACKNOWLEDGED, "poll", EventCode.NONE.name),
]


@pytest.mark.parametrize(("state", "operation", "outcome"), TABLE)
@pytest.mark.parametrize("requested_again", [False, True])
def test_task(state: str, operation: str, outcome: list[Any] | str, requested_again: bool) -> None:
    """A caller that asks for the cancellation again, as a host that is cancelled twice does, changes nothing."""
    world = World()
    guest = world.guest()
    set_index = guest.set_new()()

    def body() -> Core:
        yield guest.yield_()  # the caller has to have its way to cancel
        if state in (PENDING, DELIVERED, ACKNOWLEDGED):
            caller.cancel()
        if state in (DELIVERED, ACKNOWLEDGED):
            assert guest.thread().task.deliver_pending_cancel(True)  # as between two callbacks
        if state == RETURNED:
            yield guest.task_return(7, result=U32)
        if state == ACKNOWLEDGED:
            yield guest.task_cancel()
        assert guest.thread().task.state is STATES[state]
        if requested_again and state != STARTED:
            caller.cancel()
        match operation:
            case "return":
                yield guest.task_return(7, result=U32)
            case "cancel":
                yield guest.task_cancel()
            case "poll":
                world.log.append(EventCode((yield guest.set_poll(set_index))).name)

    caller = HostCaller(guest.lift(body, (), U32))
    world.store.tick(caller.begin)
    if operation == "poll":
        assert world.log == [outcome]
    elif isinstance(outcome, str):
        assert outcome in world.trap()
    else:
        assert caller.results == outcome
        assert world.store.trap is None

"""Subtasks: calls of imports, sync and async, and their cancellation (CanonicalABI.md, "canon lower")."""

from __future__ import annotations

from typing import Any

import pytest
from runtime_fakes import BYTES, U32, Core, Guest, HostImport, World

from p3host.errors import Trap
from p3host.runtime import canon
from p3host.runtime.resource import Resource, ResourceHandle
from p3host.runtime.stream import BLOCKED
from p3host.runtime.task import CANCELLED, Subtask, SubtaskState
from p3host.types import BorrowType, OwnType, ResourceType, TupleType

STARTING, STARTED, RETURNED, CANCELLED_BEFORE_STARTED, CANCELLED_BEFORE_RETURNED = range(5)
SUBTASK = 1


@pytest.fixture
def world() -> World:
    return World()


def stackful(guest: Guest, body: Any) -> Any:
    def core() -> Core:
        yield from body()
        yield guest.task_return()

    return guest.lift(core)


# Sync lowers


def test_a_sync_lower_of_a_callee_that_answers_at_once_does_not_block(world: World) -> None:
    guest = world.guest()
    double = guest.lower(HostImport(world.store, answer=8), (U32,), U32)

    def body() -> Core:
        return (yield double(4))

    assert world.call(guest.lift(body, (), U32, abi="sync")).results == [8]


def test_a_sync_lower_blocks_its_caller_until_the_callee_has_resolved(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    call = guest.lower(gate, (U32,), U32)

    def body() -> Core:
        return (yield call(4))

    caller = world.call(guest.lift(body, (), U32, abi="sync"))
    assert gate.args == [(4,)]
    assert caller.results == []
    gate.resolve(9)
    assert caller.results == [9]


def test_arguments_and_results_in_memory_have_their_pointers(world: World) -> None:
    guest = world.guest()
    pair = TupleType((U32, U32))
    call = guest.lower(HostImport(world.store, answer=(6, 7)), (U32,) * 5, pair, is_async=True)
    for index in range(5):
        guest.memory.data[16 + 4 * index] = index

    def body() -> Core:
        world.log.append((yield call(16, 64)))

    world.call(stackful(guest, body))
    assert world.log == [RETURNED]
    assert [guest.memory.u32(64), guest.memory.u32(68)] == [6, 7]


def test_a_host_function_that_fails_traps_its_sync_caller_with_the_cause(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    call = guest.lower(gate, name="fetch")

    def body() -> Core:
        yield call()

    world.call(guest.lift(body, abi="sync"))
    gate.fail(KeyError("missing"))
    assert "'fetch' raised KeyError" in world.trap()
    assert world.store.trap is not None
    assert isinstance(world.store.trap.__cause__, KeyError)


def test_a_host_function_that_fails_traps_its_async_caller(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    call = guest.lower(gate, is_async=True, name="fetch")

    def body() -> Core:
        yield call()
        yield guest.yield_()

    world.call(stackful(guest, body))
    gate.fail(OSError("gone"))
    assert "'fetch' raised OSError" in world.trap()


# Async lowers


def test_an_async_lower_that_returns_at_once_takes_no_handle(world: World) -> None:
    guest = world.guest()
    call = guest.lower(HostImport(world.store, answer=3), (), U32, is_async=True)

    def body() -> Core:
        world.log.append((yield call(32)))

    world.call(stackful(guest, body))
    assert world.log == [RETURNED]
    assert guest.memory.u32(32) == 3
    assert len(guest.inst.handles) == 0


def test_an_async_lower_gives_the_state_and_the_handle_then_an_event(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    call = guest.lower(gate, (), U32, is_async=True)

    def body() -> Core:
        packed = yield call(32)
        set_index = yield guest.set_new()
        yield guest.join(packed >> 4, set_index)
        code = yield guest.set_wait(set_index, 8)
        world.log.append((packed & 0xF, code, guest.memory.u32(8) == packed >> 4, guest.memory.u32(12)))
        yield guest.subtask_drop(packed >> 4)
        yield guest.set_drop(set_index)

    world.call(stackful(guest, body))
    gate.resolve(77)
    assert world.log == [(STARTED, SUBTASK, True, RETURNED)]
    assert guest.memory.u32(32) == 77
    assert len(guest.inst.handles) == 0


def test_a_callee_that_was_not_let_in_is_starting_and_then_tells_the_last_state_only(world: World) -> None:
    guest, callee = world.guest(), world.guest("callee")
    canon.canon_backpressure_inc(callee.inst)
    call = guest.lower(callee.lift(lambda: None, abi="sync"), is_async=True)

    def body() -> Core:
        packed = yield call()
        world.log.append(packed & 0xF)
        canon.canon_backpressure_dec(callee.inst)
        yield guest.yield_()
        yield guest.yield_()
        set_index = yield guest.set_new()
        yield guest.join(packed >> 4, set_index)
        yield guest.set_wait(set_index, 8)
        world.log.append(guest.memory.u32(12))

    world.call(stackful(guest, body))
    assert world.log == [STARTING, RETURNED]


# Dropping


@pytest.mark.parametrize(
    ("state", "delivered", "message"),
    [
        ("started", False, "not yet resolved"),
        ("returned", False, "not yet resolved"),
        ("returned", True, None),
    ],
)
def test_subtask_drop(world: World, state: str, delivered: bool, message: str | None) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    call = guest.lower(gate, is_async=True)

    def body() -> Core:
        packed = yield call()
        if state == "returned":
            world.store.post(None, lambda: gate.calls[0].on_resolve(None))
            yield guest.yield_()
        if delivered:
            set_index = yield guest.set_new()
            yield guest.join(packed >> 4, set_index)
            yield guest.set_wait(set_index)
        yield guest.subtask_drop(packed >> 4)

    caller = world.call(stackful(guest, body))
    if message is None:
        assert caller.results == [None]
    else:
        assert message in world.trap()


# Cancelling


@pytest.mark.parametrize("is_async", [False, True])
def test_cancelling_a_host_function_resolves_when_it_has_ended(world: World, is_async: bool) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    call = guest.lower(gate, is_async=True)

    def body() -> Core:
        index = (yield call()) >> 4
        answer = yield guest.subtask_cancel(index, is_async)
        world.log.append(answer)
        if answer == BLOCKED:
            set_index = yield guest.set_new()
            yield guest.join(index, set_index)
            yield guest.set_wait(set_index, 8)
            world.log.append(guest.memory.u32(12))
        yield guest.subtask_drop(index)

    caller = world.call(stackful(guest, body))
    assert gate.cancelled == gate.calls
    gate.resolve(CANCELLED)
    assert world.log == ([BLOCKED] if is_async else []) + [CANCELLED_BEFORE_RETURNED]
    assert caller.results == [None]


def test_a_cancelled_host_function_may_still_return(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    call = guest.lower(gate, is_async=True)

    def body() -> Core:
        index = (yield call()) >> 4
        world.log.append((yield guest.subtask_cancel(index)))

    world.call(stackful(guest, body))
    gate.resolve()
    assert world.log == [RETURNED]


def test_cancelling_a_callee_that_was_not_let_in_answers_at_once(world: World) -> None:
    guest, callee = world.guest(), world.guest("callee")
    canon.canon_backpressure_inc(callee.inst)
    call = guest.lower(callee.lift(lambda: None, abi="sync"), is_async=True)

    def body() -> Core:
        index = (yield call()) >> 4
        world.log.append((yield guest.subtask_cancel(index)))
        yield guest.subtask_drop(index)

    caller = world.call(stackful(guest, body))
    assert world.log == [CANCELLED_BEFORE_STARTED]
    assert caller.results == [None]
    assert callee.inst.num_waiting_to_enter == 0


def test_cancelling_a_guest_that_acknowledges_answers_at_once(world: World) -> None:
    guest, callee = world.guest(), world.guest("callee")

    def waits() -> Core:
        return 2 | (yield callee.set_new()) << 4

    def callback(*event: int) -> Core:
        yield callee.task_cancel()
        return 0

    call = guest.lower(callee.lift(waits, callback=callback), is_async=True)

    def body() -> Core:
        index = (yield call()) >> 4
        world.log.append((yield guest.subtask_cancel(index)))

    world.call(stackful(guest, body))
    assert world.log == [CANCELLED_BEFORE_RETURNED]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["cancel async", "cancel async"], "called twice"),
        (["resolve", "wait", "cancel"], "after the subtask's resolution was delivered"),
        (["join", "cancel"], "used synchronously while added to a waitable set"),
        (["cancel a stream"], "is no subtask"),
        (["cancel nothing"], "unknown handle index 99"),
        (["drop a stream"], "is no subtask"),
    ],
)
def test_cancelling_or_dropping_the_wrong_thing_traps(world: World, steps: list[str], message: str) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    call = guest.lower(gate, is_async=True)

    def body() -> Core:
        index = (yield call()) >> 4
        set_index = yield guest.set_new()
        readable, _ = yield guest.new(BYTES)
        for step in steps:
            match step:
                case "cancel async":
                    yield guest.subtask_cancel(index, True)
                case "cancel":
                    yield guest.subtask_cancel(index)
                case "resolve":
                    world.store.post(None, lambda: gate.calls[0].on_resolve(None))
                    yield guest.yield_()
                case "wait":
                    yield guest.join(index, set_index)
                    yield guest.set_wait(set_index)
                    yield guest.join(index, 0)
                case "join":
                    yield guest.join(index, set_index)
                case "cancel a stream":
                    yield guest.subtask_cancel(readable)
                case "cancel nothing":
                    yield guest.subtask_cancel(99)
                case "drop a stream":
                    yield guest.subtask_drop(readable)

    world.call(stackful(guest, body))
    assert message in world.trap()


def test_cancelling_one_that_has_returned_delivers_that(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    call = guest.lower(gate, is_async=True)

    def body() -> Core:
        index = (yield call()) >> 4
        world.store.post(None, lambda: gate.calls[0].on_resolve(None))
        yield guest.yield_()
        world.log.append((yield guest.subtask_cancel(index)))
        yield guest.subtask_drop(index)

    caller = world.call(stackful(guest, body))
    assert world.log == [RETURNED]
    assert gate.cancelled == []
    assert caller.results == [None]


# Resources during a call


def lend(world: World, is_async: bool) -> tuple[Guest, HostImport, ResourceHandle, Any]:
    guest, gate = world.guest(), HostImport(world.store)
    runtime, static = guest.resource()
    index = canon.canon_resource_new(guest.inst, runtime, 5)
    call = guest.lower(gate, (BorrowType(static),), is_async=is_async)
    handle = guest.inst.handles.get(index)
    assert isinstance(handle, ResourceHandle)

    def body() -> Core:
        packed = yield call(index)
        if is_async:
            set_index = yield guest.set_new()
            yield guest.join(packed >> 4, set_index)
            yield guest.set_wait(set_index)

    world.call(stackful(guest, body))
    return guest, gate, handle, (runtime, index)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_handle_is_lent_until_the_resolution_is_delivered(world: World, is_async: bool) -> None:
    guest, gate, handle, (runtime, index) = lend(world, is_async)
    assert handle.num_lends == 1
    with pytest.raises(Trap, match="lent out"):
        canon.take_for_drop(guest.inst, runtime, index)
    with pytest.raises(Trap, match="lent out"):
        guest.options().lift_own(index, OwnType(static_of(world, runtime)))
    gate.resolve()
    assert handle.num_lends == 0


def static_of(world: World, runtime: Any) -> Any:
    return ResourceType("r", world.store.resources.index(runtime))


def test_a_borrow_is_dead_for_the_host_after_the_call(world: World) -> None:
    _, gate, _, _ = lend(world, False)
    ((borrowed,),) = gate.args
    assert isinstance(borrowed, Resource)
    assert borrowed.alive
    gate.resolve()
    assert not borrowed.alive


# Limits


def test_subtasks_count_against_the_limit_of_handles() -> None:
    world = World(max_handles=3)
    guest, gate = world.guest(), HostImport(world.store)
    call = guest.lower(gate, is_async=True)

    def body() -> Core:
        for _ in range(4):
            yield call()

    world.call(stackful(guest, body))
    assert "the handle table is full" in world.trap()
    assert sum(isinstance(entry, Subtask) for entry in guest.inst.handles) == 3


def test_the_states_have_the_numbers_of_the_specification() -> None:
    assert [state.value for state in SubtaskState] == [0, 1, 2, 3, 4]

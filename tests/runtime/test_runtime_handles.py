"""Handle tables, resources, error contexts, and what may not be called from realloc and post-return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from runtime_fakes import ABI, BYTE, BYTES, THREAD_START, Core, FakeTable, Guest, HostImport, World

from p3host.abi.lower import compile_store
from p3host.errors import Trap
from p3host.runtime import canon
from p3host.runtime.resource import Resource, RuntimeResource
from p3host.runtime.table import Table
from p3host.types import BorrowType, OwnType, PrimitiveType, ResourceType


@pytest.fixture
def world() -> World:
    return World()


# Tables


def test_the_index_freed_last_is_given_out_first() -> None:
    table: Table[str] = Table("handle")
    assert [table.add(name) for name in "abc"] == [1, 2, 3]
    table.remove(1)
    table.remove(3)
    assert [table.add(name) for name in "def"] == [3, 1, 4]
    assert list(table) == ["e", "b", "d", "f"]
    assert len(table) == 4


@pytest.mark.parametrize("index", [0, 2, 3, 0xFFFF_FFFF])
def test_an_index_that_nothing_has_traps(index: int) -> None:
    table: Table[str] = Table("handle")
    table.add("a")
    table.remove(table.add("b"))
    for operation in (table.get, table.remove):
        with pytest.raises(Trap, match="unknown handle index"):
            operation(index)


def test_a_full_table_traps_and_an_index_freed_can_be_used_again() -> None:
    table: Table[str] = Table("handle", limit=2)
    table.add("a")
    table.add("b")
    with pytest.raises(Trap, match="2 entries are in use"):
        table.add("c")
    table.remove(1)
    assert table.add("c") == 1


# Resources


def test_a_resource_has_the_representation_that_it_was_made_with(world: World) -> None:
    guest = world.guest()
    runtime, _ = guest.resource()
    index = canon.canon_resource_new(guest.inst, runtime, 0xFFFF_FFFF)
    assert canon.canon_resource_rep(guest.inst, runtime, index) == 0xFFFF_FFFF


@pytest.mark.parametrize(
    ("what", "message"),
    [("stream", "is no resource"), ("other resource", "wrong type"), ("nothing", "unknown"), ("dropped", "unknown")],
)
@pytest.mark.parametrize("operation", ["rep", "drop", "lift own", "lift borrow"])
def test_the_wrong_handle_traps(world: World, operation: str, what: str, message: str) -> None:
    guest = world.guest()
    runtime, static = guest.resource()
    other, _ = guest.resource("other")
    dropped = canon.canon_resource_new(guest.inst, runtime, 1)
    index = {
        "stream": guest.new(BYTES)()[0],
        "other resource": canon.canon_resource_new(guest.inst, other, 1),
        "nothing": 99,
        "dropped": dropped,
    }[what]
    guest.inst.handles.remove(dropped)
    operations: dict[str, Callable[[], Any]] = {
        "rep": lambda: canon.canon_resource_rep(guest.inst, runtime, index),
        "drop": lambda: canon.drop_host_resource(guest.inst, runtime, index),
        "lift own": lambda: guest.options().lift_own(index, OwnType(static)),
        "lift borrow": lambda: guest.options().lift_borrow(index, BorrowType(static)),
    }
    with pytest.raises(Trap, match=message):
        operations[operation]()


def call_drop(world: World, guest: Guest, runtime: RuntimeResource, index: int) -> Any:
    def body() -> Core:
        yield guest.resource_drop(runtime, index)
        world.log.append("dropped")

    return world.call(guest.lift(body, abi="sync", is_async=False))


def test_dropping_an_own_handle_runs_the_destructor_in_its_instance(world: World) -> None:
    owner, guest = world.guest("owner"), world.guest()
    runtime, static = owner.resource(destructor=lambda rep: world.log.append(rep))
    index = guest.options().lower_own(Resource(runtime, 6, own=True), OwnType(static))
    call_drop(world, guest, runtime, index)
    assert world.log == [6, "dropped"]
    assert len(guest.inst.handles) == 0


def test_a_destructor_that_blocks_traps(world: World) -> None:
    owner, guest = world.guest("owner"), world.guest()
    wait = owner.lower(HostImport(world.store))

    def destructor(rep: int) -> Core:
        yield wait()

    runtime, static = owner.resource(destructor=destructor)
    index = guest.options().lower_own(Resource(runtime, 6, own=True), OwnType(static))
    call_drop(world, guest, runtime, index)
    assert "cannot block" in world.trap()


@pytest.mark.parametrize("destructor", [None, lambda rep: None])
def test_dropping_a_resource_whose_instance_is_running_traps(world: World, destructor: Any) -> None:
    owner, guest = world.guest("owner"), world.guest()
    runtime, static = owner.resource(destructor=destructor)
    index = guest.options().lower_own(Resource(runtime, 6, own=True), OwnType(static))

    def drop() -> Core:
        yield guest.resource_drop(runtime, index)

    call = owner.lower(guest.lift(drop, abi="sync", is_async=False), async_type=False)

    def outer() -> Core:
        yield call()

    world.call(owner.lift(outer, abi="sync", is_async=False))
    assert "cannot enter component instance 'owner'" in world.trap()


def test_a_host_resource_that_is_dropped_is_given_back_to_the_host(world: World) -> None:
    guest = world.guest()
    dropped: list[object] = []
    runtime, static = guest.add_resource(RuntimeResource("file", None, drop=dropped.append))
    thing = object()
    options = guest.options()
    index = options.lower_own(thing, OwnType(static))
    assert options.lift_borrow(index, BorrowType(static)) is thing
    canon.drop_host_resource(guest.inst, runtime, index)
    assert dropped == [thing]


def test_a_borrow_that_is_dropped_gives_nothing_back(world: World) -> None:
    guest = world.guest()
    dropped: list[object] = []
    runtime, static = guest.add_resource(RuntimeResource("file", None, drop=dropped.append))

    def body(handle: int) -> Core:
        yield guest.resource_drop(runtime, handle)

    caller = world.call(guest.lift(body, (BorrowType(static),), abi="sync"), object())
    assert caller.results == [None]
    assert dropped == []


def test_a_borrow_for_the_instance_that_implements_it_is_its_representation(world: World) -> None:
    guest = world.guest()
    runtime, static = guest.resource()
    func = guest.lift(lambda rep: rep, (BorrowType(static),), PrimitiveType.U32, abi="sync")
    assert world.call(func, Resource(runtime, 44, own=True)).results == [44]
    assert len(guest.inst.handles) == 0


def test_a_borrowed_handle_is_not_passed_as_an_own(world: World) -> None:
    owner, guest = world.guest("owner"), world.guest()
    runtime, static = owner.resource()
    messages: list[str] = []

    def body(handle: int) -> None:
        with pytest.raises(Trap, match="as an own") as caught:
            guest.options().lift_own(handle, OwnType(static))
        messages.append(caught.value.message)
        canon.drop_host_resource(guest.inst, runtime, handle)

    assert world.call(guest.lift(body, (BorrowType(static),), abi="sync"), Resource(runtime, 1, True)).results == [None]
    assert messages


@pytest.mark.parametrize("change", ["given up", "borrowed", "lent", "of another type"])
def test_the_host_can_give_only_what_it_owns(world: World, change: str) -> None:
    owner, guest = world.guest("owner"), world.guest()
    runtime, static = owner.resource()
    other, _ = owner.resource("other")
    given = Resource(other if change == "of another type" else runtime, 1, own=change != "borrowed")
    given.alive = change != "given up"
    given.num_lends = int(change == "lent")
    with pytest.raises((TypeError, ValueError)):
        guest.options().lower_own(given, OwnType(static))
    assert len(guest.inst.handles) == 0


# Error contexts


def test_an_error_context_keeps_its_message(world: World) -> None:
    guest = world.guest()
    guest.memory.data[0:4] = b"oops"
    options = guest.options()
    index = canon.canon_error_context_new(options, ABI, 0, 4)
    store = compile_store(PrimitiveType.STRING, ABI)
    canon.canon_error_context_debug_message(options, ABI, store, index, 64)
    pointer, length = guest.memory.u32(64), guest.memory.u32(68)
    assert guest.memory.data[pointer : pointer + length] == b"oops"
    for wrong in (66, 4092, 1 << 31):
        with pytest.raises(Trap):
            canon.canon_error_context_debug_message(options, ABI, store, index, wrong)
    canon.canon_error_context_drop(guest.inst, index)
    with pytest.raises(Trap, match="unknown handle"):
        canon.canon_error_context_drop(guest.inst, index)


def test_what_is_no_error_context_traps(world: World) -> None:
    guest = world.guest()
    index = guest.set_new()()
    with pytest.raises(Trap, match="is no error context"):
        canon.canon_error_context_drop(guest.inst, index)
    with pytest.raises(Trap, match="is no error context"):
        guest.options().lift_error_context(index)


# Leaving


def built_ins(guest: Guest) -> dict[str, Callable[[], Any]]:
    """A call of every built-in. None is right in any other way, so each would trap or fail if it went further."""
    inst, options = guest.inst, guest.options()
    runtime = RuntimeResource("r", inst)
    threads = {
        name: guest.switch(name, 99)
        for name in ("suspend_then_resume", "yield_then_resume", "suspend_then_promote", "yield_then_promote")
    }
    copies = {
        f"{operation} {t}": made
        for t in (BYTES, BYTE)
        for operation, made in (
            ("read", guest.read(t, 99, 0)),
            ("write", guest.write(t, 99, 0)),
            ("sync read", guest.read(t, 99, 0, is_async=False)),
            ("cancel read", guest.cancel_read(t, 99)),
            ("cancel write", guest.cancel_write(t, 99)),
            ("drop readable", guest.drop_readable(t, 99)),
            ("drop writable", guest.drop_writable(t, 99)),
            ("new", guest.new(t)),
        )
    }
    return {
        "sync lower": guest.lower(HostImport(guest.store))(),
        "async lower": guest.lower(HostImport(guest.store), is_async=True)(),
        "resource.new": lambda: canon.canon_resource_new(inst, runtime, 1),
        "resource.drop": guest.resource_drop(runtime, 99),
        "task.return": guest.task_return(),
        "task.cancel": guest.task_cancel(),
        "subtask.cancel": guest.subtask_cancel(99),
        "subtask.drop": guest.subtask_drop(99),
        "waitable-set.new": guest.set_new(),
        "waitable-set.wait": guest.set_wait(99),
        "waitable-set.poll": guest.set_poll(99),
        "waitable-set.drop": guest.set_drop(99),
        "waitable.join": guest.join(99, 0),
        "error-context.new": lambda: canon.canon_error_context_new(options, ABI, 0, 0),
        "error-context.drop": lambda: canon.canon_error_context_drop(inst, 99),
        "error-context.debug-message": lambda: canon.canon_error_context_debug_message(options, ABI, None, 99, 0),
        "thread.index": lambda: canon.canon_thread_index(guest.thread()),
        "thread.new-indirect": lambda: canon.canon_thread_new_indirect(
            guest.thread(), FakeTable(None), THREAD_START, 0, 0
        ),
        "thread.resume-later": lambda: canon.canon_thread_resume_later(guest.thread(), 99),
        "thread.suspend": guest.suspend(),
        "thread.yield": guest.yield_(),
        **threads,
        **copies,
    }


@pytest.mark.parametrize("name", list(built_ins(World().guest())))
@pytest.mark.parametrize("place", ["realloc", "post-return"])
def test_no_built_in_that_leaves_may_be_called_from_realloc_or_post_return(world: World, place: str, name: str) -> None:
    guest = world.guest()
    calls = built_ins(guest)

    def leaves(*args: int) -> Core:
        yield calls[name]

    if place == "realloc":
        guest.realloc.body = leaves
        world.call(guest.lift(lambda *flat: None, (PrimitiveType.STRING,), abi="sync"), "text")
    else:
        world.call(guest.lift(lambda: None, abi="sync", post_return=leaves))
    assert "cannot leave component instance 'guest'" in world.trap()


def test_what_stays_inside_may_be_called_from_realloc(world: World) -> None:
    guest = world.guest()
    runtime, _ = guest.resource()
    index = canon.canon_resource_new(guest.inst, runtime, 12)

    def realloc(*args: int) -> Core:
        yield lambda: canon.canon_backpressure_inc(guest.inst)
        yield lambda: canon.canon_backpressure_dec(guest.inst)
        yield lambda: canon.canon_context_set(guest.thread(), 0, 1)
        world.log.append((yield lambda: canon.canon_resource_rep(guest.inst, runtime, index)))
        return 64

    guest.realloc.body = realloc
    func = guest.lift(lambda *flat: None, (PrimitiveType.STRING,), abi="sync")
    assert world.call(func, "text").results == [None]
    assert world.log == [12]


def test_static_types_name_their_place_in_the_store(world: World) -> None:
    guest = world.guest()
    runtime, static = guest.resource("file")
    assert isinstance(static, ResourceType)
    assert world.store.resources[static.slot] is runtime

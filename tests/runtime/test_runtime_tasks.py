"""Tasks: how they enter, run and return (CanonicalABI.md, "Tasks" and "canon lift")."""

from __future__ import annotations

from typing import Any

import pytest
from runtime_fakes import (
    BYTES,
    PREEMPT,
    U8,
    U32,
    Core,
    HostCaller,
    HostImport,
    World,
    blocker,
)

from p3host.errors import Trap
from p3host.runtime import canon
from p3host.runtime.options import CanonicalOptions
from p3host.runtime.resource import Resource
from p3host.types import BorrowType, PrimitiveType

EXIT, YIELD, WAIT = 0, 1, 2
NO_EVENT, TASK_CANCELLED = (0, 0, 0), (6, 0, 0)


@pytest.fixture
def world() -> World:
    return World()


# Returning


def test_a_sync_lift_returns_what_its_core_function_returns(world: World) -> None:
    add = world.guest().lift(lambda a, b: a + b, (U32, U32), U32, abi="sync", is_async=False)
    assert world.call(add, 2, 3).results == [5]


def test_post_return_gets_the_core_result_and_may_not_leave(world: World) -> None:
    guest = world.guest()
    seen: list[Any] = []
    func = guest.lift(
        lambda: 7,
        (),
        U32,
        abi="sync",
        is_async=False,
        post_return=lambda *flat: seen.append((flat, guest.inst.may_leave)),
    )
    assert world.call(func).results == [7]
    assert seen == [((7,), False)]
    assert guest.inst.may_leave


def test_a_trap_in_post_return_reaches_the_caller(world: World) -> None:
    def post_return(value: int) -> None:
        raise Trap("post-return")

    caller = world.call(world.guest().lift(lambda: 7, (), U32, abi="sync", post_return=post_return))
    assert caller.results == []
    assert world.trap() == "post-return"


def test_post_return_runs_in_the_thread_of_its_call(world: World) -> None:
    guest = world.guest()
    seen: list[int] = []

    def body() -> int:
        canon.canon_context_set(guest.thread(), 0, 42)
        return 7

    func = guest.lift(
        body, (), U32, abi="sync", post_return=lambda _: seen.append(canon.canon_context_get(guest.thread(), 0, 0xFF))
    )
    world.call(func)
    assert seen == [42]


def test_realloc_runs_in_a_thread_of_its_own(world: World) -> None:
    guest = world.guest()
    seen: list[int] = []

    def realloc(*args: int) -> int:
        seen.append(canon.canon_context_get(guest.thread(), 0, 0xFF))
        canon.canon_context_set(guest.thread(), 0, 9)
        assert not guest.inst.may_leave
        return 64

    def body(pointer: int, length: int) -> None:
        seen.append(canon.canon_context_get(guest.thread(), 0, 0xFF))

    guest.realloc.body = realloc
    world.call(guest.lift(body, (PrimitiveType.STRING,), abi="sync"), "x")
    assert seen == [0, 0]


def test_a_stackful_task_returns_before_it_ends(world: World) -> None:
    guest = world.guest()
    results_then: list[Any] = []

    def body() -> Core:
        yield guest.task_return(9, result=U32)
        results_then.extend(caller.results)

    caller = HostCaller(guest.lift(body, (), U32))
    world.store.tick(caller.begin)
    assert results_then == [9]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "ended without calling task.return"),
        (["return", "return"], "task.return called after the task was resolved"),
        (["return", "cancel"], "task.cancel called without a cancellation delivered"),
        (["cancel"], "task.cancel called without a cancellation delivered"),
        (["return wrong type"], "invalid task.return signature"),
        (["return wrong encoding"], "invalid task.return options"),
        (["return wrong memory"], "invalid task.return options"),
    ],
)
def test_a_task_that_resolves_wrongly_traps(world: World, steps: list[str], message: str) -> None:
    guest, other = world.guest(), world.guest("other")
    made = {
        "return": lambda: guest.task_return(1, result=U32),
        "cancel": guest.task_cancel,
        "return wrong type": lambda: guest.task_return(1, result=U8),
        "return wrong encoding": lambda: guest.task_return(1, result=U32, string_encoding="utf16"),
        "return wrong memory": lambda: (
            lambda: canon.canon_task_return(guest.thread(), other.options(), U32, lambda context, flat: 1, (1,))
        ),
    }

    def body() -> Core:
        for step in steps:
            yield made[step]()

    world.call(guest.lift(body, (), U32))
    assert message in world.trap()


def test_task_return_may_leave_out_a_memory_that_its_lift_has(world: World) -> None:
    guest = world.guest()

    def body() -> Core:
        yield lambda: canon.canon_task_return(
            guest.thread(), CanonicalOptions(guest.inst), U32, lambda context, flat: 1, (1,)
        )

    assert world.call(guest.lift(body, (), U32)).results == [1]


@pytest.mark.parametrize("built_in", ["task_return", "task_cancel"])
def test_a_sync_lift_may_call_neither_task_return_nor_task_cancel(world: World, built_in: str) -> None:
    guest = world.guest()

    def body() -> Core:
        yield getattr(guest, built_in)()

    world.call(guest.lift(body, abi="sync"))
    assert "not lifted as async" in world.trap()


# Callbacks


def test_a_callback_gets_an_empty_event_after_a_yield(world: World) -> None:
    guest = world.guest()
    codes = iter([YIELD, YIELD, EXIT])

    def callback(*event: int) -> Core:
        world.log.append(event)
        code = next(codes)
        if code == EXIT:
            yield guest.task_return()
        return code

    assert world.call(guest.lift(lambda: YIELD, callback=callback)).results == [None]
    assert world.log == [NO_EVENT, NO_EVENT, NO_EVENT]


@pytest.mark.parametrize("code", range(3, 16))
def test_other_callback_codes_trap(world: World, code: int) -> None:
    world.call(world.guest().lift(lambda: code, callback=lambda *event: EXIT))
    assert "unsupported callback code" in world.trap()


@pytest.mark.parametrize("index", [0, 1, 2, 0xFFF_FFFF])
def test_waiting_for_what_is_no_waitable_set_traps(world: World, index: int) -> None:
    guest = world.guest()
    canon.canon_stream_new(guest.inst, BYTES)
    world.call(guest.lift(lambda: WAIT | index << 4, callback=lambda *event: EXIT))
    assert "index" in world.trap()


def test_the_index_of_an_exit_code_is_ignored(world: World) -> None:
    guest = world.guest()

    def body() -> Core:
        yield guest.task_return()
        return EXIT | 77 << 4

    assert world.call(guest.lift(body, callback=lambda *event: EXIT)).results == [None]
    assert world.store.trap is None
    assert guest.inst.exclusive_thread is None


# Entering


@pytest.mark.parametrize(
    ("first", "second", "enters"),
    [
        ("sync", "sync", False),
        ("sync", "callback", False),
        ("sync", "stackful", True),
        ("callback", "sync", False),
        ("callback", "callback", False),
        ("callback", "stackful", True),
        ("stackful", "sync", True),
        ("stackful", "callback", True),
        ("stackful", "stackful", True),
    ],
)
def test_only_tasks_that_need_the_stack_alone_keep_each_other_out(
    world: World, first: str, second: str, enters: bool
) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    callers = [world.call(blocker(world, guest, abi, abi, gate)) for abi in (first, second)]
    assert [caller.started for caller in callers] == [True, enters]
    for position in range(2):
        gate.resolve(position=position)
    assert [caller.results for caller in callers] == [[None], [None]]
    assert guest.inst.exclusive_thread is None
    assert guest.inst.num_waiting_to_enter == 0


def test_those_kept_out_enter_in_the_order_in_which_they_came(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    for name in "abcd":
        world.call(blocker(world, guest, name, "sync", gate))
    for position in range(4):
        gate.resolve(position=position)
    assert world.log == ["a in", "a out", "b in", "b out", "c in", "c out", "d in", "d out"]


def test_a_function_of_a_sync_type_enters_whoever_is_inside(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    guest.inst.backpressure = 1
    world.call(blocker(world, guest, "a", "sync", gate))
    sync = world.call(guest.lift(lambda: 1, (), U32, abi="sync", is_async=False))
    assert sync.results == [1]


@pytest.mark.parametrize("abi", ["sync", "callback", "stackful"])
def test_backpressure_keeps_async_tasks_out_until_it_ends(world: World, abi: str) -> None:
    guest = world.guest()
    canon.canon_backpressure_inc(guest.inst)
    canon.canon_backpressure_inc(guest.inst)
    callers = [world.call(blocker(world, guest, name, abi, HostImport(world.store))) for name in "ab"]
    world.store.tick(lambda: canon.canon_backpressure_dec(guest.inst))
    assert not any(caller.started for caller in callers)
    world.store.tick(lambda: canon.canon_backpressure_dec(guest.inst))
    assert callers[0].started
    assert world.log == (["a in", "b in"] if abi == "stackful" else ["a in"])


def test_one_that_comes_later_does_not_overtake_those_that_wait(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    canon.canon_backpressure_inc(guest.inst)
    world.call(blocker(world, guest, "a", "stackful", gate))
    late = HostCaller(blocker(world, guest, "b", "stackful", gate))

    def release_and_call() -> None:
        canon.canon_backpressure_dec(guest.inst)
        late.begin()

    world.store.tick(release_and_call)
    assert world.log == ["a in", "b in"]


def test_backpressure_counts_to_its_limit_and_not_below_zero(world: World) -> None:
    inst = world.guest().inst
    with pytest.raises(Trap, match="underflow"):
        canon.canon_backpressure_dec(inst)
    for _ in range(canon.MAX_BACKPRESSURE - 1):
        canon.canon_backpressure_inc(inst)
    with pytest.raises(Trap, match="overflow"):
        canon.canon_backpressure_inc(inst)


def test_one_that_is_woken_again_and_again_stands_in_the_queue_once(world: World) -> None:
    guest, gate = world.guest(), HostImport(world.store)
    set_index = guest.set_new()()
    readable, writable = guest.new(BYTES)()
    guest.join(readable, set_index)()

    def callback(*event: int) -> Core:
        yield guest.task_return()
        return EXIT

    waiting = world.call(guest.lift(lambda: WAIT | set_index << 4, callback=callback))
    world.call(blocker(world, guest, "a", "sync", gate))
    world.store.tick(guest.read(BYTES, readable, 0, 100))
    for _ in range(10):
        world.store.tick(guest.write(BYTES, writable, 200, 1))
    assert len(guest.inst.exclusive_queue) == 1
    gate.resolve()
    assert waiting.results == [None]


# Re-entrance


def test_a_call_back_into_an_instance_that_is_running_traps(world: World) -> None:
    first, second = world.guest("first"), world.guest("second")
    inner = first.lift(lambda: None, abi="sync", is_async=False, name="inner")
    to_inner = second.lower(inner, async_type=False)

    def middle() -> Core:
        yield to_inner()

    to_middle = first.lower(second.lift(middle, abi="sync", is_async=False), async_type=False)

    def outer() -> Core:
        yield to_middle()

    world.call(first.lift(outer, abi="sync", is_async=False))
    assert "cannot enter component instance 'first'" in world.trap()


def test_a_child_may_call_back_into_the_parent_that_it_lies_in(world: World) -> None:
    parent = world.guest("parent")
    child = world.guest("child", parent)
    to_inner = child.lower(parent.lift(lambda: 5, (), U32, abi="sync", is_async=False), (), U32, async_type=False)

    def middle() -> Core:
        return (yield to_inner())

    to_middle = parent.lower(child.lift(middle, (), U32, abi="sync", is_async=False), (), U32, async_type=False)

    def outer() -> Core:
        return (yield to_middle())

    assert world.call(parent.lift(outer, (), U32, abi="sync", is_async=False)).results == [5]
    assert parent.inst.may_enter
    assert child.inst.may_enter


# Blocking during a call of a sync type


def test_a_function_of_a_sync_type_that_blocks_alone_traps(world: World) -> None:
    guest = world.guest()
    call = guest.lower(HostImport(world.store))

    def body() -> Core:
        yield call()

    world.call(guest.lift(body, abi="sync", is_async=False))
    assert "cannot block" in world.trap()


def test_a_function_of_a_sync_type_may_block_while_another_thread_of_its_instance_is_ready(world: World) -> None:
    guest = world.guest()

    def other() -> Core:
        yield guest.task_return()
        for _ in range(3):
            world.log.append("other")
            yield guest.yield_()

    def body() -> Core:
        for _ in range(2):
            world.log.append("sync")
            yield guest.yield_()
        return 3

    yields = guest.lift(other, name="other")
    sync = guest.lift(body, (), U32, abi="sync", is_async=False)
    callers: list[Any] = []

    def both() -> None:
        for func in (yields, sync):
            callers.append(HostCaller(func))
            callers[-1].begin()

    world.store.tick(both)
    assert callers[1].results == [3]
    assert world.log[:3] == ["other", "sync", "other"]


@pytest.mark.parametrize("other", ["yields between callbacks", "yields in the middle", "was not let in yet"])
def test_no_thread_that_may_not_use_the_stack_goes_on_during_a_call_of_a_sync_type(world: World, other: str) -> None:
    guest = world.guest()

    def callback(*event: int) -> int:
        world.log.append("went on")
        return EXIT

    def begin() -> Core:
        if other == "was not let in yet":
            world.log.append("went on")
        yield guest.task_return()
        return YIELD

    def middle() -> Core:
        yield guest.yield_()
        world.log.append("went on")

    def suspends() -> Core:
        yield guest.suspend()

    match other:
        case "yields between callbacks":
            first = HostCaller(guest.lift(begin, callback=callback))
        case "yields in the middle":
            first = HostCaller(guest.lift(middle, abi="sync"))
        case _:
            first = HostCaller(guest.lift(begin))
            canon.canon_backpressure_inc(guest.inst)
    sync = HostCaller(guest.lift(suspends, abi="sync", is_async=False))

    def both() -> None:
        first.begin()
        if guest.inst.backpressure:
            canon.canon_backpressure_dec(guest.inst)
        sync.begin()

    world.store.tick(both)
    assert world.log == []
    assert "cannot block" in world.trap()


def test_a_function_of_a_sync_type_that_blocks_after_it_was_preempted_traps(world: World) -> None:
    guest = world.guest()

    def suspends() -> Core:
        yield PREEMPT
        yield guest.suspend()

    caller = HostCaller(guest.lift(suspends, abi="sync", is_async=False))
    caller.begin()
    world.store.tick()
    assert "cannot block" in world.trap()


# Arguments


def test_arguments_of_the_wrong_shape_fail_the_call_and_harm_nobody(world: World) -> None:
    guest = world.guest()
    func = guest.lift(lambda value: value, (U32,), U32, abi="sync")
    caller = world.call(func, "no number")
    assert isinstance(caller.failure, TypeError)
    assert world.store.trap is None
    assert world.call(func, 4).results == [4]


def test_a_borrowed_handle_that_is_kept_traps_at_the_end(world: World) -> None:
    host, guest = world.guest("host"), world.guest()
    runtime, static = host.resource()
    kept = guest.lift(lambda handle: None, (BorrowType(static),), abi="sync")
    world.call(kept, Resource(runtime, 1, own=True))
    assert "borrow handles still remain" in world.trap()

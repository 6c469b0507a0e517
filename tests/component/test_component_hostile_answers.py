"""Guests that answer a cancellation wrongly, and what others of their instance do to them while they wait."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint
from guest_text import load
from hostile_builtins import i32
from hostile_components import SET, call, hostile_component
from hostile_hosts import Host, assert_over
from hostile_rows import BORROW, RETURN
from hostile_table import BORROW_IS_LEFT, PREPARED

from p3host import Trap
from p3host.component import Component, Instance
from p3host.runtime.task import TaskState
from p3host.runtime.waitable import WaitableSet

pytestmark = pytest.mark.anyio

# What a callback does when it is told of a cancellation, and what the trap says. It was lent a file of the host's.
ANSWERS: dict[str, tuple[str, str | None]] = {
    "cancel": (f"{call('file-drop', BORROW)} (call $cancel)", None),
    "return": (f"{call('file-drop', BORROW)} {RETURN}", None),
    "cancel twice": (f"{call('file-drop', BORROW)} (call $cancel) (call $cancel)", "without a cancellation delivered"),
    "return after cancel": (f"{call('file-drop', BORROW)} (call $cancel) {RETURN}", "after the task was resolved"),
    "cancel after return": (f"{call('file-drop', BORROW)} {RETURN} (call $cancel)", "without a cancellation delivered"),
    "cancel with a borrow left": ("(call $cancel)", BORROW_IS_LEFT),
    "return with a borrow left": (RETURN, BORROW_IS_LEFT),
    "neither": (call("file-drop", BORROW), "without calling task.return or task.cancel"),
}
NUMBERS = {answer: number for number, answer in enumerate(ANSWERS)}


def answers_text() -> str:
    """Each answer waits for a set of its own, which `drop-set` drops. `deaf` waits for the host in the middle of its
    stack, so it can't be told of a cancellation."""
    code, exports = [], []
    for name, (answer, _) in zip((f"answer-{number}" for number in NUMBERS.values()), ANSWERS.values(), strict=True):
        code.append(f"""
          (func (export "{name}") (param i32) (result i32)
            (global.set $borrowed (local.get 0)) (global.set $set (call $set-new))
            (i32.or {i32(2)} (i32.shl {SET} {i32(4)})))
          (func (export "{name}-event") (param i32 i32 i32) (result i32) {answer} (i32.const 0))""")
        exports.append(f"""
          (func (export "{name}") async (param "file" (borrow $file))
            (canon lift (core func $main "{name}") async (callback (core func $main "{name}-event"))))""")
    code.append(f"""
      (func (export "drop-set") (call $set-drop {SET}))
      (func (export "deaf") {call("wait-sync")} (call $cancel))""")
    exports.append("""
      (func (export "drop-set") (canon lift (core func $main "drop-set")))
      (func (export "deaf") async (canon lift (core func $main "deaf") async))""")
    return hostile_component(code, exports)


def answers() -> Component:
    return load(answers_text())


async def until_it_waits(instance: Instance) -> None:
    """Until the guest has made the set that its callback waits for."""
    with anyio.fail_after(10):
        while not any(isinstance(entry, WaitableSet) for entry in instance.driver.store.instances[0].handles):
            await checkpoint()


async def until_cancellation_is_pending(instance: Instance) -> None:
    with anyio.fail_after(10):
        while not any(thread.task.state is TaskState.PENDING_CANCEL for thread in instance.driver.store.threads):
            await checkpoint()


async def begin(instance: Instance, host: Host) -> None:
    await instance.exports.prepare(host.file(), host.stream())


@pytest.mark.parametrize("answer", ANSWERS)
async def test_answer_to_a_cancellation(answer: str) -> None:
    says = ANSWERS[answer][1]
    host = Host()
    async with answers().instantiate(host.imports) as instance:
        await begin(instance, host)
        async with anyio.create_task_group() as group:
            group.start_soon(instance.exports[f"answer-{NUMBERS[answer]}"], host.file())
            await until_it_waits(instance)
            group.cancel_scope.cancel()
        if says is None:
            await instance.exports.fine()
            assert len(instance.driver.store.instances[0].handles) == len([*PREPARED, "waitable set"])
        else:
            with pytest.raises(Trap, match=f"after it trapped: .*{says}"):
                await instance.exports.fine()
            host.assert_closed()
    assert_over(instance, host)


async def test_task_cancel_before_the_cancellation_was_delivered_traps() -> None:
    begun, released = anyio.Event(), anyio.Event()

    async def wait(ms: int) -> int:
        if ms < 60_000:
            begun.set()
            await released.wait()
        else:
            await host.wait(ms)
        return ms

    host = Host()
    async with answers().instantiate({**host.imports, "wait": wait}) as instance:
        await begin(instance, host)

        async def call_deaf() -> None:
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                await instance.exports.deaf()

        scopes: list[anyio.CancelScope] = []
        async with anyio.create_task_group() as group:
            group.start_soon(call_deaf)
            await begun.wait()
            scopes[0].cancel()
            await until_cancellation_is_pending(instance)
            released.set()
        with pytest.raises(Trap, match=r"after it trapped: task\.cancel called without a cancellation delivered"):
            await instance.exports.fine()
    assert_over(instance, host)


async def test_set_that_a_callback_waits_for_cannot_be_dropped() -> None:
    host = Host()
    failures = []

    async def call_and_wait() -> None:
        with pytest.raises(Trap, match="that a thread waits for") as raised:
            await instance.exports.answer_0(host.file())
        failures.append(raised.value)

    async with answers().instantiate(host.imports) as instance:
        await begin(instance, host)
        async with anyio.create_task_group() as group:
            group.start_soon(call_and_wait)
            await until_it_waits(instance)
            with pytest.raises(Trap, match="that a thread waits for"):
                await instance.exports.drop_set()
        assert failures
    assert_over(instance, host)


# Built-ins that stand where a guest's own function is expected: exports, what each is called with, and what comes of it
STAND_INS: dict[str, tuple[str, list[tuple[str, tuple[int | str, ...], object]]]] = {
    "lifted": (
        """(core func $new (canon waitable-set.new)) (core func $drop (canon waitable-set.drop))
        (func (export "new") (result u32) (canon lift (core func $new)))
        (func (export "drop") (param "i" u32) (canon lift (core func $drop)))""",
        [("new", (), 1), ("drop", (1,), None), ("drop", (1,), "unknown handle index 1")],
    ),
    "lifted, and blocking": (
        """(core func $yield (canon thread.yield)) (core func $suspend (canon thread.suspend))
        (func (export "yield") (result u32) (canon lift (core func $yield)))
        (func (export "yield-async") async (result u32) (canon lift (core func $yield)))
        (func (export "suspend") (result u32) (canon lift (core func $suspend)))""",
        [("yield", (), 0), ("yield-async", (), 0), ("suspend", (), "cannot block")],
    ),
    "lifted async": (
        """(core func $return (canon task.return)) (core func $cancel (canon task.cancel))
        (func (export "return") async (canon lift (core func $return) async))
        (func (export "cancel") async (canon lift (core func $cancel) async))""",
        [("return", (), None), ("cancel", (), "without a cancellation delivered")],
    ),
    "callback": (
        """(type $e (stream)) (core func $read (canon stream.read $e async))
        (core module $M (func (export "yield") (result i32) (i32.const 1))) (core instance $m (instantiate $M))
        (func (export "f") async (canon lift (core func $m "yield") async (callback (core func $read))))""",
        [("f", (), "unknown handle index 0")],
    ),
    "post-return": (
        """(core func $new (canon waitable-set.new)) (core func $drop (canon waitable-set.drop))
        (func (export "new") (result u32) (canon lift (core func $new) (post-return (core func $drop))))""",
        [("new", (), "cannot leave")],
    ),
    "realloc": (
        """(import "four" (func $four (param "a" u32) (param "b" u32) (param "c" u32) (param "d" u32) (result u32)))
        (core func $four (canon lower (func $four)))
        (core module $M (memory (export "memory") 1) (func (export "f") (param i32 i32)))
        (core instance $m (instantiate $M))
        (func (export "f") (param "s" string)
          (canon lift (core func $m "f") (memory (core memory $m "memory")) (realloc (core func $four))))""",
        [("f", ("text",), "cannot leave")],
    ),
    "destructor": (
        """(core func $drop (canon waitable-set.drop)) (core func $new (canon waitable-set.new))
        (type $r (resource (rep i32) (dtor (core func $drop))))
        (core func $r-new (canon resource.new $r)) (core func $r-drop (canon resource.drop $r))
        (func (export "new") (result u32) (canon lift (core func $new)))
        (func (export "make") (param "rep" u32) (result u32) (canon lift (core func $r-new)))
        (func (export "drop") (param "i" u32) (canon lift (core func $r-drop)))""",
        [
            ("new", (), 1),
            ("make", (1,), 2),
            ("drop", (2,), None),
            ("make", (9,), 1),
            ("drop", (1,), "unknown handle index 9"),
        ],
    ),
    "start function": (
        """(core func $inc (canon backpressure.inc)) (core func $dec (canon backpressure.dec))
        (core module $M (import "" "inc" (func $inc)) (start $inc))
        (core instance (instantiate $M (with "" (instance (export "inc" (func $inc))))))
        (func (export "dec") (canon lift (core func $dec)))""",
        [("dec", (), None), ("dec", (), "underflow")],
    ),
}


@pytest.mark.parametrize("place", STAND_INS)
async def test_built_in_in_the_place_of_a_function(place: str) -> None:
    text, calls = STAND_INS[place]
    imports = {"four": lambda a, b, c, d: 0} if place == "realloc" else {}
    async with load(f"(component {text})").instantiate(imports) as instance:
        for name, args, outcome in calls:
            if isinstance(outcome, str):
                with pytest.raises(Trap, match=outcome):
                    await instance.exports[name](*args)
            else:
                assert await instance.exports[name](*args) == outcome
        assert len(instance.driver.store.instances[0].threads) == 0
    assert not instance.machine.unfinished

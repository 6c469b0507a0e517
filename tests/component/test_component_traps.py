"""Guests that break down: the error says what happened, and nothing else is harmed."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from guest_text import behaviours, callback_export, component_text, let_others_run, load, stackful_export, sync_export

from p3host import Deadlock, MachineLimits, Trap

pytestmark = pytest.mark.anyio


async def wait(ms: int) -> int:
    await anyio.sleep(ms / 1000)
    return ms


async def test_trap_reaches_every_pending_caller_with_an_error_of_its_own() -> None:
    failures: list[Trap] = []

    async def call(function: Any) -> None:
        with pytest.raises(Trap, match="unreachable") as raised:
            await function(10_000)
        failures.append(raised.value)

    async with behaviours().instantiate({"wait": wait}) as instance:
        exports = instance.exports
        async with anyio.create_task_group() as group:
            for function in (exports.nap, exports.nap, exports.nap_stackful, exports.nap_anyway):
                group.start_soon(call, function)
            await let_others_run()
            with pytest.raises(Trap, match="unreachable") as raised:
                await exports.trap()
            failures.append(raised.value)
        assert len({id(failure) for failure in failures}) == 5
        assert all("Main!" in failure.backtrace for failure in failures)
        for _ in range(2):
            with pytest.raises(Trap, match=r"cannot enter.*unreachable") as later:
                await exports.add(1, 2)
            failures.append(later.value)
        assert len({id(failure) for failure in failures}) == 7


async def test_other_instances_live_on() -> None:
    async with (
        behaviours().instantiate({"wait": wait}) as one,
        behaviours().instantiate({"wait": wait}) as other,
        anyio.create_task_group() as group,
    ):
        group.start_soon(other.exports.nap, 20)
        with pytest.raises(Trap):
            await one.exports.trap()
        assert await other.exports.nap(5) == 5


async def test_recursion_without_end_is_a_trap() -> None:
    async with behaviours().instantiate({"wait": wait}) as instance:
        with pytest.raises(Trap, match="call stack exhausted") as raised:
            await instance.exports.recurse()
        assert raised.value.backtrace.count("Main!recurse") > 5


async def test_memory_beyond_its_limit_is_refused_to_the_guest() -> None:
    async with behaviours().instantiate({"wait": wait}, limits=MachineLimits(memory_bytes=8 * 65536)) as instance:
        assert await instance.exports.grow(3) == 4
        assert await instance.exports.grow(2) == -1
        assert await instance.exports.grow(1) == 7


async def test_memory_that_is_too_large_from_the_start_traps() -> None:
    with pytest.raises(Trap, match="memory"):
        async with behaviours().instantiate({"wait": wait}, limits=MachineLimits(memory_bytes=65536)):
            pass


async def test_handles_are_limited() -> None:
    text = component_text(
        canons={"set-new": ("waitable-set.new", "(result i32)")},
        code='(func (export "leak") (loop $on (drop (call $set-new)) (br $on)))',
        exports=sync_export("leak"),
    )
    async with load(text).instantiate(max_handles=1000) as instance:
        with pytest.raises(Trap, match="1000"):
            await instance.exports.leak()


REALLOC_CALLS = """(component
  (import "wait" (func $wait async))
  (core func $wait (canon lower (func $wait)))
  (core module $M
    (import "" "wait" (func $wait))
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (call $wait) (i32.const 0))
    (func (export "take") (param i32 i32)))
  (core instance $m (instantiate $M (with "" (instance (export "wait" (func $wait))))))
  (func (export "take") (param "s" string)
    (canon lift (core func $m "take") (memory (core memory $m "memory")) (realloc (core func $m "realloc")))))"""


@pytest.mark.parametrize("is_async", [False, True])
async def test_realloc_that_calls_an_import_traps(is_async: bool) -> None:
    async def wait_a_while() -> None:
        await anyio.sleep(10)

    calls = []
    imports = {"wait": wait_a_while if is_async else lambda: calls.append(1)}
    async with load(REALLOC_CALLS).instantiate(imports) as instance:
        with pytest.raises(Trap, match="realloc"):
            await instance.exports.take("text")
    assert not calls


async def test_realloc_that_never_returns_traps() -> None:
    text = REALLOC_CALLS.replace("(call $wait) (i32.const 0)", "(loop $on (br $on)) (unreachable)")
    async with load(text).instantiate({"wait": lambda: None}) as instance:
        with pytest.raises(Trap, match="processor time"):
            await instance.exports.take("text")


@pytest.mark.parametrize("pointer", [-1, 65536, 3])
async def test_realloc_that_answers_nonsense_traps(pointer: int) -> None:
    text = REALLOC_CALLS.replace("(call $wait) (i32.const 0)", f"(i32.const {pointer})")
    text = (
        text.replace('"s" string', '"s" (list u32)')
        .replace('(func (export "take") (param "s"', '(type $l (list u32)) (func (export "take") (param "s"')
        .replace("(list u32))\n    (canon", "$l)\n    (canon")
    )
    async with load(text).instantiate({"wait": lambda: None}) as instance:
        with pytest.raises(Trap, match=r"realloc|bounds|align"):
            await instance.exports.take([1, 2, 3])


START = """(component
  (import "wait" (func $wait{is_async}))
  (core func $wait (canon lower (func $wait)))
  (core module $M (import "" "wait" (func $wait)) (func $start {body}) (start $start) (func (export "nop")))
  (core instance $m (instantiate $M (with "" (instance (export "wait" (func $wait))))))
  (func (export "nop") (canon lift (core func $m "nop"))))"""


async def test_start_function_that_traps_fails_the_instantiation() -> None:
    text = START.format(is_async="", body="(unreachable)")
    with pytest.raises(Trap, match="unreachable"):
        async with load(text).instantiate({"wait": lambda: None}):
            pytest.fail("the instance must not be entered")


async def test_start_function_that_blocks_traps() -> None:
    async def wait_a_while() -> None:
        await anyio.sleep(10)

    text = START.format(is_async=" async", body="(call $wait)")
    with pytest.raises(Trap, match="cannot block"):
        async with load(text).instantiate({"wait": wait_a_while}):
            pytest.fail("the instance must not be entered")


async def test_start_function_may_call_the_host_and_have_it_wait() -> None:
    calls = []

    async def wait_a_while() -> None:
        await anyio.sleep(0.002)
        calls.append(1)

    async with load(START.format(is_async="", body="(call $wait)")).instantiate({"wait": wait_a_while}) as instance:
        assert calls == [1]
        await instance.exports.nop()


async def test_start_function_that_spins_is_stopped_by_a_deadline() -> None:
    text = START.format(is_async="", body="(loop $on (br $on))")
    with anyio.move_on_after(0.05) as scope:
        async with load(text).instantiate({"wait": lambda: None}, grace_seconds=0.05):
            pytest.fail("the instance must not be entered")
    assert scope.cancelled_caught


async def test_host_function_of_the_start_function_that_raises_fails_the_instantiation() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(Trap, match="ValueError: no") as raised:
        async with load(START.format(is_async="", body="(call $wait)")).instantiate({"wait": fail}):
            pytest.fail("the instance must not be entered")
    assert isinstance(raised.value.__cause__, ValueError)


NO_RETURN = component_text(
    code="""
      (func (export "callback") (result i32) (i32.const 0))
      (func (export "callback-event") (param i32 i32 i32) (result i32) (unreachable))
      (func (export "stackful"))
      (func (export "code") (result i32) (i32.const 7))
      (func (export "code-event") (param i32 i32 i32) (result i32) (unreachable))
      (func (export "set") (result i32) (i32.const 0x12))
      (func (export "set-event") (param i32 i32 i32) (result i32) (unreachable))""",
    exports="\n".join(
        [callback_export(name, "", "u32") for name in ("callback", "code", "set")] + [stackful_export("stackful")]
    ),
)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("callback", "without calling task.return"),
        ("stackful", "without calling task.return"),
        ("code", "callback code 7"),
        ("set", "index 1"),
    ],
)
async def test_broken_task_traps(name: str, message: str) -> None:
    async with load(NO_RETURN).instantiate() as instance:
        with pytest.raises(Trap, match=message):
            await instance.exports[name]()


@pytest.mark.parametrize("name", ["forever", "forever-stackful"])
async def test_deadlock_is_reported_with_who_waits_for_what(name: str) -> None:
    async with behaviours().instantiate({"wait": wait}, detect_deadlock=True) as instance:
        with pytest.raises(Deadlock, match=f"(?s){name}.*waits for a waitable set"):
            await instance.exports[name]()


async def test_deadlock_is_no_matter_while_a_host_function_runs() -> None:
    results = []

    async def nap(ms: int) -> None:
        results.append(await instance.exports.nap(ms))

    async def forever() -> None:
        with pytest.raises(Deadlock):
            await instance.exports.forever()

    async with (
        behaviours().instantiate({"wait": wait}, detect_deadlock=True) as instance,
        anyio.create_task_group() as group,
    ):
        group.start_soon(nap, 30)
        group.start_soon(nap, 10)
        await let_others_run()
        group.start_soon(forever)
    assert results == [10, 30]


async def test_without_detection_a_deadlocked_call_waits_until_it_is_cancelled() -> None:
    async with behaviours().instantiate({"wait": wait}) as instance:
        with anyio.move_on_after(0.02) as scope:
            await instance.exports.forever()
        assert scope.cancelled_caught
        assert await instance.exports.add(1, 2) == 3

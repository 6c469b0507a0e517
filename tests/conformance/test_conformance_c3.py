"""c3: error contexts, backpressure, yielding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from c_guests import Imported, Started, guest, interface, settled, start, until

from p3host import ErrorContext, Instance, Trap

pytestmark = pytest.mark.anyio


def plain(ms: int) -> int:
    return ms


def c3(work: Any = plain, **options: Any) -> Instance:
    return guest("c3").instantiate({"p3host:c3/host@0.1.0": interface(work=work)}, **options)


def exports(instance: Instance) -> Any:
    return instance.exports["p3host:c3/guest"]


# error-context

MESSAGES = ["", "no route", "niño 𝄞 \0 \n", "x" * 1024]


@pytest.mark.parametrize("message", MESSAGES, ids=len)
async def test_an_error_context_keeps_its_message_from_guest_to_host_and_back(message: str) -> None:
    async with c3() as instance:
        error = await exports(instance).make_error(message)
        assert isinstance(error, ErrorContext)
        assert error.debug_message == message
        assert await exports(instance).describe_error(error) == message
        assert await exports(instance).describe_error(error) == message, "it can be given again"


@pytest.mark.parametrize("message", MESSAGES, ids=len)
async def test_an_error_context_of_python_is_described_by_a_guest(message: str) -> None:
    async with c3() as instance:
        assert await exports(instance).describe_error(ErrorContext(message)) == message


async def test_the_message_of_a_guest_is_shortened_when_it_is_very_long() -> None:
    async with c3() as instance:
        error = await exports(instance).make_error("é" * 100_000)
        assert error.debug_message == "é" * 1024


async def test_an_error_context_outlives_its_instance_and_goes_to_others() -> None:
    async with c3() as one:
        error = await exports(one).make_error("from the first")
    async with c3() as two, c3() as three:
        for instance in (two, three, two):
            assert await exports(instance).describe_error(error) == "from the first"


async def test_error_contexts_leave_no_handles_behind() -> None:
    async with c3(max_handles=10) as instance:
        for number in range(200):
            error = await exports(instance).make_error(f"number {number}")
            assert await exports(instance).describe_error(error) == f"number {number}"


@pytest.mark.parametrize("value", ["text", OSError("text"), Path("text")])
async def test_an_exception_or_its_text_is_taken_for_an_error_context(value: Any) -> None:
    async with c3() as instance:
        assert await exports(instance).describe_error(value) == "text"


# gate


async def test_gate_answers_what_work_does() -> None:
    async with c3() as instance:
        assert [await exports(instance).gate(ms) for ms in (0, 7, 2**32 - 1)] == [0, 7, 2**32 - 1]


async def test_gates_are_passed_one_after_the_other_in_the_order_of_their_calls() -> None:
    work = Imported()
    async with c3(work) as instance, anyio.create_task_group() as group:
        calls = [await start(group, exports(instance).gate, number) for number in range(100)]
        for number, call in enumerate(calls):
            await work.started(number + 1)
            assert [call.args for call in work.calls] == [(n,) for n in range(number + 1)]
            assert not call.over
            work.calls[number].answer(1000 + number)
            assert await call.ended() == 1000 + number
    assert work.most == 1


@pytest.mark.parametrize(
    ("name", "args", "result"),
    [
        ("yield-times", (3,), 3),
        ("describe-error", (ErrorContext("x"),), "x"),
        ("gate", (5,), 50),
    ],
)
async def test_no_other_call_starts_while_one_is_in_the_gate(name: str, args: tuple[Any, ...], result: Any) -> None:
    work = Imported()
    async with c3(work) as instance, c3() as other, anyio.create_task_group() as group:
        inside = await start(group, exports(instance).gate, 1)
        await work.started(1)
        outside = await start(group, exports(instance)[name], *args)
        await settled()
        assert not outside.over
        assert len(work.calls) == 1
        assert await exports(other).yield_times(3) == 3, "other instances have gates of their own"
        work.calls[0].answer(10)
        assert await inside.ended() == 10
        if name == "gate":
            await work.started(2)
            work.calls[1].answer(result)
        assert await outside.ended() == result


async def test_calls_that_came_first_are_let_in_first() -> None:
    work = Imported()
    async with c3(work) as instance, anyio.create_task_group() as group:
        gates = [await start(group, exports(instance).gate, 0)]
        await work.started(1)
        others = []
        for number in range(1, 5):
            others.append(await start(group, exports(instance).yield_times, number))
            gates.append(await start(group, exports(instance).gate, number))
        for number, gate in enumerate(gates):
            await work.started(number + 1)
            await until(lambda number=number: all(call.over for call in others[:number]))
            assert not any(call.over for call in others[number:])
            work.calls[number].answer(0)
            assert await gate.ended() == 0


async def test_calls_in_progress_go_on_while_the_gate_is_closed() -> None:
    work = Imported()
    async with c3(work) as instance, anyio.create_task_group() as group:
        before = await start(group, exports(instance).yield_times, 100_000)
        await settled()
        assert not before.over
        inside = await start(group, exports(instance).gate, 1)
        await work.started(1)
        after = await start(group, exports(instance).yield_times, 1)
        assert await before.ended() == 100_000
        assert not inside.over
        assert not after.over
        work.calls[0].answer(1)
        assert await inside.ended() == 1
        assert await after.ended() == 1


async def test_a_task_that_takes_no_notice_of_a_cancellation_returns_in_the_end() -> None:
    work = Imported()
    async with c3(work, grace_seconds=60) as instance, anyio.create_task_group() as group:
        inside = await start(group, exports(instance).gate, 1)
        await work.started(1)
        inside.scope.cancel()
        outside = await start(group, exports(instance).gate, 2)
        await settled()
        assert not inside.over
        assert work.calls[0].outcome == "waiting"
        assert len(work.calls) == 1, "the gate is still closed"
        work.calls[0].answer(1)
        assert await inside.ended() == "cancelled"
        await work.started(2)
        work.calls[1].answer(2)
        assert await outside.ended() == 2


async def test_a_task_that_was_given_up_keeps_the_gate_closed_until_it_has_ended() -> None:
    work = Imported()
    async with c3(work, grace_seconds=0) as instance, anyio.create_task_group() as group:
        inside = await start(group, exports(instance).gate, 1)
        await work.started(1)
        inside.scope.cancel()
        assert await inside.ended() == "cancelled"
        outside = await start(group, exports(instance).yield_times, 1)
        await settled()
        assert not outside.over
        work.calls[0].answer(1)
        assert await outside.ended() == 1


async def test_calls_that_wait_outside_the_gate_are_cancelled_at_once() -> None:
    work = Imported()
    async with c3(work, grace_seconds=60) as instance, anyio.create_task_group() as group:
        calls = [await start(group, exports(instance).gate, number) for number in range(20)]
        await work.started(1)
        for call in calls[1::2]:
            call.scope.cancel()
            assert await call.ended() == "cancelled"
        assert len(work.calls) == 1
        for passed, call in enumerate(calls[0::2]):
            await work.started(passed + 1)
            assert work.calls[passed].args == (2 * passed,)
            work.calls[passed].answer(passed)
            assert await call.ended() == passed
        assert len(work.calls) == 10


async def test_work_that_fails_in_the_gate_traps_those_outside_too() -> None:
    work = Imported()
    async with c3(work) as instance, anyio.create_task_group() as group:
        calls = [await start(group, exports(instance).gate, number) for number in range(5)]
        await work.started(1)
        work.calls[0].answer(OSError("broken"))
        for call in calls:
            outcome = await call.ended()
            assert isinstance(outcome, Trap)
            assert "work' raised OSError: broken" in str(outcome)
        assert len(work.calls) == 1


# yield-times


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
async def test_yield_times_returns_how_often_it_has_yielded(n: int) -> None:
    async with c3() as instance:
        assert await exports(instance).yield_times(n) == n


async def test_tasks_that_yield_take_turns_with_each_other() -> None:
    ended: list[int] = []

    async def run(n: int) -> None:
        assert await exports(instance).yield_times(n) == n
        ended.append(n)

    async with c3() as instance, anyio.create_task_group() as group:
        for n in (30_000, 10_000, 20_000):
            await start(group, run, n)
    assert ended == [10_000, 20_000, 30_000]


async def test_a_task_that_yields_lets_the_loop_and_other_calls_go_on() -> None:
    work = Imported()
    async with c3(work) as instance, c3() as other, anyio.create_task_group() as group:
        endless = [await start(group, exports(instance).yield_times, 2**32 - 1) for _ in range(3)]
        for number in range(5):
            call = await start(group, exports(instance).gate, 1)
            await work.started(number + 1)
            work.calls[number].answer(number)
            assert await call.ended() == number
            assert await exports(instance).yield_times(50) == 50
            assert await exports(other).yield_times(50) == 50
            await checkpoint()
        assert not any(call.over for call in endless)
        for call in endless:
            call.scope.cancel()
            assert await call.ended() == "cancelled"
        assert await exports(instance).yield_times(1) == 1


async def test_hundreds_of_tasks_that_yield_return_each_its_own_number() -> None:
    async with c3() as one, c3() as two, anyio.create_task_group() as group:
        calls: list[tuple[int, Started]] = []
        for number in range(300):
            instance = one if number % 2 else two
            calls.append((number % 37, await start(group, exports(instance).yield_times, number % 37)))
        await until(lambda: all(call.over for _, call in calls))
        assert [call.outcome for _, call in calls] == [n for n, _ in calls]

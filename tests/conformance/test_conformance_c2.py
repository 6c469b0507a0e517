"""c2, stackful exports: tasks that wait in the middle of their stacks, synchronous calls and copies."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from c_guests import HostCall, Imported, Later, Never, Pieces, cut, guest, interface, settled, start, until

from p3host import Instance, InstanceClosed, Trap

pytestmark = pytest.mark.anyio


def no_source() -> Any:
    raise AssertionError("the import is not called")


def text(tag: str, ms: int) -> str:
    return f"{tag} {ms}"


def c2(work: Any = text, source: Any = no_source, **options: Any) -> Instance:
    return guest("c2").instantiate({"p3host:c2/host@0.1.0": interface(work=work, source=source)}, **options)


def exports(instance: Instance) -> Any:
    return instance.exports["p3host:c2/guest"]


# stackful


@pytest.mark.parametrize("n", [0, 1, 7, 150])
async def test_stackful_takes_answers_that_come_at_once(n: int) -> None:
    async with c2() as instance:
        assert await exports(instance).stackful(n) == [f"s{i % 100:02} {10 * (n - i)}" for i in range(n)]


async def test_stackful_waits_until_all_calls_have_returned_in_any_order() -> None:
    work = Imported()
    async with c2(work) as instance, anyio.create_task_group() as group:
        call = await start(group, exports(instance).stackful, 25)
        await work.started(25)
        assert [call.args for call in work.calls] == [(f"s{i:02}", 10 * (25 - i)) for i in range(25)]
        indices = list(range(25))
        random.Random(25).shuffle(indices)
        for i in indices:
            assert not call.over
            work.calls[i].answer(f"result {i}")
            await settled()
        assert await call.ended() == [f"result {i}" for i in range(25)]


async def test_stackful_tasks_do_not_keep_each_other_out() -> None:
    work = Imported()
    async with c2(work) as instance, anyio.create_task_group() as group:
        calls = [await start(group, exports(instance).stackful, 2) for _ in range(200)]
        await work.started(400)
        assert work.most == 400
        order = list(range(200))
        random.Random(2).shuffle(order)
        for number in order:
            for host_call in work.calls[2 * number : 2 * number + 2]:
                host_call.answer(f"{host_call.args[0]} of {number}")
            assert await calls[number].ended() == [f"s00 of {number}", f"s01 of {number}"]


async def test_stackful_tasks_of_several_instances_are_apart() -> None:
    works = [Imported(), Imported()]
    async with c2(works[0]) as one, c2(works[1]) as two, anyio.create_task_group() as group:
        calls = [await start(group, exports(instance).stackful, 1) for instance in (one, two)]
        for work in works:
            await work.started(1)
        works[0].calls[0].answer(OSError("broken"))
        assert isinstance(await calls[0].ended(), Trap)
        works[1].calls[0].answer("well")
        assert await calls[1].ended() == ["well"]


async def test_a_task_that_waits_in_its_stack_is_not_told_of_a_cancellation_and_may_end_in_the_grace_period() -> None:
    work = Imported()
    async with c2(work, grace_seconds=60) as instance, anyio.create_task_group() as group:
        call = await start(group, exports(instance).stackful, 2)
        await work.started(2)
        call.scope.cancel()
        await settled()
        assert not call.over
        assert [call.outcome for call in work.calls] == ["waiting", "waiting"]
        for host_call in work.calls:
            host_call.answer("")
        assert await call.ended() == "cancelled"


async def test_a_task_that_was_given_up_goes_on_and_ends_unheard() -> None:
    work = Imported()
    async with c2(work, grace_seconds=0, max_handles=20) as instance, anyio.create_task_group() as group:
        for _ in range(10):
            call = await start(group, exports(instance).stackful, 5)
            await until(lambda: len(work.waiting) == 5)
            call.scope.cancel()
            assert await call.ended() == "cancelled"
            assert len(work.waiting) == 5
            for host_call in work.waiting:
                host_call.answer("unheard")
            await until(lambda: not work.waiting)
            await settled()
        assert await exports(instance).syncsum() == 7


# sum


@pytest.mark.parametrize("data", [b"", b"\x01", bytes(range(256)) * 3, b"\xff" * 100_000])
@pytest.mark.parametrize("form", ["bytes", "pieces", "small pieces", "list"])
async def test_sum_adds_all_bytes_and_the_number(data: bytes, form: str) -> None:
    forms: dict[str, Any] = {
        "bytes": data,
        "pieces": Pieces(cut(data, 1000)),
        "small pieces": Pieces(cut(data[:500], 3)),
        "list": list(data),
    }
    expected = sum(data[:500] if form == "small pieces" else data)
    async with c2(source=lambda: (forms[form], Later(1000))) as instance:
        assert await exports(instance).sum() == expected + 1000


async def test_sum_calls_work_before_it_asks_for_its_source() -> None:
    work = Imported()
    asked = []

    def source() -> Any:
        asked.append(True)
        return b"abc", Later(1)

    async with c2(work, source) as instance, anyio.create_task_group() as group:
        call = await start(group, exports(instance).sum)
        await work.started(1)
        assert work.calls[0].args == ("x", 5)
        assert not asked
        work.calls[0].answer("")
        assert await call.ended() == sum(b"abc") + 1


async def test_sums_at_once_read_each_its_own_source() -> None:
    gates = [anyio.Event() for _ in range(100)]
    asked = iter(range(100))

    async def pieces(number: int) -> AsyncIterator[bytes]:
        for _ in range(3):
            yield bytes([number])
        await gates[number].wait()
        yield bytes([number])

    def source() -> Any:
        number = next(asked)
        return pieces(number), Later(1000 * number)

    async with c2(source=source) as instance, anyio.create_task_group() as group:
        calls = [await start(group, exports(instance).sum) for _ in range(100)]
        await settled()
        for number in reversed(range(100)):
            assert not calls[number].over
            gates[number].set()
            assert await calls[number].ended() == 1004 * number


async def test_a_number_that_is_never_given_is_waited_for_while_others_go_on() -> None:
    numbers = iter([Never(), Later(5)])
    async with c2(source=lambda: (b"abc", next(numbers)), grace_seconds=0) as instance:
        async with anyio.create_task_group() as group:
            stuck = await start(group, exports(instance).sum)
            await settled()
            assert await exports(instance).sum() == sum(b"abc") + 5
            assert await exports(instance).syncsum() == 7
            assert not stuck.over
            stuck.scope.cancel()
            assert await stuck.ended() == "cancelled"
        assert await exports(instance).stackful(1) == ["s00 10"]


async def test_leaving_the_block_ends_a_sum_that_waits_for_its_stream_or_its_number() -> None:
    send, receive = anyio.create_memory_object_stream[bytes](0)
    data = Pieces([b"abc"])
    sources = iter([(receive, Later(1)), (data, Never())])
    async with send, receive, anyio.create_task_group() as group:
        async with c2(source=lambda: next(sources)) as instance:
            calls = [await start(group, exports(instance).sum) for _ in range(2)]
            await until(lambda: data.closed)
        for call in calls:
            assert isinstance(await call.ended(), InstanceClosed)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda: (b"abc", Later(OSError("no number"))), "Later raised OSError: no number"),
        (lambda: (Pieces([b"abc", OSError("disk")]), Later(1)), "Pieces raised OSError: disk"),
        (lambda: (Pieces([b"abc", "text"]), Later(1)), "Pieces"),
        (lambda: (Pieces([[1, 256]]), Later(1)), "Pieces"),
        (lambda: (b"abc", Later("five")), "Later"),
        (lambda: b"abc", "source"),
        (lambda: (b"abc",), "source"),
        (lambda: (5, Later(1)), "source"),
    ],
)
async def test_a_source_that_fails_or_is_none_traps(source: Any, message: str) -> None:
    async with c2(source=source) as instance:
        with pytest.raises(Trap, match=message):
            await exports(instance).sum()
        with pytest.raises(Trap, match="cannot enter"):
            await exports(instance).syncsum()


async def test_work_that_fails_traps_in_the_middle_of_the_call() -> None:
    work = Imported()
    async with c2(work) as instance, anyio.create_task_group() as group:
        first, second = [await start(group, exports(instance).sum) for _ in range(2)]
        await work.started(2)
        work.calls[1].answer(OSError("broken"))
        for call in (first, second):
            outcome = await call.ended()
            assert isinstance(outcome, Trap)
            assert "work' raised OSError: broken" in str(outcome)
        await until(lambda: work.calls[0].outcome == "cancelled")


# Functions of no async type


async def test_syncsum_is_let_in_while_others_wait_in_their_stacks() -> None:
    work = Imported()
    async with c2(work) as instance, anyio.create_task_group() as group:
        calls = [await start(group, exports(instance).sum) for _ in range(10)]
        await work.started(10)
        assert [await exports(instance).syncsum() for _ in range(100)] == [7] * 100
        assert not any(call.over for call in calls)
        group.cancel_scope.cancel()
        for host_call in work.calls:
            host_call.answer(OSError("the end"))


async def test_an_import_of_no_async_type_that_waits_holds_its_instance_alone() -> None:
    source = Imported()
    async with c2(source=source) as instance, c2() as other, anyio.create_task_group() as group:
        first = await start(group, exports(instance).sum)
        await source.started(1)
        rest = [
            await start(group, exports(instance).syncsum),
            await start(group, exports(instance).stackful, 1),
        ]
        second = await start(group, exports(instance).sum)
        await settled()
        assert not any(call.over for call in rest)
        assert len(source.calls) == 1
        assert await exports(other).syncsum() == 7
        assert await exports(other).stackful(1) == ["s00 10"]

        source.calls[0].answer((b"a", Later(0)))
        await source.started(2)
        assert not first.over, "the second one holds the instance before the first one's number is there"
        source.calls[1].answer((b"b", Later(1)))
        assert await first.ended() == ord("a")
        assert await second.ended() == ord("b") + 1
        assert [await call.ended() for call in rest] == [7, ["s00 10"]]


async def returns_its_source(call: HostCall) -> Any:
    return b"late", Later(0)


async def test_a_call_that_holds_its_instance_is_not_told_of_a_cancellation() -> None:
    source = Imported(returns_its_source)
    async with c2(source=source, grace_seconds=60) as instance, anyio.create_task_group() as group:
        call = await start(group, exports(instance).sum)
        await source.started(1)
        call.scope.cancel()
        await settled()
        assert source.calls[0].outcome == "waiting"
        source.calls[0].answer((b"late", Later(0)))
        assert await call.ended() == "cancelled"
        assert await exports(instance).syncsum() == 7


async def test_a_call_that_holds_its_instance_too_long_after_its_cancellation_is_killed() -> None:
    source = Imported()
    async with c2(source=source, grace_seconds=0) as instance, anyio.create_task_group() as group:
        call = await start(group, exports(instance).sum)
        await source.started(1)
        call.scope.cancel()
        assert await call.ended() == "cancelled"
        await until(lambda: source.calls[0].outcome == "cancelled")
        with pytest.raises(Trap, match="waiting in a call of a sync type"):
            await exports(instance).syncsum()

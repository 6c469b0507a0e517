"""c1, the callback ABI: concurrent imports, cancellation in its sync form, a stream and a future."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from c_guests import HostCall, Imported, Pieces, cut, guest, interface, settled, start, until
from guest_text import component_text, load, sync_export

from p3host import Instance, Trap

pytestmark = pytest.mark.anyio


def plain(x: int) -> int:
    return x


def c1(work: Any, plain: Callable[[int], Any] = plain, **options: Any) -> Instance:
    return guest("c1").instantiate({"p3host:c1/host@0.1.0": interface(work=work, plain=plain)}, **options)


def exports(instance: Instance) -> Any:
    return instance.exports["p3host:c1/guest"]


async def never(tag: str, ms: int) -> str:
    raise AssertionError("the import is not called")


# run-many


async def test_run_many_starts_all_its_calls_before_one_has_returned() -> None:
    work = Imported()
    async with c1(work) as instance, anyio.create_task_group() as group:
        call = await start(group, exports(instance).run_many, 20)
        await work.started(20)
        assert [call.args for call in work.calls] == [(f"t{i:02}", 10 * (20 - i)) for i in range(20)]
        assert not call.over
        for host_call in work.calls:
            host_call.answer("done")
        assert await call.ended() == ["done"] * 20


@pytest.mark.parametrize("order", ["first to last", "last to first", "any"])
async def test_run_many_gives_results_by_index_in_whichever_order_they_come(order: str) -> None:
    work = Imported()
    async with c1(work) as instance, anyio.create_task_group() as group:
        call = await start(group, exports(instance).run_many, 30)
        await work.started(30)
        indices = list(range(30))
        if order == "any":
            random.Random(30).shuffle(indices)
        elif order == "last to first":
            indices.reverse()
        for done, i in enumerate(indices):
            assert not call.over, f"returned after {done} of 30"
            work.calls[i].answer(f"result {i} " * i)
            await settled()
        assert await call.ended() == [f"result {i} " * i for i in range(30)]


@pytest.mark.parametrize("n", [0, 1, 2, 250])
async def test_run_many_takes_answers_that_come_at_once(n: int) -> None:
    async with c1(lambda tag, ms: f"{tag} {ms}") as instance:
        assert await exports(instance).run_many(n) == [f"t{i % 100:02} {10 * (n - i)}" for i in range(n)]


async def test_run_many_takes_some_answers_at_once_and_others_later() -> None:
    work = Imported()

    def sometimes(tag: str, ms: int) -> Awaitable[str] | str:
        return work.call(tag, ms) if int(tag[1:]) % 3 else tag

    async with c1(sometimes) as instance, anyio.create_task_group() as group:
        call = await start(group, exports(instance).run_many, 9)
        await work.started(6)
        for host_call in reversed(work.calls):
            host_call.answer(host_call.args[0].upper())
        assert await call.ended() == ["t00", "T01", "T02", "t03", "T04", "T05", "t06", "T07", "T08"]


async def test_run_many_refuses_too_many_with_a_trap() -> None:
    async with c1(never) as instance:
        with pytest.raises(Trap, match="unreachable"):
            await exports(instance).run_many(10_001)


@pytest.mark.parametrize("value", [5, None, b"bytes"])
async def test_an_answer_of_the_wrong_type_is_a_trap(value: Any) -> None:
    work = Imported()
    async with c1(work) as instance, anyio.create_task_group() as group:
        call = await start(group, exports(instance).run_many, 2)
        await work.started(2)
        work.calls[1].answer(value)
        outcome = await call.ended()
        assert isinstance(outcome, Trap)
        assert "work" in str(outcome)


async def test_a_host_function_that_fails_ends_all_calls_of_its_instance_and_of_no_other() -> None:
    work, other_work = Imported(), Imported()
    async with c1(work) as instance, c1(other_work) as other, anyio.create_task_group() as group:
        calls = [await start(group, exports(instance).run_many, 3) for _ in range(4)]
        other_call = await start(group, exports(other).run_many, 1)
        await work.started(12)
        work.calls[0].answer("first")
        work.calls[7].answer(OSError("no connection"))
        for call in calls:
            outcome = await call.ended()
            assert isinstance(outcome, Trap)
            assert "work' raised OSError: no connection" in str(outcome)
            assert isinstance(outcome.__cause__, OSError)
        await until(lambda: not work.waiting)
        assert [call.outcome for call in work.calls].count("cancelled") == 10
        with pytest.raises(Trap, match="cannot enter"):
            await exports(instance).add(1, 2)
        await other_work.started(1)
        other_work.calls[0].answer("well")
        assert await other_call.ended() == ["well"]


async def test_cancellation_in_the_middle_cancels_just_the_calls_that_have_not_returned() -> None:
    work = Imported()
    async with c1(work) as instance, anyio.create_task_group() as group:
        call = await start(group, exports(instance).run_many, 10)
        await work.started(10)
        for i in (1, 4, 9):
            work.calls[i].answer("done")
        await settled()
        call.scope.cancel()
        assert await call.ended() == "cancelled"
        expected = ["answered" if i in (1, 4, 9) else "cancelled" for i in range(10)]
        assert [call.outcome for call in work.calls] == expected
        assert await exports(instance).add(1, 2) == 3


async def answers_anyway(call: HostCall) -> str:
    return "anyway"


async def fails(call: HostCall) -> str:
    raise OSError("broken while it was cancelled")


async def waits_to_unwind(call: HostCall) -> None:
    await call.unwound.wait()


async def test_calls_that_answer_despite_their_cancellation_are_waited_for_one_after_the_other() -> None:
    work = Imported(answers_anyway)
    async with c1(work) as instance, anyio.create_task_group() as group:
        call = await start(group, exports(instance).run_many, 5)
        await work.started(5)
        call.scope.cancel()
        assert await call.ended() == "cancelled"
        assert [call.outcome for call in work.calls] == ["cancelled"] * 5
        assert await exports(instance).run_many(0) == []


async def test_cancelled_calls_leave_no_handles_behind() -> None:
    work = Imported(answers_anyway)
    async with c1(work, max_handles=40) as instance, anyio.create_task_group() as group:
        for round_ in range(1, 51):
            call = await start(group, exports(instance).run_many, 8)
            await until(lambda: len(work.waiting) == 8)
            work.waiting[0].answer("")
            if round_ % 2:
                await settled()
            call.scope.cancel()
            await call.ended()


async def test_a_call_that_fails_when_it_is_cancelled_traps_its_guest() -> None:
    work = Imported(fails)
    async with c1(work) as instance, anyio.create_task_group() as group:
        cancelled = await start(group, exports(instance).run_many, 2)
        other = await start(group, exports(instance).run_many, 1)
        await work.started(3)
        cancelled.scope.cancel()
        assert await cancelled.ended() == "cancelled"
        outcome = await other.ended()
        assert isinstance(outcome, Trap)
        assert "broken while it was cancelled" in str(outcome)


async def test_a_sync_cancel_waits_until_the_host_has_unwound_and_keeps_async_calls_out_meanwhile() -> None:
    work = Imported(waits_to_unwind)
    async with c1(work) as instance, anyio.create_task_group() as group:
        first = await start(group, exports(instance).run_many, 2)
        await work.started(2)
        first.scope.cancel()
        await until(lambda: work.calls[0].outcome == "cancelled")
        second = await start(group, exports(instance).run_many, 1)
        third = await start(group, exports(instance).run_many, 1)
        await settled()
        assert [call.outcome for call in work.calls] == ["cancelled", "waiting"], "one is cancelled after the other"
        assert not first.over
        assert await exports(instance).add(20, 3) == 23, "a function of no async type is let in"

        third.scope.cancel()
        assert await third.ended() == "cancelled", "a call that was never let in has nothing to unwind"
        assert len(work.calls) == 2

        work.calls[0].unwound.set()
        await until(lambda: work.calls[1].outcome == "cancelled")
        assert not first.over
        work.calls[1].unwound.set()
        assert await first.ended() == "cancelled"
        await work.started(3)
        work.calls[2].answer("second")
        assert await second.ended() == ["second"]


async def test_hundreds_of_calls_on_each_of_several_instances_end_as_each_was_told_to() -> None:
    chance = random.Random(3)
    works = [Imported() for _ in range(3)]
    async with c1(works[0]) as one, c1(works[1]) as two, c1(works[2]) as three, anyio.create_task_group() as group:
        calls = [
            [await start(group, exports(instance).run_many, 3) for _ in range(200)] for instance in (one, two, three)
        ]
        for work in works:
            await work.started(600)
        for started, work in zip(calls, works, strict=True):
            to_cancel = set(chance.sample(range(200), 50))
            for number in to_cancel:
                started[number].scope.cancel()
            host_calls = list(enumerate(work.calls))
            chance.shuffle(host_calls)
            for number, host_call in host_calls:
                if number // 3 not in to_cancel:
                    host_call.answer(f"{host_call.args[0]} of {number // 3}")
            for number, call in enumerate(started):
                told = [f"t{i:02} of {number}" for i in range(3)]
                assert await call.ended() == ("cancelled" if number in to_cancel else told)


# add


@pytest.mark.parametrize(("a", "b", "total"), [(1, 2, 3), (2**32 - 1, 0, 2**32 - 1), (2**32 - 1, 3, 2), (0, 0, 0)])
async def test_add_adds_modulo_2_to_the_32(a: int, b: int, total: int) -> None:
    async with c1(never) as instance:
        assert await exports(instance).add(a, b) == total


@pytest.mark.parametrize(("a", "b"), [(-1, 0), (0, 2**32), ("1", 2), (1, None), (1.5, 0)])
async def test_add_refuses_arguments_that_are_no_u32_and_goes_on(a: Any, b: Any) -> None:
    async with c1(never) as instance:
        with pytest.raises((TypeError, ValueError, OverflowError)):
            await exports(instance).add(a, b)
        assert await exports(instance).add(1, 2) == 3


async def test_add_is_let_in_while_others_wait() -> None:
    work = Imported()
    async with c1(work) as instance, anyio.create_task_group() as group:
        call = await start(group, exports(instance).run_many, 1)
        await work.started(1)
        assert [await exports(instance).add(i, i) for i in range(100)] == [2 * i for i in range(100)]
        work.calls[0].answer("done")
        assert await call.ended() == ["done"]


async def test_add_whose_import_waits_holds_its_instance_alone() -> None:
    plain = Imported()
    async with c1(lambda tag, ms: tag, plain) as instance, c1(never) as other, anyio.create_task_group() as group:
        first = await start(group, exports(instance).add, 1, 10)
        await plain.started(1)
        second = await start(group, exports(instance).add, 2, 20)
        many = await start(group, exports(instance).run_many, 2)
        await settled()
        assert len(plain.calls) == 1
        assert not many.over
        assert await exports(other).add(1, 2) == 3
        plain.calls[0].answer(100)
        assert await first.ended() == 110
        await plain.started(2)
        plain.calls[1].answer(200)
        assert await second.ended() == 220
        assert await many.ended() == ["t00", "t01"]


async def test_add_whose_import_fails_traps() -> None:
    def broken(x: int) -> int:
        raise LookupError(x)

    async with c1(never, broken) as instance:
        with pytest.raises(Trap, match="plain' raised LookupError: 5") as raised:
            await exports(instance).add(5, 1)
        assert isinstance(raised.value.__cause__, LookupError)


# pipe

ALPHABET = bytes(range(256)) * 400


@pytest.mark.parametrize("length", [0, 1, 4095, 4096, 4097, 8192, 100_000])
@pytest.mark.parametrize("piece", [100_000, 4097, 1000])
async def test_pipe_passes_on_all_bytes_and_tells_their_number(length: int, piece: int) -> None:
    data = ALPHABET[:length]
    async with c1(never) as instance:
        stream, total = await exports(instance).pipe(Pieces(cut(data, piece)))
        assert await stream.read_all() == data.upper()
        assert await total == length


async def test_pipe_passes_on_much_through_very_small_pieces() -> None:
    data = ALPHABET[:3000]
    async with c1(never) as instance:
        stream, total = await exports(instance).pipe(Pieces(cut(data, 1)))
        got = b""
        while piece := await stream.read(2):
            assert 1 <= len(piece) <= 2
            got += piece
        assert got == data.upper()
        assert await total == len(data)


async def test_pipe_passes_on_each_piece_before_the_next_is_there() -> None:
    send, receive = anyio.create_memory_object_stream[bytes](0)
    async with c1(never) as instance, send, receive:
        stream, _ = await exports(instance).pipe(receive)
        for number in range(50):
            await send.send(b"number %d" % number)
            assert await stream.read() == b"NUMBER %d" % number


async def test_pipe_reads_no_further_ahead_than_its_buffer() -> None:
    piece = 1024
    data = Pieces([b"x" * piece] * 200)
    async with c1(never) as instance:
        stream, total = await exports(instance).pipe(data)
        read = 0
        while read < 100 * piece:
            read += len(await stream.read(500))
            await settled()
            assert data.given * piece <= read + 4096 + 2 * piece
        read += len(await stream.read_all())
        assert read == await total == 200 * piece


async def test_who_writes_into_a_pipe_waits_for_who_reads_from_it() -> None:
    send, receive = anyio.create_memory_object_stream[bytes](0)
    sent = 0
    async with c1(never) as instance, anyio.create_task_group() as group:
        stream, _ = await exports(instance).pipe(receive)

        async def produce() -> None:
            nonlocal sent
            async with send:
                for _ in range(20):
                    await send.send(b"x" * 5000)
                    sent += 1

        group.start_soon(produce)
        await settled()
        assert sent <= 2
        assert await stream.read_all() == b"X" * 100_000
        assert sent == 20


async def test_total_is_told_when_both_streams_are_at_their_end_and_not_before() -> None:
    send, receive = anyio.create_memory_object_stream[bytes](0)
    async with c1(never) as instance, anyio.create_task_group() as group:
        stream, total = await exports(instance).pipe(receive)
        told = await start(group, total.read)
        await send.send(b"abc")
        assert await stream.read() == b"ABC"
        await settled()
        assert not told.over
        await send.aclose()
        assert await told.ended() == 3
        assert await stream.read() == b""


@pytest.mark.parametrize("read", [0, 1, 5000])
async def test_reader_of_a_pipe_that_leaves_ends_it_all_the_way_up(read: int) -> None:
    data = Pieces([b"y" * 3000] * 50)
    async with c1(never) as instance:
        stream, total = await exports(instance).pipe(data)
        if read:
            assert await stream.read(read) == b"Y" * min(read, 3000)
        stream.close()
        assert await total == 3000 * data.given
        await until(lambda: data.closed)
        assert data.given <= 3


async def test_total_that_nobody_wants_is_no_obstacle() -> None:
    async with c1(never, max_handles=20) as instance:
        for _ in range(30):
            stream, total = await exports(instance).pipe(b"abc")
            total.close()
            assert await stream.read_all() == b"ABC"
        for _ in range(30):
            stream, total = await exports(instance).pipe(b"abc")
            stream.close()
            total.close()
        assert await exports(instance).add(1, 2) == 3


async def test_writer_that_fails_traps_who_reads() -> None:
    data = Pieces([b"abc", OSError("disk")])
    async with c1(never) as instance, anyio.create_task_group() as group:
        stream, total = await exports(instance).pipe(data)
        told = await start(group, total.read)
        assert await stream.read() == b"ABC"
        with pytest.raises(Trap, match="Pieces raised OSError: disk"):
            await stream.read()
        assert isinstance(await told.ended(), Trap)
        assert data.closed


LAST_WORDS = component_text(
    imports="(type $s (stream u8))",
    canons={
        "new": ("stream.new $s", "(result i64)"),
        "write": ("stream.write $s async (memory $memory)", "(param i32 i32 i32) (result i32)"),
        "drop": ("stream.drop-writable $s", "(param i32)"),
    },
    code="""
      (global $writable (mut i32) (i32.const 0))
      (func (export "stream") (result i32) (local $ends i64)
        (local.set $ends (call $new))
        (global.set $writable (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
        (i32.wrap_i64 (local.get $ends)))
      (func (export "write-and-end")
        (i32.store (i32.const 1024) (i32.const 0x64636261))
        (drop (call $write (global.get $writable) (i32.const 1024) (i32.const 4)))
        (call $drop (global.get $writable)))""",
    exports=sync_export("stream", "", "$s") + sync_export("write-and-end"),
)


async def test_pipe_takes_the_last_bytes_when_they_come_together_with_the_end() -> None:
    async with load(LAST_WORDS).instantiate() as writer, c1(never) as instance:
        stream, total = await exports(instance).pipe(await writer.exports.stream())
        await settled()
        await writer.exports.write_and_end()
        assert await stream.read_all() == b"ABCD"
        assert await total == 4


async def test_pipe_after_pipe_within_one_instance_and_across_several() -> None:
    async with c1(never) as one, c1(never) as two:
        data: Any = Pieces(cut(ALPHABET, 3000))
        totals = []
        for instance in (one, one, two, one, two, two):
            data, total = await exports(instance).pipe(data)
            totals.append(total)
        assert await data.read_all() == ALPHABET.upper()
        assert [await total for total in totals] == [len(ALPHABET)] * 6


async def test_a_hundred_pipes_at_once_keep_their_bytes_apart() -> None:
    async with c1(never) as instance:
        outcomes: dict[int, tuple[bytes, int]] = {}

        async def run(number: int) -> None:
            stream, total = await exports(instance).pipe(Pieces(cut(b"pipe %d " % number * 200, 100 + number)))
            outcomes[number] = await stream.read_all(), await total

        async with anyio.create_task_group() as group:
            for number in range(100):
                group.start_soon(run, number)
        for number, (data, total) in outcomes.items():
            assert data == b"PIPE %d " % number * 200
            assert total == len(data)
        assert len(outcomes) == 100


async def test_pipes_go_on_while_run_many_waits() -> None:
    work = Imported()
    async with c1(work) as instance, anyio.create_task_group() as group:
        call = await start(group, exports(instance).run_many, 5)
        await work.started(5)
        stream, total = await exports(instance).pipe(Pieces(cut(ALPHABET, 5000)))
        assert await stream.read_all() == ALPHABET.upper()
        assert await total == len(ALPHABET)
        for host_call in work.calls:
            host_call.answer("")
        assert await call.ended() == [""] * 5

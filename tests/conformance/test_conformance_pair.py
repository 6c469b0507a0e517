"""Two C guests that call each other: composed into one component, and as two instances that Python links.

What the front's callers and the back's host see has to be the same, however the two were joined.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from c_guests import GUESTS, HostCall, Imported, Later, Never, Pieces, cut, guest, interface, settled, start, until
from click.testing import CliRunner

from p3host import Instance, InstanceClosed, StreamReader, Trap, cli
from p3host.testing import from_seed

pytestmark = pytest.mark.anyio

JOINED = ["composed", "linked", "through Python"]
MOST = 8  # calls that the back lets in at once
BUFFERS = 3 * 4096  # of the three loops that a stream goes through


def through_python(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def call(*args: Any) -> Any:
        return await function(*args)

    return call


@asynccontextmanager
async def pair(joined: str, work: Any, **options: Any) -> AsyncIterator[Any]:
    """What the front exports, while the block lasts."""
    host = {"p3host:c-back/host@0.1.0": interface(work=work)}
    if joined == "composed":
        async with guest("c-pair").instantiate(host, **options) as instance:
            yield front_exports(instance)
        return
    async with guest("c-back").instantiate(host, **options) as back:
        exported = back.exports["p3host:c-back/guest"]
        if joined == "through Python":
            exported = {name: through_python(exported[name]) for name in exported}
        async with guest("c-front").instantiate({"p3host:c-back/guest@0.1.0": exported}, **options) as front:
            yield front_exports(front)


def front_exports(instance: Instance) -> Any:
    return instance.exports["p3host:c-front/guest"]


@pytest.fixture(params=JOINED)
def joined(request: pytest.FixtureRequest) -> str:
    kind = request.param
    assert isinstance(kind, str)
    return kind


def keeps_order(joined: str) -> bool:
    """Whether calls reach the back in the front's order: a function of Python in between is a task of its own, and not
    every event loop starts tasks in order."""
    return joined != "through Python"


def text(tag: str, ms: int) -> str:
    return f"{tag} {ms}"


def piped(data: bytes) -> bytes:
    return bytes((2 * (byte + 1) + 3) % 256 for byte in data)


# Calls

ASKS = pytest.mark.parametrize("name", ["ask", "ask-blocking"])


@ASKS
@pytest.mark.parametrize("tag", ["x", "niño 𝄞", "long " * 10_000])
async def test_a_call_goes_through_both_and_its_answer_comes_back(joined: str, name: str, tag: str) -> None:
    async with pair(joined, text) as front:
        for ms in (0, 2**32 - 1):
            assert await front[name](tag, ms) == f"{tag} {ms}"


@ASKS
async def test_a_call_waits_in_both_until_the_host_has_answered(joined: str, name: str) -> None:
    work = Imported()
    async with pair(joined, work) as front, anyio.create_task_group() as group:
        call = await start(group, front[name], "tag", 5)
        await work.started(1)
        assert work.calls[0].args == ("tag", 5)
        assert not call.over
        work.calls[0].answer("answer")
        assert await call.ended() == "answer"


async def test_the_back_lets_in_eight_calls_at_once_in_their_order(joined: str) -> None:
    work = Imported()
    async with pair(joined, work) as front, anyio.create_task_group() as group:
        names = ["ask", "ask-blocking"]
        calls = [await start(group, front[names[number % 2]], f"call {number}", number) for number in range(200)]
        for number in range(200):
            await work.started(min(number + MOST, 200))
            assert len(work.calls) == min(number + MOST, 200)
            tag, ms = work.calls[number].args
            assert tag == f"call {ms}"
            assert ms == number or not keeps_order(joined)
            work.calls[number].answer(f"answer {ms}")
            assert await calls[ms].ended() == f"answer {ms}"
    assert work.most == MOST


async def test_answers_come_in_any_order_and_find_their_calls(joined: str) -> None:
    work = Imported()
    chance = random.Random(6)
    async with pair(joined, work) as front, anyio.create_task_group() as group:
        calls = [await start(group, front[chance.choice(["ask", "ask-blocking"])], f"{n}", n) for n in range(300)]
        while not all(call.over for call in calls):
            await settled()
            if work.waiting:
                host_call = chance.choice(work.waiting)
                host_call.answer(f"answer {host_call.args[0]}")
                host_call.outcome = "about to be answered"
        assert [call.outcome for call in calls] == [f"answer {n}" for n in range(300)]


async def test_with_eight_calls_in_progress_no_function_of_the_back_is_let_in(joined: str) -> None:
    work = Imported()
    async with pair(joined, work) as front, anyio.create_task_group() as group:
        calls = [await start(group, front.ask, "tag", 0) for _ in range(MOST)]
        await work.started(MOST)
        others = [await start(group, front.pipe, b"abc"), await start(group, front.quadruple, Later(5))]
        await settled()
        assert not any(call.over for call in others)
        work.calls[0].answer("")
        stream, total = await others[0].ended()
        assert await stream.read_all() == piped(b"abc")
        assert await total == 3
        assert await (await others[1].ended()) == 20
        for host_call in work.calls[1:]:
            host_call.answer("")
        assert [await call.ended() for call in calls] == [""] * MOST


async def test_pairs_are_apart_from_each_other(joined: str) -> None:
    works = [Imported() for _ in range(2)]
    async with pair(joined, works[0]) as one, pair(joined, works[1]) as two, anyio.create_task_group() as group:
        calls = [await start(group, front.ask, "tag", 0) for front in (one, two)]
        for work in works:
            await work.started(1)
        works[0].calls[0].answer(OSError("broken"))
        assert isinstance(await calls[0].ended(), Trap)
        works[1].calls[0].answer("well")
        assert await calls[1].ended() == "well"


# Cancellation


async def answers_anyway(call: HostCall) -> str:
    return "anyway"


async def waits_to_unwind(call: HostCall) -> None:
    await call.unwound.wait()


async def fails(call: HostCall) -> str:
    raise OSError("broken while it was cancelled")


async def test_a_cancellation_arrives_at_the_host_by_way_of_both(joined: str) -> None:
    work = Imported()
    async with pair(joined, work, grace_seconds=60) as front, anyio.create_task_group() as group:
        calls = [await start(group, front.ask, f"{number}", 0) for number in range(3)]
        await work.started(3)
        calls[1].scope.cancel()
        assert await calls[1].ended() == "cancelled"
        outcomes = {call.args[0]: call.outcome for call in work.calls}
        assert outcomes == {"0": "waiting", "1": "cancelled", "2": "waiting"}
        for host_call in work.waiting:
            host_call.answer(host_call.args[0])
        assert [await calls[0].ended(), await calls[2].ended()] == ["0", "2"]


async def test_a_host_that_answers_despite_the_cancellation_harms_nobody(joined: str) -> None:
    work = Imported(answers_anyway)
    async with pair(joined, work, grace_seconds=60, max_handles=30) as front, anyio.create_task_group() as group:
        for number in range(40):
            call = await start(group, front.ask, "tag", 0)
            await work.started(number + 1)
            call.scope.cancel()
            assert await call.ended() == "cancelled"
            assert work.calls[number].outcome == "cancelled"


async def test_a_host_that_fails_when_it_is_cancelled_traps_the_pair(joined: str) -> None:
    work = Imported(fails)
    async with pair(joined, work, grace_seconds=60) as front, anyio.create_task_group() as group:
        calls = [await start(group, front.ask, "tag", 0) for _ in range(2)]
        await work.started(2)
        calls[0].scope.cancel()
        assert await calls[0].ended() == "cancelled"
        outcome = await calls[1].ended()
        assert isinstance(outcome, Trap)
        assert "broken while it was cancelled" in str(outcome)


async def test_the_back_is_left_only_when_the_host_has_unwound_while_the_front_goes_on(joined: str) -> None:
    work = Imported(waits_to_unwind)
    async with pair(joined, work, grace_seconds=60) as front, anyio.create_task_group() as group:
        first = await start(group, front.ask, "first", 0)
        await work.started(1)
        first.scope.cancel()
        await until(lambda: work.calls[0].outcome == "cancelled")
        second = await start(group, front.ask, "second", 0)
        third = await start(group, front.ask, "third", 0)
        await settled()
        assert len(work.calls) == 1, "the back waits in its cancel and lets no other in"
        assert not first.over
        third.scope.cancel()
        assert await third.ended() == "cancelled", "the front's call was never let in"
        work.calls[0].unwound.set()
        assert await first.ended() == "cancelled"
        await work.started(2)
        assert work.calls[1].args == ("second", 0)
        work.calls[1].answer("well")
        assert await second.ended() == "well"
    assert len(work.calls) == 2


async def test_calls_that_the_back_has_not_let_in_are_cancelled_at_once(joined: str) -> None:
    work = Imported()
    async with pair(joined, work, grace_seconds=60) as front, anyio.create_task_group() as group:
        calls = [await start(group, front.ask, f"{number}", 0) for number in range(3 * MOST)]
        await work.started(MOST)
        for call in calls[MOST::2]:
            call.scope.cancel()
            assert await call.ended() == "cancelled"
        assert len(work.calls) == MOST
        rest = [number for number in range(3 * MOST) if number < MOST or number % 2]
        for position, number in enumerate(rest):
            await work.started(position + 1)
            tag, _ = work.calls[position].args
            assert tag == f"{number}" or not keeps_order(joined)
            work.calls[position].answer(f"answer {tag}")
            assert await calls[int(tag)].ended() == f"answer {tag}"


async def test_many_calls_of_which_some_are_cancelled_keep_the_count_of_the_back(joined: str) -> None:
    work = Imported()
    chance = random.Random(7)
    async with pair(joined, work, grace_seconds=60) as front, anyio.create_task_group() as group:
        calls = [await start(group, front.ask, f"{number}", 0) for number in range(150)]
        cancelled = set()
        while not all(call.over for call in calls):
            await settled()
            if chance.random() < 0.5 and (open_ := [n for n, call in enumerate(calls) if not call.over]):
                number = chance.choice(open_)
                cancelled.add(number)
                calls[number].scope.cancel()
                await calls[number].ended()
            elif work.waiting:
                host_call = chance.choice(work.waiting)
                host_call.answer(host_call.args[0])
                await calls[int(host_call.args[0])].ended()
        for number, call in enumerate(calls):
            assert call.outcome == ("cancelled" if number in cancelled else f"{number}")
        assert cancelled
        assert work.most == MOST
        last = [await start(group, front.ask, "last", 0) for _ in range(MOST)]
        await until(lambda: len(work.waiting) == MOST)
        for host_call in work.waiting:
            host_call.answer("well")
        assert [await call.ended() for call in last] == ["well"] * MOST


async def test_a_call_that_blocks_in_the_front_is_given_up_and_ends_unheard(joined: str) -> None:
    work = Imported()
    async with pair(joined, work, grace_seconds=0) as front, anyio.create_task_group() as group:
        call = await start(group, front.ask_blocking, "tag", 0)
        await work.started(1)
        call.scope.cancel()
        assert await call.ended() == "cancelled"
        assert work.calls[0].outcome == "waiting"
        others = [await start(group, front.ask, "tag", 0) for _ in range(MOST)]
        await work.started(MOST)
        assert len(work.calls) == MOST, "it is still counted"
        for host_call in work.calls:
            host_call.answer("")
        await work.started(MOST + 1)
        work.calls[MOST].answer("")
        assert [await call.ended() for call in others] == [""] * MOST


# Streams


@pytest.mark.parametrize("length", [0, 1, 4095, 4096, 4097, 20_000])
@pytest.mark.parametrize("piece", [20_000, 1000, 7])
async def test_a_stream_goes_to_the_back_and_comes_to_the_host_again(joined: str, length: int, piece: int) -> None:
    data = (bytes(range(256)) * 80)[:length]
    if piece < 10:
        data = data[:500]
    async with pair(joined, text) as front:
        stream, total = await front.pipe(Pieces(cut(data, piece)))
        assert await stream.read_all() == piped(data)
        assert await total == len(data)


async def test_each_piece_comes_back_before_the_next_is_sent(joined: str) -> None:
    send, receive = anyio.create_memory_object_stream[bytes](0)
    async with pair(joined, text) as front, send, receive:
        stream, _ = await front.pipe(receive)
        for number in range(30):
            await send.send(b"number %d" % number)
            got = b""
            while len(got) < len(b"number %d" % number):
                got += await stream.read()
            assert got == piped(b"number %d" % number)


async def test_no_more_is_read_ahead_than_the_buffers_hold(joined: str) -> None:
    piece = 1024
    data = Pieces([b"x" * piece] * 100)
    async with pair(joined, text) as front:
        stream, total = await front.pipe(data)
        read = 0
        while read < 50 * piece:
            read += len(await stream.read(700))
            await settled()
            assert data.given * piece <= read + BUFFERS + 2 * piece
        read += len(await stream.read_all())
        assert read == await total == 100 * piece


async def test_a_reader_that_leaves_ends_the_stream_in_both(joined: str) -> None:
    data = Pieces([b"x" * 1000] * 1000)
    async with pair(joined, text, max_handles=30) as front:
        stream, total = await front.pipe(data)
        assert await stream.read(10) == piped(b"x" * 10)
        stream.close()
        assert 1000 <= await total <= 1000 * data.given
        await until(lambda: data.closed)
        assert data.given < 100
        for _ in range(20):  # and nothing of it is left
            stream, total = await front.pipe(b"abc")
            stream.close()
            total.close()
        assert await front.ask("tag", 1) == "tag 1"


async def test_many_streams_at_once_keep_their_bytes_apart(joined: str) -> None:
    outcomes: dict[int, tuple[bytes, int]] = {}
    async with pair(joined, text) as front, anyio.create_task_group() as group:

        async def run(number: int) -> None:
            stream, total = await front.pipe(Pieces(cut(b"stream %d " % number * 300, 500 + number)))
            outcomes[number] = await stream.read_all(), await total

        for number in range(50):
            group.start_soon(run, number)
    for number, (data, total) in outcomes.items():
        assert data == piped(b"stream %d " % number * 300)
        assert total == len(data)
    assert len(outcomes) == 50


async def test_a_stream_of_the_pair_is_given_to_it_again(joined: str) -> None:
    data = bytes(range(256)) * 30
    async with pair(joined, text) as front:
        stream: Any = data
        for _ in range(3):
            stream, _total = await front.pipe(stream)
        assert await stream.read_all() == piped(piped(piped(data)))


async def test_a_writer_that_fails_traps_who_reads(joined: str) -> None:
    async with pair(joined, text) as front:
        stream, _ = await front.pipe(Pieces([b"abc", OSError("disk")]))
        with pytest.raises(Trap, match="disk"):
            await stream.read_all()


# Futures


@pytest.mark.parametrize("number", [0, 21, 2**30])
async def test_a_future_goes_there_and_back_twice(joined: str, number: int) -> None:
    async with pair(joined, text) as front:
        assert await (await front.quadruple(Later(number))) == 4 * number % 2**32


async def test_futures_are_given_whenever_their_numbers_come(joined: str) -> None:
    events = [anyio.Event() for _ in range(50)]

    async def number_after(number: int) -> int:
        await events[number].wait()
        return number

    async with pair(joined, text) as front, anyio.create_task_group() as group:
        futures = [await front.quadruple(number_after(number)) for number in range(50)]
        order = list(range(50))
        random.Random(8).shuffle(order)
        reads = [await start(group, future.read) for future in futures]
        for number in order:
            await settled()
            assert not reads[number].over
            events[number].set()
            assert await reads[number].ended() == 4 * number


async def test_a_future_that_nobody_reads_is_no_obstacle(joined: str) -> None:
    async with pair(joined, text, max_handles=30) as front:
        for _ in range(30):
            (await front.quadruple(Later(1))).close()
            await settled()
        assert await (await front.quadruple(Later(2))) == 8


async def test_a_number_that_never_comes_keeps_nobody_from_going_on(joined: str) -> None:
    async with pair(joined, text) as front:
        future = await front.quadruple(Never())
        with anyio.move_on_after(0.01) as scope:
            await future
        assert scope.cancelled_caught
        assert await front.ask("tag", 1) == "tag 1"


async def test_a_number_that_fails_traps_who_reads(joined: str) -> None:
    async with pair(joined, text) as front:
        with pytest.raises(Trap, match="no number"):
            await (await front.quadruple(Later(OSError("no number"))))


# Failure


async def test_a_trap_in_the_back_is_told_to_all_callers_of_the_front(joined: str) -> None:
    work = Imported()
    send, receive = anyio.create_memory_object_stream[bytes](0)
    async with pair(joined, work) as front, anyio.create_task_group() as group, send, receive:
        calls = [await start(group, front[name], "tag", 0) for name in ("ask", "ask-blocking", "ask")]
        await work.started(3)
        stream, total = await front.pipe(receive)
        future = await front.quadruple(Never())
        calls += [await start(group, read) for read in (stream.read, total.read, future.read)]
        await settled()
        trap = await start(group, front.ask, "", 0)
        for call in (trap, *calls):
            outcome = await call.ended()
            assert isinstance(outcome, Trap)
            assert "unreachable" in str(outcome)
        await until(lambda: not work.waiting)
        assert [call.outcome for call in work.calls] == ["cancelled"] * 3
        with pytest.raises(Trap, match="cannot enter"):
            await front.ask("tag", 0)


@ASKS
async def test_a_host_function_that_fails_is_the_cause_of_the_trap(joined: str, name: str) -> None:
    def broken(tag: str, ms: int) -> str:
        raise LookupError(tag)

    async with pair(joined, broken) as front:
        with pytest.raises(Trap, match="work' raised LookupError: tag") as raised:
            await front[name]("tag", 0)
        assert isinstance(raised.value.__cause__, LookupError)


@ASKS
async def test_leaving_the_block_ends_the_calls_in_progress(joined: str, name: str) -> None:
    work = Imported()
    async with anyio.create_task_group() as group:
        async with pair(joined, work) as front:
            calls = [await start(group, front[name], "tag", 0) for _ in range(2 * MOST)]
            await work.started(MOST)
        for call in calls:
            assert isinstance(await call.ended(), InstanceClosed)
        await until(lambda: not work.waiting)


# The composed component alone


@pytest.mark.virtual_time
@pytest.mark.parametrize("seed", range(10))
async def test_outcomes_are_the_same_whatever_the_host_chooses(seed: int) -> None:
    chance = random.Random(seed)
    data = bytes(range(256)) * 20
    async with pair("composed", text, scheduler=from_seed(seed)) as front, anyio.create_task_group() as group:
        asks = [await start(group, front[chance.choice(["ask", "ask-blocking"])], f"{n}", n) for n in range(40)]
        pipes = [await start(group, front.pipe, data) for _ in range(5)]
        futures = [await start(group, front.quadruple, Later(n)) for n in range(5)]
        for pipe in pipes:
            stream, total = await pipe.ended()
            assert isinstance(stream, StreamReader)
            assert await stream.read_all() == piped(data)
            assert await total == len(data)
        assert [await call.ended() for call in asks] == [f"{n} {n}" for n in range(40)]
        assert [await (await call.ended()) for call in futures] == [4 * n for n in range(5)]


def test_inspect_tells_what_the_composed_component_imports_and_exports() -> None:
    result = CliRunner().invoke(cli.main, ["inspect", str(GUESTS / "c-pair" / "c-pair.wasm")])
    assert result.exit_code == 0
    for line in (
        "import p3host:c-back/host@0.1.0;",
        "export p3host:c-front/guest@0.1.0;",
        "pipe: async func(data: stream<u8>) -> tuple<stream<u8>, future<u64>>;",
        "lifts: 0 sync, 2 async with callback, 5 async stackful",
        "lowers: 3 sync, 2 async",
    ):
        assert line in result.output
    assert "double-all" not in result.output, "what the two say to each other is not of the world"

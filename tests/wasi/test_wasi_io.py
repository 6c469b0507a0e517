"""`wasi:io` 0.2."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from wasi_fakes import ManualClock, ScriptedSink, ScriptedSource, finish

from p3host.errors import Err, Trap
from p3host.wasi.byte_streams import PIECE
from p3host.wasi.p2.clocks import Monotonic
from p3host.wasi.p2.io import BLOCKING_WRITE_LIMIT, Error, InputStream, OutputStream, Pollable, poll

pytestmark = pytest.mark.anyio

BROKEN = OSError(errno.EIO, "Input/output error", "/secret/path")


async def never() -> None:
    await anyio.sleep_forever()


READY = Pollable(lambda: True, never)
NEVER = Pollable(lambda: False, never)


class Switch(Pollable):
    """A pollable that `set` makes ready. `cancelled` counts the waits that were cancelled."""

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.waiting = self.cancelled = 0
        super().__init__(self.event.is_set, self.wait_for_event)

    async def wait_for_event(self) -> None:
        self.waiting += 1
        try:
            await self.event.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1


def test_poll_traps_if_the_list_is_empty() -> None:
    with pytest.raises(Trap, match="empty"):
        poll([])


def test_poll_answers_at_once_with_all_that_are_ready() -> None:
    assert poll([NEVER, READY, NEVER, READY]) == [1, 3]


def test_block_answers_at_once_if_ready() -> None:
    assert READY.block() is None


@pytest.mark.parametrize("others", [0, 1, 5])
async def test_poll_waits_for_the_first_and_cancels_the_other_waits(others: int) -> None:
    first, rest = Switch(), [Switch() for _ in range(others)]
    answers: list[list[int]] = []

    async def guest() -> None:
        answers.append(await finish(poll([*rest, first])))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(guest)
        await anyio.wait_all_tasks_blocked()
        assert not answers
        first.event.set()
    assert answers == [[others]]
    assert [(other.waiting, other.cancelled) for other in rest] == [(0, 1)] * others


async def test_poll_waits_once_for_a_handle_that_is_listed_often() -> None:
    switch, other = Switch(), Switch()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(finish, poll([switch, other] * 1000))
        await anyio.wait_all_tasks_blocked()
        assert switch.waiting == other.waiting == 1
        switch.event.set()


def test_poll_asks_once_a_handle_that_is_listed_often() -> None:
    asked: list[int] = []

    def ready() -> bool:
        asked.append(len(asked))
        return True

    assert poll([NEVER, *[Pollable(ready, never)] * 1000]) == list(range(1, 1001))
    assert asked == [0]


async def test_poll_of_a_long_list_leaves_others_their_turn() -> None:
    turns = 0
    seen: list[list[int]] = [[], []]  # the turns of others at which each pollable was asked and waited for

    def ready() -> bool:
        seen[0].append(turns)
        return False

    async def wait() -> None:
        seen[1].append(turns)
        await never()

    switch = Switch()

    async def others() -> None:
        nonlocal turns
        while not switch.event.is_set():
            await anyio.lowlevel.checkpoint()
            turns += 1
            if len(seen[1]) == 2000:
                switch.event.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        assert await finish(poll([*(Pollable(ready, wait) for _ in range(2000)), switch])) == [2000]
    asked, waited = seen
    assert len(set(asked[:2000])) > 1
    assert len(set(waited)) > 1


async def test_poll_goes_on_after_a_wait_that_ended_for_nothing() -> None:
    switch = Switch()

    async def spurious() -> None:
        if switch.waiting:
            await never()
        await anyio.lowlevel.checkpoint()

    async def set_later() -> None:
        await anyio.sleep(0.01)
        switch.event.set()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(set_later)
            assert await finish(poll([Pollable(lambda: False, spurious), switch])) == [1]


async def test_poll_with_a_time_out_leaves_what_was_not_there_to_read() -> None:
    clock = ManualClock()
    source = ScriptedSource(None, b"late")
    stream = InputStream(source)
    held = anyio.Event()
    source.wait = held.wait  # type: ignore[method-assign]
    timer = Monotonic(clock).subscribe_duration(10)
    answers: list[list[int]] = []

    async def guest() -> None:
        answers.append(await finish(poll([stream.subscribe(), timer])))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(guest)
        await anyio.wait_all_tasks_blocked()
        clock.advance(10)
    assert answers == [[1]]
    del source.steps[0]
    assert stream.read(10) == b"late"


async def test_read_gives_what_is_there() -> None:
    stream = InputStream(ScriptedSource(b"abcdef", None, b"gh"))
    assert stream.read(4) == b"abcd"
    assert stream.read(4) == b"ef"
    assert stream.read(4) == b""
    assert not stream.subscribe().ready()
    assert await finish(stream.blocking_read(4)) == b"gh"


async def test_blocking_read_answers_at_once_if_it_can() -> None:
    assert InputStream(ScriptedSource(b"abc")).blocking_read(2) == b"ab"


def test_read_of_a_huge_length_takes_one_piece() -> None:
    stream = InputStream(ScriptedSource(bytes(3 * PIECE)))
    assert len(stream.read(2**64 - 1)) == PIECE


async def test_skip_counts() -> None:
    stream = InputStream(ScriptedSource(b"abcdef", None, b"gh"))
    assert stream.skip(2) == 2
    assert await finish(stream.blocking_skip(100)) == 4
    assert stream.skip(100) == 0
    assert await finish(stream.blocking_skip(100)) == 2


READS: list[Callable[[InputStream], Any]] = [
    lambda stream: stream.read(1),
    lambda stream: stream.blocking_read(1),
    lambda stream: stream.skip(1),
    lambda stream: stream.blocking_skip(1),
    lambda stream: OutputStream(ScriptedSink()).splice(stream, 1),
    lambda stream: OutputStream(ScriptedSink()).blocking_splice(stream, 1),
]


async def use_until_it_raises(use: Callable[[], Any], source: ScriptedSource) -> None:
    while not await finish(use()):
        await source.wait()


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("steps", [(), (None,)])
async def test_every_read_says_closed_at_the_end(read: Callable[[InputStream], Any], steps: tuple[None, ...]) -> None:
    source = ScriptedSource(*steps)
    stream = InputStream(source)
    with pytest.raises(Err) as raised:
        await use_until_it_raises(lambda: read(stream), source)
    assert raised.value.value == "closed"
    assert stream.subscribe().ready()
    with pytest.raises(Err, match="closed"):
        stream.read(0)


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("steps", [(BROKEN,), (None, BROKEN)])
async def test_every_read_tells_an_error_once_and_is_closed(read: Callable[[InputStream], Any], steps: Any) -> None:
    source = ScriptedSource(*steps)
    stream = InputStream(source)
    with pytest.raises(Err) as raised:
        await use_until_it_raises(lambda: read(stream), source)
    assert raised.value.value.tag == "last-operation-failed"
    assert raised.value.value.value.cause is BROKEN
    with pytest.raises(Err, match="closed"):
        await finish(read(stream))


@pytest.mark.parametrize("read", ["read", "blocking_read"])
def test_read_of_nothing_from_an_open_stream_is_empty(read: str) -> None:
    source = ScriptedSource(None, b"x")
    assert getattr(InputStream(source), read)(0) == b""
    assert source.steps == [None, b"x"]


def test_an_error_tells_nothing_of_the_host() -> None:
    assert Error(BROKEN).to_debug_string() == "Input/output error"
    assert Error(OSError()).to_debug_string() == "OSError"


def test_dropping_a_stream_closes_what_it_stands_on() -> None:
    source, sink = ScriptedSource(b"x"), ScriptedSink()
    InputStream(source).close()
    OutputStream(sink).close()
    assert source.closed
    assert sink.closed


def test_write_needs_a_permit() -> None:
    stream = OutputStream(ScriptedSink())
    with pytest.raises(Trap, match="permits 0"):
        stream.write(b"x")


def test_a_permit_is_used_up_by_writes() -> None:
    stream = OutputStream(ScriptedSink(capacity=10))
    assert stream.check_write() == 10
    assert stream.write(b"123456") is None
    assert stream.write_zeroes(4) is None
    with pytest.raises(Trap, match="write of 1 bytes, but check-write permits 0"):
        stream.write(b"x")


def test_write_zeroes_of_a_huge_length_traps() -> None:
    stream = OutputStream(ScriptedSink())
    stream.check_write()
    with pytest.raises(Trap, match="permits"):
        stream.write_zeroes(2**64 - 1)


def test_an_empty_write_needs_no_permit() -> None:
    sink = ScriptedSink(capacity=0)
    stream = OutputStream(sink)
    assert stream.check_write() == 0
    assert stream.write(b"") is None
    assert stream.write_zeroes(0) is None
    assert stream.blocking_write_and_flush(b"") is None
    assert sink.data == b""


async def test_a_full_sink_permits_nothing_until_its_pollable_is_ready() -> None:
    sink = ScriptedSink(capacity=4)
    stream = OutputStream(sink)
    assert stream.check_write() == 4
    stream.write(b"abcd")
    assert stream.check_write() == 0
    pollable = stream.subscribe()
    assert not pollable.ready()
    await finish(pollable.block())
    assert stream.check_write() == 4


async def test_blocking_write_writes_all() -> None:
    sink = ScriptedSink(capacity=5)
    stream = OutputStream(sink)
    await finish(stream.blocking_write_and_flush(b"hello world"))
    assert sink.data == b"hello world"
    assert sink.waits == 2
    await finish(stream.blocking_write_zeroes_and_flush(BLOCKING_WRITE_LIMIT))
    assert sink.data == b"hello world" + bytes(BLOCKING_WRITE_LIMIT)


@pytest.mark.parametrize("length", [BLOCKING_WRITE_LIMIT + 1, 2**64 - 1])
def test_blocking_write_traps_if_too_long(length: int) -> None:
    stream = OutputStream(ScriptedSink())
    with pytest.raises(Trap, match="at most 4096"):
        stream.blocking_write_zeroes_and_flush(length)
    with pytest.raises(Trap, match="at most 4096"):
        stream.blocking_write_and_flush(bytes(BLOCKING_WRITE_LIMIT + 1))


WRITES: list[Callable[[OutputStream], Any]] = [
    lambda stream: stream.write(b"1234"),
    lambda stream: stream.write_zeroes(4),
    lambda stream: stream.blocking_write_and_flush(b"1234"),
    lambda stream: stream.blocking_write_zeroes_and_flush(4),
    lambda stream: stream.splice(InputStream(ScriptedSource(b"1234")), 4),
    lambda stream: stream.blocking_splice(InputStream(ScriptedSource(None, b"1234")), 4),
]
CHECKS: list[Callable[[OutputStream], Any]] = [
    lambda stream: stream.check_write(),
    lambda stream: stream.flush(),
    lambda stream: stream.blocking_flush(),
]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("limit", [0, 2])
async def test_every_write_tells_an_error_once_and_is_closed(write: Callable[[OutputStream], Any], limit: int) -> None:
    sink = ScriptedSink(capacity=2, limit=limit, promise=PIECE)
    stream = OutputStream(sink)
    stream.check_write()
    with pytest.raises(Err) as raised:
        await finish(write(stream))
    assert raised.value.value.tag == "last-operation-failed"
    assert raised.value.value.value.to_debug_string() == "Broken pipe"
    for use in [*WRITES, *CHECKS]:
        with pytest.raises(Err, match="closed"):
            await finish(use(stream))
    assert stream.subscribe().ready()


def test_a_flush_keeps_the_permit() -> None:
    stream = OutputStream(ScriptedSink(capacity=3))
    stream.check_write()
    stream.flush()
    stream.blocking_flush()
    assert stream.write(b"abc") is None


@pytest.mark.parametrize(
    ("available", "room", "length", "moved"),
    [(b"abcdef", 10, 4, 4), (b"abcdef", 3, 4, 3), (b"ab", 10, 4, 2), (b"ab", 0, 4, 0), (b"ab", 10, 0, 0)],
)
async def test_splice_moves_what_both_ends_allow(available: bytes, room: int, length: int, moved: int) -> None:
    sink = ScriptedSink(capacity=room)
    assert await finish(OutputStream(sink).splice(InputStream(ScriptedSource(available)), length)) == moved
    assert sink.data == available[:moved]


async def test_splice_moves_nothing_if_nothing_is_there() -> None:
    assert OutputStream(ScriptedSink()).splice(InputStream(ScriptedSource(None, b"x")), 10) == 0


@pytest.mark.parametrize("steps", [(b"abc",), (None, b"abc"), (None, None, b"abc")])
async def test_blocking_splice_waits_for_both_ends(steps: Any) -> None:
    sink = ScriptedSink(capacity=2)
    sink.free = 0
    assert await finish(OutputStream(sink).blocking_splice(InputStream(ScriptedSource(*steps)), 10)) == 2
    assert sink.data == b"ab"


async def test_splice_holds_the_guest_until_a_slow_sink_took_all() -> None:
    sink = ScriptedSink(capacity=2, promise=100)
    assert await finish(OutputStream(sink).splice(InputStream(ScriptedSource(b"abcdef")), 10)) == 6
    assert sink.data == b"abcdef"

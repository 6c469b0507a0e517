"""Streams and futures whose ends are in two instances, one of which ends before the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from guest_text import let_others_run, load, passing_on
from stream_guest import BLOCKED, DROPPED, stream_guest

from p3host import Instance, InstanceClosed, StreamReader, Trap
from p3host.runtime.waitable import EventCode

pytestmark = pytest.mark.anyio

READ, WRITE = EventCode.STREAM_READ, EventCode.STREAM_WRITE


def instance() -> Instance:
    async def no_gate() -> int:
        return 0

    return stream_guest().instantiate({"gate": no_gate})


async def end_of(ending: Instance, how: str) -> None:
    """Ends an instance in the middle of its block, as leaving it or a trap does."""
    if how == "closed":
        ending.driver.close()
    else:
        ending.driver.step(lambda: raise_trap())
    await let_others_run()


def raise_trap() -> None:
    raise Trap("the guest has failed")


ENDS = pytest.mark.parametrize("how", ["closed", "trapped"])


async def new_stream(guest: Instance) -> tuple[int, int]:
    ends = await guest.exports.stream_new()
    return ends & 0xFFFF_FFFF, ends >> 32


async def give(giver: Instance, readable: int, taker: Instance) -> int:
    """Passes a readable end on, and returns its index there."""
    return int(await taker.exports.take_stream(await giver.exports.give_stream(readable)))


@ENDS
async def test_reader_learns_that_the_writers_instance_has_ended(how: str) -> None:
    async with instance() as stays, instance() as ends:
        readable, _ = await new_stream(ends)
        index = await give(ends, readable, stays)
        assert await stays.exports.stream_read(index, 4) == BLOCKED
        await end_of(ends, how)
        assert await stays.exports.event(index) == (READ, index, DROPPED)
        await stays.exports.stream_drop_readable(index)


@ENDS
async def test_writer_learns_that_the_readers_instance_has_ended(how: str) -> None:
    async with instance() as stays, instance() as ends:
        readable, writable = await new_stream(stays)
        await give(stays, readable, ends)
        assert await stays.exports.stream_write(writable, b"abc") == BLOCKED
        await end_of(ends, how)
        assert await stays.exports.event(writable) == (WRITE, writable, DROPPED)


@ENDS
@pytest.mark.parametrize("reads", [True, False])
async def test_copy_that_was_pending_in_the_ended_instance_is_forgotten(how: str, reads: bool) -> None:
    """Nothing is copied to or from the memory of an instance that is gone."""
    async with instance() as stays, instance() as ends:
        readable, writable = await new_stream(stays if reads else ends)
        if reads:
            index = await give(stays, readable, ends)
            assert await ends.exports.stream_read(index, 4) == BLOCKED
        else:
            index = await give(ends, readable, stays)
            assert await ends.exports.stream_write(writable, b"abc") == BLOCKED
        await end_of(ends, how)
        if reads:
            assert await stays.exports.stream_write(writable, b"abc") == DROPPED
        else:
            assert await stays.exports.stream_read(index, 4) == DROPPED


@ENDS
async def test_stream_of_pythons_ends_with_the_instance_that_was_given_it(how: str) -> None:
    closed: list[bool] = []

    async def pieces() -> AsyncIterator[bytes]:
        try:
            await anyio.sleep_forever()
            yield b""
        finally:
            closed.append(True)

    async with instance() as stays, instance() as ends:
        index = await give(ends, await ends.exports.take_stream(pieces()), stays)
        assert await stays.exports.stream_read(index, 4) == BLOCKED
        await end_of(ends, how)
        assert await stays.exports.event(index) == (READ, index, DROPPED)
    assert closed == [True]


@ENDS
async def test_python_that_reads_learns_which_guest_has_ended(how: str) -> None:
    async with instance() as ends, anyio.create_task_group() as group:
        readable, _ = await new_stream(ends)
        reader: StreamReader = await ends.exports.give_stream(readable)
        failures: list[Any] = []

        async def read() -> None:
            try:
                failures.append(await reader.read())
            except (Trap, InstanceClosed) as error:
                failures.append(type(error))

        group.start_soon(read)
        await let_others_run()
        await end_of(ends, how)
    assert failures == [InstanceClosed if how == "closed" else Trap]


@ENDS
async def test_end_that_python_got_from_an_ended_instance_can_still_be_closed(how: str) -> None:
    async with instance() as stays, instance() as ends:
        readable, writable = await new_stream(stays)
        index = await give(stays, readable, ends)
        reader = await ends.exports.give_stream(index)
        await end_of(ends, how)
        reader.close()
        assert await stays.exports.stream_write(writable, b"abc") == DROPPED


async def test_values_between_two_guests_may_hold_ends_of_a_third() -> None:
    component = load(passing_on("(type $s (stream u8))", '(param "v" $s)', "(result $s)"))
    async with instance() as stays:
        readable, writable = await new_stream(stays)
        async with (
            component.instantiate({"host": lambda value: value}) as one,
            component.instantiate({"host": one.exports.echo}) as two,
        ):
            reader = await two.exports.echo(await stays.exports.give_stream(readable))
            index = await stays.exports.take_stream(reader)
        assert await stays.exports.stream_read(index, 4) == BLOCKED
        assert await stays.exports.stream_write(writable, b"abc") == 3 << 4
        assert await stays.exports.bytes_read(index, 3) == b"abc"


@ENDS
async def test_python_that_reads_by_way_of_another_instance_is_told_of_the_failure(how: str) -> None:
    """A stream that was cut off is no stream at its end."""
    async with instance() as stays, instance() as ends:
        readable, writable = await new_stream(ends)
        reader = await stays.exports.give_stream(await give(ends, readable, stays))
        assert await ends.exports.stream_write(writable, b"abc") == BLOCKED
        assert await reader.read() == b"abc"
        await end_of(ends, how)
        with pytest.raises(Trap, match="the guest at the other end trapped: "):
            await reader.read()


@ENDS
async def test_stream_that_was_at_its_end_before_stays_so(how: str) -> None:
    async with instance() as stays, instance() as ends:
        readable, writable = await new_stream(ends)
        reader = await stays.exports.give_stream(await give(ends, readable, stays))
        await ends.exports.stream_drop_writable(writable)
        await end_of(ends, how)
        assert await reader.read_all() == b""

"""What a guest writes between a large read's first piece and its reader's next turn is for that read too."""

from __future__ import annotations

import math
from typing import Any

import anyio
import pytest
from guest_text import let_others_run
from stream_guest import BLOCKED, COMPLETED, DROPPED, stream_guest

from p3host import Instance, InstanceClosed, StreamReader, Trap
from p3host.host import streams
from p3host.host.driver import loop_share
from p3host.runtime.waitable import EventCode

pytestmark = pytest.mark.anyio

WRITE = EventCode.STREAM_WRITE
ORDINARY = 4  # elements that a read asks for without gathering


@pytest.fixture(autouse=True)
def small_reads_gather(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "DEFAULT_READ", ORDINARY)


async def no_gate() -> int:
    return 0


def instance() -> Instance:
    return stream_guest().instantiate({"gate": no_gate})


async def new_stream(instance: Any) -> tuple[StreamReader, int]:
    """A stream of the guest: its readable end as the host has it, and the index of its writable end."""
    loop_share().seconds = -math.inf  # so that no reader gets a turn because the machine is slow
    ends = await instance.exports.stream_new()
    return await instance.exports.give_stream(ends & 0xFFFF_FFFF), ends >> 32


class Read:
    """A read that waits in a task of its own."""

    def __init__(self, reader: StreamReader, max_count: int) -> None:
        self.reader = reader
        self.max_count = max_count
        self.scope = anyio.CancelScope()
        self.got: list[bytes] = []

    async def __call__(self) -> None:
        with self.scope:
            self.got.append(await self.reader.read(self.max_count))


async def test_a_read_that_waited_takes_what_comes_until_its_reader_goes_on() -> None:
    async with instance() as guest, anyio.create_task_group() as group:
        reader, writable = await new_stream(guest)
        read = Read(reader, 8)
        group.start_soon(read)
        await let_others_run()
        assert await guest.exports.stream_write(writable, b"abc") == COMPLETED | 3 << 4
        assert await guest.exports.stream_write(writable, b"def") == COMPLETED | 3 << 4
        assert await guest.exports.stream_write(writable, b"ghi") == COMPLETED | 2 << 4
        assert await guest.exports.stream_write(writable, b"ijk") == BLOCKED
        await let_others_run()
        assert read.got == [b"abcdefgh"]
        assert await reader.read(100) == b"ijk"


async def test_an_ordinary_read_ends_with_the_first_piece() -> None:
    async with instance() as guest, anyio.create_task_group() as group:
        reader, writable = await new_stream(guest)
        read = Read(reader, ORDINARY)
        group.start_soon(read)
        await let_others_run()
        assert await guest.exports.stream_write(writable, b"abc") == COMPLETED | 3 << 4
        assert await guest.exports.stream_write(writable, b"def") == BLOCKED
        await let_others_run()
        assert read.got == [b"abc"]
        assert await reader.read(ORDINARY) == b"def"


async def test_a_read_that_had_to_wait_for_nothing_takes_no_more_than_was_written() -> None:
    async with instance() as guest:
        reader, writable = await new_stream(guest)
        assert await guest.exports.stream_write(writable, b"abc") == BLOCKED
        assert await reader.read(100) == b"abc"
        assert await guest.exports.event(writable) == (WRITE, writable, COMPLETED | 3 << 4)
        assert await guest.exports.stream_write(writable, b"def") == BLOCKED
        assert await reader.read(100) == b"def"


async def test_a_read_takes_only_so_many_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_PIECES", 3)
    async with instance() as guest, anyio.create_task_group() as group:
        reader, writable = await new_stream(guest)
        read = Read(reader, 100)
        group.start_soon(read)
        await let_others_run()
        for _ in range(3):
            assert await guest.exports.stream_write(writable, b"x") == COMPLETED | 1 << 4
        assert await guest.exports.stream_write(writable, b"y") == BLOCKED
        await let_others_run()
        assert read.got == [b"xxx"]
        assert await reader.read(100) == b"y"


async def test_a_cancelled_read_keeps_all_pieces_for_the_next_one() -> None:
    async with instance() as guest, anyio.create_task_group() as group:
        reader, writable = await new_stream(guest)
        read = Read(reader, 100)
        group.start_soon(read)
        await let_others_run()
        read.scope.cancel()
        assert await guest.exports.stream_write(writable, b"abc") == COMPLETED | 3 << 4
        assert await guest.exports.stream_write(writable, b"def") == COMPLETED | 3 << 4
        await let_others_run()
        assert read.got == []
        assert await guest.exports.stream_write(writable, b"ghi") == BLOCKED
        assert await reader.read(100) == b"abcdef"
        assert await reader.read(100) == b"ghi"


async def test_a_stream_that_ends_after_a_write_gives_the_piece_and_then_the_end() -> None:
    async with instance() as guest, anyio.create_task_group() as group:
        reader, writable = await new_stream(guest)
        read = Read(reader, 100)
        group.start_soon(read)
        await let_others_run()
        assert await guest.exports.stream_write(writable, b"abc") == COMPLETED | 3 << 4
        await guest.exports.stream_drop_writable(writable)
        await let_others_run()
        assert read.got == [b"abc"]
        assert await reader.read(100) == b""


async def test_an_end_that_is_closed_during_a_read_takes_nothing_more() -> None:
    async with instance() as guest, anyio.create_task_group() as group:
        reader, writable = await new_stream(guest)
        read = Read(reader, 100)
        group.start_soon(read)
        await let_others_run()
        assert await guest.exports.stream_write(writable, b"abc") == COMPLETED | 3 << 4
        reader.close()
        assert await guest.exports.stream_write(writable, b"def") == DROPPED
        await let_others_run()
        assert read.got == [b"abc"]


@pytest.mark.parametrize("how", ["closed", "trapped"])
@pytest.mark.parametrize("by_way_of_another", [True, False])
async def test_an_instance_that_ends_after_a_write_gives_the_piece_and_then_its_failure(
    how: str, by_way_of_another: bool
) -> None:
    async with instance() as stays, instance() as ends, anyio.create_task_group() as group:
        reader, writable = await new_stream(ends)
        if by_way_of_another:
            reader = await stays.exports.give_stream(await stays.exports.take_stream(reader))
        read = Read(reader, 100)
        group.start_soon(read)
        await let_others_run()
        assert await ends.exports.stream_write(writable, b"abc") == COMPLETED | 3 << 4
        if how == "closed":
            ends.driver.close()
        else:
            ends.driver.step(raise_trap)
        await let_others_run()
        assert read.got == [b"abc"]
        with pytest.raises((Trap, InstanceClosed)):
            await reader.read(100)


def raise_trap() -> None:
    raise Trap("the guest has failed")

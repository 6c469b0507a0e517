"""What comes between: reads that are cancelled while a guest writes, pieces that come while a guest is busy."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from guest_text import let_others_run, load, passing_on
from stream_guest import BLOCKED, COMPLETED, DROPPED, stream_guest

from p3host import StreamReader
from p3host.host.driver import loop_share

pytestmark = pytest.mark.anyio


async def no_gate() -> int:
    return 0


async def new_stream(instance: Any) -> tuple[StreamReader, int]:
    """A stream of the guest: its readable end as the host has it, and the index of its writable end."""
    ends = await instance.exports.stream_new()
    return await instance.exports.give_stream(ends & 0xFFFF_FFFF), ends >> 32


async def test_read_that_is_cancelled_in_the_step_in_which_the_guest_writes_loses_nothing() -> None:
    async with stream_guest().instantiate({"gate": no_gate}) as instance, anyio.create_task_group() as group:
        reader, writable = await new_stream(instance)
        scope = anyio.CancelScope()
        got: list[bytes] = []

        async def read() -> None:
            with scope:
                got.append(await reader.read())

        group.start_soon(read)
        await let_others_run()
        scope.cancel()
        assert await instance.exports.stream_write(writable, b"abcdef") == COMPLETED | 6 << 4
        await let_others_run()
        assert got == []
        assert await reader.read(2) == b"ab"
        assert await reader.read() == b"cdef"
        assert await instance.exports.stream_write(writable, b"ghi") == BLOCKED
        assert await reader.read() == b"ghi"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_read_whose_task_is_cancelled_after_the_guest_has_written_loses_nothing() -> None:
    async with stream_guest().instantiate({"gate": no_gate}) as instance:
        reader, writable = await new_stream(instance)
        task = asyncio.ensure_future(reader.read())
        await let_others_run()
        assert await instance.exports.stream_write(writable, b"abc") == COMPLETED | 3 << 4
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await reader.read() == b"abc"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("turns", range(6))
async def test_elements_keep_their_order_whenever_a_read_is_cancelled(turns: int) -> None:
    async with stream_guest().instantiate({"gate": no_gate}) as instance:
        reader, writable = await new_stream(instance)
        task = asyncio.ensure_future(reader.read())
        await let_others_run()
        await instance.exports.stream_write(writable, b"abcdef")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        loop_share().seconds = math.inf  # so that the read comes a turn later
        task = asyncio.ensure_future(reader.read(2))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            got = await task
        except asyncio.CancelledError:
            got = b""
        while len(got) < 6:
            got += await reader.read()
        assert got == b"abcdef"


async def test_what_a_cancelled_read_has_left_is_passed_on_with_the_stream() -> None:
    async with stream_guest().instantiate({"gate": no_gate}) as instance:
        reader, writable = await new_stream(instance)
        scope = anyio.CancelScope()

        async def read() -> None:
            with scope:
                await reader.read()

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await let_others_run()
            scope.cancel()
            assert await instance.exports.stream_write(writable, b"abc") == COMPLETED | 3 << 4
        assert await instance.exports.stream_write(writable, b"def") == BLOCKED
        readable = await instance.exports.take_stream(reader)
        assert await instance.exports.stream_read(readable, 2) == COMPLETED | 2 << 4
        assert await instance.exports.stream_read(readable, 9) == COMPLETED | 1 << 4
        assert await instance.exports.stream_read(readable, 9) == COMPLETED | 3 << 4
        assert await instance.exports.bytes_read(readable, 3) == b"def"
        await instance.exports.event(writable)
        await instance.exports.stream_drop_readable(readable)
        assert await instance.exports.stream_write(writable, b"ghi") == DROPPED


async def test_cancelled_await_of_a_future_loses_nothing() -> None:
    async with stream_guest().instantiate({"gate": no_gate}) as instance, anyio.create_task_group() as group:
        ends = await instance.exports.future_new()
        future = await instance.exports.give_future(ends & 0xFFFF_FFFF)
        scope = anyio.CancelScope()

        async def read() -> None:
            with scope:
                await future

        group.start_soon(read)
        await let_others_run()
        scope.cancel()
        assert await instance.exports.future_write(ends >> 32, b"x") == COMPLETED
        await let_others_run()
        assert await future == ord("x")


async def test_pieces_that_come_while_the_guest_is_held_are_all_read() -> None:
    given = [b"one ", b"two ", b"three ", b"four"]
    released = anyio.Event()

    async def gate() -> int:
        await released.wait()
        return 7

    async def pieces() -> AsyncIterator[bytes]:
        for piece in given:
            await holds.wait()
            yield piece

    holds = anyio.Event()
    async with stream_guest().instantiate({"gate": gate}) as instance, anyio.create_task_group() as group:
        readable = await instance.exports.take_stream(pieces())
        assert await instance.exports.stream_read(readable, 2) == BLOCKED
        group.start_soon(instance.exports.hold)
        await let_others_run()
        holds.set()
        await let_others_run()
        released.set()
        await let_others_run()
        code, _, payload = await instance.exports.event(readable)
        got = await instance.exports.bytes_read(readable, payload >> 4)
        while True:
            payload = await instance.exports.stream_read(readable, 100)
            while payload == BLOCKED:
                await let_others_run()
                code, _, payload = await instance.exports.event(readable)
                if not code:
                    payload = BLOCKED
            got += await instance.exports.bytes_read(readable, payload >> 4)
            if payload & 15 == DROPPED:
                break
        assert got == b"".join(given)


async def test_pieces_of_a_stream_that_comes_back_from_a_guest_are_bytes() -> None:
    text = passing_on("(type $s (stream u8))", '(param "v" $s)', "(result $s)")
    async with load(text).instantiate({"host": lambda stream: stream}) as instance:
        stream = await instance.exports.echo(bytearray(b"abc"))
        assert type(await stream.read(2)) is bytes
        assert await stream.read_all() == b"c"


async def test_negative_number_of_elements_is_refused() -> None:
    async with stream_guest().instantiate({"gate": no_gate}) as instance:
        reader, writable = await new_stream(instance)
        assert await instance.exports.stream_write(writable, b"abc") == BLOCKED
        with pytest.raises(ValueError, match="-1"):
            await reader.read(-1)
        assert await reader.read() == b"abc"

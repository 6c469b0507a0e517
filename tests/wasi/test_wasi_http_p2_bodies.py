"""`wasi:http` 0.2: bodies that guests read and write, with their trailers."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from http_fakes import BROKEN, PlainBody, soon
from http_p2_fakes import (
    TERMINATED,
    TaskGroupBackground,
    code_of,
    fields,
    incoming_request,
    outgoing_request,
    read_all,
    refused,
    running,
    trailers_of,
    write,
)
from wasi_fakes import finish

from p3host.errors import Err, Trap
from p3host.values import Ok
from p3host.wasi.http import ErrorCode, HttpRequest
from p3host.wasi.http.bodies import PlainReader
from p3host.wasi.http.fields import MAX_FIELDS
from p3host.wasi.p2.http_bodies import CAPACITY, DROPPED, IncomingBody, OutgoingBody, WrittenBody
from p3host.wasi.p2.io import poll

pytestmark = pytest.mark.anyio


def request_body(background: TaskGroupBackground, content: Any, *headers: Any, trailers: Any = None) -> IncomingBody:
    return incoming_request(HttpRequest(body=content, headers=headers, trailers=trailers), background).consume()


# Bodies that come


@pytest.mark.parametrize("pieces", [None, [b"abcde", b"", b"fghijkl"]])
async def test_a_body_is_read_to_its_end_and_then_its_trailers(pieces: Any) -> None:
    async with running() as background:
        content = b"abcdefghijkl" if pieces is None else PlainBody(*pieces)
        body = request_body(background, content, trailers=[("A", b"1"), ("host", b"x")])
        assert await read_all(body) == (b"abcdefghijkl", "closed")
        outcome, future = await trailers_of(body)
        assert outcome.value.entries() == [("A", b"1")]
        assert future.get() == Err()


async def test_a_read_that_need_not_block_gives_what_is_there() -> None:
    async with running() as background:
        content = PlainBody(b"abc", b"de")
        stream = request_body(background, content).stream()
        pollable = stream.subscribe()
        assert stream.read(10) == b""
        assert not pollable.ready()
        await finish(pollable.block())
        assert (stream.read(2), stream.read(2)) == (b"ab", b"c")
        assert content.taken == 1  # no more than one piece is held
        await anyio.wait_all_tasks_blocked()
        assert content.taken == 1
        assert not pollable.ready()
        await finish(pollable.block())
        assert await finish(stream.blocking_skip(5)) == 2


async def test_a_wait_for_a_body_that_is_given_up_loses_nothing() -> None:
    arrived = anyio.Event()

    async def content() -> Any:
        yield b"abc"
        await arrived.wait()
        yield b"def"

    async with running() as background:
        stream = request_body(background, content()).stream()
        assert await finish(stream.blocking_read(3)) == b"abc"
        for _ in range(3):
            with anyio.move_on_after(0):
                await finish(stream.subscribe().block())
            other = request_body(background, b"x").stream().subscribe()
            assert await finish(poll([stream.subscribe(), other])) == [1]
        arrived.set()
        assert await finish(stream.blocking_read(3)) == b"def"


@pytest.mark.parametrize(
    ("raised", "code"),
    [(ConnectionResetError(), TERMINATED), (Err(BROKEN), BROKEN), (anyio.IncompleteRead(), TERMINATED)],
)
async def test_a_body_that_breaks_off_fails_its_stream_and_its_trailers(raised: Exception, code: ErrorCode) -> None:
    async with running() as background:
        content = PlainBody(b"abc", raised)
        body = request_body(background, content)
        data, failure = await read_all(body)
        assert (data, code_of(failure)) == (b"abc", code)
        outcome, _ = await trailers_of(body)
        assert outcome == Err(code)
        assert content.closed


@pytest.mark.parametrize(("length", "count"), [(b"2", 3), (b"4", 3)])
async def test_a_body_of_another_length_than_announced_fails(length: bytes, count: int) -> None:
    async with running() as background:
        body = request_body(background, b"abc", ("content-length", length))
        _, failure = await read_all(body)
        assert code_of(failure) == ErrorCode("HTTP-request-body-size", count)


async def test_no_trailers_are_none() -> None:
    async with running() as background:
        body = request_body(background, b"abc")
        await read_all(body)
        outcome, future = await trailers_of(body)
        assert outcome == Ok(None)
        assert future.get() == Err()


@pytest.mark.parametrize("reads", [0, 1])
async def test_what_is_left_of_a_body_is_read_for_its_trailers(reads: int) -> None:
    async with running() as background:
        content = PlainBody(b"abc", b"def", b"ghi")
        body = request_body(background, content, trailers=soon([("a", b"1")]))
        stream = body.stream()
        for _ in range(reads):
            await finish(stream.blocking_read(1))
        assert stream.read(100) in (b"", b"bc")  # another piece is on its way when the stream is dropped
        stream.close()
        outcome, _ = await trailers_of(body)
        assert outcome.value.entries() == [("a", b"1")]
        assert content.closed


@pytest.mark.parametrize(
    ("trailers", "code"),
    [
        (Err(BROKEN), BROKEN),
        (ConnectionResetError(), TERMINATED),
        ([("a b", b"1")], ErrorCode("HTTP-protocol-error")),
        ([("a", b"")] * (MAX_FIELDS + 1), ErrorCode("HTTP-request-trailer-section-size", MAX_FIELDS + 1)),
    ],
)
async def test_trailers_that_fail_are_told(trailers: Any, code: ErrorCode) -> None:
    async with running() as background:
        outcome, _ = await trailers_of(request_body(background, b"abc", trailers=soon(trailers)))
        assert outcome == Err(code)


async def test_a_message_that_is_dropped_ends_its_body() -> None:
    async with running() as background:
        contents = [PlainBody(b"abc", None) for _ in range(5)]
        unread, unused, read, cut, finished = (
            incoming_request(HttpRequest(body=body), background) for body in contents
        )
        unread.close()
        unused.consume().close()
        body = read.consume()
        stream = body.stream()
        assert await finish(stream.blocking_read(10)) == b"abc"
        assert stream.read(10) == b""  # the next piece never comes
        stream.close()
        body.close()
        cut.consume().stream()
        body = finished.consume()
        future = IncomingBody.finish(body)
        assert future.get() is None
        future.close()
        await anyio.wait_all_tasks_blocked()
        assert [content.closed for content in contents] == [True, True, True, False, True]


async def test_a_mistake_in_a_body_is_the_hosts() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        async with running() as background:
            await finish(request_body(background, PlainBody(KeyError("x"))).stream().blocking_read(1))
    assert raised.group_contains(KeyError)


# Bodies that go


class Written:
    """A guest's body, with its stream, and the reader of the host."""

    def __init__(self, *headers: tuple[str, bytes]) -> None:
        request = outgoing_request(*headers)
        self.resource = request.body()
        self.body: WrittenBody = request.written
        self.stream = self.resource.write()
        self.reader = PlainReader(self.body)

    async def read(self) -> bytes:
        with anyio.fail_after(10):
            return b"".join([piece async for piece in self.reader])

    def finish(self, trailers: Any = None) -> None:
        self.stream.close()
        OutgoingBody.finish(self.resource, trailers)


async def test_a_body_is_written_within_what_the_stream_permits() -> None:
    written = Written()
    assert written.stream.check_write() == CAPACITY
    assert written.stream.write(bytes(CAPACITY - 1)) is None
    assert written.stream.check_write() == 1
    written.stream.write(b"x")
    assert written.stream.check_write() == 0
    pollable = written.stream.subscribe()
    assert not pollable.ready()
    with pytest.raises(Trap):
        written.stream.write(b"y")
    assert await written.reader.receive(10) == bytes(10)
    assert pollable.ready()
    assert written.stream.check_write() == 10


async def test_a_guest_that_blocks_goes_on_as_its_body_is_read() -> None:
    written, data = Written(), bytes(range(256)) * 1024

    async def guest() -> None:
        await write(written.stream, data[:100_000])
        for start in range(100_000, len(data), 4096):
            await finish(written.stream.blocking_write_and_flush(data[start : start + 4096]))
        written.finish(fields(("a", b"1")))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(guest)
        await anyio.wait_all_tasks_blocked()
        assert len(written.body.buffer) == CAPACITY
        assert await written.read() == data
    assert written.reader.fields is not None
    assert written.reader.fields.sent() == [("a", b"1")]


async def test_what_is_written_is_read_at_once() -> None:
    written = Written()
    async with anyio.create_task_group() as tasks:
        pieces: list[bytes] = []

        async def read() -> None:
            pieces.extend([piece async for piece in written.reader])

        tasks.start_soon(read)
        for word in b"one", b"two":
            await write(written.stream, word)
            await anyio.wait_all_tasks_blocked()
        written.finish()
    assert pieces == [b"one", b"two"]


@pytest.mark.parametrize(("data", "size"), [(b"", 0), (b"ab", 2)])
async def test_a_body_that_is_shorter_than_announced_can_not_be_finished(data: bytes, size: int) -> None:
    written = Written(("content-length", b"3"))
    await write(written.stream, data)
    code = ErrorCode("HTTP-request-body-size", size)
    assert refused(written.finish) == code
    with pytest.raises(Err) as raised:
        await written.read()
    assert raised.value.value == code


async def test_no_more_can_be_written_than_was_announced() -> None:
    written = Written(("content-length", b"3"))
    await write(written.stream, b"ab")
    written.stream.check_write()
    code = ErrorCode("HTTP-request-body-size", 4)
    assert code_of(refused(written.stream.write, b"cd")) == code
    assert refused(written.stream.check_write) == "closed"
    assert refused(written.finish) == code
    with pytest.raises(Err):
        await written.read()


async def test_a_body_of_the_announced_length_is_finished() -> None:
    written = Written(("content-length", b"3"))
    await write(written.stream, b"abc")
    written.finish()
    assert await written.read() == b"abc"


async def test_a_body_that_is_dropped_unfinished_breaks_off_after_what_was_written() -> None:
    written = Written()
    await write(written.stream, b"abc")
    written.stream.close()
    written.resource.close()
    assert await written.reader.receive() == b"abc"
    with pytest.raises(Err) as raised:
        await written.reader.receive()
    assert raised.value.value == DROPPED


async def test_a_body_that_nobody_wants_more_of_fails_its_stream() -> None:
    written = Written()
    await write(written.stream, bytes(CAPACITY))
    async with anyio.create_task_group() as tasks:

        async def guest() -> None:
            await finish(written.stream.subscribe().block())
            written.stream.check_write()
            assert code_of(refused(written.stream.write, b"x")) == TERMINATED
            assert refused(written.stream.check_write) == "closed"

        tasks.start_soon(guest)
        await anyio.wait_all_tasks_blocked()
        await written.reader.aclose()
    written.finish()


async def test_a_write_that_waits_fails_with_its_body() -> None:
    written = Written()
    await write(written.stream, bytes(CAPACITY - 1))
    async with anyio.create_task_group() as tasks:

        async def guest() -> None:
            with pytest.raises(Err) as raised:
                await finish(written.stream.blocking_write_and_flush(b"abc"))
            assert code_of(raised.value.value) == TERMINATED

        tasks.start_soon(guest)
        await anyio.wait_all_tasks_blocked()
        await written.reader.aclose()

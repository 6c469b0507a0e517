"""`wasi:http`: the responses that guests receive, streamed to their end or broken off, and their time-outs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import ByteReceiveStream
from http_fakes import (
    BROKEN,
    READ_TIMEOUT,
    TERMINATED,
    GuestFuture,
    Outcome,
    PlainBody,
    failure,
    guest_request,
    read_all,
    received,
    resolved,
    send,
    soon,
)
from trio.testing import MockClock

from p3host.errors import Err, StreamDropped, Trap
from p3host.wasi.http import ErrorCode, HttpRequest, HttpResponse
from p3host.wasi.http.fields import MAX_FIELDS
from p3host.wasi.http.heads import RequestOptions

pytestmark = pytest.mark.anyio


async def test_a_response_is_received_piece_by_piece_as_the_guest_reads() -> None:
    body = PlainBody(b"abc", b"", b"de", b"f")
    response = await received(HttpResponse(body=body, trailers=[("A", b"1"), ("host", b"x")]))
    reader, future = response.consume(resolved())
    async with anyio.create_task_group() as tasks:
        outcome = Outcome(tasks, future)
        assert await reader.receive(2) == b"ab"
        assert body.taken == 1  # nothing is read ahead
        assert await reader.receive(2) == b"c"
        assert body.taken == 1
        assert await reader.receive(2) == b"de"
        assert await reader.receive(2) == b"f"
        assert not outcome.ended.is_set()
        with pytest.raises(anyio.EndOfStream):
            await reader.receive(2)
        await reader.aclose()
        trailers, error = await outcome.wait()
    assert error is None
    assert trailers.copy_all() == [("A", b"1")]
    with pytest.raises(Err):
        trailers.append("b", b"2")
    assert body.closed


class Bytes(ByteReceiveStream):
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.wanted: list[int] = []
        self.closed = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        self.wanted.append(max_bytes)
        await anyio.lowlevel.checkpoint()
        if not self.data:
            raise anyio.EndOfStream
        piece, self.data = self.data[:max_bytes], self.data[max_bytes:]
        return piece

    async def aclose(self) -> None:
        self.closed = True


async def test_of_a_byte_stream_no_more_is_taken_than_the_guest_wants() -> None:
    body = Bytes(b"abcdef")
    response = await received(HttpResponse(body=body))
    reader, future = response.consume(resolved())
    assert await reader.receive(4) == b"abcd"
    assert body.data == b"ef"
    assert await read_all(reader) == b"ef"
    assert await future is None
    assert body.wanted[0] == 4
    assert body.closed


@pytest.mark.parametrize(
    ("trailers", "code"),
    [
        (Err(BROKEN), BROKEN),
        (Err("loop-detected"), ErrorCode("loop-detected")),
        (ConnectionResetError(), TERMINATED),
        ([("a b", b"")], ErrorCode("HTTP-protocol-error")),
        ([("a", b"")] * (MAX_FIELDS + 1), ErrorCode("HTTP-response-trailer-section-size", MAX_FIELDS + 1)),
    ],
)
async def test_trailers_that_fail_are_told_by_the_future(trailers: Any, code: ErrorCode) -> None:
    response = await received(HttpResponse(body=b"abc", trailers=soon(trailers)))
    reader, future = response.consume(resolved())
    assert await read_all(reader) == b"abc"
    assert await failure(future) == code


async def test_no_trailers_are_none() -> None:
    response = await received(HttpResponse(trailers=soon(None)))
    reader, future = response.consume(resolved())
    assert await read_all(reader) == b""
    assert await future is None


@pytest.mark.parametrize(
    ("raised", "code"),
    [(Err(BROKEN), BROKEN), (ConnectionResetError(), TERMINATED), (anyio.BrokenResourceError(), TERMINATED)],
)
async def test_a_body_that_fails_ends_and_the_future_says_why(raised: Exception, code: ErrorCode) -> None:
    body = PlainBody(b"abc", raised)
    response = await received(HttpResponse(body=body))
    reader, future = response.consume(resolved())
    assert await read_all(reader) == b"abc"
    assert await failure(future) == code
    assert body.closed


async def test_a_mistake_in_a_body_is_the_hosts() -> None:
    response = await received(HttpResponse(body=PlainBody(ZeroDivisionError())))
    reader, future = response.consume(resolved())
    future.on_dropped()
    with pytest.raises(ZeroDivisionError):
        await reader.receive()


@pytest.mark.parametrize("raised", [Trap("elsewhere"), StreamDropped("gone")])
async def test_a_guest_at_the_other_end_that_is_gone_is_a_lost_connection(raised: Exception) -> None:
    response = await received(HttpResponse(body=PlainBody(b"abc", raised)))
    reader, future = response.consume(resolved())
    assert await read_all(reader) == b"abc"
    assert await failure(future) == TERMINATED


@pytest.mark.parametrize(("pieces", "count"), [([b"ab"], 2), ([b"ab", b"cd"], 4), ([], 0), ([b"abcd"], 4)])
async def test_a_response_of_another_length_than_announced_is_told(pieces: list[bytes], count: int) -> None:
    body = PlainBody(*pieces)
    response = await received(HttpResponse(headers=[("Content-Length", b"3")], body=body))
    reader, future = response.consume(resolved())
    assert len(await read_all(reader)) <= 3
    assert await failure(future) == ErrorCode("HTTP-response-body-size", count)
    assert body.closed


@pytest.mark.parametrize(("method", "status"), [("head", 200), ("get", 204), ("get", 304), ("get", 103)])
async def test_a_response_that_has_no_body_by_its_nature_may_announce_a_length(method: str, status: int) -> None:
    response = await received(HttpResponse(status, headers=[("content-length", b"3")]), method)
    reader, future = response.consume(resolved())
    assert await read_all(reader) == b""
    assert await future is None


@pytest.mark.parametrize("pieces", [[b"abc", b"d"], [b"abc", None], [None]])
async def test_a_guest_may_drop_the_stream_before_its_end(pieces: list[bytes | None]) -> None:
    body = PlainBody(*pieces)
    response = await received(HttpResponse(body=body, trailers=[("a", b"1")]))
    reader, future = response.consume(GuestFuture())
    async with anyio.create_task_group() as tasks:
        outcome = Outcome(tasks, future)
        if pieces[0] is not None:
            assert await reader.receive() == b"abc"
        await reader.aclose()
        assert await outcome.wait() == (None, None)
    assert body.closed


async def test_a_read_that_is_in_progress_ends_with_its_body() -> None:
    body = PlainBody(None)
    response = await received(HttpResponse(body=body))
    reader, future = response.consume(resolved())
    async with anyio.create_task_group() as tasks:
        outcome = Outcome(tasks, future)
        tasks.start_soon(read_all, reader)
        await anyio.wait_all_tasks_blocked()
        await response.body.aclose()
        assert await outcome.wait() == (None, TERMINATED)
    assert body.closed


async def test_the_future_comes_when_the_end_of_the_stream_was_told() -> None:
    response = await received(HttpResponse(body=b"abc"))
    reader, future = response.consume(GuestFuture())
    assert [piece async for piece in reader] == [b"abc"]
    await reader.aclose()
    assert not future.is_settled
    reader.on_dropped()
    assert await future is None


async def test_a_guest_may_drop_the_future_and_read_on() -> None:
    body = PlainBody(b"abc")
    response = await received(HttpResponse(body=body))
    answer = GuestFuture()
    reader, future = response.consume(answer)
    future.on_dropped()
    assert answer.closed
    assert not body.closed
    assert await read_all(reader) == b"abc"
    assert body.closed


async def test_a_guest_that_says_that_it_failed_is_sent_no_more() -> None:
    body, answer = PlainBody(b"abc", None), GuestFuture()
    response = await received(HttpResponse(body=body))
    reader, future = response.consume(answer)
    async with anyio.create_task_group() as tasks:
        outcome = Outcome(tasks, future)
        assert await reader.receive() == b"abc"
        tasks.start_soon(read_all, reader)
        await anyio.wait_all_tasks_blocked()
        answer.resolve(Err(BROKEN))
        assert await outcome.wait() == (None, BROKEN)
    assert body.closed
    with pytest.raises(anyio.EndOfStream):
        await reader.receive()


async def test_a_guest_that_says_early_that_all_is_well_is_sent_the_rest() -> None:
    response = await received(HttpResponse(body=PlainBody(b"abc", b"d")))
    reader, future = response.consume(resolved())
    async with anyio.create_task_group() as tasks:
        outcome = Outcome(tasks, future)
        await anyio.wait_all_tasks_blocked()
        assert await read_all(reader) == b"abcd"
        assert await outcome.wait() == (None, None)


def options(**timeouts: int) -> RequestOptions:
    made = RequestOptions()
    for name, duration in timeouts.items():
        getattr(made, f"set_{name}_timeout")(duration)
    return made


async def never(request: HttpRequest) -> HttpResponse:
    await anyio.sleep_forever()
    raise AssertionError


@pytest.mark.parametrize("timeouts", [{"first_byte": 0}, {"first_byte": 1_000_000}, {"first_byte": 0, "connect": 1}])
async def test_a_response_that_does_not_begin_in_time_fails(timeouts: dict[str, int]) -> None:
    request, sent = guest_request(options=options(**timeouts))
    assert await failure(send(request, never)) == READ_TIMEOUT
    assert await failure(sent) == READ_TIMEOUT


@pytest.mark.parametrize(
    ("pieces", "timeouts", "data"),
    [
        ([None], {"first_byte": 1_000_000}, b""),
        ([b"abc", None], {"between_bytes": 1_000_000}, b"abc"),
        ([b"abc", None], {"between_bytes": 0}, b"abc"),
        ([b"abc"], {"between_bytes": 0}, b"abc"),
    ],
)
async def test_a_body_that_does_not_go_on_in_time_fails(pieces: Any, timeouts: dict[str, int], data: bytes) -> None:
    body = PlainBody(*pieces)
    response = await received(HttpResponse(body=body), options=options(**timeouts))
    reader, future = response.consume(resolved())
    assert await read_all(reader) == data
    assert await failure(future) == READ_TIMEOUT
    assert body.closed


TIME = pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})])


@TIME
async def test_the_time_for_connecting_comes_before_that_for_the_first_byte() -> None:
    async def slow(request: HttpRequest) -> HttpResponse:
        await anyio.sleep(4)
        return HttpResponse(204)

    request, sent = guest_request(options=options(connect=2 * 10**9, first_byte=3 * 10**9))
    assert (await send(request, slow)).get_status_code() == 204
    sent.on_dropped()
    request, sent = guest_request(options=options(connect=2 * 10**9, first_byte=10**9))
    assert await failure(send(request, slow)) == READ_TIMEOUT
    await failure(sent)


@TIME
async def test_time_outs_do_not_count_while_the_guest_does_not_read() -> None:
    timeouts = options(first_byte=10**9, between_bytes=10**9)
    response = await received(HttpResponse(body=Bytes(b"abcdef")), options=timeouts)
    reader, future = response.consume(resolved())
    await anyio.sleep(5)
    assert await reader.receive(3) == b"abc"
    await anyio.sleep(5)
    assert await read_all(reader) == b"def"
    assert await future is None


async def test_trailers_that_nobody_waits_for_are_closed() -> None:
    response = await received(HttpResponse(body=PlainBody(None), trailers=soon(None)))
    closing = response.close()
    assert closing is not None
    await closing  # else Python would warn of a coroutine that was never awaited


async def generated() -> AsyncIterator[bytes]:
    yield b"abc"
    await anyio.sleep_forever()


class Repeatable:
    """A body whose iterators are others than itself, and can't be closed without an error."""

    def __init__(self) -> None:
        self.ended = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            yield b"abc"
            await anyio.sleep_forever()
        finally:
            self.ended = True

    async def aclose(self) -> None:
        raise ConnectionResetError


async def test_an_iterator_is_closed_even_if_its_connection_is_lost() -> None:
    body = Repeatable()
    response = await received(HttpResponse(body=body))
    reader, future = response.consume(resolved())
    async with anyio.create_task_group() as tasks:
        outcome = Outcome(tasks, future)
        assert await reader.receive() == b"abc"
        await reader.aclose()
        assert await outcome.wait() == (None, None)
    assert body.ended


async def test_a_generator_is_closed_by_whoever_reads_it() -> None:
    body = generated()
    response = await received(HttpResponse(body=body))
    reader, future = response.consume(resolved())
    async with anyio.create_task_group() as tasks:
        outcome = Outcome(tasks, future)
        assert await reader.receive() == b"abc"
        tasks.start_soon(read_all, reader)
        await anyio.wait_all_tasks_blocked()
        await response.body.aclose()
        assert await outcome.wait() == (None, TERMINATED)
    with pytest.raises(StopAsyncIteration):
        await anext(body)

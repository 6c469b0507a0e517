"""`wasi:http`: bodies and trailers that stream in both directions, and every way in which they may end early."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import ByteReceiveStream
from http_fakes import (
    GuestFuture,
    GuestStream,
    Handler,
    OpenStream,
    Outcome,
    Peer,
    PlainBody,
    fields,
    guest_request,
    guest_response,
    read_all,
    resolved,
)
from trio.testing import MockClock

from p3host.errors import Err, StreamDropped, Trap
from p3host.wasi.http import ErrorCode, HttpRequest, HttpResponse, handle
from p3host.wasi.p3.http import Client, Request, RequestOptions, Response
from p3host.wasi.p3.http_fields import MAX_FIELDS

pytestmark = pytest.mark.anyio

TERMINATED = ErrorCode("connection-terminated")
READ_TIMEOUT = ErrorCode("connection-read-timeout")
BROKEN = ErrorCode("internal-error", "broken")


async def send(request: Request, answer: Callable[[HttpRequest], Any]) -> Response:
    with anyio.fail_after(10):
        return await Client(Peer(answer)).send(request)


async def failure(awaitable: Awaitable[Any]) -> object:
    with pytest.raises(Err) as raised, anyio.fail_after(10):
        await awaitable
    return raised.value.value


async def received(response: HttpResponse, method: str = "get", options: Any = None) -> Response:
    """The resource for a response that came for a request without a body."""
    request, sent = guest_request(method=method, options=options)
    sent.close()
    return await send(request, lambda request: response)


async def echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(body=await request.read(), trailers=await request.read_trailers())


async def ignore(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


# What a guest sends


async def test_a_request_is_sent_piece_by_piece_with_its_trailers_at_the_end() -> None:
    contents, trailers = GuestStream([b"one", b"two"]), GuestFuture()
    request, sent = guest_request(contents=contents, trailers=trailers)
    got: list[object] = []

    async def peer(request: HttpRequest) -> HttpResponse:
        assert isinstance(request.body, ByteReceiveStream)
        got.append(await request.body.receive(2))
        assert contents.pieces == [b"e", b"two"]  # nothing is read ahead
        got.append(await request.body.receive())
        got.append(await request.body.receive())
        trailers.resolve(fields(("X-Sum", b"6")))
        with pytest.raises(anyio.EndOfStream):
            await request.body.receive()
        got.extend([await request.read_trailers(), await request.read_trailers()])
        return HttpResponse()

    async with anyio.create_task_group() as tasks:
        outcome = Outcome(tasks, sent)
        await send(request, peer)
        assert got == [b"on", b"e", b"two", [("X-Sum", b"6")], [("X-Sum", b"6")]]
        assert await outcome.wait() == (None, None)


async def test_a_body_ends_when_its_trailers_are_known() -> None:
    contents, trailers = GuestStream([b"x"]), GuestFuture()
    request, sent = guest_request(contents=contents, trailers=trailers)
    responses: list[Response] = []

    async def exchange() -> None:
        responses.append(await send(request, echo))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(exchange)
        await anyio.wait_all_tasks_blocked()
        assert contents.closed
        assert responses == []
        trailers.resolve(None)
        await sent
        assert len(responses) == 1


async def test_trailers_wait_for_the_end_of_the_body() -> None:
    request, sent = guest_request(contents=GuestStream([b"x"]), trailers=resolved(fields(("a", b"1"))))
    order: list[str] = []

    async def peer(request: HttpRequest) -> HttpResponse:
        async def wait() -> None:
            assert await request.read_trailers() == [("a", b"1")]
            order.append("trailers")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            order.append("body")
            await request.read()
        return HttpResponse()

    await send(request, peer)
    await sent
    assert order == ["body", "trailers"]


@pytest.mark.parametrize("peer", [echo, ignore])
async def test_a_request_without_a_body_is_transmitted_whether_or_not_its_peer_reads_it(peer: Any) -> None:
    trailers = resolved()
    request, sent = guest_request(trailers=trailers)
    response = await send(request, peer)
    await response.body.aclose()
    await sent
    assert trailers.closed


async def test_trailers_that_fail_end_the_exchange() -> None:
    request, sent = guest_request(contents=GuestStream([b"x"]), trailers=resolved(Err(BROKEN)))
    assert await failure(send(request, echo)) == BROKEN
    assert await failure(sent) == BROKEN


async def test_a_failure_of_the_body_counts_even_if_the_transport_hides_it() -> None:
    body = PlainBody(b"x")

    async def peer(request: HttpRequest) -> HttpResponse:
        with pytest.raises(Err):
            await request.read()
        with pytest.raises(Err):
            await request.read_trailers()
        return HttpResponse(body=body)

    request, sent = guest_request(contents=GuestStream([]), trailers=resolved(Err(BROKEN)))
    assert await failure(send(request, peer)) == BROKEN
    assert await failure(sent) == BROKEN
    assert body.closed


@pytest.mark.parametrize(
    ("length", "pieces", "count"),
    [(b"3", [b"ab"], 2), (b"3", [b"ab", b"cd"], 4), (b"0", [b"a"], 1), (b"1", [], 0), (b"1", None, 0)],
)
async def test_a_request_of_another_length_than_announced_fails(
    length: bytes, pieces: list[bytes] | None, count: int
) -> None:
    contents = None if pieces is None else GuestStream(pieces)
    request, sent = guest_request(("content-length", length), contents=contents)
    assert await failure(send(request, echo)) == ErrorCode("HTTP-request-body-size", count)
    assert await failure(sent) == ErrorCode("HTTP-request-body-size", count)
    assert contents is None or contents.closed


async def test_a_peer_never_sees_more_than_was_announced() -> None:
    got = b""

    async def peer(request: HttpRequest) -> HttpResponse:
        async def read() -> None:
            nonlocal got
            assert isinstance(request.body, ByteReceiveStream)
            async for piece in request.body:
                got += piece

        with pytest.raises(Err):
            await read()
        assert contents.closed  # at once
        return HttpResponse()

    contents = OpenStream([b"abc", b"d"])
    request, sent = guest_request(("content-length", b"3"), contents=contents)
    await failure(send(request, peer))
    await failure(sent)
    assert got == b"abc"


async def test_a_request_of_the_announced_length_is_sent() -> None:
    request, sent = guest_request(("content-length", b"4"), contents=GuestStream([b"ab", b"cd"]))
    response = await send(request, echo)
    await sent
    reader, future = response.consume(resolved())
    assert await read_all(reader) == b"abcd"
    assert await future is None


async def test_a_response_may_come_before_the_request_has_ended() -> None:
    contents, trailers = GuestStream([b"one", b"two"]), resolved(fields(("a", b"1")))
    request, sent = guest_request(contents=contents, trailers=trailers)

    async def peer(request: HttpRequest) -> HttpResponse:
        return HttpResponse(body=request.body, trailers=request.trailers)  # which streams back what comes

    response = await send(request, peer)
    assert contents.pieces == [b"one", b"two"]
    reader, future = response.consume(resolved())
    async with anyio.create_task_group() as tasks:
        outcome, transmitted = Outcome(tasks, future), Outcome(tasks, sent)
        assert await reader.receive() == b"one"
        assert await read_all(reader) == b"two"
        trailing, error = await outcome.wait()
        assert (trailing.copy_all(), error) == ([("a", b"1")], None)
        assert await transmitted.wait() == (None, None)


async def test_what_is_left_of_a_request_is_dropped_with_the_end_of_the_response() -> None:
    contents, trailers = OpenStream([b"x"]), GuestFuture()
    request, sent = guest_request(contents=contents, trailers=trailers)
    response = await send(request, ignore)
    assert not contents.closed
    reader, future = response.consume(resolved())
    assert await read_all(reader) == b""
    assert await future is None
    assert contents.closed
    assert trailers.closed
    assert await failure(sent) == TERMINATED


async def test_a_response_that_is_dropped_unread_ends_the_exchange() -> None:
    contents, body = OpenStream([b"x"]), PlainBody(b"y")
    request, sent = guest_request(contents=contents)
    response = await send(request, lambda request: HttpResponse(body=body))
    closing = response.close()
    assert closing is not None
    await closing
    assert body.closed
    assert contents.closed
    assert await failure(sent) == TERMINATED


@pytest.mark.parametrize("reads", [True, False])
async def test_a_cancelled_send_ends_the_exchange(reads: bool) -> None:
    contents, trailers = OpenStream([b"x"]), GuestFuture()
    request, sent = guest_request(contents=contents, trailers=trailers)
    ended = False

    async def peer(request: HttpRequest) -> HttpResponse:
        nonlocal ended
        try:
            await request.read() if reads else await anyio.sleep_forever()
        finally:
            ended = True
        raise AssertionError

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send, request, peer)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert ended
    assert contents.closed
    assert trailers.closed
    assert await failure(sent) == TERMINATED


async def test_a_send_that_is_cancelled_while_trailers_are_awaited_ends_the_exchange() -> None:
    trailers = GuestFuture()
    request, sent = guest_request(contents=GuestStream([b"x"]), trailers=trailers)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send, request, echo)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert trailers.closed
    assert await failure(sent) == TERMINATED


async def test_the_future_of_the_transmission_may_be_dropped() -> None:
    request, sent = guest_request(contents=GuestStream([b"x"]))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(failure, sent)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    response = await send(request, echo)
    assert response.get_status_code() == 200


# What a guest receives


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


async def soon(value: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    if isinstance(value, Exception):
        raise value
    return value


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
    future.close()
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


async def test_a_guest_may_drop_the_future_and_read_on() -> None:
    body = PlainBody(b"abc")
    response = await received(HttpResponse(body=body))
    answer = GuestFuture()
    reader, future = response.consume(answer)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(failure, future)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
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


# Time-outs


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
    sent.close()
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


# What a component that serves is given, and gives


async def answer_with_body(request: Request) -> Response:
    """Streams the request's body and trailers back."""
    reader, future = request.consume(resolved())

    class Through(GuestStream):
        async def read(self, max_count: int) -> bytes:
            try:
                return await reader.receive(max_count)
            except anyio.EndOfStream:
                return b""

        def close(self) -> None:
            self.closed = True

    class Trailing(GuestFuture):
        def __await__(self) -> Any:
            return future.__await__()

    response, sent = Response.new(fields(), Through([]), Trailing())
    sent.close()
    return response


async def test_a_request_streams_in_while_its_response_streams_out() -> None:
    given = PlainBody(b"one", b"two")
    request = HttpRequest(method="POST", body=given, trailers=soon([("a", b"1")]))
    async with handle(Handler(answer_with_body), request) as response:
        assert isinstance(response.body, ByteReceiveStream)
        assert given.taken == 0
        assert await response.body.receive() == b"one"
        assert given.taken == 1
        assert await response.body.receive() == b"two"
        with pytest.raises(anyio.EndOfStream):
            await response.body.receive()
        assert await response.read_trailers() == [("a", b"1")]
    assert given.closed


async def test_a_response_is_transmitted_when_it_was_read_and_the_block_left() -> None:
    made, sent = guest_response(contents=GuestStream([b"abc"]))
    async with anyio.create_task_group() as tasks:
        outcome = Outcome(tasks, sent)
        async with handle(Handler(lambda request: made), HttpRequest()) as response:
            assert await response.read() == b"abc"
            await anyio.wait_all_tasks_blocked()
            assert not outcome.ended.is_set()
        assert await outcome.wait() == (None, None)


@pytest.mark.parametrize("reads", [True, False])
async def test_a_response_is_not_transmitted_when_the_block_fails(reads: bool) -> None:
    contents = GuestStream([b"abc"])
    made, sent = guest_response(contents=contents)

    async def fail() -> None:
        async with handle(Handler(lambda request: made), HttpRequest()) as response:
            if reads:
                await response.read()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert contents.closed
    assert await failure(sent) == TERMINATED


async def test_leaving_the_block_early_ends_both_bodies() -> None:
    given, contents, trailers = PlainBody(b"x", None), OpenStream([b"abc"]), GuestFuture()
    made, sent = guest_response(contents=contents, trailers=trailers)
    reader: Any = None
    outcome: Any = None

    async with anyio.create_task_group() as tasks:

        def answer(request: Request) -> Response:
            nonlocal reader, outcome
            reader, future = request.consume(GuestFuture())
            outcome = Outcome(tasks, future)
            return made

        async with handle(Handler(answer), HttpRequest(body=given)) as response:
            assert isinstance(response.body, ByteReceiveStream)
            assert await response.body.receive() == b"abc"
            assert await reader.receive() == b"x"
            tasks.start_soon(read_all, reader)
            await anyio.wait_all_tasks_blocked()
        assert given.closed
        assert contents.closed
        assert trailers.closed
        assert await outcome.wait() == (None, TERMINATED)
    assert await failure(sent) == TERMINATED


async def test_a_response_without_a_body_is_transmitted_unread() -> None:
    made, sent = guest_response()
    async with handle(Handler(lambda request: made), HttpRequest()) as response:
        assert response.status == 200
    await sent


async def test_what_is_read_after_the_block_was_left_fails() -> None:
    made, sent = guest_response()
    requests: list[Request] = []

    def answer(request: Request) -> Response:
        requests.append(request)
        return made

    async with handle(Handler(answer), HttpRequest(body=PlainBody(b"abc"))):
        pass
    await sent
    reader, future = requests[0].consume(resolved())
    assert await read_all(reader) == b""
    assert await failure(future) == TERMINATED


async def test_leaving_the_block_ends_the_wait_for_trailers() -> None:
    trailers = GuestFuture()
    made, sent = guest_response()
    sent.close()
    outcome: Any = None

    async with anyio.create_task_group() as tasks:

        async def answer(request: Request) -> Response:
            nonlocal outcome
            reader, future = request.consume(resolved())
            outcome = Outcome(tasks, future)
            assert await read_all(reader) == b"x"
            return made

        async with handle(Handler(answer), HttpRequest(body=b"x", trailers=trailers)):
            await anyio.wait_all_tasks_blocked()
            assert not outcome.ended.is_set()
        assert await outcome.wait() == (None, TERMINATED)


async def test_trailers_that_nobody_waits_for_are_closed() -> None:
    response = await received(HttpResponse(body=PlainBody(None), trailers=soon(None)))
    closing = response.close()
    assert closing is not None
    await closing  # else Python would warn of a coroutine that was never awaited


async def test_a_transport_may_leave_the_end_of_a_body_of_known_length_unread() -> None:
    async def peer(request: HttpRequest) -> HttpResponse:
        assert isinstance(request.body, ByteReceiveStream)
        assert await request.body.receive() == b"abc"
        return HttpResponse()

    request, sent = guest_request(("content-length", b"3"), contents=OpenStream([b"abc"]))
    response = await send(request, peer)
    await response.body.aclose()
    await sent


async def test_a_cancelled_handler_ends_the_requests_body() -> None:
    given = PlainBody(b"x")

    async def answer(request: Request) -> Response:
        await anyio.sleep_forever()
        raise AssertionError

    async def call() -> None:
        async with handle(Handler(answer), HttpRequest(body=given)):
            pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert given.closed


@pytest.mark.parametrize(("pieces", "count"), [([b"ab"], 2), ([b"ab", b"cd"], 4), (None, 0)])
async def test_a_response_of_a_guests_of_another_length_than_announced_fails(
    pieces: list[bytes] | None, count: int
) -> None:
    contents = None if pieces is None else GuestStream(pieces)
    made, sent = guest_response(("content-length", b"3"), contents=contents)
    code = ErrorCode("HTTP-response-body-size", count)
    with pytest.raises(Err) as raised:
        async with handle(Handler(lambda request: made), HttpRequest()) as response:
            await response.read()
    assert raised.value.value == code
    assert await failure(sent) == code


async def test_a_response_to_head_may_announce_the_length_of_what_is_not_there() -> None:
    made, sent = guest_response(("content-length", b"3"))
    async with handle(Handler(lambda request: made), HttpRequest(method="HEAD")) as response:
        assert (response.headers, await response.read()) == ([("content-length", b"3")], b"")
    await sent


@pytest.mark.parametrize(("pieces", "count"), [([b"ab"], 2), ([b"ab", b"cd"], 4)])
async def test_a_request_of_another_length_than_announced_is_told_to_the_component(
    pieces: list[bytes], count: int
) -> None:
    async def answer(request: Request) -> Response:
        reader, future = request.consume(resolved())
        await read_all(reader)
        assert await failure(future) == ErrorCode("HTTP-request-body-size", count)
        made, sent = guest_response()
        sent.close()
        return made

    request = HttpRequest(headers=[("content-length", b"3")], body=PlainBody(*pieces))
    async with handle(Handler(answer), request) as response:
        assert response.status == 200


async def test_trailers_of_a_response_that_fail_are_raised() -> None:
    made, sent = guest_response(contents=GuestStream([b"abc"]), trailers=resolved(Err(BROKEN)))
    with pytest.raises(Err) as raised:
        async with handle(Handler(lambda request: made), HttpRequest()) as response:
            await response.read()
    assert raised.value.value == BROKEN
    assert await failure(sent) == BROKEN


async def test_a_trap_of_the_component_is_raised_as_it_is() -> None:
    class Trapping(GuestStream):
        async def read(self, max_count: int) -> bytes:
            raise Trap("unreachable")

    made, sent = guest_response(contents=Trapping([]))
    sent.close()
    with pytest.raises(Trap, match="unreachable"):
        async with handle(Handler(lambda request: made), HttpRequest()) as response:
            await response.read()


# Messages that are passed on


async def test_a_component_may_pass_a_request_on_and_return_what_comes() -> None:
    given, answered = PlainBody(b"one", b"two"), PlainBody(b"three")

    async def peer(request: HttpRequest) -> HttpResponse:
        assert await request.read() == b"onetwo"
        assert await request.read_trailers() == [("a", b"1")]
        return HttpResponse(201, headers=[("x", b"y")], body=answered, trailers=[("b", b"2")])

    request = HttpRequest(method="PUT", scheme="http", authority="h", body=given, trailers=[("a", b"1")])
    async with handle(Handler(lambda request: send(request, peer)), request) as response:
        assert (response.status, response.headers) == (201, [("x", b"y")])
        assert await response.read() == b"three"
        assert await response.read_trailers() == [("b", b"2")]
    assert given.closed
    assert answered.closed


@pytest.mark.parametrize(("answer", "error"), [(None, None), (Err(BROKEN), BROKEN), (Trap("gone"), TERMINATED)])
async def test_a_message_that_another_guest_reads_is_transmitted_as_that_one_says(
    answer: Exception | None, error: ErrorCode | None
) -> None:
    request, sent = guest_request(contents=GuestStream([b"abc"]), trailers=resolved(fields(("a", b"1"))))
    told = GuestFuture()
    reader, future = request.consume(told)
    async with anyio.create_task_group() as tasks:
        transmitted, outcome = Outcome(tasks, sent), Outcome(tasks, future)
        assert await read_all(reader) == b"abc"
        trailers, failed = await outcome.wait()
        assert (trailers.copy_all(), failed) == ([("a", b"1")], None)
        await anyio.wait_all_tasks_blocked()
        assert not transmitted.ended.is_set()
        told.resolve(answer)
        assert await transmitted.wait() == (None, error)
    assert told.closed


async def test_a_message_that_another_guest_reads_may_be_answered_before_its_end() -> None:
    request, sent = guest_request(contents=GuestStream([b"abc"]), trailers=resolved(fields(("a", b"1"))))
    told = GuestFuture()
    reader, future = request.consume(told)
    async with anyio.create_task_group() as tasks:
        outcome = Outcome(tasks, future)
        told.resolve()
        await anyio.wait_all_tasks_blocked()
        assert await read_all(reader) == b"abc"
        trailers, failed = await outcome.wait()
    assert failed is None
    with pytest.raises(Err):
        trailers.append("b", b"2")
    await sent


async def test_a_reader_that_is_gone_before_it_answers_reads_on_all_the_same() -> None:
    response = await received(HttpResponse(body=PlainBody(b"abc")))
    reader, future = response.consume(resolved(Trap("gone")))
    async with anyio.create_task_group() as tasks:
        outcome = Outcome(tasks, future)
        await anyio.wait_all_tasks_blocked()
        assert await read_all(reader) == b"abc"
        assert await outcome.wait() == (None, None)


async def test_a_reader_that_fails_early_is_told_to_the_writer() -> None:
    contents = OpenStream([b"abc"])
    request, sent = guest_request(contents=contents)
    reader, future = request.consume(resolved(Err(BROKEN)))
    assert await failure(future) == BROKEN
    assert await failure(sent) == BROKEN
    assert contents.closed
    with pytest.raises(anyio.EndOfStream):
        await reader.receive()


async def test_an_answer_that_nobody_waits_for_is_dropped() -> None:
    request, sent = guest_request(contents=GuestStream([]))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(failure, sent)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    told = GuestFuture()
    reader, future = request.consume(told)
    assert await read_all(reader) == b""
    assert await future is None
    assert told.closed


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

"""`wasi:http`: the requests that a component serves, its responses, and messages that are passed on."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.abc import ByteReceiveStream
from http_fakes import (
    BROKEN,
    TERMINATED,
    GuestFuture,
    GuestStream,
    Handler,
    OpenStream,
    Outcome,
    PlainBody,
    failure,
    fields,
    guest_request,
    guest_response,
    read_all,
    received,
    resolved,
    send,
    soon,
)

from p3host.errors import Err, Trap
from p3host.wasi.http import ErrorCode, HttpRequest, HttpResponse, handle
from p3host.wasi.p3.http import Request, Response

pytestmark = pytest.mark.anyio


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
    sent.on_dropped()
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
    sent.on_dropped()
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


WITHOUT_CONTENT = [("HEAD", 200), ("GET", 204), ("GET", 304)]


@pytest.mark.parametrize(("method", "status"), WITHOUT_CONTENT)
async def test_a_response_without_content_is_transmitted_whatever_its_body_would_be(method: str, status: int) -> None:
    contents, trailers = OpenStream([b"abc"]), GuestFuture()
    made, sent = guest_response(contents=contents, trailers=trailers)
    made.set_status_code(status)
    async with handle(Handler(lambda request: made), HttpRequest(method=method)) as response:
        assert (response.status, await response.read(), await response.read_trailers()) == (status, b"", None)
    assert contents.closed
    assert trailers.closed
    await sent


@pytest.mark.parametrize(("method", "status"), WITHOUT_CONTENT)
async def test_a_response_without_content_is_not_transmitted_when_the_block_fails(method: str, status: int) -> None:
    made, sent = guest_response(contents=OpenStream([]))
    made.set_status_code(status)
    with pytest.raises(ZeroDivisionError):
        async with handle(Handler(lambda request: made), HttpRequest(method=method)):
            raise ZeroDivisionError
    assert await failure(sent) == TERMINATED


@pytest.mark.parametrize(("method", "status"), WITHOUT_CONTENT)
@pytest.mark.parametrize("lengths", [[b"x"], [b"1", b"2"], [b"1", b"1"]])
async def test_a_length_of_what_is_not_there_has_to_be_one(method: str, status: int, lengths: list[bytes]) -> None:
    made, sent = guest_response(*(("content-length", length) for length in lengths))
    made.set_status_code(status)
    with pytest.raises(Err) as raised:
        async with handle(Handler(lambda request: made), HttpRequest(method=method)):
            pass
    assert raised.value.value == ErrorCode("HTTP-protocol-error")
    assert await failure(sent) == ErrorCode("HTTP-protocol-error")


@pytest.mark.parametrize(("pieces", "count"), [([b"ab"], 2), ([b"ab", b"cd"], 4)])
async def test_a_request_of_another_length_than_announced_is_told_to_the_component(
    pieces: list[bytes], count: int
) -> None:
    async def answer(request: Request) -> Response:
        reader, future = request.consume(resolved())
        await read_all(reader)
        assert await failure(future) == ErrorCode("HTTP-request-body-size", count)
        made, sent = guest_response()
        sent.on_dropped()
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
    sent.on_dropped()
    with pytest.raises(Trap, match="unreachable"):
        async with handle(Handler(lambda request: made), HttpRequest()) as response:
            await response.read()


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
    sent.on_dropped()
    told = GuestFuture()
    reader, future = request.consume(told)
    assert await read_all(reader) == b""
    assert await future is None
    assert told.closed

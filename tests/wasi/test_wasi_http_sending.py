"""`wasi:http`: the requests that guests send, streamed to their end or broken off."""

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
    OpenStream,
    Outcome,
    PlainBody,
    echo,
    failure,
    fields,
    guest_request,
    ignore,
    read_all,
    resolved,
    send,
)

from p3host.errors import Err
from p3host.wasi.http import ErrorCode, HttpRequest, HttpResponse
from p3host.wasi.p3.http import Response

pytestmark = pytest.mark.anyio


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


async def test_a_transport_may_leave_the_end_of_a_body_of_known_length_unread() -> None:
    async def peer(request: HttpRequest) -> HttpResponse:
        assert isinstance(request.body, ByteReceiveStream)
        assert await request.body.receive() == b"abc"
        return HttpResponse()

    request, sent = guest_request(("content-length", b"3"), contents=OpenStream([b"abc"]))
    response = await send(request, peer)
    await response.body.aclose()
    await sent

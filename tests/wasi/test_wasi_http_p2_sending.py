"""`wasi:http/outgoing-handler` 0.2: requests of guests, and the responses that come for them."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.abc import ByteReceiveStream
from http_fakes import PlainBody, echo, ignore
from http_p2_fakes import (
    TERMINATED,
    answer_of,
    code_of,
    failure_of,
    fields,
    incoming_response,
    outcome_of,
    outgoing_request,
    read_all,
    refused,
    running,
    send,
    trailers_of,
    trapped,
    write,
)
from wasi_fakes import finish

from p3host.errors import Err
from p3host.values import Ok
from p3host.wasi.http import ErrorCode, HttpRequest, HttpResponse, HttpTimeouts
from p3host.wasi.http.fields import MAX_FIELDS
from p3host.wasi.http.heads import Case
from p3host.wasi.p2.http import OutgoingHandler, RequestOptions
from p3host.wasi.p2.http_bodies import DROPPED, OutgoingBody
from p3host.wasi.p2.http_fields import Fields

pytestmark = pytest.mark.anyio


async def test_a_request_is_sent_as_the_guest_made_it() -> None:
    options = RequestOptions()
    options.set_connect_timeout(10**9)
    options.set_first_byte_timeout(2 * 10**9)
    options.set_between_bytes_timeout(3 * 10**9)
    got: list[HttpRequest] = []

    async def peer(request: HttpRequest) -> HttpResponse:
        got.append(request)
        assert await request.read() == b""
        return HttpResponse(204, headers=[("B", b"2")])

    async with running() as background:
        request = outgoing_request(("A", b" 1 "))
        request.set_path_with_query("?q")
        response = await answer_of(send(background, request, peer, options))
        assert response.status() == 204
        assert response.headers().entries() == [("B", b"2")]
    (sent,) = got
    assert (sent.method, sent.scheme, sent.authority, sent.path_with_query) == ("POST", "http", "example.com", "/?q")
    assert sent.headers == [("A", b"1")]
    assert sent.timeouts == HttpTimeouts(1, 2, 3)


async def test_a_body_is_sent_while_it_is_written_and_the_response_comes_meanwhile() -> None:
    async with running() as background:
        request = outgoing_request()
        body = request.body()

        async def peer(request: HttpRequest) -> HttpResponse:
            return HttpResponse(body=request.body, trailers=request.trailers)

        future = send(background, request, peer)
        received = (await answer_of(future)).consume()
        sink, source = body.write(), received.stream()
        for word in b"one", b"two":
            await write(sink, word)
            assert await finish(source.blocking_read(10)) == word
        sink.close()
        OutgoingBody.finish(body, fields(("a", b"1")))
        source.close()
        outcome, _ = await trailers_of(received)
        assert outcome.value.entries() == [("a", b"1")]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda request: request.set_method(Case("connect")), ErrorCode("HTTP-request-method-invalid")),
        (lambda request: request.set_authority(None), ErrorCode("HTTP-request-URI-invalid")),
        (lambda request: request.set_authority("user@example.com"), ErrorCode("HTTP-request-URI-invalid")),
        (lambda request: request.set_path_with_query("http://other/"), ErrorCode("HTTP-request-URI-invalid")),
    ],
)
async def test_a_request_that_is_not_fit_to_be_sent_is_refused_at_once(change: Any, code: ErrorCode) -> None:
    async with running() as background:
        request = outgoing_request()
        stream = request.body().write()
        change(request)
        assert refused(send, background, request, ignore) == code
        stream.check_write()
        with pytest.raises(Err):
            stream.write(b"for nobody")


@pytest.mark.parametrize(
    ("length", "code"),
    [(b"x", ErrorCode("HTTP-protocol-error")), (b"3", ErrorCode("HTTP-request-body-size", 0))],
)
async def test_a_request_without_the_body_that_it_announces_is_refused(length: bytes, code: ErrorCode) -> None:
    async with running() as background:
        assert refused(send, background, outgoing_request(("content-length", length)), ignore) == code


async def test_without_a_transport_every_request_is_denied() -> None:
    async with running() as background:
        handler = OutgoingHandler(None, Fields, background)
        assert refused(handler.handle, outgoing_request(), None) == ErrorCode("HTTP-request-denied")


async def test_a_request_is_given_away_without_children() -> None:
    async with running() as background:
        request = outgoing_request()
        headers = request.headers()
        assert "children" in trapped(send, background, request, ignore)
        headers.close()


@pytest.mark.parametrize(
    ("raised", "code"),
    [(ConnectionRefusedError(), ErrorCode("connection-refused")), (Err("loop-detected"), ErrorCode("loop-detected"))],
)
async def test_a_request_that_fails_is_told_by_its_future_once(raised: Exception, code: ErrorCode) -> None:
    async def peer(request: HttpRequest) -> HttpResponse:
        raise raised

    async with running() as background:
        future = send(background, outgoing_request(), peer)
        assert future.get() is None
        assert await failure_of(future) == code
        assert future.get() == Err()
        future.close()


async def test_a_response_is_handed_over_once() -> None:
    async with running() as background:
        future = send(background, outgoing_request(), ignore)
        assert isinstance(await outcome_of(future), Ok)
        assert future.get() == Err()
        future.close()


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (HttpResponse(99), ErrorCode("HTTP-protocol-error")),
        (HttpResponse(headers=[("a", b"1\n")]), ErrorCode("HTTP-protocol-error")),
        (
            HttpResponse(headers=[("a", b"")] * (MAX_FIELDS + 1)),
            ErrorCode("HTTP-response-header-section-size", MAX_FIELDS + 1),
        ),
    ],
)
async def test_a_response_that_is_malformed_is_none(response: HttpResponse, code: ErrorCode) -> None:
    async with running() as background:
        assert await failure_of(send(background, outgoing_request(), lambda request: response)) == code


async def test_a_body_that_is_dropped_unfinished_breaks_the_request_off() -> None:
    async with running() as background:
        request = outgoing_request()
        body = request.body()
        future = send(background, request, echo)
        body.close()
        assert await failure_of(future) == DROPPED


async def test_what_is_left_of_a_request_is_dropped_with_the_end_of_the_response() -> None:
    async with running() as background:
        request = outgoing_request()
        sink = request.body().write()
        body = (await answer_of(send(background, request, ignore))).consume()
        assert sink.check_write()
        assert await read_all(body) == (b"", "closed")
        await trailers_of(body)
        with pytest.raises(Err):
            sink.write(b"x")


async def test_a_future_that_is_dropped_early_ends_the_exchange() -> None:
    ended = anyio.Event()

    async def peer(request: HttpRequest) -> HttpResponse:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        raise AssertionError

    async with running() as background:
        request = outgoing_request()
        sink = request.body().write()
        future = send(background, request, peer)
        await anyio.wait_all_tasks_blocked()
        future.close()
        await ended.wait()
        await anyio.wait_all_tasks_blocked()
        sink.check_write()
        with pytest.raises(Err):
            sink.write(b"x")


async def test_a_response_that_nobody_took_is_dropped_with_its_future() -> None:
    content = PlainBody(b"abc", None)
    async with running() as background:
        future = send(background, outgoing_request(), lambda request: HttpResponse(body=content))
        await anyio.wait_all_tasks_blocked()
        assert not content.closed
        future.close()
        await anyio.wait_all_tasks_blocked()
        assert content.closed


async def test_a_response_that_is_dropped_ends_the_exchange() -> None:
    content = PlainBody(b"abc", None)
    async with running() as background:
        request = outgoing_request()
        sink = request.body().write()
        (await answer_of(send(background, request, lambda request: HttpResponse(body=content)))).close()
        await anyio.wait_all_tasks_blocked()
        assert content.closed
        sink.check_write()
        with pytest.raises(Err):
            sink.write(b"x")


@pytest.mark.parametrize(("method", "status"), [("head", 200), ("get", 204), ("get", 304)])
async def test_a_response_without_content_may_announce_a_length(method: str, status: int) -> None:
    response = HttpResponse(status, headers=[("content-length", b"10")])
    async with running() as background:
        future = send(background, outgoing_request(method=method), lambda request: response)
        assert await read_all((await answer_of(future)).consume()) == (b"", "closed")


async def test_a_time_out_of_the_response_is_told() -> None:
    options = RequestOptions()
    options.set_first_byte_timeout(1)

    async def peer(request: HttpRequest) -> HttpResponse:
        await anyio.sleep_forever()
        raise AssertionError

    async with running() as background:
        future = send(background, outgoing_request(), peer, options)
        assert await failure_of(future) == ErrorCode("connection-read-timeout")


@pytest.mark.parametrize(
    ("pieces", "option", "data"), [([None], "first_byte", b""), ([b"abc", None], "between_bytes", b"abc")]
)
async def test_a_time_out_of_the_responses_body_is_told(pieces: Any, option: str, data: bytes) -> None:
    options = RequestOptions()
    getattr(options, f"set_{option}_timeout")(1_000_000)
    async with running() as background:
        future = send(background, outgoing_request(), lambda request: HttpResponse(body=PlainBody(*pieces)), options)
        body = (await answer_of(future)).consume()
        got, failure = await read_all(body)
        assert (got, code_of(failure)) == (data, ErrorCode("connection-read-timeout"))
        outcome, _ = await trailers_of(body)
        assert outcome == Err(ErrorCode("connection-read-timeout"))


async def test_a_transport_reads_the_body_as_a_byte_stream() -> None:
    async with running() as background:
        request = outgoing_request()
        body = request.body()
        sink = body.write()
        await write(sink, b"abcdef")
        sink.close()
        OutgoingBody.finish(body, None)

        async def peer(request: HttpRequest) -> HttpResponse:
            assert isinstance(request.body, ByteReceiveStream)
            assert await request.body.receive(4) == b"abcd"
            assert await request.body.receive(4) == b"ef"
            with pytest.raises(anyio.EndOfStream):
                await request.body.receive(4)
            assert await request.read_trailers() is None
            return HttpResponse(201)

        assert (await answer_of(send(background, request, peer))).status() == 201


async def test_a_transports_failure_hidden_by_it_is_told_all_the_same() -> None:
    async def peer(request: HttpRequest) -> HttpResponse:
        with pytest.raises(Err):
            await request.read()
        return HttpResponse()

    async with running() as background:
        request = outgoing_request()
        body = request.body()
        future = send(background, request, peer)
        body.close()
        assert await failure_of(future) == DROPPED


async def test_received_bodies_fail_with_the_connection() -> None:
    async with running() as background:
        response = await incoming_response(background, HttpResponse(body=PlainBody(b"abc", ConnectionResetError())))
        data, failure = await read_all(response.consume())
        assert data == b"abc"
        assert failure.value.cause.code == TERMINATED

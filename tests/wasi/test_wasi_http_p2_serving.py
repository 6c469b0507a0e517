"""`p3host.wasi.http.handle` with a component of WASI 0.2, whose function a guest in Python stands in for."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import ByteReceiveStream
from http_fakes import PlainBody
from http_p2_fakes import TERMINATED, Handler, fields, read_all, refused, respond, running, trailers_of, write

from p3host.errors import Err, Trap
from p3host.values import Ok
from p3host.wasi.http import ErrorCode, HttpRequest, HttpResponse, handle
from p3host.wasi.p2.http import IncomingRequest, OutgoingResponse, ResponseOutparam
from p3host.wasi.p2.http_bodies import CAPACITY, DROPPED, OutgoingBody

pytestmark = pytest.mark.anyio


def end(body: OutgoingBody, trailers: Any = None) -> None:
    OutgoingBody.finish(body, trailers)


async def failure(handler: Handler, request: HttpRequest | None = None) -> object:
    with pytest.raises(Err) as raised:
        async with handle(handler, request or HttpRequest()) as response:
            await response.read()
    return raised.value.value


async def test_the_head_is_there_when_it_is_set_and_the_body_as_it_is_written() -> None:
    go_on = anyio.Event()

    async def guest(request: IncomingRequest, out: ResponseOutparam) -> None:
        body = respond(out, ("A", b"1"), status=201)
        stream = body.write()
        await write(stream, b"one")
        await go_on.wait()
        await write(stream, b"two")
        stream.close()
        end(body, fields(("B", b"2")))

    async with running() as background, handle(Handler(background, guest), HttpRequest()) as response:
        assert (response.status, response.headers) == (201, [("A", b"1")])
        assert isinstance(response.body, ByteReceiveStream)
        assert await response.body.receive() == b"one"
        go_on.set()
        assert await response.body.receive() == b"two"
        with pytest.raises(anyio.EndOfStream):
            await response.body.receive()
        assert await response.read_trailers() == [("B", b"2")]


async def test_a_request_streams_in_while_its_response_streams_out() -> None:
    async def guest(request: IncomingRequest, out: ResponseOutparam) -> None:
        incoming, body = request.consume(), respond(out)
        source, sink = incoming.stream(), body.write()
        while True:
            try:
                await write(sink, await source.read_later(100))
            except Err:
                break
        source.close()
        sink.close()
        outcome, future = await trailers_of(incoming)
        end(body, outcome.value)
        future.close()

    given = HttpRequest(body=PlainBody(b"one", b"two"), trailers=[("a", b"1")])
    async with running() as background, handle(Handler(background, guest), given) as response:
        assert [piece async for piece in response.body] == [b"one", b"two"]
        assert await response.read_trailers() == [("a", b"1")]


async def test_a_guest_waits_for_the_reader_of_its_body() -> None:
    async def guest(request: IncomingRequest, out: ResponseOutparam) -> None:
        body = respond(out)
        stream = body.write()
        await write(stream, bytes(3 * CAPACITY))
        stream.close()
        end(body)

    async with running() as background:
        handler = Handler(background, guest)
        async with handle(handler, HttpRequest()) as response:
            await anyio.wait_all_tasks_blocked()
            assert not handler.handle.ended.is_set()
            assert await response.read() == bytes(3 * CAPACITY)


async def test_a_response_without_an_outgoing_body_is_empty() -> None:
    async def guest(request: IncomingRequest, out: ResponseOutparam) -> None:
        ResponseOutparam.set(out, Ok(OutgoingResponse(fields())))

    async with running() as background, handle(Handler(background, guest), HttpRequest()) as response:
        assert (await response.read(), await response.read_trailers()) == (b"", None)


async def test_leaving_the_block_waits_for_the_end_of_the_call_if_the_body_was_read() -> None:
    go_on = anyio.Event()
    left = False

    async def guest(request: IncomingRequest, out: ResponseOutparam) -> None:
        end(respond(out))
        await go_on.wait()

    async with running() as background:
        handler = Handler(background, guest)

        async def client() -> None:
            nonlocal left
            async with handle(handler, HttpRequest()) as response:
                assert await response.read() == b""
            left = True

        background.tasks.start_soon(client)
        await anyio.wait_all_tasks_blocked()
        assert not left
        go_on.set()
        await anyio.wait_all_tasks_blocked()
        assert left
        assert not handler.handle.given_up


@pytest.mark.parametrize("raises", [True, False])
async def test_leaving_the_block_early_fails_the_guests_writes_and_gives_the_call_up(raises: bool) -> None:
    stream: Any = None

    async def guest(request: IncomingRequest, out: ResponseOutparam) -> None:
        nonlocal stream
        stream = respond(out).write()
        await write(stream, b"abc")
        await anyio.sleep_forever()

    content = PlainBody(b"x", None)
    async with running() as background:
        handler = Handler(background, guest)
        try:
            async with handle(handler, HttpRequest(body=content)) as response:
                assert isinstance(response.body, ByteReceiveStream)
                assert await response.body.receive() == b"abc"
                if raises:
                    raise KeyError
        except KeyError:
            assert raises
        assert handler.handle.given_up
        assert content.closed
        stream.check_write()
        assert refused(stream.write, b"d").value.cause.code == TERMINATED
        with pytest.raises(Err):
            await response.read()


async def test_a_response_that_is_set_after_the_block_was_left_is_dropped() -> None:
    async def guest(request: IncomingRequest, out: ResponseOutparam) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            stream = respond(out).write()
            stream.check_write()
            assert refused(stream.write, b"d").value.cause.code == TERMINATED

    async with running() as background:
        handler = Handler(background, guest)
        with anyio.move_on_after(0.01):
            async with handle(handler, HttpRequest()):
                raise AssertionError
        assert handler.handle.given_up


@pytest.mark.parametrize("drops", [True, False])
async def test_a_guest_that_gives_no_response_is_an_error(drops: bool) -> None:
    async def guest(request: IncomingRequest, out: ResponseOutparam) -> None:
        if drops:
            out.close()

    async with running() as background:
        code = await failure(Handler(background, guest))
        assert code == ErrorCode("internal-error", "the component gave no response")


async def test_an_error_in_the_place_of_a_response_is_raised() -> None:
    async def guest(request: IncomingRequest, out: ResponseOutparam) -> None:
        ResponseOutparam.set(out, Err(ErrorCode("loop-detected")))

    async with running() as background:
        assert await failure(Handler(background, guest)) == ErrorCode("loop-detected")


@pytest.mark.parametrize("when", ["before", "within", "after"])
async def test_a_trap_is_raised_as_it_is(when: str) -> None:
    trap = Trap("unreachable")

    async def guest(request: IncomingRequest, out: ResponseOutparam) -> None:
        if when != "before":
            body = respond(out)
            stream = body.write()
            await write(stream, b"abc")
            if when == "after":
                stream.close()
                end(body)
        raise trap

    async def client(handler: Handler) -> None:
        async with handle(handler, HttpRequest()) as response:
            assert isinstance(response.body, ByteReceiveStream)
            assert await response.body.receive() == b"abc"
            await response.read()

    async with running() as background:
        with pytest.raises(Trap) as raised:
            await client(Handler(background, guest))
    assert raised.value is trap


@pytest.mark.parametrize(
    ("leave", "code"),
    [(OutgoingBody.close, DROPPED), (lambda body: None, ErrorCode("HTTP-response-incomplete"))],
)
async def test_a_body_that_is_left_unfinished_is_an_error(leave: Any, code: ErrorCode) -> None:
    async def guest(request: IncomingRequest, out: ResponseOutparam) -> None:
        leave(respond(out))

    async with running() as background:
        assert await failure(Handler(background, guest)) == code


@pytest.mark.parametrize("length", [b"1", b"4"])
async def test_a_body_of_another_length_than_announced_is_an_error(length: bytes) -> None:
    async def guest(request: IncomingRequest, out: ResponseOutparam) -> None:
        body = respond(out, ("content-length", length))
        stream = body.write()
        try:
            await write(stream, b"abc")
        except Err:
            pass
        stream.close()
        assert refused(end, body) == ErrorCode("HTTP-response-body-size", 3)

    async with running() as background:
        assert await failure(Handler(background, guest)) == ErrorCode("HTTP-response-body-size", 3)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_a_response_without_content_may_announce_a_length(method: str, status: int) -> None:
    async def guest(request: IncomingRequest, out: ResponseOutparam) -> None:
        body = respond(out, ("content-length", b"10"), status=status)
        await anyio.lowlevel.checkpoint()
        end(body)

    async with running() as background, handle(Handler(background, guest), HttpRequest(method=method)) as response:
        assert response.headers == [("content-length", b"10")]
        assert await response.read() == b""


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_a_guest_may_write_content_that_is_not_sent(method: str, status: int) -> None:
    """Guests answer HEAD as they answer GET."""
    go_on = anyio.Event()

    async def guest(request: IncomingRequest, out: ResponseOutparam) -> None:
        body = respond(out, ("content-length", b"10"), status=status)
        stream = body.write()
        await write(stream, bytes(3 * CAPACITY))
        await go_on.wait()
        await write(stream, bytes(3 * CAPACITY))
        stream.close()
        end(body)

    async with running() as background:
        handler = Handler(background, guest)
        async with handle(handler, HttpRequest(method=method)) as response:
            assert response.status == status
            background.tasks.start_soon(after_a_while, go_on)
        assert handler.handle.ended.is_set()
        assert not handler.handle.given_up


async def after_a_while(event: anyio.Event) -> None:
    await anyio.wait_all_tasks_blocked()
    event.set()


async def test_a_response_that_is_not_fit_to_be_sent_is_an_error() -> None:
    async def guest(request: IncomingRequest, out: ResponseOutparam) -> None:
        respond(out, ("content-length", b"x"))

    async with running() as background:
        assert await failure(Handler(background, guest)) == ErrorCode("HTTP-protocol-error")


async def test_a_request_that_is_malformed_never_reaches_the_guest() -> None:
    async def guest(request: IncomingRequest, out: ResponseOutparam) -> None:
        raise AssertionError

    async with running() as background:
        code = await failure(Handler(background, guest), HttpRequest(headers=[("a b", b"1")]))
        assert code == ErrorCode("HTTP-protocol-error")


async def test_a_response_may_be_passed_on() -> None:
    async def guest(request: IncomingRequest, out: ResponseOutparam) -> None:
        body = respond(out)
        data, _ = await read_all(request.consume())
        stream = body.write()
        await write(stream, data)
        stream.close()
        end(body)

    async with running() as background:
        handler = Handler(background, guest)
        async with handle(handler, HttpRequest(body=b"abc")) as inner:
            response = HttpResponse(inner.status, headers=inner.headers, body=inner.body, trailers=inner.trailers)
            assert await response.read() == b"abc"

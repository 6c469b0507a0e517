"""A component that serves HTTP by WASI 0.2 (guests/c-http-p2), and blocks in `wasi:io/poll` while it does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteReceiveStream

from p3host import Component, Err, Instance, InstanceClosed, Trap, Wasi
from p3host.testing import ManualClock
from p3host.wasi.http import DnsErrorPayload, ErrorCode, FieldSizePayload, HttpRequest, HttpResponse, handle
from p3host.wasi.http.messages import EMPTY_CASES, OPTIONAL_CASES, RECORD_CASES

pytestmark = pytest.mark.anyio

GUESTS = Path(__file__).resolve().parents[2] / "guests"
HANDLER = "wasi:http/incoming-handler"
SECONDS = 20


@pytest.fixture(scope="module")
def component() -> Component:
    return Component.load(GUESTS / "c-http-p2/c-http-p2.wasm")


@pytest.fixture(scope="module")
def p3_component() -> Component:
    return Component.load(GUESTS / "c-http/c-http.wasm")


def post(path: str, body: Any = b"", **more: Any) -> HttpRequest:
    more.setdefault("authority", "example.com")
    return HttpRequest(method="POST", scheme="http", path_with_query=path, body=body, **more)


def service(component: Component, http: Any = None, **options: Any) -> Instance:
    return component.instantiate(wasi=Wasi(http=http), grace_seconds=0.05, **options)


async def pieces_of(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def answer(instance: Instance, request: HttpRequest) -> tuple[int, bytes]:
    with anyio.fail_after(SECONDS):
        async with handle(instance.exports[HANDLER], request) as response:
            return response.status, await response.read()


async def test_a_body_is_streamed_piece_by_piece(component: Component) -> None:
    given, taken = anyio.create_memory_object_stream[bytes](0)
    async with (
        service(component) as instance,
        given,
        handle(instance.exports[HANDLER], post("/echo", taken)) as response,
    ):
        assert isinstance(response.body, ByteReceiveStream)
        with anyio.fail_after(SECONDS):
            for word in (b"one", b"two", b"three"):
                await given.send(word)
                assert await response.body.receive() == word.upper()
            await given.aclose()
            with pytest.raises(anyio.EndOfStream):
                await response.body.receive()


async def test_a_body_waits_for_its_reader(component: Component) -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1000
            yield bytes(1000)

    async with service(component) as instance:
        async with handle(instance.exports[HANDLER], post("/echo", endless())) as response:
            assert isinstance(response.body, ByteReceiveStream)
            assert await response.body.receive()
            await anyio.wait_all_tasks_blocked()
            before = given
            await anyio.wait_all_tasks_blocked()
            assert given == before < 200_000
        assert await answer(instance, post("/echo", b"again")) == (200, b"AGAIN")


@pytest.mark.parametrize("path", ["/echo", "/forward"])
async def test_a_large_body_comes_whole(component: Component, path: str) -> None:
    class Echo:
        async def send(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse(body=request.body)  # which begins before the request has ended

    data = bytes(range(256)) * 4096
    expected = data.upper() if path == "/echo" else data
    async with service(component, Echo()) as instance:
        for body in data, pieces_of(data, 10_007):
            assert await answer(instance, post(path, body)) == (200, expected)


@pytest.mark.parametrize("trailers", [[("X-Sum", b"1"), ("x-sum", b"2")], [], None])
async def test_trailers_come_back(component: Component, trailers: Any) -> None:
    async with (
        service(component) as instance,
        handle(instance.exports[HANDLER], post("/echo", b"abc", trailers=trailers)) as response,
    ):
        with anyio.fail_after(SECONDS):
            assert await response.read() == b"ABC"
            assert await response.read_trailers() == trailers


async def test_the_loop_goes_on_while_the_guest_sleeps(component: Component) -> None:
    clock = ManualClock()
    instance = component.instantiate(wasi=Wasi(monotonic_clock=clock))
    async with instance, handle(instance.exports[HANDLER], post("/ticks")) as response:
        assert isinstance(response.body, ByteReceiveStream)
        for _ in range(3):
            with anyio.move_on_after(0.01) as nothing:
                await response.body.receive()
            assert nothing.cancelled_caught
            clock.advance(1)
            with anyio.fail_after(SECONDS):
                assert await response.body.receive() == b"tick\n"
        with pytest.raises(anyio.EndOfStream), anyio.fail_after(SECONDS):
            await response.body.receive()


async def test_requests_are_taken_up_one_after_the_other(component: Component) -> None:
    async with service(component) as instance:

        async def one(number: int) -> None:
            text = b"request %d" % number
            assert await answer(instance, post("/echo", pieces_of(text, 3))) == (200, text.upper())

        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(one, number)


# What can go wrong with a request


@pytest.fixture(scope="module")
def codes(component: Component) -> list[str]:
    types: Any = component.types("wasi:http/types")
    return [case.tag for case in types.ErrorCode.cases]


async def broken() -> AsyncIterator[bytes]:
    yield b"abc"
    raise ConnectionResetError


@pytest.mark.parametrize(
    ("body", "headers", "tag"),
    [
        (b"abc", [("content-length", b"2")], "HTTP-request-body-size"),
        (b"abc", [("content-length", b"4")], "HTTP-request-body-size"),
        (broken, [], "connection-terminated"),
    ],
)
async def test_a_body_that_fails_is_told_with_its_code(
    component: Component, codes: list[str], body: Any, headers: Any, tag: str
) -> None:
    async with service(component) as instance:
        request = post("/count", body() if callable(body) else body, headers=headers)
        status, number = await answer(instance, request)
        assert (status, codes[int(number)]) == (400, tag)
        assert await answer(instance, post("/count", b"abc")) == (200, b"3")


async def test_error_codes_are_those_of_the_wit(component: Component, codes: list[str]) -> None:
    types: Any = component.types("wasi:http/types")
    assert set(codes) == EMPTY_CASES | OPTIONAL_CASES | RECORD_CASES.keys()
    assert types.DnsErrorPayload.__match_args__ == DnsErrorPayload.positional_fields
    assert types.FieldSizePayload.__match_args__ == FieldSizePayload.positional_fields


# What a guest can do wrong with its response


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/n", None, ErrorCode("internal-error", "the component gave no response")),
        ("/e", None, ErrorCode("internal-error")),
        ("/d", b"begun", ErrorCode("internal-error", "the body was dropped before it was finished")),
        ("/k", b"begun", ErrorCode("HTTP-response-incomplete")),
        ("/s", b"begun", ErrorCode("HTTP-response-body-size", 5)),
    ],
)
async def test_a_response_that_does_not_come_whole_is_an_error(
    component: Component, path: str, body: bytes | None, code: ErrorCode
) -> None:
    async with service(component) as instance:

        async def client() -> None:
            async with handle(instance.exports[HANDLER], post(path)) as response:
                assert isinstance(response.body, ByteReceiveStream)
                assert await response.body.receive() == body
                await response.read()

        with pytest.raises(Err) as raised, anyio.fail_after(SECONDS):
            await client()
        assert raised.value.value == code
        assert await answer(instance, post("/echo", b"again")) == (200, b"AGAIN")


@pytest.mark.parametrize(
    ("path", "message"), [("/x", "unreachable"), ("/b", "unreachable"), ("/o", "given up before its children")]
)
async def test_a_trap_is_raised(component: Component, path: str, message: str) -> None:
    async with service(component) as instance:
        with pytest.raises(Trap, match=message):
            await answer(instance, post(path))
        with pytest.raises(Trap, match="cannot enter"):
            await answer(instance, post("/echo"))


async def test_a_trap_after_the_response_is_raised_when_the_block_is_left(component: Component) -> None:
    clock = ManualClock()
    bodies: list[bytes] = []

    async def client(instance: Instance) -> None:
        async with handle(instance.exports[HANDLER], post("/l")) as response:
            bodies.append(await response.read())
            clock.advance(1)

    async with component.instantiate(wasi=Wasi(monotonic_clock=clock)) as instance:
        with pytest.raises(Trap, match="unreachable"), anyio.fail_after(SECONDS):
            await client(instance)
    assert bodies == [b"whole"]


@pytest.mark.parametrize("path", ["/w", "/ticks"])
async def test_a_client_that_goes_away_ends_the_response(component: Component, path: str) -> None:
    async with service(component) as instance:
        with anyio.fail_after(SECONDS):
            async with handle(instance.exports[HANDLER], post(path)) as response:
                if path == "/w":
                    assert isinstance(response.body, ByteReceiveStream)
                    assert await response.body.receive(5) == b"more "
        if path == "/w":  # it was told by its stream, and has ended
            assert await answer(instance, post("/echo", b"again")) == (200, b"AGAIN")
        else:  # it slept for longer than it may
            with pytest.raises(Trap, match="after it was cancelled"):
                await answer(instance, post("/echo"))


# Requests that are passed on


class Peer:
    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.cancelled = False

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.begun.set()
        if request.authority == "refused.example":
            raise ConnectionRefusedError
        if request.authority == "slow.example":
            try:
                await anyio.sleep_forever()
            finally:
                self.cancelled = True
        text = f"{request.method} {request.scheme} {request.authority}{request.path_with_query}: ".encode()

        async def body() -> AsyncIterator[bytes]:
            yield text
            async for piece in request.body:  # type: ignore[union-attr]
                yield piece  # type: ignore[misc]

        return HttpResponse(201, headers=request.headers, body=body(), trailers=request.trailers)


async def test_a_request_is_passed_on_with_all_that_it_has(component: Component) -> None:
    request = post("/forward", b"abc", headers=[("X", b"y")], trailers=[("a", b"1")])
    async with service(component, Peer()) as instance, handle(instance.exports[HANDLER], request) as response:
        with anyio.fail_after(SECONDS):
            assert (response.status, response.headers) == (201, [("X", b"y")])
            assert await response.read() == b"POST http example.com/forward: abc"
            assert await response.read_trailers() == [("a", b"1")]


@pytest.mark.parametrize("http", [None, Peer])
async def test_a_request_that_can_not_be_passed_on_is_answered_by_the_guest(component: Component, http: Any) -> None:
    async with service(component, http and http()) as instance:
        assert await answer(instance, post("/forward", b"abc", authority="refused.example")) == (502, b"")


async def test_a_cancelled_call_that_waits_for_a_peer_is_ended_with_its_instance(component: Component) -> None:
    peer = Peer()
    async with service(component, peer) as instance:
        with anyio.fail_after(SECONDS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(answer, instance, post("/forward", authority="slow.example"))
                await peer.begun.wait()
                tasks.cancel_scope.cancel()
            await anyio.wait_all_tasks_blocked()
        assert peer.cancelled


async def test_an_instance_that_ends_cancels_what_its_guest_waits_for(component: Component) -> None:
    peer = Peer()

    async def call(instance: Instance) -> None:
        with pytest.raises(InstanceClosed):
            await answer(instance, post("/forward", authority="slow.example"))

    with anyio.fail_after(SECONDS):
        async with anyio.create_task_group() as tasks, service(component, peer) as instance:
            tasks.start_soon(call, instance)
            await peer.begun.wait()
    assert peer.cancelled


@pytest.mark.parametrize("versions", [(2, 2), (2, 3), (3, 2)])
async def test_one_service_may_be_the_peer_of_another(
    component: Component, p3_component: Component, versions: tuple[int, int]
) -> None:
    class Service:
        """Sends requests to an instance's handler, whose responses live as long as the stack."""

        def __init__(self, handler: Any, stack: AsyncExitStack) -> None:
            self.handler = handler
            self.stack = stack

        async def send(self, request: HttpRequest) -> HttpResponse:
            inner = HttpRequest(path_with_query="/echo", body=request.body, trailers=request.trailers)
            return await self.stack.enter_async_context(handle(self.handler, inner))

    outer_component, inner_component = (component if version == 2 else p3_component for version in versions)
    outer_name, inner_name = (HANDLER if version == 2 else "wasi:http/handler" for version in versions)
    async with (
        service(inner_component) as inner,
        AsyncExitStack() as stack,
        service(outer_component, Service(inner.exports[inner_name], stack)) as outer,
        handle(outer.exports[outer_name], post("/forward", b"abc", trailers=[("a", b"1")])) as response,
    ):
        with anyio.fail_after(SECONDS):
            assert await response.read() == b"ABC"
            assert await response.read_trailers() == [("a", b"1")]

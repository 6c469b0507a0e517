"""A component that serves HTTP (guests/c-http), its bodies streamed by a real guest in both directions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteReceiveStream

from p3host import Component, Err, Instance, Wasi
from p3host.wasi.http import (
    DnsErrorPayload,
    ErrorCode,
    FieldSizePayload,
    HttpRequest,
    HttpResponse,
    TlsAlertReceivedPayload,
    handle,
)
from p3host.wasi.http.messages import EMPTY_CASES, OPTIONAL_CASES, RECORD_CASES

pytestmark = pytest.mark.anyio

GUEST = Path(__file__).resolve().parents[2] / "guests/c-http/c-http.wasm"
HANDLER = "wasi:http/handler"
SECONDS = 20


@pytest.fixture(scope="module")
def component() -> Component:
    return Component.load(GUEST)


def post(path: str, body: Any = b"", **more: Any) -> HttpRequest:
    more.setdefault("authority", "example.com")
    return HttpRequest(method="POST", scheme="http", path_with_query=path, body=body, **more)


def service(component: Component, http: Any = None) -> Instance:
    return component.instantiate(wasi=Wasi(http=http))


async def last_transmission(instance: Instance) -> int:
    """What the guest was told of the last body that it sent: 200 if all is well, 500 if not."""
    with anyio.fail_after(SECONDS):
        while True:
            async with handle(instance.exports[HANDLER], HttpRequest(path_with_query="/last")) as response:
                if response.status != 404:
                    return response.status
            await anyio.wait_all_tasks_blocked()


async def test_a_body_is_streamed_piece_by_piece(component: Component) -> None:
    given, taken = anyio.create_memory_object_stream[bytes](0)
    async with service(component) as instance, given:
        async with handle(instance.exports[HANDLER], post("/echo", taken)) as response:
            assert isinstance(response.body, ByteReceiveStream)
            with anyio.fail_after(SECONDS):
                for word in (b"one", b"two", b"three"):
                    await given.send(word)
                    assert await response.body.receive() == word.upper()
                await given.aclose()
                with pytest.raises(anyio.EndOfStream):
                    await response.body.receive()
        assert await last_transmission(instance) == 200


async def test_a_body_waits_for_its_reader(component: Component) -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1
            yield bytes(1000)

    async with service(component) as instance:
        async with handle(instance.exports[HANDLER], post("/echo", endless())) as response:
            assert isinstance(response.body, ByteReceiveStream)
            assert await response.body.receive() == bytes(1000)
            await anyio.wait_all_tasks_blocked()
            before = given
            await anyio.wait_all_tasks_blocked()
            assert given == before < 10
        assert await last_transmission(instance) == 500


async def test_a_large_body_comes_whole(component: Component) -> None:
    data = bytes(range(256)) * 4096

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 10_007):
            yield data[start : start + 10_007]

    async with service(component) as instance:
        for body in data, pieces():
            async with handle(instance.exports[HANDLER], post("/echo", body)) as response:
                with anyio.fail_after(SECONDS):
                    assert await response.read() == data.upper()


@pytest.mark.parametrize("trailers", [[("X-Sum", b"1"), ("x-sum", b"2")], [], None])
async def test_trailers_come_back(component: Component, trailers: Any) -> None:
    async with (
        service(component) as instance,
        handle(instance.exports[HANDLER], post("/echo", b"abc", trailers=trailers)) as response,
    ):
        with anyio.fail_after(SECONDS):
            assert await response.read() == b"ABC"
            assert await response.read_trailers() == trailers


@pytest.mark.parametrize("reads", [True, False])
async def test_a_block_that_is_left_early_ends_the_exchange_and_no_more(component: Component, reads: bool) -> None:
    given, taken = anyio.create_memory_object_stream[bytes](1)
    async with service(component) as instance, given:
        await given.send(b"abc")
        async with handle(instance.exports[HANDLER], post("/echo", taken)) as response:
            if reads:
                assert isinstance(response.body, ByteReceiveStream)
                assert await response.body.receive() == b"ABC"
        with pytest.raises(anyio.BrokenResourceError):
            await given.send(b"def")
        assert await last_transmission(instance) == 500
        async with handle(instance.exports[HANDLER], post("/echo", b"again")) as response:
            assert await response.read() == b"AGAIN"


@pytest.mark.parametrize(("length", "count"), [(b"2", 3), (b"4", 3)])
async def test_a_request_of_another_length_than_announced_fails(
    component: Component, length: bytes, count: int
) -> None:
    request = post("/echo", b"abc", headers=[("content-length", length)])
    async with service(component) as instance:
        async with handle(instance.exports[HANDLER], request) as response:
            with pytest.raises(Err) as raised, anyio.fail_after(SECONDS):
                await response.read()
        assert raised.value.value == ErrorCode("HTTP-request-body-size", count)
        assert await last_transmission(instance) == 500


async def test_a_body_that_breaks_off_fails(component: Component) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"abc"
        raise ConnectionResetError

    async with service(component) as instance:
        async with handle(instance.exports[HANDLER], post("/echo", broken())) as response:
            with pytest.raises(Err) as raised, anyio.fail_after(SECONDS):
                await response.read()
        assert raised.value.value == ErrorCode("connection-terminated")
        assert await last_transmission(instance) == 500


async def test_many_requests_at_once(component: Component) -> None:
    async with service(component) as instance:

        async def one(number: int) -> None:
            text = b"request %d" % number
            async with handle(instance.exports[HANDLER], post("/echo", text)) as response:
                assert await response.read() == text.upper()

        with anyio.fail_after(SECONDS):
            async with anyio.create_task_group() as tasks:
                for number in range(100):
                    tasks.start_soon(one, number)


# Requests that are passed on


class Peer:
    """A server that tells what it was asked, and what became of it."""

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
        text = f"{request.method} {request.authority}{request.path_with_query}: ".encode()
        body = following(text, request.body)
        return HttpResponse(201, headers=[("x", b"y")], body=body, trailers=request.trailers)


async def following(text: bytes, body: Any) -> AsyncIterator[bytes]:
    yield text
    async for piece in body:
        yield piece


async def test_a_request_is_passed_on_with_its_body_and_trailers(component: Component) -> None:
    request = post("/forward", b"abc", trailers=[("a", b"1")])
    async with (
        service(component, Peer()) as instance,
        handle(instance.exports[HANDLER], request) as response,
    ):
        with anyio.fail_after(SECONDS):
            assert (response.status, response.headers) == (201, [("x", b"y")])
            assert await response.read() == b"POST example.com/forward: abc"
            assert await response.read_trailers() == [("a", b"1")]


@pytest.mark.parametrize("http", [None, Peer])
async def test_a_request_that_can_not_be_passed_on_is_answered_by_the_guest(component: Component, http: Any) -> None:
    async with (
        service(component, http and http()) as instance,
        handle(instance.exports[HANDLER], post("/forward", authority="refused.example")) as response,
    ):
        assert (response.status, await response.read()) == (502, b"")


async def test_a_cancelled_call_cancels_what_the_guest_waits_for(component: Component) -> None:
    peer = Peer()

    async def call(instance: Instance) -> None:
        async with handle(instance.exports[HANDLER], post("/forward", authority="slow.example")):
            raise AssertionError

    async with service(component, peer) as instance:
        with anyio.fail_after(SECONDS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call, instance)
                await peer.begun.wait()
                tasks.cancel_scope.cancel()
        assert peer.cancelled
        async with handle(instance.exports[HANDLER], post("/echo", b"again")) as response:
            assert await response.read() == b"AGAIN"


async def test_an_instance_that_ends_cancels_what_its_guest_waits_for(component: Component) -> None:
    peer = Peer()

    async def call(instance: Instance) -> None:
        with pytest.raises(Exception, match="closed"):
            async with handle(instance.exports[HANDLER], post("/forward", authority="slow.example")):
                raise AssertionError

    with anyio.fail_after(SECONDS):
        async with anyio.create_task_group() as tasks, service(component, peer) as instance:
            tasks.start_soon(call, instance)
            await peer.begun.wait()
    assert peer.cancelled


async def test_one_service_may_be_the_peer_of_another(component: Component) -> None:
    class Service:
        """Sends requests to an instance's handler, whose responses live as long as the stack."""

        def __init__(self, instance: Instance, stack: AsyncExitStack) -> None:
            self.instance = instance
            self.stack = stack

        async def send(self, request: HttpRequest) -> HttpResponse:
            inner = HttpRequest(path_with_query="/echo", body=request.body, trailers=request.trailers)
            return await self.stack.enter_async_context(handle(self.instance.exports[HANDLER], inner))

    async with (
        service(component) as inner,
        AsyncExitStack() as stack,
        service(component, Service(inner, stack)) as outer,
        handle(outer.exports[HANDLER], post("/forward", b"abc", trailers=[("a", b"1")])) as response,
    ):
        with anyio.fail_after(SECONDS):
            assert await response.read() == b"ABC"
            assert await response.read_trailers() == [("a", b"1")]


async def test_the_client_of_one_service_may_be_the_handler_of_another(component: Component) -> None:
    async with service(component) as inner:

        async def send(request: Any) -> Any:
            request.set_path_with_query("/echo")  # the inner service would pass the request on too
            return await inner.exports[HANDLER].handle(request)

        async with (
            component.instantiate({"wasi:http/client": {"send": send}}, wasi=Wasi()) as outer,
            handle(outer.exports[HANDLER], post("/forward", b"abc", trailers=[("a", b"1")])) as response,
        ):
            with anyio.fail_after(SECONDS):
                assert await response.read() == b"ABC"
                assert await response.read_trailers() == [("a", b"1")]
        assert await last_transmission(inner) == 200


async def test_an_export_may_be_linked_to_the_client_as_it_is(component: Component) -> None:
    async with service(component) as inner:
        linked = {"wasi:http/client": {"send": inner.exports[HANDLER].handle}}
        async with (
            component.instantiate(linked, wasi=Wasi()) as outer,
            handle(outer.exports[HANDLER], post("/forward", b"abc")) as response,
        ):
            assert response.status == 502  # the inner service's answer, as its client denies what it passes on


def test_error_codes_are_those_of_the_wit(component: Component) -> None:
    types: Any = component.types("wasi:http/types")
    with_value = {case.tag for case in types.ErrorCode.cases if case.__match_args__}
    without = {case.tag for case in types.ErrorCode.cases} - with_value
    assert without == EMPTY_CASES
    assert with_value == OPTIONAL_CASES | RECORD_CASES.keys()
    for made, own in (
        (types.DnsErrorPayload, DnsErrorPayload),
        (types.TlsAlertReceivedPayload, TlsAlertReceivedPayload),
        (types.FieldSizePayload, FieldSizePayload),
    ):
        assert made.__match_args__ == own.positional_fields

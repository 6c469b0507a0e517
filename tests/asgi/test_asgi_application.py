"""Requests and responses through `p3host.asgi.Application`, called as a server calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from asgi_fakes import SECONDS, Connection, OpenBody, Peer, c_http, forwarding
from asgi_guests import ANSWERS, answers

from p3host import Component, DecodeError, LinkError, MachineLimits, Trap
from p3host.asgi import Application, PoolLimits, ResponseAborted
from p3host.serving.observed import Observed
from p3host.wasi.http import HttpRequest, HttpResponse

pytestmark = pytest.mark.virtual_time


async def last_status(application: Application) -> int | None:
    """200 if the last body that c-http sent was transmitted, 500 if not."""
    client = await Connection("GET", "/last").run(application)
    for _ in range(100):
        if client.status != 404:
            break
        await anyio.sleep(0.01)
        client = await Connection("GET", "/last").run(application)
    return client.status


async def test_a_request_is_answered() -> None:
    async with Application(c_http()) as application:
        client = await Connection("POST", "/echo", b"hello ", b"world").run(application)
        assert (client.status, client.body, client.complete) == (200, b"HELLO WORLD", True)
        assert await last_status(application) == 200


async def test_the_component_sees_what_the_client_sent() -> None:
    peer = Peer(HttpResponse(201, headers=[("X-B", b"2")], body=b"made"))
    async with forwarding(peer) as application:
        headers = [(b"x-a", b"1"), (b"connection", b"close"), (b"te", b"trailers")]
        connection = Connection("PUT", "/forward", b"data", headers=headers, scheme="https", query_string=b"")
        client = await connection.run(application)
    assert (client.status, client.headers, client.body) == (201, {b"x-b": b"2"}, b"made")
    (request,) = peer.requests
    assert (request.method, request.scheme, request.authority) == ("PUT", "https", "example.com")
    assert list(request.headers) == [("x-a", b"1"), ("te", b"trailers")]


async def test_bodies_stream_in_both_directions_at_once() -> None:
    client = Connection("POST", "/echo", unfinished=True)
    async with Application(c_http()) as application, anyio.create_task_group() as tasks:
        tasks.start_soon(client.run, application)
        await client.until(lambda: client.status == 200)
        for word in (b"one", b"two", b"three"):
            client.give(word)
            await client.until(lambda word=word: client.body.endswith(word.upper()))  # type: ignore[misc]
        client.give(b"", last=True)
        await client.until(lambda: client.complete)


async def test_a_client_that_does_not_read_stops_the_upload() -> None:
    """No more is taken of the request than a few pieces, however much there is."""
    client = Connection("POST", "/echo", *([bytes(10_000)] * 1000))
    client.reading = anyio.Event()
    async with Application(c_http()) as application, anyio.create_task_group() as tasks:
        tasks.start_soon(client.run, application)
        await anyio.sleep(1)
        assert 0 < client.taken < 20
        client.reading.set()
        await client.until(lambda: client.complete)
        assert len(client.body) == 10_000_000


async def test_a_component_that_does_not_read_stops_the_upload() -> None:
    client = Connection("POST", "/wait", *([bytes(10_000)] * 1000))
    async with Application(answers()) as application, anyio.create_task_group() as tasks:
        tasks.start_soon(client.run, application)
        await anyio.sleep(1)
        assert 0 < client.taken < 20
        tasks.cancel_scope.cancel()


async def test_a_client_that_goes_away_is_noticed_behind_what_it_has_sent() -> None:
    """Nobody reads, and more has come than is read ahead at once."""
    client = Connection("POST", "/wait", *([bytes(10_000)] * 15), unfinished=True)
    async with Application(answers()) as application, anyio.create_task_group() as tasks:
        tasks.start_soon(client.run, application)
        await anyio.sleep(0.5)
        assert client.pieces
        client.pieces.clear()
        client.leave()
        await anyio.sleep(20)
        assert client.ended


async def test_no_more_is_read_ahead_than_a_mebibyte() -> None:
    client = Connection("POST", "/wait", *([bytes(10_000)] * 1000))
    async with Application(answers()) as application, anyio.create_task_group() as tasks:
        tasks.start_soon(client.run, application)
        await anyio.sleep(250)
        assert client.taken == 105
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("POST", 304)])
async def test_a_response_without_content_ends_with_its_head(method: str, status: int) -> None:
    body = OpenBody()
    peer = Peer(HttpResponse(status, headers=[("content-length", b"7")], body=body))
    async with forwarding(peer) as application:
        client = await Connection(method, "/forward").run(application)
        assert (client.status, client.body, client.complete) == (status, b"", True)
        assert (b"content-length" in client.headers) is (status != 204)
        with anyio.fail_after(SECONDS):
            await body.closed.wait()


async def test_a_response_to_head_is_transmitted() -> None:
    async with Application(c_http()) as application:
        client = await Connection("HEAD", "/echo", b"hello").run(application)
        assert (client.status, client.body, client.complete) == (200, b"", True)
        assert await last_status(application) == 200


@pytest.mark.parametrize(("supported", "announced"), [(True, True), (True, False), (False, True)])
async def test_trailers_that_are_announced_are_sent_where_the_server_can(supported: bool, announced: bool) -> None:
    headers = [("Trailer", b"X-Sum")] if announced else []
    peer = Peer(HttpResponse(headers=headers, body=b"abc", trailers=[("X-Sum", b"6")]))
    extensions = {"http.response.trailers": {}} if supported else {}
    async with forwarding(peer) as application:
        client = await Connection("GET", "/forward", extensions=extensions).run(application)
    assert (client.body, client.complete) == (b"abc", True)
    trailers = {"type": "http.response.trailers", "headers": [(b"x-sum", b"6")]}
    assert (client.messages[-1] == trailers) is (supported and announced)


async def test_what_can_have_no_trailers_promises_none() -> None:
    peer = Peer(HttpResponse(headers=[("trailer", b"x-sum")], trailers=[("x-sum", b"6")]))
    async with forwarding(peer) as application:
        client = await Connection("HEAD", "/forward", extensions={"http.response.trailers": {}}).run(application)
    assert client.complete
    assert "trailers" not in client.messages[0]


async def test_a_promise_of_trailers_is_kept_without_any() -> None:
    peer = Peer(HttpResponse(headers=[("trailer", b"x-sum")], body=b"abc"))
    async with forwarding(peer) as application:
        client = await Connection("GET", "/forward", extensions={"http.response.trailers": {}}).run(application)
    assert client.complete
    assert client.messages[-1] == {"type": "http.response.trailers", "headers": []}


# Clients that go away


async def test_a_client_that_goes_away_cancels_the_guests_task() -> None:
    async def never(request: HttpRequest) -> HttpResponse:
        await anyio.sleep_forever()
        raise AssertionError

    peer = Peer(never)
    client = Connection("POST", "/forward", b"abc")
    async with forwarding(peer) as application, anyio.create_task_group() as tasks:
        tasks.start_soon(client.run, application)
        await peer.asked.wait()
        client.leave()
        await anyio.sleep(1)
        assert (client.ended, client.messages, peer.cancelled) == (True, [], 1)
        assert (await Connection("GET", "/last").run(application)).status == 404


async def test_a_client_that_goes_away_ends_a_response_that_nobody_reads() -> None:
    body = OpenBody()
    client = Connection("GET", "/forward")
    async with forwarding(Peer(HttpResponse(body=body))) as application, anyio.create_task_group() as tasks:
        tasks.start_soon(client.run, application)
        await body.given.send(b"abc")
        await client.until(lambda: client.body == b"abc")
        client.leave()
        with anyio.fail_after(SECONDS):
            await body.closed.wait()
    assert not client.complete


async def test_a_client_that_goes_away_in_its_upload_fails_the_guests_read() -> None:
    client = Connection("POST", "/echo", b"abc", unfinished=True)
    async with Application(c_http()) as application, anyio.create_task_group() as tasks:
        tasks.start_soon(client.run, application)
        await client.until(lambda: client.body == b"ABC")
        client.leave()
        await anyio.sleep(1)
        assert client.ended
        assert await last_status(application) == 500


@pytest.mark.parametrize("error", [BrokenPipeError, anyio.BusyResourceError("sending"), RuntimeError])
async def test_a_server_that_can_not_send_ends_the_exchange(error: Any) -> None:
    client = Connection("POST", "/echo", b"abc")
    client.broken = error
    async with Application(c_http()) as application:
        await client.run(application)
        assert await last_status(application) == 500


async def test_a_server_whose_receive_fails_counts_as_gone() -> None:
    async def receive() -> Any:
        raise ConnectionResetError

    client = Connection("POST", "/echo", unfinished=True)
    client.receive = receive  # type: ignore[method-assign]
    async with Application(c_http()) as application:
        await client.run(application)
        assert not client.complete


# Failures


@pytest.mark.parametrize(
    ("path", "status"), [("/trap", 500), ("/error", 500), ("/informational", 500), ("/count", 200)]
)
async def test_a_failure_before_the_head_has_its_status(path: str, status: int) -> None:
    async with Application(answers()) as application:
        client = await Connection("GET", path).run(application)
    assert (client.status, client.complete) == (status, True)


async def test_a_failure_after_the_head_aborts_the_response() -> None:
    client = Connection("GET", "/late")
    async with Application(answers()) as application:
        with pytest.raises(ResponseAborted):
            await client.run(application)
    assert (client.status, client.complete) == (200, False)


async def test_a_body_that_is_shorter_than_announced_aborts_the_response() -> None:
    peer = Peer(HttpResponse(headers=[("content-length", b"5")], body=b"abc"))
    client = Connection("GET", "/forward")
    async with forwarding(peer) as application:
        with pytest.raises(ResponseAborted):
            await client.run(application)
    assert (client.status, client.complete) == (200, False)


async def test_a_trap_fails_all_requests_of_its_instance_and_no_others(caplog: pytest.LogCaptureFixture) -> None:
    limits = PoolLimits(concurrent_requests=3, instances=2)
    waiting, opened, leaving, other = (Connection("GET", path) for path in ("/wait", "/open", "/wait", "/wait"))
    trapped = Connection("GET", "/trap")
    aborted: list[Connection] = []

    async def run(client: Connection) -> None:
        try:
            await client.run(application)
        except ResponseAborted:
            aborted.append(client)

    async with Application(answers(), pool=limits) as application, anyio.create_task_group() as tasks:
        for client in waiting, opened, leaving, other:  # the last one is another instance's: the first one is full
            tasks.start_soon(run, client)
            await anyio.sleep(0.01)
        leaving.leave()
        await anyio.sleep(1)
        await run(trapped)
        await anyio.sleep(1)
        assert (waiting.status, trapped.status, opened.complete, aborted) == (500, 500, False, [opened])
        assert not other.ended
        assert application.pool.trapped == 1
        assert (await Connection("GET", "/count").run(application)).status == 201  # the other's second request
        other.leave()
    assert "unreachable" in caplog.text


async def test_a_failure_after_the_response_is_told_in_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    @asynccontextmanager
    async def handler(request: HttpRequest) -> AsyncIterator[HttpResponse]:
        yield HttpResponse(body=b"all of it")
        raise Trap("went on, and trapped")

    async with Application(answers()) as application:
        application.pool.members[0].handler = handler
        client = await Connection("GET", "/").run(application)
    assert (client.body, client.complete) == (b"all of it", True)
    assert "went on, and trapped" in caplog.text


async def test_the_client_is_not_told_why() -> None:
    async with Application(answers()) as application:
        client = await Connection("GET", "/trap").run(application)
    assert client.body == b"Internal Server Error\n"


@pytest.mark.parametrize(("path", "after_head"), [("/wait", False), ("/spin", False), ("/open", True)])
async def test_a_request_that_takes_too_long_is_cancelled(path: str, after_head: bool) -> None:
    client = Connection("GET", path)
    async with Application(answers(), pool=PoolLimits(request_seconds=2), grace_seconds=0.5) as application:
        if after_head:
            with pytest.raises(ResponseAborted):
                await client.run(application)
            assert not client.complete
        else:
            await client.run(application)
            assert (client.status, client.complete) == (504, True)
        client = await Connection("GET", "/count").run(application)
        assert client.status == (200 if path == "/spin" else 201)  # a guest that computes was killed


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("pieces", [[b"a"] * 11, [bytes(500_000)]], ids=len)
async def test_a_body_that_is_larger_than_allowed_is_refused(pieces: list[bytes], announced: bool) -> None:
    headers = [(b"content-length", b"%d" % sum(map(len, pieces)))] if announced else []
    async with Application(answers(), pool=PoolLimits(request_bytes=10)) as application:
        client = await Connection("POST", "/wait", *pieces, headers=headers).run(application)
        assert (client.status, client.complete) == (413, True)
        client = await Connection("GET", "/count").run(application)
        assert client.status == (200 if announced else 201)  # the guest has seen what was not announced


@pytest.mark.parametrize("size", [0, 9, 10])
async def test_a_body_that_is_as_large_as_allowed_is_taken(size: int) -> None:
    headers = [(b"content-length", b"%d" % size)]
    async with Application(c_http(), pool=PoolLimits(request_bytes=10)) as application:
        client = await Connection("POST", "/echo", *([b"a"] * size), headers=headers).run(application)
        assert (client.status, client.body, client.complete) == (200, b"A" * size, True)


async def test_a_body_that_becomes_too_large_while_it_is_answered_aborts_the_response() -> None:
    client = Connection("POST", "/echo", unfinished=True)
    async with Application(c_http(), pool=PoolLimits(request_bytes=10)) as application:

        async def run() -> None:
            with pytest.raises(ResponseAborted):
                await client.run(application)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            client.give(b"0123456789")
            await client.until(lambda: client.body == b"0123456789")
            client.give(b"0")
        assert not client.complete
        assert (await Connection("POST", "/echo", b"0123456789").run(application)).complete


@pytest.mark.parametrize(
    ("headers", "more", "status"),
    [
        ([(b"host", b"other.test")], {}, 400),
        ([(b"x", b"a\r\nb: c")], {}, 400),
        ([(b"x", b"y")] * 2000, {}, 431),
        ([(b"x", bytes(200_000).replace(b"\0", b"a"))], {}, 431),
        ([(b"content-length", b"two")], {}, 400),
        ([], {"raw_path": b"*"}, 400),
    ],
)
async def test_a_malformed_request_is_refused(
    headers: Any, more: Any, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with Application(answers()) as application:
        client = await Connection("GET", "/count", headers=headers, **more).run(application)
        assert (client.status, client.complete) == (status, True)
        assert (await Connection("GET", "/count").run(application)).status == 200  # the first one that it has seen
    assert caplog.text == ""  # it is no failure


# The application's life


class Lifespan:
    """A server's lifespan around a block."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.to_give = ["lifespan.startup", "lifespan.shutdown"]
        self.started = anyio.Event()
        self.over = anyio.Event()

    async def receive(self) -> Any:
        if len(self.to_give) == 1:
            await self.over.wait()
        return {"type": self.to_give.pop(0)}

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        self.started.set()


async def test_instances_live_as_long_as_the_servers_lifespan() -> None:
    application, lifespan = Application(answers()), Lifespan()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(application, {"type": "lifespan"}, lifespan.receive, lifespan.send)
        await lifespan.started.wait()
        statuses = [(await Connection("GET", "/count").run(application)).status for _ in range(3)]
        assert statuses == [200, 201, 202]
        lifespan.over.set()
    assert [message["type"] for message in lifespan.sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert application.pool.members == []


def failing(component: Component) -> Application:
    """An application whose instances can't be started, as their guests are given no memory."""
    return Application(component, limits=MachineLimits(memory_bytes=1))


async def test_an_instance_that_can_not_be_started_fails_the_servers_start() -> None:
    application, lifespan = failing(answers()), Lifespan()
    with anyio.fail_after(SECONDS):
        await application({"type": "lifespan"}, lifespan.receive, lifespan.send)
    assert [message["type"] for message in lifespan.sent] == ["lifespan.startup.failed"]
    assert "memory" in lifespan.sent[0]["message"]


class Unending(Application):
    async def __aexit__(self, *arguments: Any) -> None:
        await super().__aexit__(*arguments)
        raise Trap("an instance can't be ended")


def as_it_is(application: Application) -> Any:
    return application


def as_it_is_served(application: Application) -> Any:
    return Observed(application, lambda: None, log=False, metrics=None)


@pytest.mark.parametrize("wrap", [as_it_is, as_it_is_served])
async def test_instances_that_can_not_be_ended_fail_the_servers_shutdown(wrap: Any) -> None:
    lifespan = Lifespan()
    lifespan.over.set()
    with anyio.fail_after(SECONDS):
        await wrap(Unending(answers()))({"type": "lifespan"}, lifespan.receive, lifespan.send)
    assert [message["type"] for message in lifespan.sent] == ["lifespan.startup.complete", "lifespan.shutdown.failed"]


@pytest.mark.parametrize("wrap", [as_it_is, as_it_is_served])
async def test_a_failure_while_the_server_runs_is_none_of_its_start(wrap: Any) -> None:
    lifespan = Lifespan()
    application = wrap(Application(answers()))

    async def receive() -> Any:
        if len(lifespan.to_give) == 1:
            raise ConnectionError("the server is gone")
        return await lifespan.receive()

    with anyio.fail_after(SECONDS):
        await application({"type": "lifespan"}, receive, lifespan.send)
    assert [message["type"] for message in lifespan.sent] == ["lifespan.startup.complete", "lifespan.shutdown.failed"]


async def test_without_a_lifespan_each_request_has_an_instance_of_its_own() -> None:
    application = Application(answers())
    assert [(await Connection("GET", "/count").run(application)).status for _ in range(3)] == [200, 200, 200]
    assert application.pool.members == []


async def test_without_a_lifespan_failures_are_as_with_one() -> None:
    application = Application(answers(), pool=PoolLimits(request_seconds=2))
    assert (await Connection("GET", "/trap").run(application)).status == 500
    assert (await Connection("GET", "/wait").run(application)).status == 504
    with pytest.raises(ResponseAborted):
        await Connection("GET", "/late").run(application)
    assert (await Connection("GET", "/count").run(failing(answers()))).status == 500


async def test_without_a_lifespan_a_client_that_goes_away_is_noticed() -> None:
    application = Application(answers())
    client = Connection("GET", "/open")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.run, application)
        await client.until(lambda: client.status == 200)
        client.leave()
    assert (client.ended, client.complete) == (True, False)


async def test_leaving_the_block_ends_what_runs() -> None:
    client = Connection("GET", "/wait")
    async with anyio.create_task_group() as tasks:
        async with Application(answers()) as application:
            tasks.start_soon(client.run, application)
            await anyio.sleep(1)
        await client.until(lambda: client.complete)
    assert client.status == 500


async def test_the_block_can_be_entered_again_but_not_twice_at_once() -> None:
    application = Application(answers())
    for _ in range(2):
        async with application:
            with pytest.raises(RuntimeError, match="twice"):
                await application.__aenter__()
            assert (await Connection("GET", "/count").run(application)).status == 200


async def test_what_a_block_raises_is_raised_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with Application(answers()):
            raise ZeroDivisionError


async def test_a_websocket_is_refused() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await Application(answers())({"type": "websocket"}, receive, send)
    assert sent == [{"type": "websocket.close"}]


async def test_an_unknown_protocol_is_refused() -> None:
    async def receive() -> Any:
        raise AssertionError

    with pytest.raises(ValueError, match="carrier-pigeon"):
        await Application(answers())({"type": "carrier-pigeon"}, receive, receive)  # type: ignore[arg-type]


def test_what_serves_no_http_is_refused() -> None:
    with pytest.raises(LinkError, match="serves no HTTP"):
        Application("(component)")
    with pytest.raises(DecodeError):
        Application(b"no component")
    with pytest.raises(OSError, match="nowhere"):
        Application("nowhere.wasm")


def test_missing_imports_are_told_at_once() -> None:
    lacking = Component.load(ANSWERS.replace("(component", '(component (import "missing" (func))', 1))
    with pytest.raises(LinkError, match="missing"):
        Application(lacking)
    Application(lacking, {"missing": lambda: None})

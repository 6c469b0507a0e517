"""`wasi:http`: requests, responses, options and error codes; the client, and `handle`, with whole messages."""

from __future__ import annotations

import errno
import gc
import socket
import subprocess
import sys
from typing import Any

import anyio
import pytest
from http_fakes import GuestStream, Handler, Peer, PlainBody, fields, guest_request, guest_response, resolved

from p3host.errors import Err, InstanceClosed, Trap
from p3host.wasi import Wasi
from p3host.wasi.http import (
    DnsErrorPayload,
    ErrorCode,
    FieldSizePayload,
    HttpRequest,
    HttpResponse,
    HttpTimeouts,
    RequestRefused,
    handle,
)
from p3host.wasi.http.fields import MAX_BYTES, MAX_FIELDS, MAX_HELD, Allowance
from p3host.wasi.http.heads import Case, RequestOptions
from p3host.wasi.http.messages import EMPTY_CASES, OPTIONAL_CASES, RECORD_CASES, error_code
from p3host.wasi.p3.http import Client, Request, Response

pytestmark = pytest.mark.anyio

UNSENT = "internal-error"


def empty_request() -> Request:
    request, sent = Request.new(fields(), None, resolved(), None)
    sent.on_dropped()
    return request


def empty_response() -> Response:
    response, sent = Response.new(fields(), None, resolved())
    sent.on_dropped()
    return response


def refused(function: Any, *arguments: Any) -> object:
    with pytest.raises(Err) as raised:
        function(*arguments)
    return raised.value.value


async def send_to(peer: Any, request: Request) -> Response:
    with anyio.fail_after(10):
        return await Client(peer).send(request)


async def failure_of(request: Request, peer: Any) -> ErrorCode:
    with pytest.raises(Err) as raised:
        await send_to(peer, request)
    code = raised.value.value
    assert isinstance(code, ErrorCode)
    return code


# The resources


async def test_defaults_of_a_request() -> None:
    request = empty_request()
    assert request.get_method() == Case("get")
    assert request.get_path_with_query() is None
    assert request.get_scheme() is None
    assert request.get_authority() is None
    assert request.get_options() is None


METHODS = ["get", "head", "post", "put", "delete", "connect", "options", "trace", "patch"]


@pytest.mark.parametrize("method", METHODS)
async def test_methods_have_one_case_whichever_they_are_given_by(method: str) -> None:
    request = empty_request()
    for given in Case(method), Case("other", method.upper()):
        request.set_method(given)
        assert request.get_method() == Case(method)
        assert request.method == method.upper()


async def test_other_methods_are_kept_as_they_are() -> None:
    request = empty_request()
    for name in "M-SEARCH", "get":
        request.set_method(Case("other", name))
        assert request.get_method() == Case("other", name)
    assert refused(request.set_method, Case("other", "")) is None
    assert refused(request.set_method, Case("other", "A B")) is None
    assert request.get_method() == Case("other", "get")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (Case("HTTP"), Case("HTTP")),
        (Case("HTTPS"), Case("HTTPS")),
        (Case("other", "http"), Case("HTTP")),
        (Case("other", "HTTPS"), Case("HTTPS")),
        (Case("other", "Gopher"), Case("other", "Gopher")),
        (None, None),
    ],
)
async def test_schemes(given: Case | None, kept: Case | None) -> None:
    request = empty_request()
    request.set_scheme(Case("other", "ftp"))
    request.set_scheme(given)
    assert request.get_scheme() == kept
    assert refused(request.set_scheme, Case("other", "1")) is None
    assert request.get_scheme() == kept


async def test_path_and_authority_are_kept_if_they_are_well_formed() -> None:
    request = empty_request()
    request.set_path_with_query("/a?b")
    request.set_authority("h:80")
    assert refused(request.set_path_with_query, "/a b") is None
    assert refused(request.set_authority, "h:x") is None
    assert request.get_path_with_query() == "/a?b"
    assert request.get_authority() == "h:80"
    request.set_path_with_query("")
    assert request.get_path_with_query() == "/"
    request.set_path_with_query(None)
    request.set_authority(None)
    assert request.get_path_with_query() is request.get_authority() is None


async def test_the_memory_of_an_instances_requests_is_limited() -> None:
    limited: type[Request] = type("Limited", (Request,), {"allowance": Allowance(20)})

    def make() -> Request:
        request, sent = limited.new(fields(), None, resolved(), None)
        sent.on_dropped()
        return request

    first, second = make(), make()
    first.set_authority("example.com")
    assert refused(second.set_path_with_query, "/long") is None
    assert second.get_path_with_query() is None
    first.set_authority(None)
    second.set_path_with_query("/long")
    del second
    gc.collect()
    first.set_scheme(Case("other", "s" * 17))


async def test_requests_to_one_handler_share_an_allowance() -> None:
    """So a guest that keeps what it gets with each of them can't have more and more."""
    kept: list[Any] = []

    def answer(request: Request) -> Response:
        headers = request.get_headers().clone()
        headers.append("b", bytes(MAX_BYTES // 2).replace(b"\0", b"b"))
        kept.append(headers)
        return empty_response()

    handler, other = Handler(answer), Handler(answer)
    for _ in range(10):
        async with handle(handler, HttpRequest(headers=[("a", b"1")])):
            pass
    left = kept[0].allowance.left
    assert left < MAX_HELD - 10 * MAX_BYTES // 2
    async with handle(other, HttpRequest(headers=[("a", b"1")])):
        pass
    assert kept[-1].allowance.left > left
    kept[0].allowance.left = 0
    with pytest.raises(Err) as raised:
        async with handle(handler, HttpRequest(headers=[("a", b"1")])):
            pass
    assert raised.value.value == ErrorCode("HTTP-request-header-section-size", 2)


OPTIONS = ["connect_timeout", "first_byte_timeout", "between_bytes_timeout"]


@pytest.mark.parametrize("name", OPTIONS)
async def test_options_are_mutable_until_they_belong_to_a_request(name: str) -> None:
    options = RequestOptions()
    get, change = getattr(options, f"get_{name}"), getattr(options, f"set_{name}")
    assert get() is None
    change(5)
    assert [getattr(options, f"get_{other}")() for other in OPTIONS if other != name] == [None, None]
    request, sent = Request.new(fields(), None, resolved(), options)
    sent.on_dropped()
    assert request.get_options() is options
    assert refused(change, 6) == "immutable"
    assert get() == 5
    clone = options.clone()
    getattr(clone, f"set_{name}")(7)
    assert (get(), getattr(clone, f"get_{name}")()) == (5, 7)


async def test_status_codes() -> None:
    response = empty_response()
    assert response.get_status_code() == 200
    for status in 100, 204, 418, 599:
        response.set_status_code(status)
        assert response.get_status_code() == status
    for status in 0, 99, 600, 1000, 65535:
        assert refused(response.set_status_code, status) is None
    assert response.get_status_code() == 599


@pytest.mark.parametrize("make", [guest_request, guest_response])
async def test_headers_of_a_message_are_immutable(make: Any) -> None:
    message, sent = make(("a", b"1"))
    sent.on_dropped()
    assert message.get_headers().copy_all() == [("a", b"1")]
    assert refused(message.get_headers().append, "a", b"2") == "immutable"


@pytest.mark.parametrize("make", [guest_request, guest_response])
async def test_a_message_that_is_dropped_was_not_transmitted(make: Any) -> None:
    contents, trailers = GuestStream([b"x"]), resolved()
    message, sent = make(contents=contents, trailers=trailers)
    assert message.close() is None
    assert contents.closed
    assert trailers.closed
    with pytest.raises(Err) as raised:
        await sent
    assert raised.value.value.tag == UNSENT


# Error codes


def test_there_is_an_error_code_for_each_case() -> None:
    assert len(EMPTY_CASES | OPTIONAL_CASES | RECORD_CASES.keys()) == 39


def test_cases_with_a_record_have_an_empty_one() -> None:
    assert ErrorCode("DNS-error").value == DnsErrorPayload(None, None)
    assert ErrorCode("HTTP-request-trailer-size", FieldSizePayload("a", 5)).value.field_size == 5


def test_what_is_no_error_code_is_refused() -> None:
    with pytest.raises(ValueError, match="knows no error 'connection-lost'"):
        ErrorCode("connection-lost")
    with pytest.raises(ValueError, match="carries no value"):
        ErrorCode("connection-refused", 5)


FAILURES: list[tuple[Exception, ErrorCode]] = [
    (Err("loop-detected"), ErrorCode("loop-detected")),
    (Err(ErrorCode("internal-error", "x")), ErrorCode("internal-error", "x")),
    (Err(Case("HTTP-response-body-size", None)), ErrorCode("HTTP-response-body-size")),
    (Trap("the guest that answers"), ErrorCode("connection-terminated")),
    (InstanceClosed("its instance"), ErrorCode("connection-terminated")),
    (ConnectionRefusedError(), ErrorCode("connection-refused")),
    (ConnectionResetError(), ErrorCode("connection-terminated")),
    (BrokenPipeError(), ErrorCode("connection-terminated")),
    (anyio.BrokenResourceError(), ErrorCode("connection-terminated")),
    (anyio.IncompleteRead(), ErrorCode("connection-terminated")),
    (TimeoutError(), ErrorCode("connection-timeout")),
    (socket.gaierror(socket.EAI_NONAME, "secret"), ErrorCode("DNS-error")),
    (OSError(errno.EHOSTUNREACH, "secret"), ErrorCode("destination-IP-unroutable")),
    (OSError(errno.EMFILE, "secret"), ErrorCode("destination-unavailable")),
]


@pytest.mark.parametrize(("failure", "code"), FAILURES)
async def test_failures_of_a_transport_are_told_by_code(failure: Exception, code: ErrorCode) -> None:
    assert error_code(failure) == code

    async def fail(request: HttpRequest) -> HttpResponse:
        raise failure

    contents = GuestStream([b"x"])
    request, sent = guest_request(contents=contents)
    assert await failure_of(request, Peer(fail)) == code
    assert contents.closed
    with pytest.raises(Err) as raised:
        await sent
    assert raised.value.value == code


async def test_a_mistake_of_a_transports_is_no_error_of_the_guests() -> None:
    request, sent = guest_request()
    with pytest.raises(ZeroDivisionError):
        await send_to(Peer(lambda request: 1 / 0), request)
    sent.on_dropped()


# The client


async def test_nothing_is_sent_without_a_grant() -> None:
    contents = GuestStream([b"x"])
    request, sent = guest_request(contents=contents)
    client: Any = Wasi().interfaces()["wasi:http/client@0.3"]
    with pytest.raises(Err) as raised:
        await client.send(request)
    assert raised.value.value == ErrorCode("HTTP-request-denied")
    assert contents.closed
    with pytest.raises(Err):
        await sent


async def test_a_request_is_handed_over_in_plain_python() -> None:
    peer = Peer(lambda request: HttpResponse(204, headers=[("Server", b"s"), ("connection", b"close")]))
    options = RequestOptions()
    options.set_connect_timeout(1_500_000_000)
    options.set_between_bytes_timeout(2**64 - 1)
    request, sent = guest_request(("X-A", b" 1 "), ("x-a", b"2"), options=options)
    request.set_path_with_query("?q")
    response = await send_to(peer, request)
    (got,) = peer.requests
    assert (got.method, got.scheme, got.authority, got.path_with_query) == ("POST", "http", "example.com", "/?q")
    assert got.headers == [("X-A", b"1"), ("X-A", b"2")]
    assert got.timeouts == HttpTimeouts(1.5, None, 10**9)
    assert response.get_status_code() == 204
    assert response.get_headers().copy_all() == [("Server", b"s")]
    sent.on_dropped()
    await response.body.aclose()


async def test_https_is_the_default_scheme() -> None:
    peer = Peer(lambda request: HttpResponse())
    request, sent = guest_request()
    request.set_scheme(None)
    await send_to(peer, request)
    assert peer.requests[0].scheme == "https"
    sent.on_dropped()


INVALID = "HTTP-request-URI-invalid"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda request: request.set_authority(None), INVALID),
        (lambda request: request.set_authority("user@example.com"), INVALID),
        (lambda request: request.set_path_with_query("http://other.example/"), INVALID),
        (lambda request: request.set_path_with_query("*"), INVALID),
        (lambda request: request.set_method(Case("connect")), "HTTP-request-method-invalid"),
    ],
)
async def test_a_request_that_is_not_fit_to_be_sent_is_not(change: Any, code: str) -> None:
    peer = Peer(lambda request: HttpResponse())
    request, sent = guest_request()
    change(request)
    assert await failure_of(request, peer) == ErrorCode(code)
    assert peer.requests == []
    with pytest.raises(Err):
        await sent


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (HttpResponse(99), "HTTP-protocol-error"),
        (HttpResponse(600), "HTTP-protocol-error"),
        (HttpResponse(headers=[("a b", b"")]), "HTTP-protocol-error"),
        (HttpResponse(headers=[("content-length", b"x")]), "HTTP-protocol-error"),
        (HttpResponse(headers=[("content-length", b"1"), ("content-length", b"2")]), "HTTP-protocol-error"),
        (HttpResponse(headers=[("a", b"")] * (MAX_FIELDS + 1)), "HTTP-response-header-section-size"),
    ],
)
async def test_a_malformed_response_is_refused_and_closed(response: HttpResponse, code: str) -> None:
    body = PlainBody(b"x")
    request, sent = guest_request()
    answer = HttpResponse(response.status, headers=response.headers, body=body)
    assert (await failure_of(request, Peer(lambda request: answer))).tag == code
    assert body.closed
    with pytest.raises(Err):
        await sent


# handle


async def test_a_plain_request_becomes_a_resource() -> None:
    seen: list[Any] = []

    def answer(request: Request) -> Response:
        seen.extend([request.get_method(), request.get_scheme(), request.get_authority()])
        seen.extend([request.get_path_with_query(), request.get_headers().copy_all(), request.get_options()])
        return empty_response()

    request = HttpRequest(
        method="QUERY",
        scheme="https",
        authority="h:1",
        path_with_query="/a?b",
        headers=[("A", b"1"), ("Host", b"h:1"), ("transfer-encoding", b"chunked")],
    )
    async with handle(Handler(answer), request) as response:
        assert (response.status, response.headers, await response.read()) == (200, [], b"")
    assert seen == [Case("other", "QUERY"), Case("HTTPS"), "h:1", "/a?b", [("A", b"1")], None]


async def test_a_component_may_answer_with_an_error() -> None:
    handler = Handler(lambda request: Err(Case("internal-error", "no")))
    with pytest.raises(Err) as raised:
        async with handle(handler, HttpRequest()):
            pass
    assert raised.value.value == ErrorCode("internal-error", "no")


async def test_a_handler_must_return_a_response_of_wasi_http() -> None:
    async def answer(request: Request) -> object:
        return HttpResponse()

    with pytest.raises(TypeError, match="returned no response of wasi:http"):
        async with handle(Handler(answer), HttpRequest()):
            pass


@pytest.mark.parametrize(
    ("headers", "code"),
    [([("a b", b"")], "HTTP-protocol-error"), ([("a", b"")] * (MAX_FIELDS + 1), "HTTP-request-header-section-size")],
)
async def test_a_malformed_request_never_reaches_the_component(headers: Any, code: str) -> None:
    with pytest.raises(RequestRefused) as raised:
        async with handle(Handler(lambda request: pytest.fail("it was called")), HttpRequest(headers=headers)):
            pass
    assert raised.value.value.tag == code


async def test_what_a_block_raises_is_raised_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with handle(Handler(lambda request: empty_response()), HttpRequest()):
            raise ZeroDivisionError


# Grants


def test_the_grant_must_be_able_to_send() -> None:
    with pytest.raises(TypeError, match="http must be"):
        Wasi(http=object())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("imports", "provided"), [(["wasi:http/types@0.3.0"], True), (["wasi:cli/stdout@0.3.0"], False), (None, True)]
)
def test_http_is_provided_to_those_who_import_it(imports: list[str] | None, provided: bool) -> None:
    assert ("wasi:http/types@0.3" in Wasi().interfaces(imports)) == provided


LAZY = """
import sys
from p3host.wasi import Wasi
Wasi().interfaces(["wasi:cli/run@0.3.0", "wasi:filesystem/types@0.3.0"])
loaded = {name for name in sys.modules if name.startswith("p3host.wasi") and "http" in name}
assert loaded == {"p3host.wasi.http_transport", "p3host.wasi.http_transport.grant"}
Wasi().interfaces(["wasi:http/client@0.3.0"])
assert "p3host.wasi.p3.http" in sys.modules
"""


def test_a_command_without_http_does_not_wait_for_its_modules() -> None:
    subprocess.run([sys.executable, "-c", LAZY], check=True)

"""`wasi:http` 0.2: the resources, their children, and what is handed over once."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from http_p2_fakes import Peer, fields, incoming_request, incoming_response, outgoing_request, refused, running, trapped

from p3host.errors import Err
from p3host.values import Ok
from p3host.wasi import Wasi
from p3host.wasi.http import ErrorCode, HttpRequest, HttpResponse, RequestRefused
from p3host.wasi.http.fields import MAX_FIELDS, Allowance
from p3host.wasi.http.heads import Case
from p3host.wasi.http.syntax import FORBIDDEN
from p3host.wasi.p2.http import (
    OutgoingRequest,
    OutgoingResponse,
    RequestOptions,
    ResponseOutparam,
    Types,
)
from p3host.wasi.p2.http_bodies import BodyError, IncomingBody, OutgoingBody
from p3host.wasi.p2.http_fields import Fields
from p3host.wasi.p2.io import Error

pytestmark = pytest.mark.anyio

CHANGES: list[Callable[[Fields], Any]] = [
    lambda fields: fields.append("a", b"1"),
    lambda fields: fields.set("a", [b"1"]),
    lambda fields: fields.delete("a"),
]


# Fields


async def test_fields_have_the_functions_of_0_2() -> None:
    made = fields(("A", b"1"), ("b", b"2"), ("a", b"3"))
    made.append("c", b"4")
    made.set("b", [b"5"])
    made.delete("a")
    assert made.entries() == [("c", b"4"), ("b", b"5")]
    assert (made.get("B"), made.get("not there"), made.has("C"), made.has("a")) == ([b"5"], [], True, False)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [("a b", b"1", "invalid-syntax"), ("", b"1", "invalid-syntax"), ("a", b"1\n2", "invalid-syntax")]
    + [(name, b"1", "forbidden") for name in sorted(FORBIDDEN)],
)
async def test_fields_refuse_what_is_malformed_or_forbidden(name: str, value: bytes, error: str) -> None:
    assert refused(Fields.from_list, [(name, value)]) == error
    assert refused(Fields().append, name, value) == error
    assert refused(Fields().set, name, [value]) == error


async def test_fields_that_are_too_many_are_forbidden() -> None:
    made = fields(*[("a", b"")] * MAX_FIELDS)
    assert refused(made.append, "a", b"") == "forbidden"
    assert len(made.entries()) == MAX_FIELDS


async def test_fields_of_an_instance_take_of_its_allowance() -> None:
    types = Types(Allowance(1000))
    kept = types.Fields.from_list([("a", b"x" * 700)])
    assert refused(types.Fields.from_list, [("a", b"x" * 700)]) == "forbidden"
    del kept
    assert types.Fields.from_list([("a", b"x" * 700)])
    request = types.OutgoingRequest(types.Fields())
    assert refused(request.set_path_with_query, "/" + "a" * 1000) is None
    assert request.path_with_query() is None


# Children


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("make", [OutgoingRequest, OutgoingResponse])
async def test_headers_of_a_message_are_immutable_and_a_clone_is_not(
    make: Any, change: Callable[[Fields], Any]
) -> None:
    headers = make(fields(("a", b"0"))).headers()
    assert refused(change, headers) == "immutable"
    change(headers.clone())
    assert headers.entries() == [("a", b"0")]


@pytest.mark.parametrize("make", [OutgoingRequest, OutgoingResponse])
async def test_a_message_has_to_outlive_its_headers(make: Any) -> None:
    message = make(fields())
    first, second = message.headers(), message.headers()
    first.close()
    assert f"the {message.name} was given up before its children" in trapped(message.close)
    second.close()
    message.close()


@pytest.mark.parametrize("give", [OutgoingRequest, OutgoingResponse])
async def test_headers_that_are_given_away_are_no_children_any_more(give: Any) -> None:
    message = outgoing_request(("a", b"1"))
    given = give(message.headers())
    message.close()
    assert given.headers().entries() == [("a", b"1")]


async def test_a_message_that_is_given_away_has_no_children() -> None:
    response = OutgoingResponse(fields())
    headers = response.headers()
    assert "children" in trapped(ResponseOutparam.set, ResponseOutparam("GET"), Ok(response))
    headers.close()
    ResponseOutparam.set(ResponseOutparam("GET"), Ok(response))


async def test_received_messages_have_to_outlive_their_headers_but_not_their_bodies() -> None:
    async with running() as background:
        for message in (
            incoming_request(HttpRequest(headers=[("a", b"1")]), background),
            await incoming_response(background, HttpResponse(headers=[("a", b"1")])),
        ):
            headers = message.headers()
            assert headers.entries() == [("a", b"1")]
            assert refused(CHANGES[0], headers) == "immutable"
            body = message.consume()
            assert "children" in trapped(message.close)
            headers.close()
            message.close()
            body.close()


async def test_a_body_has_to_outlive_its_stream() -> None:
    async with running() as background:
        incoming = incoming_request(HttpRequest(), background).consume()
        stream = incoming.stream()
        assert "the incoming-body" in trapped(incoming.close)
        assert "the incoming-body" in trapped(IncomingBody.finish, incoming)
        stream.close()
        stream.close()
        IncomingBody.finish(incoming).close()

        outgoing = outgoing_request().body()
        sink = outgoing.write()
        assert "the outgoing-body" in trapped(OutgoingBody.finish, outgoing, None)
        assert "the outgoing-body" in trapped(outgoing.close)
        sink.close()
        sink.close()
        outgoing.close()


async def test_a_future_has_to_outlive_its_trailers() -> None:
    async with running() as background:
        request = incoming_request(HttpRequest(trailers=[("a", b"1")]), background)
        future = IncomingBody.finish(request.consume())
        assert future.get() is None
        await anyio.wait_all_tasks_blocked()
        outcome = future.get()
        assert isinstance(outcome, Ok)
        trailers = outcome.value.value
        assert trailers.entries() == [("a", b"1")]
        assert refused(CHANGES[0], trailers) == "immutable"
        assert "the future-trailers" in trapped(future.close)
        trailers.close()
        future.close()


# What is handed over once


async def test_bodies_and_streams_can_be_had_once() -> None:
    async with running() as background:
        for message in incoming_request(HttpRequest(), background), await incoming_response(background, HttpResponse()):
            body = message.consume()
            assert refused(message.consume) is None
            body.stream()
            assert refused(body.stream) is None
        for outgoing in outgoing_request(), OutgoingResponse(fields()):
            written = outgoing.body()
            assert refused(outgoing.body) is None
            written.write()
            assert refused(written.write) is None


# Requests and responses


async def test_defaults_of_a_request() -> None:
    request = OutgoingRequest(fields())
    assert request.method() == Case("get")
    assert (request.path_with_query(), request.scheme(), request.authority()) == (None, None, None)


async def test_a_request_keeps_what_is_well_formed() -> None:
    request = OutgoingRequest(fields())
    for change, good, bad, get in (
        (request.set_method, Case("other", "M-SEARCH"), Case("other", "A B"), request.method),
        (request.set_path_with_query, "/a?b", "/a b", request.path_with_query),
        (request.set_scheme, Case("other", "gopher"), Case("other", "1"), request.scheme),
        (request.set_authority, "example.com:80", "example.com:x", request.authority),
    ):
        change(good)
        assert refused(change, bad) is None
        assert get() == good


async def test_a_received_request_tells_what_came() -> None:
    given = HttpRequest(
        method="PUT",
        scheme="https",
        authority="example.com",
        path_with_query="/a?b",
        headers=[("A", b"1"), ("Host", b"example.com"), ("connection", b"close")],
    )
    async with running() as background:
        request = incoming_request(given, background)
    assert (request.method(), request.scheme()) == (Case("put"), Case("HTTPS"))
    assert (request.authority(), request.path_with_query()) == ("example.com", "/a?b")
    assert request.headers().entries() == [("A", b"1")]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([("a b", b"1")], ErrorCode("HTTP-protocol-error")),
        ([("content-length", b"x")], ErrorCode("HTTP-protocol-error")),
        ([("a", b"")] * (MAX_FIELDS + 1), ErrorCode("HTTP-request-header-section-size", MAX_FIELDS + 1)),
    ],
)
async def test_a_request_from_outside_that_is_malformed_is_refused(headers: Any, code: ErrorCode) -> None:
    async with running() as background:
        with pytest.raises(RequestRefused) as raised:
            incoming_request(HttpRequest(headers=headers), background)
    assert raised.value.value == code


async def test_a_status_has_three_digits() -> None:
    response = OutgoingResponse(fields())
    assert response.status_code() == 200
    response.set_status_code(599)
    for status in 0, 99, 600, 65535:
        assert refused(response.set_status_code, status) is None
    assert response.status_code() == 599


async def test_options_keep_each_time_out() -> None:
    options = RequestOptions()
    for name in "connect", "first_byte", "between_bytes":
        get, change = getattr(options, f"{name}_timeout"), getattr(options, f"set_{name}_timeout")
        assert get() is None
        change(5)
        assert get() == 5
        change(None)
        assert get() is None


# The outparam


async def test_the_first_that_comes_of_an_outparam_counts() -> None:
    out = ResponseOutparam("GET")
    response, late = OutgoingResponse(fields()), OutgoingResponse(fields())
    stream = late.body().write()
    ResponseOutparam.set(out, Ok(response))
    ResponseOutparam.set(out, Ok(late))
    out.close()
    assert out.outcome is response
    with pytest.raises(Err):
        stream.check_write() and stream.write(b"for nobody")


async def test_an_outparam_that_is_dropped_gives_no_response() -> None:
    out = ResponseOutparam("GET")
    out.close()
    assert out.settled.is_set()
    assert isinstance(out.outcome, Err)
    assert out.outcome.value.tag == "internal-error"


async def test_an_outparam_takes_an_error() -> None:
    out = ResponseOutparam("GET")
    ResponseOutparam.set(out, Err(ErrorCode("HTTP-request-denied")))
    assert out.outcome == Err(ErrorCode("HTTP-request-denied"))


@pytest.mark.parametrize(
    ("status", "tag"), [(99, "HTTP-protocol-error"), (200, "HTTP-protocol-error"), (103, "internal-error")]
)
async def test_informational_responses_are_refused(status: int, tag: str) -> None:
    code = refused(ResponseOutparam("GET").send_informational, status, fields())
    assert isinstance(code, ErrorCode)
    assert code.tag == tag


# The providers


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (BodyError(ErrorCode("HTTP-protocol-error")), ErrorCode("HTTP-protocol-error")),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), None),
    ],
)
async def test_the_error_of_a_stream_tells_its_code_if_it_has_one(cause: OSError, code: ErrorCode | None) -> None:
    assert Types(Allowance()).http_error_code(Error(cause)) == code
    assert "pipe" in Error(cause).to_debug_string() or "HTTP-protocol-error" in Error(cause).to_debug_string()


async def test_each_version_is_provided_to_who_imports_it() -> None:
    def provided(*imports: str) -> set[str]:
        return {name for name in Wasi().interfaces(imports) if name.startswith("wasi:http/")}

    p2 = {"wasi:http/types@0.2", "wasi:http/outgoing-handler@0.2"}
    p3 = {"wasi:http/types@0.3", "wasi:http/client@0.3"}
    assert provided("wasi:http/types@0.2.4") == p2
    assert provided("wasi:http/types@0.3.0") == p3
    assert provided("wasi:io/poll@0.2.0") == set()
    assert {name for name in Wasi().interfaces() if name.startswith("wasi:http/")} == p2 | p3


async def test_no_request_is_sent_before_the_instance_runs() -> None:
    wasi = Wasi(http=Peer(lambda request: HttpResponse()))
    handler: Any = wasi.interfaces()["wasi:http/outgoing-handler@0.2"]
    with pytest.raises(RuntimeError, match="before the instance runs"):
        handler.handle(outgoing_request(), None)

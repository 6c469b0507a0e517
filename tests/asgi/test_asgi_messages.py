"""ASGI's scopes become requests, and responses become ASGI's messages."""

from __future__ import annotations

import math
from typing import Any

import pytest
from asgi_fakes import Connection

from p3host.asgi import PoolLimits
from p3host.asgi.messages import BadRequest, announces_trailers, headers_of, request_of, status_of
from p3host.errors import Err
from p3host.wasi.http import ErrorCode, HttpResponse, RequestRefused


class Content:
    """Where the body of a request comes from."""

    def __aiter__(self) -> Content:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


CONTENT = Content()


def scope(**more: Any) -> dict[str, Any]:
    return Connection(**{key: more.pop(key) for key in ("method", "path") if key in more}).scope | more


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"path": "/"}, "/"),
        ({"path": "/a/b", "query_string": b"x=1&y"}, "/a/b?x=1&y"),
        ({"path": "/a b", "raw_path": b"/a%20b"}, "/a%20b"),
        ({"path": "/a b", "raw_path": None}, "/a%20b"),
        ({"path": "/\u00e4", "raw_path": None}, "/%C3%A4"),
        ({"path": "/\u00e4", "raw_path": b"/\xc3\xa4"}, "/%C3%A4"),
        ({"path": "/a", "raw_path": b"/a?x=1", "query_string": b"x=1"}, "/a?x=1"),
        ({"path": "/app/a", "root_path": "/app"}, "/a"),
        ({"path": "/app", "root_path": "/app"}, "/"),
        ({"path": "/app/", "root_path": "/app/"}, "/"),
        ({"path": "/apple", "root_path": "/app"}, "/apple"),
        ({"path": "/a", "root_path": "/app"}, "/a"),
        ({"path": "/a b/c", "raw_path": b"/a%20b/c", "root_path": "/a b"}, "/c"),
        ({"path": "/a b/c d", "raw_path": None, "root_path": "/a b"}, "/c%20d"),
        ({"path": "/~a/c", "raw_path": b"/%7ea/c", "root_path": "/~a"}, "/c"),
        ({"path": "/\u00e4", "raw_path": b"/%C3%A4?x", "root_path": "/\u00e4"}, "/"),
        ({"path": "/app/a", "raw_path": b"/app//a/%2f", "root_path": "/app"}, "//a/%2f"),
        ({"path": "/a/b/c", "root_path": "/a/b"}, "/c"),
        ({"path": "*", "method": "OPTIONS"}, "*"),
    ],
)
def test_the_path_is_that_of_the_client_below_the_mount(given: dict[str, Any], path: str) -> None:
    assert request_of(scope(**given), CONTENT).path_with_query == path


@pytest.mark.parametrize(
    ("headers", "server", "authority"),
    [
        ([(b"host", b"example.com")], ("127.0.0.1", 80), "example.com"),
        ([(b"host", b"example.com:8080")], None, "example.com:8080"),
        ([], ("127.0.0.1", 80), "127.0.0.1:80"),
        ([], ("::1", 80), "[::1]:80"),
        ([(b"host", b"")], ("127.0.0.1", 80), "127.0.0.1:80"),
        ([], ("/run/socket", None), None),
        ([], None, None),
    ],
)
def test_the_authority_is_the_host_or_the_server(headers: Any, server: Any, authority: str | None) -> None:
    assert request_of(scope(http_version="1.0", headers=headers, server=server), CONTENT).authority == authority


@pytest.mark.parametrize(
    ("raw", "authority", "path"),
    [
        (b"http://b.test:81/a?x=1", "b.test:81", "/a?x=1"),
        (b"HTTPS://b.test/", "b.test", "/"),
        (b"http://b.test", "b.test", "/"),
        (b"/http://b.test/", "a.test", "/http://b.test/"),
    ],
)
def test_a_target_that_names_a_host_counts_more_than_the_header(raw: bytes, authority: str, path: str) -> None:
    target = {"raw_path": raw.partition(b"?")[0], "query_string": raw.partition(b"?")[2]}
    request = request_of(scope(headers=[(b"host", b"a.test")], **target), CONTENT)
    assert (request.authority, request.path_with_query) == (authority, path)


@pytest.mark.parametrize(
    "given",
    [
        {"raw_path": b"http://user@a.test/"},
        {"raw_path": b"ftp://a.test/"},
        {"headers": []},
        {"headers": [(b"host", b"a.test"), (b"host", b"b.test")]},
        {"headers": [(b"host", b"a.test"), (b"host", b"a.test")]},
        {"headers": [(b"host", b"a.test/b")]},
        {"headers": [(b"host", b"user@a.test")]},
        {"headers": [(b"host", b"a.test"), (b"content-length", b"3"), (b"transfer-encoding", b"chunked")]},
        {"method": "GE T"},
        {"method": ""},
        {"scheme": "1http"},
        {"path": "*"},
        {"path": "example.com:443", "method": "CONNECT"},
        {"path": "/a b"},
        {"path": "/a", "query_string": b"\r\n"},
    ],
)
def test_a_malformed_request_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        request_of(scope(**given), CONTENT)


@pytest.mark.parametrize(
    ("version", "headers", "has_body"),
    [
        ("1.1", [], False),
        ("1.0", [], False),
        ("1.1", [(b"content-length", b"0")], False),
        ("1.1", [(b"content-length", b"3")], True),
        ("1.1", [(b"transfer-encoding", b"chunked")], True),
        ("2", [], True),
        ("3", [], True),
    ],
)
def test_a_body_is_waited_for_where_there_may_be_one(version: str, headers: Any, has_body: bool) -> None:
    body = request_of(scope(http_version=version, headers=[(b"host", b"a.test"), *headers]), CONTENT).body
    assert body is CONTENT if has_body else body == b""


def test_method_scheme_and_headers_are_as_they_came() -> None:
    headers = [(b"host", b"a.test"), (b"x-a", b"1"), (b"x-a", b"\xff")]
    request = request_of(scope(method="PURGE", scheme="https", headers=headers), CONTENT)
    assert (request.method, request.scheme) == ("PURGE", "https")
    assert request.headers == [("host", b"a.test"), ("x-a", b"1"), ("x-a", b"\xff")]


@pytest.mark.parametrize(("status", "length"), [(200, True), (304, True), (204, False)])
def test_a_response_without_content_tells_no_length_of_it(status: int, length: bool) -> None:
    headers = [("Content-Length", b"0"), ("X-A", b"1")]
    expected = [(b"content-length", b"0")] if length else []
    assert headers_of(HttpResponse(status, headers=headers)) == [*expected, (b"x-a", b"1")]


def test_the_date_is_the_servers_to_tell() -> None:
    assert headers_of(HttpResponse(headers=[("Date", b"Thu, 01 Jan 1970 00:00:00 GMT"), ("a", b"1")])) == [(b"a", b"1")]


@pytest.mark.parametrize(
    ("headers", "announced"),
    [
        ([], False),
        ([(b"content-type", b"text/plain")], False),
        ([(b"content-type", b"text/plain"), (b"trailer", b"x-sum")], True),
        ([(b"content-type", b"application/grpc")], True),
        ([(b"content-type", b"application/grpc+proto")], True),
    ],
)
def test_trailers_are_announced_unless_they_go_without_saying(headers: Any, announced: bool) -> None:
    assert announces_trailers(headers) is announced


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("internal-error", 500),
        ("HTTP-request-denied", 403),
        ("HTTP-request-body-size", 413),
        ("HTTP-request-header-section-size", 431),
        ("HTTP-protocol-error", 502),
        ("destination-unavailable", 503),
        ("connection-timeout", 504),
        ("connection-refused", 502),
        ("HTTP-response-incomplete", 502),
        ("loop-detected", 502),
    ],
)
def test_an_error_code_has_its_status(code: str, status: int) -> None:
    assert status_of(Err(ErrorCode(code))) == status


@pytest.mark.parametrize(("code", "status"), [("HTTP-protocol-error", 400), ("HTTP-request-header-section-size", 431)])
def test_a_request_that_no_guest_was_asked_is_the_clients_fault(code: str, status: int) -> None:
    assert status_of(RequestRefused(ErrorCode(code))) == status


@pytest.mark.parametrize(
    "limits",
    [
        {"instances": 0},
        {"concurrent_requests": 0},
        {"requests_per_instance": 0},
        {"idle_seconds": -1},
        {"waiting_requests": -1},
        {"request_bytes": -1},
        {"waiting_seconds": -1},
        {"waiting_seconds": math.nan},
        {"request_seconds": 0},
        {"request_seconds": math.nan},
    ],
)
def test_limits_that_let_nothing_through_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(limits))):
        PoolLimits(**limits)

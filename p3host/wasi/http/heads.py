"""The heads of HTTP requests and responses: what `wasi:http` 0.2 and 0.3 have in common."""

from __future__ import annotations

from ...errors import Err
from ...records import Record
from .bodies import PlainReader, Trailers
from .fields import Charged, Fields
from .messages import ErrorCode, HttpRequest, HttpTimeouts
from .syntax import has_user, is_authority, is_method, is_path_with_query, is_scheme, request_target

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
SCHEMES = ("http", "https")
DEFAULT_SCHEME = "https"
NO_CONTENT = (204, 304)
NANOSECONDS = 10**9
LONGEST_TIMEOUT = 10**9  # seconds; event loops take no time-out of centuries


class Case(Record):
    """A `method` or `scheme`: its case and, where that is `other`, its name."""

    tag: str
    value: str | None = None


class RequestOptions:
    """The resource `request-options`; time-outs in nanoseconds."""

    def __init__(self) -> None:
        self.connect: int | None = None
        self.first_byte: int | None = None
        self.between_bytes: int | None = None
        self.mutable = True

    def get_connect_timeout(self) -> int | None:
        return self.connect

    def set_connect_timeout(self, duration: int | None) -> None:
        self.check_mutable()
        self.connect = duration

    def get_first_byte_timeout(self) -> int | None:
        return self.first_byte

    def set_first_byte_timeout(self, duration: int | None) -> None:
        self.check_mutable()
        self.first_byte = duration

    def get_between_bytes_timeout(self) -> int | None:
        return self.between_bytes

    def set_between_bytes_timeout(self, duration: int | None) -> None:
        self.check_mutable()
        self.between_bytes = duration

    def clone(self) -> RequestOptions:
        copy = RequestOptions()
        copy.connect, copy.first_byte, copy.between_bytes = self.connect, self.first_byte, self.between_bytes
        return copy

    def check_mutable(self) -> None:
        if not self.mutable:
            raise Err("immutable")

    def timeouts(self) -> HttpTimeouts:
        return HttpTimeouts(seconds(self.connect), seconds(self.first_byte), seconds(self.between_bytes))


def seconds(duration: int | None) -> float | None:
    return None if duration is None else min(duration / NANOSECONDS, LONGEST_TIMEOUT)


class RequestHead(Charged):
    """The method and the target of a request. Method and scheme are kept as they are sent. What is not well-formed
    can't be set: an `Err` without a value."""

    def __init__(self) -> None:
        self.method = "GET"
        self.path_with_query: str | None = None
        self.scheme: str | None = None
        self.authority: str | None = None

    def take_from(self, request: HttpRequest) -> None:
        """The head of a request from outside."""
        self.method = request.method
        self.path_with_query = request.path_with_query
        self.scheme = request.scheme
        self.authority = request.authority

    def get_method(self) -> Case:
        return Case(self.method.lower()) if self.method in METHODS else Case("other", self.method)

    def set_method(self, method: Case) -> None:
        name = method.tag.upper() if method.value is None else method.value
        if not is_method(name):
            raise Err
        self.keep("method", name)

    def get_path_with_query(self) -> str | None:
        return self.path_with_query

    def set_path_with_query(self, path_with_query: str | None) -> None:
        if path_with_query is not None and not is_path_with_query(path_with_query):
            raise Err
        self.keep("path_with_query", "/" if path_with_query == "" else path_with_query)

    def get_scheme(self) -> Case | None:
        if self.scheme is None:
            return None
        return Case(self.scheme.upper()) if self.scheme in SCHEMES else Case("other", self.scheme)

    def set_scheme(self, scheme: Case | None) -> None:
        name = None if scheme is None else scheme.tag if scheme.value is None else scheme.value
        if name is not None and not is_scheme(name):
            raise Err
        self.keep("scheme", name.lower() if name is not None and name.lower() in SCHEMES else name)

    def get_authority(self) -> str | None:
        return self.authority

    def set_authority(self, authority: str | None) -> None:
        if authority is not None and not is_authority(authority):
            raise Err
        self.keep("authority", authority)

    def keep(self, attribute: str, value: str | None) -> None:
        before = getattr(self, attribute)
        setattr(self, attribute, value)
        kept = (self.method, self.path_with_query, self.scheme, self.authority)
        if not self.charge(sum(len(each or "") for each in kept)):
            setattr(self, attribute, before)
            raise Err

    def message(self, headers: Fields, reader: PlainReader, options: RequestOptions | None) -> HttpRequest:
        """The request for a transport, which gets the body from `reader`.

        :raises Err: it is not fit to be sent; with an `ErrorCode`
        """
        if self.method == "CONNECT":  # a tunnel is no exchange of messages
            raise Err(ErrorCode("HTTP-request-method-invalid"))
        scheme = self.scheme or DEFAULT_SCHEME
        target = request_target(self.method, self.path_with_query)
        needs_authority = scheme in SCHEMES
        if target is None or (needs_authority and (self.authority is None or has_user(self.authority))):
            raise Err(ErrorCode("HTTP-request-URI-invalid"))
        return HttpRequest(
            method=self.method,
            scheme=scheme,
            authority=self.authority,
            path_with_query=target,
            headers=headers.sent(),
            body=reader,
            trailers=Trailers(reader),
            timeouts=HttpTimeouts() if options is None else options.timeouts(),
        )


def is_status(status: int) -> bool:
    return 100 <= status < 600


def has_content(method: str, status: int) -> bool:
    """Whether a length that the headers of a response announce is that of its body."""
    return method != "HEAD" and status not in NO_CONTENT and status >= 200

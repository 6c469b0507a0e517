"""What is well-formed in HTTP: names, values, methods and the parts of a request's target (RFC 9110, RFC 3986)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

LARGEST_SIZE = (1 << 64) - 1  # that an error can tell
LONGEST = 65536  # characters of a part of the target, or of a method

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+\-.]*")

PATH_CHARACTERS = r"A-Za-z0-9\-._~%!$&'()*+,;=:@/\u0080-\U0010ffff"
# Brackets are no part of the grammar, but of many a query.
PATH_WITH_QUERY = re.compile(rf"[{PATH_CHARACTERS}]*(\?[{PATH_CHARACTERS}?\[\]]*)?")

HOST_CHARACTERS = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})"
AUTHORITY = re.compile(
    rf"(?:(?P<user>(?:{HOST_CHARACTERS}|:)*)@)?(?P<host>{HOST_CHARACTERS}+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]*))?"
)
HIGHEST_PORT = 65535

FORBIDDEN = frozenset(
    {
        "connection",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    }
)
"""Fields that tell of the connection, in lower case: they are the transport's, and no guest sets or sees them."""

NO_TRAILERS = FORBIDDEN | {
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "max-forwards",
    "set-cookie",
    "te",
    "trailer",
}
"""Fields that a recipient needs before the content, in lower case: they are not sent after it (RFC 9110, 6.5.1)."""


def is_token(text: str) -> bool:
    return TOKEN.fullmatch(text) is not None


def is_method(text: str) -> bool:
    return len(text) <= LONGEST and is_token(text)


def is_scheme(text: str) -> bool:
    return len(text) <= LONGEST and SCHEME.fullmatch(text) is not None


def is_path_with_query(text: str) -> bool:
    return len(text) <= LONGEST and PATH_WITH_QUERY.fullmatch(text) is not None


def is_authority(text: str) -> bool:
    match = AUTHORITY.fullmatch(text) if len(text) <= LONGEST else None
    return match is not None and len(match["port"] or "") <= 5 and int(match["port"] or 0) <= HIGHEST_PORT


def has_user(authority: str) -> bool:
    return "@" in authority


def request_target(method: str, path_with_query: str | None) -> str | None:
    """The target as it is sent, or None where the path is not that of the authority's own resources.

    So a target is never in absolute form, which could name another host than the authority does.
    """
    path = path_with_query or "/"
    if path.startswith("?"):
        path = f"/{path}"
    if not path.startswith("/") and not (path == "*" and method == "OPTIONS"):
        return None
    return path if path.isascii() else quote(path, safe="".join(map(chr, range(128))))


NO_NAMES = (b"keep-alive", b"close")  # of fields, in nearly every `connection`


def end_to_end(entries: Iterable[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The fields that don't tell of the connection, neither as `FORBIDDEN` does nor because a `connection` among them
    names them (RFC 9110, 7.6.1)."""
    kept: list[tuple[str, bytes]] = []
    options: set[str] = set()
    for entry in entries:
        name = entry[0].lower()
        if name not in FORBIDDEN:
            kept.append(entry)
        elif name == "connection" and entry[1] not in NO_NAMES:
            options.update(option.strip(" \t").lower() for option in entry[1].decode("latin-1").split(","))
    return [entry for entry in kept if entry[0].lower() not in options] if options else kept


def content_length(entries: Iterable[tuple[str, bytes]]) -> int | None:
    """The length that the fields announce, or None.

    :raises ValueError: it is no number, or there are several, even if they are equal (RFC 9110, 8.6)
    """
    values = [value.strip(b" \t") for name, value in entries if name.lower() == "content-length"]
    if not values:
        return None
    (value,) = values
    if not (value.isdigit() and len(value) <= 20 and int(value) <= LARGEST_SIZE):
        raise ValueError(f"no content-length: {value!r}")
    return int(value)

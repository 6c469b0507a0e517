"""`wasi:http/types`: the resource `fields`, and what is well-formed in HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from p3host.errors import Err, Trap
from p3host.wasi.http.fields import FIELD_OVERHEAD, MAX_BYTES, MAX_FIELDS, Allowance, Fields
from p3host.wasi.http.syntax import (
    FORBIDDEN,
    LONGEST,
    content_length,
    is_authority,
    is_method,
    is_path_with_query,
    is_scheme,
    request_target,
)

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGITS = "0123456789"
TOKEN_CHARACTERS = set(LETTERS + DIGITS + "!#$%&'*+-.^_`|~")
ADDITIONS: list[Callable[[Fields, str, bytes], Any]] = [
    lambda fields, name, value: fields.append(name, value),
    lambda fields, name, value: fields.set(name, [value]),
    lambda fields, name, value: Fields.from_list([(name, value)]),
]
CHANGES: list[Callable[[Fields], Any]] = [
    lambda fields: fields.append("a", b"1"),
    lambda fields: fields.set("a", [b"1"]),
    lambda fields: fields.set("a", []),
    lambda fields: fields.delete("a"),
    lambda fields: fields.get_and_delete("a"),
    lambda fields: fields.append("not a name", b"1"),
]


def of(*entries: tuple[str, bytes]) -> Fields:
    return Fields.from_list(list(entries))


def refused(function: Callable[..., Any], *arguments: Any) -> object:
    with pytest.raises(Err) as raised:
        function(*arguments)
    return raised.value.value


def test_new_fields_are_empty() -> None:
    fields = Fields()
    assert fields.copy_all() == []
    assert fields.get("a") == []
    assert not fields.has("a")
    assert fields.get_and_delete("a") == []
    fields.delete("a")


def test_values_of_a_name_are_kept_in_order() -> None:
    fields = of(("a", b"1"), ("b", b"2"), ("a", b"3"))
    assert fields.get("a") == [b"1", b"3"]
    assert fields.copy_all() == [("a", b"1"), ("b", b"2"), ("a", b"3")]


def test_names_are_equal_in_any_case_and_keep_the_first() -> None:
    fields = of(("X-Name", b"1"), ("x-name", b"2"))
    fields.append("X-NAME", b"3")
    assert fields.get("x-naME") == [b"1", b"2", b"3"]
    assert fields.copy_all() == [("X-Name", b"1"), ("X-Name", b"2"), ("X-Name", b"3")]
    fields.set("x-NAME", [b"4"])
    assert fields.copy_all() == [("x-NAME", b"4")]


def test_set_replaces_all_values_of_its_name_alone() -> None:
    fields = of(("a", b"1"), ("b", b"2"), ("A", b"3"))
    fields.set("a", [b"4", b"5"])
    assert fields.copy_all() == [("b", b"2"), ("a", b"4"), ("a", b"5")]
    fields.set("a", [])
    assert not fields.has("a")


def test_an_empty_value_is_a_value() -> None:
    assert of(("a", b"")).get("a") == [b""]


def test_get_and_delete_returns_what_is_deleted() -> None:
    fields = of(("a", b"1"), ("b", b"2"), ("a", b"3"))
    assert fields.get_and_delete("A") == [b"1", b"3"]
    assert fields.copy_all() == [("b", b"2")]


def test_a_clone_is_another_one_and_mutable() -> None:
    fields = of(("a", b"1")).frozen()
    clone = fields.clone()
    clone.append("a", b"2")
    assert fields.get("a") == [b"1"]
    assert clone.get("a") == [b"1", b"2"]


@pytest.mark.parametrize("change", CHANGES)
def test_immutable_fields_refuse_every_change(change: Callable[[Fields], Any]) -> None:
    fields = of(("a", b"1")).frozen()
    assert refused(change, fields) == "immutable"
    assert fields.copy_all() == [("a", b"1")]


@pytest.mark.parametrize("add", ADDITIONS)
def test_names_are_tokens(add: Callable[[Fields, str, bytes], Any]) -> None:
    for code in range(1024):
        if chr(code) in TOKEN_CHARACTERS:
            add(Fields(), chr(code), b"v")
        else:
            assert refused(add, Fields(), chr(code), b"v") == "invalid-syntax"


NO_NAMES = ["", " ", " a", "a ", "a b", "a:", "voilà", "a\n", "(a)", '"a"']


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_is_not_there_and_can_not_be_changed(name: str) -> None:
    fields = Fields()
    assert fields.get(name) == []
    assert not fields.has(name)
    for function in (fields.delete, fields.get_and_delete):
        assert refused(function, name) == "invalid-syntax"
    assert refused(fields.set, name, []) == "invalid-syntax"


@pytest.mark.parametrize("add", ADDITIONS)
def test_values_have_no_control_characters(add: Callable[[Fields, str, bytes], Any]) -> None:
    for code in range(256):
        value = b"a" + bytes([code]) + b"b"
        if code == ord("\t") or (code >= 0x20 and code != 0x7F):
            add(Fields(), "a", value)
        else:
            assert refused(add, Fields(), "a", value) == "invalid-syntax"


@pytest.mark.parametrize("add", ADDITIONS)
@pytest.mark.parametrize("name", sorted(FORBIDDEN))
def test_fields_of_the_connection_are_forbidden(name: str, add: Callable[[Fields, str, bytes], Any]) -> None:
    fields = Fields()
    for spelled in (name, name.upper(), name.title()):
        assert refused(add, fields, spelled, b"x") == "forbidden"
        assert not fields.has(spelled)


def test_the_number_of_fields_is_limited() -> None:
    entries = [("a", b"")] * MAX_FIELDS
    fields = Fields.from_list(entries)
    assert refused(fields.append, "a", b"") == "size-exceeded"
    assert refused(fields.set, "b", [b""]) == "size-exceeded"
    assert refused(Fields.from_list, [*entries, ("b", b"")]) == "size-exceeded"
    assert fields.copy_all() == entries
    fields.delete("a")
    fields.set("b", [b""] * MAX_FIELDS)


def test_the_size_of_fields_is_limited() -> None:
    fields = of(("a", bytes(b"x" * (MAX_BYTES - 3))))
    fields.append("b", b"y")
    assert refused(fields.append, "c", b"") == "size-exceeded"
    assert refused(fields.set, "b", [b"yy"]) == "size-exceeded"
    assert fields.get("b") == [b"y"]
    fields.set("b", [b"z"])
    fields.delete("b")
    fields.append("c", b"z")
    assert refused(Fields().append, "n" * MAX_BYTES, b"v") == "size-exceeded"
    assert refused(Fields().set, "n", [b"v" * MAX_BYTES]) == "size-exceeded"


def test_a_clone_is_limited_as_a_whole() -> None:
    clone = of(("a", b"x" * (MAX_BYTES - 1))).clone()
    assert refused(clone.append, "b", b"") == "size-exceeded"


def test_received_fields_are_immutable_and_say_nothing_of_the_connection() -> None:
    fields = Fields.received([("Connection", b"close"), ("A", b"1"), ("host", b"h"), ("a", b"2")], "internal-error")
    assert fields.copy_all() == [("A", b"1"), ("a", b"2")]
    assert refused(fields.append, "b", b"") == "immutable"


def test_received_fields_are_without_those_that_the_connection_names() -> None:
    entries = [
        ("TE", b"trailers"),
        ("connection", b"close, te"),
        ("A", b"1"),
        ("Connection", b"\tX-B ,"),
        ("x-b", b"2"),
    ]
    assert Fields.received(entries, "internal-error").copy_all() == [("A", b"1")]


def test_what_is_needed_before_the_content_is_no_trailer() -> None:
    fields = of(("X-Sum", b" 1 "), ("Content-Length", b"5"), ("content-type", b"a/b"), ("authorization", b"x"))
    assert fields.sent_as_trailers() == [("X-Sum", b"1")]


@pytest.mark.parametrize("entry", [("a b", b""), ("", b""), ("a", b"1\r\nb: 2"), ("a", b"\0")])
def test_received_fields_that_are_malformed_are_an_error_of_the_protocol(entry: tuple[str, bytes]) -> None:
    assert refused(Fields.received, [entry], "internal-error").tag == "HTTP-protocol-error"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("entries", "size"),
    [([("a", b"")] * (MAX_FIELDS + 1), MAX_FIELDS + 1), ([("a", bytes(b"x" * MAX_BYTES))], MAX_BYTES + 1)],
)
def test_received_fields_are_limited(entries: list[tuple[str, bytes]], size: int) -> None:
    code: Any = refused(Fields.received, entries, "HTTP-response-header-section-size")
    assert (code.tag, code.value) == ("HTTP-response-header-section-size", size)


def limited(left: int) -> type[Fields]:
    """The fields of an instance that may hold so many bytes."""
    return type("Limited", (Fields,), {"allowance": Allowance(left)})


def test_the_memory_of_an_instances_fields_is_limited() -> None:
    limited_fields = limited(10 * (FIELD_OVERHEAD + 2))
    first = limited_fields.from_list([("a", b"1")] * 8)
    second = limited_fields()
    second.append("a", b"1")
    assert refused(second.append, "a", b"22") == "size-exceeded"
    second.append("a", b"2")
    assert refused(limited_fields().append, "a", b"") == "size-exceeded"
    assert refused(limited_fields.from_list, [("a", b"")]) == "size-exceeded"
    assert second.copy_all() == [("a", b"1"), ("a", b"2")]
    second.set("a", [b"3"])
    third = limited_fields.from_list([("a", b"1")])
    with pytest.raises(Trap, match="too much of the host's memory"):
        first.clone()
    assert third.has("a")


def test_clones_of_received_fields_count_for_the_allowance_of_those() -> None:
    fields = Fields.received([("a", b"1")], "internal-error", Allowance(2 * (FIELD_OVERHEAD + 2)))
    clone = fields.clone()
    assert refused(clone.append, "a", b"") == "size-exceeded"
    with pytest.raises(Trap):
        clone.clone()


def test_the_memory_of_fields_that_are_gone_is_free_again() -> None:
    limited_fields = limited(FIELD_OVERHEAD + 2)
    for _ in range(3):
        fields = limited_fields.from_list([("a", b"1")])
        fields.delete("a")
        fields.append("b", b"2")
        del fields


def test_received_fields_count_for_their_instance() -> None:
    limited_fields = limited(FIELD_OVERHEAD)
    code: Any = refused(limited_fields.received, [("a", b"1")], "HTTP-response-header-section-size")
    assert (code.tag, code.value) == ("HTTP-response-header-section-size", 2)


def test_fields_are_sent_without_the_whitespace_around_values() -> None:
    assert of(("a", b" \t 1 2\t"), ("b", b" ")).sent() == [("a", b"1 2"), ("b", b"")]


# Syntax

METHODS = [
    ("GET", True),
    ("M-SEARCH", True),
    ("a", True),
    ("", False),
    ("GET ", False),
    ("GE\nT", False),
    ("G/T", False),
]


@pytest.mark.parametrize(("method", "valid"), [*METHODS, ("M" * LONGEST, True), ("M" * (LONGEST + 1), False)])
def test_methods(method: str, valid: bool) -> None:
    assert is_method(method) == valid


SCHEMES = [("http", True), ("a", True), ("git+ssh", True), ("x-1.2", True), ("1a", False), ("", False), ("a b", False)]
SCHEMES += [("http:", False), ("é", False), ("-", False)]


@pytest.mark.parametrize(("scheme", "valid"), [*SCHEMES, ("s" * (LONGEST + 1), False)])
def test_schemes(scheme: str, valid: bool) -> None:
    assert is_scheme(scheme) == valid


AUTHORITIES = {
    True: "1.2.3.4 example.com localhost:80 [::1] [2001:db8::1]:8080 user@h user:pass%20@h:80 a%2Db h: h:65535",
    False: ":: :@ @@ @: : # localhost:what h:65536 h:999999 h:-1 [ ] [::1 [g] a/b a?b a%2 [::1]x user@ a@b@c h:80:80",
}


@pytest.mark.parametrize(
    ("authority", "valid"), [(each, v) for v, text in AUTHORITIES.items() for each in text.split()]
)
def test_authorities(authority: str, valid: bool) -> None:
    assert is_authority(authority) == valid


@pytest.mark.parametrize("authority", ["", " ", "a b", "a\n", "é.example", "h" * (LONGEST + 1)])
def test_more_that_is_no_authority(authority: str) -> None:
    assert not is_authority(authority)


PATHS = {
    True: ["", "/", "/a/b", "/a/../..", "a/b", "?q", "/?a[]=1", "/a?b?c/d", "*", "/%41", "/%", "/é", "/a;b=c@d:e,f"],
    False: ["/a b", "/#f", "/a\n", "/\0", '/"', "/<a>", "/{a}", "/a|b", "/a\\b", "/^", "/`", "/[a]", "/\x7f"],
}


@pytest.mark.parametrize(("path", "valid"), [(path, valid) for valid, paths in PATHS.items() for path in paths])
def test_paths_with_query(path: str, valid: bool) -> None:
    assert is_path_with_query(path) == valid


def test_long_paths_are_refused() -> None:
    assert is_path_with_query("/" * LONGEST)
    assert not is_path_with_query("/" * (LONGEST + 1))


@pytest.mark.parametrize(
    ("method", "path", "target"),
    [
        ("GET", None, "/"),
        ("GET", "", "/"),
        ("GET", "?q=1", "/?q=1"),
        ("GET", "/a/../b?c", "/a/../b?c"),
        ("GET", "/é?ü=%C3", "/%C3%A9?%C3%BC=%C3"),
        ("GET", "//other.example/a", "//other.example/a"),
        ("OPTIONS", "*", "*"),
        ("GET", "*", None),
        ("GET", "a/b", None),
        ("GET", "../b", None),
        ("GET", "http://other.example/", None),
        ("CONNECT", "other.example:80", None),
    ],
)
def test_targets_stay_with_the_authority(method: str, path: str | None, target: str | None) -> None:
    assert request_target(method, path) == target


@pytest.mark.parametrize(
    ("values", "length"),
    [([], None), ([b"0"], 0), ([b" 12\t"], 12), ([b"0" * 19 + b"1"], 1), ([b"18446744073709551615"], 2**64 - 1)],
)
def test_content_length(values: list[bytes], length: int | None) -> None:
    assert content_length([("Content-Length", value) for value in values]) == length


@pytest.mark.parametrize(
    "values",
    [
        [b""],
        [b"-1"],
        [b"+1"],
        [b"1_0"],
        [b"5", b"6"],
        [b"5", b"5"],
        [b"18446744073709551616"],
        [b"5, 5"],
        [b"1" * 21],
        [b"\xb2"],
    ],
)
def test_what_is_no_content_length(values: list[bytes]) -> None:
    with pytest.raises(ValueError, match=r"content-length|too many values"):
        content_length([("content-length", value) for value in values])

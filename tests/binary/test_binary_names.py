from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p3host.binary.names import (
    find_conflict,
    is_label,
    parse_extern_name,
    parse_interface_name,
    parse_version,
    restore_version,
    uniqueness_key,
)


@pytest.mark.parametrize(
    "text", ["a", "a-b-c", "a1-2-3", "A", "A-B-C", "A1-2-3", "a11-w0rds", "A11-4CR0NYMS", "m1x3d-4CR0NYMS", "a-1"]
)
def test_kebab_case_is_a_label(text: str) -> None:
    assert is_label(text)


@pytest.mark.parametrize(
    "text", ["", "1", "1-2-3", "a-", "a--b", "-a", "aBc", "a_b", "a.b", "a b", "a\n", "é", "a-bC", "a-²", "a:b"]
)
def test_anything_else_is_no_label(text: str) -> None:
    assert not is_label(text)
    with pytest.raises(ValueError, match="not"):
        parse_extern_name(text)


@pytest.mark.parametrize(
    ("text", "kind", "labels"),
    [
        ("get-JSON", "label", ("get-JSON",)),
        ("[constructor]r", "constructor", ("r",)),
        ("[method]r.get", "method", ("r", "get")),
        ("[static]R1.open-at", "static", ("R1", "open-at")),
    ],
)
def test_plain_name(text: str, kind: str, labels: tuple[str, ...]) -> None:
    parts = parse_extern_name(text)
    assert (parts.kind, parts.labels) == (kind, labels)
    assert parts.resource == (None if kind == "label" else labels[0])


@pytest.mark.parametrize(
    "text",
    [
        "[constructor]",
        "[method]",
        "[method]a",
        "[method]a.",
        "[method].a",
        "[method]a.b.c",
        "[static]a",
        "[static]",
        "[other]a",
        "[method",
        "[]a",
        "[constructor]a.b",
        "[method]a:b/c",
    ],
)
def test_malformed_annotation(text: str) -> None:
    with pytest.raises(ValueError, match="`"):
        parse_extern_name(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wasi:http/types", ("wasi", "http", "types", None)),
        ("wasi:cli/run@0.3.0-rc-2026-03-15", ("wasi", "cli", "run", "0.3.0-rc-2026-03-15")),
        ("ns-1-a:b-1-c/D-2", ("ns-1-a", "b-1-c", "D-2", None)),
        ("a-b:c-d/e-f@123456.7890.488", ("a-b", "c-d", "e-f", "123456.7890.488")),
        ("a:b/c@0.0.0-abcd.1.2+efg.4.ee.5", ("a", "b", "c", "0.0.0-abcd.1.2+efg.4.ee.5")),
        ("a:b/c@0.3", ("a", "b", "c", "0.3")),
    ],
)
def test_interface_name(text: str, expected: tuple[str, str, str, str | None]) -> None:
    parts = parse_extern_name(text)
    assert parts == parse_interface_name(text)
    assert parts.kind == "interface"
    version = None if parts.version is None else str(parts.version)
    assert (parts.namespace, parts.package, parts.projection, version) == expected
    assert parts.unversioned == text.partition("@")[0]


@pytest.mark.parametrize(
    "text",
    [
        "1:a/b",
        "wasi:http/TyPeS",
        "WaSi:http/types",
        "wasi:HtTp/types",
        "wasi:",
        "wasi:/",
        ":/",
        "A:b/c",
        "1:b/c",
        "ns-A:b/c",
        "ns:A/b",
        "ns:1/a",
        "ns:pkg-A/b",
        "wasi:http",
        "wasi:http/",
        "foo:bar:baz/qux",
        "foo:bar/baz/qux",
        "a:b/c@",
        "a:b/c@.",
        "a:b/c@1.",
        "a:b/c@a.2",
        "a:b/c@2.b",
        "a:b/c@2.0x0",
        "a:b/c@2.0.0+",
        "a:b/c@2.0.0-",
        "a:b@1.0.0/c",
    ],
)
def test_malformed_interface_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"not|more after|expected"):
        parse_extern_name(text)


def test_a_plain_name_is_no_interface_name() -> None:
    with pytest.raises(ValueError, match="not an interface name"):
        parse_interface_name("plain")


@pytest.mark.parametrize(
    "text",
    [
        "1.2.3",
        "0.0.0",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-0.3.7",
        "1.0.0-x-y-z.--",
        "1.0.0+20130313144700",
        "1.0.0-beta+exp.sha.5114f85",
        "1.0.0+21AF26D3---117B344092BD",
        "1.0.0-0A.is.legal",
        "18446744073709551615.0.0",
    ],
)
def test_semantic_version(text: str) -> None:
    assert str(parse_version(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0.0",
        "1.2",
        "01.0.0",
        "1.02.3",
        "1.0.0-01",
        "1.0.0-",
        "1.0.0-a..b",
        "1.0.0+a+b",
        "1.0.0-é",
        "v1.0.0",
        "1.0.0.0",
        "-1.0.0",
        "1.0.0 ",
        "1.0.0\n",
        "18446744073709551616.0.0",
        "1." + "9" * 90000 + ".0",
        "٣.0.0",
        "1.0.0-" + "9" * 90000,
    ],
)
def test_malformed_version(text: str) -> None:
    with pytest.raises(ValueError, match="not a valid version"):
        parse_version(text)


def test_versions_are_ordered_by_precedence() -> None:
    ascending = ["0.0.1", "0.2.0", "0.3.0-rc-2025-09-16", "0.3.0-rc-2026-03-15", "0.3.0", "0.3.1", "1.0.0-alpha"]
    ascending += ["1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1"]
    ascending += ["1.0.0", "2.0.0"]
    assert [str(v) for v in sorted(map(parse_version, reversed(ascending)))] == ascending


@pytest.mark.parametrize(
    ("text", "canonical", "suffix"),
    [
        ("1.2.3", "1", ".2.3"),
        ("12.0.0", "12", ".0.0"),
        ("0.2.6-rc.1", "0.2", ".6-rc.1"),
        ("0.3.0", "0.3", ".0"),
        ("0.0.1-alpha", "0.0.1", "-alpha"),
        ("0.0.0", "0.0.0", ""),
    ],
)
def test_a_version_is_restored_of_its_canonical_part_and_a_suffix(text: str, canonical: str, suffix: str) -> None:
    assert parse_version(text).canonical == canonical
    assert parse_version(canonical).is_canonical
    assert restore_version(parse_extern_name(f"a:b/c@{canonical}"), suffix) == parse_version(text)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a:b/c", ".1"),
        ("plain", ".1"),
        ("a:b/c@0.3.0", "-rc"),
        ("a:b/c@0.3", ""),
        ("a:b/c@1", "1.0.0"),
        ("a:b/c@1", ".2"),
        ("a:b/c@0.0.1", "2"),
        ("a:b/c@1", ".2.x"),
    ],
)
def test_a_suffix_that_makes_no_version_is_refused(name: str, suffix: str) -> None:
    with pytest.raises(ValueError, match="version"):
        restore_version(parse_extern_name(name), suffix)


def test_names_can_all_be_strongly_unique() -> None:
    names = ["foo", "foo-bar", "[constructor]foo", "[method]foo.bar", "[static]foo.baz", "foo:bar/baz"]
    assert find_conflict(names) is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("foo", "foo"),
        ("foo", "FOO"),
        ("foo-bar", "foo-BAR"),
        ("[constructor]foo", "[constructor]FOO"),
        ("[method]foo.bar", "[method]foo.BAR"),
        ("[method]foo.bar", "[static]foo.bar"),
        ("[static]foo.baz", "[method]foo.baz"),
        ("foo", "[method]foo.foo"),
        ("foo-bar", "[static]foo-BAR.FOO-bar"),
        ("foo:bar/baz", "foo:bar/BAZ"),
    ],
)
def test_names_that_differ_too_little_conflict(first: str, second: str) -> None:
    assert uniqueness_key(first) == uniqueness_key(second)
    assert find_conflict(["other", first, "another", second]) == (second, first)


@pytest.mark.parametrize(
    "text",
    ["1-" * 50_000 + "!", "a" * 100_000 + "!", "[method]" + "a." * 50_000, "a:" * 50_000, "a:b/c@" + "1." * 50_000],
)
def test_long_names_are_refused_fast(text: str) -> None:
    begin = time.process_time()
    with pytest.raises(ValueError, match=r"not|more than"):
        parse_extern_name(text)
    assert time.process_time() - begin < 0.5


@given(st.text(alphabet="aB1-:/@.[]+", max_size=20) | st.text(max_size=20))
def test_any_text_is_a_name_or_a_value_error(text: str) -> None:
    try:
        parts = parse_extern_name(text)
    except ValueError:
        return
    assert text.isascii()
    assert text.lower().endswith(parts.labels[-1].lower()) or parts.kind == "interface"

"""Forms, comments and strings of scripts."""

from __future__ import annotations

import pytest

from p3host import DecodeError
from p3host.wast.syntax import Atom, Form, parse, string_bytes, string_text


def texts(form: Form) -> list[object]:
    return [item.text if isinstance(item, Atom) else texts(item) for item in form.items]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("(a) (b $c)", [["a"], ["b", "$c"]]),
        ("(a(b)1.5e-3)", [["a", ["b"], "1.5e-3"]]),
        (";; (a)\n(b)", [["b"]]),
        ("(; (a (; ;) ;; ;)(b(;;))", [["b"]]),
        (r'(a "(;\")" ";;")', [["a", r'"(;\")"', '";;"']]),
    ],
)
def test_text_is_parsed_into_forms(text: str, expected: list[object]) -> None:
    assert [texts(form) for form in parse(text)] == expected


def test_forms_know_where_they_stand() -> None:
    text = " (a\n (b)) "
    (outer,) = parse(text)
    inner = outer.items[1]
    assert text[outer.start : outer.end] == "(a\n (b))"
    assert text[inner.start : inner.end] == "(b)"


def test_nesting_is_not_bounded_by_the_stack() -> None:
    depth = 100_000
    assert len(parse("(" * depth + ")" * depth)) == 1


@pytest.mark.parametrize(
    ("text", "message", "offset"),
    [
        ("(a", "never closed", 0),
        ("(a) )", "without its opening", 4),
        ("(a) b", "expected a directive", 4),
        ('(a "b', "string that never ends", 3),
        ("(a (; b ;)", "never closed", 0),
        ("(a (; (; b ;)", "comment that never ends", 3),
        ("(a ;)", "unexpected ';'", 3),
    ],
)
def test_malformed_text_is_refused_with_its_place(text: str, message: str, offset: int) -> None:
    with pytest.raises(DecodeError, match=message) as caught:
        parse(text)
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r'"plain"', b"plain"),
        (r'"\00\fF"', b"\x00\xff"),
        (r'"\n\r\t\"\'\\"', b"\n\r\t\"'\\"),
        (r'"\u{e9}\u{1_F600}"'.replace("_", ""), "é😀".encode()),
        ('"é"', "é".encode()),
    ],
)
def test_escapes_of_strings(text: str, expected: bytes) -> None:
    assert string_bytes(Atom(text, 0, len(text))) == expected


def test_text_of_a_string_is_utf8() -> None:
    with pytest.raises(DecodeError, match="UTF-8"):
        string_text(Atom(r'"\ff"', 0, 5))


@pytest.mark.parametrize("item", [Atom("word", 3, 7), Form(3)])
def test_anything_else_is_no_string(item: Atom | Form) -> None:
    with pytest.raises(DecodeError, match="expected a string") as caught:
        string_bytes(item)
    assert caught.value.offset == 3

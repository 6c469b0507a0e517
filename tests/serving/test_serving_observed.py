"""The line that is told of a request."""

from __future__ import annotations

import pytest

from p3host.serving.observed import printable, target_of


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/a/b.html", "/a/b.html"),
        ("/%20%0A", "/%20%0A"),
        ("/a b", r"/a\x20b"),
        ("/a\nGET", r"/a\nGET"),
        ("G\x1b[31m", r"G\x1b[31m"),
        ("/caf\xe9", r"/caf\xe9"),
        ("/\u2028\x00", r"/\u2028\x00"),
    ],
)
def test_what_clients_send_is_told_as_one_printable_word(text: str, told: str) -> None:
    assert printable(text) == told


def test_the_query_is_not_told() -> None:
    assert target_of({"raw_path": b"/login?password=1", "path": "/login"}) == "/login"
    assert target_of({"path": "/a b"}) == r"/a\x20b"

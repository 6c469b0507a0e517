"""The syntax of scripts: atoms, strings and parenthesised forms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from ..errors import DecodeError

TOKEN = re.compile(
    r"""
    (?P<space> \s+ | ;;[^\n]* )
  | (?P<comment> \(; )
  | (?P<open> \( )
  | (?P<close> \) )
  | (?P<string> "(?: [^"\\] | \\. )*" )
  | (?P<atom> [^\s()";]+ )
    """,
    re.VERBOSE | re.DOTALL,
)
COMMENT_EDGE = re.compile(r"\(;|;\)")
ESCAPE = re.compile(rb'\\(?:u\{([0-9a-fA-F_]+)\}|([0-9a-fA-F]{2})|([nrt"\'\\]))')
NAMED_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


@dataclass(frozen=True)
class Atom:
    """A keyword, a name (`$name`), a number or a string (with its quotes), and where it stands."""

    text: str
    start: int
    end: int

    @property
    def is_name(self) -> bool:
        return self.text.startswith("$")

    @property
    def is_string(self) -> bool:
        return self.text.startswith('"')


@dataclass
class Form:
    """What stands between two parentheses. `start` and `end` are its place in the script, the parentheses included."""

    start: int
    end: int = 0
    items: list[Item] = field(default_factory=list)

    @property
    def keyword(self) -> str:
        """The first atom, or the empty string."""
        first = self.items[0] if self.items else None
        return first.text if isinstance(first, Atom) else ""


Item: TypeAlias = Atom | Form


def parse(text: str) -> list[Form]:
    """The directives of a script.

    :raises DecodeError: if it is not well-formed; the offset counts characters.
    """
    root = Form(0)
    stack = [root]
    for kind, start, end in tokens(text):
        if kind == "open":
            form = Form(start)
            stack[-1].items.append(form)
            stack.append(form)
        elif kind == "close":
            if len(stack) == 1:
                raise DecodeError("a closing parenthesis without its opening one", start)
            stack.pop().end = end
        else:
            stack[-1].items.append(Atom(text[start:end], start, end))
    if len(stack) > 1:
        raise DecodeError("a parenthesis that is never closed", stack[-1].start)
    for item in root.items:
        if isinstance(item, Atom):
            raise DecodeError(f"expected a directive in parentheses, found {item.text}", item.start)
    return [item for item in root.items if isinstance(item, Form)]


def tokens(text: str) -> Iterator[tuple[str, int, int]]:
    """The kind, start and end of each token; comments and white space are left out."""
    position = 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            problem = "a string that never ends" if text[position] == '"' else f"unexpected {text[position]!r}"
            raise DecodeError(problem, position)
        kind = match.lastgroup
        assert kind is not None
        if kind == "comment":
            position = end_of_comment(text, position)
            continue
        if kind != "space":
            yield kind, match.start(), match.end()
        position = match.end()


def end_of_comment(text: str, start: int) -> int:
    """Where a block comment ends, those nested in it included."""
    depth = 0
    for edge in COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge.group() == "(;" else -1
        if depth == 0:
            return edge.end()
    raise DecodeError("a comment that never ends", start)


def string_bytes(atom: Item) -> bytes:
    """The bytes that a string stands for."""
    if not isinstance(atom, Atom) or not atom.is_string:
        raise DecodeError("expected a string", atom.start)
    return ESCAPE.sub(unescape, atom.text[1:-1].encode())


def unescape(match: re.Match[bytes]) -> bytes:
    code, byte, named = match.groups()
    if code is not None:
        return chr(int(code, 16)).encode("utf-8", "surrogatepass")
    if byte is not None:
        return bytes([int(byte, 16)])
    return NAMED_ESCAPES.get(named, named)


def string_text(atom: Item) -> str:
    """The text that a string stands for.

    :raises DecodeError: if it is not UTF-8.
    """
    try:
        return string_bytes(atom).decode()
    except UnicodeDecodeError:
        raise DecodeError("expected a string in UTF-8", atom.start) from None

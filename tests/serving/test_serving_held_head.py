"""The head of a response goes out with what comes next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from p3host.serving.uvicorn_server import HeldHead


class Transport:
    """What is written to it, and b"" for its end."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return b"" in self.written

    def close(self) -> None:
        self.written.append(b"")


class Loop:
    """An event loop, as far as it does something at the end of a turn."""

    def __init__(self) -> None:
        self.later: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.later.append(callback)

    def end_turn(self) -> None:
        for callback in self.later:
            callback()


def held_head() -> tuple[Any, Transport, Loop]:
    transport, loop = Transport(), Loop()
    given: Any = (transport, loop)
    return HeldHead(*given), transport, loop


def test_a_head_and_a_body_are_one_write() -> None:
    held, transport, loop = held_head()
    held.write(b"head ")
    assert transport.written == []
    held.write(b"body")
    loop.end_turn()
    held.write(b"more")
    assert transport.written == [b"head body", b"more"]


def test_a_head_that_nothing_follows_goes_at_the_end_of_the_turn() -> None:
    held, transport, loop = held_head()
    held.write(b"head")
    loop.end_turn()
    assert transport.written == [b"head"]
    held.write(b"body")
    assert transport.written == [b"head", b"body"]


def test_a_head_goes_before_the_end_of_the_connection() -> None:
    held, transport, loop = held_head()
    held.write(b"head")
    held.close()
    assert held.is_closing()
    loop.end_turn()
    assert transport.written == [b"head", b""]

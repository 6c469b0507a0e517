"""The most that the body of a request may have."""

from __future__ import annotations

from ..wasi.http.syntax import content_length
from .messages import Message, Receive, Scope


class LimitedReceive:
    """The `receive` of a server, for bodies of at most `max_bytes`. Who sends more is as good as gone."""

    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self.receive = receive
        self.left = max_bytes

    @property
    def exceeded(self) -> bool:
        return self.left < 0

    async def __call__(self) -> Message:
        if not self.exceeded:
            message = await self.receive()
            self.left -= len(message.get("body", b""))
        return {"type": "http.disconnect"} if self.exceeded else message


def announces_more(scope: Scope, max_bytes: int) -> bool:
    """Whether the body of a request is going to be larger, as far as its headers tell."""
    try:
        length = content_length((name.decode("latin-1"), value) for name, value in scope["headers"])
    except ValueError:  # which is for others to refuse
        return False
    return length is not None and length > max_bytes

"""What comes for one request, between hypercorn and the application."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from p3host.serving.hypercorn_protocols import MOST_AHEAD, Inbox, StreamInbox

pytestmark = pytest.mark.anyio
GONE = {"type": "http.disconnect"}


def body(data: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": data, "more_body": more}


async def test_pieces_that_wait_are_taken_as_one() -> None:
    inbox = Inbox()
    await inbox.put(body(b"one"))
    await inbox.put(body(b"two"))
    assert await inbox.receive() == body(b"onetwo")
    await inbox.put(body(b"three"))
    await inbox.put(body(b"", more=False))
    assert await inbox.receive() == body(b"three", more=False)


async def test_an_empty_end_is_told_once() -> None:
    inbox = Inbox()
    await inbox.put(body(b"", more=False))
    assert await inbox.receive() == body(b"", more=False)
    with anyio.move_on_after(0) as scope:
        await inbox.receive()
    assert scope.cancelled_caught


async def test_the_end_of_the_connection_goes_before_what_has_come() -> None:
    inbox = Inbox()
    await inbox.put(body(b"one"))
    await inbox.put(GONE)
    assert [await inbox.receive(), await inbox.receive()] == [GONE, GONE]


@pytest.mark.parametrize("then", ["receive", "gone", "close"])
async def test_who_puts_waits_while_it_is_full_unless_nobody_will_take_it(then: str) -> None:
    inbox = Inbox()
    await inbox.put(body(b"a" * MOST_AHEAD))
    async with anyio.create_task_group() as group:
        putting = group.start_soon(inbox.put, body(b"more"))
        await anyio.wait_all_tasks_blocked()
        assert len(inbox.body) == MOST_AHEAD
        if then == "receive":
            assert await inbox.receive() == body(b"a" * MOST_AHEAD)
            assert await inbox.receive() == body(b"more")
        elif then == "gone":
            await inbox.put(GONE)
        else:
            inbox.close()
        await putting.wait()
    await inbox.put(body(b"b" * MOST_AHEAD) if then == "close" else GONE)
    assert len(inbox.body) <= MOST_AHEAD + 4


class Windows:
    """Stands in for a connection by HTTP/2."""

    def __init__(self) -> None:
        self.given_back: list[int] = []

    async def give_back(self, count: int, stream_id: int) -> None:
        assert stream_id == 1
        self.given_back.append(count)


async def arrive(inbox: StreamInbox, data: bytes, *, padding: int = 0) -> None:
    inbox.used += len(data) + padding
    await inbox.put(body(data))


async def test_a_streams_window_is_given_back_when_more_is_asked_for() -> None:
    windows: Any = Windows()
    inbox = StreamInbox(windows, 1)
    await arrive(inbox, b"a" * MOST_AHEAD)
    await arrive(inbox, b"more", padding=10)  # which its window allowed: it is not for the inbox to wait
    assert len((await inbox.receive())["body"]) == MOST_AHEAD + 4
    assert windows.given_back == []
    await arrive(inbox, b"rest")
    assert await inbox.receive() == body(b"rest")
    assert windows.given_back == [MOST_AHEAD + 14]


async def test_no_window_is_given_back_once_all_has_come() -> None:
    windows: Any = Windows()
    inbox = StreamInbox(windows, 1)
    await arrive(inbox, b"all")
    await inbox.receive()
    inbox.whole = True
    await inbox.put(body(b"", more=False))
    assert await inbox.receive() == body(b"", more=False)
    assert windows.given_back == []

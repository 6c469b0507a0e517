"""HTTP/2 by hypercorn, where the streams of a connection don't hold each other up.

hypercorn itself hands on what a client sends in the order in which it comes: while nobody takes the body of one
request, nothing of the others on its connection is read. Here each request has a place of its own for what comes, which
the window of its stream bounds: a client may send more when something was taken.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import hypercorn.protocol
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from hypercorn.protocol.events import Body
from hypercorn.protocol.h2 import H2Protocol


def use_independent_streams() -> None:
    """All connections of hypercorn in this process by HTTP/2 are such from now on."""
    hypercorn.protocol.H2Protocol = IndependentStreams  # type: ignore[attr-defined, assignment]


class Inbox:
    """What came for one request. `give_back` is told how much of its stream's window is free again."""

    def __init__(self, changed: Any, give_back: Callable[[int], Awaitable[None]]) -> None:
        self.changed = changed
        self.give_back = give_back
        self.body = bytearray()
        self.owed = 0
        self.ended = False  # and nobody was told
        self.gone = False

    async def put(self, message: Any) -> None:
        if message["type"] == "http.request":
            self.body += message["body"]
            self.ended = not message["more_body"]
        else:
            self.gone = True
        await self.changed.set()

    async def receive(self) -> Any:
        while not self.body and not self.ended and not self.gone:
            await self.changed.clear()
            await self.changed.wait()
        if self.gone:
            return {"type": "http.disconnect"}
        message = {"type": "http.request", "body": bytes(self.body), "more_body": not self.ended}
        owed = 0 if self.ended else self.owed
        self.body.clear()
        self.ended = False
        self.owed = 0
        if owed:
            await self.give_back(owed)
        return message


class RequestTasks:
    """Stands before hypercorn's task group, and gives each request an inbox in place of a queue."""

    def __init__(self, group: Any, make_inbox: Callable[[], Inbox]) -> None:
        self.group = group
        self.make_inbox = make_inbox
        self.spawn = group.spawn

    async def spawn_app(self, application: Any, config: Any, scope: Any, send: Any) -> Callable[[Any], Awaitable[None]]:
        if scope["type"] != "http":
            put: Callable[[Any], Awaitable[None]] = await self.group.spawn_app(application, config, scope, send)
            return put
        inbox = self.make_inbox()

        async def with_inbox(scope: Any, receive: Any, send: Any, *threads: Any) -> None:
            await application(scope, inbox.receive, send, *threads)

        await self.group.spawn_app(with_inbox, config, scope, send)
        return inbox.put


class IndependentStreams(H2Protocol):
    """A connection. A stream is reset when its response breaks off, and when it is complete while the client would go
    on with the request."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.task_group: Any = RequestTasks(self.task_group, self.make_inbox)
        self.inboxes: dict[int, Inbox] = {}  # of requests whose body has not ended
        self.beginning = 0  # the stream whose request begins

    def make_inbox(self) -> Inbox:
        stream_id = self.beginning

        async def give_back(count: int) -> None:
            try:
                self.connection.increment_flow_control_window(count, stream_id)
            except (ProtocolError, KeyError):
                return  # it has ended
            await self._flush()

        inbox = self.inboxes[stream_id] = Inbox(self.context.event_class(), give_back)
        return inbox

    async def _create_stream(self, request: RequestReceived) -> None:
        self.beginning = request.stream_id
        await super()._create_stream(request)

    async def _handle_events(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, DataReceived):
                await self.take(event)
                continue
            if isinstance(event, StreamReset) and event.stream_id in self.stream_buffers:
                self.stream_buffers[event.stream_id].set_complete()  # so it is not reset again
            await super()._handle_events([event])
            if isinstance(event, StreamEnded | StreamReset):
                self.inboxes.pop(event.stream_id, None)
        await self._flush()

    async def take(self, event: DataReceived) -> None:
        """The connection's window is given back at once, as it is all streams'."""
        if event.flow_controlled_length:
            self.connection.increment_flow_control_window(event.flow_controlled_length)
        stream, inbox = self.streams.get(event.stream_id), self.inboxes.get(event.stream_id)
        if stream is not None and inbox is not None:
            inbox.owed += event.flow_controlled_length
            await stream.handle(Body(stream_id=event.stream_id, data=event.data))

    async def _close_stream(self, stream_id: int) -> None:
        await super()._close_stream(stream_id)
        buffer = self.stream_buffers.get(stream_id)
        if buffer is not None and not buffer._complete and not self.closed:
            self.inboxes.pop(stream_id, None)
            await self.reset(stream_id, ErrorCodes.INTERNAL_ERROR)
            await buffer.close()
            await self._window_updated(stream_id)  # has it forgotten

    async def _send_data(self, stream_id: int) -> None:
        await super()._send_data(stream_id)
        if stream_id not in self.stream_buffers and self.inboxes.pop(stream_id, None) is not None:
            await self.reset(stream_id, ErrorCodes.NO_ERROR)

    async def reset(self, stream_id: int, code: ErrorCodes) -> None:
        try:
            self.connection.reset_stream(stream_id, code)
        except (ProtocolError, KeyError):
            return  # it has ended
        await self._flush()

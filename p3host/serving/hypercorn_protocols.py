"""HTTP/1.1 and HTTP/2 by hypercorn, where what a client sends holds nobody up.

hypercorn hands on what comes by a queue for each request, and reads nothing more of a connection while one is full. So
an upload that nobody takes holds up the other requests of its connection by HTTP/2, and the end of one whose response
is complete would never be seen. Here each request has an inbox. By HTTP/2 it is bounded by the window of its stream: a
client may send more when something was taken.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import hypercorn.protocol
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from hypercorn.events import Closed, Updated
from hypercorn.events import Event as ConnectionEvent
from hypercorn.protocol.events import Body
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol

MOST_AHEAD = 65536  # bytes


def use_inboxes() -> None:
    """All connections of hypercorn in this process have them from now on."""
    hypercorn.protocol.H11Protocol = OneStream  # type: ignore[attr-defined, assignment]
    hypercorn.protocol.H2Protocol = IndependentStreams  # type: ignore[attr-defined, assignment]


class Inbox:
    """What came for one request. The end of the connection is told before what has come, as that has no use then."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.ended = False  # and nobody was told
        self.gone = False
        self.closed = False
        self.changed = anyio.Event()

    async def put(self, message: Any) -> None:
        if message["type"] == "http.request":
            while self.is_full() and not self.gone and not self.closed:
                await self.changed.wait()
            if not self.closed:
                self.body += message["body"]
                self.ended = not message["more_body"]
        else:
            self.gone = True
        self.notify()

    async def receive(self) -> Any:
        await self.make_room()
        while not self.body and not self.ended and not self.gone:
            await self.changed.wait()
        if self.gone:
            return {"type": "http.disconnect"}
        message = {"type": "http.request", "body": bytes(self.body), "more_body": not self.ended}
        self.body.clear()
        self.ended = False
        self.taken()
        self.notify()
        return message

    def is_full(self) -> bool:
        return len(self.body) >= MOST_AHEAD

    def taken(self) -> None:
        """All that was there has been taken."""

    async def make_room(self) -> None:
        """More is asked for."""

    def close(self) -> None:
        """Nobody will take anything any more."""
        self.closed = True
        self.notify()

    def notify(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()


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
            try:
                await application(scope, inbox.receive, send, *threads)
            finally:
                inbox.close()

        await self.group.spawn_app(with_inbox, config, scope, send)
        return inbox.put


class OneStream(H11Protocol):
    """A connection by HTTP/1.1."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.task_group: Any = RequestTasks(self.task_group, Inbox)


class StreamInbox(Inbox):
    """That of a stream of HTTP/2. Of its window `used` is what is here, `free` what can be given back."""

    def __init__(self, connection: IndependentStreams, stream_id: int) -> None:
        super().__init__()
        self.connection = connection
        self.stream_id = stream_id
        self.used = self.free = 0
        self.whole = False

    def is_full(self) -> bool:
        return False

    def taken(self) -> None:
        self.free += self.used
        self.used = 0

    async def make_room(self) -> None:
        free, self.free = self.free, 0
        if free and not self.whole:
            await self.connection.give_back(free, self.stream_id)


class IndependentStreams(H2Protocol):
    """A connection by HTTP/2. A stream is reset when its response breaks off, and when it is complete while the client
    would go on with the request."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.task_group: Any = RequestTasks(self.task_group, self.make_inbox)
        self.inboxes: dict[int, StreamInbox] = {}  # of requests whose body has not ended
        self.beginning = 0  # the stream whose request begins

    def make_inbox(self) -> Inbox:
        inbox = self.inboxes[self.beginning] = StreamInbox(self, self.beginning)
        return inbox

    async def give_back(self, count: int, stream_id: int) -> None:
        try:
            self.connection.increment_flow_control_window(count, stream_id)
        except (ProtocolError, KeyError):
            return  # it has ended
        await self._flush()

    async def _create_stream(self, request: RequestReceived) -> None:
        self.beginning = request.stream_id
        await super()._create_stream(request)

    async def handle(self, event: ConnectionEvent) -> None:
        await super().handle(event)
        if isinstance(event, Closed):  # nobody will send what is left, so it isn't to be waited for
            for buffer in list(self.stream_buffers.values()):
                await buffer.close()

    async def _handle_events(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, DataReceived):
                await self.take(event)
                continue
            if isinstance(event, StreamReset) and event.stream_id in self.stream_buffers:
                self.stream_buffers[event.stream_id].set_complete()  # so it is not reset again
            await super()._handle_events([event])
            if isinstance(event, StreamEnded | StreamReset) and event.stream_id in self.inboxes:
                self.inboxes.pop(event.stream_id).whole = True
            if isinstance(event, StreamReset):
                await self.send(Updated(idle=self.idle))
        await self._flush()

    async def take(self, event: DataReceived) -> None:
        """The connection's window is given back at once, as it is all streams'."""
        if event.flow_controlled_length:
            self.connection.increment_flow_control_window(event.flow_controlled_length)
        stream, inbox = self.streams.get(event.stream_id), self.inboxes.get(event.stream_id)
        if stream is not None and inbox is not None:
            inbox.used += event.flow_controlled_length
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

"""A connection to an HTTP/1.1 server: h11 over a byte stream. It is used for one exchange after the other."""

from __future__ import annotations

import re
from collections.abc import Callable

import anyio
import h11
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from ...errors import Err
from ..byte_streams import PIECE
from ..http.fields import MAX_BYTES, MAX_FIELDS
from ..http.messages import OUTSIDE_FAILURES, ErrorCode
from .connect import failed

MAX_SECTION = MAX_BYTES + 4 * MAX_FIELDS + 1024  # bytes of a head or of trailers, with separators and a status line
CHUNK_LINE = re.compile(rb"[0-9A-Fa-f]+[ \t]*(;|$)")
TOO_LONG, UNKNOWN_CODING = 431, 501  # by which h11 tells of these errors


class Connection:
    def __init__(self, stream: ByteStream, on_close: Callable[[], None]) -> None:
        self.stream = stream
        self.on_close = on_close
        self.protocol = h11.Connection(h11.CLIENT, MAX_SECTION)
        self.reused = False
        self.answered = False  # a part of the response has come
        self.at_end = False  # the server sends no more
        self.closed = False

    async def send(self, *events: h11.Event) -> None:
        """
        :raises h11.LocalProtocolError: the message is not as its head has announced
        :raises Err: the connection is lost; with an `ErrorCode`
        """
        data = b"".join([self.protocol.send(event) or b"" for event in events])
        if data:
            try:
                await self.stream.send(data)
            except OUTSIDE_FAILURES as failure:
                raise failed(failure) from failure

    async def next_event(self) -> h11.Event:
        """
        :raises Err: the response is malformed or incomplete, or the connection is lost; with an `ErrorCode`
        """
        while (event := self.event_at_hand()) is None:
            try:
                data = await self.stream.receive(PIECE)
                self.answered = True
            except anyio.EndOfStream:
                data = b""
                self.at_end = True
                if not self.answered:
                    raise Err(ErrorCode("connection-terminated")) from None
            except OUTSIDE_FAILURES as failure:
                raise failed(failure) from failure
            self.protocol.receive_data(data)
        return event

    def event_at_hand(self) -> h11.Event | None:
        """What comes next, if all of it has been received.

        :raises Err: it is malformed or incomplete; with an `ErrorCode`
        """
        before_head = self.protocol.their_state in (h11.IDLE, h11.SEND_RESPONSE)
        try:
            event = self.protocol.next_event()
        except h11.RemoteProtocolError as failure:
            raise Err(self.error_of(failure, before_head)) from failure
        return event if isinstance(event, h11.Event) else None

    def error_of(self, failure: h11.RemoteProtocolError, before_head: bool) -> ErrorCode:
        received = self.protocol.trailing_data[0]
        if failure.error_status_hint == UNKNOWN_CODING:
            return ErrorCode("HTTP-response-transfer-coding")
        if failure.error_status_hint == TOO_LONG and before_head:
            return ErrorCode("HTTP-response-header-section-size", len(received))
        if failure.error_status_hint == TOO_LONG and not CHUNK_LINE.match(received):
            return ErrorCode("HTTP-response-trailer-section-size", len(received))
        return ErrorCode("HTTP-response-incomplete" if self.at_end else "HTTP-protocol-error")

    def start_next_exchange(self) -> bool:
        """Makes it ready for another exchange, or returns False if it is not fit for one."""
        if self.closed or self.at_end or self.protocol.trailing_data[0]:
            return False
        try:
            self.protocol.start_next_cycle()
        except h11.LocalProtocolError:  # one of the messages has not ended, or one side wants to close
            return False
        self.reused = True
        self.answered = False
        return True

    async def aclose(self) -> None:
        """Waits for nothing: HTTP says itself where a message ends."""
        if not self.closed:
            self.closed = True
            self.on_close()
            stream = self.stream.transport_stream if isinstance(self.stream, TLSStream) else self.stream
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(stream)

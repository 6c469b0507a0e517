"""One stream or future, written by a guest or by Python, goes through the hands of guests and of the host, who read,
cancel and pass on in any order, also while a store is held. Every byte arrives once, in its place.

The n-th byte is always the same, and a guest that writes offers what has not been copied yet.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from guest_text import let_others_run
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_guest import BLOCKED, CANCELLED, COMPLETED, DROPPED, stream_guest, two_stream_guests

from p3host.host import streams
from p3host.host.driver import loop_share

PATTERN = bytes(range(251)) * 20
HOST = "host"
GUESTS = ("a", "b", "c")  # c is alone in its store
STORES = {"a": 0, "b": 0, "c": 1}
AT_ONCE = 10  # bytes that are given as one object

SIZES = (1, 2, 9, 0)
OPERATIONS: list[tuple[str, Any]] = [
    *(("read", size) for size in SIZES),
    *(("write", size) for size in SIZES),
    *(("cancel read and write", size) for size in SIZES),
    *(("write and cancel read", size) for size in SIZES),
    ("cancel read", 0),
    ("cancel write", 0),
    *[("events", 0)] * 4,
    *(("pass on", to) for to in (*GUESTS, HOST)),
    *(("rest", turns) for turns in (1, 2, 5)),
    ("use the loop up", 0),
    *((operation, store) for operation in ("hold", "release") for store in (0, 1)),
]
scripts = st.lists(st.sampled_from(OPERATIONS), min_size=20, max_size=50)


@pytest.fixture(autouse=True, scope="module")
def large_reads_gather() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "DEFAULT_READ", 2)
        yield


class Play:
    def __init__(self, kind: str, writer: str, group: Any, guests: dict[str, Any], gates: list[Gate]) -> None:
        self.kind = kind
        self.writer = writer
        self.group = group
        self.guests = guests
        self.gates = gates
        self.holder = HOST
        self.readable: Any = None  # the index of the readable end where a guest holds it, else the host's end
        self.writable = 0
        self.num_sent = 0
        self.received = bytearray()
        self.writing = self.reading = False
        self.written = self.at_end = False  # the writable end is dropped; the reader knows it
        self.scope = anyio.CancelScope()
        self.send, self.receive = anyio.create_memory_object_stream[bytes](math.inf)

    # The writer

    async def open(self, to: str) -> None:
        if self.writer in GUESTS:
            ends = await self.call(self.writer, "new")
            self.readable, self.writable = ends & 0xFFFF_FFFF, ends >> 32
            self.holder = self.writer
            await self.pass_on(to)
            return
        source: Any = {
            "iterable": self.pieces,
            "object stream": lambda: self.receive,
            "byte stream": lambda: BufferedByteReceiveStream(self.receive),
            "bytes": lambda: PATTERN[:AT_ONCE],
            "awaitable": self.value,
        }[self.writer]()
        if self.writer == "bytes":
            self.num_sent, self.written = AT_ONCE, True
        self.readable = await getattr(self.guests["a"], f"take_{self.kind}")(source)
        self.holder = "a"
        await self.pass_on(to)

    async def pieces(self) -> AsyncIterator[bytes]:
        async for piece in self.receive:
            yield piece

    async def value(self) -> int:
        return (await self.receive.receive())[0]

    async def call(self, guest: str, name: str, *args: Any) -> Any:
        return await self.guests[guest][f"{self.kind}-{name}"](*args)

    def is_held(self, guest: str) -> bool:
        return guest in GUESTS and self.gates[STORES[guest]].holds

    async def write(self, count: int) -> None:
        if self.writing or self.written or (self.kind == "future" and self.num_sent):
            return
        piece = PATTERN[self.num_sent : self.num_sent + (1 if self.kind == "future" else count)]
        if self.writer not in GUESTS:
            self.send.send_nowait(piece)
            self.num_sent += len(piece)
        elif not self.is_held(self.writer):
            self.writing = True
            self.was_written(await self.call(self.writer, "write", self.writable, piece))

    def was_written(self, payload: int) -> None:
        if payload == BLOCKED:
            return
        self.writing = False
        self.num_sent += self.num_copied(payload)
        assert payload & 15 != DROPPED

    def num_copied(self, payload: int) -> int:
        return int(payload == COMPLETED) if self.kind == "future" else payload >> 4

    async def event_of_writer(self) -> None:
        if self.writing and not self.is_held(self.writer):
            code, index, payload = await self.guests[self.writer].event(self.writable)
            if code:
                assert index == self.writable
                self.was_written(payload)

    async def cancel_write(self) -> None:
        if self.writing and not self.is_held(self.writer):
            payload = await self.call(self.writer, "cancel-write", self.writable)
            assert payload & 15 == CANCELLED or payload == COMPLETED
            self.was_written(payload)

    async def end_writing(self) -> None:
        """The writer drops its end as soon as it may."""
        if self.written or self.writing:
            return
        if self.kind == "future" and not self.num_sent:
            await self.write(1)
        elif self.writer in GUESTS:
            await self.call(self.writer, "drop-writable", self.writable)
            self.written = True
        else:
            self.send.close()
            self.written = True

    # The reader

    async def read(self, count: int) -> None:
        if self.reading or self.at_end or self.is_held(self.holder):
            return
        self.reading = True
        if self.holder == HOST:
            self.scope = anyio.CancelScope()
            self.group.start_soon(self.read_by_host, self.scope, count)
            await let_others_run()
        else:
            args = (count,) if self.kind == "stream" else ()
            await self.was_read(await self.call(self.holder, "read", self.readable, *args))

    async def read_by_host(self, scope: anyio.CancelScope, count: int) -> None:
        with scope:
            if self.kind == "future":
                self.received.append(await self.readable)
                self.at_end = True
            else:
                piece = await self.readable.read(count)
                self.received += piece
                self.at_end = self.readable.at_end
        self.reading = False

    async def was_read(self, payload: int) -> None:
        if payload == BLOCKED:
            return
        self.reading = False
        self.received += await self.guests[self.holder].bytes_read(self.readable, self.num_copied(payload))
        self.at_end = payload & 15 == DROPPED or (self.kind == "future" and payload == COMPLETED)

    async def event_of_reader(self) -> None:
        if self.reading and self.holder != HOST and not self.is_held(self.holder):
            code, index, payload = await self.guests[self.holder].event(self.readable)
            if code:
                assert index == self.readable
                await self.was_read(payload)

    async def cancel_read(self) -> None:
        if self.reading and self.holder == HOST:
            self.scope.cancel()
        elif self.reading and not self.is_held(self.holder):
            await self.was_read(await self.call(self.holder, "cancel-read", self.readable))

    async def pass_on(self, to: str) -> None:
        if self.reading or self.at_end or self.is_held(self.holder) or self.is_held(to):
            return
        if self.holder != HOST:
            self.readable = await self.guests[self.holder][f"give-{self.kind}"](self.readable)
            self.holder = HOST
        if to != HOST:
            self.readable = await self.guests[to][f"take-{self.kind}"](self.readable)
            self.holder = to

    # All

    async def do(self, operation: str, argument: Any) -> None:
        match operation:
            case "write":
                await self.write(argument)
            case "read":
                await self.read(argument)
            case "cancel read and write":
                await self.cancel_read()
                await self.write(argument)
            case "write and cancel read":
                await self.write(argument)
                await self.cancel_read()
            case "pass on":
                await self.pass_on(argument)
            case "rest":
                for _ in range(argument):
                    await anyio.lowlevel.checkpoint()
            case "hold":
                gate = self.gates[argument]
                if not gate.holds:
                    gate.holds = True
                    self.group.start_soon(gate.hold, self.guests["ac"[argument]])
                    await let_others_run()
            case "release":
                await self.gates[argument].release()
            case "use the loop up":  # guests have had their share of it: what they are asked comes a turn later
                loop_share().seconds = math.inf
            case "events":
                await self.event_of_writer()
                await self.event_of_reader()
            case "cancel read":
                await self.cancel_read()
            case "cancel write":
                await self.cancel_write()
        assert self.received == PATTERN[: len(self.received)]

    async def finish(self) -> None:
        for gate in self.gates:
            await gate.release()
        while not self.at_end:
            await self.event_of_reader()
            await self.event_of_writer()
            await self.end_writing()
            await self.read(5)
            await let_others_run()
        while self.writing:
            await self.event_of_writer()
        assert bytes(self.received) == PATTERN[: self.num_sent]
        assert self.num_sent == 1 or self.kind == "stream"
        if self.holder == HOST:
            self.readable.close()
        else:
            await self.call(self.holder, "drop-readable", self.readable)
        self.receive.close()
        self.send.close()


class Gate:
    """What the guests of one store call to be held, until `release`."""

    def __init__(self) -> None:
        self.holds = False
        self.opened = anyio.Event()
        self.left = anyio.Event()

    async def pass_through(self) -> int:
        await self.opened.wait()
        return 0

    async def hold(self, guest: Any) -> None:
        await guest.hold()
        self.left.set()

    async def release(self) -> None:
        if self.holds:
            self.opened.set()
            await self.left.wait()
            self.holds = False
            self.opened, self.left = anyio.Event(), anyio.Event()


async def play(kind: str, writer: str, to: str, script: list[tuple[str, Any]]) -> None:
    gates = [Gate(), Gate()]
    with anyio.fail_after(10):
        async with (
            two_stream_guests().instantiate({"gate": gates[0].pass_through}) as two,
            stream_guest().instantiate({"gate": gates[1].pass_through}) as one,
            anyio.create_task_group() as group,
        ):
            guests = {"a": two.exports.a, "b": two.exports.b, "c": one.exports}
            run = Play(kind, writer, group, guests, gates)
            await run.open(to)
            for operation, argument in script:
                await run.do(operation, argument)
            await run.finish()


readers = st.sampled_from([HOST, *GUESTS])
reproducible = settings(max_examples=150, deadline=None, derandomize=True)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@reproducible
@given(
    writer=st.sampled_from(["a", "c", "iterable", "object stream", "byte stream", "bytes"]), to=readers, script=scripts
)
def test_no_byte_of_a_stream_is_lost_or_doubled(
    backend: str, writer: str, to: str, script: list[tuple[str, Any]]
) -> None:
    anyio.run(play, "stream", writer, to, script, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@reproducible
@given(writer=st.sampled_from(["a", "c", "awaitable"]), to=readers, script=scripts)
def test_the_value_of_a_future_arrives_once(backend: str, writer: str, to: str, script: list[tuple[str, Any]]) -> None:
    anyio.run(play, "future", writer, to, script, backend=backend)

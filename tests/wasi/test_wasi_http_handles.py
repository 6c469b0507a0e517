"""A guest's HTTP exchanges over real connections, to servers of all kinds: whatever it sends, cancels and drops, in
whichever order, it is told what becomes of it or nothing at all, and nothing is left."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from guest_text import let_others_run, load
from http_handles_guest import CASES, REMOTE
from http_servers import (
    SECONDS,
    Script,
    ServedConnection,
    Server,
    all_closed,
    loopback,
    serving,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from p3host import Instance, Wasi
from p3host.wasi.http_transport import loop_tasks

EXAMPLES = int(os.environ.get("P3HOST_EXAMPLES", "40"))
MOST_EXCHANGES = 3
BLOCKED, DROPPED, CANCELLED = 0xFFFFFFFF, 1, 2
RETURNED, CANCELLED_BEFORE_STARTED, CANCELLED_BEFORE_RETURNED = 2, 3, 4
BUFFER, SIZE = 131072, 5000
SLOTS, SLOT = 8192, 64

# Servers

HEAD = b"HTTP/1.1 200 OK\r\n"


async def quick(connection: ServedConnection) -> None:
    """Answers without having read the body."""
    while (await connection.read_request()).method == b"GET":
        await connection.send(HEAD + b"content-length: 3\r\n\r\nabc")
    await connection.send(HEAD + b"content-length: 3\r\n\r\nabc")


async def early(connection: ServedConnection) -> None:
    """Answers without having read the body, but waits for it."""
    await connection.read_request()
    await connection.send(HEAD + b"content-length: 3\r\n\r\nabc")
    await connection.read_to_the_end()


async def patient(connection: ServedConnection) -> None:
    while True:
        if (await connection.read_request()).method == b"POST":
            await connection.read_until(b"0\r\n\r\n")
        await connection.send(HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n")


async def slow(connection: ServedConnection) -> None:
    await connection.read_request()
    for byte in HEAD + b"content-length: 3\r\n\r\nabc":
        await connection.send(bytes([byte]))
        await anyio.lowlevel.checkpoint()


async def large(connection: ServedConnection) -> None:
    await connection.read_request()
    await connection.send(HEAD + b"content-length: 3000000\r\n\r\n" + bytes(3_000_000))


async def endless(connection: ServedConnection) -> None:
    await connection.read_request()
    await connection.send(HEAD + b"transfer-encoding: chunked\r\n\r\n")
    while True:
        await connection.send(b"1\r\na\r\n" * 100)


async def silent(connection: ServedConnection) -> None:
    await connection.read_to_the_end()


async def silent_in_its_body(connection: ServedConnection) -> None:
    await connection.read_request()
    await connection.send(HEAD + b"content-length: 5\r\n\r\nab")
    await connection.read_to_the_end()


async def broken(connection: ServedConnection) -> None:
    await connection.read_request()
    await connection.send(HEAD + b"content-length: 5\r\n\r\nab")
    await connection.reset()


async def deaf(connection: ServedConnection) -> None:
    await connection.reset()


async def malformed(connection: ServedConnection) -> None:
    await connection.read_request()
    await connection.send(HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\nx\r\n")
    await connection.read_to_the_end()


SCRIPTS = (quick, early, patient, slow, large, endless, silent, silent_in_its_body, broken, deaf, malformed)


def one_after_the_other(scripts: list[Script]) -> Script:
    """Each connection has the next of them."""

    async def script(connection: ServedConnection) -> None:
        await scripts[(connection.server.connections - 1) % len(scripts)](connection)

    return script


# What a guest has

Action = tuple[str, Callable[[], Awaitable[None]]]


@dataclass(eq=False)
class End:
    """An end of a stream or future. `at` is where a future's value comes to."""

    name: str  # contents, trailers or sent
    writes: bool
    handle: int
    at: int = 0
    copying: bool = False
    is_done: bool = False  # its value was copied, or the other end is gone: it can only be dropped

    @property
    def direction(self) -> str:
        return "write" if self.writes else "read"


@dataclass(eq=False)
class Call:
    handle: int
    at: int
    is_cancelled: bool = False


@dataclass
class Guest:
    instance: Instance
    authority: str
    waitable_set: int = 0
    requests: list[int] = field(default_factory=list)
    responses: list[int] = field(default_factory=list)
    fields: list[int] = field(default_factory=list)
    calls: dict[int, Call] = field(default_factory=dict)
    ends: dict[int, End] = field(default_factory=dict)
    begun: int = 0
    next_slot: int = SLOTS
    told: set[str] = field(default_factory=set)

    async def do(self, name: str, *arguments: int) -> int:
        result: int = await getattr(self.instance.exports, name)(*arguments)
        return result

    def slot(self) -> int:
        self.next_slot += SLOT
        return self.next_slot

    async def load(self, address: int) -> int:
        return await self.do("load", address)

    # Actions

    def actions(self) -> Iterator[Action]:
        """All that may be done without a trap."""
        yield "turn", anyio.lowlevel.checkpoint
        yield "while", self.wait_a_while
        yield "poll", self.poll
        if self.begun < MOST_EXCHANGES:
            yield "get", lambda: self.new_request(has_body=False)
            yield "post", lambda: self.new_request(has_body=True)
        for request in self.requests:
            yield "send", lambda request=request: self.send(request)  # type: ignore[misc]
            yield "drop request", lambda request=request: self.drop(self.requests, "request_drop", request)  # type: ignore[misc]
        for call in self.calls.values():
            if not call.is_cancelled:
                yield "cancel call", lambda call=call: self.cancel_call(call)  # type: ignore[misc]
        for response in self.responses:
            yield "consume", lambda response=response: self.consume(response)  # type: ignore[misc]
            yield "drop response", lambda response=response: self.drop(self.responses, "response_drop", response)  # type: ignore[misc]
        for end in self.ends.values():
            yield from self.actions_of(end)

    def actions_of(self, end: End) -> Iterator[Action]:
        of = f"{end.name} {end.direction}"
        if end.copying:
            yield f"cancel {of}", lambda: self.cancel_copy(end)
            return
        if not end.is_done:
            yield of, lambda: self.copy(end)
        if end.is_done or not end.writes or end.name == "contents":
            yield f"drop {of}", lambda: self.drop_end(end)

    async def wait_a_while(self) -> None:
        await anyio.sleep(0.002)
        await self.poll()

    async def new_request(self, has_body: bool) -> None:
        self.begun += 1
        slot = self.slot()
        contents = await self.new_stream("contents") if has_body else 0
        trailers = await self.new_stream("trailers")
        await self.do("request_new", await self.do("fields_new"), int(has_body), contents, trailers, 0, 0, slot)
        request = await self.load(slot)
        await self.add(End("sent", False, await self.load(slot + 4), self.slot()))
        text = await self.instance.exports.text(self.authority)
        assert await self.do("set_authority", request, 1, text, len(self.authority)) == 0
        assert await self.do("set_scheme", request, 1, 0, 0, 0) == 0
        if has_body:
            assert await self.do("set_method", request, 2, 0, 0) == 0
        self.requests.append(request)

    async def new_stream(self, name: str) -> int:
        """Keeps the writable end, and returns the readable one."""
        both = await self.do(f"{name}_new")
        await self.add(End(name, True, both >> 32, self.slot()))
        return both & 0xFFFFFFFF

    async def add(self, end: End) -> None:
        self.ends[end.handle] = end
        await self.do("clear", end.at, SLOT)
        await self.do("join", end.handle, self.waitable_set)

    async def send(self, request: int) -> None:
        self.requests.remove(request)
        at = self.slot()
        status = await self.do("send", request, at)
        if status & 0xF == RETURNED:
            await self.take_response(at)
            return
        call = Call(status >> 4, at)
        self.calls[call.handle] = call
        await self.do("join", call.handle, self.waitable_set)

    async def cancel_call(self, call: Call) -> None:
        call.is_cancelled = True
        state = await self.do("subtask_cancel", call.handle)
        if state != BLOCKED:
            await self.call_ended(call, state)

    async def call_ended(self, call: Call, state: int) -> None:
        assert state == RETURNED or call.is_cancelled
        await self.do("subtask_drop", call.handle)
        del self.calls[call.handle]
        if state == RETURNED:
            await self.take_response(call.at)

    async def take_response(self, at: int) -> None:
        if await self.load(at) & 0xFF:
            await self.take_error(at + 8)
        else:
            self.responses.append(await self.load(at + 8))

    async def take_error(self, at: int) -> None:
        case = await self.load(at) & 0xFF
        self.told.add(CASES[case].split('"')[1])

    async def consume(self, response: int) -> None:
        self.responses.remove(response)
        slot = self.slot()
        await self.do("consume_body", response, await self.new_stream("sent"), slot)
        await self.add(End("contents", False, await self.load(slot)))
        await self.add(End("trailers", False, await self.load(slot + 4), self.slot()))

    async def drop(self, handles: list[int], how: str, handle: int) -> None:
        handles.remove(handle)
        await self.do(how, handle)

    async def drop_end(self, end: End) -> None:
        del self.ends[end.handle]
        await self.do(f"{end.name}_drop_{'writable' if end.writes else 'readable'}", end.handle)

    async def copy(self, end: End) -> None:
        arguments = (BUFFER, SIZE) if end.name == "contents" else (end.at,)
        end.copying = True
        packed = await self.do(f"{end.name}_{end.direction}", end.handle, *arguments)
        if packed != BLOCKED:
            await self.copied(end, packed)

    async def cancel_copy(self, end: End) -> None:
        packed = await self.do(f"{end.name}_cancel_{end.direction}", end.handle)
        if packed != BLOCKED:
            await self.copied(end, packed)
        else:
            end.is_done = True  # for now: it can't be cancelled twice
            await self.poll_for(end)

    async def poll_for(self, end: End) -> None:
        with anyio.fail_after(SECONDS):
            while end.copying:
                await anyio.lowlevel.checkpoint()
                await self.poll()

    async def copied(self, end: End, packed: int) -> None:
        result = packed & 0xF
        end.copying = False
        end.is_done = result == DROPPED or (end.name != "contents" and result != CANCELLED)
        if end.name != "contents" and not end.writes and result == 0:
            await self.take_value(end)

    async def take_value(self, end: End) -> None:
        if await self.load(end.at) & 0xFF:
            await self.take_error(end.at + 8)
        elif end.name == "trailers" and await self.load(end.at + 8) & 0xFF:
            self.fields.append(await self.load(end.at + 12))

    async def poll(self) -> None:
        event = await self.do("set_poll", self.waitable_set, SLOTS)
        if event == 0:
            return
        handle, payload = await self.load(SLOTS), await self.load(SLOTS + 4)
        if handle in self.ends:
            await self.copied(self.ends[handle], payload)
        elif payload >= RETURNED:
            await self.call_ended(self.calls[handle], payload)

    # The end

    async def drop_all(self, random: Random) -> None:
        """Cancels and drops all that can be, in any order, until nothing is left but the futures that tell what became
        of requests. Those come to an end then."""
        with anyio.fail_after(SECONDS):
            while True:
                ending = [
                    do
                    for name, do in self.actions()
                    if name.startswith(("cancel", "drop")) and name not in ("cancel sent read", "drop sent read")
                ]
                if not ending and not self.calls and not self.ends:
                    break
                if ending:
                    await random.choice(ending)()
                else:  # writable ends of futures have to be written before, calls to unwind
                    for end in [end for end in self.ends.values() if not end.copying]:
                        await (self.drop_end if end.is_done else self.copy)(end)
                    await anyio.lowlevel.checkpoint()
                await self.poll()
        for handle in self.fields:
            await self.do("fields_drop", handle)


def tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        import trio

        return trio.lowlevel.current_statistics().tasks_living


async def scenario(scripts: list[Script], choices: list[int], drops: bool, seed: int) -> set[str]:
    http = loopback()
    async with serving(one_after_the_other(scripts)) as server:
        await let_others_run()  # the server listens then
        before = tasks()
        async with load(REMOTE).instantiate(wasi=Wasi(http=http)) as instance:
            guest = Guest(instance, server.authority)
            guest.waitable_set = await guest.do("set_new")
            for choice in choices:
                actions = list(guest.actions())
                await actions[choice % len(actions)][1]()
            if drops:
                await guest.drop_all(Random(seed))
                with anyio.fail_after(SECONDS):
                    while instance.driver.host_tasks:
                        await anyio.lowlevel.checkpoint()
        await everything_ends(http, server)
        with anyio.fail_after(SECONDS):
            while tasks() > before:
                await anyio.lowlevel.checkpoint()
    return guest.told


async def everything_ends(http: Any, server: Server) -> None:
    await http.aclose()
    await all_closed(http)
    await server.all_closed()
    with anyio.fail_after(SECONDS):
        while loop_tasks.running:
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=EXAMPLES, deadline=None, database=None)
@given(
    scripts=st.lists(st.sampled_from(SCRIPTS), min_size=1, max_size=3),
    choices=st.lists(st.integers(0, 1 << 16), min_size=15, max_size=60),
    drops=st.booleans(),
    seed=st.integers(0, 1 << 16),
)
def test_whatever_a_guest_drops_and_cancels_nothing_is_left(
    backend: str, scripts: list[Script], choices: list[int], drops: bool, seed: int
) -> None:
    anyio.run(scenario, scripts, choices, drops, seed, backend=backend)

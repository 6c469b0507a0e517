"""Two guests and the host with the ends that they hold: what they can do, and the check of what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from runtime_fakes import U8, U32, Core, FakeMemory, Guest, HostImport, World, end_kind, tick
from stream_model import Channel, End, State

from p3host.runtime import canon
from p3host.runtime.choice import Choice
from p3host.runtime.resource import Resource, ResourceHandle
from p3host.runtime.stream import BLOCKED, CopyResult, CopyState, Reclaim, Shared, SharedFuture, SharedStream
from p3host.runtime.waitable import EventCode, WaitableSet
from p3host.types import FutureType, OwnType, PrimitiveType, StreamType, TupleType, ValType

STRING = PrimitiveType.STRING
HOST = "host"
GUESTS = ("A", "B")
EVENT = 64  # where in a guest's memory events are stored
REGION = 256  # the size of an end's part of it: elements, from the middle on their strings
FIRST_REGION, ALLOCATED, MEMORY = 4096, 1 << 16, 1 << 17
UNTOUCHED = 0xEE
STATES = {State.IDLE: CopyState.IDLE, State.COPYING: CopyState.COPYING, State.DONE: CopyState.DONE}
CODES = {
    (False, True): EventCode.STREAM_READ,
    (False, False): EventCode.STREAM_WRITE,
    (True, True): EventCode.FUTURE_READ,
    (True, False): EventCode.FUTURE_WRITE,
}

ELEMENTS: dict[str, tuple[ValType | None, str]] = {
    "none": (None, ""),
    "u8": (U8, "b"),
    "u32": (U32, "i"),
    "string": (STRING, "s"),
    "tuple<u8, u32>": (TupleType((U8, U32)), "bi"),
    "tuple<u8, string>": (TupleType((U8, STRING)), "bs"),
    "own": (None, "r"),  # of a resource type that each run makes
}
"""Of each type its fields: b for a byte, i for an i32, s for a string, r for a handle."""
SIZES = {"": 0, "b": 1, "i": 4, "s": 8, "bi": 8, "bs": 12, "r": 4}
NUMBERS = ("none", "u8", "u32")


class HostEnd:
    """The host's end of a channel. Told of a copy, it takes its buffer back at once if it is `eager`, else later."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.eager = True
        self.buffer: HostBuffer | None = None
        self.result: CopyResult | None = None
        self.reclaim: Reclaim | None = None

    def on_copy(self, reclaim: Reclaim) -> None:
        assert self.result is None or self.reclaim is not None, "a copy after its outcome"
        self.result = CopyResult.COMPLETED
        self.reclaim = reclaim
        if self.eager:
            self.take_back()

    def on_copy_done(self, result: CopyResult) -> None:
        assert self.result is None or self.reclaim is not None, "two outcomes of one copy"
        self.result = result
        self.reclaim = None

    def take_back(self) -> None:
        reclaim, self.reclaim = self.reclaim, None
        if reclaim is not None:
            reclaim()


class HostBuffer:
    """A host's buffer: `values` to be written from it, or room for `length` that are read into it."""

    def __init__(self, length: int, values: list[Any] | None, elem_type: ValType | None) -> None:
        self.length = length
        self.values = values if values is not None else []
        self.elem_type = elem_type
        self.progress = 0

    @property
    def remain(self) -> int:
        return self.length - self.progress

    @property
    def is_zero_length(self) -> bool:
        return self.length == 0

    def read(self, count: int) -> Any:
        values = self.values[self.progress : self.progress + count]
        self.progress += count
        if self.elem_type is None:
            return count
        return bytes(values) if self.elem_type is U8 else values

    def write(self, values: Any, count: int) -> None:
        self.progress += count
        self.values += [None] * count if self.elem_type is None else values


class StreamWorld:
    """`sound` is false from the start of a step until it was checked."""

    def open(self, seed: int) -> None:
        self.random = Random(seed)
        self.world = World(self.choose)
        self.guests = {name: self.world.guest(name) for name in GUESTS}
        for guest in self.guests.values():
            guest.memory = FakeMemory(MEMORY)
            guest.allocated = ALLOCATED
        self.resource, static = self.world.guest("owner").resource()
        self.own = OwnType(static)
        self.channels: list[Channel] = []
        self.indices: dict[End, int] = {}  # of the ends that guests hold
        self.regions: dict[End, int] = {}  # where their buffers are
        self.host_ends: dict[End, HostEnd] = {}
        self.sets: dict[str, list[int]] = {name: [] for name in GUESTS}
        # of resources, with what they stand for
        self.handles: dict[str, dict[int, int]] = {name: {} for name in GUESTS}
        self.offered: dict[End, list[int]] = {}  # the handles in a writer's buffer
        self.num_noted: dict[End, int] = {}  # how many of them the model knows to have changed hands
        self.sync_copies: dict[End, list[Any]] = {}  # the answers of those that threads wait for
        self.waits: dict[tuple[str, int], list[list[Any]]] = {}  # the answers of the waits for each set
        self.num_regions = 0
        self.sound = True
        for name in GUESTS:
            self.make_set(name)

    # Elements

    def choose(self, choice: Choice, options: Sequence[object]) -> int:
        """Any order; a copy moves all that it can, as the model has it."""
        return 0 if choice is Choice.AMOUNT else self.random.randrange(len(options))

    def type_of(self, channel: Channel) -> StreamType | FutureType:
        elem_type = self.own if channel.element == "own" else ELEMENTS[channel.element][0]
        return FutureType(elem_type) if channel.is_future else StreamType(elem_type)

    def fields(self, channel: Channel, number: int) -> list[Any]:
        made = {"b": number % 251, "i": number * 1_000_003, "s": f"text {number}", "r": number}
        return [made[field] for field in ELEMENTS[channel.element][1]]

    def store(self, guest: Guest, end: End, numbers: range) -> None:
        """Puts the elements with these numbers in the end's region of the guest's memory."""
        memory, at = guest.memory.data, self.regions[end]
        text_at = at + REGION // 2
        for number in numbers:
            for field in self.fields(end.channel, number):
                if end.channel.element == "own":
                    field = canon.canon_resource_new(guest.inst, self.resource, field)
                    self.handles[end.holder][field] = number
                    self.offered[end].append(field)
                if isinstance(field, str):
                    memory[text_at : text_at + len(field)] = field.encode()
                    memory[at : at + 8] = text_at.to_bytes(4, "little") + len(field).to_bytes(4, "little")
                    text_at += len(field)
                    at += 8
                else:
                    memory[at : at + 4] = field.to_bytes(4, "little")
                    at += 1 if end.channel.element == "u8" else 4

    def load(self, guest: Guest, channel: Channel, at: int) -> list[Any]:
        """The fields of the element at an address."""
        memory, fields = guest.memory, []
        for kind in ELEMENTS[channel.element][1]:
            if kind == "s":
                start, length = memory.u32(at), memory.u32(at + 4)
                fields.append(memory.data[start : start + length].decode())
                at += 8
            else:
                fields.append(memory.data[at] if kind == "b" else memory.u32(at))
                at += 4
        return fields

    def host_value(self, channel: Channel, number: int) -> Any:
        fields = self.fields(channel, number)
        if channel.element == "own":
            return Resource(self.resource, number, own=True)
        return None if not fields else fields[0] if len(fields) == 1 else tuple(fields)

    # Built-ins

    def begin(self, guest: Guest, operation: Callable[[], Any]) -> list[Any]:
        """Runs a built-in in a task of a guest. The list that this returns holds its answer as soon as there is one."""
        answers: list[Any] = []

        def body() -> Core:
            answers.append((yield operation))
            yield guest.task_return()

        self.sound = False
        self.world.call(guest.lift(body))
        return answers

    def perform(self, guest: Guest, operation: Callable[[], Any]) -> Any:
        """Runs a built-in that answers at once."""
        answers = self.begin(guest, operation)
        assert self.world.store.trap is None, self.world.store.trap
        (answer,) = answers
        return answer

    # Ends and their copies

    def make(self, holder: str, reader: str, element: str, is_future: bool) -> None:
        channel = Channel(element, is_future, element in NUMBERS, holder, holder)
        self.add(channel)
        t = self.type_of(channel)
        if holder == HOST:
            shared = SharedFuture(t.elem_type) if is_future else SharedStream(t.elem_type)
            self.host_ends |= {channel.reader: HostEnd(shared), channel.writer: HostEnd(shared)}
        else:
            readable, writable = self.perform(self.guests[holder], self.guests[holder].new(t))
            self.indices |= {channel.reader: readable, channel.writer: writable}
        if reader != holder:
            self.move(channel.reader, reader)

    def add(self, channel: Channel) -> None:
        self.channels.append(channel)
        for end in (channel.reader, channel.writer):
            self.regions[end] = FIRST_REGION + self.num_regions * REGION
            self.num_regions += 1
            self.offered[end] = []
            self.num_noted[end] = 0

    def copy(self, end: End, size: int, is_sync: bool, eager: bool) -> None:
        size = 1 if end.channel.is_future else size
        if end.problem_of_copy(is_sync) is not None:
            return
        if end.holder == HOST:
            self.copy_of_host(end, size, eager)
        else:
            self.copy_of_guest(end, size, is_sync)

    def copy_of_guest(self, end: End, size: int, is_sync: bool) -> None:
        guest, channel, at = self.guests[end.holder], end.channel, self.regions[end]
        guest.memory.data[at : at + REGION] = bytes([UNTOUCHED]) * REGION
        if not end.reads:
            self.store(guest, end, range(channel.num_copied, channel.num_copied + size))
        copy = guest.read if end.reads else guest.write
        answers = self.begin(guest, copy(self.type_of(channel), self.indices[end], at, size, is_async=not is_sync))
        end.start(size, is_sync)
        assert end.copy is not None
        if end.copy.result is None and is_sync:
            assert answers == []
            self.sync_copies[end] = answers
        elif end.copy.result is None:
            assert answers == [BLOCKED]
        else:
            assert answers == [self.finish(end)]

    def copy_of_host(self, end: End, size: int, eager: bool) -> None:
        host, channel = self.host_ends[end], end.channel
        values = None
        if not end.reads:
            values = [self.host_value(channel, channel.num_copied + position) for position in range(size)]
        buffer = host.buffer = HostBuffer(size, values, self.type_of(channel).elem_type)
        host.result, host.eager = None, eager
        copy = host.shared.read if end.reads else host.shared.write
        self.sound = False
        tick(self.world.store, lambda: copy(None, buffer, host.on_copy, host.on_copy_done))
        end.start(size, False)
        assert end.copy is not None
        if end.copy.result is not None:
            self.look(end)

    def look(self, end: End, cancelled: bool = False) -> None:
        """The host takes note of what has become of its copy."""
        host, channel = self.host_ends[end], end.channel
        buffer, result = host.buffer, host.result
        assert buffer is not None
        assert result is not None
        host.take_back()
        assert end.copy is not None
        assert result == (CopyResult.CANCELLED if end.copy.result is None and cancelled else end.copy.result)
        _, moved = end.finish(cancelled)
        assert buffer.progress == len(moved)
        if end.reads:
            assert [of_host(value) for value in buffer.values] == [
                of_host(self.host_value(channel, number)) for number in moved
            ]
        host.buffer = None

    def finish(self, end: End, cancelled: bool = False) -> int:
        """The end of a guest's copy: checks what it has moved, and gives what the built-in or the event has to say."""
        guest, channel, at = self.guests[end.holder], end.channel, self.regions[end]
        result, moved = end.finish(cancelled)
        size = SIZES[ELEMENTS[channel.element][1]]
        self.note_moved(end, moved)
        if end.reads:
            for position, number in enumerate(moved):
                fields = self.load(guest, channel, at + position * size)
                if channel.element == "own":
                    handle = guest.inst.handles.get(fields[0])
                    assert isinstance(handle, ResourceHandle)
                    fields = [handle.rep]
                assert fields == self.fields(channel, number)
            rest = guest.memory.data[at + len(moved) * size : at + REGION]
            assert rest == bytes([UNTOUCHED]) * len(rest)
        else:
            for handle_index in self.offered[end][len(moved) :]:
                self.perform(guest, guest.resource_drop(self.resource, handle_index))
                del self.handles[end.holder][handle_index]
            self.offered[end].clear()
        self.num_noted[end] = 0
        guest.memory.data[at : at + REGION] = bytes([UNTOUCHED]) * REGION
        return result if channel.is_future else result | len(moved) << 4

    def note_moved(self, end: End, moved: list[int]) -> None:
        """Resources change hands when they are copied, before anybody is told."""
        if end.channel.element == "own":
            handles = self.handles[end.holder]
            for position in range(self.num_noted[end], len(moved)):
                if end.reads:
                    at = self.regions[end] + 4 * position
                    handles[self.guests[end.holder].memory.u32(at)] = moved[position]
                else:
                    del handles[self.offered[end][position]]
            self.num_noted[end] = len(moved)

    def cancel_copy(self, end: End, is_sync: bool) -> None:
        if end.holder == HOST:
            self.cancel_of_host(end)
        else:
            self.cancel_of_guest(end, is_sync)

    def cancel_of_guest(self, end: End, is_sync: bool) -> None:
        guest = self.guests[end.holder]
        cancel = guest.cancel_read if end.reads else guest.cancel_write
        answer = self.perform(guest, cancel(self.type_of(end.channel), self.indices[end], is_async=not is_sync))
        assert answer == self.finish(end, cancelled=True)

    def cancel_of_host(self, end: End) -> None:
        assert end.copy is not None
        if end.copy.result is None:
            tick(self.world.store, self.host_ends[end].shared.cancel)
        self.look(end, cancelled=True)

    def drop_end(self, end: End) -> None:
        if end.holder == HOST:
            self.sound = False
            tick(self.world.store, self.host_ends.pop(end).shared.drop)
        else:
            guest, index = self.guests[end.holder], self.indices[end]
            drop = guest.drop_readable if end.reads else guest.drop_writable
            self.perform(guest, drop(self.type_of(end.channel), index))
            del self.indices[end]
        end.drop()

    # Waitable sets

    def make_set(self, name: str) -> None:
        self.sets[name].append(self.perform(self.guests[name], self.guests[name].set_new()))

    def join_set(self, end: End, set_index: int) -> None:
        guest = self.guests[end.holder]
        self.perform(guest, guest.join(self.indices[end], set_index))
        end.in_set = set_index

    def members(self, name: str, set_index: int) -> list[End]:
        ends = [end for channel in self.channels for end in channel.ends]
        return [end for end in ends if end.holder == name and end.in_set == set_index]

    def problem_of_set_drop(self, name: str, set_index: int) -> str | None:
        if self.members(name, set_index):
            return "cannot drop a waitable set that still has members"
        if self.waits.get((name, set_index)):
            return "cannot drop a waitable set that a thread waits for"
        return None

    def owes_event(self, name: str, set_index: int) -> bool:
        return any(end.copy is not None and end.copy.result is not None for end in self.members(name, set_index))

    def take_event(self, name: str, set_index: int, event: tuple[int, int, int]) -> None:
        """Checks an event that a guest was given: one that was owed to a member of the set, and no longer is."""
        (end,) = [end for end in self.members(name, set_index) if self.indices[end] == event[1]]
        assert end.copy is not None
        assert end.copy.result is not None
        assert event == (CODES[end.channel.is_future, end.reads], self.indices[end], self.finish(end))

    def poll_set(self, name: str, set_index: int) -> None:
        guest = self.guests[name]
        owed = self.owes_event(name, set_index)
        code = self.perform(guest, guest.set_poll(set_index, EVENT))
        event = code, guest.memory.u32(EVENT), guest.memory.u32(EVENT + 4)
        if owed:
            self.take_event(name, set_index, event)
        else:
            assert event == (EventCode.NONE, 0, 0)

    def wait_for_set(self, name: str, set_index: int) -> None:
        """A thread of a guest waits until a member of the set has an event."""
        guest = self.guests[name]
        events: list[Any] = []

        def body() -> Core:
            code = yield guest.set_wait(set_index, EVENT)
            events.append((code, guest.memory.u32(EVENT), guest.memory.u32(EVENT + 4)))
            yield guest.task_return()

        self.sound = False
        self.waits.setdefault((name, set_index), []).append(events)
        self.world.call(guest.lift(body))

    # Passing on

    def move(self, end: End, to: str) -> None:
        """The readable end goes to another guest, to the host, or by way of the host to where it was."""
        self.sound = False
        if HOST not in (end.holder, to) and end.holder != to:
            self.pass_to_guest(end, to)
            return
        if end.holder != HOST:
            self.pass_to_host(end)
        if to != HOST:
            self.give(to, end, self.host_ends.pop(end).shared)

    def pass_to_host(self, end: End) -> None:
        guest, t = self.guests[end.holder], self.type_of(end.channel)
        taker = HostImport(self.world.store, answer=1)
        self.perform(guest, guest.lower(taker, (t,), U32)(self.indices.pop(end)))
        ((shared,),) = taker.args
        self.host_ends[end] = HostEnd(shared)
        end.holder = HOST

    def pass_to_guest(self, end: End, to: str) -> None:
        source, taker, t = self.guests[end.holder], self.guests[to], self.type_of(end.channel)
        taken: list[int] = []
        self.perform(source, source.lower(taker.lift(takes(taker, taken), (t,)), (t,))(self.indices[end]))
        (self.indices[end],) = taken
        end.holder = to

    def give(self, to: str, end: End, shared: Shared) -> None:
        """The host calls a guest with a readable end."""
        guest, t = self.guests[to], self.type_of(end.channel)
        taken: list[int] = []
        self.world.call(guest.lift(takes(guest, taken), (t,)), shared)
        (self.indices[end],) = taken
        end.holder = to

    # The checks

    def agree(self) -> None:
        """After each step: what has become of it, and all that can be seen of the runtime."""
        assert self.world.store.trap is None, self.world.store.trap
        self.settle()
        for name, guest in self.guests.items():
            expected: dict[int, object] = dict.fromkeys(self.sets[name], WaitableSet)
            expected |= self.handles[name]
            for end, index in self.indices.items():
                if end.holder == name:
                    expected[index] = end_kind(end.reads, self.type_of(end.channel))
            found = {index: entry for index, entry in enumerate(guest.inst.handles.array) if entry is not None}
            assert expected == {
                index: entry.rep if isinstance(entry, ResourceHandle) else type(entry) for index, entry in found.items()
            }
        for channel in self.channels:
            for end in channel.ends:
                if end.holder != HOST:
                    self.check_end(end)
            assert channel.received == list(range(len(channel.received)))
        self.channels = [channel for channel in self.channels if channel.ends]
        self.sound = True

    def settle(self) -> None:
        """What threads that were waiting have done by now, and the host where it is eager."""
        for end in self.indices:
            if end.copy is not None:
                self.note_moved(end, end.copy.moved)
        for end, answers in list(self.sync_copies.items()):
            assert end.copy is not None
            if end.copy.result is None:
                assert answers == []
            else:
                assert answers == [self.finish(end)]
                del self.sync_copies[end]
        for (name, set_index), waits in self.waits.items():
            for events in [events for events in waits if events]:
                (event,) = events
                self.take_event(name, set_index, event)
                waits.remove(events)
            assert not waits or not self.owes_event(name, set_index)
        for end, host in self.host_ends.items():
            if host.eager and end.copy is not None and end.copy.result is not None:
                self.look(end)

    def check_end(self, end: End) -> None:
        guest = self.guests[end.holder]
        entry = guest.inst.handles.get(self.indices[end])
        assert isinstance(entry, canon.CopyEnd)
        assert entry.state is STATES[end.state]
        assert (entry.waitable_set is guest.inst.handles.get(end.in_set)) if end.in_set else not entry.waitable_set
        assert (entry.pending_event is not None) == (end.copy is not None and end.copy.result is not None)
        assert (entry.sync_waiter is not None) == end.waits
        if end.copy is None:
            region = self.regions[end]
            rest = guest.memory.data[region : region + REGION]
            assert rest in (bytes(REGION), bytes([UNTOUCHED]) * REGION), "written to after the end of a copy"
        shared = entry.shared
        assert isinstance(shared, SharedStream | SharedFuture)
        offers = [end for end in end.channel.ends if end.copy is not None and end.copy.offered]
        assert len(offers) <= 1
        assert (shared.pending_buffer is not None) == bool(offers)


def takes(guest: Guest, taken: list[int]) -> Callable[[int], Core]:
    """The body of a function of a guest that takes a readable end."""

    def take(index: int) -> Core:
        taken.append(index)
        yield guest.task_return()

    return take


def of_host(value: Any) -> Any:
    """A value that can be compared."""
    return value.rep if isinstance(value, Resource) else value

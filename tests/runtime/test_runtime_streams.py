"""Streams and futures: (state, operation, outcome) (CanonicalABI.md, "Stream State", "Future State")."""

from __future__ import annotations

from typing import Any

import pytest
from runtime_fakes import ABI, BYTE, BYTES, U8, U32, Core, FakeMemory, Guest, World

from p3host.errors import Trap
from p3host.runtime import canon
from p3host.runtime.copying import element_codec
from p3host.runtime.stream import (
    BLOCKED,
    MAX_BUFFER_LENGTH,
    CopyState,
    GuestBuffer,
    ReadableFutureEnd,
    ReadableStreamEnd,
    WritableStreamEnd,
)
from p3host.types import FutureType, OwnType, PrimitiveType, RecordType, StreamType

COMPLETED, DROPPED, CANCELLED = range(3)
SOURCE, TARGET, EVENT = 64, 128, 256


@pytest.fixture
def world() -> World:
    return World()


def packed(result: int, count: int) -> int:
    return result | count << 4


class Pair:
    """Both ends of a stream or future in one guest, and the operations that the tables name."""

    def __init__(self, guest: Guest, t: StreamType | FutureType) -> None:
        self.guest = guest
        self.t = t
        self.readable, self.writable = guest.new(t)()
        guest.memory.data[SOURCE : SOURCE + 16] = bytes(range(1, 17))

    def do(self, operation: str) -> Any:
        """r4: read four; w4: write four; er, ew: the event of the reader, the writer; xr, xw: cancel; dr, dw: drop."""
        guest, t = self.guest, self.t
        kind, reads = operation[0], operation[1] == "r"
        match kind:
            case "r":
                return guest.read(t, self.readable, TARGET, int(operation[1:]))()
            case "w":
                return guest.write(t, self.writable, SOURCE, int(operation[1:]))()
            case "x":
                return (guest.cancel_read(t, self.readable) if reads else guest.cancel_write(t, self.writable))()
            case "d":
                return (guest.drop_readable(t, self.readable) if reads else guest.drop_writable(t, self.writable))()
            case "e":
                return self.event(self.readable if reads else self.writable)
        raise AssertionError(operation)

    def event(self, index: int) -> int | None:
        guest = self.guest
        set_index = guest.set_new()()
        guest.join(index, set_index)()
        end = guest.inst.handles.get(index)
        assert isinstance(end, canon.CopyEnd)
        payload = end.get_pending_event()[2] if end.pending_event is not None else None
        guest.join(index, 0)()
        guest.set_drop(set_index)()
        return payload


def script(*steps: tuple[str, Any]) -> Any:
    return pytest.param(steps, id=" ".join(operation for operation, _ in steps))


def check(world: World, t: StreamType | FutureType, steps: tuple[tuple[str, Any], ...]) -> None:
    pair = Pair(world.guest(), t)
    for operation, outcome in steps:
        if isinstance(outcome, str):
            with pytest.raises(Trap, match=outcome):
                pair.do(operation)
        else:
            assert pair.do(operation) == outcome, operation


IN_PROGRESS = "while another is in progress"
WHILE_COPYING = "while a copy is in progress"
GONE = "after its other end was dropped or it is done"
NO_COPY = "no copy to cancel"


@pytest.mark.parametrize(
    "steps",
    [
        # who comes first waits
        script(("r4", BLOCKED), ("w4", packed(COMPLETED, 4)), ("er", packed(COMPLETED, 4)), ("r4", BLOCKED)),
        script(("w4", BLOCKED), ("r4", packed(COMPLETED, 4)), ("ew", packed(COMPLETED, 4)), ("w4", BLOCKED)),
        # the smaller one counts, and the longer one may be served again before it sees its event
        script(("r8", BLOCKED), ("w3", packed(COMPLETED, 3)), ("w2", packed(COMPLETED, 2)),
               ("er", packed(COMPLETED, 5))),
        script(("w8", BLOCKED), ("r3", packed(COMPLETED, 3)), ("r2", packed(COMPLETED, 2)),
               ("ew", packed(COMPLETED, 5))),
        script(("r2", BLOCKED), ("w4", packed(COMPLETED, 2)), ("er", packed(COMPLETED, 2))),
        script(("r4", BLOCKED), ("w2", packed(COMPLETED, 2)), ("er", packed(COMPLETED, 2)), ("w2", BLOCKED)),
        # one that is full but was not told yet gives way
        script(("r2", BLOCKED), ("w2", packed(COMPLETED, 2)), ("w2", BLOCKED), ("er", packed(COMPLETED, 2))),
        script(("w2", BLOCKED), ("r2", packed(COMPLETED, 2)), ("r2", BLOCKED), ("ew", packed(COMPLETED, 2))),
        # zero-length copies
        script(("r0", BLOCKED), ("w4", BLOCKED), ("er", packed(COMPLETED, 0)), ("r4", packed(COMPLETED, 4))),
        script(("w0", BLOCKED), ("r4", BLOCKED), ("ew", packed(COMPLETED, 0)), ("w4", packed(COMPLETED, 4))),
        script(("r4", BLOCKED), ("w0", packed(COMPLETED, 0)), ("w4", packed(COMPLETED, 4))),
        script(("w4", BLOCKED), ("r0", packed(COMPLETED, 0)), ("r4", packed(COMPLETED, 4))),
        script(("r0", BLOCKED), ("w0", packed(COMPLETED, 0)), ("w0", packed(COMPLETED, 0)), ("er", None)),
        script(("w0", BLOCKED), ("r0", BLOCKED), ("ew", packed(COMPLETED, 0)), ("w0", packed(COMPLETED, 0))),
        # one copy at a time
        script(("r4", BLOCKED), ("r4", IN_PROGRESS)),
        script(("w4", BLOCKED), ("w4", IN_PROGRESS)),
        script(("r4", BLOCKED), ("w4", packed(COMPLETED, 4)), ("r4", IN_PROGRESS)),
        # dropping
        script(("r4", BLOCKED), ("dr", WHILE_COPYING)),
        script(("w4", BLOCKED), ("dw", WHILE_COPYING)),
        script(("r4", BLOCKED), ("dw", None), ("er", packed(DROPPED, 0)), ("r4", GONE), ("dr", None)),
        script(("w4", BLOCKED), ("dr", None), ("ew", packed(DROPPED, 0)), ("w4", GONE), ("dw", None)),
        script(("dw", None), ("r4", packed(DROPPED, 0)), ("r4", GONE), ("dr", None)),
        script(("dr", None), ("w4", packed(DROPPED, 0)), ("w4", GONE), ("dw", None)),
        script(("r4", BLOCKED), ("w2", packed(COMPLETED, 2)), ("dw", None), ("er", packed(DROPPED, 2))),
        script(("r4", BLOCKED), ("w2", packed(COMPLETED, 2)), ("er", packed(COMPLETED, 2)), ("dw", None),
               ("r4", packed(DROPPED, 0))),
        script(("dw", None), ("dr", None)),
        script(("dr", None), ("dr", "unknown handle")),
        # cancelling
        script(("xr", NO_COPY)),
        script(("xw", NO_COPY)),
        script(("r4", BLOCKED), ("xr", packed(CANCELLED, 0)), ("w4", BLOCKED), ("r4", packed(COMPLETED, 4))),
        script(("w4", BLOCKED), ("xw", packed(CANCELLED, 0)), ("r4", BLOCKED), ("w4", packed(COMPLETED, 4))),
        script(("r4", BLOCKED), ("w2", packed(COMPLETED, 2)), ("xr", packed(CANCELLED, 2)), ("xr", NO_COPY)),
        script(("w4", BLOCKED), ("r2", packed(COMPLETED, 2)), ("xw", packed(CANCELLED, 2)), ("w4", BLOCKED)),
        script(("r4", BLOCKED), ("dw", None), ("xr", packed(DROPPED, 0)), ("r4", GONE)),
        script(("r4", BLOCKED), ("w4", packed(COMPLETED, 4)), ("er", packed(COMPLETED, 4)), ("xr", NO_COPY)),
    ],
)  # fmt: skip
def test_streams(world: World, steps: Any) -> None:
    check(world, BYTES, steps)


@pytest.mark.parametrize(
    "steps",
    [
        script(("r1", BLOCKED), ("w1", COMPLETED), ("er", COMPLETED), ("r1", GONE), ("w1", GONE), ("dw", None),
               ("dr", None)),
        script(("w1", BLOCKED), ("r1", COMPLETED), ("ew", COMPLETED), ("dw", None), ("dr", None)),
        script(("r1", BLOCKED), ("xr", CANCELLED), ("w1", BLOCKED), ("r1", COMPLETED)),
        script(("w1", BLOCKED), ("xw", CANCELLED), ("w1", BLOCKED), ("r1", COMPLETED)),
        script(("r1", BLOCKED), ("w1", COMPLETED), ("xr", COMPLETED), ("xr", NO_COPY)),
        script(("w1", BLOCKED), ("dr", None), ("ew", DROPPED), ("dw", None)),
        script(("w1", BLOCKED), ("dr", None), ("xw", DROPPED), ("dw", None)),
        script(("dr", None), ("w1", DROPPED), ("w1", GONE), ("dw", None)),
        script(("dw", "that was not written to")),
        script(("dr", None), ("dw", "that was not written to")),
        script(("w1", BLOCKED), ("dw", WHILE_COPYING)),
        script(("w1", BLOCKED), ("xw", CANCELLED), ("dw", "that was not written to")),
        script(("r1", BLOCKED), ("dr", WHILE_COPYING)),
        script(("r1", BLOCKED), ("w1", COMPLETED), ("dr", WHILE_COPYING)),
    ],
)  # fmt: skip
def test_futures(world: World, steps: Any) -> None:
    check(world, BYTE, steps)


def test_the_bytes_arrive_one_after_the_other(world: World) -> None:
    pair = Pair(world.guest(), BYTES)
    for operation in ("r8", "w3", "w2", "er", "r3", "w3"):
        pair.do(operation)
    assert bytes(pair.guest.memory.data[TARGET : TARGET + 5]) == bytes([1, 2, 3, 1, 2])


@pytest.mark.parametrize("operation", ["read", "write"])
@pytest.mark.parametrize("t", [BYTES, BYTE], ids=["stream", "future"])
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("other end", "is no"),
        ("set", "is no"),
        ("nothing", "unknown handle"),
        ("other type", "another type"),
        ("other instance", "unknown handle"),
    ],
)
def test_copies_through_the_wrong_handle_trap(
    world: World, operation: str, t: StreamType | FutureType, what: str, message: str
) -> None:
    guest = world.guest()
    pair = Pair(guest, t)
    guest.set_new()()
    right = pair.readable if operation == "read" else pair.writable
    wrong = pair.writable if operation == "read" else pair.readable
    other_type = StreamType(U32) if isinstance(t, StreamType) else FutureType(U32)
    caller = world.guest("other") if what == "other instance" else guest
    used = other_type if what == "other type" else t
    index = {"other end": wrong, "set": 3, "nothing": 99}.get(what, right)
    for name in (operation, f"cancel_{operation}", "drop_readable" if operation == "read" else "drop_writable"):
        args = (TARGET, 1) if name == operation else ()
        with pytest.raises(Trap, match=message):
            getattr(caller, name)(used, index, *args)()


# Buffers


@pytest.mark.parametrize(
    ("pointer", "length", "message"),
    [
        (0, MAX_BUFFER_LENGTH + 1, "too long"),
        (2, 1, "not aligned to 4"),
        (2, 0, None),
        (4096, 0, None),
        (4092, 1, None),
        (4092, 2, "out of bounds"),
        (4096, 1, "out of bounds"),
        (0xFFFF_FFFC, 1, "out of bounds"),
        (0, MAX_BUFFER_LENGTH, "out of bounds"),
    ],
)
def test_buffers_are_checked_when_a_copy_starts(world: World, pointer: int, length: int, message: str | None) -> None:
    guest = world.guest()
    if message is None:
        GuestBuffer(element_codec(U32, ABI), guest.options(), pointer, length)
    else:
        with pytest.raises(Trap, match=message):
            GuestBuffer(element_codec(U32, ABI), guest.options(), pointer, length)


def test_a_stream_without_a_type_counts(world: World) -> None:
    pair = Pair(world.guest(), StreamType(None))
    assert pair.do("r1000000") == BLOCKED
    assert pair.do("w7") == packed(COMPLETED, 7)
    assert pair.do("er") == packed(COMPLETED, 7)


def test_a_future_without_a_type_needs_no_memory(world: World) -> None:
    pair = Pair(world.guest(), FutureType(None))
    options = canon.CanonicalOptions(pair.guest.inst, is_async=True)
    codec = element_codec(None, ABI)
    assert canon.copy_async(ReadableFutureEnd, pair.t, codec, options, pair.readable, 0, 1) == BLOCKED
    assert pair.do("w1") == COMPLETED
    assert pair.do("er") == COMPLETED


# Within one instance and between two


@pytest.mark.parametrize(
    ("t", "allowed"),
    [
        (None, True),
        (PrimitiveType.F64, True),
        (PrimitiveType.S16, True),
        (PrimitiveType.BOOL, False),
        (PrimitiveType.CHAR, False),
        (PrimitiveType.STRING, False),
        (RecordType((("a", U8),)), False),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [StreamType, FutureType])
def test_only_numbers_pass_within_one_instance(world: World, kind: Any, t: Any, allowed: bool) -> None:
    pair = Pair(world.guest(), kind(t))
    pair.do("r1")
    if allowed:
        assert pair.do("w1") in (COMPLETED, packed(COMPLETED, 1))
    else:
        with pytest.raises(Trap, match="unless its values are numbers"):
            pair.do("w1")


def give_readable(source: Guest, index: int, target: Guest, t: StreamType | FutureType) -> int:
    if isinstance(t, StreamType):
        return target.options().lower_stream(source.options().lift_stream(index, t), t)
    return target.options().lower_future(source.options().lift_future(index, t), t)


def test_strings_are_allocated_in_the_memory_that_they_go_to(world: World) -> None:
    writer, reader = world.guest("writer"), world.guest("reader")
    t = StreamType(PrimitiveType.STRING)
    readable, writable = writer.new(t)()
    readable = give_readable(writer, readable, reader, t)
    writer.memory.data[0:5] = b"hello"
    writer.memory.data[64:72] = bytes([0, 0, 0, 0, 5, 0, 0, 0])
    assert reader.read(t, readable, TARGET, 2)() == BLOCKED
    assert writer.write(t, writable, 64, 1)() == packed(COMPLETED, 1)
    pointer, length = reader.memory.u32(TARGET), reader.memory.u32(TARGET + 4)
    assert reader.memory.data[pointer : pointer + length] == b"hello"
    assert reader.inst.handles.get(readable).pending_event is not None


def test_resources_change_hands_with_the_elements(world: World) -> None:
    writer, reader = world.guest("writer"), world.guest("reader")
    runtime, static = writer.resource()
    t = StreamType(OwnType(static))
    readable, writable = writer.new(t)()
    readable = give_readable(writer, readable, reader, t)
    handle = canon.canon_resource_new(writer.inst, runtime, 40)
    writer.memory.data[64:68] = handle.to_bytes(4, "little")
    reader.read(t, readable, TARGET, 1)()
    assert writer.write(t, writable, 64, 1)() == packed(COMPLETED, 1)
    with pytest.raises(Trap, match="unknown handle"):
        canon.canon_resource_rep(writer.inst, runtime, handle)
    assert canon.canon_resource_rep(reader.inst, runtime, reader.memory.u32(TARGET)) == 40


@pytest.mark.parametrize("t", [BYTES, BYTE], ids=["stream", "future"])
@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("copying", "while it is copying"),
        ("copied", "while it is copying"),
        ("done", "other end was dropped or is done"),
        ("in a set", "while it is in a waitable set"),
        ("writable", "is no readable end"),
        ("gone", "unknown handle"),
        ("idle", None),
    ],
)
def test_only_an_idle_readable_end_is_passed_on(
    world: World, t: StreamType | FutureType, state: str, message: str | None
) -> None:
    guest, other = world.guest(), world.guest("other")
    pair = Pair(guest, t)
    index = pair.readable
    match state:
        case "copying":
            pair.do("r1")
        case "copied":
            pair.do("r1")
            pair.do("w1")
        case "done":
            for operation in ("r1", "w1", "er") if t is BYTE else ("dw", "r1"):
                pair.do(operation)
        case "in a set":
            guest.join(index, guest.set_new()())()
        case "writable":
            index = pair.writable
        case "gone":
            pair.do("dr")
    if message is None:
        assert give_readable(guest, index, other, t) == 1
        with pytest.raises(Trap, match="unknown handle"):
            guest.inst.handles.get(index)
    else:
        with pytest.raises(Trap, match=message):
            give_readable(guest, index, other, t)


# Sync copies


@pytest.mark.parametrize("reads", [True, False], ids=["read", "write"])
def test_a_sync_copy_blocks_until_it_is_met(world: World, reads: bool) -> None:
    guest = world.guest()
    pair = Pair(guest, BYTES)

    def body() -> Core:
        copy = guest.read if reads else guest.write
        answer = yield copy(BYTES, pair.readable if reads else pair.writable, TARGET, 4, is_async=False)
        yield guest.task_return(answer, result=U32)

    caller = world.call(guest.lift(body, (), U32))
    assert caller.results == []
    world.store.tick(lambda: pair.do("w4" if reads else "r4"))
    assert caller.results == [packed(COMPLETED, 4)]


@pytest.mark.parametrize("operation", ["r4", "w4", "xr", "xw"])
def test_a_sync_operation_on_an_end_in_a_set_traps(world: World, operation: str) -> None:
    guest = world.guest()
    pair = Pair(guest, BYTES)
    index = pair.readable if "r" in operation else pair.writable
    if operation[0] == "x":
        pair.do(operation[1] + "4")
    guest.join(index, guest.set_new()())()

    def body() -> Core:
        if operation[0] == "x":
            yield lambda: pair.do(operation)
        elif operation[0] == "r":
            yield guest.read(BYTES, index, TARGET, 4, is_async=False)
        else:
            yield guest.write(BYTES, index, SOURCE, 4, is_async=False)

    world.call(guest.lift(body))
    assert "used synchronously while added to a waitable set" in world.trap()


def test_a_copy_that_another_thread_waits_for_can_not_be_cancelled(world: World) -> None:
    guest = world.guest()
    pair = Pair(guest, BYTES)

    def body() -> Core:
        yield guest.read(BYTES, pair.readable, TARGET, 4, is_async=False)

    world.call(guest.lift(body))
    with pytest.raises(Trap, match="that a thread waits for"):
        pair.do("xr")


def test_a_new_pair_is_idle_and_readable_first(world: World) -> None:
    guest = world.guest()
    readable, writable = guest.new(BYTES)()
    ends = guest.inst.handles.get(readable), guest.inst.handles.get(writable)
    assert [type(end) for end in ends] == [ReadableStreamEnd, WritableStreamEnd]
    assert all(isinstance(end, canon.CopyEnd) and end.state is CopyState.IDLE for end in ends)


def test_memory_that_has_grown_since_is_seen(world: World) -> None:
    guest = world.guest()

    class Growing(FakeMemory):
        def refresh(self) -> memoryview:
            self.data = bytearray(8192)
            self.view = memoryview(self.data)
            return self.view

    guest.memory = Growing()
    GuestBuffer(element_codec(U8, ABI), guest.options(), 8000, 100)

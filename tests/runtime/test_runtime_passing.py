"""Values that pass from guest to guest: when that happens, and what each side sees of it."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from runtime_fakes import U8, U32, Core, FakeFunc, Guest, HostImport, World

from p3host.runtime.resource import ResourceHandle
from p3host.runtime.stream import BLOCKED, CopyResult
from p3host.runtime.task import SubtaskState
from p3host.types import (
    EnumType,
    FutureType,
    ListType,
    OptionType,
    OwnType,
    PrimitiveType,
    RecordType,
    StreamType,
    TupleType,
    ValType,
)

STRING, CHAR = PrimitiveType.STRING, PrimitiveType.CHAR
NAMED = RecordType((("name", STRING), ("live", PrimitiveType.BOOL), ("size", OptionType(U32))))
AT = 64


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def caller(world: World) -> Guest:
    return world.guest("caller")


@pytest.fixture
def callee(world: World) -> Guest:
    return world.guest("callee")


def put(guest: Guest, pointer: int, data: bytes) -> None:
    guest.memory.data[pointer : pointer + len(data)] = data


def text_at(guest: Guest, pointer: int) -> bytes:
    """The text whose pointer and length lie at an address."""
    begin, length = struct.unpack_from("<II", guest.memory.data, pointer)
    return bytes(guest.memory.data[begin : begin + length])


def runs(world: World, guest: Guest, *calls: Any) -> None:
    """Has the guest make the calls one after the other, and logs what they answer."""

    def body() -> Core:
        for call in calls:
            world.log.append((yield call))

    world.call(guest.lift(body, abi="sync", is_async=False))


@pytest.mark.parametrize("is_async", [False, True])
def test_arguments_are_copied_into_the_callees_memory(
    world: World, caller: Guest, callee: Guest, is_async: bool
) -> None:
    def body(begin: int, length: int, pairs: int, count: int) -> None:
        world.log.append(bytes(callee.memory.data[begin : begin + length]))
        world.log.append([text_at(callee, pairs + 8 * i) for i in range(count)])

    func = callee.lift(body, (STRING, ListType(STRING)), abi="sync", is_async=False)
    call = caller.lower(func, (STRING, ListType(STRING)), is_async=is_async, async_type=False)
    put(caller, AT, b"onetwo" + bytes(2) + struct.pack("<IIII", AT, 3, AT + 3, 3))
    runs(world, caller, call(AT, 6, AT + 8, 2))
    assert world.log == [b"onetwo", [b"one", b"two"], SubtaskState.RETURNED if is_async else None]


@pytest.mark.parametrize("abi", ["sync", "stackful"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_result_is_copied_to_the_out_pointer(
    world: World, caller: Guest, callee: Guest, abi: str, is_async: bool
) -> None:
    put(callee, AT, b"name" + bytes(4) + struct.pack("<IIBxxxBxxxI", AT, 4, 7, 1, 40))

    def body() -> Core:
        if abi == "sync":
            return AT + 8
        yield callee.task_return(AT, 4, 7, 1, 40, result=NAMED)
        return None

    func = callee.lift(body, (), NAMED, abi=abi)
    runs(world, caller, caller.lower(func, (), NAMED, is_async=is_async)(256))
    assert text_at(caller, 256) == b"name"
    assert struct.unpack_from("<BxxxBxxxI", caller.memory.data, 264) == (1, 1, 40)


def test_a_result_is_with_the_caller_before_post_return_frees_it(world: World, caller: Guest, callee: Guest) -> None:
    put(callee, AT, b"name" + bytes(4) + struct.pack("<II", AT, 4))

    def post_return(pointer: int) -> None:
        assert text_at(caller, 256) == b"name"
        callee.memory.data[AT : AT + 16] = bytes(16)
        world.log.append("freed")

    func = callee.lift(lambda: AT + 8, (), STRING, abi="sync", is_async=False, post_return=post_return)
    runs(world, caller, caller.lower(func, (), STRING, async_type=False)(256))
    assert text_at(caller, 256) == b"name"
    assert world.log == ["freed", None]


def test_arguments_are_taken_when_the_callee_starts(world: World, caller: Guest, callee: Guest) -> None:
    def body(begin: int, length: int) -> Core:
        world.log.append(bytes(callee.memory.data[begin : begin + length]))
        yield callee.task_return()

    call = caller.lower(callee.lift(body, (STRING,)), (STRING,), is_async=True)
    gate = HostImport(world.store)
    wait = caller.lower(gate)
    put(caller, AT, b"early")

    def main() -> Core:
        callee.inst.backpressure += 1
        world.log.append((yield call(AT, 5)) & 0xF)
        put(caller, AT, b"later")
        yield wait()
        yield caller.task_return()

    world.call(caller.lift(main))
    callee.inst.backpressure -= 1
    callee.inst.release_backpressure()
    world.store.tick()
    assert world.log == [SubtaskState.STARTING, b"later"]


def test_a_call_that_traps_while_it_takes_arguments_allocates_nothing(
    world: World, caller: Guest, callee: Guest
) -> None:
    types = (STRING, CHAR)
    func = callee.lift(lambda *flat: None, types, abi="sync", is_async=False)
    runs(world, caller, caller.lower(func, types, async_type=False)(AT, 3, 0xD800))
    assert "invalid char 0xd800" in world.trap()
    assert callee.allocated == 2048


def test_the_callers_memory_may_be_needed_for_a_result(world: World, caller: Guest, callee: Guest) -> None:
    caller.realloc = FakeFunc(lambda *args: 0xFFFF_FFF0)
    put(callee, AT, struct.pack("<II", AT, 4))
    func = callee.lift(lambda: AT, (), STRING, abi="sync", is_async=False)
    runs(world, caller, caller.lower(func, (), STRING, async_type=False)(256))
    assert "the result of realloc" in world.trap()


def test_an_owned_handle_moves_with_the_arguments_around_it(world: World, caller: Guest, callee: Guest) -> None:
    runtime, static = callee.resource()
    types = (TupleType((STRING, OwnType(static))),)

    def body(begin: int, length: int, handle: int) -> None:
        world.log.append((bytes(callee.memory.data[begin : begin + length]), callee.inst.handles.get(handle).rep))

    func = callee.lift(body, types, abi="sync", is_async=False)
    handle = caller.inst.handles.add(ResourceHandle(runtime, 40, own=True))
    put(caller, AT, b"x")
    runs(world, caller, caller.lower(func, types, async_type=False)(AT, 1, handle))
    assert world.log[0] == (b"x", 40)
    with pytest.raises(Exception, match="unknown handle"):
        caller.inst.handles.get(handle)


# Streams and futures

MANY = 20
TWO_TEXTS = struct.pack("<IIII", 512, 3, 515, 3)
TWO_NAMED = struct.pack("<IIBxxxBxxxI", 512, 3, 9, 1, 4) + struct.pack("<IIBxxxBxxxI", 515, 3, 0, 0, 4)
PADDED = TupleType((U32, U8))


def give_readable(source: Guest, index: int, target: Guest, t: StreamType) -> int:
    return target.options().lower_stream(source.options().lift_stream(index, t), t)


@pytest.mark.parametrize(
    ("t", "count", "elements", "at", "expected"),
    [
        (STRING, 2, TWO_TEXTS, [0, 8], None),
        (ListType(U8), 2, TWO_TEXTS, [0, 8], None),
        (NAMED, 2, TWO_NAMED, [0, 20], None),
        (PrimitiveType.BOOL, MANY, b"\0\1\2\3" * 5, [], b"\0\1\1\1" * 5),
        (PADDED, MANY, struct.pack("<IB3s", 7, 8, b"pad") * MANY, [], struct.pack("<IB3x", 7, 8) * MANY),
    ],
    ids=["strings", "lists", "records", "bools", "padded"],
)
@pytest.mark.parametrize("reader_first", [False, True])
def test_elements_are_copied_from_guest_to_guest(
    world: World,
    caller: Guest,
    callee: Guest,
    t: ValType,
    count: int,
    elements: bytes,
    at: list[int],
    expected: bytes | None,
    reader_first: bool,
) -> None:
    """`at` is where the texts "one" and "two" are found."""
    writer, reader, stream = caller, callee, StreamType(t)
    put(writer, 512, b"onetwo")
    put(writer, 1024, elements)
    readable, writable = writer.new(stream)()
    readable = give_readable(writer, readable, reader, stream)
    copies = [writer.write(stream, writable, 1024, count), reader.read(stream, readable, AT, count)]
    first, second = reversed(copies) if reader_first else copies
    assert first() == BLOCKED
    assert second() == count << 4 | CopyResult.COMPLETED
    assert [text_at(reader, AT + offset) for offset in at] == ([b"one", b"two"] if at else [])
    if expected is not None:
        assert bytes(reader.memory.data[AT : AT + len(expected)]) == expected


def test_a_futures_value_is_copied_from_guest_to_guest(world: World, caller: Guest, callee: Guest) -> None:
    t = FutureType(STRING)
    put(caller, 512, b"value")
    put(caller, 1024, struct.pack("<II", 512, 5))
    readable, writable = caller.new(t)()
    readable = callee.options().lower_future(caller.options().lift_future(readable, t), t)
    assert callee.read(t, readable, AT)() == BLOCKED
    assert caller.write(t, writable, 1024)() == CopyResult.COMPLETED
    assert text_at(callee, AT) == b"value"


def test_an_element_that_is_no_value_of_its_type_traps_before_any_is_written(
    world: World, caller: Guest, callee: Guest
) -> None:
    t = StreamType(EnumType(("a", "b")))
    put(caller, 1024, b"\1" * (MANY - 1) + b"\2")
    readable, writable = caller.new(t)()
    readable = give_readable(caller, readable, callee, t)
    assert callee.read(t, readable, AT, MANY)() == BLOCKED
    with pytest.raises(Exception, match="invalid variant discriminant 2: the type has 2 cases"):
        caller.write(t, writable, 1024, MANY)()
    assert bytes(callee.memory.data[AT : AT + MANY]) == bytes(MANY)

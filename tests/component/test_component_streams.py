"""Streams and futures between Python and guests."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from guest_text import component_text, let_others_run, load, passing_on, sync_export

from p3host import Component, Err, FutureReader, StreamDropped, StreamReader, Trap, Wasi

pytestmark = pytest.mark.anyio

GUESTS = Path(__file__).parents[2] / "guests"
loaded: dict[str, Component] = {}


def guest(name: str) -> Component:
    if name not in loaded:
        loaded[name] = Component.load(GUESTS / name)
    return loaded[name]


async def wait(ms: int) -> None:
    await anyio.sleep(ms / 1000)


async def lookup(name: str) -> str:
    return name


def reactor() -> Any:
    return guest("go-reactor/go-reactor.wasm").instantiate({"wait": wait, "lookup": lookup}, wasi=Wasi())


def streams() -> Any:
    return guest("text/streams.wat").instantiate()


class Host:
    @staticmethod
    async def work(tag: str, ms: int) -> str:
        return tag

    @staticmethod
    def plain(x: int) -> int:
        return x


def c1() -> Any:
    return guest("c1/c1.wasm").instantiate({"p3host:c1/host@0.1.0": Host})


class Pieces:
    """An async iterable that tells what became of it."""

    def __init__(self, *pieces: Any) -> None:
        self.pieces = list(pieces)
        self.given = 0
        self.closed = False

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        await anyio.lowlevel.checkpoint()
        if not self.pieces:
            raise StopAsyncIteration
        self.given += 1
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def aclose(self) -> None:
        self.closed = True


async def pieces() -> AsyncIterator[bytes]:
    for piece in (b"one ", b"", b"two ", b"three"):
        await anyio.lowlevel.checkpoint()
        yield piece


@pytest.mark.parametrize("kind", ["bytes", "bytearray", "memoryview", "list", "iterable", "object with aclose"])
async def test_stream_of_bytes_is_given_as(kind: str) -> None:
    data = b"one two three"
    given: Any = {
        "bytes": data,
        "bytearray": bytearray(data),
        "memoryview": memoryview(data),
        "list": list(data),
        "iterable": pieces(),
        "object with aclose": Pieces(b"one ", b"two ", b"three"),
    }[kind]
    async with reactor() as instance:
        assert await instance.exports.checksum(given) == zlib.crc32(data)
    if isinstance(given, Pieces):
        assert given.closed


async def test_anyio_streams_are_given_as_streams() -> None:
    async with reactor() as instance, anyio.create_task_group() as group:
        send, receive = anyio.create_memory_object_stream[bytes](0)

        async def produce() -> None:
            async with send:
                for piece in (b"one ", b"two ", b"three"):
                    await send.send(piece)

        group.start_soon(produce)
        assert await instance.exports.checksum(receive) == zlib.crc32(b"one two three")


async def test_anyio_byte_stream_is_given_as_a_stream() -> None:
    from anyio.streams.buffered import BufferedByteReceiveStream

    send, receive = anyio.create_memory_object_stream[bytes](10)
    async with reactor() as instance, send:
        for piece in (b"one ", b"two ", b"three"):
            await send.send(piece)
        await send.aclose()
        assert await instance.exports.checksum(BufferedByteReceiveStream(receive)) == zlib.crc32(b"one two three")


@pytest.mark.parametrize("value", [5, None, "text", object()])
async def test_anything_else_is_no_stream(value: Any) -> None:
    async with streams() as instance:
        with pytest.raises(TypeError):
            await instance.exports.sink(value)
        assert await instance.exports.sink(b"abc") == 3


async def test_stream_from_a_guest_is_iterated_or_read() -> None:
    async with streams() as instance:
        stream = await instance.exports.source(200_000)
        assert isinstance(stream, StreamReader)
        sizes = [len(piece) async for piece in stream]
        assert sum(sizes) == 200_000
        stream = await instance.exports.source(100)
        assert len(await stream.read(30)) == 30
        assert len(await stream.receive(60)) == 60
        assert len(await stream.read_all()) == 10
        assert await stream.read() == b""
        assert await stream.read(5) == b""


async def test_bytes_go_through_a_guest_unchanged() -> None:
    data = bytes(range(97, 123)) * 10_000
    async with reactor() as instance:
        stream = await instance.exports.upper(Pieces(*(data[i : i + 7000] for i in range(0, len(data), 7000))))
        assert await stream.read_all() == data.upper()


async def test_stream_of_one_call_is_given_to_the_next() -> None:
    async with reactor() as instance:
        exports = instance.exports
        stream = await exports.upper(await exports.upper(b"abc" * 1000))
        assert await exports.checksum(stream) == zlib.crc32(b"ABC" * 1000)
        with pytest.raises(StreamDropped):
            await stream.read()
        with pytest.raises(ValueError, match="given up"):
            await exports.checksum(stream)
        generated = await exports.generate(100_000, 1000)
        expected = bytes(range(256)) * 400
        assert await exports.checksum(generated) == zlib.crc32(expected[:100_000])


async def test_stream_of_one_instance_is_given_to_another() -> None:
    async with streams() as source, reactor() as other:
        assert await other.exports.checksum(await source.exports.source(100_000)) == zlib.crc32(bytes(100_000))


async def test_many_streams_at_once() -> None:
    results: dict[int, bytes] = {}
    async with reactor() as instance:

        async def run(number: int) -> None:
            data = b"%d." % number * 5000
            stream = await instance.exports.upper(Pieces(data[:10], data[10:]))
            results[number] = await stream.read_all()

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(run, number)
    assert results == {number: b"%d." % number * 5000 for number in range(20)}


async def test_reader_that_leaves_early_ends_the_writer() -> None:
    given = Pieces(*(b"x" * 1000 for _ in range(1000)))
    async with c1() as instance:
        stream, total = await instance.exports["p3host:c1/guest"].pipe(given)
        with stream:
            assert await stream.read(10) == b"X" * 10
        assert 10 <= await total < 100_000
        await let_others_run()
        assert given.closed


async def test_iterable_is_asked_for_no_more_than_the_guest_wants() -> None:
    given = Pieces(*(b"x" * 1000 for _ in range(1000)))
    async with c1() as instance:
        stream, _total = await instance.exports["p3host:c1/guest"].pipe(given)
        await stream.read(10)
        await anyio.sleep(0.01)
        assert given.given < 10
        stream.close()
        with pytest.raises(StreamDropped):
            await stream.read()


async def test_future_comes_after_its_stream() -> None:
    async with c1() as instance:
        stream, total = await instance.exports["p3host:c1/guest"].pipe(Pieces(b"abc", b"def"))
        assert isinstance(total, FutureReader)
        assert await stream.read_all() == b"ABCDEF"
        assert await total == 6
        with pytest.raises(StreamDropped, match="once"):
            await total


async def test_cancelled_read_loses_nothing() -> None:
    send, receive = anyio.create_memory_object_stream[bytes](10)
    async with reactor() as instance, send, receive:
        stream = await instance.exports.upper(receive)
        with anyio.move_on_after(0.005) as scope:
            await stream.read()
        assert scope.cancelled_caught
        await send.send(b"late")
        assert await stream.read() == b"LATE"
        stream.close()


async def test_end_that_is_being_read_is_busy() -> None:
    async with streams() as instance, anyio.create_task_group() as group:
        send, receive = anyio.create_memory_object_stream[bytes](0)
        async with reactor() as other, send, receive:
            stream = await other.exports.upper(receive)
            group.start_soon(stream.read)
            await let_others_run()
            with pytest.raises(anyio.BusyResourceError):
                await stream.read()
            with pytest.raises(ValueError, match="in use"):
                await instance.exports.sink(stream)
            group.cancel_scope.cancel()


async def test_iterable_that_raises_traps_its_reader() -> None:
    async with streams() as instance:
        with pytest.raises(Trap, match="Pieces raised OSError: broken") as raised:
            await instance.exports.sink(Pieces(b"abc", OSError("broken")))
        assert isinstance(raised.value.__cause__, OSError)


async def test_iterable_with_a_piece_of_the_wrong_type_traps_its_reader() -> None:
    async with streams() as instance:
        with pytest.raises(Trap, match="range"):
            await instance.exports.sink(Pieces(b"abc", [300]))


async def test_trap_is_told_to_whoever_reads() -> None:
    async with reactor() as instance:
        send, receive = anyio.create_memory_object_stream[bytes](0)
        async with send, receive:
            stream = await instance.exports.upper(receive)

            async def read() -> None:
                with pytest.raises(Trap, match="other end trapped"):
                    await stream.read()

            async with anyio.create_task_group() as group:
                group.start_soon(read)
                await let_others_run()
                with pytest.raises(Trap):
                    await instance.exports.fail("on purpose")


async def test_leaving_the_block_closes_iterables_and_streams() -> None:
    given = Pieces(*(b"x" * 1000 for _ in range(1000)))
    async with c1() as instance:
        stream, total = await instance.exports["p3host:c1/guest"].pipe(given)
        await stream.read(1)
    assert given.closed
    with pytest.raises(Exception, match="block was left"):
        await stream.read()
    with pytest.raises(Exception, match="block was left"):
        await total
    stream.close()


ELEMENTS: list[tuple[str, Any, Any]] = [
    ("u16", [1, 2, 65535], [1, 2, 65535]),
    ("u32", array("I", [1, 2, 3]), [1, 2, 3]),
    ("f64", [0.5, 1.5], [0.5, 1.5]),
    ("string", ["a", "b"], ["a", "b"]),
    ("bool", [True, False], [True, False]),
    ("(tuple u8 string)", [(1, "a"), (2, "b")], [(1, "a"), (2, "b")]),
]


@pytest.mark.parametrize(("element", "given", "read"), ELEMENTS, ids=[element for element, _, _ in ELEMENTS])
@pytest.mark.parametrize("as_iterable", [False, True])
async def test_stream_of_any_type_passes_through(element: str, given: Any, read: Any, as_iterable: bool) -> None:
    seen: list[Any] = []

    async def again(stream: StreamReader) -> AsyncIterator[Any]:
        async for piece in stream:
            seen.extend(piece)
            yield piece

    types = f"(type $x {element}) (type $s (stream $x))"
    async with load(passing_on(types, '(param "v" $s)', "(result $s)")).instantiate({"host": again}) as instance:
        stream = await instance.exports.echo(Pieces(given[:1], given[1:]) if as_iterable else given)
        assert await stream.read_all() == read
    assert seen == read


async def test_stream_without_elements_counts() -> None:
    async with load(passing_on("(type $s (stream))", '(param "v" $s)', "(result $s)")).instantiate(
        {"host": lambda stream: stream}
    ) as instance:
        assert await (await instance.exports.echo(7)).read_all() == 7


async def answer(value: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    return value


@pytest.mark.parametrize(("t", "value"), [("u32", 7), ("string", "x"), ("(list u8)", b"abc"), ("(option u8)", None)])
async def test_awaitable_is_a_future_in_both_directions(t: str, value: Any) -> None:
    def host(future: FutureReader) -> Any:
        return pass_on(future)

    async def pass_on(future: FutureReader) -> Any:
        assert await future == value
        return await answer(value)

    types = f"(type $x {t}) (type $f (future $x))"
    async with load(passing_on(types, '(param "v" $f)', "(result $f)")).instantiate({"host": host}) as instance:
        assert await (await instance.exports.echo(answer(value))) == value


async def test_future_itself_is_passed_on() -> None:
    types = "(type $f (future u32))"
    async with load(passing_on(types, '(param "v" $f)', "(result $f)")).instantiate({"host": lambda f: f}) as instance:
        assert await (await instance.exports.echo(answer(5))) == 5


async def test_future_of_a_result_raises_its_error() -> None:
    async def fail() -> None:
        raise Err("no")

    types = "(type $r (result (error string))) (type $f (future $r))"
    async with load(passing_on(types, '(param "v" $f)', "(result $f)")).instantiate({"host": lambda f: f}) as instance:
        with pytest.raises(Err) as raised:
            await (await instance.exports.echo(fail()))
        assert raised.value.value == "no"
        assert await (await instance.exports.echo(answer(None))) is None


NEVER_WRITES = component_text(
    imports="(type $f (future u32)) (type $s (stream u8))",
    canons={
        "new": ("future.new $f", "(result i64)"),
        "drop-stream": ("stream.drop-readable $s", "(param i32)"),
        "read": ("stream.read $s (memory $memory)", "(param i32 i32 i32) (result i32)"),
    },
    code="""
      (func (export "promise") (result i32) (i32.wrap_i64 (call $new)))
      (func (export "refuse") (param i32) (call $drop-stream (local.get 0)))""",
    exports=sync_export("promise", "", "$f") + sync_export("refuse", '(param "s" $s)'),
)


async def test_future_that_nobody_writes_waits_until_the_instance_ends() -> None:
    async with load(NEVER_WRITES).instantiate() as instance:
        future = await instance.exports.promise()
        with anyio.move_on_after(0.005) as scope:
            await future
        assert scope.cancelled_caught


async def test_stream_that_the_guest_refuses_is_closed_unread() -> None:
    given = Pieces(b"abc")
    async with load(NEVER_WRITES).instantiate() as instance:
        await instance.exports.refuse(given)
        await let_others_run()
        assert given.given == 0
        assert given.closed


KEEPS = component_text(
    code='(func (export "keep") (param i32)) (func (export "trap") (param i32) (unreachable))',
    exports="\n".join(sync_export(name, '(param "s" (stream u8))') for name in ("keep", "trap")),
)


@pytest.mark.parametrize("name", ["keep", "trap"])
async def test_stream_that_the_guest_never_reads_is_closed_when_it_ends(name: str) -> None:
    given = Pieces(b"abc")
    with suppress(Trap):
        async with load(KEEPS).instantiate() as instance:
            await instance.exports[name](given)
            assert not given.closed
    assert given.given == 0
    assert given.closed


READS = component_text(
    imports="(type $s (stream u32)) (type $f (future u32))",
    canons={
        "read": ("stream.read $s async (memory $memory)", "(param i32 i32 i32) (result i32)"),
        "read-future": ("future.read $f async (memory $memory)", "(param i32 i32) (result i32)"),
    },
    code="""
      (func (export "stream") (param i32) (drop (call $read (local.get 0) (i32.const 1024) (i32.const 8))))
      (func (export "future") (param i32) (drop (call $read-future (local.get 0) (i32.const 1024))))
      (func (export "nothing"))""",
    exports=sync_export("stream", '(param "s" $s)') + sync_export("future", '(param "f" $f)') + sync_export("nothing"),
)


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("stream", lambda: [1, "two"], "a stream of given elements"),
        ("stream", lambda: Pieces([1, "two"]), "the stream Pieces"),
        ("future", lambda: answer("two"), "the future answer"),
    ],
)
async def test_element_of_the_wrong_type_traps_and_tells_where_it_comes_from(name: str, given: Any, told: str) -> None:
    async with load(READS).instantiate() as instance:
        with suppress(Trap):  # at once, if the value is there
            await instance.exports[name](given())
            await let_others_run()
        with pytest.raises(Trap, match=f"{told} gave a wrong value: .*'two'"):
            await instance.exports.nothing()


DROPS = component_text(
    imports="(type $f (future u32)) (type $s (stream u8))",
    canons={
        "drop-stream": ("stream.drop-readable $s", "(param i32)"),
        "drop-future": ("future.drop-readable $f", "(param i32)"),
        "read": ("stream.read $s async (memory $memory)", "(param i32 i32 i32) (result i32)"),
        "cancel": ("stream.cancel-read $s", "(param i32) (result i32)"),
    },
    code="""
      (func (export "stream") (param i32) (call $drop-stream (local.get 0)))
      (func (export "read-stream") (param i32)
        (drop (call $read (local.get 0) (i32.const 0) (i32.const 1)))
        (drop (call $cancel (local.get 0)))
        (call $drop-stream (local.get 0)))
      (func (export "future") (param i32) (call $drop-future (local.get 0)))""",
    exports=sync_export("stream", '(param "s" $s)')
    + sync_export("read-stream", '(param "s" $s)')
    + sync_export("future", '(param "f" $f)'),
)


class Told(Pieces):
    """An iterable, or an awaitable, that has to know when the guest drops it."""

    def __init__(self, *pieces: Any) -> None:
        super().__init__(*pieces)
        self.drops = 0

    def on_dropped(self) -> None:
        self.drops += 1

    def __await__(self) -> Any:
        return self.run().__await__()

    async def run(self) -> int:
        await let_others_run()
        self.closed = True
        return 5


@pytest.mark.parametrize("export", ["stream", "read-stream"])
async def test_an_iterable_that_has_to_know_is_told_before_the_guest_goes_on(export: str) -> None:
    given = Told(b"abc")
    async with load(DROPS).instantiate() as instance:
        await instance.exports[export](given)
        assert given.drops == 1
        assert not given.closed
        await let_others_run()
        assert given.closed
    assert given.drops == 1


async def test_an_iterable_that_has_to_know_is_told_when_its_end_was_told() -> None:
    given = Told(b"abc")
    async with load(passing_on("(type $s (stream u8))", '(param "v" $s)', "(result $s)")).instantiate(
        {"host": lambda stream: stream}
    ) as instance:
        stream = await instance.exports.echo(given)
        assert await stream.read() == b"abc"
        assert given.drops == 0
        assert await stream.read() == b""
        assert given.closed
        assert given.drops == 1
    assert given.drops == 1


KEEPS_UNREAD = component_text(
    imports="(type $s (stream u8))",
    code="""
      (func (export "keep") (param i32))
      (func (export "trap") unreachable)""",
    exports=sync_export("keep", '(param "s" $s)') + sync_export("trap"),
)


@pytest.mark.parametrize("traps", [False, True])
async def test_an_iterable_that_has_to_know_is_told_when_the_instance_ends_unread(traps: bool) -> None:
    given = Told(b"abc")
    async with load(KEEPS_UNREAD).instantiate() as instance:
        await instance.exports.keep(given)
        assert given.drops == 0
        if traps:
            with pytest.raises(Trap):
                await instance.exports.trap()
            assert given.drops == 1
    assert given.drops == 1


async def test_an_awaitable_that_has_to_know_is_told_and_not_cancelled() -> None:
    given = Told()
    async with load(DROPS).instantiate() as instance:
        await instance.exports.future(given)
        assert given.drops == 1
        while not given.closed:
            await let_others_run()
    assert given.drops == 1


async def test_another_awaitable_is_cancelled_when_the_guest_drops_it() -> None:
    was_cancelled = False

    async def work() -> int:
        nonlocal was_cancelled
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            was_cancelled = True
            raise
        return 5

    async with load(DROPS).instantiate() as instance:
        await instance.exports.future(work())
        await let_others_run()
        assert was_cancelled

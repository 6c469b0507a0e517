"""Resources, a guest's and the host's, owned and borrowed, in both directions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from guest_text import component_text, let_others_run, load, sync_export

from p3host import GuestResource, Trap

pytestmark = pytest.mark.anyio

# A counter's representation is the address of its value. `drops` counts destructor calls.
COUNTER = """(component
  (import "pause" (func $pause async))
  (core func $pause (canon lower (func $pause)))
  (core module $Destructor (global (export "drops") (mut i32) (i32.const 0))
    (func (export "drop") (param i32) (global.set 0 (i32.add (global.get 0) (i32.const 1)))))
  (core instance $destructor (instantiate $Destructor))
  (alias core export $destructor "drops" (core global $drops))
  (type $counter (resource (rep i32) (dtor (core func $destructor "drop"))))
  (core func $new (canon resource.new $counter))
  (core func $drop (canon resource.drop $counter))
  (core func $rep (canon resource.rep $counter))
  (core func $return (canon task.return (result u32)))
  (core module $M
    (import "" "new" (func $new (param i32) (result i32)))
    (import "" "drop" (func $drop (param i32)))
    (import "" "rep" (func $rep (param i32) (result i32)))
    (import "" "pause" (func $pause))
    (import "" "return" (func $return (param i32)))
    (import "" "drops" (global $drops (mut i32)))
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (func $make (export "make") (param $value i32) (result i32)
      (global.set $next (i32.add (global.get $next) (i32.const 4)))
      (i32.store (global.get $next) (local.get $value))
      (call $new (global.get $next)))
    (func (export "zero") (result i32) (call $make (i32.const 0)))
    (func (export "add") (param $self i32) (param $by i32) (result i32)
      (i32.store (local.get $self) (i32.add (i32.load (local.get $self)) (local.get $by)))
      (i32.load (local.get $self)))
    (func (export "slow-get") (param $self i32) (result i32)
      (call $pause) (call $return (i32.load (local.get $self))) (i32.const 0))
    (func (export "slow-get-event") (param i32 i32 i32) (result i32) (unreachable))
    (func (export "consume") (param $handle i32) (result i32) (local $value i32)
      (local.set $value (i32.load (call $rep (local.get $handle))))
      (call $drop (local.get $handle))
      (local.get $value))
    (func (export "same") (param $handle i32) (result i32) (local.get $handle))
    (func (export "close") (param $self i32) (result i32) (i32.const 77))
    (func (export "drops") (result i32) (global.get $drops)))
  (core instance $m (instantiate $M (with "" (instance
    (export "new" (func $new)) (export "drop" (func $drop)) (export "rep" (func $rep)) (export "pause" (func $pause))
    (export "return" (func $return)) (export "drops" (global $drops))))))
  (func $make (param "value" u32) (result (own $counter)) (canon lift (core func $m "make")))
  (func $zero (result (own $counter)) (canon lift (core func $m "zero")))
  (func $add (param "self" (borrow $counter)) (param "by" u32) (result u32) (canon lift (core func $m "add")))
  (func $slow-get async (param "self" (borrow $counter)) (result u32)
    (canon lift (core func $m "slow-get") async (callback (core func $m "slow-get-event"))))
  (func $close (param "self" (borrow $counter)) (result u32) (canon lift (core func $m "close")))
  (func $consume (param "counter" (own $counter)) (result u32) (canon lift (core func $m "consume")))
  (func $same (param "counter" (own $counter)) (result (own $counter)) (canon lift (core func $m "same")))
  (func $drops (result u32) (canon lift (core func $m "drops")))
  (component $Shape
    (import "counter-import" (type $counter (sub resource)))
    (import "make" (func $make (param "value" u32) (result (own $counter))))
    (import "zero" (func $zero (result (own $counter))))
    (import "add" (func $add (param "self" (borrow $counter)) (param "by" u32) (result u32)))
    (import "slow-get" (func $slow-get async (param "self" (borrow $counter)) (result u32)))
    (import "close" (func $close (param "self" (borrow $counter)) (result u32)))
    (import "consume" (func $consume (param "counter" (own $counter)) (result u32)))
    (import "same" (func $same (param "counter" (own $counter)) (result (own $counter))))
    (import "drops" (func $drops (result u32)))
    (export $out "counter" (type $counter))
    (export "[constructor]counter" (func $make) (func (param "value" u32) (result (own $out))))
    (export "[static]counter.zero" (func $zero) (func (result (own $out))))
    (export "[method]counter.add" (func $add) (func (param "self" (borrow $out)) (param "by" u32) (result u32)))
    (export "[method]counter.slow-get" (func $slow-get) (func async (param "self" (borrow $out)) (result u32)))
    (export "[method]counter.close" (func $close) (func (param "self" (borrow $out)) (result u32)))
    (export "consume" (func $consume) (func (param "counter" (own $out)) (result u32)))
    (export "same" (func $same) (func (param "counter" (own $out)) (result (own $out))))
    (export "drops" (func $drops)))
  (instance $shape (instantiate $Shape
    (with "counter-import" (type $counter)) (with "make" (func $make)) (with "zero" (func $zero))
    (with "add" (func $add)) (with "slow-get" (func $slow-get)) (with "close" (func $close))
    (with "consume" (func $consume)) (with "same" (func $same)) (with "drops" (func $drops))))
  (export "local:app/counters@1.0.0" (instance $shape)))"""


async def pause() -> None:
    await anyio.sleep(0.01)


def counters(function: Any = pause) -> Any:
    return load(COUNTER).instantiate({"pause": function})


async def test_constructor_methods_and_static_functions() -> None:
    async with counters() as instance:
        interface = instance.exports["local:app/counters"]
        counter = await interface.Counter(5)
        assert isinstance(counter, GuestResource)
        assert await counter.add(2) == 7
        assert await counter.add(by=1) == 8
        assert await (await interface.Counter.zero()).add(3) == 3
        assert await interface["[method]counter.add"](counter, 1) == 9
        with pytest.raises(AttributeError, match="subtract"):
            counter.subtract  # noqa: B018
        with pytest.raises(AttributeError, match="nothing"):
            interface.Counter.nothing  # noqa: B018


async def test_with_block_runs_the_destructor_once() -> None:
    async with counters() as instance:
        interface = instance.exports["local:app/counters"]
        with await interface.Counter(1) as counter:
            assert await interface.drops() == 0
        assert await interface.drops() == 1
        counter.drop()
        assert await interface.drops() == 1
        with pytest.raises((TypeError, ValueError), match="given up"):
            await counter.add(1)


async def test_guests_own_method_wins_over_close() -> None:
    async with counters() as instance:
        counter = await instance.exports["local:app/counters"].Counter(1)
        assert await counter.close() == 77


async def test_owned_resource_is_given_up_when_it_is_passed_on() -> None:
    async with counters() as instance:
        interface = instance.exports["local:app/counters"]
        counter = await interface.Counter(4)
        assert await interface.consume(counter) == 4
        assert await interface.drops() == 1
        with pytest.raises((TypeError, ValueError), match="given up"):
            await interface.consume(counter)
        counter.drop()
        assert await interface.drops() == 1
        again = await interface.same(await interface.Counter(6))
        assert await again.add(0) == 6


@pytest.mark.parametrize("value", [5, None, "counter", SimpleNamespace(handle=3)])
async def test_anything_else_is_no_resource(value: object) -> None:
    async with counters() as instance:
        interface = instance.exports["local:app/counters"]
        with pytest.raises(TypeError, match="counter"):
            await interface.consume(value)
        assert await interface.drops() == 0


async def test_resource_of_another_instance_is_of_another_type() -> None:
    async with counters() as one, counters() as other:
        counter = await one.exports["local:app/counters"].Counter(1)
        with pytest.raises(TypeError, match="counter"):
            await other.exports["local:app/counters"].consume(counter)
        assert await counter.add(1) == 2


async def test_resource_is_not_dropped_while_a_call_borrows_it() -> None:
    async with counters() as instance:
        interface = instance.exports["local:app/counters"]
        counter = await interface.Counter(3)
        results = []
        async with anyio.create_task_group() as group:

            async def get() -> None:
                results.append(await counter.slow_get())

            group.start_soon(get)
            await let_others_run()
            with pytest.raises(ValueError, match="lent"):
                counter.drop()
            with pytest.raises(ValueError, match="lent"):
                await interface.consume(counter)
        assert results == [3]
        assert await interface.drops() == 0
        counter.drop()
        assert await interface.drops() == 1


async def test_resource_that_outlives_its_instance_can_still_be_dropped() -> None:
    async with counters() as instance:
        counter = await instance.exports["local:app/counters"].Counter(3)
    counter.drop()
    with pytest.raises(Exception, match="block was left"):
        await (await instance.exports["local:app/counters"].Counter(3)).add(1)


FILES = component_text(
    imports="""(import "local:app/files@1.0.0" (instance $files
        (export "file" (type $file (sub resource)))
        (export "[constructor]file" (func (param "name" string) (result (own $file))))
        (export "[static]file.open" (func async (param "name" string) (result (own $file))))
        (export "[method]file.size" (func (param "self" (borrow $file)) (result u32)))
        (export "[method]file.read" (func async (param "self" (borrow $file)) (result u32)))
        (export "compare" (func (param "a" (borrow $file)) (param "b" (borrow $file)) (result bool)))
        (export "give" (func (param "file" (own $file))))))
      (alias export $files "file" (type $file))
      (alias export $files "[constructor]file" (func $make))
      (alias export $files "[static]file.open" (func $open))
      (alias export $files "[method]file.size" (func $size))
      (alias export $files "[method]file.read" (func $read))
      (alias export $files "compare" (func $compare))
      (alias export $files "give" (func $give))""",
    canons={
        "make": ("lower (func $make) (memory $memory)", "(param i32 i32) (result i32)"),
        "open": ("lower (func $open) (memory $memory)", "(param i32 i32) (result i32)"),
        "size": ("lower (func $size)", "(param i32) (result i32)"),
        "read": ("lower (func $read)", "(param i32) (result i32)"),
        "compare": ("lower (func $compare)", "(param i32 i32) (result i32)"),
        "give": ("lower (func $give)", "(param i32)"),
        "drop": ("resource.drop $file", "(param i32)"),
        "return": ("task.return (result u32)", "(param i32)"),
    },
    code="""
      (func (export "measure") (param i32 i32) (result i32) (local $file i32) (local $size i32)
        (local.set $file (call $make (local.get 0) (local.get 1)))
        (local.set $size (call $size (local.get $file)))
        (call $drop (local.get $file))
        (local.get $size))
      (func (export "open-and-read") (param i32 i32) (local $file i32)
        (local.set $file (call $open (local.get 0) (local.get 1)))
        (call $return (call $read (local.get $file)))
        (call $drop (local.get $file)))
      (func (export "twice") (param i32 i32) (local $file i32)
        (local.set $file (call $make (local.get 0) (local.get 1)))
        (call $give (local.get $file))
        (call $drop (local.get $file)))
      (func (export "borrowed-size") (param $file i32) (result i32) (local $size i32)
        (local.set $size (call $size (local.get $file)))
        (call $drop (local.get $file))
        (local.get $size))
      (func (export "keep-borrow") (param $file i32))
      (func (export "give-borrow") (param $file i32) (call $give (local.get $file)))
      (func (export "compare") (param i32 i32) (result i32) (local $same i32)
        (local.set $same (call $compare (local.get 0) (local.get 1)))
        (call $drop (local.get 0)) (call $drop (local.get 1)) (local.get $same))
      (func (export "keep") (param $file i32))
      (func (export "drop-of") (param $file i32) (call $drop (local.get $file)))""",
    exports="\n".join(
        [
            sync_export("measure", '(param "name" string)', "u32", "(memory $memory) (realloc $realloc)"),
            '(func (export "open-and-read") async (param "name" string) (result u32) (canon lift'
            ' (core func $main "open-and-read") async (memory $memory) (realloc $realloc)))',
            sync_export("twice", '(param "name" string)', "", "(memory $memory) (realloc $realloc)"),
            sync_export("borrowed-size", '(param "file" (borrow $file))', "u32"),
            sync_export("keep-borrow", '(param "file" (borrow $file))'),
            sync_export("give-borrow", '(param "file" (borrow $file))'),
            sync_export("compare", '(param "a" (borrow $file)) (param "b" (borrow $file))', "bool"),
            sync_export("keep", '(param "file" (own $file))'),
            sync_export("drop-of", '(param "file" (own $file))'),
        ]
    ),
)


class File:
    closed: list[str]

    def __init__(self, name: str) -> None:
        self.name = name

    @staticmethod
    async def open(name: str) -> File:
        await anyio.sleep(0.001)
        return File(f"opened {name}")

    def size(self) -> int:
        return len(self.name)

    async def read(self) -> int:
        await anyio.sleep(0.001)
        return len(self.name) * 10

    def close(self) -> None:
        self.closed.append(self.name)


class Files:
    def __init__(self) -> None:
        self.given: list[Any] = []
        self.closed: list[str] = []
        self.File = type("File", (File,), {"closed": self.closed})

    def compare(self, a: File, b: File) -> bool:
        return a is b

    def give(self, file: File) -> None:
        self.given.append(file)


def files(provider: Files) -> Any:
    return load(FILES).instantiate({"local:app/files@1.0.0": provider})


async def test_class_is_the_hosts_resource() -> None:
    provider = Files()
    async with files(provider) as instance:
        assert await instance.exports.measure("abc") == 3
        assert provider.closed == ["abc"]


async def test_static_and_async_methods_of_the_hosts_class() -> None:
    provider = Files()
    async with files(provider) as instance:
        assert await instance.exports.open_and_read("x") == 80


async def test_hosts_object_is_lent_as_it_is() -> None:
    provider = Files()
    file = provider.File("four")
    async with files(provider) as instance:
        assert await instance.exports.borrowed_size(file) == 4
        assert await instance.exports.compare(file, file) is True
        assert await instance.exports.compare(file, provider.File("four")) is False
        assert provider.closed == []


async def test_hosts_object_is_closed_when_the_guest_drops_what_it_owns() -> None:
    provider = Files()
    async with files(provider) as instance:
        await instance.exports.drop_of(provider.File("a"))
        assert provider.closed == ["a"]


async def test_what_a_guest_owns_is_closed_when_its_instance_ends() -> None:
    provider = Files()
    async with files(provider) as instance:
        await instance.exports.keep(provider.File("b"))
        assert provider.closed == []
    assert provider.closed == ["b"]


@pytest.mark.parametrize(
    ("name", "argument", "message"),
    [
        ("twice", "x", "unknown handle index"),
        ("keep_borrow", None, "borrow handles still remain"),
        ("give_borrow", None, "borrowed handle"),
    ],
)
async def test_guest_that_breaks_the_rules_of_handles_traps(name: str, argument: Any, message: str) -> None:
    provider = Files()
    async with files(provider) as instance:
        with pytest.raises(Trap, match=message):
            await getattr(instance.exports, name)(argument or provider.File("x"))


async def test_close_that_raises_is_the_guests_trap() -> None:
    provider = Files()

    def close(self: File) -> None:
        raise OSError("disk full")

    provider.File.close = close  # type: ignore[attr-defined]
    async with files(provider) as instance:
        with pytest.raises(Trap, match="disk full") as raised:
            await instance.exports.drop_of(provider.File("a"))
        assert isinstance(raised.value.__cause__, OSError)


async def test_close_may_break_rules_for_guests_when_the_instance_ends() -> None:
    """Such as that of parents that have to outlive their children: handles are given up in any order then."""
    provider = Files()

    def close(self: File) -> None:
        provider.closed.append(self.name)
        raise Trap("out of order")

    provider.File.close = close  # type: ignore[attr-defined]
    async with files(provider) as instance:
        await instance.exports.keep(provider.File("a"))
    assert provider.closed == ["a"]


class SlowFile(File):
    """One whose closing has to wait."""

    async def close(self) -> None:  # type: ignore[override]
        with anyio.CancelScope(shield=True):
            await let_others_run()
            self.closed.append(self.name)


def slow_files() -> Files:
    provider = Files()
    provider.File = type("SlowFile", (SlowFile,), {"closed": provider.closed})
    return provider


async def test_close_that_waits_is_awaited_while_the_guest_goes_on() -> None:
    provider = slow_files()
    async with files(provider) as instance:
        await instance.exports.drop_of(provider.File("a"))
        assert provider.closed == []
        await anyio.wait_all_tasks_blocked()
        assert provider.closed == ["a"]


async def test_close_that_waits_has_ended_when_the_instance_has() -> None:
    provider = slow_files()
    async with files(provider) as instance:
        await instance.exports.keep(provider.File("b"))
    assert provider.closed == ["b"]


async def test_close_that_waits_is_awaited_after_a_trap() -> None:
    provider = slow_files()
    async with files(provider) as instance:
        await instance.exports.keep(provider.File("c"))
        with pytest.raises(Trap, match="unknown handle index"):
            await instance.exports.twice("x")
        await anyio.wait_all_tasks_blocked()
        assert "c" in provider.closed


async def test_call_that_is_refused_for_an_argument_leaves_no_borrow_behind() -> None:
    text = """(component
      (import "file" (type $file (sub resource)))
      (core module $M (func (export "f") (param i32 i32)))
      (core instance $m (instantiate $M))
      (func (export "f") (param "file" (borrow $file)) (param "n" u32) (canon lift (core func $m "f"))))"""
    async with load(text).instantiate({"file": SimpleNamespace}) as instance:
        with pytest.raises(TypeError, match="'n'"):
            await instance.exports.f(SimpleNamespace(), "no number")
        assert len(instance.driver.store.instances[0].handles) == 0


TAKES = """(component
  (import "file" (type $file (sub resource)))
  (component $Inner
    (import "file" (type $file (sub resource)))
    (type $s (stream u8)) (type $f (future u8))
    (type $guest' (resource (rep i32)))
    (export $guest "guest" (type $guest'))
    (core func $new (canon resource.new $guest'))
    (core func $stream-new (canon stream.new $s))
    (core func $future-new (canon future.new $f))
    (core module $M
      (import "" "new" (func $new (param i32) (result i32)))
      (import "" "stream-new" (func $stream-new (result i64)))
      (import "" "future-new" (func $future-new (result i64)))
      (func (export "make") (result i32) (call $new (i32.const 7)))
      (func (export "stream") (result i32) (i32.wrap_i64 (call $stream-new)))
      (func (export "future") (result i32) (i32.wrap_i64 (call $future-new)))
      (func (export "take") (param i32 i32)))
    (core instance $m (instantiate $M (with "" (instance
      (export "new" (func $new)) (export "stream-new" (func $stream-new)) (export "future-new" (func $future-new))))))
    (func (export "make") (result (own $guest)) (canon lift (core func $m "make")))
    (func (export "stream") (result $s) (canon lift (core func $m "stream")))
    (func (export "future") (result $f) (canon lift (core func $m "future")))
    (func (export "take-file") (param "v" (own $file)) (param "n" u32) (canon lift (core func $m "take")))
    (func (export "take-guest") (param "v" (own $guest)) (param "n" u32) (canon lift (core func $m "take")))
    (func (export "take-stream") (param "v" $s) (param "n" u32) (canon lift (core func $m "take")))
    (func (export "take-future") (param "v" $f) (param "n" u32) (canon lift (core func $m "take"))))
  (instance $inner (instantiate $Inner (with "file" (type $file))))
  (export "all" (instance $inner)))"""


class Untouched:
    """An async iterable that must not be touched."""

    def __aiter__(self) -> Any:
        raise AssertionError

    async def aclose(self) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("file", File),
        ("guest", "make"),
        ("stream", "stream"),
        ("stream", Untouched),
        ("stream", lambda: b"bytes"),
        ("future", "future"),
    ],
)
async def test_call_that_is_refused_takes_nothing(name: str, value: Any) -> None:
    closed: list[str] = []
    provider = type("TheFile", (File,), {"closed": closed})
    async with load(TAKES).instantiate({"file": provider}) as instance:
        exports = instance.exports["all"]
        given = await exports[value]() if isinstance(value, str) else provider("x") if value is File else value()
        handles = instance.driver.store.instances[1].handles
        before = [type(handle) for handle in handles]
        with pytest.raises(TypeError, match="'n'"):
            await exports[f"take-{name}"](given, "no number")
        assert [type(handle) for handle in handles] == before
        assert closed == []
        await exports[f"take-{name}"](given if value is not Untouched else b"", 1)
        assert len(handles) == len(before) + 1

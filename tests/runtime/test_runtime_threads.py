"""Cooperative threads of guests (CanonicalABI.md, "Threads" and the `thread.*` built-ins)."""

from __future__ import annotations

from typing import Any

import pytest
from runtime_fakes import THREAD_START, U32, Core, FakeTable, Guest, HostCaller, HostImport, World

from p3host.runtime import canon


@pytest.fixture
def world() -> World:
    return World()


class Threads:
    """A guest with the thread built-ins, and a table of thread functions that log what they do."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.guest: Guest = world.guest()
        self.table = FakeTable(self.worker, None)
        self.main = 0

    def worker(self, argument: int) -> Core:
        self.world.log.append(f"{argument} begins")
        yield self.suspend()
        self.world.log.append(f"{argument} goes on")

    def new(self, argument: int = 0, func_index: int = 0) -> Any:
        return lambda: canon.canon_thread_new_indirect(
            self.guest.thread(), self.table, THREAD_START, func_index, argument
        )

    def index(self) -> Any:
        return lambda: canon.canon_thread_index(self.guest.thread())

    def resume_later(self, index: int) -> Any:
        return lambda: canon.canon_thread_resume_later(self.guest.thread(), index)

    def suspend(self) -> Any:
        return self.guest.suspend()

    def call(self, name: str, index: int) -> Any:
        return self.guest.switch(name, index)

    def run(self, body: Any, **named: Any) -> Any:
        def core() -> Core:
            self.main = yield self.index()
            yield from body()
            yield self.guest.task_return()

        return self.world.call(self.guest.lift(core, **named))


@pytest.fixture
def threads(world: World) -> Threads:
    return Threads(world)


def test_a_new_thread_is_suspended_until_it_is_resumed(threads: Threads) -> None:
    log = threads.world.log

    def body() -> Core:
        index = yield threads.new(5)
        yield threads.guest.yield_()
        log.append("main")
        yield threads.resume_later(index)
        log.append("resumed")
        yield threads.guest.yield_()
        yield threads.resume_later(index)

    assert threads.run(body).results == [None]
    assert log == ["main", "resumed", "5 begins", "5 goes on"]
    assert len(threads.guest.inst.threads) == 0
    assert threads.world.store.threads == {}


@pytest.mark.parametrize("abi", ["stackful", "sync"])
def test_each_thread_has_its_own_context(threads: Threads, abi: str) -> None:
    guest, log = threads.guest, threads.world.log

    def worker(argument: int) -> Core:
        log.append(canon.canon_context_get(guest.thread(), 0, 0xFFFF_FFFF))
        canon.canon_context_set(guest.thread(), 0, argument)
        yield guest.yield_()
        log.append(canon.canon_context_get(guest.thread(), 0, 0xFFFF_FFFF))

    threads.table = FakeTable(worker)

    def body() -> Core:
        for argument in (1, 2):
            yield threads.call("yield_then_resume", (yield threads.new(argument)))
        yield guest.yield_()

    threads.run(body)
    assert sorted(log) == [0, 0, 1, 2]


def test_context_get_gives_as_many_bits_as_its_type_has(threads: Threads) -> None:
    guest, log = threads.guest, threads.world.log

    def body() -> Core:
        canon.canon_context_set(guest.thread(), 1, 0x1_2345_6789)
        log.append(canon.canon_context_get(guest.thread(), 1, 0xFFFF_FFFF))
        log.append(canon.canon_context_get(guest.thread(), 1, 0xFFFF_FFFF_FFFF_FFFF))
        yield from ()

    threads.run(body)
    assert log == [0x2345_6789, 0x1_2345_6789]


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("suspend_then_resume", ["7 begins", "main"]),
        ("yield_then_resume", ["7 begins", "main"]),
        ("yield_then_promote", ["main"]),
    ],
)
def test_switching_to_a_suspended_thread(threads: Threads, name: str, order: list[str]) -> None:
    log = threads.world.log

    def worker(argument: int) -> Core:
        log.append(f"{argument} begins")
        if name == "suspend_then_resume":
            yield threads.resume_later(threads.main)

    threads.table = FakeTable(worker)

    def body() -> Core:
        index = yield threads.new(7)
        assert (yield threads.call(name, index)) == 0
        log.append("main")

    threads.run(body)
    assert log == order


@pytest.mark.parametrize("name", ["suspend_then_promote", "yield_then_promote"])
def test_promoting_a_thread_that_is_ready_runs_it_before_others(threads: Threads, name: str) -> None:
    log = threads.world.log

    def worker(argument: int) -> Core:
        log.append(argument)
        if argument == 3 and name == "suspend_then_promote":
            yield threads.resume_later(threads.main)

    threads.table = FakeTable(worker)

    def body() -> Core:
        indices = []
        for argument in (1, 2, 3):
            indices.append((yield threads.new(argument)))
            yield threads.resume_later(indices[-1])
        yield threads.call(name, indices[2])
        log.append("main")

    assert threads.run(body).results == [None]
    assert log == [3, 1, 2, "main"]


def test_a_callback_task_is_not_promoted_into_an_instance_that_is_taken(threads: Threads) -> None:
    guest, log = threads.guest, threads.world.log
    found: list[int] = []

    def waits() -> Core:
        found.append((yield threads.index()))
        yield guest.task_return()
        return 1

    def callback(*event: int) -> int:
        log.append("callback")
        return 0

    def body() -> Core:
        yield threads.call("yield_then_promote", found[0])
        log.append("main")

    store = threads.world.store
    first = HostCaller(guest.lift(waits, callback=callback))

    def core() -> Core:
        yield from body()

    second = HostCaller(guest.lift(core, abi="sync"))

    def both() -> None:
        first.begin()
        second.begin()

    store.tick(both)
    assert second.results == [None]
    assert log == ["main", "callback"]


def test_the_last_thread_must_not_end_before_the_task_is_resolved(threads: Threads) -> None:
    guest = threads.guest

    def body() -> Core:
        yield threads.resume_later((yield threads.new(1)))

    threads.table = FakeTable(lambda argument: None)
    world = threads.world
    world.call(guest.lift(body))
    assert "ended without calling task.return" in world.trap()


def test_a_thread_may_return_its_task_after_the_implicit_one_has_ended(threads: Threads) -> None:
    guest = threads.guest

    def worker(argument: int) -> Core:
        yield guest.task_return(argument, result=U32)

    threads.table = FakeTable(worker)

    def body() -> Core:
        yield threads.resume_later((yield threads.new(11)))

    assert threads.world.call(guest.lift(body, (), U32)).results == [11]


@pytest.mark.parametrize("name", ["resume_later", "suspend_then_resume", "yield_then_resume"])
@pytest.mark.parametrize("state", ["itself", "ready", "waiting", "ended", "unknown"])
def test_only_a_suspended_thread_can_be_resumed(threads: Threads, name: str, state: str) -> None:
    guest, gate = threads.guest, HostImport(threads.world.store)
    wait = guest.lower(gate)

    def worker(argument: int) -> Core:
        if state == "waiting":
            yield wait()

    threads.table = FakeTable(worker)

    def body() -> Core:
        index = yield threads.new(1)
        if state in ("ready", "waiting", "ended"):
            yield threads.resume_later(index)
        if state in ("waiting", "ended"):
            yield guest.yield_()
        index = {"itself": threads.main, "unknown": 99}.get(state, index)
        if name == "resume_later":
            yield threads.resume_later(index)
        else:
            yield threads.call(name, index)

    threads.run(body)
    expected = "unknown thread index" if state in ("ended", "unknown") else "is not suspended"
    assert expected in threads.world.trap()


@pytest.mark.parametrize("name", ["suspend_then_promote", "yield_then_promote"])
@pytest.mark.parametrize("state", ["itself", "new", "suspended", "waiting", "ready", "waiting for what is there"])
def test_only_a_thread_that_is_ready_is_promoted(threads: Threads, name: str, state: str) -> None:
    """Any other stays as it is, and the one that asks suspends itself or yields all the same."""
    guest, gate, log = threads.guest, HostImport(threads.world.store), threads.world.log
    call = guest.lower(gate, is_async=True)

    def worker(argument: int) -> Core:
        if state == "suspended":
            yield guest.suspend()
        if state.startswith("waiting"):
            yield guest.set_wait(argument)
        log.append("other")

    def third(argument: int) -> None:
        log.append("third")

    threads.table = FakeTable(worker, third)

    def body() -> Core:
        set_index = yield guest.set_new()
        yield guest.join((yield call()) >> 4, set_index)
        index = yield threads.new(set_index)
        if state in ("suspended", "waiting", "waiting for what is there"):
            yield threads.resume_later(index)
            yield guest.yield_()
        yield threads.resume_later((yield threads.new(0, func_index=1)))
        if state == "ready":
            yield threads.resume_later(index)
        if state == "waiting for what is there":
            gate.calls[0].on_resolve(None)
        yield threads.call(name, threads.main if state == "itself" else index)
        log.append("went on")

    threads.run(body)
    assert threads.world.store.trap is None
    is_ready = state in ("ready", "waiting for what is there")
    goes_on = name == "yield_then_promote"
    assert log == [*(["other"] if is_ready else []), "third", *(["went on"] if goes_on else [])]


@pytest.mark.parametrize("name", ["suspend_then_promote", "yield_then_promote"])
def test_promoting_an_unknown_thread_traps(threads: Threads, name: str) -> None:
    def body() -> Core:
        yield threads.call(name, 99)

    threads.run(body)
    assert "unknown thread index 99" in threads.world.trap()


def test_a_null_in_the_table_traps(threads: Threads) -> None:
    def body() -> Core:
        yield threads.new(0, func_index=1)

    threads.run(body)
    assert "uninitialized element" in threads.world.trap()


def test_yielding_lets_each_ready_thread_have_its_turn_in_order(threads: Threads) -> None:
    guest, log = threads.guest, threads.world.log

    def worker(argument: int) -> Core:
        for _ in range(2):
            log.append(argument)
            yield guest.yield_()

    threads.table = FakeTable(worker)

    def body() -> Core:
        for argument in (1, 2, 3):
            yield threads.resume_later((yield threads.new(argument)))
        yield guest.yield_()
        log.append("main")

    threads.run(body)
    assert log == [1, 2, 3, "main", 1, 2, 3]


def test_a_suspended_thread_outlives_its_resolved_task_without_harm(threads: Threads) -> None:
    def body() -> Core:
        yield threads.new(1)

    assert threads.run(body).results == [None]
    assert threads.world.store.trap is None

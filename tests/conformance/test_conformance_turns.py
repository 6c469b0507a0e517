"""Calls that are cancelled in any turn of the event loop, while others of the same instances go on: those get the right
answers, and nothing is left of the cancelled one in any handle table, run queue or host task."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from c_guests import Later, guest, interface, until
from guest_text import behaviours

from p3host import Instance
from p3host.testing.leaks import Leak, Origins, find_leaks

pytestmark = pytest.mark.anyio

MOST_TURNS = 400
AFTER = 3  # turns beyond the first call that came to its end
OTHERS = 3

Call = Callable[[], Awaitable[Any]]
Setting = tuple[Sequence[Instance], Call, Any]
"""Instances, a call, and what it returns."""


async def some_turns(number: int) -> None:
    for _ in range(number):
        await checkpoint()


async def work(tag: str, ms: int) -> str:
    await some_turns(3)
    return f"{tag} {ms}"


async def wait(ms: int) -> int:
    await some_turns(4)
    return ms


class Source:
    """A stream and a future of the host's, which take their time."""

    @staticmethod
    def source() -> tuple[AsyncIterator[bytes], Awaitable[int]]:
        return Source.pieces(), Source.number()

    @staticmethod
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            await checkpoint()
            yield b"\x01\x02"

    @staticmethod
    def number() -> Awaitable[int]:
        return Later(5)


async def piped(pipe: Callable[..., Awaitable[Any]]) -> tuple[bytes, int]:
    stream, total = await pipe(Source.pieces())
    with stream, total:
        return await stream.read_all(), await total


async def quadrupled(quadruple: Callable[..., Awaitable[Any]]) -> int:
    future = await quadruple(Source.number())
    with future:
        result: int = await future
        return result


@asynccontextmanager
async def of_behaviours(name: str) -> AsyncIterator[Setting]:
    async with behaviours().instantiate({"wait": wait}) as instance:
        yield [instance], lambda: getattr(instance.exports, name)(7), 7


@asynccontextmanager
async def of_c1(name: str) -> AsyncIterator[Setting]:
    host = {"p3host:c1/host@0.1.0": interface(work=work, plain=lambda x: x)}
    async with guest("c1").instantiate(host) as instance:
        exports = instance.exports["p3host:c1/guest@0.1.0"]
        if name == "pipe":
            yield [instance], lambda: piped(exports.pipe), (b"\x01\x02" * 3, 6)
        else:
            yield [instance], lambda: exports.run_many(3), ["t00 30", "t01 20", "t02 10"]


@asynccontextmanager
async def of_c2(name: str) -> AsyncIterator[Setting]:
    host = {"p3host:c2/host@0.1.0": interface(work=work, source=Source.source)}
    async with guest("c2").instantiate(host) as instance:
        exports = instance.exports["p3host:c2/guest@0.1.0"]
        if name == "sum":
            yield [instance], exports.sum, 14
        else:
            yield [instance], lambda: exports.stackful(2), ["s00 20", "s01 10"]


@asynccontextmanager
async def of_pair(name: str, composed: bool) -> AsyncIterator[Setting]:
    host = {"p3host:c-back/host@0.1.0": interface(work=work)}
    if composed:
        async with guest("c-pair").instantiate(host) as instance:
            yield [instance], *call_of_front(instance, name)
        return
    async with guest("c-back").instantiate(host) as back:
        imports = {"p3host:c-back/guest@0.1.0": back.exports["p3host:c-back/guest"]}
        async with guest("c-front").instantiate(imports) as front:
            yield [back, front], *call_of_front(front, name)


def call_of_front(instance: Instance, name: str) -> tuple[Call, Any]:
    exports = instance.exports["p3host:c-front/guest"]
    if name == "pipe":
        return lambda: piped(exports.pipe), (bytes(2 * (byte + 1) + 3 for byte in b"\x01\x02" * 3), 6)
    if name == "quadruple":
        return lambda: quadrupled(exports.quadruple), 20
    return lambda: exports[name]("tag", 5), "tag 5"


SETTINGS: dict[str, Callable[[], AbstractAsyncContextManager[Setting]]] = {
    **{
        name: lambda name=name: of_behaviours(name)  # type: ignore[misc]
        for name in ("nap", "nap_anyway", "nap_stackful", "nap_deaf", "nap_alone")
    },
    **{f"c1 {name}": lambda name=name: of_c1(name) for name in ("run-many", "pipe")},  # type: ignore[misc]
    **{f"c2 {name}": lambda name=name: of_c2(name) for name in ("stackful", "sum")},  # type: ignore[misc]
    **{
        f"{how} {name}": lambda name=name, how=how: of_pair(name, how == "composed")  # type: ignore[misc]
        for name in ("ask", "ask-blocking", "pipe", "quadruple")
        for how in ("composed", "linked")
    },
}


def left(instances: Sequence[Instance]) -> list[Leak]:
    return [leak for instance in instances for leak in find_leaks(instance, Origins())]


@pytest.mark.parametrize("name", SETTINGS)
async def test_a_call_that_is_cancelled_in_any_turn_leaves_nothing_and_disturbs_nobody(name: str) -> None:
    async with SETTINGS[name]() as (instances, call, expected):
        assert await call() == expected
        ended = 0
        for turns in range(MOST_TURNS):
            others: list[Any] = []

            async def another(others: list[Any] = others) -> None:
                others.append(await call())

            async def victim() -> None:
                nonlocal ended
                assert await call() == expected
                ended += 1

            async with anyio.create_task_group() as calls:
                for _ in range(OTHERS):
                    calls.start_soon(another)
                async with anyio.create_task_group() as cancelled:
                    cancelled.start_soon(victim)
                    await some_turns(turns)
                    cancelled.cancel_scope.cancel()
            assert others == [expected] * OTHERS
            await until(lambda: not left(instances))
            assert not any(instance.driver.calls for instance in instances)
            if ended > AFTER:
                break
        assert ended
        assert await call() == expected

"""Whatever a guest's types let it pass to WASI, it gets an answer of the type that the interface says, or a trap."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Coroutine
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest
from anyio.abc import ByteReceiveStream
from anyio.lowlevel import checkpoint
from interface_text import Function, read, split
from interface_values import Values
from interfaces_p2 import INTERFACES as P2
from interfaces_p3 import INTERFACES as P3
from wasi_fakes import TaskGroupBackground

from p3host import Directory, Err, Exit, Network, Trap, Wasi
from p3host.values import Ok, class_name, python_name

pytestmark = pytest.mark.anyio

CALLS = 1500
TURNS = 8  # of the event loop, for each call
LOOPBACK = Network(
    tcp_connect=["localhost:1"],
    tcp_bind=["localhost:0"],
    udp_send=["localhost:1"],
    udp_bind=["localhost:0"],
    lookup=["localhost"],
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "b").write_text("b")
    (tmp_path / "a.txt").write_text("some text")
    (tmp_path / "link").symlink_to("a.txt")
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("world", "table"), [("0.2", P2), ("0.3", P3)])
async def test_every_answer_is_of_its_type(world: str, table: str, seed: int, root: Path) -> None:
    interfaces = read(table, f"{world}.12")
    wasi = Wasi(
        stdin=b"abc" * 1000,
        stdout=io.BytesIO(),
        stderr=io.BytesIO(),
        directories=[Directory(root, "/", writable=True)],
        network=LOOPBACK,
        time_zone="Europe/Berlin",
    )
    random = Random(seed)
    async with anyio.create_task_group() as background:
        given = wasi.interfaces(background=TaskGroupBackground(background))
        values = Values(interfaces, {name: given[f"{name}@{world}"] for name in interfaces}, random)
        functions = [(name, function) for name, interface in interfaces.items() for function in interface.functions]
        answered: set[str] = set()
        for _ in range(CALLS):
            name, function = random.choice(functions)
            try:
                arguments = [values.arbitrary(t, name) for _, t in function.params]
            except LookupError:
                continue
            if await call(values, name, function, arguments):
                answered.add(f"{name}#{function.name}")
        background.cancel_scope.cancel()
    assert len(answered) > len(functions) / 2


async def call(values: Values, interface: str, function: Function, arguments: list[Any]) -> bool:
    """Whether it was answered: it may wait for what never comes."""
    result = function.result or "_"
    answered = False

    async def answer() -> None:
        nonlocal answered
        later: list[Any] = []
        try:
            value = provided(values, interface, function.name)(*arguments)
            if isinstance(value, Awaitable) and not result.startswith("future"):
                value = await value
            if result.startswith("result<"):
                value = Ok(value)
            answered = True
            await settle(values, value, result, interface, later)
        except Err as failure:
            answered = True
            values.check(failure, result, interface)
        except (Trap, Exit):
            answered = True
        finally:
            for coroutine in later:
                coroutine.close()

    async with anyio.create_task_group() as calls:
        calls.start_soon(answer)
        for _ in range(TURNS):
            await checkpoint()
        calls.cancel_scope.cancel()
    return answered


def provided(values: Values, interface: str, name: str) -> Any:
    provider = values.providers[interface]
    if not name.startswith("["):
        return getattr(provider, python_name(name))
    kind, _, rest = name.strip("[").partition("]")
    resource, _, member = rest.partition(".")
    found = getattr(provider, class_name(resource))
    return found if kind == "constructor" else getattr(found, python_name(member))


async def settle(values: Values, value: Any, t: str, interface: str, later: list[Any]) -> None:
    """Checks an answer, and what comes after it: streams are dropped, futures awaited. `later` are its coroutines."""
    head, _, inner = t.partition("<")
    parts = split(inner.removesuffix(">"))
    if head == "tuple":
        later += [each for each in value if isinstance(each, Coroutine)]
        for each, part in zip(value, parts, strict=True):
            await settle(values, each, part, interface, later)
    elif head == "result" and isinstance(value, Ok) and parts:
        await settle(values, value.value, parts[0], interface, later)
    elif head == "stream":
        if isinstance(value, ByteReceiveStream):
            with suppress(anyio.EndOfStream):
                await value.receive()
        await value.aclose()
    elif head == "future":
        if isinstance(value, Coroutine):
            later.append(value)
        try:
            outcome: Any = Ok(await value)
        except Err as failure:
            outcome = failure
        values.check(outcome, parts[0], interface)
    elif t != "_":
        values.check(value, t, interface)
        values.keep(value)

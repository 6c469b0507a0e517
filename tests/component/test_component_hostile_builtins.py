"""The table of misuses: each ends in the trap that the specification demands, or in none, and the host loses nothing.

One loop runs all rows of a backend beside one instance whose call is in progress all the time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from guest_text import behaviours, load
from hostile_builtins import BUILTINS, HANDLES, VALUE, Handle
from hostile_components import canons, hostile_component
from hostile_hosts import Host, assert_over
from hostile_places import ALLOWED, NO_LEAVING, NUMBERS, expected, places_text
from hostile_rows import ROWS
from hostile_table import PREPARED, Row

from p3host import Trap
from p3host.binary.definitions import CanonKind
from p3host.binary.validate_canon import BUILTINS as CHECKS
from p3host.binary.validate_canon import unsupported
from p3host.component import Component, Instance
from p3host.runtime.instance import ErrorContext
from p3host.runtime.resource import ResourceHandle
from p3host.runtime.stream import CopyEnd
from p3host.runtime.task import Subtask
from p3host.runtime.waitable import WaitableSet

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend = request.param
    assert isinstance(backend, str)
    return backend


@pytest.fixture(scope="module")
async def neighbour(anyio_backend: str) -> AsyncIterator[Instance]:
    """Another instance on the same loop, in which a call waits for the host until the last row is over."""
    results = []
    begun, over = anyio.Event(), anyio.Event()

    async def wait(ms: int) -> int:
        if ms:
            begun.set()
            await over.wait()
        return ms

    async with behaviours().instantiate({"wait": wait}) as other:

        async def nap() -> None:
            results.append(await other.exports.nap(3))

        async with anyio.create_task_group() as group:
            group.start_soon(nap)
            await begun.wait()
            yield other
            assert results == []
            over.set()
        assert results == [3]
        assert not other.driver.store.threads


def kind_of(entry: Any) -> str:
    match entry:
        case ResourceHandle(own=own):
            return "own" if own else "borrow"
        case CopyEnd():
            return entry.what
        case Subtask():
            return "subtask"
        case WaitableSet():
            return "waitable set"
        case ErrorContext():
            return "error context"
    raise AssertionError(entry)


ROWS_OF_A_COMPONENT = 50  # an instance costs time for each export


@cache
def component_of(number: int) -> tuple[Component, dict[Row, str]]:
    """One component for some rows, and the export of each."""
    rows = ROWS[number * ROWS_OF_A_COMPONENT :][:ROWS_OF_A_COMPONENT]
    exports = {row: f"row-{place}" for place, row in enumerate(rows)}
    code = [row.code_text(export) for row, export in exports.items()]
    return load(hostile_component(code, [row.export_text(export) for row, export in exports.items()])), exports


# Built-ins that can't do what they are for in a function that is entered from the host alone
NEVER_PASS = {"return-utf16", "return-elsewhere", "cancel", "suspend", "wait-sync", "suspend-then-resume"}
NEVER_PASS |= {
    "lend-and-give",
    "lend-and-give-async",
    "give-and-lend",
    "give-twice",
    "suspend-then-promote",
    "f-read-sync",
    "f-write-sync",
}


def test_every_built_in_has_its_rows() -> None:
    refused = {kind for kind, check in CHECKS.items() if check is unsupported}
    assert {builtin.kind for builtin in BUILTINS.values()} == {*CanonKind, "lower"} - refused
    assert {row.builtin for row in ROWS if row.says is None} == {*BUILTINS, "lift"} - NEVER_PASS
    assert {row.builtin for row in ROWS if row.says is not None} >= {
        name for name, builtin in BUILTINS.items() if builtin.operands and builtin.operands != (VALUE,)
    }


def test_every_operand_of_a_built_in_is_known() -> None:
    for name, (_, signature) in canons().items():
        if name in BUILTINS:
            assert len(BUILTINS[name].operands) == signature.partition("(result")[0].count("i32"), name


def test_every_built_in_that_can_be_async_is_there_in_both_forms() -> None:
    forms: dict[CanonKind | str, set[bool]] = {}
    for builtin in BUILTINS.values():
        forms.setdefault(builtin.kind, set()).add(" async" in builtin.text)
    assert {kind for kind, ways in forms.items() if len(ways) == 2} == {
        "lower",
        CanonKind.SUBTASK_CANCEL,
        *(kind for kind in CanonKind if kind.name.endswith(("_READ", "_WRITE"))),
    }


@pytest.mark.parametrize("kind", list(CanonKind), ids=lambda kind: kind.text)
def test_every_kind_of_handle_is_given_to_every_built_in_that_takes_one(kind: CanonKind) -> None:
    for builtin in (builtin for builtin in BUILTINS.values() if builtin.kind is kind):
        for operand in builtin.operands:
            if isinstance(operand, Handle):
                tried = {misuse.what.removeprefix("of another type: ") for misuse in operand.misuses()}
                assert tried >= set(HANDLES) - set(operand.accepted)


@pytest.mark.parametrize(("number", "row"), list(enumerate(ROWS)), ids=map(str, ROWS))
async def test_misuse(number: int, row: Row, neighbour: Instance) -> None:
    component, exports = component_of(number // ROWS_OF_A_COMPONENT)
    host = Host()
    async with component.instantiate(host.imports, **row.settings) as instance:
        store = instance.driver.store
        await instance.exports.prepare(host.file(), host.stream())
        assert [kind_of(entry) for entry in store.instances[0].handles] == list(PREPARED)
        export = instance.exports[exports[row]]
        args = (host.file(),) if row.borrows else ()
        if row.says is None:
            host.given.append(await export(*args))
            assert Counter(map(kind_of, store.instances[0].handles)) == Counter(row.leaves)
            await instance.exports.fine()
        else:
            if row.late:
                await export(*args)
            else:
                with pytest.raises(Trap) as raised:
                    await export(*args)
                assert re.search(row.says, raised.value.message)
            with pytest.raises(Trap) as raised:
                await instance.exports.fine()
            assert re.search(f"after it trapped: .*{row.says}", raised.value.message, re.DOTALL)
            assert not instance.driver.calls
            with anyio.fail_after(10):
                while instance.driver.host_tasks:
                    await checkpoint()
            assert not any((store.queue, store.yielded, store.inbox, store.frozen))
            assert store.held is store.preempted is store.current is None
            host.assert_closed()
        assert await neighbour.exports.add(1, 2) == 3
    assert_over(instance, host)


@cache
def places() -> Component:
    return load(places_text())


@pytest.mark.parametrize("builtin", BUILTINS)
@pytest.mark.parametrize("place", NO_LEAVING)
async def test_nothing_leaves_an_instance_from_realloc_and_after_a_return(place: str, builtin: str) -> None:
    host = Host()
    async with places().instantiate(host.imports) as instance:
        await instance.exports.prepare(host.file(), host.stream())
        await act(instance, host, place, f"zeros {builtin}", expected(place, builtin))
    assert_over(instance, host)


@pytest.mark.parametrize("builtin", BUILTINS)
async def test_destructor_is_a_function_that_may_not_block(builtin: str) -> None:
    host = Host()
    async with places().instantiate(host.imports) as instance:
        await instance.exports.prepare(host.file(), host.stream())
        await act(instance, host, "destructor", f"good {builtin}", expected("destructor", builtin))
    assert_over(instance, host)


@pytest.mark.parametrize("action", ALLOWED)
@pytest.mark.parametrize("place", [*NO_LEAVING, "destructor"])
async def test_what_stays_within_the_instance_is_allowed_everywhere(place: str, action: str) -> None:
    host = Host()
    async with places().instantiate(host.imports) as instance:
        await instance.exports.prepare(host.file(), host.stream())
        await act(instance, host, place, action, None)
        kinds = [kind_of(entry) for entry in instance.driver.store.instances[0].handles]
        assert kinds == [*PREPARED, "own"]
    assert_over(instance, host)


async def act(instance: Instance, host: Host, place: str, action: str, says: str | None) -> None:
    """Has the guest do something in one of its places, and checks what comes of it."""
    exports = instance.exports
    await exports.prepare_own(NUMBERS[action])
    args = ("text",) if place == "realloc" else ()
    if says is None:
        await exports[place](*args)
        await exports.fine()
        return
    with pytest.raises(Trap) as raised:
        await exports[place](*args)
    assert re.search(says, raised.value.message)
    with pytest.raises(Trap, match="after it trapped"):
        await exports[place](*args)
    host.assert_closed()


@pytest.mark.parametrize("builtin", BUILTINS)
async def test_start_function_is_a_function_that_may_not_block(builtin: str, neighbour: Instance) -> None:
    says = expected("start", builtin)
    host = Host(mode=NUMBERS[f"good {builtin}"])
    instance = places().instantiate(host.imports)
    if says is None:
        async with instance:
            await instance.exports.prepare(host.file(), host.stream())
            await instance.exports.fine()
        assert_over(instance, host)
        return
    with pytest.raises(Trap) as raised:
        async with instance:
            pytest.fail("the instance must not be entered")
    assert re.search(says, raised.value.message)
    assert instance.machine.closed
    assert not instance.machine.unfinished
    assert not instance.driver.host_tasks
    assert await neighbour.exports.add(1, 2) == 3

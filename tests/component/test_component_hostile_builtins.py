"""The table of misuses: each ends in the trap that the specification demands, or in none, and the host has lost nothing.

One loop runs all rows of a backend beside one instance whose call is in progress all the time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import anyio
import pytest
from guest_text import behaviours, let_others_run, load
from hostile_components import hostile_component
from hostile_rows import PREPARED, ROWS, Row

from p3host import Trap
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


class Host:
    """The imports, and what becomes of all that the host gave to one instance."""

    def __init__(self) -> None:
        self.given: list[Any] = []
        self.waiting = 0
        self.files: list[HostFile] = []

    @contextmanager
    def counted(self) -> Iterator[None]:
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    async def wait(self, ms: int) -> int:
        with self.counted():
            await anyio.sleep(ms)
        return ms

    async def lend(self, file: HostFile) -> None:
        assert file in self.files
        with self.counted():
            await anyio.sleep_forever()

    async def stream(self) -> AsyncIterator[bytes]:
        with self.counted():
            await anyio.sleep_forever()
        yield b""

    def file(self) -> HostFile:
        self.files.append(HostFile())
        return self.files[-1]

    def assert_closed(self) -> None:
        """What the guest owned was closed once, what it gave back or had borrowed was not."""
        mine, *borrowed = self.files
        assert mine.times_closed == (0 if mine in self.given else 1)
        assert not any(file.times_closed for file in borrowed)

    @property
    def imports(self) -> dict[str, Any]:
        silent = dict.fromkeys(("borrow-file", "many", "list", "string", "give-error"), lambda *args: None)
        give = dict.fromkeys(("give-file", "give-stream", "give-future"), self.given.append)
        return {"wait": self.wait, "lend": self.lend, "pair": lambda: (1, 2), "file": HostFile, **silent, **give}


class HostFile:
    def __init__(self) -> None:
        self.times_closed = 0

    def close(self) -> None:
        self.times_closed += 1


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


def assert_over(instance: Instance, host: Host) -> None:
    """Nothing of an instance is left in the host once its block is left."""
    assert not instance.driver.host_tasks
    assert not instance.driver.calls
    assert instance.machine.closed
    assert not instance.machine.unfinished
    assert not host.waiting
    host.assert_closed()


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
            await export(*args)
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
            await let_others_run()  # which is when the host's functions end
            assert not instance.driver.calls
            assert not instance.driver.host_tasks
            assert not (store.queue or store.yielded or store.inbox or store.frozen or store.held or store.preempted)
            assert store.current is None
            host.assert_closed()
        assert await neighbour.exports.add(1, 2) == 3
    assert_over(instance, host)

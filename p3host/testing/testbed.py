"""Where a test's components are loaded and run, with everything around them in the test's hands."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from anyio.lowlevel import checkpoint

from ..component import Component, Instance, Interface
from ..component.commands import run_function, run_interface
from ..engine import MachineLimits
from ..errors import Deadlock, Err, Exit, Trap
from ..host.driver import Driver
from ..host.tasks import TaskTree, task_tree
from ..wasi import RealTime, Wasi
from ..wasi.http import HttpRequest, HttpResponse, handle
from ..wasi.randomness import SYSTEM_RANDOM
from ..wasi.stdio import Input
from .clocks import NEW_YEAR, LoopTimeOfDay, ManualClock
from .files import Contents, Files
from .http_peers import HttpPeers, Peer
from .leaks import LeakError, Origins, find_leaks
from .output import Output
from .schedule import Schedule, current_schedule
from .virtual_time import current_virtual_time

GRACE_SECONDS = 1.0
TURNS_TO_SETTLE = 20  # of an event loop in real time, for what goes on without waiting for anything


@dataclass(frozen=True)
class Guest:
    """A component that runs in a test: its exports, and what can be seen of it. `instance` is the instance itself."""

    instance: Instance
    stdout: Output
    stderr: Output
    files: Files
    http: HttpPeers

    @property
    def exports(self) -> Interface:
        return self.instance.exports

    def tasks(self) -> TaskTree:
        """What goes on in the instance now: who waits for whom, and for how long."""
        return self.instance.tasks()

    def handle(self, request: HttpRequest) -> AbstractAsyncContextManager[HttpResponse]:
        """Has the guest's `wasi:http/handler` answer a request: see `p3host.wasi.http.handle`."""
        return handle(self.exports["wasi:http/handler"], request)


@dataclass(frozen=True)
class Completed:
    """A command that has ended. `status` is its exit status: 0 for success."""

    status: int
    stdout: Output
    stderr: Output
    files: Files


class Testbed:
    """Loads components, each once, and runs them with nothing of the machine around them: in the place of clocks,
    files, standard streams and random numbers they get what the test names, and the same each time.
    """

    __test__ = False  # for pytest: it is no class of tests

    def __init__(self, base: str | os.PathLike[str] = ".") -> None:
        self.base = Path(base)
        self.loaded: dict[object, Component] = {}

    def load(self, source: Component | str | os.PathLike[str] | bytes) -> Component:
        """The component of a file (a relative path is taken from `base`), of bytes, or of text that starts with a
        paren or a comment. What has been loaded before is not loaded again, unless its file has changed.

        :raises DecodeError: if it is no valid component.
        :raises OSError: if the file can't be read.
        """
        if isinstance(source, Component):
            return source
        key: object = source
        if isinstance(source, os.PathLike) or (isinstance(source, str) and not source.lstrip().startswith(("(", ";;"))):
            source = self.base / source
            status = source.stat()
            key = source, status.st_mtime_ns, status.st_size
        if key not in self.loaded:
            self.loaded[key] = Component.load(source)
        return self.loaded[key]

    @asynccontextmanager
    async def instantiate(
        self,
        component: Component | str | os.PathLike[str] | bytes,
        imports: Mapping[str, Any] | None = None,
        *,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        stdin: Input = b"",
        files: Mapping[str, Contents] | None = None,
        http: Mapping[str, Peer] | HttpPeers | None = None,
        seed: int = 0,
        now: datetime = NEW_YEAR,
        clock: ManualClock | None = None,
        wasi: Wasi | None = None,
        limits: MachineLimits | None = None,
        grace_seconds: float = GRACE_SECONDS,
        schedule: Schedule | None = None,
        allow_leaks: Collection[str] | bool = (),
    ) -> AsyncIterator[Guest]:
        """An instance for `async with`, with:

        - `imports`: any Python objects, or what `double` makes.
        - `args`, `env`, `stdin` as `Wasi` takes them; what the guest writes is in `stdout` and `stderr`.
        - `files`: directories by the paths that the guest knows them by, each with its files:
          `{"/data": {"in.txt": "some text"}}`, or `read_only({...})` for one that it can't write to.
        - `http`: what its HTTP requests reach, by address: see `HttpPeers`.
        - `seed`: of its random numbers. `now`: the time of day at which it begins; time goes on with the event loop's
          clock, or when the test says so if it gives a `clock`.
        - `wasi`: what else it is granted. Clocks and random numbers that it names come before `now` and `seed`.
        - `limits` and `grace_seconds` as `Component.instantiate` takes them.

        In virtual time, calls that can never return raise `Deadlock`. In an exploration, or with a `schedule`, all that
        happens in the instance is up to that.

        When the block is left without an error, nothing may be left in the instance but what `allow_leaks` names by
        kind or name (see `Leak`); True allows all.

        :raises LinkError: with all imports that are missing or wrong.
        :raises LeakError: with what is left, on leaving.
        :raises ValueError: for paths in `files` that are none, and for a moment without a time zone.
        :raises TypeError: if `wasi` has what is given here: arguments, environment, standard streams.
        """
        stdout, stderr = Output(), Output()
        peers = http if isinstance(http, HttpPeers) else HttpPeers(http or {})
        origins = Origins()
        wasi = wasi or Wasi()
        check_grants(wasi)
        real_time = isinstance(wasi.system_clock, RealTime)
        scheduler = schedule or current_schedule.get()
        with Files(files or {}) as given_files:
            instance = self.load(component).instantiate(
                imports,
                wasi=replace(
                    wasi,
                    args=tuple(args),
                    env=dict(env or {}),
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    directories=(*wasi.directories, *given_files.directories),
                    http=wasi.http if http is None else peers,
                    random=random.Random(seed) if wasi.random is SYSTEM_RANDOM else wasi.random,
                    monotonic_clock=clock or wasi.monotonic_clock,
                    system_clock=clock or (LoopTimeOfDay(now) if real_time else wasi.system_clock),
                ),
                limits=limits,
                grace_seconds=grace_seconds,
                scheduler=scheduler,
                on_handle=origins.note,
            )
            explaining = nullcontext() if schedule is None else schedule.explaining()
            with explaining, reporting_deadlocks(instance):
                async with instance:
                    origins.store = instance.driver.store
                    yield Guest(instance, stdout, stderr, given_files, peers)
                    if allow_leaks is not True:
                        await check_leaks(instance, origins, allow_leaks or ())

    async def run(self, component: Component | str | os.PathLike[str] | bytes, *args: str, **options: Any) -> Completed:
        """Runs a command, a component that exports `wasi:cli/run`, to its end. `args` are those after the program's
        name; the options are those of `instantiate`, but that anything may be left in the instance unless they say
        otherwise: a command's things end with it.

        :raises Trap: if it traps; a note tells what it has written.
        :raises LinkError: if it is no command, or for its imports.
        """
        loaded = self.load(component)
        run_interface(loaded)  # before anything of it runs
        status = 0
        options = {"allow_leaks": True} | options
        async with self.instantiate(loaded, args=(loaded.name, *args), **options) as guest:
            try:
                await run_function(guest.instance)()
            except Exit as left:
                status = left.status
            except Err:
                status = 1
            except Trap as trap:
                trap.add_note(f"It has written {guest.stdout.text!r} to stdout, {guest.stderr.text!r} to stderr")
                raise
        return Completed(status, guest.stdout, guest.stderr, guest.files)


def check_grants(wasi: Wasi) -> None:
    """
    :raises TypeError: if it grants what a testbed gives by arguments of its own.
    """
    given = [name for name in ("args", "env", "stdin", "stdout", "stderr") if getattr(wasi, name)]
    if given:
        raise TypeError(f"wasi={given[0]}: a testbed's instances get it by an argument of its own, or collect it")


@contextmanager
def reporting_deadlocks(instance: Instance) -> Iterator[None]:
    """Within the block, the instance's calls end with `Deadlock` when nothing in the event loop can ever go on, which
    virtual time tells."""

    def end_calls() -> bool:
        driver: Driver | None = getattr(instance, "driver", None)  # made when the instance's block is entered
        if driver is None or not driver.calls or driver.store.trap is not None:
            return False
        driver.store.poison(Deadlock(f"no task can ever go on:\n{task_tree(driver)}"))
        return True

    virtual_time = current_virtual_time()
    if virtual_time is None:
        yield
        return
    virtual_time.on_stuck[instance] = end_calls
    try:
        yield
    finally:
        del virtual_time.on_stuck[instance]


async def check_leaks(instance: Instance, origins: Origins, allowed: Collection[str]) -> None:
    """
    :raises LeakError: if something is left that is not allowed, once the guests have done all that they can do now.
    """
    virtual_time = current_virtual_time()
    if virtual_time is None:
        for _ in range(TURNS_TO_SETTLE):
            await checkpoint()
    else:
        await virtual_time.settled()
    if instance.driver.store.trap is None:
        leaks = [leak for leak in find_leaks(instance, origins) if not leak.allowed_by(allowed)]
        if leaks:
            raise LeakError(leaks)

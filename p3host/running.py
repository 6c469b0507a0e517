"""What `p3host run` does once its options are understood: runs one command, until it ends or is told to."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

import anyio
from anyio.abc import TaskGroup, TaskStatus

from .component import Component, Instance
from .component.commands import run_function, run_interface
from .errors import Err, Exit
from .wasi import Wasi

TIMED_OUT = 124
GRACE_SECONDS = 1.0  # how long a guest may take to end once it is told to
OVERDUE_SECONDS = 2.0  # how long the host may take after that, which can wait for a disk that doesn't answer


def stopped_by(number: int) -> int:
    """The exit status of a process that a signal ends, as shells tell it."""
    return 128 + number


def heeded_signals() -> list[signal.Signals]:
    """Those that tell a process to stop, without what whoever started this one had it ignore."""
    return [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """In the block, SIGINT and SIGTERM end this process at once, but while a command runs; SIGUSR1 is ignored, but
    while there is something to tell."""
    handlers = {number: signal.getsignal(number) for number in heeded_signals()}
    leave_on(handlers)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def leave_on(numbers: Iterable[signal.Signals]) -> None:
    for number in numbers:
        signal.signal(number, leave)


def leave(number: int, frame: FrameType | None) -> None:
    os._exit(stopped_by(number))


async def run_command(component: Component, wasi: Wasi, limit_seconds: float | None, say: Callable[[str], None]) -> int:
    """Runs a command, and returns its exit status.

    SIGINT and SIGTERM have the guest cancelled, as does the end of `limit_seconds`. If the guest, or what the host does
    for it, can't be ended in time after that, or such a signal comes a second time, the process ends. On SIGUSR1, `say`
    is given what goes on in the guest.

    :raises LinkError: if it is no command, or needs more than WASI.
    :raises Trap: if it traps.
    """
    run_interface(component)  # before anything of it runs
    return await CommandRun(component, wasi, limit_seconds, say).run()


class CommandRun:
    def __init__(
        self, component: Component, wasi: Wasi, limit_seconds: float | None, say: Callable[[str], None]
    ) -> None:
        self.component = component
        self.wasi = wasi
        self.limit_seconds = limit_seconds
        self.say = say
        self.scope = anyio.CancelScope()  # what the guest runs in
        self.stop_status: int | None = None  # since it has been told to stop
        self.ended = anyio.Event()

    async def run(self) -> int:
        status = 0
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            await group.start(self.stop_on_signals)
            if self.limit_seconds is not None:
                group.start_soon(self.stop_after, self.limit_seconds)
            with self.scope:
                try:
                    await self.run_guest(group)
                except Exit as left:
                    status = left.status
                except Err:
                    status = 1
                except Exception as error:
                    failure = error
            self.ended.set()
            group.cancel_scope.cancel()
        if self.scope.cancelled_caught:
            assert self.stop_status is not None
            return self.stop_status
        if failure is not None:  # as it is, not in a group
            raise failure
        return status

    async def run_guest(self, group: TaskGroup) -> None:
        async with self.component.instantiate(
            wasi=self.wasi, grace_seconds=GRACE_SECONDS, detect_deadlock=True
        ) as instance:
            await group.start(self.tell_tasks, instance)
            await run_function(instance)()

    # What else goes on meanwhile

    async def stop_on_signals(self, *, task_status: TaskStatus[None]) -> None:
        numbers = heeded_signals()
        try:
            with anyio.open_signal_receiver(*numbers) as signals:
                task_status.started()
                self.stop(stopped_by(await anext(signals)))
        finally:  # asyncio leaves them with their default actions
            leave_on(numbers)
        await self.end_process_if_overdue()

    async def stop_after(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        if self.stop_status is None:
            self.say(f"{self.component.name} is ended: it has run for the {seconds:g} seconds that --timeout gives it")
            self.stop(TIMED_OUT)
        await self.end_process_if_overdue()

    def stop(self, status: int) -> None:
        if self.stop_status is None:
            self.stop_status = status
            self.scope.cancel()

    async def end_process_if_overdue(self) -> None:
        with anyio.move_on_after(GRACE_SECONDS + OVERDUE_SECONDS, shield=True):
            await self.ended.wait()
        if not self.ended.is_set():
            assert self.stop_status is not None
            os._exit(self.stop_status)

    async def tell_tasks(self, instance: Instance, *, task_status: TaskStatus[None]) -> None:
        try:
            with anyio.open_signal_receiver(signal.SIGUSR1) as signals:
                task_status.started()
                async for _ in signals:
                    self.say(f"what goes on in process {os.getpid()}:\n{instance.tasks()}")
        finally:
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)

"""Work that could wait for a disk, and mostly doesn't. A thread does it, for which the event loop waits a moment: the
turns that it takes to learn of a thread's end cost more than such work."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Generic, TypeVar

from anyio.lowlevel import RunVar

from .handles import WORKER_THREADS, in_thread

T = TypeVar("T")

MOMENT = 0.0005  # seconds

moment: RunVar[float | None] = RunVar("p3host moment", MOMENT)
"""How long the event loop waits: seconds, or None where nothing may depend on how long anything takes."""

executors: RunVar[ThreadPoolExecutor] = RunVar("p3host brief work")


class Work(Generic[T]):
    """A call of `work` in a thread. It is never abandoned half-done."""

    def __init__(self, work: Callable[..., T], *args: object) -> None:
        executor = executors.get(None)
        if executor is None:
            executor = ThreadPoolExecutor(WORKER_THREADS, "p3host brief work")
            executors.set(executor)
        self.future = executor.submit(work, *args)

    def is_done_soon(self) -> bool:
        """Waits a moment for its end."""
        try:
            self.future.exception(moment.get())
        except TimeoutError:
            pass
        return self.future.done()

    async def wait(self) -> None:
        """Waits for its end."""
        await in_thread(wait, [self.future])

    def result(self) -> T:
        """What `work` returned or raised, after its end."""
        return self.future.result(0)

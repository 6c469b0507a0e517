"""Work that could wait for a disk, and mostly doesn't. A thread does it, for which the event loop waits a moment: the
turns that it takes to learn of a thread's end cost more than such work."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Generic, TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

T = TypeVar("T")

MOMENT = 0.0005  # seconds that the event loop waits
WORKER_THREADS = 16


class Workers:
    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(WORKER_THREADS, "p3host brief work")
        self.waiting = anyio.CapacityLimiter(WORKER_THREADS)


workers_of_loop: RunVar[Workers] = RunVar("p3host workers")


class Work(Generic[T]):
    """A call of `work` in a thread. It is never abandoned half-done."""

    def __init__(self, work: Callable[..., T], *args: object) -> None:
        workers = workers_of_loop.get(None)
        if workers is None:
            workers = Workers()
            workers_of_loop.set(workers)
        self.workers = workers
        self.future = workers.executor.submit(work, *args)

    def is_done_soon(self) -> bool:
        """Waits a moment for its end."""
        try:
            self.future.exception(MOMENT)
        except TimeoutError:
            pass
        return self.future.done()

    async def wait(self) -> None:
        """Waits for its end."""
        await anyio.to_thread.run_sync(wait, [self.future], limiter=self.workers.waiting)

    def result(self) -> T:
        """What `work` returned or raised, after its end."""
        return self.future.result(0)

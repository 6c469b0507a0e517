"""The instances that answer requests. Each lives in a task of its own, which enters and leaves its block."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import TaskGroup

from ..component import Instance
from ..host.events import loop_clock
from ..wasi.http import HttpRequest, HttpResponse, handle
from .incoming import Watchers
from .limits import PoolLimits
from .protocols import Protocol

logger = logging.getLogger("p3host.asgi")


class Overloaded(Exception):
    """All instances are busy, and too many requests wait already, or this one has waited for too long."""


class StartFailed(Exception):
    """An instance can't be started, for the reason that is its cause."""


class Member:
    """An instance of the pool. `active` counts the requests that it has, `taken` all that it has ever had."""

    def __init__(self, pool: Pool, most_requests: int) -> None:
        self.pool = pool
        self.most_requests = most_requests
        self.active = 0
        self.taken = 0
        self.last_used = pool.now()
        self.instance: Instance | None = None
        self.handler: Callable[[HttpRequest], AbstractAsyncContextManager[HttpResponse]]  # once it has started
        self.failure: Exception | None = None
        self.started = anyio.Event()
        self.retired = anyio.Event()

    @property
    def has_trapped(self) -> bool:
        return self.instance is not None and self.instance.driver.store.trap is not None

    @property
    def has_room(self) -> bool:
        return (
            self.active < self.pool.concurrent_requests
            and self.taken < self.most_requests
            and not self.retired.is_set()
            and not self.has_trapped
        )

    def take(self) -> None:
        self.active += 1
        self.taken += 1

    def give_back(self) -> None:
        self.active -= 1
        self.last_used = self.pool.now()
        if self.has_trapped or (not self.active and self.taken >= self.most_requests):
            self.retired.set()

    async def run(self) -> None:
        """The life of the instance."""
        try:
            async with self.pool.instantiate() as instance:
                self.handler = partial(handle, instance.exports[self.pool.protocol.interface])
                self.instance = instance
                self.started.set()
                await self.until_retired()
                self.pool.trapped += self.has_trapped
        except Exception as error:
            self.failure = error
            if self.started.is_set():
                logger.error("an instance failed when it ended: %s", error)
        finally:
            self.retired.set()
            self.started.set()
            self.pool.remove(self)

    async def until_retired(self) -> None:
        while not self.retired.is_set():
            rest = self.pool.limits.idle_seconds
            if not self.active:
                rest += self.last_used - self.pool.now()
                if rest <= 0:
                    self.retired.set()
            with anyio.move_on_after(rest):
                await self.retired.wait()


class Waiter:
    """A request that waits for an instance. `group` is where one that is made for it runs."""

    def __init__(self, group: TaskGroup | None) -> None:
        self.group = group
        self.called = anyio.Event()
        self.member: Member | None = None


class Pool:
    """Instances within limits. Within its `async with` block they are shared and used again; outside of it each request
    has an instance of its own, which runs in the task group that the request gives."""

    def __init__(self, instantiate: Callable[[], Instance], protocol: Protocol, limits: PoolLimits) -> None:
        self.instantiate = instantiate
        self.protocol = protocol
        self.limits = limits
        self.concurrent_requests = limits.concurrent_requests if protocol.concurrent else 1
        self.members: list[Member] = []
        self.waiting: deque[Waiter] = deque()
        self.group: TaskGroup | None = None
        self.watchers: Watchers | None = None
        self.now: Callable[[], float] = anyio.current_time  # which is faster once it is known of which loop
        self.trapped = 0  # how many instances have
        self.on_change: Callable[[], None] = do_nothing

    async def __aenter__(self) -> Self:
        """Starts the first instance.

        :raises P3HostError: it can't be started
        """
        if self.group is not None:
            raise RuntimeError("the application is in use already: its 'async with' block can't be entered twice")
        group = anyio.create_task_group()
        await group.__aenter__()
        self.group = group
        self.now = loop_clock()
        try:
            first = self.start(group, self.limits.requests_per_instance)
            await first.started.wait()
            if first.failure is not None:
                raise first.failure
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        self.watchers = Watchers(group)
        group.start_soon(self.watchers.run, name="p3host: looks for exchanges that last")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends all instances. Requests that still run fail, those that wait are refused."""
        assert self.group is not None
        group, self.group, self.watchers = self.group, None, None
        self.now = anyio.current_time
        for waiter in self.waiting:
            waiter.called.set()
        self.waiting.clear()
        group.cancel_scope.cancel()
        if isinstance(error, Exception):  # no cancellation, so not the group's to judge
            await group.__aexit__(None, None, None)
        else:
            await group.__aexit__(kind, error, trace)

    async def acquire(self, group: TaskGroup | None) -> Member:
        """An instance that has room for one more request, which is to be given back by `release`. `group` is needed
        outside of the pool's block.

        :raises Overloaded: there is none, and there is no waiting for one
        :raises P3HostError: it can't be started
        """
        member = None if self.waiting else self.find(group)
        if member is None:
            member = await self.wait(group)
        if member.instance is None:
            try:
                await member.started.wait()
            except BaseException:
                self.release(member)
                raise
            if member.failure is not None:
                self.release(member)
                raise StartFailed(f"an instance can't be started: {member.failure}") from member.failure
        return member

    def find(self, group: TaskGroup | None) -> Member | None:
        member = None
        if self.group is not None:
            member = next((member for member in self.members if member.has_room), None)
        if member is None and len(self.members) < self.limits.instances:
            if self.group is not None:
                member = self.start(self.group, self.limits.requests_per_instance)
            elif group is not None:
                member = self.start(group, 1)
        if member is not None:
            member.take()
        return member

    def start(self, group: TaskGroup, most_requests: int) -> Member:
        member = Member(self, most_requests)
        self.members.append(member)
        group.start_soon(member.run, name="p3host: an instance")
        self.on_change()
        return member

    async def wait(self, group: TaskGroup | None) -> Member:
        if len(self.waiting) >= self.limits.waiting_requests:
            raise Overloaded
        waiter = Waiter(group)
        self.waiting.append(waiter)
        self.on_change()
        try:
            with anyio.move_on_after(self.limits.waiting_seconds):
                await waiter.called.wait()
        except BaseException:
            if waiter.member is not None:
                self.release(waiter.member)
            raise
        finally:
            if waiter in self.waiting:
                self.waiting.remove(waiter)
            self.on_change()
        if waiter.member is None:
            raise Overloaded
        return waiter.member

    def release(self, member: Member) -> None:
        member.give_back()
        self.call_waiting()

    def remove(self, member: Member) -> None:
        self.members.remove(member)
        self.on_change()
        self.call_waiting()

    def call_waiting(self) -> None:
        while self.waiting:
            waiter = self.waiting[0]
            waiter.member = self.find(waiter.group)
            if waiter.member is None:
                return
            self.waiting.popleft()
            waiter.called.set()


def do_nothing() -> None:
    pass

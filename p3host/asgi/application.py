"""The ASGI application of a component."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import anyio

from ..component import Component
from ..engine import MachineLimits
from ..wasi import Wasi
from .body_limit import LimitedReceive, announces_more
from .exchange import Exchange
from .incoming import Watchers
from .limits import PoolLimits
from .messages import Receive, Scope, Send
from .pool import Pool
from .protocols import protocol_of

DEFAULT_GRACE_SECONDS = 1.0


class Application:
    """An ASGI 3 application: has a component answer HTTP requests.

    `component` is a `Component`, or what `Component.load` takes: a path, bytes or text. `imports`, `wasi` (by default
    one that grants nothing), `limits` and `grace_seconds` are those of `Component.instantiate`; `pool` bounds instances
    and requests.

    Instances are used again, and live as long as the server's lifespan, or within the application's own `async with`
    block, which is for programs that mount it, as servers tell no mounted application of their lifespan. Without either
    each request gets an instance of its own, which is slower, and nothing that a component keeps in memory is there for
    the next one.

    Bodies are streamed in both directions; nobody has more than a few pieces of them in memory. A client that goes away
    cancels the guest's task. A trap is answered by 500 and a request that takes too long by 504, or, when the head of
    the response has been sent, by breaking the connection (`ResponseAborted` is raised to the server); after a trap the
    instance is not used again. Requests that find no room wait, then are answered by 503.

    :raises LinkError: the component serves no HTTP, or imports what is not there
    :raises DecodeError: the component is not valid
    :raises OSError: its file can't be read
    """

    def __init__(
        self,
        component: Component | str | os.PathLike[str] | bytes,
        imports: Mapping[str, Any] | None = None,
        *,
        wasi: Wasi | None = None,
        limits: MachineLimits | None = None,
        grace_seconds: float = DEFAULT_GRACE_SECONDS,
        pool: PoolLimits | None = None,
    ) -> None:
        self.component = component if isinstance(component, Component) else Component.load(component)
        instantiate = partial(
            self.component.instantiate, imports, wasi=wasi or Wasi(), limits=limits, grace_seconds=grace_seconds
        )
        protocol = protocol_of(self.component)
        instantiate()  # for its check of the imports
        self.pool = Pool(instantiate, protocol, pool or PoolLimits())

    async def __aenter__(self) -> Self:
        """Starts the first instance.

        :raises P3HostError: it can't be started
        """
        await self.pool.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.pool.__aexit__(kind, error, trace)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self.answer_within_limit(scope, receive, send)
            case "lifespan":
                await self.live(receive, send)
            case "websocket":
                await receive()  # the request for a connection
                await send({"type": "websocket.close"})
            case other:
                raise ValueError(f"a component that serves HTTP knows nothing of the protocol {other!r}")

    async def answer_within_limit(self, scope: Scope, receive: Receive, send: Send) -> None:
        most = self.pool.limits.request_bytes
        if most is None:
            await self.answer(Exchange(self.pool, scope, receive, send))
            return
        limited = LimitedReceive(receive, most)
        exchange = Exchange(self.pool, scope, limited, send)
        too_large = announces_more(scope, most)
        if not too_large:
            await self.answer(exchange)
            too_large = limited.exceeded
        if too_large:
            await exchange.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"its body has more than {most} bytes")

    async def answer(self, exchange: Exchange) -> None:
        watchers = self.pool.watchers
        if watchers is not None:
            await exchange.run(watchers)
            return
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            watchers = Watchers(group)
            watching = group.start_soon(watchers.run)
            try:
                await exchange.run(watchers, group)
            except Exception as error:
                failure = error
            watching.cancel()
        if failure is not None:  # as it is, not in a group
            raise failure

    async def live(self, receive: Receive, send: Send) -> None:
        stage = "startup"
        try:
            await receive()
            async with self:
                await send({"type": "lifespan.startup.complete"})
                stage = "shutdown"
                await receive()
        except Exception as error:
            await send({"type": f"lifespan.{stage}.failed", "message": f"{type(error).__name__}: {error}"})
        else:
            await send({"type": "lifespan.shutdown.complete"})

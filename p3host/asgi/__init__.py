"""Components that serve HTTP as ASGI 3 applications, for any ASGI server on asyncio and trio:

    from p3host.asgi import Application

    application = Application("app.wasm", wasi=Wasi())

Where a framework mounts it, its own lifespan has to contain `async with application:`; see `Application`.
"""

from __future__ import annotations

from ..errors import ResponseAborted
from .application import Application
from .limits import PoolLimits

__all__ = ["Application", "PoolLimits", "ResponseAborted"]

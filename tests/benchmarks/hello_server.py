"""The server of `p3host serve` with an ASGI application that does nothing: hello_server.py asyncio|trio."""

from __future__ import annotations

import sys
from typing import Any

from p3host.asgi import PoolLimits
from p3host.serving.listening import listening
from p3host.serving.servers import serve as serve_application
from p3host.serving.settings import Settings, url_of
from p3host.wasi import Wasi


async def hello(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for stage in "startup", "shutdown":
            await receive()
            await send({"type": f"lifespan.{stage}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


def main(backend: str) -> None:
    address = "127.0.0.1", 0
    settings = Settings(path="", address=address, wasi=Wasi(), pool=PoolLimits(), backend=backend)
    with listening(address) as listener:
        sys.stdout.write(f"{url_of(listener.getsockname())}\n")
        sys.stdout.flush()
        serve_application(hello, listener, settings)


if __name__ == "__main__":
    main(*sys.argv[1:])

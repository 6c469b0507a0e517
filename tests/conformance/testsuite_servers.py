"""The HTTP servers that the tests of WebAssembly/wasi-testsuite ask for, on loopback."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import h11
from anyio.abc import SocketAttribute, SocketStream

Headers = list[tuple[bytes, bytes]]


@asynccontextmanager
async def servers(specified: list[dict[str, Any]]) -> AsyncIterator[dict[str, str]]:
    """Runs them within the block, and gives the environment variables that tell where they are."""
    environment: dict[str, str] = {}
    closed: list[socket.socket] = []
    async with anyio.create_task_group() as tasks:
        for server in specified:
            if server.get("kind") == "closed":
                unused = socket.socket()
                unused.bind(("127.0.0.1", 0))
                closed.append(unused)
                port = unused.getsockname()[1]
            else:
                listener: Any = await anyio.create_tcp_listener(local_host="127.0.0.1")
                port = listener.extra(SocketAttribute.local_port)
                tasks.start_soon(serve, listener, server["endpoints"])
            environment[f"HTTP_SERVER_{server['name'].upper()}"] = f"127.0.0.1:{port}"
        try:
            yield environment
        finally:
            tasks.cancel_scope.cancel()
            for unused in closed:
                unused.close()


async def serve(listener: Any, endpoints: list[dict[str, Any]]) -> None:
    async def handle(stream: SocketStream) -> None:
        async with stream:
            try:
                await converse(stream, endpoints)
            except anyio.BrokenResourceError:
                pass  # the client gave up

    async with listener:
        await listener.serve(handle)


async def converse(stream: SocketStream, endpoints: list[dict[str, Any]]) -> None:
    """Answers all requests that come on a connection."""
    protocol = h11.Connection(h11.SERVER)
    request: h11.Request | None = None
    body = b""
    while True:
        try:
            event = protocol.next_event()
        except h11.RemoteProtocolError:  # a request was broken off
            return
        match event:
            case h11.NEED_DATA:
                try:
                    protocol.receive_data(await stream.receive())
                except anyio.EndOfStream:
                    protocol.receive_data(b"")
            case h11.Request():
                request, body = event, b""
            case h11.Data():
                body += event.data
            case h11.EndOfMessage():
                assert request is not None
                for answer in answers(endpoints, request, body, list(event.headers)):
                    await stream.send(protocol.send(answer) or b"")
                if protocol.our_state is h11.MUST_CLOSE:
                    return
                protocol.start_next_cycle()
            case _:
                return


def answers(endpoints: list[dict[str, Any]], request: h11.Request, body: bytes, trailers: Headers) -> list[h11.Event]:
    line = request.method.decode(), request.target.decode()
    endpoint = next((each for each in endpoints if (each["method"], each["path"]) == line), None)
    if endpoint is None:
        return [h11.Response(status_code=404, headers=[("content-length", "0")]), h11.EndOfMessage()]
    match endpoint.get("mode", "static"):
        case "echo-body":
            return [h11.Response(status_code=200, headers=[]), h11.Data(data=body), h11.EndOfMessage()]
        case "echo-headers":
            return [
                h11.Response(
                    status_code=200,
                    headers=[
                        (b"content-length", b"0"),
                        (b"x-request-method", request.method),
                        (b"x-request-path", request.target),
                        *((b"x-echo-" + name, value) for name, value in request.headers),
                        *((b"x-trailer-" + name, value) for name, value in trailers),
                    ],
                ),
                h11.EndOfMessage(),
            ]
    response = endpoint["response"]
    if "chunks" in response:
        headers, pieces = [], response["chunks"]
    else:
        content = response.get("body", "")
        headers, pieces = [("content-length", str(len(content)))], [content]
    is_head = request.method == b"HEAD"
    return [
        h11.Response(status_code=response["status"], headers=headers),
        *([] if is_head else [h11.Data(data=piece.encode()) for piece in pieces if piece]),
        h11.EndOfMessage(headers=list(response.get("trailers", {}).items())),
    ]

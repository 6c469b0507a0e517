"""The HTTP services of WebAssembly/wasi-testsuite, called through `handle`. The servers that their specifications ask
for are played by an object in place of the network."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import anyio
import pytest
from test_wasi_testsuite import COMPONENTS, TIMEOUT, is_service, parameters

from p3host import Component, Stdio, Wasi
from p3host.wasi.http import HttpRequest, HttpResponse, handle

pytestmark = pytest.mark.anyio
FRAMING = {"transfer-encoding", "content-length"}


class Servers:
    """The servers of one specification, each at an authority of its own."""

    def __init__(self, specified: list[dict[str, Any]]) -> None:
        self.servers = {f"{server['name']}.test:80": server for server in specified}

    def environment(self) -> dict[str, str]:
        return {f"HTTP_SERVER_{server['name'].upper()}": authority for authority, server in self.servers.items()}

    async def send(self, request: HttpRequest) -> HttpResponse:
        server = self.servers.get(request.authority or "")
        if server is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if server.get("kind") == "closed":
            raise ConnectionRefusedError
        body = await request.read()
        for endpoint in server["endpoints"]:
            if (endpoint["method"], endpoint["path"]) == (request.method, request.path_with_query):
                return await answer(endpoint, request, body)
        return HttpResponse(404)


async def answer(endpoint: dict[str, Any], request: HttpRequest, body: bytes) -> HttpResponse:
    match endpoint.get("mode", "static"):
        case "echo-body":
            return HttpResponse(200, body=body)
        case "echo-headers":
            return HttpResponse(200, headers=await reflected(request))
    response = endpoint["response"]
    content = "".join(response.get("chunks", [response.get("body", "")])).encode()
    trailers = [(name, value.encode()) for name, value in response.get("trailers", {}).items()]
    return HttpResponse(response["status"], body=content, trailers=trailers or None)


async def reflected(request: HttpRequest) -> list[tuple[str, bytes]]:
    """The request as one reads it from a wire, in headers: an HTTP/1.1 client adds `host`, and chunks a body whose
    length was not announced."""
    assert request.authority is not None
    assert request.path_with_query is not None
    headers = [("host", request.authority.encode()), *request.headers]
    if request.method == "POST" and not FRAMING & {name for name, _ in headers}:
        headers.append(("transfer-encoding", b"chunked"))
    trailers = await request.read_trailers()
    return [
        ("x-request-method", request.method.encode()),
        ("x-request-path", request.path_with_query.encode()),
        *((f"x-echo-{name.lower()}", value) for name, value in headers),
        *((f"x-trailer-{name.lower()}", value) for name, value in trailers or ()),
    ]


@pytest.mark.parametrize("path", parameters([path for path in COMPONENTS if is_service(path)]))
async def test_service_does_as_specified(path: Path) -> None:
    spec = json.loads(path.with_suffix(".json").read_text())
    servers = Servers(spec.get("servers", []))
    wasi = Wasi(env=servers.environment(), http=servers, stderr=Stdio.PROCESS)
    async with Component.load(path).instantiate(wasi=wasi) as service:
        for step in spec["operations"]:
            if step["type"] != "request":
                continue
            request = HttpRequest(
                method=step["method"],
                scheme="http",
                authority="service.test",
                path_with_query=step["path"],
                headers=[(name, value.encode()) for name, value in step.get("headers", {}).items()],
                body=step.get("body", "").encode(),
            )
            expected = step["response"]
            with anyio.fail_after(TIMEOUT):
                async with handle(service.exports["wasi:http/handler"], request) as response:
                    assert response.status == expected["status"]
                    headers = dict(response.headers)
                    for name, value in expected.get("headers", {}).items():
                        assert headers[name] == value.encode()
                    body = await response.read()
                    if "body" in expected:
                        assert body == expected["body"].encode()

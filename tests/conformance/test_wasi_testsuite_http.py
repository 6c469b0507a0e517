"""The HTTP services of WebAssembly/wasi-testsuite, called through `handle`. Their own requests go to real servers."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest
from test_wasi_testsuite import COMPONENTS, is_service, parameters
from testsuite_servers import servers
from wasi_testsuite_adapter import TIMEOUT

from p3host import Component, Http, Stdio, Wasi
from p3host.wasi.http import HttpRequest, handle

pytestmark = pytest.mark.anyio


def granted(environment: dict[str, str]) -> Wasi:
    return Wasi(env=environment, http=Http(["http://127.0.0.1:*"]), stderr=Stdio.PROCESS)


@pytest.mark.parametrize("path", parameters([path for path in COMPONENTS if is_service(path)]))
async def test_service_does_as_specified(path: Path) -> None:
    spec = json.loads(path.with_suffix(".json").read_text())
    async with (
        servers(spec.get("servers", [])) as environment,
        Component.load(path).instantiate(wasi=granted(environment)) as service,
    ):
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

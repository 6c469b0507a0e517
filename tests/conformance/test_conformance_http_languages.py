"""HTTP services of WASI 0.2 in languages with runtimes of their own, built here: their components are large.

They need jco (npm `@bytecodealliance/jco` 1.35.0, its folder in `P3HOST_JCO`) for WASI's WIT and for JavaScript, and
componentize-py (PyPI, 0.25.1, its path in `P3HOST_COMPONENTIZE_PY` if it is not on PATH) for Python.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import anyio
import pytest

from p3host import Component, Wasi
from p3host.wasi.http import HttpRequest, HttpResponse, handle

pytestmark = pytest.mark.anyio

GUESTS = Path(__file__).resolve().parents[2] / "guests"
HANDLER = "wasi:http/incoming-handler"
WASI = "0.2.12"
STARLING_MONKEY_WASI = "0.2.10"  # that JavaScript's engine is built for
SECONDS = 60
WORLD = """package p3host:service@0.1.0;
world service {
  import wasi:http/outgoing-handler@VERSION;
  export wasi:http/incoming-handler@VERSION;
}
"""


def jco() -> Path:
    folder = Path(os.environ.get("P3HOST_JCO", ""))
    if not (folder / "dist/jco.js").is_file():
        pytest.skip("set P3HOST_JCO to the folder of npm's @bytecodealliance/jco")
    return folder


def build_python(work: Path) -> Path:
    wit = jco() / "lib/wit/builtin" / WASI
    tool = os.environ.get("P3HOST_COMPONENTIZE_PY") or shutil.which("componentize-py")
    if tool is None:
        pytest.skip("set P3HOST_COMPONENTIZE_PY to the path of PyPI's componentize-py")
    shutil.copytree(wit, work / "wit/deps")
    (work / "wit/world.wit").write_text(WORLD.replace("VERSION", WASI))
    output = work / "service.wasm"
    options = ["-q", "-d", work / "wit", "-w", "service", "componentize", "service", "-o", output]
    subprocess.run([tool, *options], cwd=GUESTS / "python-http", check=True, timeout=300)
    return output


def build_javascript(work: Path) -> Path:
    folder = jco()
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is needed")
    for package in "http", "io", "clocks":
        shutil.copytree(folder / "lib/wit/builtin" / WASI / f"wasi-{package}", work / f"wit/deps/wasi-{package}")
    for path in (work / "wit").rglob("*.wit"):
        # Without the worlds, whose other packages differ from those of the engine.
        interfaces = re.sub(r"^world .*?^}\n", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        path.write_text(interfaces.replace(WASI, STARLING_MONKEY_WASI))
    world = WORLD.replace("VERSION", STARLING_MONKEY_WASI)
    (work / "wit/world.wit").write_text(re.sub(r"  import .*\n", "", world))
    output = work / "service.wasm"
    options = ["--wit", work / "wit", "-n", "service", "-o", output]
    source = GUESTS / "js-http/service.js"
    subprocess.run([node, folder / "dist/jco.js", "componentize", source, *options], check=True, timeout=300)
    return output


@pytest.fixture(scope="module", params=[build_python, build_javascript], ids=["python", "javascript"])
def component(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Component:
    return Component.load(request.param(tmp_path_factory.mktemp("service")))


def post(path: str, **more: object) -> HttpRequest:
    return HttpRequest(method="POST", scheme="http", authority="service.test", path_with_query=path, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("body", [b"abc", b"", b"xyz" * 100_000], ids=len)
async def test_a_body_comes_back(component: Component, body: bytes) -> None:
    async with component.instantiate(wasi=Wasi()) as instance:  # of its own: not every runtime serves twice
        with anyio.fail_after(SECONDS):
            async with handle(instance.exports[HANDLER], post("/echo", body=body)) as response:
                headers = {name.lower(): value for name, value in response.headers}
                assert (response.status, headers["content-type"]) == (201, b"text/plain")
                assert await response.read() == body.upper()


async def test_requests_are_sent_at_once(component: Component) -> None:
    class Peer:
        """Answers the first request after the second one, and begins that one's body after the first one's."""

        def __init__(self) -> None:
            self.second = anyio.Event()

        async def send(self, request: HttpRequest) -> HttpResponse:
            if request.authority == "first.test":
                await self.second.wait()
                return HttpResponse(body=b"x" * 200_000)
            self.second.set()
            return HttpResponse(body=b"abc")

    headers = [("address", b"first.test"), ("address", b"second.test")]
    async with component.instantiate(wasi=Wasi(http=Peer())) as instance:
        with anyio.fail_after(SECONDS):
            async with handle(instance.exports[HANDLER], post("/lengths", headers=headers)) as response:
                lines = (await response.read()).splitlines()
    assert sorted(lines) == [b"first.test: 200000", b"second.test: 3"]

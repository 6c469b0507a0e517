"""WebAssembly/wasi-testsuite through `p3host run`, as each test's specification says (doc/specification.md there).

P3HOST_WASI_TESTSUITE names a checkout of the suite's branch `prod/testsuite-base`, or of `prod/testsuite-all` (built
against a release candidate of WASI 0.3); or several, separated as in PATH. HTTP services are called in
`test_wasi_testsuite_http.py`, the suite's own runner runs in `test_wasi_testsuite_runner.py`.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from wasi_testsuite_adapter import SERVICE, TIMEOUT, command_line

from p3host import Component

VARIABLE = "P3HOST_WASI_TESTSUITE"
FOLDER = Path("tests", "rust", "testsuite", "wasm32-wasip3")
CHECKOUTS = [Path(path) for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path]
COMPONENTS = [path for checkout in CHECKOUTS for path in sorted((checkout / FOLDER).glob("*.wasm"))]
P3HOST = [sys.executable, "-m", "p3host"]

# Demands of tests for the release candidate that the suite has taken back: that a file has grown when a write to its
# stream is over, not its future; that sending to port 0 is "address-not-bindable", which the WIT calls
# "invalid-argument".
RELEASE_CANDIDATE = b"@0.3.0-rc-2026-03-15"
WITHDRAWN = {"filesystem-io", "sockets-udp-send"}


if CHECKOUTS and not COMPONENTS:
    raise FileNotFoundError(f"{VARIABLE}: there is no component in {FOLDER} of {', '.join(map(str, CHECKOUTS))}")


def parameters(paths: list[Path]) -> list[Any]:
    hint = f"set {VARIABLE} to a checkout of WebAssembly/wasi-testsuite, branch prod/testsuite-base"
    return [pytest.param(path, id=identity(path)) for path in paths] or [
        pytest.param(Path(), id="no-checkout", marks=pytest.mark.skip(reason=hint))
    ]


def identity(path: Path) -> str:
    return f"{path.parents[len(FOLDER.parts)].name}-{path.stem}"


@pytest.mark.parametrize("path", parameters(COMPONENTS))
def test_component_decodes_and_validates(path: Path) -> None:
    assert Component.load(path).wit()


def is_service(path: Path) -> bool:
    """Whether it is no command, but a component that handles HTTP requests."""
    specified = path.with_suffix(".json")
    return specified.exists() and json.loads(specified.read_text()).get("world") == SERVICE


def is_withdrawn(path: Path) -> bool:
    return path.stem in WITHDRAWN and RELEASE_CANDIDATE in path.read_bytes()


def operations(path: Path) -> list[dict[str, Any]]:
    """The steps of a test; those of the older form of specification are its run, its output and its exit status."""
    specified = path.with_suffix(".json")
    spec: dict[str, Any] = json.loads(specified.read_text()) if specified.exists() else {}
    if "operations" in spec:
        steps: list[dict[str, Any]] = spec["operations"]
        return steps
    run = {"type": "run", **{key: spec[key] for key in ("args", "env", "root", "dirs") if key in spec}}
    reads = [{"type": "read", "id": name, "payload": spec[name]} for name in ("stdout", "stderr") if spec.get(name)]
    return [run, *reads, {"type": "wait", "exit_code": spec.get("exit_code", 0)}]


def command_line_of(path: Path, step: dict[str, Any], backend: str, scratch: Path) -> list[str]:
    folders = [(path.parent / name, name) for name in step.get("dirs", [])]
    if step.get("root"):
        folders.append((path.parent / step["root"], "/"))
    return command_line(
        P3HOST,
        path,
        backend=backend,
        args=step.get("args", []),
        env=step.get("env", {}),
        folders=folders,
        scratch=scratch,
    )


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("path", parameters([path for path in COMPONENTS if not is_service(path)]))
def test_command_does_as_specified(path: Path, backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if is_withdrawn(path):
        request.applymarker(pytest.mark.xfail(reason="the suite has withdrawn this demand since"))
    first, *rest = operations(path)
    assert first["type"] == "run"
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command_line_of(path, first, backend, tmp_path), stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        watchdog = threading.Timer(TIMEOUT, process.kill)
        watchdog.start()
        connections: dict[str, socket.socket] = {}
        try:
            for step in rest:
                perform(step, process, connections)
        finally:
            for connection in connections.values():
                connection.close()
            watchdog.cancel()
            process.kill()


def perform(step: dict[str, Any], process: subprocess.Popen[bytes], connections: dict[str, socket.socket]) -> None:
    payload = step.get("payload", "").encode()
    match step["type"]:
        case "connect":
            assert step["protocol_type"] == "tcp"
            assert process.stdout is not None
            host, _, port = process.stdout.readline().decode().strip().rpartition(":")
            connections[step["id"]] = socket.create_connection((host, int(port)), TIMEOUT)
        case "send":
            connections[step["id"]].sendall(payload)
        case "recv":
            assert connections[step["id"]].recv(len(payload), socket.MSG_WAITALL) == payload
        case "write":
            assert process.stdin is not None
            process.stdin.write(payload)
            process.stdin.flush()
        case "read":
            stream = process.stderr if step.get("id") == "stderr" else process.stdout
            assert stream is not None
            assert stream.read(len(payload)) == payload
        case "wait":
            _, errors = process.communicate()
            assert process.returncode == step.get("exit_code", 0), errors.decode()
        case other:
            pytest.fail(f"unknown operation {other!r}")

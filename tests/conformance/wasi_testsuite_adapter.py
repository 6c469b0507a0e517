"""How the runner of WebAssembly/wasi-testsuite starts p3host. It loads this file as a module, with a Python of its own:

    P3HOST_BACKEND=trio run-tests --runtime-adapter tests/conformance/wasi_testsuite_adapter.py

P3HOST is the command to run, "p3host" unless it is told otherwise; P3HOST_BACKEND is its event loop, asyncio or trio.
Each test gets its directories as they are in the checkout: the runner leaves in them the symbolic links of the tests
before.
"""

from __future__ import annotations

import atexit
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

COMMAND, SERVICE = "wasi:cli/command", "wasi:http/service"
TIMEOUT = 20.0  # seconds

NETWORK = ("--net", "*", "--listen", "*", "--lookup", "*")
SERVERS = ("--http", "http://127.0.0.1:*")

Folders = Iterable[tuple[Path, str]]
"""Directories of the host, each with its path in the guest."""


def command_line(
    p3host: Sequence[str],
    component: Path,
    *,
    backend: str,
    world: str = COMMAND,
    args: Sequence[str],
    env: Mapping[str, str],
    folders: Folders,
    scratch: Path,
) -> list[str]:
    """The whole command line for one test. `p3host` is its beginning; `scratch` is for copies of the folders."""
    line = [*p3host, *(("serve", "--addr", "127.0.0.1:0") if world == SERVICE else ("run",)), "--backend", backend]
    if component.name.startswith("sockets-"):  # some have no specification, which would ask for "sockets"
        line += NETWORK
    if world == SERVICE:
        line += SERVERS
    for name, value in env.items():
        line += ["--env", f"{name}={value}"]
    for host, guest in folders:
        line += ["--dir", f"{shutil.copytree(host, scratch / host.name, symlinks=True)}::{guest}"]
    return [*line, str(component), *args]


# What the runner asks for


def runtime() -> list[str]:
    return shlex.split(os.environ.get("P3HOST", "p3host"))


def get_name() -> str:
    return "p3host"


def get_version() -> str:
    told = subprocess.run([*runtime(), "--version"], check=True, capture_output=True, text=True).stdout
    return told.split()[-1]


def get_wasi_versions() -> list[str]:
    return ["wasm32-wasip3"]


def get_wasi_worlds() -> list[str]:
    return [COMMAND, SERVICE]


def get_timeout_seconds() -> float:
    return TIMEOUT


def compute_argv(
    test_path: str,
    args_env_folders: tuple[list[str], dict[str, str], Path | list[tuple[Path, str]] | None],
    proposals: list[str],
    wasi_world: str,
    wasi_version: str,
) -> list[str]:
    """The third of `args_env_folders` is the guest's root, if any; in the runner of `prod/testsuite-all`, all of its
    directories."""
    args, env, folders = args_env_folders
    if not isinstance(folders, list):
        folders = [] if folders is None else [(folders, "/")]
    scratch = tempfile.TemporaryDirectory(prefix="p3host-testsuite-")
    atexit.register(scratch.cleanup)
    return command_line(
        runtime(),
        Path(test_path),
        backend=os.environ.get("P3HOST_BACKEND", "asyncio"),
        world=wasi_world,
        args=args,
        env=env,
        folders=folders,
        scratch=Path(scratch.name),
    )

#!/usr/bin/env python3
"""Builds the guests: build.py [--check] [--offline] [--output FOLDER] [NAME...], all of them without a name.

Each guest's component is written beside its source, guests/NAME/NAME.wasm. Those that are not committed, as they are
large, are written into a cache folder, ~/.cache/p3host-guests/built or $P3HOST_GUESTS_CACHE/built, and built again only
when their source or their recipe has changed. With --check nothing is written, and it is an error when a build gives
other bytes than the committed file has. --output FOLDER writes there instead. With --paths the components' paths are
all that is printed.

Needs Python 3.11, Node.js with npm, and clang-19 and lld-19, for c-command also wasi-libc and
libclang-rt-19-dev-wasm32 (installed from Debian or Ubuntu when run as root). Go, jco, componentize-py, Zig, and the
Rust of Debian 12 are installed into the cache folder on first use. With --offline nothing is installed: tools are what
is in the cache folder, on PATH, and where P3HOST_JCO (the folder of the npm package), P3HOST_COMPONENTIZE_PY,
P3HOST_ZIG and P3HOST_RUSTC say. The exit status is 3 if the only failure is that tools are missing.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from building.errors import BuildError, ToolMissing
from building.recipes import CACHED, GUESTS, RECIPES, SOURCES
from building.tools import CACHE, policy, say

LARGEST = 3_000_000  # bytes of a component that may be committed
TOOLS_MISSING = 3
DAY = 86_400  # seconds


def inputs(name: str) -> str:
    """A digest of all that a build depends on, except for tools that are not the ones that are installed."""
    digest = hashlib.sha256()
    source = GUESTS / SOURCES.get(name, name)
    for path in sorted([*source.iterdir(), *(GUESTS / "building").glob("*.py")]):
        if path.suffix != ".wasm" and path.is_file():
            digest.update(f"{path.name}:".encode() + path.read_bytes())
    for variable in sorted(variable for variable in os.environ if variable.startswith("P3HOST_")):
        digest.update(f"{variable}={os.environ[variable]}:".encode())
    return digest.hexdigest()[:16]


def make(name: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="p3host-guest-") as work:
        return RECIPES[name](name, Path(work)).read_bytes()


def make_cached(name: str) -> Path:
    """The file in the cache folder, built if need be. Those of other sources go after a day: they may be in use."""
    folder = CACHE / "built" / name
    output = folder / inputs(name) / f"{name}.wasm"
    if not output.exists():
        component = make(name)
        for old in folder.glob("*/*"):
            if time.time() - old.stat().st_mtime > DAY:
                shutil.rmtree(old.parent, ignore_errors=True)
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=output.parent, delete=False) as file:
            file.write(component)
        Path(file.name).replace(output)
    return output


def build(name: str, check: bool, folder: Path | None, paths: bool) -> None:
    start = time.monotonic()
    if name in CACHED:
        output = cached = make_cached(name)
        if folder is not None:
            output = folder / cached.name
            shutil.copy(cached, output)
        size, outcome = output.stat().st_size, f"at {output}"
    else:
        component = make(name)
        size = len(component)
        if size >= LARGEST:
            raise BuildError(f"{size} bytes are more than a guest may have ({LARGEST})")
        output = (folder or GUESTS / name) / f"{name}.wasm"
        same = output.exists() and output.read_bytes() == component
        if check and not same:
            raise BuildError(f"{output} is not what its source gives: run build.py {name}")
        if not same:
            output.write_bytes(component)
        outcome = "unchanged" if same else "written"
    say(str(output) if paths else f"{name}: {size:,} bytes, {outcome}, {time.monotonic() - start:.1f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description="Builds the guests' components.")
    parser.add_argument("--check", action="store_true", help="compare with the committed files, and write nothing")
    parser.add_argument("--offline", action="store_true", help="install nothing")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where to write the components")
    parser.add_argument("--paths", action="store_true", help="print the components' paths alone")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}; all without one")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in RECIPES]
    if unknown:
        parser.error(f"no guest is called {' or '.join(unknown)}: there are {', '.join(RECIPES)}")
    if arguments.check and arguments.output:
        parser.error("--check writes nothing, so it has no --output")
    policy.offline = arguments.offline
    names = arguments.names or [name for name in RECIPES if not (arguments.check and name in CACHED)]
    status = 0
    for name in names:
        try:
            build(name, arguments.check, arguments.output, arguments.paths)
        except BuildError as error:
            sys.stderr.write(f"{name}: {error}\n")
            status = status or TOOLS_MISSING if isinstance(error, ToolMissing) else 1
    return status


if __name__ == "__main__":
    sys.exit(main())

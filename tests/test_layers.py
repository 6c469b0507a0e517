"""A file imports only from lower layers, or from its own room: ARCHITECTURE.md's table against the imports."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "p3host"
ROW = re.compile(r"^\| (\d+) \| `([\w/.]+)`", re.MULTILINE)
LAYERS = {room: int(layer) for layer, room in ROW.findall((ROOT / "ARCHITECTURE.md").read_text())}
STANDARD_LIBRARY_ONLY = 4
THIRD_PARTY = {
    "wasmtime": {"engine/"},
    "anyio": {"host/", "component/", "wasi/", "wast/", "testing/", "asgi/", "serving/", "running.py", "cli.py"},
    "uvicorn": {"serving/"},
    "hypercorn": {"serving/"},
    "h2": {"serving/"},
    "prometheus_client": {"serving/"},
    "click": {"cli.py"},
    "trio": {"testing/", "wasi/"},
    "h11": {"wasi/"},
    "idna": {"wasi/"},
    "hypothesis": {"testing/"},
    "pytest": {"pytest_plugin.py"},
}


def room_of(parts: tuple[str, ...]) -> str:
    """The room of a module, given by its path below the package."""
    if not parts:
        return "__init__.py"
    return f"{parts[0]}/" if (PACKAGE / parts[0]).is_dir() else f"{parts[0]}.py"


def imported(path: Path) -> set[str]:
    """The rooms, and the packages by others, that a file imports, even within functions or for types alone."""
    here = path.relative_to(PACKAGE).parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] + tuple((node.module or "").split(".") if node.module else ())
            found |= {room_of(base or (alias.name,)) for alias in node.names}
    return found


def test_every_room_has_its_layer() -> None:
    rooms = {room_of((path.stem if path.suffix == ".py" else path.name,)) for path in PACKAGE.iterdir() if keep(path)}
    assert set(LAYERS) == rooms


def keep(path: Path) -> bool:
    return path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_file_imports_lower_layers_alone(path: Path) -> None:
    parts = path.relative_to(PACKAGE).parts
    room = room_of((Path(parts[0]).stem,))
    rooms = imported(path)
    assert not {other for other in rooms & LAYERS.keys() if other != room and LAYERS[other] >= LAYERS[room]}
    foreign = rooms & THIRD_PARTY.keys()
    assert all(room in THIRD_PARTY[package] for package in foreign)
    assert LAYERS[room] > STANDARD_LIBRARY_ONLY or not foreign


def test_every_test_that_the_architecture_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "ARCHITECTURE.md").read_text()))
    written = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert named
    assert named <= written

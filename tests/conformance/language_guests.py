"""The guests of `guests/build.py`: those that are committed as they are, the others built from what tools are there."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

GUESTS = Path(__file__).resolve().parents[2] / "guests"
TOOLS_MISSING = 3
SECONDS = 600


def build(name: str, *options: str | Path) -> tuple[Path, str]:
    """The component of a build that installs nothing, and what is missing for it, if something is."""
    command = [sys.executable, GUESTS / "build.py", "--offline", "--paths", *options, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    if done.returncode == TOOLS_MISSING:
        return Path(), f"{done.stderr.strip()}; or run guests/build.py {name}, which installs what it needs"
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip()), ""


@cache
def committed_or_built(name: str) -> tuple[Path, str]:
    committed = GUESTS / name / f"{name}.wasm"
    return (committed, "") if committed.exists() else build(name)


def guest_path(name: str) -> Path:
    """Where the guest's component is. A test is skipped if it can't be built here."""
    return or_skip(*committed_or_built(name))


def or_skip(path: Path, missing: str) -> Path:
    if missing:
        pytest.skip(missing)
    return path

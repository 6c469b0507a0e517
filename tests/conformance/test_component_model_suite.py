"""The scripts of WebAssembly/component-model, each directive of which passes or is waived for a reason.

P3HOST_COMPONENT_MODEL names a checkout; its folder `test` is run.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from cancellable_text import assemble

from p3host.wast import run_script, script

VARIABLE = "P3HOST_COMPONENT_MODEL"
CHECKOUT = os.environ.get(VARIABLE, "")
FOLDER = Path(CHECKOUT, "test").absolute()
SCRIPTS = sorted(FOLDER.rglob("*.wast")) if CHECKOUT else []

if CHECKOUT and not SCRIPTS:
    raise FileNotFoundError(f"{VARIABLE}: there is no script in {FOLDER}")


def parameters() -> list[Any]:
    hint = f"set {VARIABLE} to a checkout of WebAssembly/component-model"
    return [pytest.param(path, id=str(path.relative_to(FOLDER))) for path in SCRIPTS] or [
        pytest.param(Path(), id="no-checkout", marks=pytest.mark.skip(reason=hint))
    ]


@pytest.mark.anyio
@pytest.mark.parametrize("path", parameters())
async def test_script_passes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAST_STRICT_COMPONENT_INDICES", "0")
    monkeypatch.setattr(script, "text_to_binary", assemble)
    outcomes = await run_script(read(path), str(path))
    assert outcomes
    assert [(outcome.line, outcome.problem) for outcome in outcomes if outcome.problem is not None] == []


def read(path: Path) -> bytes:
    return path.read_bytes()

"""WebAssembly/wasi-testsuite by its own runner, through `wasi_testsuite_adapter.py`.

Each checkout in P3HOST_WASI_TESTSUITE has a runner. It needs Python 3.12 with colorama and requests: that of the tests,
or the one that P3HOST_WASI_TESTSUITE_PYTHON names.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import wasi_testsuite_adapter
from test_wasi_testsuite import CHECKOUTS, FOLDER, P3HOST, VARIABLE, is_withdrawn

PYTHON_VARIABLE = "P3HOST_WASI_TESTSUITE_PYTHON"
CAN_RUN = "import sys, colorama, requests; sys.exit(sys.version_info < (3, 12))"


@pytest.fixture(scope="module")
def checkouts() -> list[Path]:
    if not CHECKOUTS:
        pytest.skip(f"set {VARIABLE} to a checkout of WebAssembly/wasi-testsuite, branch prod/testsuite-base")
    return CHECKOUTS


@pytest.fixture(scope="module")
def python(checkouts: list[Path]) -> str:
    """One that can run the runner."""
    path = os.environ.get(PYTHON_VARIABLE, sys.executable)
    if subprocess.run([path, "-c", CAN_RUN], capture_output=True).returncode:
        needed = "the suite's runner needs Python 3.12 with colorama and requests"
        if PYTHON_VARIABLE in os.environ:
            pytest.fail(f"{needed}, which {path} is not")
        pytest.skip(f"{needed}: set {PYTHON_VARIABLE} to one")
    return path


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_runner_passes_all_that_the_suite_still_demands(
    backend: str, checkouts: list[Path], python: str, tmp_path: Path
) -> None:
    for number, checkout in enumerate(checkouts):
        suite, results = checkout / FOLDER, tmp_path / f"{number}.json"
        told = subprocess.run(
            [
                python,
                checkout / "test-runner" / "wasi_test_runner.py",
                *("--test-suite", suite),
                *("--runtime-adapter", wasi_testsuite_adapter.__file__),
                *("--json-output-location", results),
                "--disable-colors",
            ],
            env=os.environ | {"P3HOST": shlex.join(P3HOST), "P3HOST_BACKEND": backend},
            capture_output=True,
            text=True,
        )
        assert results.exists(), told.stderr
        (result,) = json.loads(results.read_text())["results"]
        tests = {test["name"]: test for test in result["tests"]}
        assert tests.keys() == {path.stem for path in suite.glob("*.wasm")}
        assert all(test["executed"] for test in tests.values())
        failed = {name for name, test in tests.items() if test["failures"]}
        assert failed == {path.stem for path in suite.glob("*.wasm") if is_withdrawn(path)}, told.stdout

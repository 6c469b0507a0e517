"""The README's programs run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = re.findall(
    r"^## .*?$|^### .*?$|```python\n.*?```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
)


def titled_programs() -> list[tuple[str, str]]:
    found = []
    title = ""
    for part in PROGRAMS:
        if part.startswith("#"):
            title = part.strip("# ")
        else:
            found.append((title, part.removeprefix("```python\n").removesuffix("```")))
    return found


def test_there_are_programs_in_the_readme() -> None:
    assert [title for title, _ in titled_programs()] == [
        "Embedding",
        "Imports",
        "Streams and futures",
        "WASI and limits",
        "Testing components",
        "The testbed",
        "Serving HTTP",
    ]


@pytest.mark.parametrize(
    "program",
    [pytest.param(program, id=title) for title, program in titled_programs() if "import pytest" not in program],
)
def test_program_of_the_readme_runs(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_tests_of_the_readme_find_the_race(pytester: pytest.Pytester) -> None:
    (tests,) = (program for _, program in titled_programs() if "import pytest" in program)
    pytester.makepyfile(tests.replace("guests/", f"{ROOT}/guests/"))
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, failed=2)
    told = (ROOT / "README.md").read_text().partition("E   assert")[2].partition("```")[0]
    said = result.stdout.str()
    lines = [line.removeprefix("E").strip() for line in told.splitlines()[1:] if "..." not in line]
    assert [line for line in lines if line not in said] == []

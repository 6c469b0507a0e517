"""Every benchmark runs once with next to no work. What it measures is judged nowhere."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from measure import TINY, Row, print_table
from run import SUBJECTS

IN_OTHER_PROCESSES = {"startup", "suspended", "serve", "throughput"}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("subject", sorted(SUBJECTS.keys() - IN_OTHER_PROCESSES))
def test_subject_is_measured(subject: str, backend: str) -> None:
    rows = anyio.run(SUBJECTS[subject], TINY, backend=backend)
    assert rows
    assert all(row.measured > 0 and math.isfinite(row.measured) for row in rows)


def test_command_measures_in_other_processes() -> None:
    script = Path(__file__).with_name("run.py")
    subjects = sorted(IN_OTHER_PROCESSES - {"startup"})
    done = subprocess.run([sys.executable, script, "--tiny", *subjects], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "suspended tasks" in done.stdout
    assert "serve, a C handler" in done.stdout
    assert "0.2 TCP receive" in done.stdout


def test_command_refuses_unknown_subject() -> None:
    script = Path(__file__).with_name("run.py")
    done = subprocess.run([sys.executable, script, "speed"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "unknown: speed" in done.stderr


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row("slow", 6, "µs", "other", 10, ratio_goal=0.5), False),
        (Row("fast", 4, "µs", "other", 10, ratio_goal=0.5), True),
        (Row("late", 61, "ms", goal=60), False),
        (Row("wide", 2, "GB/s", goal=1, more_is_better=True), True),
        (Row("free", 2, "GB/s", "other", 4), None),
    ],
)
def test_goal_is_met(row: Row, met: bool | None, capsys: pytest.CaptureFixture[str]) -> None:
    assert row.met is met
    print_table([row])
    assert row.name in capsys.readouterr().out

"""`p3host wast`, as a user meets it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from p3host import cli

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command in this process; returns its exit status and what it wrote."""
    monkeypatch.setenv("WAST_STRICT_COMPONENT_INDICES", "0")

    def run(*args: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            cli.main(["wast", *map(str, args)], prog_name="p3host")
        status = left.value.code or 0
        assert isinstance(status, int)
        return (status, *capfd.readouterr())

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_scripts_that_pass(run: Run, write: Callable[[str, str], Path], backend: str) -> None:
    first, second = write("a.wast", "(component)(component)"), write("b.wast", "(component)")
    assert run("--backend", backend, first, second) == (0, "3 passed, 0 failed\n", "")


def test_each_failed_directive_is_printed_with_file_and_line(run: Run, write: Callable[[str, str], Path]) -> None:
    first, second = write("a.wast", '\n(invoke "f")\n(component)\n(conjure)'), write("b.wast", "(component")
    status, out, err = run(first, second)
    assert (status, err) == (1, "")
    assert out.splitlines() == [
        f"{first}:2: invoke: there is no current instance",
        f"{first}:4: conjure: unknown directive",
        f"{second}:1: script: a parenthesis that is never closed",
        "1 passed, 3 failed",
    ]


def test_core_items_may_be_written_without_their_sort(run: Run, write: Callable[[str, str], Path]) -> None:
    script = """(component
      (core module $M (memory (export "memory") 1) (func (export "f") (result i32) (i32.const 0)))
      (core instance $m (instantiate $M))
      (func (export "f") (result string) (canon lift (core func $m "f") {})))
      (assert_return (invoke "f") (str.const ""))"""
    for spelling in ('(memory $m "memory")', '(memory (core memory $m "memory"))'):
        assert run(write("a.wast", script.format(spelling))) == (0, "2 passed, 0 failed\n", "")


def test_file_that_cant_be_read_is_a_usage_error(run: Run, tmp_path: Path) -> None:
    status, out, err = run(tmp_path / "missing.wast")
    assert (status, out) == (2, "")
    assert "missing.wast: No such file" in err


def test_no_file_is_a_usage_error(run: Run) -> None:
    status, _, err = run()
    assert status == 2
    assert "FILE" in err

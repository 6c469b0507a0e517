"""What the two versions of `wasi:cli` have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from .. import errors


class Environment:
    """`wasi:cli/environment`."""

    def __init__(self, args: Sequence[str], env: Mapping[str, str], initial_directory: str | None) -> None:
        self.arguments = list(args)
        self.variables = list(env.items())
        self.initial_directory = initial_directory

    def get_environment(self) -> list[tuple[str, str]]:
        return self.variables

    def get_arguments(self) -> list[str]:
        return self.arguments

    def get_initial_cwd(self) -> str | None:
        return self.initial_directory

    initial_cwd = get_initial_cwd  # its name in WASI 0.2


class Exit:
    """`wasi:cli/exit`."""

    def exit(self, status: object) -> NoReturn:
        """`status` is a WIT `result` without values: `Err` is a failure, whatever else a success."""
        raise errors.Exit(1 if isinstance(status, errors.Err) else 0)

    def exit_with_code(self, status_code: int) -> NoReturn:
        raise errors.Exit(status_code)


class TerminalInput:
    """The resource `terminal-input`: it has no methods."""


class TerminalOutput:
    """The resource `terminal-output`: it has no methods."""


class TerminalTypes:
    """`wasi:cli/terminal-input` and `wasi:cli/terminal-output`."""

    TerminalInput = TerminalInput
    TerminalOutput = TerminalOutput


class Terminals:
    """The three `wasi:cli/terminal-std*`. The flags say which of the standard streams are terminals."""

    def __init__(self, stdin: bool, stdout: bool, stderr: bool) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr

    def get_terminal_stdin(self) -> TerminalInput | None:
        return TerminalInput() if self.stdin else None

    def get_terminal_stdout(self) -> TerminalOutput | None:
        return TerminalOutput() if self.stdout else None

    def get_terminal_stderr(self) -> TerminalOutput | None:
        return TerminalOutput() if self.stderr else None


def interfaces(environment: Environment, terminals: Terminals) -> dict[str, object]:
    """The providers of the interfaces that both versions have, by name without version."""
    return {
        "wasi:cli/environment": environment,
        "wasi:cli/exit": Exit(),
        "wasi:cli/terminal-input": TerminalTypes(),
        "wasi:cli/terminal-output": TerminalTypes(),
        "wasi:cli/terminal-stdin": terminals,
        "wasi:cli/terminal-stdout": terminals,
        "wasi:cli/terminal-stderr": terminals,
    }

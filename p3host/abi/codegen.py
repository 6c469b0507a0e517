"""The source of one converter, written line by line, and the place in the value that each line works on.

A converter carries no bookkeeping for messages: when it fails, the traceback tells the lines that were at work, and
`Mismatch.located` reads the path to the offending part of the value from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from reprlib import Repr
from typing import Any, TypeAlias

Place: TypeAlias = str | Callable[[Mapping[str, Any]], str]
"""One step of the path to a part of a value, or what makes it of the local variables at work."""

PLACES = "places_of_lines"
brief = Repr()
brief.maxstring = brief.maxother = 60


class Mismatch(Exception):
    """A Python value that is none of the component type it is lowered as. Never leaves the converters."""

    def __init__(self, message: str, error: type[Exception] = TypeError) -> None:
        super().__init__(message)
        self.message = message
        self.error = error

    def located(self) -> Exception:
        """The error for the caller: where in the value, what was expected, what was got."""
        path: list[str] = []
        trace = self.__traceback__
        while trace is not None:
            places = trace.tb_frame.f_globals.get(PLACES)
            if places is not None:
                names = trace.tb_frame.f_locals
                path += (place if isinstance(place, str) else place(names) for place in places[trace.tb_lineno])
            trace = trace.tb_next
        return self.error(f"{', '.join(path)}: {self.message}" if path else self.message)


def unexpected(expected: str, got: object, error: type[Exception] = TypeError) -> Mismatch:
    kind = "" if isinstance(got, str | int | float | None) else f" ({type(got).__name__})"
    return Mismatch(f"expected {expected}, got {brief.repr(got)}{kind}", error)


class FunctionSource:
    """Builds one Python function. Its constants are globals of a module of its own."""

    def __init__(self, name: str, parameters: str) -> None:
        self.name = name
        self.lines = [f"def {name}({parameters}):"]
        self.places: list[tuple[Place, ...]] = [(), ()]  # line numbers start at 1
        self.globals: dict[str, Any] = {PLACES: self.places}
        self.constants: dict[int, str] = {}
        self.path: tuple[Place, ...] = ()
        self.depth = 1
        self.names = 0

    def emit(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)
        self.places.append(self.path)

    def variable(self, prefix: str = "x") -> str:
        self.names += 1
        return f"{prefix}{self.names}"

    def constant(self, value: object) -> str:
        """The global name under which the function finds `value`."""
        name = self.constants.get(id(value))
        if name is None:
            name = self.constants[id(value)] = f"K{len(self.constants)}"
            self.globals[name] = value
        return name

    @contextmanager
    def block(self, line: str) -> Iterator[None]:
        self.emit(line)
        self.depth += 1
        yield
        self.depth -= 1

    @contextmanager
    def at(self, *places: Place) -> Iterator[None]:
        """The lines emitted inside work on this part of the value."""
        outer, self.path = self.path, self.path + places
        yield
        self.path = outer

    def build(self) -> Callable[..., Any]:
        exec(compile("\n".join(self.lines), f"<abi {self.name}>", "exec"), self.globals)
        built: Callable[..., Any] = self.globals[self.name]
        return built


def tuple_text(parts: list[str]) -> str:
    """The source of a tuple, as an expression or as a target."""
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def offset_text(offset: int) -> str:
    return f"p + {offset}" if offset else "p"

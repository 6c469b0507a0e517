"""`wasi:cli` 0.2: the standard streams. The rest of the package is in `wasi/command.py`."""

from __future__ import annotations

from collections.abc import Mapping

from ..byte_streams import ByteSink, ByteSource
from .io import InputStream, OutputStream


class Stdin:
    """`wasi:cli/stdin`."""

    def __init__(self, source: ByteSource) -> None:
        self.source = source

    def get_stdin(self) -> InputStream:
        return InputStream(self.source)


class Stdout:
    """`wasi:cli/stdout`."""

    def __init__(self, sink: ByteSink) -> None:
        self.sink = sink

    def get_stdout(self) -> OutputStream:
        return OutputStream(self.sink)


class Stderr:
    """`wasi:cli/stderr`."""

    def __init__(self, sink: ByteSink) -> None:
        self.sink = sink

    def get_stderr(self) -> OutputStream:
        return OutputStream(self.sink)


def interfaces(stdin: ByteSource, stdout: ByteSink, stderr: ByteSink) -> Mapping[str, object]:
    """The providers of the standard streams' interfaces, by name without version."""
    return {
        "wasi:cli/stdin": Stdin(stdin),
        "wasi:cli/stdout": Stdout(stdout),
        "wasi:cli/stderr": Stderr(stderr),
    }

"""`wasi:cli` 0.2: the standard streams. The rest of the package is in `wasi/command.py`."""

from __future__ import annotations

from collections.abc import Mapping

from ..background import Background
from ..byte_streams import ByteSink, ByteSource
from ..stdio import BufferedSource
from .fetching import FetchingSource
from .io import InputStream, OutputStream


class Stdin:
    """`wasi:cli/stdin`."""

    def __init__(self, source: ByteSource, background: Background) -> None:
        self.source = FetchingSource(source, background) if isinstance(source, BufferedSource) else source

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


def interfaces(stdin: ByteSource, stdout: ByteSink, stderr: ByteSink, background: Background) -> Mapping[str, object]:
    """The providers of the standard streams' interfaces, by name without version."""
    return {
        "wasi:cli/stdin": Stdin(stdin, background),
        "wasi:cli/stdout": Stdout(stdout),
        "wasi:cli/stderr": Stderr(stderr),
    }

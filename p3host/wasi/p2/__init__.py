"""WASI 0.2."""

from __future__ import annotations

from collections.abc import Mapping

from ..background import Background
from ..byte_streams import ByteSink, ByteSource
from ..clock import MonotonicClock, SystemClock, Zone
from ..filesystem.handles import Filesystem
from ..randomness import Random
from . import cli, clocks, filesystem, io, random


def interfaces(
    stdio: tuple[ByteSource, ByteSink, ByteSink],
    time: tuple[MonotonicClock, SystemClock, Zone],
    granted: Filesystem,
    chance: Random,
    background: Background,
) -> Mapping[str, object]:
    """The providers of the interfaces that are not the same in WASI 0.3, but for sockets, by name without version."""
    return {
        **cli.interfaces(*stdio, background),
        **clocks.interfaces(*time),
        **filesystem.interfaces(granted, background),
        **io.interfaces(),
        **random.interfaces(chance),
    }

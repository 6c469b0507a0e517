"""Finds what an import or export name means among the names that are there.

Names match when they are equal, or when they name the same interface in compatible versions: the same major version, or
the same minor one below 1.0 (`0.2.1` and `0.2.6`); a release candidate stands for the release that it precedes. The
types that the component carries are checked afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from ..binary.names import ExternNameParts, parse_extern_name


@lru_cache(maxsize=1 << 12)
def track(name: str) -> tuple[str, str] | None:
    """The interface without its version, and the track of compatible versions; None for other names."""
    try:
        parts = parse_extern_name(name)
    except ValueError:
        return None
    return interface_track(parts)


def interface_track(parts: ExternNameParts) -> tuple[str, str] | None:
    if parts.kind != "interface":
        return None
    return parts.unversioned, parts.version.canonical if parts.version is not None else ""


def resolve(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` means: the equal one, else the newest compatible one. A name or a candidate without a
    version matches every version."""
    candidates = list(candidates)
    if name in candidates:
        return name
    wanted = track(name)
    if wanted is None:
        return None
    interface, version = wanted
    found = [
        candidate
        for candidate in candidates
        if (known := track(candidate)) is not None
        and known[0] == interface
        and (known[1] == version or not known[1] or not version)
    ]
    return max(found, key=newest, default=None)


def newest(name: str) -> tuple[bool, object]:
    version = parse_extern_name(name).version
    return (version is not None, version)

"""What converters are compiled for (CanonicalABI.md, "Canonical ABI Options")."""

from __future__ import annotations

from dataclasses import dataclass

from ..types import PointerType, StringEncoding


@dataclass(frozen=True)
class AbiOptions:
    """The canonical options that converters are compiled for.

    `lift_limit` bounds the host memory, in estimated bytes, that the lists and strings of one lift may take: a guest
    can name the same bytes many times over.
    """

    pointer: PointerType = "i32"
    string_encoding: StringEncoding = "utf8"
    lift_limit: int = 1 << 30

"""The case `other` of WASI 0.3's error codes."""

from __future__ import annotations

from typing import ClassVar

from ...records import Record


class Other(Record):
    """The case `other` of `error-code` and `descriptor-type`; every other case is its label, a string."""

    value: str | None = None
    tag: ClassVar[str] = "other"

"""The answers of functions that may have to wait."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
MaybeLater: TypeAlias = T | Coroutine[Any, Any, T]
"""An answer that is there at once, or a coroutine for the host to await."""

"""What goes wrong when guests are built."""

from __future__ import annotations


class BuildError(Exception):
    """A tool has failed; the message says what to do."""


class ToolMissing(BuildError):
    """A tool is not there; the message says what to install."""

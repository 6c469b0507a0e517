"""`python -m p3host`, the same as `p3host`."""

from __future__ import annotations

from .cli import main

main(prog_name="p3host")

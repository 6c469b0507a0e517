"""Runs WebAssembly scripts (`.wast`) that test components.

The format is that of the WebAssembly specification's interpreter, as wasm-tools extended it for components:
definitions, instances, invocations, and assertions about both. Each component that a script instantiates is an instance
of its own, in which nothing runs between the script's invocations.
"""

from __future__ import annotations

from .script import Outcome, Script, run_script

__all__ = ["Outcome", "Script", "run_script"]

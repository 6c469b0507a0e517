#!/usr/bin/env python3
"""Prepares what stock Go has built, by GOOS=wasip1 GOARCH=wasm, for the preview 1 adapter: prepare_go.py IN OUT."""

from __future__ import annotations

import sys
from pathlib import Path

from building.binary import raise_memory_minimum

if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_bytes(raise_memory_minimum(source.read_bytes()))

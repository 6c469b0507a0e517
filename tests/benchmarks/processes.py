"""Measurements in a process of their own, whose memory and caches nothing else has touched."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

Params = ParamSpec("Params")
Result = TypeVar("Result")


def in_fresh_process(function: Callable[Params, Result], *args: Params.args, **named: Params.kwargs) -> Result:
    """What the function returns, which both processes have to find by its module."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=find_modules) as pool:
        return pool.submit(function, *args, **named).result()


def find_modules() -> None:
    sys.path.insert(0, str(Path(__file__).parent))

"""Whether wasmtime still gets the signals that traps are raised by."""

from __future__ import annotations

import ctypes
import faulthandler
import signal
import sys


def segv_handler() -> int | None:
    """The address of the handler of SIGSEGV, where that can be told."""
    if sys.platform != "linux":
        return None
    action = (ctypes.c_void_p * 32)()  # `struct sigaction` begins with the handler
    ctypes.CDLL(None).sigaction(int(signal.SIGSEGV), None, action)
    return action[0]


def check_handler(expected: int | None) -> None:
    """:raises RuntimeError: if `faulthandler` was enabled after the handler `expected` had been installed."""
    if faulthandler.is_enabled() and segv_handler() != expected:
        raise RuntimeError(
            "faulthandler.enable() was called after the first engine was made, so a trap would end the process: call "
            "it before, or use an Engine(EngineConfig(signals_based_traps=False))"
        )

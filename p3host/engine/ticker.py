"""Advances the epoch of an engine while machines of it live, so that no guest keeps the processor.

On Linux a timer of the kernel calls wasmtime on a thread without Python, so that it ticks even while a guest holds
the GIL. Elsewhere a Python thread ticks, and every entry into a guest has to release the GIL.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import weakref
from ctypes import Structure, byref, c_char, c_int, c_long, c_void_p
from typing import ClassVar

from wasmtime import Engine as WasmtimeEngine
from wasmtime._ffi import dll

from .native import address

CLOCK_MONOTONIC = 1
SIGEV_THREAD = 2


class SignalEvent(Structure):
    """Linux's `struct sigevent` on 64-bit machines."""

    _fields_ = (
        ("value", c_void_p),
        ("signal", c_int),
        ("notify", c_int),
        ("function", c_void_p),
        ("attributes", c_void_p),
        ("rest", c_char * 32),
    )


class TimerSpec(Structure):
    """`struct itimerspec`: the interval, then the time to the first expiry."""

    _fields_ = (("seconds", c_long), ("nanoseconds", c_long), ("first_seconds", c_long), ("first_nanoseconds", c_long))


class NativeTimer:
    """A timer of the kernel that increments the epoch of `engine` every `period` seconds once it is started."""

    # A notification can still be on its way when its timer is deleted, so an engine that had a timer is never freed.
    engines: ClassVar[set[WasmtimeEngine]] = set()

    def __init__(self, engine: WasmtimeEngine, period: float) -> None:
        self.engines.add(engine)
        self.period = period
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.timer = c_void_p()
        event = SignalEvent(
            value=address(engine),
            notify=SIGEV_THREAD,
            function=ctypes.cast(dll.wasmtime_engine_increment_epoch, c_void_p).value,
        )
        self.call("timer_create", CLOCK_MONOTONIC, byref(event), byref(self.timer))

    def call(self, name: str, *arguments: object) -> None:
        if self.libc[name](*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), name)

    def start(self) -> None:
        self.set(self.period)

    def stop(self) -> None:
        self.set(0)

    def set(self, period: float) -> None:
        if not self.timer:
            return
        seconds, nanoseconds = divmod(round(period * 1e9), 10**9)
        spec = TimerSpec(seconds, nanoseconds, seconds, nanoseconds)
        self.call("timer_settime", self.timer, 0, byref(spec), None)

    def close(self) -> None:
        timer, self.timer = self.timer, c_void_p()  # a machine that is part of the same garbage may still stop it
        if timer:
            self.libc.timer_delete(timer)

    __del__ = close

    @staticmethod
    def available() -> bool:
        return sys.platform == "linux" and hasattr(ctypes.CDLL(None), "timer_create")


class ThreadTimer:
    """A Python thread that does the same."""

    def __init__(self, engine: WasmtimeEngine, period: float) -> None:
        self.engine = engine
        self.period = period
        self.stopped = threading.Event()

    def start(self) -> None:
        self.stopped = threading.Event()
        threading.Thread(target=self.run, args=(self.stopped,), name="p3host epoch ticker", daemon=True).start()

    def run(self, stopped: threading.Event) -> None:
        while not stopped.wait(self.period):
            self.engine.increment_epoch()

    def stop(self) -> None:
        self.stopped.set()

    close = stop


class Ticker:
    """Ticks while it has users. `period` is in seconds."""

    def __init__(self, engine: WasmtimeEngine, period: float, native: bool) -> None:
        self.engine = engine
        self.period = period
        self.users = 0
        self.timer = self.make_timer(native)
        self.is_native = isinstance(self.timer, NativeTimer)
        # A finalizer can interrupt the thread that holds the lock and want it again.
        self.lock = threading.RLock()
        if hasattr(os, "register_at_fork"):
            reference = weakref.ref(self)
            os.register_at_fork(
                before=lambda: before_fork(reference()),
                after_in_parent=lambda: after_fork(reference()),
                after_in_child=lambda: after_fork(reference()),
            )

    def acquire(self) -> None:
        with self.lock:
            self.users += 1
            if self.users == 1:
                self.timer.start()

    def release(self) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                self.timer.stop()

    def make_timer(self, native: bool) -> NativeTimer | ThreadTimer:
        if native and NativeTimer.available():
            try:
                return NativeTimer(self.engine, self.period)
            except OSError:  # a sandbox may forbid it
                pass
        return ThreadTimer(self.engine, self.period)


def before_fork(ticker: Ticker | None) -> None:
    """A child inherits neither timers nor threads. It does inherit libc's lock of timers, and would wait for it forever
    if a tick held it during the fork: so there is no timer then."""
    if ticker is not None:
        ticker.lock.acquire()
        ticker.timer.close()


def after_fork(ticker: Ticker | None) -> None:
    if ticker is not None:
        ticker.timer = ticker.make_timer(ticker.is_native)
        if ticker.users:
            ticker.timer.start()
        ticker.lock.release()

"""Core values in and out of memory: code made once for each core function type.

Values stand in slots at a fixed distance. In a `Frame` they are wasmtime's `wasmtime_val_t`, in a mailbox the value
alone. Integers are unsigned.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, MutableSequence, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from ..errors import LinkError
from ..types import CoreFuncType, CoreValType
from .native import VALUE_KINDS, VALUE_OFFSET, VALUE_SIZE, argument

CoreValue: TypeAlias = int | float
VIEWS = {"i32": ("u32", "I", 4), "i64": ("u64", "Q", 8), "f32": ("f32", "f", 4), "f64": ("f64", "d", 8)}


class Slots:
    """A piece of memory seen as numbers of each core type."""

    __slots__ = ("f32", "f64", "u32", "u64")

    def __init__(self, memory: memoryview) -> None:
        self.u32 = memory.cast("I")
        self.u64 = memory.cast("Q")
        self.f32 = memory.cast("f")
        self.f64 = memory.cast("d")


def slot(value_type: CoreValType, offset: int, of: str) -> str:
    """The source of a place for a value of `value_type`, `offset` bytes into the slots that the variable `of` names."""
    name, _, size = VIEWS[value_type]
    return f"{of}.{name}[{offset // size}]"


def check_types(t: CoreFuncType, what: str) -> None:
    """:raises LinkError: if functions of the type `t` can't be shared with Python: vectors, references, two results."""
    unusable = [value_type for value_type in t.params + t.results if value_type not in VALUE_KINDS]
    if unusable or len(t.results) > 1:
        reason = f"a value of type {unusable[0]}" if unusable else "more than one result"
        raise LinkError([f"{what} can't be called across the host: its core type has {reason}"])


def compile_function(name: str, source: str, names: dict[str, Any]) -> Callable[..., Any]:
    exec(compile(source, f"<{name}>", "exec"), names)
    function: Callable[..., Any] = names[name]
    return function


class Signature:
    """How functions of one core type are entered: the layout of a frame, and the code that fills and reads it."""

    def __init__(self, t: CoreFuncType) -> None:
        check_types(t, "a core function")
        count = len(t.params)
        self.param_count = count
        self.result_count = len(t.results)
        self.kinds = [VALUE_KINDS[value_type] for value_type in t.params]
        self.results_offset = count * VALUE_SIZE
        self.errors_offset = self.results_offset + max(len(t.results), 1) * VALUE_SIZE
        self.size = self.errors_offset + 16
        values = "".join(f"a{index}, " for index in range(count))
        lines = ["def write(frame, arguments):", f"    ({values}) = arguments"]
        for index, value_type in enumerate(t.params):
            lines.append(f"    {slot(value_type, index * VALUE_SIZE + VALUE_OFFSET, 'frame')} = a{index}")
        self.write: Callable[[Frame, Sequence[CoreValue]], None] = compile_function("write", "\n".join(lines), {})
        result = slot(t.results[0], self.results_offset + VALUE_OFFSET, "frame") if t.results else "None"
        self.read: Callable[[Frame], Any] = compile_function("read", f"def read(frame): return {result}", {})


@lru_cache(1024)
def signature(t: CoreFuncType) -> Signature:
    return Signature(t)


class Frame(Slots):
    """The arguments, the result and the errors of one entry into a guest, at an address that stays.

    `write(frame, values)` puts the arguments in, `enter(*arguments)` starts the entry, `read(frame)` takes its result.
    A frame is used again as soon as its entry is over, and never while it lasts.
    """

    __slots__ = ("address", "arguments", "buffer", "enter", "error", "keep", "pool", "read", "write")

    def __init__(self, size: int, errors_offset: int) -> None:
        assert size % 8 == errors_offset % 8 == 0
        self.buffer = bytearray(size)
        super().__init__(memoryview(self.buffer))
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.buffer))
        self.error = errors_offset // 8  # the index in u64 of wasmtime's trap, the error is next to it
        self.enter: Callable[..., Any]
        self.write: Callable[[Frame, Sequence[CoreValue]], None]
        self.read: Callable[[Frame], Any]
        self.arguments: tuple[Any, ...] = ()
        self.keep: object = None  # what must live as long as the entry
        self.pool: MutableSequence[Frame] = []

    def error_arguments(self) -> tuple[Any, Any]:
        return argument(self.address + self.error * 8), argument(self.address + self.error * 8 + 8)

"""Checked access to a linear memory, and the bound on what one lift may take."""

from __future__ import annotations

from ..errors import Trap
from .context import Context
from .layout import MAX_LIST_BYTE_LENGTH
from .options import AbiOptions


def checked_view(context: Context, pointer: int, size: int, what: str) -> memoryview:
    """A view of the memory that covers the range; traps where the memory doesn't."""
    view = context.memory.view
    if pointer + size > len(view):
        view = context.memory.refresh()
        if pointer + size > len(view):
            raise Trap(f"{what} at {pointer:#x} of {size} bytes is out of bounds of the memory of {len(view)} bytes")
    return view


def aligned_view(context: Context, pointer: int, alignment: int, size: int, what: str) -> memoryview:
    """Like `checked_view`, and traps where the pointer isn't a multiple of `alignment`."""
    if pointer & (alignment - 1):
        raise Trap(f"unaligned pointer: {what} at {pointer:#x} needs an alignment of {alignment}")
    return checked_view(context, pointer, size, what)


def checked_list(context: Context, pointer: int, alignment: int, byte_length: int) -> memoryview:
    """A view of the memory that covers a list; traps where it is too long, unaligned or out of bounds."""
    if byte_length > MAX_LIST_BYTE_LENGTH:
        raise Trap(f"a list of {byte_length} bytes is longer than {MAX_LIST_BYTE_LENGTH} bytes")
    return aligned_view(context, pointer, alignment, byte_length, "a list")


def allocate(context: Context, alignment: int, size: int) -> int:
    """A new allocation of the guest's, checked: `context.memory.view` covers it afterwards."""
    pointer = context.realloc(0, 0, alignment, size)
    if pointer & (alignment - 1) or pointer + size > len(context.memory.view):
        aligned_view(context, pointer, alignment, size, "the result of realloc")
    return pointer


def over_limit(options: AbiOptions) -> Trap:
    return Trap(f"the lists and strings of the lifted values take more than {options.lift_limit} bytes of the host")

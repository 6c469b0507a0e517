"""Strings in linear memory, in the three encodings (CanonicalABI.md, `load_string` and `store_string`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

from ..errors import Trap
from .codegen import Mismatch, unexpected
from .context import Context
from .layout import MAX_STRING_BYTE_LENGTH, REALLOC_I32_MAX, pointer_size
from .memory import aligned_view, allocate, over_limit
from .options import AbiOptions

StringLoader: TypeAlias = Callable[[Context, memoryview, list[int], int, int], str]
StringStorer: TypeAlias = Callable[[Context, str], tuple[int, int]]


def decode(data: memoryview, encoding: str) -> str:
    try:
        return str(data, encoding)
    except UnicodeDecodeError as error:
        raise Trap(f"invalid {encoding} in a string: {error.reason} at byte {error.start}") from None


def encode(value: object, encoding: str) -> bytes:
    if not isinstance(value, str):
        raise unexpected("string (str)", value)
    try:
        data = value.encode(encoding)
    except UnicodeEncodeError as error:
        raise Mismatch(f"a string can't hold the lone surrogate at index {error.start}", ValueError) from None
    if len(data) > REALLOC_I32_MAX:
        raise Mismatch(f"a string of {len(data)} bytes is longer than {REALLOC_I32_MAX} bytes", ValueError)
    return data


def utf16_tag(options: AbiOptions) -> int:
    """The bit that marks the length of a `latin1+utf16` string as one in UTF-16 code units."""
    return 1 << (8 * pointer_size(options.pointer) - 1)


@lru_cache
def string_loader(options: AbiOptions) -> StringLoader:
    """The function `(context, view, budget, pointer, tagged code units) -> str`; it checks all that can be wrong.

    `view` is a view of the memory, `budget[0]` the bytes that this lift may still take.
    """
    tag = utf16_tag(options)

    def load_utf8(context: Context, view: memoryview, budget: list[int], pointer: int, byte_length: int) -> str:
        end = pointer + byte_length
        budget[0] -= byte_length
        if byte_length > MAX_STRING_BYTE_LENGTH or end > len(view) or budget[0] < 0:
            view = checked(context, budget, pointer, 1, byte_length)
        try:
            return str(view[pointer:end], "utf-8")
        except UnicodeDecodeError as error:
            raise Trap(f"invalid utf-8 in a string: {error.reason} at byte {error.start}") from None

    def load_utf16(context: Context, view: memoryview, budget: list[int], pointer: int, code_units: int) -> str:
        byte_length = 2 * code_units
        budget[0] -= byte_length
        view = checked(context, budget, pointer, 2, byte_length)
        return decode(view[pointer : pointer + byte_length], "utf-16-le")

    def load_latin1_or_utf16(context: Context, view: memoryview, budget: list[int], pointer: int, tagged: int) -> str:
        if tagged & tag:
            return load_utf16(context, view, budget, pointer, tagged ^ tag)
        budget[0] -= tagged
        view = checked(context, budget, pointer, 2, tagged)
        return decode(view[pointer : pointer + tagged], "latin-1")

    def checked(context: Context, budget: list[int], pointer: int, alignment: int, byte_length: int) -> memoryview:
        if byte_length > MAX_STRING_BYTE_LENGTH:
            raise Trap(f"a string of {byte_length} bytes is longer than {MAX_STRING_BYTE_LENGTH} bytes")
        view = aligned_view(context, pointer, alignment, byte_length, "a string")
        if budget[0] < 0:
            raise over_limit(options)
        return view

    return {"utf8": load_utf8, "utf16": load_utf16, "latin1+utf16": load_latin1_or_utf16}[options.string_encoding]


@lru_cache
def string_storer(options: AbiOptions) -> StringStorer:
    """The function `(context, str) -> (pointer, tagged code units)`; allocates once, in the exact size."""
    tag = utf16_tag(options)

    def put(context: Context, data: bytes, alignment: int) -> int:
        pointer = allocate(context, alignment, len(data))
        context.memory.view[pointer : pointer + len(data)] = data
        return pointer

    def store_utf8(context: Context, value: str) -> tuple[int, int]:
        data = encode(value, "utf-8")
        pointer = allocate(context, 1, len(data))
        context.memory.view[pointer : pointer + len(data)] = data
        return pointer, len(data)

    def store_utf16(context: Context, value: str) -> tuple[int, int]:
        data = encode(value, "utf-16-le")
        return put(context, data, 2), len(data) >> 1

    def store_latin1_or_utf16(context: Context, value: str) -> tuple[int, int]:
        try:
            data = value.encode("latin-1")
        except (UnicodeEncodeError, AttributeError):
            data = encode(value, "utf-16-le")
            return put(context, data, 2), len(data) >> 1 | tag
        return put(context, data, 2), len(data)

    return {"utf8": store_utf8, "utf16": store_utf16, "latin1+utf16": store_latin1_or_utf16}[options.string_encoding]


def load_string(context: Context, pointer: int, tagged_code_units: int, options: AbiOptions) -> str:
    """The string at a pointer and length that the guest passed to a built-in; it checks all that can be wrong."""
    return string_loader(options)(context, context.memory.view, [options.lift_limit], pointer, tagged_code_units)

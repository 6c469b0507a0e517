"""Finds functions that keep a wasm exception as a value (core specification, "Instructions" of the binary format).

wasmtime doesn't trace references in the frames of a suspended fiber: after a collection they would point to other
objects. All references are switched off, or can only be null, but those to exceptions. One begins to exist where a
`try_table` catches by reference, so that is what is looked for. The module is known to be valid.
"""

from __future__ import annotations

from collections.abc import Callable

from ..binary.reader import Reader

CODE = 10
CATCH_INDICES = {0: 2, 1: 2, 2: 1, 3: 1}  # by the kind of a catch clause: how many indices follow
BY_REFERENCE = (1, 3)
TYPED_REFERENCES = (0x63, 0x64)


def sections(data: bytes) -> list[tuple[int, Reader]]:
    """The id and the contents of each section of a module."""
    reader = Reader(data, 8)
    found = []
    while reader.remaining:
        section_id = reader.byte("a section id")
        found.append((section_id, reader.part(reader.u32("the size of a section"), "a section")))
    return found


def function_that_keeps_exceptions(data: bytes) -> int | None:
    """The index, among the functions that the module defines, of the first that catches by reference."""
    for section_id, reader in sections(data):
        if section_id == CODE:
            for index in range(reader.u32("the number of functions")):
                body = reader.part(reader.u32("the size of a function"), "a function")
                if catches_by_reference(body):
                    return index
    return None


def catches_by_reference(body: Reader) -> bool:
    for _ in range(body.u32("the number of locals")):
        body.u32("a number of locals")
        value_type(body)
    while body.remaining:
        opcode = body.byte("an opcode")
        if opcode == 0x1F:  # try_table
            block_type(body)
            for _ in range(body.u32("the number of catches")):
                kind = body.byte("a catch")
                if kind in BY_REFERENCE:
                    return True
                integers(body, CATCH_INDICES[kind])
        else:
            skip = IMMEDIATES[opcode]
            if skip is not None:
                skip(body)
    return False


def integer(body: Reader) -> None:
    """An integer of any size, signed or not."""
    while body.byte("an integer") >= 0x80:
        pass


def integers(body: Reader, count: int) -> None:
    for _ in range(count):
        integer(body)


def two_integers(body: Reader) -> None:
    integers(body, 2)


def value_type(body: Reader) -> None:
    if body.byte("a type") in TYPED_REFERENCES:
        integer(body)


def block_type(body: Reader) -> None:
    if body.peek("a block type") in TYPED_REFERENCES:
        value_type(body)
    else:
        integer(body)


def branch_table(body: Reader) -> None:
    integers(body, body.u32("the number of labels") + 1)


def select(body: Reader) -> None:
    for _ in range(body.u32("the number of types")):
        value_type(body)


def memory_argument(body: Reader) -> None:
    if body.u32("the flags of a memory argument") & 0x40:
        integer(body)
    integer(body)


def bytes_of(count: int) -> Callable[[Reader], None]:
    def skip(body: Reader) -> None:
        body.part(count, "a constant")

    return skip


def prefixed(body: Reader) -> None:
    """Opcodes of 0xFC: conversions, then what works on whole memories and tables."""
    opcode = body.u32("an opcode")
    if opcode >= 8:
        integers(body, 2 if opcode in (8, 10, 12, 14) else 1)


def vector(body: Reader) -> None:
    """Opcodes of 0xFD."""
    opcode = body.u32("an opcode")
    if opcode <= 11 or opcode in (92, 93):
        memory_argument(body)
    elif opcode in (12, 13):
        body.part(16, "a constant")
    elif 21 <= opcode <= 34:
        body.byte("a lane")
    elif 84 <= opcode <= 91:
        memory_argument(body)
        body.byte("a lane")


IMMEDIATES: list[Callable[[Reader], None] | None] = [None] * 256
for opcodes, skip in (
    ((0x02, 0x03, 0x04), block_type),
    ((0x08, 0x0C, 0x0D, 0x10, 0x12, 0x14, 0x15), integer),  # throw, branches, calls
    ((0x0E,), branch_table),
    ((0x11, 0x13), two_integers),  # indirect calls
    ((0x1C,), select),
    (range(0x20, 0x27), integer),  # locals, globals, tables
    (range(0x28, 0x3F), memory_argument),
    ((0x3F, 0x40, 0x41, 0x42), integer),
    ((0x43,), bytes_of(4)),
    ((0x44,), bytes_of(8)),
    ((0xD0, 0xD2, 0xD5, 0xD6), integer),  # references
    ((0xFC,), prefixed),
    ((0xFD,), vector),
):
    for opcode in opcodes:
        IMMEDIATES[opcode] = skip

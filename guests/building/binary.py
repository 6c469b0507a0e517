"""Core modules and components as bytes: their sections, and what is made of them."""

from __future__ import annotations

from collections.abc import Iterator

from .errors import BuildError

# Sections of core modules and of components, and the sort that instances are
MEMORY = 5
COMPONENT, COMPONENT_INSTANCE, COMPONENT_ALIAS, COMPONENT_TYPE, COMPONENT_IMPORT, COMPONENT_EXPORT = 4, 5, 6, 7, 10, 11
INSTANCE = 5

LARGEST_MEMORY = 65_536  # pages


def read_leb(data: bytes, offset: int) -> tuple[int, int]:
    """A number, and the offset after it."""
    value = shift = 0
    while True:
        byte = data[offset]
        value |= (byte & 0x7F) << shift
        offset, shift = offset + 1, shift + 7
        if byte < 0x80:
            return value, offset


def write_leb(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def sections(binary: bytes) -> Iterator[tuple[int, bytes]]:
    """The sections of a core module or a component: what each is, and its content."""
    offset = 8
    while offset < len(binary):
        size, start = read_leb(binary, offset + 1)
        yield binary[offset], binary[start : start + size]
        offset = start + size


def section(kind: int, *content: bytes) -> bytes:
    body = b"".join(content)
    return bytes([kind]) + write_leb(len(body)) + body


def raise_memory_minimum(module: bytes) -> bytes:
    """A core module of stock Go with a larger minimum of the memory that it defines, for the preview 1 adapter.

    Go takes for granted that nothing but itself grows its memory, and that all beyond its data is its own. But the
    adapter takes what it needs by growing the memory, and without this Go's heap would come to lie over that once it
    has 1 MiB. With half of what a memory can have in between, Go comes to the end of all memory before it gets there.
    What is not used costs addresses only.
    """
    out, found = module[:8], False
    for kind, body in sections(module):
        if kind == MEMORY:
            if body[:2] != b"\1\0":
                raise BuildError("the memory section is not one memory without a maximum")
            minimum, _ = read_leb(body, 2)
            body, found = b"\1\0" + write_leb(minimum + LARGEST_MEMORY // 2), True
        out += section(kind, body)
    if not found:
        raise BuildError("the module defines no memory")
    return out


def compose(front: bytes, back: bytes, between: str, exported: str) -> bytes:
    """One component of two. `front` imports the interface `between`, which `back` exports, and nothing else. The whole
    exports `exported` of `front`, and imports what `back` does, which must be one interface."""
    own = []  # the types and the import that `back` begins with: just those that the whole needs
    for kind, body in sections(back):
        if kind not in (COMPONENT_TYPE, COMPONENT_IMPORT):
            break
        own.append((kind, body))
    *types, (kind, imports) = own
    if kind != COMPONENT_IMPORT or imports[0] != 1 or any(kind == COMPONENT_IMPORT for kind, _ in types):
        raise BuildError("the component at the back does not begin with its only import")
    size, start = read_leb(imports, 2)
    host = imports[2 : start + size]

    def label(text: str) -> bytes:
        return write_leb(len(text)) + text.encode()

    def instantiate(component: int, name: bytes, instance: int) -> bytes:
        return section(COMPONENT_INSTANCE, bytes([1, 0, component, 1]), name, bytes([INSTANCE, instance]))

    def alias_export(instance: int, name: bytes) -> bytes:
        return section(COMPONENT_ALIAS, bytes([1, INSTANCE, 0, instance]), name)

    return back[:8] + b"".join(
        [
            *(section(kind, body) for kind, body in own),  # instance 0, what the host gives
            section(COMPONENT, back),
            section(COMPONENT, front),
            instantiate(0, host, 0),  # instance 1, the back
            alias_export(1, label(between)),  # instance 2
            instantiate(1, label(between), 2),  # instance 3, the front
            alias_export(3, label(exported)),  # instance 4
            section(COMPONENT_EXPORT, b"\1\0", label(exported), bytes([INSTANCE, 4, 0])),
        ]
    )

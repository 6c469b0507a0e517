"""Writes the productions of the binary format by hand, and holds the components that the tests of this folder share."""

from __future__ import annotations

import wasmtime

from p3host.binary.decoder import decode
from p3host.binary.definitions import AnyDefinition

PREAMBLE = b"\0asm\x0d\0\x01\0"
MODULE = b"\0asm\x01\0\0\0"


def u32(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def name(text: str) -> bytes:
    return u32(len(text.encode())) + text.encode()


def vec(*items: bytes) -> bytes:
    return u32(len(items)) + b"".join(items)


def section(section_id: int, payload: bytes) -> bytes:
    return bytes([section_id]) + u32(len(payload)) + payload


def component(*sections: bytes) -> bytes:
    return PREAMBLE + b"".join(sections)


def types(*items: bytes) -> bytes:
    return section(7, vec(*items))


def only(section_id: int, item: bytes) -> AnyDefinition:
    """The one definition that a section with this item decodes to."""
    (definition,) = decode(component(section(section_id, vec(item)))).definitions
    return definition


EVERY_SECTION = component(
    section(0, name("producers") + b"anything"),
    section(1, MODULE),
    section(2, vec(b"\0\0" + vec(), b"\1" + vec())),
    section(3, vec(b"\x60\0\0", b"\x4e" + vec(b"\x5f\1\x7f\1", b"\x50\0\x5e\x78\0"), b"\x50" + vec(b"\1\x60\0\0"))),
    section(4, component(types(b"\x73"), section(6, vec(b"\3\2\1\0")))),
    section(5, vec(b"\0\0" + vec(name("a") + b"\3\0"), b"\1" + vec(b"\0" + name("b") + b"\0\x11\0"))),
    section(6, vec(b"\3\0\0" + name("t"), b"\0\0\1\0" + name("f"), b"\0\x10\2\1\0")),
    types(
        b"\x72" + vec(name("x") + b"\x7f"),
        b"\x71" + vec(name("x") + b"\1\x7f\0"),
        b"\x43" + vec(name("p") + b"\x79") + b"\0\x73",
        b"\x41" + vec(b"\1\x73", b"\3\0" + name("i") + b"\3\0\0", b"\4\0" + name("e") + b"\3\1"),
        b"\x42" + vec(b"\0\x60\0\0", b"\2\3\2\1\0"),
        b"\x3f\x7f\1\0",
        b"\x67\x7d\4",
        b"\x63\x73\x79",
    ),
    section(8, vec(b"\0\0\0" + vec(b"\0", b"\3\0", b"\6") + b"\0", b"\1\0\0" + vec(), b"\x0a\x7f\0", b"\x20\0\0")),
    section(9, b"\0" + vec(b"\0") + b"\1"),
    section(10, vec(b"\2" + name("i") + vec(b"\0" + name("a:b/c"), b"\2" + name("id")) + b"\5\0")),
    section(11, vec(b"\0" + name("e") + b"\1\0\1\1\0", b"\1" + name("v") + b"\2\0\0")),
    section(12, vec(b"\x7d\1\x2a")),
    section(0, name("component-name") + b"\0" + u32(2) + name("c") + b"\1" + u32(5) + b"\1" + vec(b"\0" + name("f"))),
)

GUEST = wasmtime.wat2wasm("""
(component $guest
  (import "a:b/types@0.2.1" (instance $types
    (export "r" (type $r (sub resource)))
    (export "[method]r.get" (func (param "self" (borrow $r)) (result (list u8))))))
  (alias export $types "[method]r.get" (func $get))
  (import "m" (core module $imported (import "x" "y" (memory 1 2)) (export "g" (global (mut i64)))))
  (type $record (record (field "name" string) (field "at" (option u64))))
  (type $stream (stream u8))
  (core module $memory (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0))
  (core instance $memory (instantiate $memory))
  (core func $lowered (canon lower (func $get)
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $read (canon stream.read $stream async (memory (core memory $memory "memory"))))
  (core func $wait (canon waitable-set.wait (memory (core memory $memory "memory"))))
  (core module $main
    (func (export "run") (param i32) (result i32) i32.const 0)
    (func (export "callback") (param i32 i32 i32) (result i32) i32.const 0))
  (core instance $main (instantiate $main))
  (func $run async (param "s" $stream) (result u32) (canon lift (core func $main "run") async
    (callback (core func $main "callback"))))
  (component $nested (import "t" (type $t (sub resource))) (type $own (own $t)))
  (export "run" (func $run))
)
""")

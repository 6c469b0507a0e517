from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p3host.binary.reader import MAX_NAME_LENGTH, MAX_NESTING, Reader
from p3host.errors import DecodeError


def sleb(value: int) -> bytes:
    encoded = bytearray()
    while not -64 <= value < 64:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value & 0x7F])


def uleb(value: int, padding: int = 0) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    if padding:
        return bytes([*encoded, value | 0x80, *[0x80] * (padding - 1), 0])
    return bytes([*encoded, value])


@given(st.integers(0, 2**32 - 1))
def test_u32_reads_what_was_written(value: int) -> None:
    reader = Reader(uleb(value) + b"\xff")
    assert reader.u32("it") == value
    assert reader.remaining == 1


@given(st.integers(0, 2**64 - 1))
def test_u64_reads_what_was_written(value: int) -> None:
    assert Reader(uleb(value)).unsigned(64, "it") == value


@given(st.integers(-(2**32), 2**32 - 1))
def test_s33_reads_what_was_written(value: int) -> None:
    assert Reader(sleb(value)).s33("it") == value


@pytest.mark.parametrize(("encoded", "value"), [(uleb(1, 4), 1), (uleb(0x90, 3), 0x90), (b"\x80\0", 0)])
def test_padded_integers_are_valid(encoded: bytes, value: int) -> None:
    assert Reader(encoded).u32("it") == value


@pytest.mark.parametrize(
    ("read", "encoded", "message"),
    [
        (lambda r: r.u32("it"), b"\xff\xff\xff\xff\x1f", "too large"),
        (lambda r: r.u32("it"), b"\x81\x80\x80\x80\x70", "too large"),
        (lambda r: r.u32("it"), b"\x80\x80\x80\x80\x80\x00", "too long"),
        (lambda r: r.unsigned(64, "it"), b"\x80" * 9 + b"\x02", "too large"),
        (lambda r: r.s33("it"), b"\x80\x80\x80\x80\x10", "too large"),
        (lambda r: r.s33("it"), b"\x80\x80\x80\x80\x6f", "too large"),
        (lambda r: r.s33("it"), b"\xff\xff\xff\xff\xff\x7f", "too long"),
        (lambda r: r.flag("it"), b"\x02", "0x00 or 0x01"),
        (lambda r: r.zero("it"), b"\x01", "0x00"),
        (lambda r: r.name("it"), b"\x03ab", "unexpected end"),
        (lambda r: r.name("it"), uleb(MAX_NAME_LENGTH + 1) + b"a" * (MAX_NAME_LENGTH + 1), "supported"),
        (lambda r: r.vec(lambda r: r.byte("one"), "things"), b"\xbf\x84\x3d\x73", "don't fit"),
        (lambda r: r.vec(lambda r: r.byte("one"), "things", 1), b"\x02ab", "supported"),
        (lambda r: r.part(3, "it"), b"ab", "unexpected end"),
        (lambda r: r.finish("it"), b"ab", "2 unexpected bytes"),
    ],
)
def test_malformed_input_names_the_first_byte_of_what_is_wrong(
    read: Callable[[Reader], object], encoded: bytes, message: str
) -> None:
    with pytest.raises(DecodeError, match=message) as caught:
        read(Reader(b"before" + encoded, 6))
    assert caught.value.offset == 6


@pytest.mark.parametrize("encoded", [b"", b"\x80", b"\xff\xff"])
def test_an_integer_that_is_cut_off_is_reported_where_the_input_ends(encoded: bytes) -> None:
    with pytest.raises(DecodeError, match="unexpected end: expected it") as caught:
        Reader(b"before" + encoded, 6).u32("it")
    assert caught.value.offset == 6 + len(encoded)


def test_malformed_utf8_is_reported_at_its_byte() -> None:
    with pytest.raises(DecodeError, match="malformed UTF-8 encoding in it") as caught:
        Reader(b"\x03ab\xff").name("it")
    assert caught.value.offset == 3


def test_a_part_ends_where_it_should_and_keeps_absolute_offsets() -> None:
    reader = Reader(b"abcdef")
    part = reader.part(2, "it")
    assert bytes(part.view()) == b"ab"
    part.byte("a")
    part.byte("b")
    with pytest.raises(DecodeError) as caught:
        part.byte("c")
    assert caught.value.offset == 2
    assert reader.byte("c") == ord("c")


def test_a_view_is_no_copy() -> None:
    data = b"abcdef"
    assert Reader(data, 2, 4).view().obj is data


def test_nesting_is_limited_across_parts() -> None:
    reader = Reader(b"a")
    for _ in range(MAX_NESTING):
        reader.enter()
    with pytest.raises(DecodeError, match="nest more than"):
        reader.part(1, "it").enter()

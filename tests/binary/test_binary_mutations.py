from __future__ import annotations

import pytest
from component_bytes import EVERY_SECTION, GUEST, PREAMBLE, component, section
from hypothesis import given, settings
from hypothesis import strategies as st

from p3host.binary.decoder import decode
from p3host.errors import DecodeError


def refusal(data: bytes) -> DecodeError | None:
    """The error with which the data is refused, or None where it is decoded."""
    try:
        decode(data)
    except DecodeError as error:
        return error
    return None


@pytest.mark.parametrize("data", [EVERY_SECTION, GUEST], ids=["every section", "guest"])
def test_every_truncation_is_refused_or_ends_between_sections(data: bytes) -> None:
    whole = decode(data).definitions
    for end in range(len(data)):
        error = refusal(data[:end])
        if error is not None:
            assert error.offset <= end
            continue
        definitions = decode(data[:end]).definitions
        assert definitions == whole[: len(definitions)]
        assert refusal(PREAMBLE + data[end:]) is None  # what was cut off is whole sections


def mutate(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    mutated = bytearray(data)
    for start, length, replacement in edits:
        start %= len(mutated) + 1
        mutated[start : start + length] = replacement
    return bytes(mutated)


@settings(max_examples=300, deadline=1000)
@given(
    st.sampled_from([EVERY_SECTION, GUEST]),
    st.lists(st.tuples(st.integers(8, 2_000), st.integers(0, 3), st.binary(max_size=4)), min_size=1, max_size=4),
)
def test_mutated_components_are_decoded_or_refused(data: bytes, edits: list[tuple[int, int, bytes]]) -> None:
    error = refusal(mutate(data, edits))
    assert error is None or 0 <= error.offset <= len(data) + 16


@settings(max_examples=200, deadline=1000)
@given(st.integers(0, 13), st.binary(max_size=60))
def test_any_section_contents_are_decoded_or_refused(section_id: int, payload: bytes) -> None:
    error = refusal(component(section(section_id, payload)))
    assert error is None or error.offset >= len(PREAMBLE)


@settings(max_examples=100, deadline=1000)
@given(st.integers(8, len(EVERY_SECTION)), st.integers(8, len(GUEST)), st.integers(8, len(GUEST)))
def test_spliced_components_are_decoded_or_refused(at: int, start: int, end: int) -> None:
    error = refusal(EVERY_SECTION[:at] + GUEST[start:end] + EVERY_SECTION[at:])
    assert error is None or error.offset >= len(PREAMBLE)

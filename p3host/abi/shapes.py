"""The Python values that lowering accepts, checked and taken apart.

The code that `lower.py` generates handles the common shapes itself and comes here for the others and for messages.
Everything here raises `Mismatch`.
"""

from __future__ import annotations

import math
import operator
import struct
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any, NoReturn

from ..errors import Err
from ..types import EnumType, FlagsType, PrimitiveType, RecordType, VariantType
from ..values import LabelFlags, Ok, RepeatedKeys, Variant, enum_class, flags_class, python_name, variant_classes
from .codegen import Mismatch, unexpected
from .layout import NUMBER_FORMATS

F32_MAX = float.fromhex("0x1.fffffep127")


def int_range(t: PrimitiveType) -> range:
    """The values of an integer type."""
    bits = int(t.value[1:])
    return range(-(1 << bits - 1), 1 << bits - 1) if t.value[0] == "s" else range(1 << bits)


def to_float(value: Any) -> float:
    try:
        if isinstance(value, str | bytes | bytearray):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise unexpected("a float", value) from None
    except OverflowError:
        raise unexpected("a float", value, ValueError) from None


def to_f32(value: Any) -> float:
    """The value rounded to 32 bits; beyond their range it is an infinity."""
    number = to_float(value)
    try:
        return float(struct.unpack("<f", struct.pack("<f", number))[0])
    except OverflowError:
        return math.copysign(math.inf, number)


def f32_bits(value: float) -> int:
    return int.from_bytes(struct.pack("<f", to_f32(value)), "little")


def f64_bits(value: float) -> int:
    return int.from_bytes(struct.pack("<d", value), "little")


@cache
def number_check(t: PrimitiveType) -> Callable[[Any], Any]:
    """The function that turns a value into an int or float of the number type `t`."""
    if t is PrimitiveType.F32:
        return to_f32
    if t is PrimitiveType.F64:
        return to_float
    values = int_range(t)
    expected = f"{t.value} ({values[0]} to {values[-1]})"

    def to_int(value: Any) -> int:
        try:
            number = operator.index(value)
        except TypeError:
            raise unexpected(expected, value) from None
        if number not in values:
            raise unexpected(expected, number, ValueError)
        return number

    return to_int


def not_bool(value: Any) -> NoReturn:
    raise unexpected("bool", value)


def char_code(value: Any) -> int:
    if not isinstance(value, str) or len(value) != 1:
        raise unexpected("char (a str of length 1)", value)
    code = ord(value)
    if 0xD800 <= code <= 0xDFFF:
        raise Mismatch("expected char, got a lone surrogate", ValueError)
    return code


def record_getter(t: RecordType) -> Callable[[Any], list[Any]]:
    """The function that takes a record apart: any object with its fields as attributes, or a mapping."""
    names = [(label, python_name(label)) for label, _ in t.record_fields]
    known = {name for pair in names for name in pair}

    def from_mapping(value: Mapping[Any, Any]) -> list[Any]:
        unknown = [key for key in value if key not in known]
        if unknown:
            raise Mismatch(f"a record with the fields {', '.join(n for _, n in names)} has no field {unknown[0]!r}")
        return [value[name] if name in value else value[label] for label, name in names]

    def fields(value: Any) -> list[Any]:
        try:
            if isinstance(value, Mapping):
                return from_mapping(value)
            return [getattr(value, name) for _, name in names]
        except KeyError as error:
            raise Mismatch(f"missing field {python_name(error.args[0])!r}") from None
        except AttributeError:
            missing = next((name for _, name in names if not hasattr(value, name)), "")
            raise unexpected(f"a record with a field {missing!r}", value) from None

    return fields


def exact_sequence(value: Any, length: int) -> Sequence[Any]:
    """The parts of a tuple or of a fixed-length list."""
    parts = sequence(value, f"a sequence of length {length}")
    if len(parts) != length:
        raise Mismatch(f"expected a sequence of length {length}, got one of length {len(parts)}", ValueError)
    return parts


def sequence(value: Any, expected: str) -> list[Any] | tuple[Any, ...]:
    """The elements of a list; a sequence of another class is copied, so that its length is known to be right."""
    if type(value) is list or type(value) is tuple:
        return value
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        raise unexpected(expected, value)
    return list(value)


def map_items(value: Any) -> list[Any] | tuple[Any, ...]:
    if isinstance(value, RepeatedKeys) and dict(value.pairs) == value:
        return value.pairs
    if isinstance(value, Mapping):
        return list(value.items())
    return sequence(value, "a mapping or a list of pairs")


def buffer_code(view: memoryview) -> str:
    """The letter of `NUMBER_FORMATS` for the items of a buffer, or an empty string."""
    letter = view.format.lstrip("@=<").replace("c", "B")
    for kinds in ("bhilqn", "BHILQN", "fd"):
        if letter in kinds and len(letter) == 1:
            return next((code for code in kinds if code in "bhiqBHIQfd" and SIZES[code] == view.itemsize), "")
    return ""


SIZES = {code: struct.calcsize(f"<{code}") for code in NUMBER_FORMATS.values()}


@cache
def number_buffer(t: PrimitiveType) -> Callable[[Any], memoryview]:
    """The function that makes one buffer of bytes out of a list of numbers: of any buffer of the right format without
    a copy, of any other sequence by a copy."""
    code = NUMBER_FORMATS[t]
    check = number_check(t)

    def to_buffer(values: Any) -> memoryview:
        if type(values) is not list and not isinstance(values, str):
            try:
                view = memoryview(values)
            except TypeError:
                pass
            else:
                if view.ndim == 1 and view.c_contiguous and buffer_code(view) == code:
                    return view.cast("B")
        items = sequence(values, f"list of {t.value}")
        try:
            return memoryview(array(code, items)).cast("B")
        except (TypeError, OverflowError):
            return memoryview(array(code, checked(items))).cast("B")

    def checked(items: Iterable[Any]) -> list[Any]:
        checked_items = []
        for i, item in enumerate(items):
            try:
                checked_items.append(check(item))
            except Mismatch as error:
                raise Mismatch(f"element {i}: {error.message}", error.error) from None
        return checked_items

    return to_buffer


def enum_getter(t: EnumType) -> Callable[[Any], int]:
    """The function that gives the discriminant of a member of `t`, of another enum's member, or of a label."""
    discriminants = {label: i for i, label in enumerate(t.labels)}
    made = enum_class(t)

    def discriminant(value: Any) -> int:
        if type(value) is made:
            return value.discriminant
        label = value.value if isinstance(value, Enum) else value
        index = discriminants.get(label) if isinstance(label, str) else None
        if index is None:
            raise unexpected(f"one of {choices(t.labels)}", value, ValueError if isinstance(label, str) else TypeError)
        return index

    return discriminant


def flags_getter(t: FlagsType) -> Callable[[Any], int]:
    """The function that gives the bits of flags, or of an iterable of labels or flags."""
    made = flags_class(t)
    bits = {label: 1 << i for i, label in enumerate(t.labels)}

    def to_bits(value: Any) -> int:
        if isinstance(value, made):
            return int(value._value_)
        if isinstance(value, str | LabelFlags) or not isinstance(value, Iterable):
            raise unexpected(f"{made.__name__} or a set of labels", value)
        result = 0
        for item in value:
            if isinstance(item, made):
                result |= item._value_
            elif isinstance(item, str) and item in bits:
                result |= bits[item]
            else:
                raise unexpected(f"labels among {choices(t.labels)}", item, ValueError)
        return result

    return to_bits


def choices(labels: Iterable[str]) -> str:
    shown = list(labels)
    return ", ".join(map(repr, shown[:8])) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")


def variant_getter(t: VariantType) -> Callable[[Any], tuple[int, Any]]:
    """The function that gives a variant's discriminant and payload: of its class, of any object with `tag` and
    `value`, or of the label of a case without payload."""
    cases = {label: (i, payload) for i, (label, payload) in enumerate(t.cases)}
    base, _ = variant_classes(t)

    def discriminant(value: Any) -> tuple[int, Any]:
        tag: object = value if isinstance(value, str) else getattr(value, "tag", None)
        payload = None if isinstance(value, str) else getattr(value, "value", None)
        if not isinstance(tag, str):
            raise unexpected(f"a case of {base.__name__}", value)
        if tag not in cases:
            raise Mismatch(f"expected one of the cases {choices(cases)}, got {tag!r}", ValueError)
        index, payload_type = cases[tag]
        if payload_type is None and payload is not None:
            raise Mismatch(f"case {tag!r} carries no value, got {payload!r}")
        if payload_type is not None and isinstance(value, str):
            raise Mismatch(f"case {tag!r} needs a value")
        return index, payload

    return discriminant


def case_indices(t: VariantType) -> dict[type[Variant], int]:
    """The discriminant of each class of `t`."""
    return {case: i for i, case in enumerate(variant_classes(t)[1])}


def result_parts(value: Any) -> tuple[int, Any]:
    if isinstance(value, Ok):
        return 0, value.value
    if isinstance(value, Err):
        return 1, value.value
    raise unexpected("Ok or Err", value)


def no_payload(value: Any) -> NoReturn:
    raise Mismatch(f"this case of the result carries no value, got {value!r}")

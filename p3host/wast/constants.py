"""Constants of scripts as Python values, by the component type that they are meant for."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

from ..errors import Err
from ..types import (
    EnumType,
    FlagsType,
    ListType,
    MapType,
    OptionType,
    PrimitiveType,
    RecordType,
    ResultType,
    TupleType,
    ValType,
    VariantType,
)
from ..values import (
    Ok,
    Record,
    RepeatedKeys,
    Some,
    Variant,
    enum_class,
    flags_class,
    map_of,
    member_name,
    python_name,
    record_class,
    variant_classes,
)
from .syntax import Atom, Form, Item, string_text

# A core constant stands for a value of the type that a core module's functions are lifted with.
CORE_TYPES = {
    "i32": PrimitiveType.S32,
    "i64": PrimitiveType.S64,
    "f32": PrimitiveType.F32,
    "f64": PrimitiveType.F64,
}
INTEGER_BITS = {
    PrimitiveType.S8: 8,
    PrimitiveType.U8: 8,
    PrimitiveType.S16: 16,
    PrimitiveType.U16: 16,
    PrimitiveType.S32: 32,
    PrimitiveType.U32: 32,
    PrimitiveType.S64: 64,
    PrimitiveType.U64: 64,
}


class ConstantError(ValueError):
    """A constant is malformed, or of another type than is needed."""


def value_of(item: Item, t: ValType) -> Any:
    """The Python value of a constant of type `t`.

    :raises ConstantError: if it isn't one.
    """
    if not isinstance(item, Form):
        raise ConstantError(f"expected a constant, found {item.text}")
    keyword, args = item.keyword, item.items[1:]
    expected = keyword_of(t, keyword)
    if keyword != expected:
        raise ConstantError(f"({keyword}) given where {expected} is needed")
    try:
        return constant(keyword, args, t)
    except (LookupError, ValueError, OverflowError) as error:
        raise ConstantError(f"malformed {keyword}: {error}") from error


def keyword_of(t: ValType, given: str) -> str:
    """How a constant of type `t` is written; `given` is the answer where there are several ways."""
    match t:
        case PrimitiveType.STRING:
            return "str.const"
        case PrimitiveType():
            core = given.removesuffix(".const")
            return given if CORE_TYPES.get(core) is t else f"{t.value}.const"
        case OptionType():
            return given if given in ("option.none", "option.some") else "option.some or option.none"
        case ResultType():
            return given if given in ("result.ok", "result.err") else "result.ok or result.err"
        case ListType() | MapType():
            return "list.const"
    return f"{type(t).__name__.removesuffix('Type').lower()}.const"


def constant(keyword: str, args: Sequence[Item], t: ValType) -> Any:
    match t:
        case PrimitiveType():
            return primitive(only(args), t)
        case ListType():
            values = [value_of(arg, t.elem_type) for arg in args]
            return bytes(values) if t.elem_type is PrimitiveType.U8 else values
        case MapType():
            pair = TupleType((t.key_type, t.value_type))
            return map_of([value_of(arg, pair) for arg in args])
        case TupleType():
            return tuple([value_of(arg, part) for arg, part in zip(args, t.types, strict=True)])
        case RecordType():
            return record(args, t)
        case VariantType():
            label, *payload = args
            case_index = [name for name, _ in t.cases].index(string_text(label))
            case: Any = variant_classes(t)[1][case_index]
            case_type = t.cases[case_index][1]
            return case() if case_type is None else case(value_of(only(payload), case_type))
        case EnumType():
            return enum_class(t)(string_text(only(args)))
        case FlagsType():
            flags = flags_class(t)(0)
            for arg in args:
                flags |= flags_class(t)[member_name(string_text(arg))]
            return flags
        case OptionType():
            if keyword == "option.none":
                return None
            value = value_of(only(args), t.payload)
            return Some(value) if isinstance(t.payload, OptionType) else value
        case ResultType():
            payload_type = t.ok if keyword == "result.ok" else t.error
            result = None if payload_type is None else value_of(only(args), payload_type)
            return Ok(result) if keyword == "result.ok" else Err(result)
    raise ConstantError("there are no constants of its type")


def only(args: Sequence[Item]) -> Item:
    (arg,) = args
    return arg


def record(args: Sequence[Item], t: RecordType) -> Any:
    fields = {}
    for arg, (label, field_type) in zip(args, t.record_fields, strict=True):
        if not isinstance(arg, Form) or arg.keyword != "field" or string_text(arg.items[1]) != label:
            raise ConstantError(f'expected (field "{label}" ...)')
        value = arg.items[2:]
        inline = len(value) != 1 or isinstance(value[0], Atom)  # a field's constant may stand without parentheses
        fields[python_name(label)] = value_of(Form(arg.start, arg.end, value) if inline else only(value), field_type)
    return record_class(t)(**fields)


def primitive(arg: Item, t: PrimitiveType) -> Any:
    if t in (PrimitiveType.STRING, PrimitiveType.CHAR):
        return string_text(arg)
    if not isinstance(arg, Atom):
        raise ConstantError("expected a number, found a form")
    if t is PrimitiveType.BOOL:
        return {"true": True, "false": False}[arg.text]
    if t in (PrimitiveType.F32, PrimitiveType.F64):
        return floating_point(arg.text, t)
    number = int(arg.text.replace("_", ""), 0)
    bits = INTEGER_BITS[t]
    if not -(1 << (bits - 1)) <= number < 1 << bits:
        raise ConstantError(f"{arg.text} is out of range")
    if t.value.startswith("s"):  # a core constant may be written without its sign
        half = 1 << (bits - 1)
        return (number + half) % (1 << bits) - half
    return number


def floating_point(text: str, t: PrimitiveType) -> float:
    if "nan" in text:
        return math.nan  # the payload of a NaN means nothing to components
    digits = text.replace("_", "")
    number = float.fromhex(digits) if "0x" in digits else float(digits)
    if t is PrimitiveType.F32:
        (number,) = struct.unpack("<f", struct.pack("<f", number))
    return number


def same(a: Any, b: Any) -> bool:
    """Whether two values are the same to a script: any NaN is any other, and the zeros are two."""
    if type(a) is not type(b):
        return False
    match a:
        case float():
            return (math.isnan(a) and math.isnan(b)) or struct.pack("<d", a) == struct.pack("<d", b)
        case list() | tuple():
            return len(a) == len(b) and all(map(same, a, b))
        case dict():
            return same(pairs_of(a), pairs_of(b))
        case Ok() | Err() | Some() | Variant():
            return same(a.value, b.value)
        case Record():
            return all(same(getattr(a, name), getattr(b, name)) for name in a.__match_args__)
    return bool(a == b)


def pairs_of(value: dict[Any, Any]) -> list[tuple[Any, Any]]:
    return value.pairs if isinstance(value, RepeatedKeys) else list(value.items())

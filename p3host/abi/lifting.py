"""How each type is lifted: from core values and linear memory (CanonicalABI.md, "Loading" and "Flat Lifting").

Each type becomes one Python expression over its leaves, the numbers that it is made of. In memory, all leaves of a
value are unpacked at once with one fused `struct`; among core values they are the arguments. What would make an
expression too long is a function of its own.

The functions in here share four parameters: `c` the context, `m` a view of its memory that covers what is loaded,
`b` the budget (a list with the bytes that this lift may still take), and `p` the pointer.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import starmap
from typing import Any, Generic, NoReturn, TypeAlias, TypeVar

from ..errors import Err, Trap
from ..types import (
    BorrowType,
    EnumType,
    FlagsType,
    FutureType,
    ListType,
    MapType,
    OptionType,
    OwnType,
    PrimitiveType,
    RecordType,
    ResultType,
    StreamType,
    TupleType,
    ValType,
    VariantType,
)
from ..values import (
    CACHE_LIMIT,
    EmptyCase,
    LabelFlags,
    Ok,
    Some,
    enum_class,
    flags_class,
    map_of,
    record_class,
    variant_classes,
)
from .codegen import FunctionSource, offset_text, tuple_text
from .context import Context
from .layout import (
    MAX_LIST_BYTE_LENGTH,
    NUMBER_FORMATS,
    UNSIGNED,
    alignment,
    case_payloads,
    discriminant_size,
    elem_size,
    flags_size,
    flatten,
    is_inline,
    payload_offset,
    pointer_size,
    record_offsets,
)
from .memory import checked_list, over_limit
from .options import AbiOptions
from .strings import string_loader

Load: TypeAlias = Callable[[Context, memoryview, list[int], int], Any]
LoadElements: TypeAlias = Callable[[Context, memoryview, list[int], int, int], Any]
At = TypeVar("At")

NAN = math.nan
LEAF_COST = 40  # bytes of the host, about, for one number in a list
HANDLES: dict[type[ValType], str] = {
    OwnType: "lift_own",
    BorrowType: "lift_borrow",
    StreamType: "lift_stream",
    FutureType: "lift_future",
}


def to_char(code: int) -> str:
    if code >= 0x110000 or 0xD800 <= code <= 0xDFFF:
        raise Trap(f"invalid char {code:#x}: no Unicode scalar value")
    return chr(code)


def f32_of_bits(bits: int) -> float:
    value: float = struct.unpack("<f", bits.to_bytes(4, "little"))[0]
    return value if value == value else NAN


def f64_of_bits(bits: int) -> float:
    value: float = struct.unpack("<d", bits.to_bytes(8, "little"))[0]
    return value if value == value else NAN


def invalid_discriminant(discriminant: int, count: int) -> NoReturn:
    raise Trap(f"invalid variant discriminant {discriminant}: the type has {count} cases")


class FlagsByBits(dict[int, LabelFlags]):
    """The flags of one type by their bits, made when they are first met; of bounded size."""

    def __init__(self, made: type[LabelFlags]) -> None:
        self.made = made

    def __missing__(self, bits: int) -> LabelFlags:
        flags = self.made(bits)
        if len(self) < CACHE_LIMIT:
            self[bits] = flags
        return flags


@lru_cache(maxsize=1 << 10)
def flags_table(t: FlagsType) -> FlagsByBits:
    return FlagsByBits(flags_class(t))


def case_classes(t: VariantType) -> list[tuple[type, ValType | None]]:
    """The class and the payload type of each case."""
    classes: tuple[type, ...] = variant_classes(t)[1]
    return list(zip(classes, case_payloads(t), strict=True))


class LiftExpression(Generic[At]):
    """Writes the expression that lifts a value. `At` says where the value is: an offset, or a list of core values."""

    def __init__(self, source: FunctionSource, options: AbiOptions) -> None:
        self.source = source
        self.options = options

    def constant(self, value: object) -> str:
        return self.source.constant(value)

    # What the two kinds of places do differently.

    def number(self, t: PrimitiveType, at: At) -> str:
        raise NotImplementedError

    def unsigned(self, size: int, at: At) -> str:
        """A leaf of `size` bytes that isn't checked yet; a name, so it can be written twice."""
        raise NotImplementedError

    def pointers(self, at: At) -> tuple[str, str]:
        raise NotImplementedError

    def parts(self, types: Sequence[ValType], at: At) -> list[At]:
        raise NotImplementedError

    def payload(self, t: OptionType | ResultType, payload: ValType, at: At) -> str:
        raise NotImplementedError

    def call(self, t: ValType, at: At) -> str:
        """A call of the function that lifts a `t`."""
        raise NotImplementedError

    def case_call(self, t: VariantType, discriminant: str, at: At) -> str:
        """A call of the function that lifts the case `discriminant`, one with a payload."""
        raise NotImplementedError

    # The types.

    def part(self, t: ValType, at: At) -> str:
        return self.value(t, at) if is_inline(t) else self.call(t, at)

    def value(self, t: ValType, at: At) -> str:
        match t:
            case PrimitiveType.BOOL:
                return f"{self.unsigned(1, at)} != 0"
            case PrimitiveType.CHAR:
                return f"{self.constant(to_char)}({self.unsigned(4, at)})"
            case PrimitiveType.STRING:
                pointer, length = self.pointers(at)
                return f"{self.constant(string_loader(self.options))}(c, m, b, {pointer}, {length})"
            case PrimitiveType.ERROR_CONTEXT:
                return f"c.lift_error_context({self.unsigned(4, at)})"
            case PrimitiveType():
                return self.number(t, at)
            case ListType(elem_type=elem_type, length=None):
                pointer, length = self.pointers(at)
                return f"{self.constant(list_loader(elem_type, self.options))}(c, m, b, {pointer}, {length})"
            case MapType():
                pointer, length = self.pointers(at)
                loader = list_loader(TupleType((t.key_type, t.value_type)), self.options)
                return f"{self.constant(map_of)}({self.constant(loader)}(c, m, b, {pointer}, {length}))"
            case ListType(elem_type=elem_type, length=int(length)):
                return self.fixed_list(elem_type, length, at)
            case RecordType():
                return f"{self.constant(record_class(t))}({', '.join(self.values(t.parts(), at))})"
            case TupleType():
                return tuple_text(self.values(t.types, at))
            case OptionType():
                payload = self.payload(t, t.payload, at)
                if isinstance(t.payload, OptionType):
                    payload = f"{self.constant(Some)}({payload})"
                return self.choice(["None", payload], at)
            case ResultType():
                arms = []
                for kind, payload_type in ((Ok, t.ok), (Err, t.error)):
                    payload = "" if payload_type is None else self.payload(t, payload_type, at)
                    arms.append(f"{self.constant(kind)}({payload})")
                return self.choice(arms, at)
            case VariantType():
                _, classes = variant_classes(t)
                singletons = tuple(case() if issubclass(case, EmptyCase) else None for case in classes)
                return self.by_table(t, singletons, at)
            case EnumType():
                return self.by_table(t, tuple(enum_class(t)), at)
            case FlagsType():
                mask = (1 << len(t.labels)) - 1
                return f"{self.constant(flags_table(t))}[{self.unsigned(flags_size(len(t.labels)), at)} & {mask}]"
            case _:
                return f"c.{HANDLES[type(t)]}({self.unsigned(4, at)}, {self.constant(t)})"

    def values(self, types: Sequence[ValType], at: At) -> list[str]:
        return [self.part(t, place) for t, place in zip(types, self.parts(types, at), strict=True)]

    def fixed_list(self, elem_type: ValType, length: int, at: At) -> str:
        elements = ", ".join(self.values((elem_type,) * length, at))
        return f"bytes(({elements},))" if elem_type is PrimitiveType.U8 else f"[{elements}]"

    def choice(self, arms: list[str], at: At) -> str:
        discriminant = self.unsigned(1, at)
        invalid = f"{self.constant(invalid_discriminant)}({discriminant}, 2)"
        first, second = arms
        return f"({first} if {discriminant} == 0 else {second} if {discriminant} == 1 else {invalid})"

    def by_table(self, t: VariantType | EnumType, singletons: tuple[object, ...], at: At) -> str:
        count = len(singletons)
        discriminant = self.unsigned(discriminant_size(count), at)
        value = f"{self.constant(singletons)}[{discriminant}]"
        if isinstance(t, VariantType) and None in singletons:
            value = f"({value} or {self.case_call(t, discriminant, at)})"
        invalid = f"{self.constant(invalid_discriminant)}({discriminant}, {count})"
        return f"({value} if {discriminant} < {count} else {invalid})"


class LoadExpression(LiftExpression[int]):
    """Lifts from memory: a place is an offset from the pointer `p`."""

    def __init__(self, source: FunctionSource, options: AbiOptions) -> None:
        super().__init__(source, options)
        self.leaves: dict[int, tuple[str, str]] = {}  # by offset: format and name
        self.uses_pointer = False

    def leaf(self, offset: int, letters: str) -> str:
        """The name of the leaf at an offset; one that was asked for before with the same format is the same leaf."""
        known = self.leaves.get(offset)
        if known is None:
            known = self.leaves[offset] = (letters, self.source.variable())
        assert known[0] == letters
        return known[1]

    def number(self, t: PrimitiveType, at: int) -> str:
        name = self.leaf(at, NUMBER_FORMATS[t])
        return f"({name} if {name} == {name} else {self.constant(NAN)})" if t in FLOATS else name

    def unsigned(self, size: int, at: int) -> str:
        return self.leaf(at, UNSIGNED[size])

    def pointers(self, at: int) -> tuple[str, str]:
        size = pointer_size(self.options.pointer)
        return self.leaf(at, UNSIGNED[size]), self.leaf(at + size, UNSIGNED[size])

    def parts(self, types: Sequence[ValType], at: int) -> list[int]:
        return [at + offset for offset in record_offsets(types, self.options.pointer)[:-1]]

    def payload(self, t: OptionType | ResultType, payload: ValType, at: int) -> str:
        offset = at + payload_offset(t, self.options.pointer)
        if is_inline(payload) and len(set(t.parts())) == 1:
            return self.value(payload, offset)
        return self.call(payload, offset)

    def fixed_list(self, elem_type: ValType, length: int, at: int) -> str:
        if elem_type is PrimitiveType.U8:
            return self.leaf(at, f"{length}s")
        if is_inline(ListType(elem_type, length)):
            return super().fixed_list(elem_type, length, at)
        self.uses_pointer = True
        return f"{self.constant(elements_loader(elem_type, self.options))}(c, m, b, {offset_text(at)}, {length})"

    def call(self, t: ValType, at: int) -> str:
        self.uses_pointer = True
        return f"{self.constant(loader(t, self.options))}(c, m, b, {offset_text(at)})"

    def case_call(self, t: VariantType, discriminant: str, at: int) -> str:
        self.uses_pointer = True
        loaders = tuple(
            None if payload is None else case_loader(payload, case, self.options) for case, payload in case_classes(t)
        )
        offset = at + payload_offset(t, self.options.pointer)
        return f"{self.constant(loaders)}[{discriminant}](c, m, b, {offset_text(offset)})"

    def fused(self, size: int) -> tuple[struct.Struct, list[str]]:
        """The format of all leaves of a value of `size` bytes, and their names."""
        letters, names, end = "<", [], 0
        for offset in sorted(self.leaves):
            letter, name = self.leaves[offset]
            letters += f"{offset - end}x{letter}" if offset > end else letter
            end = offset + struct.calcsize(f"<{letter}")
            names.append(name)
        return struct.Struct(f"{letters}{size - end}x"), names

    def unpack(self, size: int) -> None:
        """Emits what gives the leaves their values."""
        fused, names = self.fused(size)
        if names:
            self.source.emit(f"{tuple_text(names)} = {self.constant(fused.unpack_from)}(m, p)")


FLOATS = frozenset((PrimitiveType.F32, PrimitiveType.F64))
FlatValues: TypeAlias = list[tuple[str, str]]  # core type and expression of each core value


class FlatExpression(LiftExpression[FlatValues]):
    """Lifts from core values: a place is the list of the values there."""

    def number(self, t: PrimitiveType, at: FlatValues) -> str:
        ((_, value),) = at
        if t in FLOATS:
            return f"({value} if {value} == {value} else {self.constant(NAN)})" if value.isidentifier() else value
        bits = int(t.value[1:])
        if bits < 32:
            value = f"{value} & {(1 << bits) - 1}"
        sign = 1 << (bits - 1)
        return f"(({value} ^ {sign}) - {sign})" if t.value[0] == "s" else value

    def unsigned(self, size: int, at: FlatValues) -> str:
        # A discriminant, a char, flags or a handle: high bits count, except those of a bool, and of unused flags.
        return at[0][1]

    def pointers(self, at: FlatValues) -> tuple[str, str]:
        (_, pointer), (_, length) = at
        return pointer, length

    def parts(self, types: Sequence[ValType], at: FlatValues) -> list[FlatValues]:
        places, start = [], 0
        for t in types:
            end = start + len(flatten(t, self.options.pointer))
            places.append(at[start:end])
            start = end
        return places

    def payload(self, t: OptionType | ResultType, payload: ValType, at: FlatValues) -> str:
        return self.part(payload, self.coerced(payload, at[1:]))

    def coerced(self, t: ValType, at: FlatValues) -> FlatValues:
        """The core values of a payload of type `t` out of the joined ones of its variant."""
        values = []
        for (have, value), want in zip(at, flatten(t, self.options.pointer), strict=False):
            if have == "i64" and want in ("i32", "f32"):
                value = f"({value} & 0xffffffff)"
            if have != want and want in ("f32", "f64"):
                value = f"{self.constant(f32_of_bits if want == 'f32' else f64_of_bits)}({value})"
            values.append((want, value))
        return values

    def call(self, t: ValType, at: FlatValues) -> str:
        arguments = "".join(f", {value}" for _, value in at)
        return f"{self.constant(flat_lifter(t, self.options))}(c, m, b{arguments})"

    def case_call(self, t: VariantType, discriminant: str, at: FlatValues) -> str:
        joined = tuple(core_type for core_type, _ in at[1:])
        lifters = tuple(
            None if payload is None else flat_case_lifter(payload, joined, case, self.options)
            for case, payload in case_classes(t)
        )
        arguments = "".join(f", {value}" for _, value in at[1:])
        return f"{self.constant(lifters)}[{discriminant}](c, m, b{arguments})"


# Functions by type, shared between converters.


@lru_cache(maxsize=1 << 12)
def loader(t: ValType, options: AbiOptions) -> Load:
    """The function `(c, m, b, p)` that loads a value of type `t`; the caller has checked the range."""
    source = FunctionSource("load", "c, m, b, p")
    expression = LoadExpression(source, options)
    value = expression.value(t, 0)
    expression.unpack(elem_size(t, options.pointer))
    source.emit(f"return {value}")
    return source.build()


@lru_cache(maxsize=1 << 12)
def case_loader(t: ValType, case: type, options: AbiOptions) -> Load:
    """Like `loader`, for the payload of a case, in the class of that case."""
    source = FunctionSource("load_case", "c, m, b, p")
    expression = LoadExpression(source, options)
    value = expression.part(t, 0)
    expression.unpack(elem_size(t, options.pointer))
    source.emit(f"return {source.constant(case)}({value})")
    return source.build()


@lru_cache(maxsize=1 << 12)
def flat_lifter(t: ValType, options: AbiOptions) -> Callable[..., Any]:
    """The function `(c, m, b, *core values)` that lifts a value of type `t`."""
    core_types = flatten(t, options.pointer)
    names = [f"v{i}" for i in range(len(core_types))]
    source = FunctionSource("lift_flat", ", ".join(["c", "m", "b", *names]))
    source.emit(f"return {FlatExpression(source, options).value(t, list(zip(core_types, names, strict=True)))}")
    return source.build()


@lru_cache(maxsize=1 << 12)
def flat_case_lifter(t: ValType, joined: tuple[str, ...], case: type, options: AbiOptions) -> Callable[..., Any]:
    """The function `(c, m, b, *core values)` that lifts a payload out of the joined core values of its variant."""
    names = [f"v{i}" for i in range(len(joined))]
    source = FunctionSource("lift_case", ", ".join(["c", "m", "b", *names]))
    expression = FlatExpression(source, options)
    values = expression.coerced(t, list(zip(joined, names, strict=True)))
    source.emit(f"return {source.constant(case)}({expression.part(t, values)})")
    return source.build()


@lru_cache(maxsize=1 << 12)
def list_loader(t: ValType, options: AbiOptions) -> LoadElements:
    """The function `(c, m, b, pointer, count)` that loads a list of `t`; it checks all that can be wrong."""
    size = elem_size(t, options.pointer)
    align = alignment(t, options.pointer)
    elements = elements_loader(t, options)

    def load_list(c: Context, m: memoryview, b: list[int], pointer: int, count: int) -> Any:
        byte_length = count * size
        if byte_length > MAX_LIST_BYTE_LENGTH or pointer & (align - 1) or pointer + byte_length > len(m):
            m = checked_list(c, pointer, align, byte_length)
        return elements(c, m, b, pointer, count)

    return load_list


@lru_cache(maxsize=1 << 12)
def elements_loader(t: ValType, options: AbiOptions) -> LoadElements:
    """The function `(c, m, b, p, n)` that loads `n` elements from a checked range: bytes of u8, else a list."""
    source = FunctionSource("load_elements", "c, m, b, p, n")
    size = elem_size(t, options.pointer)
    expression = LoadExpression(source, options)
    value = expression.part(t, 0)
    fused, names = expression.fused(size)
    cost = 1 if t is PrimitiveType.U8 else LEAF_COST * (1 + len(names)) + size
    source.emit(f"b[0] -= n * {cost}")
    with source.block("if b[0] < 0:"):
        source.emit(f"raise {source.constant(over_limit)}({source.constant(options)})")
    data = f"m[p : p + n * {size}]"
    # Of a copy: a traceback can keep the iterator in a cycle, and CPython's collector crashes on a view that is in use.
    unpacked = f"{source.constant(fused.iter_unpack)}({data}.tobytes())"
    if t is PrimitiveType.U8:
        source.emit(f"return {data}.tobytes()")
    elif isinstance(t, PrimitiveType) and t in NUMBER_FORMATS:
        source.emit(f"values = {data}.cast('{NUMBER_FORMATS[t]}').tolist()")
        if t in FLOATS:
            source.emit("total = sum(values)")
            with source.block("if total - total != 0.0:"):  # there is a NaN, or an infinity
                source.emit(f"values = [x if x == x else {source.constant(NAN)} for x in values]")
        source.emit("return values")
    elif names and value == tuple_text(names):
        source.emit(f"return list({unpacked})")
    elif isinstance(t, RecordType) and value == f"{source.constant(record_class(t))}({', '.join(names)})":
        source.emit(f"return list({source.constant(starmap)}({source.constant(record_class(t))}, {unpacked}))")
    elif not names:
        source.emit(f"return [{value} for p in range(p, p + n * {size}, {size})]")
    elif not expression.uses_pointer:
        source.emit(f"return [{value} for {tuple_text(names)} in {unpacked}]")
    else:
        pairs = f"zip(range(p, p + n * {size}, {size}), {unpacked})"
        source.emit(f"return [{value} for p, {tuple_text(names)} in {pairs}]")
    return source.build()

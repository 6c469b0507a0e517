"""How a value that was taken from one guest is given to another (CanonicalABI.md, "Storing" and "Flat Lowering").

`taking.py` has checked the value and left it in variables. Here they become core values, or are packed into memory, as
lowering does it: the target's allocator is called in the same order and for the same sizes. Padding, and the unused
bytes of an absent payload, become zeros where they lie between what one `struct` packs.

The functions in here share five parameters: `c` the source's context and `d` the target's, `w` a view of the target's
memory that covers what is written, `x` what was taken, and `q` the pointer.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from ..types import (
    CompoundType,
    EnumType,
    FlagsType,
    ListType,
    MapType,
    OptionType,
    PrimitiveType,
    ResultType,
    TupleType,
    ValType,
    VariantType,
)
from .cargo import Block, Cargo, Case, Choice, Merged, Number, Parts, Route, Run, Taken, packed
from .codegen import FunctionSource, tuple_text
from .columns import columns_of
from .context import Context
from .copy import copy_block
from .layout import (
    NUMBER_FORMATS,
    PRIMITIVE_SIZES,
    UNSIGNED,
    alignment,
    case_payloads,
    discriminant_size,
    elem_size,
    flags_size,
    flatten,
    payload_offset,
    pointer_size,
    record_offsets,
)
from .lifting import FLOATS
from .lowering import HANDLES
from .memory import allocate
from .shapes import f32_bits, f64_bits
from .strings import StringStorer, string_storer
from .taking import elements_taker, flat_case_taker, flat_taker, is_fixed_list, taker

Leaves: TypeAlias = list[tuple[str, str]]
"""The core type and the expression of each core value."""

Give: TypeAlias = Callable[..., Any]


class Giving:
    """Emits the statements that give a value; core values are its answer."""

    def __init__(self, source: FunctionSource, route: Route) -> None:
        self.source = source
        self.route = route
        self.options = route.target

    def constant(self, value: object) -> str:
        return self.source.constant(value)

    def variable(self) -> str:
        return self.source.variable("y")

    # What core values and memory do differently.

    def number(self, t: PrimitiveType, name: str, offset: int) -> Leaves:
        raise NotImplementedError

    def unsigned(self, size: int, value: str, offset: int) -> Leaves:
        raise NotImplementedError

    def run(self, cargo: Run, offset: int) -> Leaves:
        raise NotImplementedError

    def call(self, t: ValType, name: str, offset: int) -> Leaves:
        """A call of the function that gives a `t`."""
        raise NotImplementedError

    def choice(self, t: OptionType | ResultType, cargo: Choice, offset: int) -> Leaves:
        raise NotImplementedError

    def case(self, t: VariantType, cargo: Case, offset: int) -> Leaves:
        raise NotImplementedError

    # The types.

    def give(self, t: ValType, cargo: Cargo, offset: int = 0) -> Leaves:
        match t, cargo:
            case _, Run():
                return self.run(cargo, offset)
            case _, Block(pointer, length, unit, align):
                size = length if unit == 1 else f"{length} * {unit}"
                allocated = self.variable()
                self.source.emit(f"{allocated} = {self.constant(copy_block)}(c, d, {pointer}, {size}, {align})")
                return self.range(allocated, length, offset)
            case PrimitiveType.STRING, Taken(name):
                return self.stored(f"{self.constant(string_giver(self.route))}(c, d, {name})", offset)
            case ((ListType(length=None) | MapType()), Taken(name)):
                elem_type = t.elem_type if isinstance(t, ListType) else TupleType(t.parts())
                give = self.constant(list_giver(elem_type, self.route.behind_pointers))
                return self.stored(f"{give}(c, d, {name})", offset)
            case _, Taken(name):
                return self.call(t, name, offset)
            case ((OptionType() | ResultType()), Choice()):
                return self.choice(t, cargo, offset)
            case ((OptionType() | ResultType()), Merged(discriminant, payload)):
                payload_at = offset + payload_offset(t, self.options.pointer)
                return [
                    *self.unsigned(1, discriminant, offset),
                    *self.give(t.parts()[0], payload, payload_at),
                ]
            case VariantType(), Case():
                return self.case(t, cargo, offset)
            case _, Parts(parts):
                assert isinstance(t, CompoundType)
                types = (t.elem_type,) * len(parts) if isinstance(t, ListType) else t.parts()
                return self.sequence(types, parts, offset)
        assert isinstance(cargo, Number)
        return self.one(t, cargo.name, offset)

    def one(self, t: ValType, name: str, offset: int) -> Leaves:
        match t:
            case PrimitiveType.BOOL:
                return self.unsigned(1, name, offset)
            case PrimitiveType.CHAR:
                return self.unsigned(4, name, offset)
            case PrimitiveType.ERROR_CONTEXT:
                return self.unsigned(4, self.lowered(f"d.lower_error_context({name})"), offset)
            case PrimitiveType():
                return self.number(t, name, offset)
            case FlagsType():
                return self.unsigned(flags_size(len(t.labels)), name, offset)
            case EnumType():
                return self.unsigned(discriminant_size(len(t.labels)), name, offset)
            case VariantType() | OptionType() | ResultType():
                return self.unsigned(discriminant_size(len(case_payloads(t))), name, offset)
            case _:
                return self.unsigned(4, self.lowered(f"d.{HANDLES[type(t)]}({name}, {self.constant(t)})"), offset)

    def lowered(self, call: str) -> str:
        name = self.variable()
        self.source.emit(f"{name} = {call}")
        return name

    def sequence(self, types: Sequence[ValType], parts: Sequence[Cargo], offset: int) -> Leaves:
        offsets = record_offsets(types, self.options.pointer)[:-1]
        leaves: Leaves = []
        for t, part, part_offset in zip(types, parts, offsets, strict=True):
            leaves += self.give(t, part, offset + part_offset)
        return leaves

    def stored(self, call: str, offset: int) -> Leaves:
        pointer, length = self.variable(), self.variable()
        self.source.emit(f"{pointer}, {length} = {call}")
        return self.range(pointer, length, offset)

    def range(self, pointer: str, length: str, offset: int) -> Leaves:
        size = pointer_size(self.options.pointer)
        return [*self.unsigned(size, pointer, offset), *self.unsigned(size, length, offset + size)]


class FlatGiving(Giving):
    """Gives core values; offsets mean nothing here."""

    def number(self, t: PrimitiveType, name: str, offset: int) -> Leaves:
        size = PRIMITIVE_SIZES[t]
        if t.value[0] == "s" and size < 4:
            sign = 1 << (8 * size - 1)
            name = f"({name} ^ {sign}) - {sign} & 0xffffffff"
        return [(flatten(t, self.options.pointer)[0], name)]

    def unsigned(self, size: int, value: str, offset: int) -> Leaves:
        return [("i64" if size == 8 else "i32", value)]

    def call(self, t: ValType, name: str, offset: int) -> Leaves:
        core_types = flatten(t, self.options.pointer)
        names = [self.variable() for _ in core_types]
        self.source.emit(f"{tuple_text(names)} = {self.constant(flat_giver(t, self.route))}(c, d, {name})")
        return list(zip(core_types, names, strict=True))

    def choice(self, t: OptionType | ResultType, cargo: Choice, offset: int) -> Leaves:
        joined = flatten(t, self.options.pointer)[1:]
        names = [self.variable() for _ in joined]
        heads = (f"if {cargo.discriminant} == 0:", "else:")
        for head, payload, taken in zip(heads, case_payloads(t), cargo.cases, strict=True):
            with self.source.block(head):
                if taken is not None:
                    self.source.emit(f"{packed(taken)} = {cargo.payload}")
                texts = self.joined(payload, taken, joined)
                self.source.emit(f"{tuple_text(names)} = {tuple_text(texts)}")
        return [("i32", cargo.discriminant), *zip(joined, names, strict=True)]

    def joined(self, t: ValType | None, taken: Cargo | None, joined: Sequence[str]) -> list[str]:
        """The payload of a case as the joined core types of its variant."""
        leaves = [] if t is None or taken is None else self.give(t, taken)
        texts = []
        for i, want in enumerate(joined):
            if i >= len(leaves):
                texts.append("0.0" if want in ("f32", "f64") else "0")
                continue
            have, text = leaves[i]
            if have != want and have in ("f32", "f64"):
                text = f"{self.constant(f32_bits if have == 'f32' else f64_bits)}({text})"
            texts.append(text)
        return texts

    def case(self, t: VariantType, cargo: Case, offset: int) -> Leaves:
        joined = flatten(t, self.options.pointer)[1:]
        givers = tuple(flat_case_giver(t, index, self.route) for index in range(len(t.cases)))
        names = [self.variable() for _ in joined]
        call = f"{self.constant(givers)}[{cargo.discriminant}](c, d, {cargo.payload})"
        self.source.emit(f"{tuple_text(names)} = {call}")
        return [("i32", cargo.discriminant), *zip(joined, names, strict=True)]


class MemoryGiving(Giving):
    """Gives to memory at `q`. The numbers are packed at the end, around the ranges that others have written."""

    def __init__(self, source: FunctionSource, route: Route) -> None:
        super().__init__(source, route)
        self.leaves: list[tuple[int, str, str]] = []  # offset, format, expression
        self.written: list[int] = []  # where ranges begin that others have written

    def leaf(self, offset: int, letters: str, value: str) -> Leaves:
        self.leaves.append((offset, letters, value))
        return []

    def number(self, t: PrimitiveType, name: str, offset: int) -> Leaves:
        if t in FLOATS and not self.route.is_direct:
            return self.leaf(offset, NUMBER_FORMATS[t], name)
        return self.leaf(offset, UNSIGNED[PRIMITIVE_SIZES[t]], name)

    def unsigned(self, size: int, value: str, offset: int) -> Leaves:
        return self.leaf(offset, UNSIGNED[size], value)

    def run(self, cargo: Run, offset: int) -> Leaves:
        return self.leaf(offset, f"{cargo.size}s", cargo.name)

    def call(self, t: ValType, name: str, offset: int) -> Leaves:
        self.written.append(offset)
        if is_fixed_list(t, self.route):
            assert isinstance(t, ListType)
            give = elements_giver(t.elem_type, self.route)
        else:
            give = giver(t, self.route)
        self.source.emit(f"{self.constant(give)}(c, d, w, {name}, {at_text(offset)})")
        return []

    def choice(self, t: OptionType | ResultType, cargo: Choice, offset: int) -> Leaves:
        self.unsigned(1, cargo.discriminant, offset)
        payload_at = offset + payload_offset(t, self.options.pointer)
        self.written.append(payload_at)
        for index, (payload, taken) in enumerate(zip(case_payloads(t), cargo.cases, strict=True)):
            if payload is None or taken is None:
                continue
            with self.source.block(f"if {cargo.discriminant} == {index}:"):
                self.source.emit(f"{packed(taken)} = {cargo.payload}")
                inner = MemoryGiving(self.source, self.route)
                inner.give(payload, taken, payload_at)
                inner.pack()
        return []

    def case(self, t: VariantType, cargo: Case, offset: int) -> Leaves:
        payload_at = offset + payload_offset(t, self.options.pointer)
        self.written.append(payload_at)
        givers = tuple(give_nothing if payload is None else giver(payload, self.route) for _, payload in t.cases)
        call = f"{self.constant(givers)}[{cargo.discriminant}](c, d, w, {cargo.payload}, {at_text(payload_at)})"
        self.source.emit(call)
        return self.unsigned(discriminant_size(len(t.cases)), cargo.discriminant, offset)

    def pack(self, size: int | None = None) -> None:
        """Emits what writes the numbers; up to the end of a value of `size` bytes where nobody else writes."""
        leaves = sorted(self.leaves)
        while leaves:
            start = end = leaves[0][0]
            letters, values = "<", []
            stop = min((offset for offset in self.written if offset > start), default=None)
            while leaves and (stop is None or leaves[0][0] < stop):
                offset, letter, value = leaves.pop(0)
                letters += f"{offset - end}x{letter}" if offset > end else letter
                end = offset + struct.calcsize(f"<{letter}")
                values.append(value)
            if size is not None and stop is None and not leaves and size > end:
                letters += f"{size - end}x"
            pack = self.constant(struct.Struct(letters).pack_into)
            self.source.emit(f"{pack}(w, {at_text(start)}, {', '.join(values)})")


def at_text(offset: int) -> str:
    return f"q + {offset}" if offset else "q"


def give_nothing(*place: Any) -> None:
    """Gives the payload of a case that has none."""


# Functions by type, shared between converters.


def unpacked(source: FunctionSource, cargo: Cargo) -> None:
    source.emit(f"{packed(cargo)} = x")


@lru_cache(maxsize=1 << 12)
def giver(t: ValType, route: Route) -> Give:
    """The function `(c, d, w, x, q)` that gives to memory what the function for the same type and route took."""
    cargo = flat_taker(t, route)[1] if route.flat_source else taker(t, route)[1]
    return memory_giver(t, cargo, route)


def memory_giver(t: ValType, cargo: Cargo, route: Route) -> Give:
    source = FunctionSource("give", "c, d, w, x, q")
    unpacked(source, cargo)
    giving = MemoryGiving(source, route)
    giving.give(t, cargo)
    giving.pack(elem_size(t, route.target.pointer))
    return source.build()


@lru_cache(maxsize=1 << 12)
def flat_giver(t: ValType, route: Route) -> Give:
    """The function `(c, d, x) -> core values` that gives what the function for the same type and route took."""
    cargo = flat_taker(t, route)[1] if route.flat_source else taker(t, route)[1]
    source = FunctionSource("give_flat", "c, d, x")
    unpacked(source, cargo)
    leaves = FlatGiving(source, route).give(t, cargo)
    source.emit(f"return {tuple_text([value for _, value in leaves])}")
    return source.build()


@lru_cache(maxsize=1 << 12)
def flat_case_giver(t: VariantType, index: int, route: Route) -> Give:
    """The function `(c, d, x) -> core values` of one case, for the joined core types of its variant."""
    payload = t.cases[index][1]
    cargo = None if payload is None else case_cargo(t, payload, route)
    source = FunctionSource("give_case", "c, d, x")
    if cargo is not None:
        unpacked(source, cargo)
    texts = FlatGiving(source, route).joined(payload, cargo, flatten(t, route.target.pointer)[1:])
    source.emit(f"return {tuple_text(texts)}")
    return source.build()


def case_cargo(t: VariantType, payload: ValType, route: Route) -> Cargo:
    """Where the payload of a case was left."""
    if route.flat_source:
        return flat_case_taker(payload, flatten(t, route.source.pointer)[1:], route)[1]
    return taker(payload, route)[1]


@lru_cache(maxsize=1 << 12)
def elements_giver(t: ValType, route: Route) -> Give:
    """The function `(c, d, w, x, q)` that gives what `elements_taker` took; the caller has checked the range."""
    size = elem_size(t, route.target.pointer)
    cargo = elements_taker(t, route)[1]
    source = FunctionSource("give_elements", "c, d, w, x, q")
    with source.block(f"for {packed(cargo)} in x:"):
        giving = MemoryGiving(source, route)
        giving.give(t, cargo)
        giving.pack(size)
        source.emit(f"q += {size}")
    return source.build()


@lru_cache(maxsize=1 << 12)
def list_giver(t: ValType, route: Route) -> Callable[[Context, Context, Any], tuple[int, int]]:
    """The function `(c, d, x) -> (pointer, count)` that gives what `list_taker` took in a new allocation."""
    size = elem_size(t, route.target.pointer)
    align = alignment(t, route.target.pointer)
    give = elements_giver(t, route)
    columns = columns_of(t)

    def give_list(c: Context, d: Context, x: list[Any] | tuple[int, int]) -> tuple[int, int]:
        if isinstance(x, tuple):
            assert columns is not None
            source_pointer, count = x
            pointer = copy_block(c, d, source_pointer, size * count, align)
            columns.change(d.memory.view, pointer, count)
            return pointer, count
        pointer = allocate(d, align, size * len(x))
        give(c, d, d.memory.view, x, pointer)
        return pointer, len(x)

    return give_list


@lru_cache(maxsize=1 << 12)
def string_giver(route: Route) -> Callable[[Context, Context, Any], tuple[int, int]]:
    """The function `(c, d, x) -> (pointer, tagged code units)` that gives a string that isn't copied as it is, or one
    of which that is known only now."""
    store: StringStorer = string_storer(route.target)

    def give_string(c: Context, d: Context, x: str | tuple[int, int]) -> tuple[int, int]:
        if isinstance(x, str):
            return store(d, x)
        pointer, length = x
        return copy_block(c, d, pointer, length, 2), length

    return give_string

"""How a value that passes from guest to guest is taken from its source: checked as lifting checks it, and left in
variables as the numbers that it is made of (CanonicalABI.md, "Loading" and "Flat Lifting").

Nothing is made of the numbers: no record, no enum's member, and of a string in the encoding that the target has too
only where it lies. What is taken here is given to the target by the code of `giving.py`, which knows from the `Cargo`
in which variables to find what.

The functions in here share four parameters: `c` the source's context, `m` a view of its memory that covers what is
taken, `b` the budget (a list with the bytes that may still be taken) and `p` the pointer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

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
from .cargo import Block, Cargo, Case, Choice, Merged, Number, Parts, Route, Run, Taken, packed, variables
from .codegen import FunctionSource, offset_text, tuple_text
from .columns import MIN_ELEMENTS, columns_of
from .context import Context
from .copy import is_plain
from .layout import (
    MAX_LIST_BYTE_LENGTH,
    NUMBER_FORMATS,
    PRIMITIVE_SIZES,
    alignment,
    case_payloads,
    discriminant_size,
    elem_size,
    flags_size,
    flatten,
    is_inline,
    payload_offset,
)
from .lifting import (
    FLOATS,
    HANDLES,
    LEAF_COST,
    FlatExpression,
    FlatValues,
    LoadExpression,
    invalid_discriminant,
    to_char,
)
from .memory import checked_list, over_limit
from .options import AbiOptions
from .strings import string_loader, utf16_tag


class Taking:
    """Collects the statements that take a value, and answers where they leave it. They come after the ones that unpack
    the leaves, so they are emitted when all leaves are known."""

    places: FlatExpression | LoadExpression

    def __init__(self, source: FunctionSource, route: Route) -> None:
        self.source = source
        self.route = route
        self.options = route.source
        self.lines: list[str] = []

    def constant(self, value: object) -> str:
        return self.source.constant(value)

    def variable(self, expression: str) -> str:
        """A variable with the value of an expression."""
        if expression.isidentifier():
            return expression
        name = self.source.variable()
        self.lines.append(f"{name} = {expression}")
        return name

    def block(self, head: str, lines: Iterable[str]) -> None:
        self.lines += [head, *(f"    {line}" for line in lines)]

    # What core values and memory do differently.

    def number(self, t: PrimitiveType, at: Any) -> str:
        raise NotImplementedError

    def run(self, t: ValType, at: Any) -> Cargo | None:
        """The value as a run of bytes, where it can be copied as one."""
        raise NotImplementedError

    def call(self, t: ValType, at: Any) -> str:
        """A call of the function that takes a `t`."""
        raise NotImplementedError

    def branch(self, t: OptionType | ResultType, payload: ValType, at: Any) -> tuple[list[str], Cargo]:
        """The statements that take the payload of a case, and what they take."""
        raise NotImplementedError

    def merged(self, t: OptionType | ResultType, payload: ValType, at: Any) -> Cargo | None:
        raise NotImplementedError

    def case_call(self, t: VariantType, discriminant: str, at: Any) -> str:
        """A call of the function that takes the case `discriminant`, if that has a payload."""
        raise NotImplementedError

    # The types.

    def takes_inline(self, t: ValType) -> bool:
        return is_inline(t)

    def part(self, t: ValType, at: Any) -> Cargo:
        return self.take(t, at) if self.takes_inline(t) else Taken(self.variable(self.call(t, at)))

    def parts(self, types: Sequence[ValType], at: Any) -> Parts:
        places: list[Any] = list(self.places.parts(types, at))
        return Parts(tuple(self.part(t, place) for t, place in zip(types, places, strict=True)))

    def unsigned(self, size: int, at: Any) -> str:
        return self.variable(self.places.unsigned(size, at))

    def take(self, t: ValType, at: Any) -> Cargo:
        constant = self.constant
        run = self.run(t, at)
        if run is not None:
            return run
        match t:
            case PrimitiveType.BOOL:
                return Number(self.variable(f"+({self.unsigned(1, at)} != 0)"))
            case PrimitiveType.CHAR:
                code = self.unsigned(4, at)
                self.lines.append(f"if {code} >= 0xd800: {constant(to_char)}({code})")
                return Number(code)
            case PrimitiveType.STRING:
                return self.string(*map(self.variable, self.places.pointers(at)))
            case PrimitiveType.ERROR_CONTEXT:
                return Number(self.variable(f"c.lift_error_context({self.unsigned(4, at)})"))
            case PrimitiveType():
                return Number(self.variable(self.number(t, at)))
            case ListType(elem_type=elem_type, length=None):
                return self.list_of(elem_type, at)
            case MapType():
                return self.list_of(TupleType((t.key_type, t.value_type)), at)
            case ListType(elem_type=elem_type, length=int(length)):
                return self.parts((elem_type,) * length, at)
            case RecordType() | TupleType():
                return self.parts(t.parts(), at)
            case OptionType() | ResultType():
                return self.choice(t, at)
            case VariantType() | EnumType():
                count = len(t.cases if isinstance(t, VariantType) else t.labels)
                discriminant = self.discriminant(count, at)
                if not t.parts():
                    return Number(discriminant)
                assert isinstance(t, VariantType)
                return Case(discriminant, self.variable(self.case_call(t, discriminant, at)))
            case FlagsType():
                mask = (1 << len(t.labels)) - 1
                return Number(self.variable(f"{self.unsigned(flags_size(len(t.labels)), at)} & {mask}"))
            case _:
                return Number(self.variable(f"c.{HANDLES[type(t)]}({self.unsigned(4, at)}, {constant(t)})"))

    def discriminant(self, count: int, at: Any) -> str:
        discriminant = self.unsigned(discriminant_size(count), at)
        self.lines.append(
            f"if {discriminant} >= {count}: {self.constant(invalid_discriminant)}({discriminant}, {count})"
        )
        return discriminant

    def choice(self, t: OptionType | ResultType, at: Any) -> Cargo:
        discriminant = self.discriminant(2, at)
        payloads = case_payloads(t)
        distinct = set(t.parts())
        if not distinct:
            return Number(discriminant)
        if len(distinct) == 1:
            merged = self.merged(t, t.parts()[0], at)
            if merged is not None:
                (name,) = variables(merged)
                if None in payloads:
                    nothing = (
                        b""
                        if isinstance(merged, Run)
                        else 0.0
                        if t.parts()[0] in FLOATS and not self.route.is_direct
                        else 0
                    )
                    self.lines.append(f"if {discriminant} == {payloads.index(None)}: {name} = {nothing!r}")
                return Merged(discriminant, merged)
        name = self.source.variable()
        cases: list[Cargo | None] = []
        for head, payload in zip((f"if {discriminant} == 0:", "else:"), payloads, strict=True):
            lines, cargo = ([], None) if payload is None else self.branch(t, payload, at)
            self.block(head, [*lines, f"{name} = {'None' if cargo is None else packed(cargo)}"])
            cases.append(cargo)
        return Choice(discriminant, name, (cases[0], cases[1]))

    def string(self, pointer: str, length: str) -> Cargo:
        encoding = self.options.string_encoding
        load = f"{self.constant(string_loader(self.options))}(c, m, b, {pointer}, {length})"
        if encoding != self.route.target.string_encoding:
            return Taken(self.variable(load))
        if encoding == "latin1+utf16":
            return Taken(self.variable(load_latin1_in_place(load, pointer, length, self.options)))
        self.lines.append(load)
        unit = 1 if encoding == "utf8" else 2
        return Block(pointer, length, unit, unit)

    def list_of(self, t: ValType, at: Any) -> Cargo:
        pointer, count = map(self.variable, self.places.pointers(at))
        take = self.constant(list_taker(t, self.route.behind_pointers))
        taken = f"{take}(c, m, b, {pointer}, {count})"
        if not is_plain(t):
            return Taken(self.variable(taken))
        self.lines.append(taken)
        return Block(pointer, count, elem_size(t, self.options.pointer), alignment(t, self.options.pointer))


def load_latin1_in_place(load: str, pointer: str, length: str, options: AbiOptions) -> str:
    """Where a string of one-byte units lies, or the str if its units may have to become smaller."""
    return f"{load} if {length} & {utf16_tag(options)} else ({load}, ({pointer}, {length}))[1]"


class FlatTaking(Taking):
    places: FlatExpression

    def __init__(self, source: FunctionSource, route: Route) -> None:
        super().__init__(source, route)
        self.places = FlatExpression(source, self.options)

    def number(self, t: PrimitiveType, at: FlatValues) -> str:
        if t in FLOATS:
            return self.places.number(t, at)
        size = PRIMITIVE_SIZES[t]
        return f"{at[0][1]} & {(1 << 8 * size) - 1}" if size < 4 else at[0][1]

    def run(self, t: ValType, at: FlatValues) -> None:
        return None

    def call(self, t: ValType, at: FlatValues) -> str:
        arguments = "".join(f", {value}" for _, value in at)
        return f"{self.constant(flat_taker(t, self.route)[0])}(c, m, b{arguments})"

    def branch(self, t: OptionType | ResultType, payload: ValType, at: FlatValues) -> tuple[list[str], Cargo]:
        inner = FlatTaking(self.source, self.route)
        cargo = inner.part(payload, self.places.coerced(payload, at[1:]))
        return inner.lines, cargo

    def merged(self, t: OptionType | ResultType, payload: ValType, at: FlatValues) -> Cargo | None:
        if payload not in NUMBER_FORMATS:
            return None
        assert isinstance(payload, PrimitiveType)
        name = self.source.variable()
        self.lines.append(f"{name} = {self.number(payload, at[1:])}")  # the joined core type is its own
        return Number(name)

    def case_call(self, t: VariantType, discriminant: str, at: FlatValues) -> str:
        joined = tuple(core_type for core_type, _ in at[1:])
        takers = tuple(
            take_nothing if payload is None else flat_case_taker(payload, joined, self.route)[0]
            for _, payload in t.cases
        )
        arguments = "".join(f", {value}" for _, value in at[1:])
        return f"{self.constant(takers)}[{discriminant}](c, m, b{arguments})"


class MemoryTaking(Taking):
    places: LoadExpression

    def __init__(self, source: FunctionSource, route: Route) -> None:
        super().__init__(source, route)
        self.places = LoadExpression(source, self.options)
        self.uses_pointer = False

    def finished(self, end: int) -> list[str]:
        """All statements, those that unpack the leaves first; `end` is where the value ends."""
        fused, names = self.places.fused(end)
        if not names:
            return self.lines
        return [f"{tuple_text(names)} = {self.constant(fused.unpack_from)}(m, p)", *self.lines]

    def number(self, t: PrimitiveType, at: int) -> str:
        if t in FLOATS and not self.route.is_direct:
            return self.places.number(t, at)
        return self.places.unsigned(PRIMITIVE_SIZES[t], at)

    def run(self, t: ValType, at: int) -> Cargo | None:
        if isinstance(t, PrimitiveType) or not self.route.is_direct or not is_plain(t):
            return None
        size = elem_size(t, self.options.pointer)
        return Run(self.places.leaf(at, f"{size}s"), size)

    def takes_inline(self, t: ValType) -> bool:
        return is_inline(t) or is_fixed_list(t, self.route) or (self.route.is_direct and is_plain(t))

    def take(self, t: ValType, at: int) -> Cargo:
        if is_fixed_list(t, self.route) and not is_plain(t) and not is_inline(t):
            assert isinstance(t, ListType)
            self.uses_pointer = True
            take = self.constant(elements_taker(t.elem_type, self.route)[0])
            return Taken(self.variable(f"{take}(c, m, b, {offset_text(at)}, {t.length})"))
        return super().take(t, at)

    def call(self, t: ValType, at: int) -> str:
        self.uses_pointer = True
        return f"{self.constant(taker(t, self.route)[0])}(c, m, b, {offset_text(at)})"

    def branch(self, t: OptionType | ResultType, payload: ValType, at: int) -> tuple[list[str], Cargo]:
        inner = MemoryTaking(self.source, self.route)
        offset = at + payload_offset(t, self.options.pointer)
        cargo = inner.part(payload, offset)
        self.uses_pointer = True
        return inner.finished(offset + elem_size(payload, self.options.pointer)), cargo

    def merged(self, t: OptionType | ResultType, payload: ValType, at: int) -> Cargo | None:
        if payload not in NUMBER_FORMATS and not (self.route.is_direct and is_plain(payload)):
            return None
        taken = self.take(payload, at + payload_offset(t, self.options.pointer))
        assert isinstance(taken, Number | Run)
        return taken

    def case_call(self, t: VariantType, discriminant: str, at: int) -> str:
        takers = tuple(take_nothing if payload is None else taker(payload, self.route)[0] for _, payload in t.cases)
        self.uses_pointer = True
        offset = at + payload_offset(t, self.options.pointer)
        return f"{self.constant(takers)}[{discriminant}](c, m, b, {offset_text(offset)})"


def is_fixed_list(t: ValType, route: Route) -> bool:
    """Whether a value is a list of a fixed length in memory, whose elements can be taken one after the other."""
    return isinstance(t, ListType) and t.length is not None and route.is_direct


def take_nothing(*place: Any) -> None:
    """Takes the payload of a case that has none."""


# Functions by type, shared between converters, and where they leave what they take.

Take: TypeAlias = Callable[..., Any]


@lru_cache(maxsize=1 << 12)
def taker(t: ValType, route: Route) -> tuple[Take, Cargo]:
    """The function `(c, m, b, p)` that takes a value of type `t`; the caller has checked the range."""
    source = FunctionSource("take", "c, m, b, p")
    taking = MemoryTaking(source, route)
    cargo = taking.take(t, 0)
    return finish(source, taking.finished(elem_size(t, route.source.pointer)), cargo), cargo


@lru_cache(maxsize=1 << 12)
def flat_taker(t: ValType, route: Route) -> tuple[Take, Cargo]:
    """The function `(c, m, b, *core values)` that takes a value of type `t`."""
    core_types = flatten(t, route.source.pointer)
    names = [f"v{i}" for i in range(len(core_types))]
    source = FunctionSource("take_flat", ", ".join(["c", "m", "b", *names]))
    taking = FlatTaking(source, route)
    cargo = taking.take(t, list(zip(core_types, names, strict=True)))
    return finish(source, taking.lines, cargo), cargo


@lru_cache(maxsize=1 << 12)
def flat_case_taker(t: ValType, joined: tuple[str, ...], route: Route) -> tuple[Take, Cargo]:
    """The function `(c, m, b, *core values)` that takes a payload out of the joined core values of its variant."""
    names = [f"v{i}" for i in range(len(joined))]
    source = FunctionSource("take_case", ", ".join(["c", "m", "b", *names]))
    taking = FlatTaking(source, route)
    cargo = taking.part(t, taking.places.coerced(t, list(zip(joined, names, strict=True))))
    return finish(source, taking.lines, cargo), cargo


def finish(source: FunctionSource, lines: Iterable[str], cargo: Cargo) -> Take:
    for line in lines:
        source.emit(line)
    source.emit(f"return {packed(cargo)}")
    return source.build()


@lru_cache(maxsize=1 << 12)
def list_taker(t: ValType, route: Route) -> Take:
    """The function `(c, m, b, pointer, count)` that takes a list of `t`; it checks all that can be wrong. It answers
    what `elements_taker` takes; pointer and count of elements whose columns are copied; None where all are plain."""
    options = route.source
    size = elem_size(t, options.pointer)
    align = alignment(t, options.pointer)
    as_bytes = is_plain(t)
    columns = columns_of(t)
    elements = None if as_bytes else elements_taker(t, route)[0]

    def take_list(c: Context, m: memoryview, b: list[int], pointer: int, count: int) -> Any:
        byte_length = count * size
        if byte_length > MAX_LIST_BYTE_LENGTH or pointer & (align - 1) or pointer + byte_length > len(m):
            m = checked_list(c, pointer, align, byte_length)
        in_columns = columns is not None and count >= MIN_ELEMENTS
        if as_bytes or in_columns:
            b[0] -= byte_length
            if b[0] < 0:
                raise over_limit(options)
            if as_bytes:
                return None
            assert columns is not None
            if columns.are_valid(m, pointer, count):
                return pointer, count
        assert elements is not None
        return elements(c, m, b, pointer, count)

    return take_list


@lru_cache(maxsize=1 << 12)
def elements_taker(t: ValType, route: Route) -> tuple[Take, Cargo]:
    """The function `(c, m, b, p, n)` that takes `n` elements from a checked range: a list of what `packed` makes of
    the variables of each."""
    size = elem_size(t, route.source.pointer)
    source = FunctionSource("take_elements", "c, m, b, p, n")
    taking = MemoryTaking(source, route)
    cargo = taking.part(t, 0)
    fused, names = taking.places.fused(size)
    # Of a copy: a traceback can keep the iterator in a cycle, and CPython's collector crashes on a view that is in use.
    unpacked = f"{source.constant(fused.iter_unpack)}(m[p : p + n * {size}].tobytes())"
    value = packed(cargo)
    source.emit(f"b[0] -= n * {LEAF_COST * (1 + len(variables(cargo))) + size}")
    with source.block("if b[0] < 0:"):
        source.emit(f"raise {source.constant(over_limit)}({source.constant(route.source)})")
    if not taking.lines and names == variables(cargo) and len(names) > 1:
        source.emit(f"return list({unpacked})")
        return source.build(), cargo
    source.emit("taken = []")
    source.emit("add = taken.append")
    head = f"for {tuple_text(names)} in {unpacked}:" if names else "for _ in range(n):"
    with source.block(head):
        for line in taking.lines:
            source.emit(line)
        source.emit(f"add({value})")
        if taking.uses_pointer:
            source.emit(f"p += {size}")
    source.emit("return taken")
    return source.build(), cargo

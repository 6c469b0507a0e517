"""How each type is lowered: to core values and linear memory (CanonicalABI.md, "Storing" and "Flat Lowering").

Each type becomes statements that take a value apart and leave its leaves, the numbers that it is made of, in
variables. Among core values the leaves are the result; in memory all leaves of a value are packed at once with one
fused `struct`, which also checks their ranges: only where it refuses are they checked one by one, for the message.
Padding, and the unused bytes of an absent payload, become zeros where they lie in a fused struct.

The functions in here share three parameters: `c` the context, `m` a view of its memory that covers what is stored,
and `p` the pointer. A view stays good while the guest allocates, because a memory never moves.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

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
from ..values import Some, enum_class, record_class
from .codegen import FunctionSource, Mismatch, Place, offset_text, tuple_text
from .context import Context
from .layout import (
    NUMBER_FORMATS,
    REALLOC_I32_MAX,
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
from .memory import allocate
from .options import AbiOptions
from .shapes import (
    F32_MAX,
    case_indices,
    char_code,
    enum_getter,
    exact_sequence,
    f32_bits,
    f64_bits,
    flags_getter,
    int_range,
    map_items,
    no_payload,
    not_bool,
    number_buffer,
    number_check,
    record_getter,
    result_parts,
    sequence,
    variant_getter,
)
from .strings import string_storer

Store: TypeAlias = Callable[[Context, memoryview, Any, int], None]
HANDLES: dict[type[ValType], str] = {
    OwnType: "lower_own",
    BorrowType: "lower_borrow",
    StreamType: "lower_stream",
    FutureType: "lower_future",
}


class Leaf(NamedTuple):
    """One number of a lowered value: its format (in memory) or core type (flat), its offset, and its variable or
    expression. `check` is the global function that checks it where packing has failed."""

    kind: str
    offset: int
    value: str
    check: str = ""
    path: tuple[Place, ...] = ()


class Lowering:
    """Emits the statements that lower a value, and answers its leaves."""

    def __init__(self, source: FunctionSource, options: AbiOptions) -> None:
        self.source = source
        self.options = options

    # What core values and memory do differently.

    def number(self, t: PrimitiveType, value: str, offset: int) -> Leaf:
        raise NotImplementedError

    def unsigned(self, size: int, value: str, offset: int) -> Leaf:
        raise NotImplementedError

    def call(self, t: ValType, value: str, offset: int) -> list[Leaf]:
        """A call of the function that lowers a `t`."""
        raise NotImplementedError

    def choice(self, t: OptionType | ResultType, index: str, value: str, offset: int) -> list[Leaf]:
        """The leaves of an option or result with the discriminant `index` and the payload `value`."""
        raise NotImplementedError

    def case(self, t: VariantType, index: str, value: str, offset: int) -> list[Leaf]:
        raise NotImplementedError

    # The types.

    def part(self, t: ValType, value: str, offset: int) -> list[Leaf]:
        return self.lower(t, value, offset) if is_inline(t) else self.call(t, value, offset)

    def lower(self, t: ValType, value: str, offset: int) -> list[Leaf]:
        """Lowers the value in the variable `value`, which may be overwritten, to `offset`."""
        emit, constant = self.source.emit, self.source.constant
        match t:
            case PrimitiveType.BOOL:
                emit(f"if {value} is not True and {value} is not False: {constant(not_bool)}({value})")
                return [self.unsigned(1, f"+{value}", offset)]
            case PrimitiveType.CHAR:
                emit(f"{value} = {constant(char_code)}({value})")
                return [self.unsigned(4, value, offset)]
            case PrimitiveType.STRING:
                return self.pointers(string_storer(self.options), value, offset)
            case PrimitiveType.ERROR_CONTEXT:
                emit(f"{value} = c.lower_error_context({value})")
                return [self.unsigned(4, value, offset)]
            case PrimitiveType():
                return [self.number(t, value, offset)]
            case ListType(elem_type=elem_type, length=None):
                return self.pointers(list_storer(elem_type, self.options), value, offset)
            case MapType():
                emit(f"{value} = {constant(map_items)}({value})")
                pair = TupleType((t.key_type, t.value_type))
                return self.pointers(list_storer(pair, self.options), value, offset)
            case ListType(elem_type=elem_type, length=int(length)):
                return self.fixed_list(elem_type, length, value, offset)
            case RecordType():
                names = [self.source.variable() for _ in t.record_fields]
                made = constant(record_class(t))
                from_made = [f"{value}.{field}" for field in record_class(t).__match_args__]
                emit(f"if type({value}) is {made}: {tuple_text(names)} = {tuple_text(from_made)}")
                emit(f"else: {tuple_text(names)} = {constant(record_getter(t))}({value})")
                places = [f"field {label!r}" for label, _ in t.record_fields]
                return self.sequence(t.parts(), names, places, offset)
            case TupleType():
                places = [f"item {i}" for i in range(len(t.types))]
                return self.sequence(t.types, self.take_apart(value, len(t.types)), places, offset)
            case OptionType():
                index = self.source.variable("d")
                emit(f"{index} = +({value} is not None)")
                emit(f"if type({value}) is {constant(Some)}: {value} = {value}.value")
                return self.choice(t, index, value, offset)
            case ResultType():
                index = self.source.variable("d")
                emit(f"{index}, {value} = {constant(result_parts)}({value})")
                return self.choice(t, index, value, offset)
            case VariantType():
                index = self.source.variable("d")
                emit(f"{index} = {constant(case_indices(t))}.get(type({value}))")
                emit(f"if {index} is None: {index}, {value} = {constant(variant_getter(t))}({value})")
                emit(f"else: {value} = {value}.value")
                return self.case(t, index, value, offset)
            case EnumType():
                emit(f"if type({value}) is {constant(enum_class(t))}: {value} = {value}.discriminant")
                emit(f"else: {value} = {constant(enum_getter(t))}({value})")
                return [self.unsigned(discriminant_size(len(t.labels)), value, offset)]
            case FlagsType():
                emit(f"{value} = {constant(flags_getter(t))}({value})")
                return [self.unsigned(flags_size(len(t.labels)), value, offset)]
            case _:
                emit(f"{value} = c.{HANDLES[type(t)]}({value}, {constant(t)})")
                return [self.unsigned(4, value, offset)]

    def pointers(self, store: Callable[..., Any], value: str, offset: int) -> list[Leaf]:
        size = pointer_size(self.options.pointer)
        pointer, length = self.source.variable(), self.source.variable()
        self.source.emit(f"{pointer}, {length} = {self.source.constant(store)}(c, {value})")
        return [self.unsigned(size, pointer, offset), self.unsigned(size, length, offset + size)]

    def take_apart(self, value: str, length: int) -> list[str]:
        """The variables that hold the parts of a sequence of a fixed length."""
        names = [self.source.variable() for _ in range(length)]
        check = self.source.constant(exact_sequence)
        self.source.emit(
            f"if type({value}) is not tuple or len({value}) != {length}: {value} = {check}({value}, {length})"
        )
        if names:
            self.source.emit(f"{tuple_text(names)} = {value}")
        return names

    def sequence(
        self, types: Sequence[ValType], names: Sequence[str], places: Sequence[Place], offset: int
    ) -> list[Leaf]:
        leaves = []
        offsets = record_offsets(types, self.options.pointer)[:-1]
        for t, name, place, part_offset in zip(types, names, places, offsets, strict=True):
            with self.source.at(place):
                leaves += self.part(t, name, offset + part_offset)
        return leaves

    def fixed_list(self, elem_type: ValType, length: int, value: str, offset: int) -> list[Leaf]:
        places = [f"element {i}" for i in range(length)]
        return self.sequence((elem_type,) * length, self.take_apart(value, length), places, offset)


class FlatLowering(Lowering):
    """Lowers to core values; offsets mean nothing here, and every leaf is checked at once."""

    def number(self, t: PrimitiveType, value: str, offset: int) -> Leaf:
        check = self.source.constant(number_check(t))
        if t is PrimitiveType.F32:
            self.source.emit(
                f"if type({value}) is not float or not {-F32_MAX!r} <= {value} <= {F32_MAX!r}: "
                f"{value} = {check}({value})"
            )
        elif t is PrimitiveType.F64:
            self.source.emit(f"if type({value}) is not float: {value} = {check}({value})")
        else:
            values = int_range(t)
            self.source.emit(
                f"if type({value}) is not int or not {values[0]} <= {value} <= {values[-1]}: {value} = {check}({value})"
            )
            if values[0] < 0:
                value = f"{value} & {'0xffffffffffffffff' if t is PrimitiveType.S64 else '0xffffffff'}"
        return Leaf(flatten(t, self.options.pointer)[0], 0, value)

    def unsigned(self, size: int, value: str, offset: int) -> Leaf:
        return Leaf("i64" if size == 8 else "i32", 0, value)

    def call(self, t: ValType, value: str, offset: int) -> list[Leaf]:
        core_types = flatten(t, self.options.pointer)
        names = [self.source.variable() for _ in core_types]
        self.source.emit(f"{tuple_text(names)} = {self.source.constant(flat_lowerer(t, self.options))}(c, {value})")
        return [Leaf(core_type, 0, name) for core_type, name in zip(core_types, names, strict=True)]

    def choice(self, t: OptionType | ResultType, index: str, value: str, offset: int) -> list[Leaf]:
        joined = flatten(t, self.options.pointer)[1:]
        names = [self.source.variable() for _ in joined]
        branches = (f"if not {index}:", "else:")
        for branch, payload, place in zip(branches, case_payloads(t), PLACES[type(t)], strict=True):
            with self.source.block(branch), self.source.at(*place):
                for name, leaf in zip(names, self.payload(payload, joined, value), strict=True):
                    self.source.emit(f"{name} = {leaf}")
                if not names:
                    self.source.emit("pass")
        return [Leaf("i32", 0, index), *(Leaf(kind, 0, name) for kind, name in zip(joined, names, strict=True))]

    def payload(self, t: ValType | None, joined: Sequence[str], value: str) -> list[str]:
        """Lowers a payload to the joined core types of its variant."""
        if t is None:
            self.source.emit(f"if {value} is not None: {self.source.constant(no_payload)}({value})")
            leaves = []
        else:
            leaves = self.part(t, value, 0)
        texts = []
        for i, want in enumerate(joined):
            if i >= len(leaves):
                texts.append("0.0" if want in ("f32", "f64") else "0")
                continue
            have, text = leaves[i].kind, leaves[i].value
            if have != want and have in ("f32", "f64"):
                text = f"{self.source.constant(f32_bits if have == 'f32' else f64_bits)}({text})"
            texts.append(text)
        return texts

    def case(self, t: VariantType, index: str, value: str, offset: int) -> list[Leaf]:
        joined = flatten(t, self.options.pointer)[1:]
        lowerers = tuple(flat_case_lowerer(label, payload, joined, self.options) for label, payload in t.cases)
        names = [self.source.variable() for _ in joined]
        if names:
            call = f"{self.source.constant(lowerers)}[{index}](c, {value})"
            self.source.emit(f"{tuple_text(names)} = {call}")
        return [Leaf("i32", 0, index), *(Leaf(kind, 0, name) for kind, name in zip(joined, names, strict=True))]


PLACES: dict[type[ValType], tuple[tuple[Place, ...], tuple[Place, ...]]] = {
    OptionType: ((), ()),
    ResultType: (("ok",), ("error",)),
}


@lru_cache(maxsize=1 << 12)
def is_fusable(t: ValType) -> bool:
    """Whether all leaves of a `t` in memory are leaves of one struct, none behind a pointer of their own."""
    match t:
        case VariantType():
            return not t.parts()
        case OptionType() | ResultType():
            return len(set(t.parts())) < 2 and all(is_inline(part) and is_fusable(part) for part in t.parts())
        case ListType(elem_type=elem_type, length=int()):
            return elem_type is PrimitiveType.U8 or (is_inline(t) and is_fusable(elem_type))
        case RecordType() | TupleType():
            return all(is_inline(part) and is_fusable(part) for part in t.parts())
        case _:
            return True


class StoreLowering(Lowering):
    """Lowers to memory at `p`. What can't be a leaf of a struct is stored by a function where its turn is, so that
    allocations and handles are made in the order of the parts; the structs that are packed in the end go around it."""

    def __init__(self, source: FunctionSource, options: AbiOptions) -> None:
        super().__init__(source, options)
        self.stored: list[int] = []  # where parts begin that functions have stored

    def store(self, offset: int, line: str) -> None:
        """A part at `offset` is stored by a line of its own."""
        self.stored.append(offset)
        self.source.emit(line)

    def number(self, t: PrimitiveType, value: str, offset: int) -> Leaf:
        check = self.source.constant(number_check(t))
        return Leaf(NUMBER_FORMATS[t], offset, value, check, self.source.path)

    def unsigned(self, size: int, value: str, offset: int) -> Leaf:
        return Leaf(UNSIGNED[size], offset, value)

    def call(self, t: ValType, value: str, offset: int) -> list[Leaf]:
        store = self.source.constant(storer(t, self.options))
        self.store(offset, f"{store}(c, m, {value}, {offset_text(offset)})")
        return []

    def choice(self, t: OptionType | ResultType, index: str, value: str, offset: int) -> list[Leaf]:
        discriminant = self.unsigned(1, index, offset)
        payload_at = offset + payload_offset(t, self.options.pointer)
        payloads = case_payloads(t)
        for i, payload in enumerate(payloads):
            if payload is None:
                refuse = f"{self.source.constant(no_payload)}({value})"
                self.source.emit(f"if {index} == {i} and {value} is not None: {refuse}")
        if not is_fusable(t):
            for i, payload in enumerate(payloads):
                if payload is not None:
                    store = self.source.constant(storer(payload, self.options))
                    call = f"{store}(c, m, {value}, {offset_text(payload_at)})"
                    with self.source.at(*PLACES[type(t)][i]):
                        self.store(payload_at, f"if {index} == {i}: {call}")
            return [discriminant]
        if not t.parts():
            return [discriminant]
        here: list[str] = [str(i) for i, payload in enumerate(payloads) if payload is not None]
        place: tuple[Place, ...] = PLACES[type(t)][int(here[0])] if len(here) == 1 else ()
        with self.source.block(f"if {index} == {here[0]}:" if len(here) == 1 else "if True:"), self.source.at(*place):
            merged = []
            for leaf in self.lower(t.parts()[0], value, payload_at):
                name = self.source.variable()
                self.source.emit(f"{name} = {leaf.value}")
                merged.append(leaf._replace(value=name))
        if merged and len(here) == 1:
            with self.source.block("else:"):
                for leaf in merged:
                    self.source.emit(f"{leaf.value} = {repr(b'') if leaf.kind.endswith('s') else 0}")
        return [discriminant, *merged]

    def case(self, t: VariantType, index: str, value: str, offset: int) -> list[Leaf]:
        if t.parts():
            payload_at = offset + payload_offset(t, self.options.pointer)
            storers = tuple(None if payload is None else storer(payload, self.options) for _, payload in t.cases)
            store = f"{self.source.constant(storers)}[{index}]"
            labels = tuple(label for label, _ in t.cases)

            def place(names: Mapping[str, Any]) -> str:
                return f"case {labels[names[index]]!r}"

            with self.source.at(place):
                self.store(payload_at, f"if {store}: {store}(c, m, {value}, {offset_text(payload_at)})")
        return [self.unsigned(discriminant_size(len(t.cases)), index, offset)]

    def fixed_list(self, elem_type: ValType, length: int, value: str, offset: int) -> list[Leaf]:
        constant = self.source.constant
        if elem_type is PrimitiveType.U8:
            self.source.emit(f"{value} = {constant(number_buffer(elem_type))}({value})")
            self.source.emit(f"if len({value}) != {length}: {constant(exact_sequence)}({value}, {length})")
            return [Leaf(f"{length}s", offset, f"{value}.tobytes()")]
        if is_inline(ListType(elem_type, length)):
            return super().fixed_list(elem_type, length, value, offset)
        counted, store = elements_storer(elem_type, self.options)
        self.source.emit(f"{value} = {constant(counted)}({value})")
        count = f"len({value}) // {elem_size(elem_type, 'i32')}" if elem_type in NUMBER_FORMATS else f"len({value})"
        with self.source.block(f"if {count} != {length}:"):
            self.source.emit(f"{constant(exact_sequence)}(range({count}), {length})")
        self.store(offset, f"{constant(store)}(c, m, {value}, {offset_text(offset)})")
        return []

    def pack(self, leaves: list[Leaf], size: int) -> None:
        """Emits what writes the leaves of a value of `size` bytes, around what has been stored."""
        leaves.sort(key=lambda leaf: leaf.offset)
        while leaves:
            start = leaves[0].offset
            stop = min((offset for offset in self.stored if offset > start), default=None)
            run = [leaf for leaf in leaves if stop is None or leaf.offset < stop]
            del leaves[: len(run)]
            self.pack_run(run, size if stop is None and not self.stored else None)

    def pack_run(self, leaves: list[Leaf], size: int | None) -> None:
        """One struct; with the rest of the value of `size` bytes where there is nothing else in it."""
        emit, constant = self.source.emit, self.source.constant
        outer = len(self.source.path)
        start = end = 0 if size is not None else leaves[0].offset
        letters = "<"
        for leaf in leaves:
            letters += f"{leaf.offset - end}x{leaf.kind}" if leaf.offset > end else leaf.kind
            end = leaf.offset + struct.calcsize(f"<{leaf.kind}")
        fused = struct.Struct(letters if size is None else f"{letters}{size - end}x")
        values = ", ".join(leaf.value for leaf in leaves)
        call = f"{constant(fused.pack_into)}(m, {offset_text(start)}, {values})"
        if not any(leaf.check for leaf in leaves):
            emit(call)
            return
        with self.source.block("try:"):
            emit(call)
        with self.source.block(f"except {constant(PACK_ERRORS)}:"):
            for leaf in leaves:
                if leaf.check:
                    with self.source.at(*leaf.path[outer:]):
                        emit(f"{leaf.value} = {leaf.check}({leaf.value})")
            emit(call)


PACK_ERRORS = (struct.error, OverflowError, TypeError)


# Functions by type, shared between converters.


@lru_cache(maxsize=1 << 12)
def storer(t: ValType, options: AbiOptions) -> Store:
    """The function `(c, m, value, p)` that stores a value of type `t`; the caller has checked the range."""
    source = FunctionSource("store", "c, m, v, p")
    lowering = StoreLowering(source, options)
    lowering.pack(lowering.lower(t, "v", 0), elem_size(t, options.pointer))
    return source.build()


@lru_cache(maxsize=1 << 12)
def flat_lowerer(t: ValType, options: AbiOptions) -> Callable[[Context, Any], tuple[int | float, ...]]:
    """The function `(c, value) -> core values` of a type."""
    source = FunctionSource("lower_flat", "c, v")
    source.emit(f"return {tuple_text([leaf.value for leaf in FlatLowering(source, options).lower(t, 'v', 0)])}")
    return source.build()


@lru_cache(maxsize=1 << 12)
def flat_case_lowerer(
    label: str, t: ValType | None, joined: tuple[str, ...], options: AbiOptions
) -> Callable[[Context, Any], tuple[int | float, ...]]:
    """The function `(c, payload) -> core values` of one case, for the joined core types of its variant."""
    source = FunctionSource("lower_case", "c, v")
    with source.at(f"case {label!r}"):
        texts = FlatLowering(source, options).payload(t, joined, "v")
    source.emit(f"return {tuple_text(texts)}")
    return source.build()


@lru_cache(maxsize=1 << 12)
def elements_storer(t: ValType, options: AbiOptions) -> tuple[Callable[[Any], Any], Store]:
    """Two functions: one makes a sequence of whatever is accepted as a list of `t` (a buffer of bytes where `t` is a
    number); the other, `(c, m, values, p)`, stores what the first made. The caller has checked the range."""
    if isinstance(t, PrimitiveType) and t in NUMBER_FORMATS:

        def store_buffer(c: Context, m: memoryview, values: memoryview, p: int) -> None:
            m[p : p + len(values)] = values

        return number_buffer(t), store_buffer

    size = elem_size(t, options.pointer)
    source = FunctionSource("store_elements", "c, m, values, p")
    source.emit("start = p")

    def place(names: Mapping[str, Any]) -> str:
        return f"element {(names['p'] - names['start']) // size}"

    with source.block("for v in values:"), source.at(place):
        lowering = StoreLowering(source, options)
        lowering.pack(lowering.part(t, "v", 0), size)
        source.emit(f"p += {size}")
    return lambda values: sequence(values, "list"), source.build()


@lru_cache(maxsize=1 << 12)
def list_storer(t: ValType, options: AbiOptions) -> Callable[[Context, Any], tuple[int, int]]:
    """The function `(c, values) -> (pointer, count)` that stores a list in a new allocation."""
    size = elem_size(t, options.pointer)
    align = alignment(t, options.pointer)
    counted, store = elements_storer(t, options)
    item_size = size if isinstance(t, PrimitiveType) and t in NUMBER_FORMATS else 1  # of one item of what is counted

    def store_list(c: Context, values: Any) -> tuple[int, int]:
        values = counted(values)
        count = len(values) // item_size
        byte_length = count * size
        if byte_length > REALLOC_I32_MAX:
            raise Mismatch(f"a list of {byte_length} bytes is longer than {REALLOC_I32_MAX} bytes", ValueError)
        pointer = allocate(c, align, byte_length)
        store(c, c.memory.view, values, pointer)
        return pointer, count

    return store_list

"""A slow lifting and lowering that follows the specification rule by rule: the oracle of the compiled converters.

Values here have one neutral shape, whatever the type: records and tuples are tuples, variants (and what they
specialise to) are `(case index, payload)`, flags are frozensets of labels, lists are lists, handles are integers.
`neutral` and `python` translate to and from the shapes that p3host's users see.
"""

from __future__ import annotations

import math
import struct
from typing import Any

from p3host.abi.layout import align_to, join
from p3host.abi.options import AbiOptions
from p3host.errors import Err, Trap
from p3host.types import (
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
from p3host.values import Ok, Some, enum_class, flags_class, record_class, variant_classes

INT_SIZES = {"8": 1, "16": 2, "32": 4, "64": 8}
PRIMITIVES = PrimitiveType


class FakeMemory:
    """A memory over a bytearray; only `visible` bytes are in the view until it is refreshed."""

    def __init__(self, size: int, visible: int | None = None) -> None:
        self.data = bytearray(size)
        self.view = memoryview(self.data)[: size if visible is None else visible]
        self.refreshes = 0

    def refresh(self) -> memoryview:
        self.refreshes += 1
        self.view = memoryview(self.data)
        return self.view


class FakeContext:
    """A context whose handles are plain integers, and whose allocator only counts up."""

    def __init__(self, size: int = 1 << 16, visible: int | None = None) -> None:
        self.memory = FakeMemory(size, visible)
        self.top = 8
        self.allocations: list[tuple[int, int, int]] = []
        self.lifted: list[tuple[str, int]] = []
        self.lowered: list[int] = []
        self.lifted_bytes = 0

    def realloc(self, old: int, old_size: int, alignment: int, new_size: int) -> int:
        assert (old, old_size) == (0, 0)
        pointer = align_to(self.top, alignment)
        self.top = pointer + new_size
        self.allocations.append((pointer, alignment, new_size))
        return pointer

    def lift(self, kind: str, handle: int) -> int:
        self.lifted.append((kind, handle))
        return handle

    def lift_own(self, handle: int, t: object) -> int:
        return self.lift("own", handle)

    def lift_borrow(self, handle: int, t: object) -> int:
        return self.lift("borrow", handle)

    def lift_stream(self, handle: int, t: object) -> int:
        return self.lift("stream", handle)

    def lift_future(self, handle: int, t: object) -> int:
        return self.lift("future", handle)

    def lift_error_context(self, handle: int) -> int:
        return self.lift("error-context", handle)

    def lower_own(self, value: int, t: object = None) -> int:
        self.lowered.append(value)
        return value

    lower_borrow = lower_stream = lower_future = lower_error_context = lower_own


def cases_of(t: ValType) -> list[ValType | None] | None:
    match t:
        case VariantType():
            return [payload for _, payload in t.cases]
        case EnumType():
            return [None] * len(t.labels)
        case OptionType():
            return [None, t.payload]
        case ResultType():
            return [t.ok, t.error]
        case _:
            return None


def fields_of(t: ValType) -> list[ValType] | None:
    match t:
        case RecordType() | TupleType():
            return list(t.parts())
        case ListType(length=int(length)):
            return [t.elem_type] * length
        case _:
            return None


def list_elem(t: ValType) -> ValType | None:
    if isinstance(t, MapType):
        return TupleType((t.key_type, t.value_type))
    return t.elem_type if isinstance(t, ListType) and t.length is None else None


class Reference:
    def __init__(self, context: FakeContext, options: AbiOptions) -> None:
        self.context = context
        self.options = options
        self.pointer = 4 if options.pointer == "i32" else 8

    @property
    def data(self) -> bytearray:
        return self.context.memory.data

    def int_at(self, pointer: int, size: int, signed: bool = False) -> int:
        return int.from_bytes(self.data[pointer : pointer + size], "little", signed=signed)

    def put_int(self, value: int, pointer: int, size: int) -> None:
        self.data[pointer : pointer + size] = (value % (1 << 8 * size)).to_bytes(size, "little")

    # layout

    def scalar_size(self, t: ValType) -> int:
        if isinstance(t, FlagsType):
            return next(size for size in (1, 2, 4) if len(t.labels) <= 8 * size)
        if isinstance(t, PrimitiveType):
            if t is PRIMITIVES.BOOL:
                return 1
            return INT_SIZES.get(t.value[1:], 4)
        return 4

    def discriminant(self, cases: list[Any]) -> int:
        return next(size for size in (1, 2, 4) if len(cases) <= 1 << 8 * size)

    def is_range(self, t: ValType) -> bool:
        return t is PRIMITIVES.STRING or list_elem(t) is not None

    def alignment(self, t: ValType) -> int:
        if self.is_range(t):
            return self.pointer
        if (fields := fields_of(t)) is not None:
            return max((self.alignment(f) for f in fields), default=1)
        if (cases := cases_of(t)) is not None:
            return max(self.discriminant(cases), *(self.alignment(c) for c in cases if c), 1)
        return self.scalar_size(t)

    def size(self, t: ValType) -> int:
        if self.is_range(t):
            return 2 * self.pointer
        if (fields := fields_of(t)) is not None:
            end = 0
            for f in fields:
                end = align_to(end, self.alignment(f)) + self.size(f)
            return align_to(end, self.alignment(t))
        if (cases := cases_of(t)) is not None:
            end = self.payload_at(cases) + max((self.size(c) for c in cases if c), default=0)
            return align_to(end, self.alignment(t))
        return self.scalar_size(t)

    def payload_at(self, cases: list[ValType | None]) -> int:
        return align_to(self.discriminant(cases), max((self.alignment(c) for c in cases if c), default=1))

    def flat(self, t: ValType) -> list[str]:
        if self.is_range(t):
            return [self.options.pointer] * 2
        if (fields := fields_of(t)) is not None:
            return [core for f in fields for core in self.flat(f)]
        if (cases := cases_of(t)) is not None:
            joined: list[str] = []
            for c in cases:
                for i, core in enumerate(self.flat(c) if c else []):
                    joined[i:] = [join(joined[i], core), *joined[i + 1 :]] if i < len(joined) else [core]
            return ["i32", *joined]
        if t in (PRIMITIVES.F32, PRIMITIVES.F64):
            return [t.value]
        return ["i64" if t in (PRIMITIVES.S64, PRIMITIVES.U64) else "i32"]

    # loading

    def load(self, t: ValType, pointer: int) -> Any:
        if self.is_range(t):
            return self.load_range(
                t, self.int_at(pointer, self.pointer), self.int_at(pointer + self.pointer, self.pointer)
            )
        if (fields := fields_of(t)) is not None:
            values = []
            for f in fields:
                pointer = align_to(pointer, self.alignment(f))
                values.append(self.load(f, pointer))
                pointer += self.size(f)
            return tuple(values)
        if (cases := cases_of(t)) is not None:
            index = self.int_at(pointer, self.discriminant(cases))
            if index >= len(cases):
                raise Trap("discriminant")
            payload = cases[index]
            return index, None if payload is None else self.load(payload, pointer + self.payload_at(cases))
        if t is PRIMITIVES.F32:
            return struct.unpack_from("<f", self.data, pointer)[0]
        if t is PRIMITIVES.F64:
            return struct.unpack_from("<d", self.data, pointer)[0]
        return self.of_int(t, self.int_at(pointer, self.scalar_size(t)))

    def of_int(self, t: ValType, value: int) -> Any:
        if isinstance(t, FlagsType):
            return frozenset(label for i, label in enumerate(t.labels) if value >> i & 1)
        if t is PRIMITIVES.BOOL:
            return value != 0
        if t is PRIMITIVES.CHAR:
            if value > 0x10FFFF or 0xD800 <= value < 0xE000:
                raise Trap("char")
            return chr(value)
        if isinstance(t, PrimitiveType) and t.value[1:] in INT_SIZES:
            size = INT_SIZES[t.value[1:]]
            value &= (1 << 8 * size) - 1
            return int.from_bytes(value.to_bytes(size, "little"), "little", signed=t.value[0] == "s")
        return value

    def load_range(self, t: ValType, begin: int, length: int) -> Any:
        elem = list_elem(t)
        if elem is not None:
            size = self.size(elem)
            self.check(begin, self.alignment(elem), length * size)
            return [self.load(elem, begin + i * size) for i in range(length)]
        encoding, unit, align = {
            "utf8": ("utf-8", 1, 1),
            "utf16": ("utf-16-le", 2, 2),
            "latin1+utf16": ("latin-1", 1, 2),
        }[self.options.string_encoding]
        tag = 1 << (8 * self.pointer - 1)
        if encoding == "latin-1" and length & tag:
            encoding, unit, length = "utf-16-le", 2, length - tag
        self.check(begin, align, length * unit)
        try:
            return self.data[begin : begin + length * unit].decode(encoding)
        except UnicodeDecodeError:
            raise Trap("string") from None

    def check(self, pointer: int, alignment: int, size: int) -> None:
        if size >= 1 << 28 or pointer % alignment or pointer + size > len(self.data):
            raise Trap("range")

    # storing

    def store(self, t: ValType, value: Any, pointer: int) -> None:
        if self.is_range(t):
            begin, length = self.store_range(t, value)
            self.put_int(begin, pointer, self.pointer)
            self.put_int(length, pointer + self.pointer, self.pointer)
        elif (fields := fields_of(t)) is not None:
            for f, part in zip(fields, value, strict=True):
                pointer = align_to(pointer, self.alignment(f))
                self.store(f, part, pointer)
                pointer += self.size(f)
        elif (cases := cases_of(t)) is not None:
            index, part = value
            self.put_int(index, pointer, self.discriminant(cases))
            payload = cases[index]
            if payload is not None:
                self.store(payload, part, pointer + self.payload_at(cases))
        elif t in (PRIMITIVES.F32, PRIMITIVES.F64):
            struct.pack_into("<f" if t is PRIMITIVES.F32 else "<d", self.data, pointer, value)
        else:
            self.put_int(self.to_int(t, self.handled(t, value)), pointer, self.scalar_size(t))

    def handled(self, t: ValType, value: Any) -> Any:
        """The value; the context sees it if it is a handle."""
        handles = (OwnType, BorrowType, StreamType, FutureType)
        return self.context.lower_own(value) if isinstance(t, handles) or t is PRIMITIVES.ERROR_CONTEXT else value

    def to_int(self, t: ValType, value: Any) -> int:
        if isinstance(t, FlagsType):
            return sum(1 << i for i, label in enumerate(t.labels) if label in value)
        return ord(value) if t is PRIMITIVES.CHAR else int(value)

    def store_range(self, t: ValType, value: Any) -> tuple[int, int]:
        elem = list_elem(t)
        if elem is not None:
            size = self.size(elem)
            begin = self.context.realloc(0, 0, self.alignment(elem), size * len(value))
            for i, item in enumerate(value):
                self.store(elem, item, begin + i * size)
            return begin, len(value)
        latin = all(ord(c) < 256 for c in value)
        if self.options.string_encoding == "utf8":
            data, length, align = value.encode(), len(value.encode()), 1
        elif self.options.string_encoding == "latin1+utf16" and latin:
            data, length, align = value.encode("latin-1"), len(value), 2
        else:
            data, align = value.encode("utf-16-le"), 2
            length = len(data) // 2
            if self.options.string_encoding == "latin1+utf16":
                length |= 1 << (8 * self.pointer - 1)
        begin = self.context.realloc(0, 0, align, len(data))
        self.data[begin : begin + len(data)] = data
        return begin, length

    # core values

    def lift_flat(self, t: ValType, values: list[int | float]) -> Any:
        """Takes what it needs from the front of `values`."""
        if self.is_range(t):
            return self.load_range(t, int(values.pop(0)), int(values.pop(0)))
        if (fields := fields_of(t)) is not None:
            return tuple(self.lift_flat(f, values) for f in fields)
        if (cases := cases_of(t)) is not None:
            joined = self.flat(t)
            own = [values.pop(0) for _ in joined]
            index = int(own[0])
            if index >= len(cases):
                raise Trap("discriminant")
            payload = cases[index]
            if payload is None:
                return index, None
            narrowed = [self.coerce(v, a, b) for v, a, b in zip(own[1:], joined[1:], self.flat(payload), strict=False)]
            return index, self.lift_flat(payload, narrowed)
        value = values.pop(0)
        return value if t in (PRIMITIVES.F32, PRIMITIVES.F64) else self.of_int(t, int(value))

    def coerce(self, value: int | float, have: str, want: str) -> int | float:
        if have == want:
            return value
        bits = int(value) & (0xFFFFFFFF if want in ("i32", "f32") else 2**64 - 1)
        if want == "f32":
            return float(struct.unpack("<f", struct.pack("<I", bits))[0])
        return float(struct.unpack("<d", struct.pack("<Q", bits))[0]) if want == "f64" else bits

    def lower_flat(self, t: ValType, value: Any) -> list[int | float]:
        if self.is_range(t):
            return list(self.store_range(t, value))
        if (fields := fields_of(t)) is not None:
            return [core for f, part in zip(fields, value, strict=True) for core in self.lower_flat(f, part)]
        if (cases := cases_of(t)) is not None:
            index, part = value
            payload = cases[index]
            result: list[int | float] = [index]
            have = [] if payload is None else self.flat(payload)
            own = [] if payload is None else self.lower_flat(payload, part)
            for i, want in enumerate(self.flat(t)[1:]):
                if i >= len(own):
                    result.append(0)
                elif have[i] == want or have[i] == "i32":
                    result.append(own[i])
                elif have[i] == "f32":
                    result.append(int.from_bytes(struct.pack("<f", own[i]), "little"))
                else:
                    result.append(int.from_bytes(struct.pack("<d", own[i]), "little"))
            return result
        if t in (PRIMITIVES.F32, PRIMITIVES.F64):
            return [float(value)]
        number = self.to_int(t, self.handled(t, value))
        return [number % (1 << 64 if self.flat(t) == ["i64"] else 1 << 32)]


def python(t: ValType, value: Any) -> Any:
    """A neutral value in the shape that lifting gives it."""
    match t:
        case RecordType():
            return record_class(t)(*map(python, t.parts(), value))
        case TupleType():
            return tuple(map(python, t.types, value))
        case MapType():
            return {python(t.key_type, k): python(t.value_type, v) for k, v in value}
        case ListType(elem_type=PrimitiveType.U8):
            return bytes(value)
        case ListType():
            return [python(t.elem_type, item) for item in value]
        case OptionType():
            index, payload = value
            if index == 0:
                return None
            inner = python(t.payload, payload)
            return Some(inner) if isinstance(t.payload, OptionType) else inner
        case ResultType():
            index, payload = value
            payload_type = (t.ok, t.error)[index]
            return (Ok, Err)[index](None if payload_type is None else python(payload_type, payload))
        case VariantType():
            index, payload = value
            payload_type = t.cases[index][1]
            case = variant_classes(t)[1][index]
            return case() if payload_type is None else case(python(payload_type, payload))
        case EnumType():
            return enum_class(t)(t.labels[value[0]])
        case FlagsType():
            made = flags_class(t)
            return made(sum(1 << i for i, label in enumerate(t.labels) if label in value))
        case _:
            return math.nan if isinstance(value, float) and math.isnan(value) else value

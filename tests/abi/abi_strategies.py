"""Hypothesis strategies: component value types, and neutral values of a type (see abi_reference)."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

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
    ResourceType,
    ResultType,
    StreamType,
    TupleType,
    ValType,
    VariantType,
)

RESOURCE = ResourceType("thing")
HANDLES = [OwnType(RESOURCE), BorrowType(RESOURCE), StreamType(PrimitiveType.U8), FutureType(None)]
KEYS = [PrimitiveType.U8, PrimitiveType.S64, PrimitiveType.CHAR, PrimitiveType.STRING, PrimitiveType.BOOL]


def labels(count: int, prefix: str = "l") -> list[str]:
    return [f"{prefix}-{i}x" for i in range(count)]


def variant(payloads: list[ValType | None]) -> VariantType:
    return VariantType(tuple(zip(labels(len(payloads), "case"), payloads, strict=True)))


def record(types: list[ValType]) -> RecordType:
    return RecordType(tuple(zip(labels(len(types), "field"), types, strict=True)))


def compounds(inner: st.SearchStrategy[ValType]) -> st.SearchStrategy[ValType]:
    several = st.lists(inner, min_size=1, max_size=5)
    optional = st.none() | inner
    return st.one_of(
        several.map(record),
        several.map(lambda types: TupleType(tuple(types))),
        st.lists(optional, min_size=1, max_size=4).map(variant),
        inner.map(OptionType),
        st.builds(ResultType, optional, optional),
        st.builds(ListType, inner),
        st.builds(ListType, inner, st.integers(1, 30)),
        st.builds(MapType, st.sampled_from(KEYS), inner),
    )


leaves: st.SearchStrategy[ValType] = st.one_of(
    st.sampled_from(list(PrimitiveType)),
    st.sampled_from(HANDLES),
    st.sampled_from([1, 2, 256, 257]).map(lambda n: EnumType(tuple(labels(n)))),
    st.sampled_from([1, 8, 9, 17, 32]).map(lambda n: FlagsType(tuple(labels(n)))),
    st.just(ListType(PrimitiveType.U8)),
    st.just(ListType(PrimitiveType.F32)),
    st.just(variant([None] * 257 + [PrimitiveType.U16])),
)
types: st.SearchStrategy[ValType] = st.recursive(leaves, compounds, max_leaves=8)


@st.composite
def values(draw: st.DrawFn, t: ValType) -> Any:
    match t:
        case PrimitiveType.BOOL:
            return draw(st.booleans())
        case PrimitiveType.F32:
            return draw(st.floats(width=32))
        case PrimitiveType.F64:
            return draw(st.floats())
        case PrimitiveType.CHAR:
            return draw(st.characters(exclude_categories=["Cs"]))
        case PrimitiveType.STRING:
            return draw(st.text(max_size=8))
        case PrimitiveType.ERROR_CONTEXT | OwnType() | BorrowType() | StreamType() | FutureType():
            return draw(st.integers(0, 2**32 - 1))
        case PrimitiveType():
            bits = int(t.value[1:])
            low = -(1 << bits - 1) if t.value[0] == "s" else 0
            return draw(st.integers(low, low + (1 << bits) - 1))
        case RecordType() | TupleType():
            return tuple(draw(values(part)) for part in t.parts())
        case ListType(length=int(length)):
            return tuple(draw(values(t.elem_type)) for _ in range(length))
        case ListType():
            return draw(st.lists(values(t.elem_type), max_size=4))
        case MapType():
            pairs = st.tuples(values(t.key_type), values(t.value_type))
            return draw(st.lists(pairs, max_size=3, unique_by=lambda pair: pair[0]))
        case FlagsType():
            return frozenset(draw(st.lists(st.sampled_from(t.labels), max_size=4)))
        case EnumType():
            return (draw(st.integers(0, len(t.labels) - 1)), None)
        case OptionType():
            payloads: list[ValType | None] = [None, t.payload]
        case ResultType():
            payloads = [t.ok, t.error]
        case VariantType():
            payloads = [payload for _, payload in t.cases]
    index = draw(st.integers(0, len(payloads) - 1))
    payload = payloads[index]
    return index, None if payload is None else draw(values(payload))

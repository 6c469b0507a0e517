"""Whether one extern type can stand where another is expected (Explainer.md, "Type Checking"; the core specification,
"Matching", for what modules import and export).

What doesn't match is a `Mismatch` that says what was expected and what was found.
"""

from __future__ import annotations

from ..types import (
    ComponentType,
    CompoundType,
    CoreExternType,
    CoreFuncType,
    CoreGlobalType,
    CoreMemoryType,
    CoreTableType,
    CoreTagType,
    CoreValType,
    DefinedType,
    ExternType,
    FuncType,
    InstanceType,
    Limits,
    ModuleType,
    NamedType,
    PrimitiveType,
    RecordType,
    ResourceType,
    TypeExtern,
    ValType,
    VariantType,
)
from .extern_names import describe
from .sections.core_types import HEAP_TYPES
from .substitution import Substitution
from .type_table import TypeTable, shape


class Mismatch(ValueError):
    """Two types don't match."""


def check_subtype(actual: ExternType, expected: ExternType, substitution: Substitution) -> None:
    """Checks that `actual` can stand where `expected` is asked for, to which the substitution is applied.

    Resource types that `expected` leaves abstract are bound to the actual ones.
    """
    substitution.table.charge(1, substitution.offset)
    match actual, expected:
        case FuncType(), FuncType():
            substitution.table.charge(len(expected.params), substitution.offset)
            check_func(substitution.table, actual, substitution(expected))
        case TypeExtern(), TypeExtern():
            check_type(actual, expected, substitution)
        case InstanceType(), InstanceType():
            for name, extern in expected.exports.items():
                given = actual.exports.get(name)
                if given is None:
                    raise Mismatch(f"missing expected export `{name}`")
                try:
                    check_subtype(given, extern, substitution)
                except Mismatch as mismatch:
                    raise Mismatch(f"type mismatch in instance export `{name}`: {mismatch}") from None
        case ComponentType(), ComponentType():
            check_component(actual, substitution(expected), substitution.table, substitution.offset)
        case ModuleType(), ModuleType():
            substitution.table.charge(len(actual.imports) + len(expected.exports), substitution.offset)
            check_module(actual, expected)
        case _:
            raise Mismatch(f"expected {describe(expected)}, found {describe(actual)}")


def check_type(actual: TypeExtern, expected: TypeExtern, substitution: Substitution) -> None:
    if expected.bound == "sub":
        assert isinstance(expected.type, ResourceType)
        if not isinstance(actual.type, ResourceType):
            raise Mismatch(f"expected resource, found {kind(actual.type)}")
        substitution.bind_resource(expected.type, actual.type)
        return
    check_equal(actual.type, substitution(expected.type), substitution)
    if isinstance(expected.type, NamedType):
        assert isinstance(actual.type, NamedType)
        substitution.bind_value(expected.type, actual.type)


def check_equal(actual: DefinedType, expected: DefinedType, substitution: Substitution) -> None:
    """Checks that two types are the same one, apart from their names."""
    table = substitution.table
    match actual, expected:
        case ResourceType(), ResourceType():
            if table.resource(actual) is not table.resource(expected):
                raise Mismatch("resource types are not the same")
        case ((PrimitiveType() | CompoundType()), (PrimitiveType() | CompoundType())):
            check_value(table, actual, expected)
        case FuncType(), FuncType():
            check_func(table, actual, expected)
        case ((InstanceType() | ComponentType()), (InstanceType() | ComponentType())):
            check_subtype(actual, expected, Substitution(table, substitution.offset))
            check_subtype(expected, actual, Substitution(table, substitution.offset))
        case _:
            raise Mismatch(f"expected {kind(expected)}, found {kind(actual)}")


def check_func(table: TypeTable, actual: FuncType, expected: FuncType) -> None:
    if actual.is_async != expected.is_async:
        names = {True: "async", False: "sync"}
        raise Mismatch(f"expected {names[expected.is_async]} function, found {names[actual.is_async]} function")
    if len(actual.params) != len(expected.params):
        raise Mismatch(f"expected {len(expected.params)} parameters, found {len(actual.params)}")
    for (name, given), (label, asked) in zip(actual.params, expected.params, strict=True):
        if name != label:
            raise Mismatch(f"expected parameter named `{label}`, found `{name}`")
        check_part(table, given, asked, f"function parameter `{label}`")
    check_part(table, actual.result, expected.result, "the function's result")


def check_part(table: TypeTable, actual: ValType | None, expected: ValType | None, where: str) -> None:
    if table.equal(actual, expected):
        return
    if actual is None or expected is None:
        raise Mismatch(f"type mismatch in {where}: expected {optional_kind(expected)}, found {optional_kind(actual)}")
    try:
        check_value(table, actual, expected)
    except Mismatch as mismatch:
        raise Mismatch(f"type mismatch in {where}: {mismatch}") from None


def check_value(table: TypeTable, actual: ValType, expected: ValType) -> None:
    if table.equal(actual, expected):
        return
    if not isinstance(actual, CompoundType) or type(actual) is not type(expected):
        raise Mismatch(f"expected {kind(expected)}, found {kind(actual)}")
    assert isinstance(expected, CompoundType)
    if shape(actual) != shape(expected) or len(actual.parts()) != len(expected.parts()):
        raise Mismatch(f"expected {outline(expected)}, found {outline(actual)}")
    for where, given, asked in zip(part_names(actual), actual.parts(), expected.parts(), strict=True):
        check_part(table, given, asked, where)
    raise Mismatch(f"resource types are not the same in {kind(actual)}")


def kind(t: DefinedType) -> str:
    if isinstance(t, PrimitiveType):
        return t.value
    return {"FuncType": "function", "ResourceType": "resource"}.get(
        type(t).__name__, type(t).__name__.removesuffix("Type").lower()
    )


def optional_kind(t: ValType | None) -> str:
    return "none" if t is None else kind(t)


def outline(t: CompoundType) -> str:
    """A type's kind with what it has in common with types that differ in their parts only."""
    match t:
        case RecordType() | VariantType():
            labels = [label for label, _ in (t.record_fields if isinstance(t, RecordType) else t.cases)]
            return f"{kind(t)} with {', '.join(f'`{label}`' for label in labels[:8])} ({len(labels)} in all)"
        case _:
            length = "" if shape(t) is None else f" {shape(t)}"
            return f"{kind(t)}{length} of {len(t.parts())} types"


def part_names(t: CompoundType) -> list[str]:
    match t:
        case RecordType():
            return [f"record field `{label}`" for label, _ in t.record_fields]
        case VariantType():
            return [f"variant case `{label}`" for label, payload in t.cases if payload is not None]
        case _:
            return [f"{kind(t)} part {i}" for i in range(len(t.parts()))]


def check_component(actual: ComponentType, expected: ComponentType, table: TypeTable, offset: int) -> None:
    """A component may import less and export more than is expected of it."""
    supplied = Substitution(table, offset)
    for name, extern in actual.imports.items():
        given = expected.imports.get(name)
        if given is None:
            raise Mismatch(f"missing expected import `{name}`")
        try:
            check_subtype(given, extern, supplied)
        except Mismatch as mismatch:
            raise Mismatch(f"type mismatch in component import `{name}`: {mismatch}") from None
    bound = Substitution(table, offset)
    for name, extern in expected.exports.items():
        exported = actual.exports.get(name)
        if exported is None:
            raise Mismatch(f"missing expected export `{name}`")
        try:
            check_subtype(supplied(exported), extern, bound)
        except Mismatch as mismatch:
            raise Mismatch(f"type mismatch in component export `{name}`: {mismatch}") from None


def check_module(actual: ModuleType, expected: ModuleType) -> None:
    for (module, name), extern in actual.imports.items():
        given = expected.imports.get((module, name))
        if given is None:
            raise Mismatch(f"missing expected import `{module}::{name}`")
        try:
            check_core(given, extern)
        except Mismatch as mismatch:
            raise Mismatch(f"type mismatch in import `{module}::{name}`: {mismatch}") from None
    for name, extern in expected.exports.items():
        exported = actual.exports.get(name)
        if exported is None:
            raise Mismatch(f"missing expected export `{name}`")
        try:
            check_core(exported, extern)
        except Mismatch as mismatch:
            raise Mismatch(f"type mismatch in export `{name}`: {mismatch}") from None


CORE_KINDS: dict[type[CoreExternType], str] = {
    CoreFuncType: "func",
    CoreTableType: "table",
    CoreMemoryType: "memory",
    CoreGlobalType: "global",
    CoreTagType: "tag",
}


def check_core(actual: CoreExternType, expected: CoreExternType) -> None:
    match actual, expected:
        case CoreFuncType(), CoreFuncType():
            check_core_func(actual, expected)
        case CoreTagType(), CoreTagType():
            check_core_func(actual.func, expected.func)
        case CoreGlobalType(), CoreGlobalType():
            if actual.mutable != expected.mutable:
                raise Mismatch(f"expected a global with mutable={expected.mutable}, found mutable={actual.mutable}")
            same = core_equal if expected.mutable else core_matches
            if not same(actual.value_type, expected.value_type):
                raise Mismatch(f"expected global type {expected.value_type}, found {actual.value_type}")
        case CoreTableType(), CoreTableType():
            if not core_equal(actual.elem_type, expected.elem_type):
                raise Mismatch(f"expected table element type {expected.elem_type}, found {actual.elem_type}")
            check_limits(actual.limits, expected.limits, "table")
        case CoreMemoryType(), CoreMemoryType():
            if actual.page_size_log2 != expected.page_size_log2:
                raise Mismatch("mismatch in the page size of memories")
            check_limits(actual.limits, expected.limits, "memory")
        case _:
            raise Mismatch(f"expected {CORE_KINDS[type(expected)]}, found {CORE_KINDS[type(actual)]}")


def check_core_func(actual: CoreFuncType, expected: CoreFuncType) -> None:
    for given, asked in ((actual.params, expected.params), (actual.results, expected.results)):
        if len(given) != len(asked) or not all(map(core_equal, given, asked)):
            raise Mismatch(f"expected: {core_func_text(expected)}, found: {core_func_text(actual)}")


def core_func_text(t: CoreFuncType) -> str:
    """A core function type as the text format writes it."""
    params = f" (param {' '.join(t.params)})" if t.params else ""
    results = f" (result {' '.join(t.results)})" if t.results else ""
    return f"(func{params}{results})"


def check_limits(actual: Limits, expected: Limits, what: str) -> None:
    if actual.pointer != expected.pointer:
        raise Mismatch(f"mismatch in the index type of the {what}: expected {expected.pointer}, found {actual.pointer}")
    if actual.shared != expected.shared:
        raise Mismatch(f"mismatch in the shared flag of the {what}")
    fits = actual.minimum >= expected.minimum and (
        expected.maximum is None or (actual.maximum is not None and actual.maximum <= expected.maximum)
    )
    if not fits:
        raise Mismatch(f"mismatch in {what} limits: expected {bounds(expected)}, found {bounds(actual)}")


def bounds(limits: Limits) -> str:
    return f"{limits.minimum} to {'any' if limits.maximum is None else limits.maximum}"


ABSTRACT_REFERENCES = {short: (name, True) for name, short in HEAP_TYPES.values()} | {
    f"(ref {name})": (name, False) for name, _ in HEAP_TYPES.values()
}
SUPERTYPES = {
    "nofunc": ("func",),
    "noextern": ("extern",),
    "noexn": ("exn",),
    "none": ("i31", "struct", "array"),
    "i31": ("eq",),
    "struct": ("eq",),
    "array": ("eq",),
    "eq": ("any",),
}


def names_a_type(t: CoreValType) -> bool:
    """Whether a reference type has a type index in it. Which type that is differs from module to module: the engine
    compares such types when it instantiates."""
    return t.startswith("(ref") and t not in ABSTRACT_REFERENCES


def core_equal(actual: CoreValType, expected: CoreValType) -> bool:
    return actual == expected or (names_a_type(actual) and names_a_type(expected))


def core_matches(actual: CoreValType, expected: CoreValType) -> bool:
    if core_equal(actual, expected):
        return True
    if names_a_type(actual) or names_a_type(expected):
        return {actual, expected}.isdisjoint(("i32", "i64", "f32", "f64", "v128"))
    if actual not in ABSTRACT_REFERENCES or expected not in ABSTRACT_REFERENCES:
        return False
    (heap, nullable), (expected_heap, expected_nullable) = ABSTRACT_REFERENCES[actual], ABSTRACT_REFERENCES[expected]
    return (expected_nullable or not nullable) and heap_matches(heap, expected_heap)


def heap_matches(actual: str, expected: str) -> bool:
    return actual == expected or any(heap_matches(above, expected) for above in SUPERTYPES.get(actual, ()))

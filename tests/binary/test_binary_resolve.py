"""Type definitions resolved in a scope."""

from __future__ import annotations

import pytest

from p3host.binary.definitions import (
    AliasExport,
    AliasOuter,
    ComponentTypeDef,
    CoreExportDecl,
    CoreFuncRef,
    CoreGcType,
    CoreImportDecl,
    CoreOuterAlias,
    CoreRecursiveTypes,
    CoreSort,
    CoreTypeDefinition,
    Declaration,
    DefType,
    EnumDef,
    ExportDecl,
    ExternDesc,
    ExternName,
    FuncDef,
    ImportDecl,
    InstanceTypeDef,
    ListDef,
    ModuleTypeDef,
    OptionDef,
    OwnDef,
    RecordDef,
    ResultDef,
    Sort,
    SubResource,
    TupleDef,
    TypeDefinition,
    ValueDesc,
    VariantDef,
)
from p3host.binary.resolve import (
    TypeScope,
    define_core_type,
    define_type,
    extern_type,
    fresh_resources,
    valtype,
)
from p3host.errors import DecodeError
from p3host.types import (
    ComponentType,
    CoreFuncType,
    CoreTableType,
    CoreTagType,
    EnumType,
    FuncType,
    InstanceType,
    Limits,
    ListType,
    ModuleType,
    OptionType,
    OwnType,
    PrimitiveType,
    RecordType,
    ResourceType,
    ResultType,
    TupleType,
    TypeExtern,
    ValType,
    VariantType,
)

U8 = PrimitiveType.U8
STRING = PrimitiveType.STRING
SUB = SubResource()


def scope_of(*definitions: DefType) -> TypeScope:
    scope = TypeScope()
    for definition in definitions:
        scope.types.append(define_type(scope, definition))
    return scope


def exports(name: str, desc: ExternDesc | SubResource) -> ExportDecl:
    return ExportDecl(ExternName(name), desc)


def equals(index: int) -> ExternDesc:
    return ExternDesc(Sort.TYPE, index)


RESOURCE_INTERFACE = InstanceTypeDef(
    (
        exports("r", SUB),
        TypeDefinition(OwnDef(0)),
        TypeDefinition(FuncDef((), 1)),
        exports("make", ExternDesc(Sort.FUNC, 2)),
    )
)


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        (ListDef(U8), ListType(U8)),
        (ListDef(0, 4), ListType(STRING, 4)),
        (OptionDef(0), OptionType(STRING)),
        (ResultDef(None, 0), ResultType(None, STRING)),
        (TupleDef((U8, 0)), TupleType((U8, STRING))),
        (RecordDef((("a", 0),)), RecordType((("a", STRING),))),
        (VariantDef((("a", None), ("b", U8))), VariantType((("a", None), ("b", U8)))),
    ],
)
def test_value_types_are_resolved(definition: DefType, expected: ValType) -> None:
    assert define_type(scope_of(STRING), definition) == expected


def test_equal_definitions_are_one_object() -> None:
    scope = scope_of(ListDef(U8), TupleDef((0, 0)))
    inner = TypeScope(scope)
    inner.types.append(define_type(inner, ListDef(U8)))
    assert inner.types[0] is scope.types[0]
    assert define_type(inner, TupleDef((0, 0))) is scope.types[1]


def test_equal_types_by_different_names_are_two_objects_of_one_structure() -> None:
    scope = scope_of(EnumDef(("a",)))
    one, other = (extern_type(scope, equals(0), name) for name in ("one", "other"))
    assert isinstance(one, TypeExtern)
    assert isinstance(other, TypeExtern)
    assert one == other
    assert one.type is not other.type
    assert isinstance(one.type, EnumType)
    assert one.type.name == "one"
    scope.types += [one.type, other.type]
    lists = [define_type(scope, ListDef(index)) for index in (1, 2)]
    assert lists[0] is not lists[1]
    assert lists[0] == lists[1]
    assert isinstance(lists[0], ListType)
    assert isinstance(lists[1], ListType)
    assert scope.table.equal(lists[0], lists[1])


def test_function_types_keep_names_and_async() -> None:
    assert define_type(TypeScope(), FuncDef((("x", U8),), STRING, True)) == FuncType((("x", U8),), STRING, True)


def test_instance_type_leaves_its_resources_abstract() -> None:
    t = define_type(TypeScope(), RESOURCE_INTERFACE)
    assert isinstance(t, InstanceType)
    (resource,) = t.resources
    assert resource.name == "r"
    assert t.exports == {"r": TypeExtern(resource, "sub"), "make": FuncType((), OwnType(resource))}


def test_each_use_of_an_instance_type_has_resources_of_its_own() -> None:
    scope = scope_of(RESOURCE_INTERFACE)
    definition = scope.types[0]
    assert isinstance(definition, InstanceType)
    desc = ExternDesc(Sort.INSTANCE, 0)
    one, other = extern_type(scope, desc, "one"), extern_type(scope, desc, "other")
    assert isinstance(one, InstanceType)
    assert fresh_resources(one) == one.resources
    assert one.exports["make"] == FuncType((), OwnType(one.resources[0]))
    assert not set(one.resources) & {*fresh_resources(other), *definition.resources}


def test_instance_type_without_resources_is_used_as_it_is() -> None:
    scope = scope_of(InstanceTypeDef(()))
    assert extern_type(scope, ExternDesc(Sort.INSTANCE, 0), "i") is scope.types[0]


def test_component_type_tells_imported_resources_from_its_own() -> None:
    declarations: tuple[Declaration, ...] = (
        ImportDecl(ExternName("a"), SUB),
        exports("b", SUB),
        exports("c", equals(0)),
        TypeDefinition(RESOURCE_INTERFACE),
        ImportDecl(ExternName("i"), ExternDesc(Sort.INSTANCE, 3)),
        AliasExport(Sort.TYPE, 0, "r"),
        exports("d", equals(4)),
    )
    t = define_type(TypeScope(), ComponentTypeDef(declarations))
    assert isinstance(t, ComponentType)
    assert [resource.name for resource in t.import_resources] == ["a", "r"]
    assert [resource.name for resource in t.resources] == ["b"]
    assert t.exports["c"] == TypeExtern(t.import_resources[0], "eq")
    assert t.exports["d"] == TypeExtern(t.import_resources[1], "eq")


def test_outer_alias_counts_types_and_components() -> None:
    scope = scope_of(STRING)
    inner = InstanceTypeDef((AliasOuter(Sort.TYPE, 2, 0), exports("s", equals(0))))
    t = define_type(scope, InstanceTypeDef((TypeDefinition(inner), exports("i", ExternDesc(Sort.INSTANCE, 0)))))
    assert isinstance(t, InstanceType)
    assert t.exports == {"i": InstanceType({"s": TypeExtern(STRING)})}


def test_outer_core_types_reach_module_types() -> None:
    func = CoreFuncType(("i32",), ())
    scope = TypeScope()
    scope.core_types += define_core_type(scope, CoreRecursiveTypes((CoreGcType("(struct)"), func)))
    definition = ModuleTypeDef(
        (
            CoreOuterAlias(1, 1),
            CoreTypeDefinition(CoreFuncType((), ("f32",))),
            CoreOuterAlias(0, 1),
            CoreImportDecl("a", "f", CoreFuncRef(CoreSort.FUNC, 0)),
            CoreImportDecl("a", "t", CoreFuncRef(CoreSort.TAG, 0)),
            CoreExportDecl("g", CoreFuncRef(CoreSort.FUNC, 2)),
        )
    )
    assert define_core_type(scope, definition) == (
        ModuleType({("a", "f"): func, ("a", "t"): CoreTagType(func)}, {"g": CoreFuncType((), ("f32",))}),
    )


def failing(definition: DefType, scope: TypeScope | None = None) -> str:
    with pytest.raises(DecodeError) as caught:
        define_type(scope or TypeScope(), definition, 77)
    assert caught.value.offset in (0, 77)
    return caught.value.message


@pytest.mark.parametrize(
    ("definition", "fragment"),
    [
        (InstanceTypeDef((ImportDecl(ExternName("a"), SUB),)), "an instance type can't declare imports"),
        (InstanceTypeDef((ExportDecl(ExternName("a"), ValueDesc(None, U8)),)), "component values are not supported"),
        (InstanceTypeDef((exports("Aa", SUB),)), "`Aa` is not in kebab case"),
        (InstanceTypeDef((AliasOuter(CoreSort.TYPE, 1, 0),)), "core type index out of bounds"),
    ],
)
def test_invalid_definitions_are_refused(definition: DefType, fragment: str) -> None:
    assert fragment in failing(definition)


@pytest.mark.parametrize(
    ("definitions", "fragment"),
    [
        ((CoreOuterAlias(1, 1),), "can't alias another module type"),
        ((CoreExportDecl("t", CoreTableType("funcref", Limits(1, 1, shared=True))),), "shared tables need"),
        ((CoreOuterAlias(2, 0),), "invalid outer alias count 1"),
        ((CoreOuterAlias(1, 0), CoreImportDecl("a", "f", CoreFuncRef(CoreSort.FUNC, 0))), "not a plain function type"),
        (
            (CoreTypeDefinition(CoreFuncType((), ("i32",))), CoreExportDecl("t", CoreFuncRef(CoreSort.TAG, 0))),
            "the type of a tag cannot have results",
        ),
    ],
)
def test_invalid_module_types_are_refused(
    definitions: tuple[CoreTypeDefinition | CoreOuterAlias | CoreImportDecl | CoreExportDecl, ...], fragment: str
) -> None:
    scope = TypeScope()
    scope.core_types += [CoreGcType("(struct)"), ModuleType({}, {})]
    with pytest.raises(DecodeError, match=fragment):
        define_core_type(scope, ModuleTypeDef(definitions), 5)


def test_resource_is_no_value_type() -> None:
    scope = TypeScope()
    scope.types.append(ResourceType("r"))
    with pytest.raises(DecodeError, match="type 0 is not a defined value type"):
        valtype(scope, 0, 3)


def test_scopes_of_one_file_share_one_table() -> None:
    outer = TypeScope()
    inner = TypeScope(TypeScope(outer), "instance type")
    assert inner.table is outer.table
    assert inner.outer(2) is outer
    with pytest.raises(DecodeError, match="invalid outer alias count 3"):
        inner.outer(3)

from __future__ import annotations

import time

import pytest
from component_bytes import (
    GUEST,
    MODULE,
    PREAMBLE,
    component,
    name,
    only,
    section,
    types,
    u32,
    vec,
)

from p3host.binary.decoder import decode
from p3host.binary.definitions import (
    AliasCoreExport,
    AliasExport,
    AliasOuter,
    BorrowDef,
    CanonBuiltin,
    ComponentTypeDef,
    CoreDefType,
    CoreExportDecl,
    CoreExternDesc,
    CoreFuncRef,
    CoreGcType,
    CoreImportDecl,
    CoreInlineExports,
    CoreInstantiate,
    CoreModule,
    CoreOuterAlias,
    CoreRecursiveTypes,
    CoreSort,
    CoreSortIndex,
    CoreTypeDefinition,
    DefType,
    EnumDef,
    Export,
    ExportDecl,
    ExternDesc,
    ExternName,
    FlagsDef,
    FuncDef,
    FutureDef,
    Import,
    ImportDecl,
    InlineExports,
    InstanceTypeDef,
    Instantiate,
    Lift,
    ListDef,
    Lower,
    MapDef,
    ModuleTypeDef,
    NestedComponent,
    OptionDef,
    OwnDef,
    RecordDef,
    ResourceDef,
    ResultDef,
    Sort,
    SortIndex,
    Start,
    StreamDef,
    SubResource,
    TupleDef,
    TypeDefinition,
    Value,
    ValueDesc,
    VariantDef,
)
from p3host.binary.reader import MAX_NESTING
from p3host.errors import DecodeError
from p3host.types import (
    Attributes,
    CoreFuncType,
    CoreGlobalType,
    CoreMemoryType,
    CoreTableType,
    Limits,
    PrimitiveType,
)

U8, U32, STRING = PrimitiveType.U8, PrimitiveType.U32, PrimitiveType.STRING


@pytest.mark.parametrize(
    ("opcode", "expected"),
    [(0x7F - i, primitive) for i, primitive in enumerate(list(PrimitiveType)[:13])]
    + [(0x64, PrimitiveType.ERROR_CONTEXT)],
)
def test_primitive_type(opcode: int, expected: PrimitiveType) -> None:
    assert only(7, bytes([opcode])) == TypeDefinition(expected)


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        (b"\x72" + vec(name("a") + b"\x7d", name("b") + b"\x02"), RecordDef((("a", U8), ("b", 2)))),
        (b"\x71" + vec(name("x") + b"\1\x7d\0", name("y") + b"\0\0"), VariantDef((("x", U8), ("y", None)))),
        (b"\x70\x7d", ListDef(U8)),
        (b"\x70\xc0\0", ListDef(0x40)),
        (b"\x67\x7d\x80\1", ListDef(U8, 128)),
        (b"\x6f" + vec(b"\x7d", b"\x79"), TupleDef((U8, U32))),
        (b"\x6e" + vec(name("a"), name("b")), FlagsDef(("a", "b"))),
        (b"\x6d" + vec(name("a"), name("b")), EnumDef(("a", "b"))),
        (b"\x6b\x7d", OptionDef(U8)),
        (b"\x6a\0\0", ResultDef(None, None)),
        (b"\x6a\1\x7d\0", ResultDef(U8, None)),
        (b"\x6a\0\1\x73", ResultDef(None, STRING)),
        (b"\x6a\1\x7d\1\x73", ResultDef(U8, STRING)),
        (b"\x69\3", OwnDef(3)),
        (b"\x68\x80\1", BorrowDef(128)),
        (b"\x66\0", StreamDef(None)),
        (b"\x66\1\x7d", StreamDef(U8)),
        (b"\x65\0", FutureDef(None)),
        (b"\x65\1\5", FutureDef(5)),
        (b"\x63\x73\x79", MapDef(STRING, U32)),
        (b"\x3f\x7f\0", ResourceDef("i32", None)),
        (b"\x3f\x7e\1\7", ResourceDef("i64", 7)),
        (b"\x40\0\1\0", FuncDef((), None)),
        (b"\x40" + vec(name("p") + b"\x79") + b"\0\x73", FuncDef((("p", U32),), STRING)),
        (b"\x43\0\1\0", FuncDef((), None, is_async=True)),
        (b"\x41\0", ComponentTypeDef(())),
        (b"\x42\0", InstanceTypeDef(())),
    ],
)
def test_type(encoded: bytes, expected: DefType) -> None:
    assert only(7, encoded) == TypeDefinition(expected)


def test_declarations_of_a_component_type() -> None:
    declarations = vec(
        b"\0\x60\0\0",
        b"\1\x73",
        b"\2\3\2\1\0",
        b"\2\5\0\4" + name("i"),
        b"\3\0" + name("in") + b"\3\0\0",
        b"\4\1" + name("out") + b"\3\1",
    )
    assert only(7, b"\x41" + declarations) == TypeDefinition(
        ComponentTypeDef(
            (
                CoreTypeDefinition(CoreFuncType((), ())),
                TypeDefinition(STRING),
                AliasOuter(Sort.TYPE, 1, 0),
                AliasExport(Sort.INSTANCE, 4, "i"),
                ImportDecl(ExternName("in"), ExternDesc(Sort.TYPE, 0)),
                ExportDecl(ExternName("out"), SubResource()),
            )
        )
    )


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (b"\x62", "opcode of a type"),
        (b"\x44", "opcode of a type"),
        (b"\x3e", "opcode of a type"),
        (b"\x70\x6b", "value type"),
        (b"\x70\x72\0", "value type"),
        (b"\x70\xff\x7f", "value type"),
        (b"\x71" + vec(name("c") + b"\0\1"), "0x00 for the end of a case"),
        (b"\x72\0", "at least one field"),
        (b"\x71\0", "at least one case"),
        (b"\x6f\0", "at least one type"),
        (b"\x6e\0", "1 to 32 labels"),
        (b"\x6e" + vec(*[name(f"f{i}") for i in range(33)]), "1 to 32 labels"),
        (b"\x6d\0", "at least one case"),
        (b"\x67\x7d\0", "at least one element"),
        (b"\x40\0\1\1", "named results"),
        (b"\x40\0\2\0", "result of a function"),
        (b"\x41\1\5\x73", "a declaration"),
        (b"\x42\1\3\0" + name("a") + b"\3\1", "a declaration"),
        (b"\x6b", "unexpected end"),
        (b"\x6a\2", "0x00 or 0x01"),
    ],
)
def test_malformed_type(encoded: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        only(7, encoded)


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        (b"\x60" + vec(b"\x7f", b"\x7c") + vec(b"\x7e"), CoreFuncType(("i32", "f64"), ("i64",))),
        (b"\x60" + vec(b"\x70", b"\x6f", b"\x69", b"\x7b", b"\x7d") + vec(),
         CoreFuncType(("funcref", "externref", "exnref", "v128", "f32"), ())),
        (b"\x60" + vec(b"\x63\x70", b"\x64\x70", b"\x63\3", b"\x64\xc0\0") + vec(),
         CoreFuncType(("funcref", "(ref func)", "(ref null 3)", "(ref 64)"), ())),
        (b"\x4f\0\x60\0\0", CoreFuncType((), ())),
        (b"\x4f\1\2\x60\0\0", CoreGcType("(sub final 2 (func))")),
        (b"\0\x50\0\x60\1\x7f\1\x7f", CoreGcType("(sub (func (param i32) (result i32)))")),
        (b"\x5f" + vec(b"\x7f\0", b"\x77\1"), CoreGcType("(struct (field i32) (field (mut i16)))")),
        (b"\x5e\x78\1", CoreGcType("(array (mut i8))")),
        (b"\x4e" + vec(b"\x60\0\0", b"\x50\0\x5f\0"),
         CoreRecursiveTypes((CoreFuncType((), ()), CoreGcType("(sub (struct))")))),
        (b"\x50\0", ModuleTypeDef(())),
    ],
)  # fmt: skip
def test_core_type(encoded: bytes, expected: CoreDefType) -> None:
    assert only(3, encoded) == CoreTypeDefinition(expected)


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        (b"\0\5", CoreFuncRef(CoreSort.FUNC, 5)),
        (b"\1\x70\1\2\3", CoreTableType("funcref", Limits(2, 3))),
        (b"\1\x6f\4\2", CoreTableType("externref", Limits(2, None, "i64"))),
        (b"\2\0\1", CoreMemoryType(Limits(1))),
        (b"\2\3\1\2", CoreMemoryType(Limits(1, 2, shared=True))),
        (b"\2\5\1" + b"\xff" * 9 + b"\1", CoreMemoryType(Limits(1, 2**64 - 1, "i64"))),
        (b"\2\x08\1\0", CoreMemoryType(Limits(1), 0)),
        (b"\3\x7e\1", CoreGlobalType("i64", mutable=True)),
        (b"\4\0\6", CoreFuncRef(CoreSort.TAG, 6)),
    ],
)
def test_declarations_of_a_module_type(encoded: bytes, expected: CoreExternDesc) -> None:
    declarations = vec(
        b"\0" + name("m") + name("n") + encoded,
        b"\1\x60\0\0",
        b"\2\x10\1\1\7",
        b"\3" + name("e") + encoded,
    )
    assert only(3, b"\x50" + declarations) == CoreTypeDefinition(
        ModuleTypeDef(
            (
                CoreImportDecl("m", "n", expected),
                CoreTypeDefinition(CoreFuncType((), ())),
                CoreOuterAlias(1, 7),
                CoreExportDecl("e", expected),
            )
        )
    )


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (b"\x61", "for a core type"),
        (b"\0\x60\0\0", "0x50"),
        (b"\x60\1\x65\0", "a core value type"),
        (b"\x60\1\x63\x7f\0", "a heap type"),
        (b"\x50\1\4\x60\0\0", "for a declaration"),
        (b"\x50\1\1\x50\0", "can't define another module type"),
        (b"\x50\1\2\0\1\1\0", "for an alias's sort"),
        (b"\x50\1\2\x10\0\1\0", "for an alias target"),
        (b"\x50\1\3\1e\5", "a core extern type"),
        (b"\x50\1\3\1e\4\1\0", "a tag's attribute"),
        (b"\x50\1\3\1e\2\x10\0", "limits"),
        (b"\x50\1\3\1e\1\x70\x08\0", "limits"),
        (b"\x50\1\3\1e\1\x7f\0\0", "a core value type"),
        (b"\x50\1\3\1e\2\x08\0\x11", "larger than"),
        (b"\x50\1\3\1e\3\x7f\2", "0x00 or 0x01"),
    ],
)
def test_malformed_core_type(encoded: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        only(3, encoded)


@pytest.mark.parametrize(
    ("section_id", "encoded", "expected"),
    [
        (2, b"\0\3" + vec(name("a") + b"\x12\4"), CoreInstantiate(3, (("a", 4),))),
        (2, b"\1" + vec(*[name("x") + bytes([sort, 1]) for sort in range(5)]),
         CoreInlineExports(tuple(("x", CoreSortIndex(sort, 1)) for sort in list(CoreSort)[:5]))),
        (5, b"\0\3" + vec(*[name("x") + bytes([sort, 1]) for sort in range(1, 6)]),
         Instantiate(3, tuple(("x", SortIndex(sort, 1)) for sort in Sort))),
        (5, b"\1" + vec(b"\0" + name("x") + b"\0\x11\2"),
         InlineExports(((ExternName("x"), SortIndex(CoreSort.MODULE, 2)),))),
        (6, b"\1\0\2" + name("f"), AliasExport(Sort.FUNC, 2, "f")),
        (6, b"\0\x11\0\2" + name("m"), AliasExport(CoreSort.MODULE, 2, "m")),
        (6, b"\0\4\1\2" + name("f"), AliasCoreExport(CoreSort.TAG, 2, "f")),
        (6, b"\3\2\1\2", AliasOuter(Sort.TYPE, 1, 2)),
        (6, b"\4\2\1\2", AliasOuter(Sort.COMPONENT, 1, 2)),
        (6, b"\0\x10\2\1\2", AliasOuter(CoreSort.TYPE, 1, 2)),
        (6, b"\0\x11\2\1\2", AliasOuter(CoreSort.MODULE, 1, 2)),
        (10, b"\0" + name("m") + b"\0\x11\2", Import(ExternName("m"), ExternDesc(CoreSort.MODULE, 2))),
        (10, b"\1" + name("f") + b"\1\2", Import(ExternName("f"), ExternDesc(Sort.FUNC, 2))),
        (10, b"\2" + name("t") + vec() + b"\3\0\2", Import(ExternName("t"), ExternDesc(Sort.TYPE, 2))),
        (10, b"\0" + name("t") + b"\3\1", Import(ExternName("t"), SubResource())),
        (10, b"\0" + name("c") + b"\4\2", Import(ExternName("c"), ExternDesc(Sort.COMPONENT, 2))),
        (10, b"\0" + name("v") + b"\2\0\2", Import(ExternName("v"), ValueDesc(2, None))),
        (10, b"\0" + name("v") + b"\2\1\x73", Import(ExternName("v"), ValueDesc(None, STRING))),
        (10, b"\2" + name("i") + vec(b"\2" + name("☃"), b"\1" + name(".1"), b"\0" + name("a:b/c")) + b"\5\2",
         Import(ExternName("i", Attributes(implements="a:b/c", version_suffix=".1", external_id="☃")),
                ExternDesc(Sort.INSTANCE, 2))),
        (11, b"\0" + name("f") + b"\1\2\0", Export(ExternName("f"), SortIndex(Sort.FUNC, 2), None)),
        (11, b"\0" + name("m") + b"\0\x11\2\1\0\x11\3",
         Export(ExternName("m"), SortIndex(CoreSort.MODULE, 2), ExternDesc(CoreSort.MODULE, 3))),
        (12, b"\x73\3\2hi", Value(STRING, b"\2hi")),
    ],
)  # fmt: skip
def test_definition(section_id: int, encoded: bytes, expected: object) -> None:
    assert only(section_id, encoded) == expected


@pytest.mark.parametrize(
    ("section_id", "encoded", "message"),
    [
        (2, b"\2\0\0", "for a core instance"),
        (2, b"\0\1" + vec(name("i") + b"\0\0"), "0x12 .instance."),
        (2, b"\1" + vec(name("x") + b"\x11\0"), "can't be exported"),
        (2, b"\1" + vec(name("x") + b"\5\0"), "a core sort"),
        (5, b"\2\0\0", "for an instance"),
        (5, b"\0\0" + vec(name("x") + b"\0\0\0"), "can't be imported or exported"),
        (5, b"\0\0" + vec(name("x") + b"\6\0"), "a sort"),
        (6, b"\3\3\0\0", "for an alias target"),
        (6, b"\6\2\0\0", "a sort"),
        (6, b"\0\5\2\0\0", "a core sort"),
        (6, b"\0\x13\2\0\0", "a core sort"),
        (6, b"\5\2\0\0", "outer alias can't refer to a instance"),
        (6, b"\1\2\0\0", "outer alias can't refer to a func"),
        (6, b"\0\0\0\0\1f", "can't be imported or exported"),
        (6, b"\1\1\0\1f", "core instance can't export"),
        (6, b"\0\x11\1\0\1f", "core instance can't export"),
        (10, b"\3\1a\1\0", "for an extern name"),
        (10, b"\2\1a" + vec(b"\3\1x") + b"\1\0", "implements"),
        (10, b"\2\1i" + vec(b"\0\1x", b"\0\1y") + b"\5\0", "duplicate attribute `implements`"),
        (10, b"\0\1t\3\2", "for a type bound"),
        (10, b"\0\1v\2\2", "for a value bound"),
        (10, b"\0\1x\6\0", "an extern type"),
        (10, b"\0\1m\0\0", "0x11 .module."),
        (10, b"\0\x7fab", "unexpected end"),
        (10, b"\0\2\xff\xfe\1\0", "malformed UTF-8"),
        (11, b"\0\1e\1\0\2", "0x00 or 0x01"),
        (12, b"\x73\4\2hi", "unexpected end"),
    ],
)
def test_malformed_definition(section_id: int, encoded: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        only(section_id, encoded)


def test_start() -> None:
    data = component(section(9, b"\3" + vec(b"\1", b"\2") + b"\1"))
    assert decode(data).definitions == (Start(3, (1, 2), 1),)


def test_definitions_keep_the_order_of_the_file_and_their_offsets() -> None:
    data = component(types(b"\x73", b"\x70\0"), section(6, vec(b"\3\2\0\0")), types(b"\x6b\1"))
    definitions = decode(data).definitions
    assert [type(d) for d in definitions] == [TypeDefinition, TypeDefinition, AliasOuter, TypeDefinition]
    assert [d.offset for d in definitions] == [11, 12, 17, 24]


def test_nested_components_are_decoded_with_offsets_of_the_whole_file() -> None:
    inner = component(types(b"\x73"))
    (nested,) = decode(component(section(4, inner))).definitions
    assert isinstance(nested, NestedComponent)
    assert nested.component.offset == 10
    assert nested.component.definitions == (TypeDefinition(STRING),)
    assert nested.component.definitions[0].offset == 21


@pytest.mark.parametrize("convert", [bytes, bytearray, memoryview, lambda data: memoryview(bytearray(data))])
def test_any_bytes_like_object_is_decoded(convert: type[bytes]) -> None:
    assert decode(convert(GUEST)) == decode(GUEST)


def test_core_modules_are_views_of_the_input() -> None:
    data = component(section(1, MODULE + b"rest"))
    (module,) = decode(data).definitions
    assert isinstance(module, CoreModule)
    assert module.data.obj is data
    assert bytes(module.data) == MODULE + b"rest"


def test_a_large_component_is_decoded_fast() -> None:
    data = component(section(1, MODULE + bytes(3_000_000)), *[types(*[b"\x70\x7d"] * 100)] * 100)
    begin = time.process_time()
    assert len(decode(data).definitions) == 10_001
    assert time.process_time() - begin < 0.5


@pytest.mark.parametrize(
    "data",
    [
        *[PREAMBLE[:end] for end in range(8)],
        b"asm\0\x0d\0\1\0",
        b"\0ASM\x0d\0\1\0",
        b"\xffasm\x0d\0\1\0",
        b"\0asm\x0c\0\1\0",
        b"\0asm\x0e\0\1\0",
        b"\0asm\0\x0d\1\0",
        b"\0asm\x0d\0\2\0",
        b"\0asm\x0d\0\1\1",
        b"\0asm\x0d\0\0\0",
        b"(component)",
    ],
)
def test_wrong_preamble(data: bytes) -> None:
    with pytest.raises(DecodeError, match=r"preamble|magic|version"):
        decode(data)


def test_a_core_module_is_refused_with_advice() -> None:
    with pytest.raises(DecodeError, match="found a core module: make a component of it"):
        decode(MODULE)


def test_a_component_in_place_of_a_core_module_is_refused() -> None:
    with pytest.raises(DecodeError, match="preamble of a core module"):
        decode(component(section(1, PREAMBLE)))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (b"\x0d\0", "malformed section id 13"),
        (b"\x3c\0", "malformed section id 60"),
        (b"\xff", "malformed section id 255"),
        (b"\x07\3\0", "unexpected end"),
        (b"\x07\1\1\x73", "unexpected end|don't fit"),
        (b"\x07\3\1\x73\x73", "1 unexpected bytes at the end of a section of types"),
        (b"\x09\4\0\0\0\0", "1 unexpected bytes at the end of the start section"),
        (b"\0\x80\x80", "unexpected end"),
        (b"\0", "unexpected end"),
        (b"\0\3\5ab", "unexpected end"),
        (b"\0\3\2\xff\xfe", "malformed UTF-8"),
    ],
)
def test_malformed_section(sections: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        decode(PREAMBLE + sections)


def test_the_name_section_gives_names() -> None:
    names = section(0, name("component-name") + b"\0" + u32(6) + name("hello") + b"\1\7\3" + vec(b"\1" + name("abc")))
    decoded = decode(component(names))
    assert decoded.name == "hello"
    assert decoded.names == {(Sort.TYPE, 1): "abc"}


@pytest.mark.parametrize("garbage", [b"\xff\xfe\1", b"\0\2\2a", b"\x99", b"\0\3\1ab", b"\1\2\7\0", b"\2\0"])
def test_a_malformed_name_section_is_ignored(garbage: bytes) -> None:
    decoded = decode(component(section(0, name("component-name") + garbage), section(0, name("other") + b"\xff")))
    assert (decoded.name, decoded.names) == ("", {})


def nested_components(depth: int) -> bytes:
    data = component()
    for _ in range(depth - 1):
        data = component(section(4, data))
    return data


def nested_types(depth: int) -> bytes:
    encoded = b"\x42\0"
    for _ in range(depth - 2):
        encoded = b"\x41" + vec(b"\1" + encoded)
    return component(types(encoded))


@pytest.mark.parametrize("nested", [nested_components, nested_types])
def test_nesting_is_limited(nested: type[bytes]) -> None:
    decode(nested(MAX_NESTING))
    for depth in (MAX_NESTING + 1, 2_000):
        with pytest.raises(DecodeError, match="nest more than"):
            decode(nested(depth))


def test_a_component_of_real_tools_is_decoded() -> None:
    decoded = decode(GUEST)
    assert decoded.name == "guest"
    assert decoded.names[(Sort.FUNC, 0)] == "get"
    kinds = {type(definition) for definition in decoded.definitions}
    assert {Import, CoreModule, CoreInstantiate, AliasCoreExport, Lift, Lower, CanonBuiltin, Export} <= kinds

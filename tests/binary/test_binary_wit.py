from __future__ import annotations

import pytest

from p3host.binary.wit import print_wit
from p3host.types import (
    Attributes,
    BorrowType,
    ComponentType,
    CoreMemoryType,
    EnumType,
    ExternType,
    FlagsType,
    FuncType,
    FutureType,
    InstanceType,
    Limits,
    ListType,
    MapType,
    ModuleType,
    OptionType,
    OwnType,
    PrimitiveType,
    RecordType,
    ResourceType,
    ResultType,
    StreamType,
    TupleType,
    TypeExtern,
    ValType,
    VariantType,
)

U8, U32, U64, STRING = PrimitiveType.U8, PrimitiveType.U32, PrimitiveType.U64, PrimitiveType.STRING


def wit(imports: dict[str, ExternType], exports: dict[str, ExternType] | None = None, name: str = "w") -> str:
    return print_wit(ComponentType(imports, exports or {}), name)


def world(imports: dict[str, ExternType], exports: dict[str, ExternType] | None = None) -> str:
    """The lines inside of the world."""
    text = wit(imports, exports)
    head, _, rest = text.partition("world w {\n")
    assert head == "package root:component;\n\n"
    body, brace, _ = rest.partition("\n}\n")
    assert brace
    return "\n".join(line.removeprefix("  ") for line in body.split("\n"))


def test_an_empty_component_is_an_empty_world() -> None:
    assert wit({}) == "package root:component;\n\nworld w {\n}\n"


def test_a_name_that_is_no_label_becomes_root() -> None:
    assert "world root {" in wit({}, name="My File.wasm")


@pytest.mark.parametrize(
    ("t", "text"),
    [
        *[(primitive, primitive.value) for primitive in PrimitiveType],
        (ListType(U8), "list<u8>"),
        (ListType(U8, 4), "list<u8, 4>"),
        (TupleType((U8, STRING)), "tuple<u8, string>"),
        (OptionType(OptionType(U8)), "option<option<u8>>"),
        (ResultType(), "result"),
        (ResultType(U8), "result<u8>"),
        (ResultType(None, STRING), "result<_, string>"),
        (ResultType(U8, STRING), "result<u8, string>"),
        (MapType(STRING, U8), "map<string, u8>"),
        (StreamType(), "stream"),
        (StreamType(U8), "stream<u8>"),
        (FutureType(), "future"),
        (FutureType(ResultType()), "future<result>"),
    ],
)
def test_value_type(t: ValType, text: str) -> None:
    assert world({"f": FuncType((("a", t),), t)}) == f"import f: func(a: {text}) -> {text};"


@pytest.mark.parametrize(
    ("func", "text"),
    [
        (FuncType(()), "func()"),
        (FuncType((("a", U8), ("list", STRING))), "func(a: u8, %list: string)"),
        (FuncType((), U8, is_async=True), "async func() -> u8"),
    ],
)
def test_function(func: FuncType, text: str) -> None:
    assert world({}, {"run": func}) == f"export run: {text};"


def test_keywords_are_escaped() -> None:
    interface = InstanceType({"enum": TypeExtern(EnumType(("type", "other"))), "use": FuncType(())})
    assert world({"import": interface}) == (
        "import %import: interface {\n  enum %enum {\n    %type,\n    other,\n  }\n\n  %use: func();\n}"
    )


def test_types_of_a_world() -> None:
    record = RecordType((("a", U8),), "r")
    assert world({"r": TypeExtern(record), "n": TypeExtern(U64)}, {"f": FuncType((("a", ListType(record)),))}) == (
        "record r {\n  a: u8,\n}\n\ntype n = u64;\n\nexport f: func(a: list<r>);"
    )


def test_what_wit_cannot_say_is_a_comment() -> None:
    memory = CoreMemoryType(Limits(1))
    externs: dict[str, ExternType] = {
        "m": ModuleType({("a", "b"): memory}, {}),
        "c": ComponentType({}, {}),
        "[static]r.f": FuncType(()),
        "t": TypeExtern(FuncType(())),
        "i": InstanceType({"nested": InstanceType({})}),
    }
    assert world(externs).split("\n") == [
        "// type t: function",
        "",
        "// import m: core module",
        "// import c: component",
        "// import [static]r.f: function",
        "import i: interface {",
        "  // nested: instance",
        "}",
    ]


def test_interfaces_are_printed_by_package() -> None:
    stream = ResourceType("input-stream")
    datetime = RecordType((("seconds", U64), ("nanoseconds", U32)), "datetime")
    error = VariantType((("last-operation-failed", STRING), ("closed", None)), "stream-error")
    imports: dict[str, ExternType] = {
        "wasi:clocks/wall-clock@0.2.3": InstanceType({"datetime": TypeExtern(datetime), "now": FuncType((), datetime)}),
        "wasi:io/streams@0.2.3": InstanceType(
            {
                "input-stream": TypeExtern(stream, "sub"),
                "stream-error": TypeExtern(error),
                "[constructor]input-stream": FuncType((("length", U64),), OwnType(stream)),
                "[method]input-stream.read": FuncType(
                    (("self", BorrowType(stream)), ("len", U64)), ResultType(ListType(U8), error)
                ),
                "[static]input-stream.join": FuncType(
                    (("a", BorrowType(stream)), ("b", OwnType(stream))), OwnType(stream), is_async=True
                ),
            }
        ),
        "wasi:io/tools@0.2.3": InstanceType(
            {
                "input-stream": TypeExtern(stream),
                "modes": TypeExtern(FlagsType(("read", "write"), "modes")),
                "skip": FuncType((("s", BorrowType(stream)), ("m", FlagsType(("read", "write"), "modes"))), error),
            }
        ),
        "wasi:filesystem/types@0.3": InstanceType(
            {
                "datetime": TypeExtern(datetime),
                "moment": TypeExtern(OptionType(datetime)),
                "input": TypeExtern(stream),
                "open": FuncType((("at", datetime),), OwnType(stream), is_async=True),
            }
        ),
    }
    exports: dict[str, ExternType] = {"wasi:cli/run@0.3.0": InstanceType({"run": FuncType((), ResultType())})}
    assert (
        wit(imports, exports, "command")
        == """\
package root:component;

world command {
  import wasi:clocks/wall-clock@0.2.3;
  import wasi:io/streams@0.2.3;
  import wasi:io/tools@0.2.3;
  import wasi:filesystem/types@0.3.0;

  export wasi:cli/run@0.3.0;
}

package wasi:clocks@0.2.3 {
  interface wall-clock {
    record datetime {
      seconds: u64,
      nanoseconds: u32,
    }

    now: func() -> datetime;
  }
}

package wasi:io@0.2.3 {
  interface streams {
    resource input-stream {
      constructor(length: u64);
      read: func(len: u64) -> result<list<u8>, stream-error>;
      join: static async func(a: borrow<input-stream>, b: input-stream) -> input-stream;
    }

    variant stream-error {
      last-operation-failed(string),
      closed,
    }
  }

  interface tools {
    use streams.{input-stream, stream-error};

    flags modes {
      read,
      write,
    }

    skip: func(s: borrow<input-stream>, m: modes) -> stream-error;
  }
}

package wasi:filesystem@0.3.0 {
  interface types {
    use wasi:clocks/wall-clock@0.2.3.{datetime};
    use wasi:io/streams@0.2.3.{input-stream as input};

    type moment = option<datetime>;

    open: async func(at: datetime) -> input;
  }
}

package wasi:cli@0.3.0 {
  interface run {
    run: func() -> result;
  }
}
"""
    )


def test_a_function_of_the_world_uses_the_types_of_an_interface() -> None:
    first, second = ResourceType("handle"), ResourceType("handle")
    imports: dict[str, ExternType] = {
        "a:b/one": InstanceType({"handle": TypeExtern(first, "sub")}),
        "a:b/two": InstanceType({"handle": TypeExtern(second, "sub")}),
        "f": FuncType((("a", OwnType(first)), ("b", BorrowType(second)), ("c", BorrowType(first)))),
    }
    assert world(imports).split("\n")[:3] == ["use a:b/one.{handle};", "use a:b/two.{handle as two-handle};", ""]
    assert "import f: func(a: handle, b: borrow<two-handle>, c: borrow<handle>);" in world(imports)


def test_a_fallible_constructor_has_a_result() -> None:
    r = ResourceType("r")
    constructor = FuncType((), ResultType(OwnType(r), STRING))
    assert world({"r": TypeExtern(r, "sub"), "[constructor]r": constructor}) == (
        "resource r {\n  constructor() -> result<r, string>;\n}"
    )


def test_a_second_name_of_a_resource_is_an_alias() -> None:
    r = ResourceType("r")
    externs: dict[str, ExternType] = {"r": TypeExtern(r, "sub"), "s": TypeExtern(r), "f": FuncType((), OwnType(r))}
    assert world({"i": InstanceType(externs)}) == (
        "import i: interface {\n  resource r;\n\n  type s = r;\n\n  f: func() -> r;\n}"
    )


def test_equal_types_of_one_interface_keep_their_names() -> None:
    a, b = EnumType(("x",), "a"), EnumType(("x",), "b")
    externs: dict[str, ExternType] = {"a": TypeExtern(a), "b": TypeExtern(b), "f": FuncType((("p", a), ("q", b)))}
    text = world({"i": InstanceType(externs)})
    assert "enum a {" in text
    assert "enum b {" in text
    assert "f: func(p: a, q: b);" in text


def test_an_interface_imported_and_exported_is_printed_once_with_all_items() -> None:
    ours, theirs = ResourceType("r"), ResourceType("r")
    imported = InstanceType({"r": TypeExtern(theirs, "sub"), "get": FuncType((), OwnType(theirs))})
    exported = InstanceType({"r": TypeExtern(ours, "sub"), "put": FuncType((("r", OwnType(ours)),))})
    text = wit({"a:b/c@1.0.0": imported}, {"a:b/c@1.0.0": exported})
    assert (
        text
        == """\
package root:component;

world w {
  import a:b/c@1.0.0;

  export a:b/c@1.0.0;
}

package a:b@1.0.0 {
  interface c {
    resource r;

    get: func() -> r;
    put: func(r: r);
  }
}
"""
    )


def test_equal_types_of_two_versions_of_an_interface_are_separate() -> None:
    e = EnumType(("x",), "e")
    instance = InstanceType({"e": TypeExtern(e)})
    text = wit({"a:b/c@0.2.0": instance, "a:b/c@0.3.0": instance})
    assert text.count("enum e {") == 2
    assert "use" not in text


def test_an_instance_that_implements_an_interface_is_printed_by_its_name() -> None:
    store = InstanceType({"get": FuncType((("key", STRING),), STRING)}, attributes={"get": Attributes(external_id="G")})
    name = "wasi:keyvalue/store@1.2.0"
    t = ComponentType(
        {"users": store, "catalog": store},
        {},
        import_attributes={
            "users": Attributes(implements=name, external_id='db "a"\\\n☃'),
            "catalog": Attributes(implements=name),
        },
    )
    assert (
        print_wit(t, "w")
        == r"""package root:component;

world w {
  @external-id("db \"a\"\\\u{a}☃")
  import users: wasi:keyvalue/store@1.2.0;
  import catalog: wasi:keyvalue/store@1.2.0;
}

package wasi:keyvalue@1.2.0 {
  interface store {
    @external-id("G")
    get: func(key: string) -> string;
  }
}
"""
    )


def test_external_ids_stand_before_what_they_are_of() -> None:
    resource = ResourceType("r")
    inner = InstanceType(
        {"r": TypeExtern(resource, "sub"), "[static]r.f": FuncType((), None)},
        attributes={"r": Attributes(external_id="R"), "[static]r.f": Attributes(external_id="R.f")},
    )
    named = {name: Attributes(external_id=name.upper()) for name in ("e", "f", "i")}
    t = ComponentType(
        {"e": TypeExtern(EnumType(("a",), "e"), "eq"), "f": FuncType((), None)},
        {"i": inner},
        import_attributes=named,
        export_attributes=named,
    )
    assert (
        print_wit(t, "w")
        == """package root:component;

world w {
  @external-id("E")
  enum e {
    a,
  }

  @external-id("F")
  import f: func();

  @external-id("I")
  export i: interface {
    @external-id("R")
    resource r {
      @external-id("R.f")
      f: static func();
    }
  }
}
"""
    )


def test_a_version_suffix_completes_the_version() -> None:
    t = ComponentType(
        {"a:b/c@1": InstanceType({}), "a:b/c@0.2": InstanceType({})},
        {},
        import_attributes={"a:b/c@1": Attributes(version_suffix=".2.3-rc.1", external_id="x")},
    )
    assert (
        print_wit(t, "w")
        == """package root:component;

world w {
  @external-id("x")
  import a:b/c@1.2.3-rc.1;
  import a:b/c@0.2.0;
}

package a:b@1.2.3-rc.1 {
  interface c {
  }
}

package a:b@0.2.0 {
  interface c {
  }
}
"""
    )

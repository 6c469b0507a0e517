"""Loading a component, and linking it with what it was given."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from guest_text import BEHAVIOURS, behaviours, component_text, load, passing_on, sync_export

from p3host import Component, DecodeError, InstanceClosed, LinkError, Trap
from p3host.engine import text_to_binary

pytestmark = pytest.mark.anyio

GUESTS = Path(__file__).parents[2] / "guests"
ADD = component_text(
    code='(func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))',
    exports=sync_export("add", '(param "a" u32) (param "b" u32)', "u32"),
)


async def wait(ms: int) -> int:
    return ms


@pytest.mark.parametrize("kind", ["text", "bytes", "memoryview", "binary file", "text file", "name of a file"])
async def test_component_is_loaded_from(kind: str, tmp_path: Path) -> None:
    binary = text_to_binary(ADD)
    (tmp_path / "add.wasm").write_bytes(binary)
    (tmp_path / "add.wat").write_text(";; adds\n" + ADD)
    source: Any = {
        "text": ADD,
        "bytes": binary,
        "memoryview": memoryview(binary),
        "binary file": tmp_path / "add.wasm",
        "text file": tmp_path / "add.wat",
        "name of a file": str(tmp_path / "add.wasm"),
    }[kind]
    async with Component.load(source).instantiate() as instance:
        assert await instance.exports.add(1, b=2) == 3
        assert await instance.exports["add"](2, 2) == 4


@pytest.mark.parametrize("name", ["c1/c1.wasm", "go-hello/go-hello.wasm"])
def test_truncated_file_is_a_decode_error(name: str) -> None:
    data = (GUESTS / name).read_bytes()
    for size in (0, 3, 7, 9, 100, len(data) // 2, len(data) - 1):
        with pytest.raises(DecodeError) as raised:
            Component.load(data[:size])
        assert raised.value.offset <= size


def test_core_module_is_refused_with_a_hint() -> None:
    with pytest.raises(DecodeError, match="core module"):
        Component.load(text_to_binary("(module)"))


@pytest.mark.parametrize("data", [b"hello", b"\x7fELF" + bytes(100), "(component", "(module)", "(what)"])
def test_anything_else_is_a_decode_error(data: Any) -> None:
    with pytest.raises(DecodeError):
        Component.load(data)


def test_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Component.load(tmp_path / "nothing.wasm")


def test_invalid_core_module_is_a_decode_error_at_its_offset() -> None:
    with pytest.raises(DecodeError) as raised:
        Component.load("(component (core module (func (result i32) (i64.const 1))))")
    assert raised.value.offset > 0


IMPORTS = """(component
  (import "first" (func (param "a" u8)))
  (import "second" (func async))
  (import "local:app/store@1.2.0" (instance
    (export "entry" (type (sub resource)))
    (export "get" (func (param "key" string) (result string)))
    (export "put-all" (func)))))"""


def test_one_link_error_lists_all_that_is_missing() -> None:
    with pytest.raises(LinkError) as raised:
        load(IMPORTS).instantiate({"first": 5, "local:app/store": {"get": lambda: ""}})
    problems = raised.value.problems
    assert len(problems) == 4
    for problem, expected in zip(problems, ("first", "second", "get", "put-all"), strict=True):
        assert expected in problem
    for problem in problems:
        assert problem in str(raised.value)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (lambda: None, "first"),
        (lambda a, b: None, "first"),
        ("text", "not callable"),
        (None, "not callable"),
    ],
)
def test_import_of_the_wrong_kind_or_arity_is_a_link_error(given: Any, named: str) -> None:
    with pytest.raises(LinkError, match=named) as raised:
        load('(component (import "first" (func (param "a" u8))))').instantiate({"first": given})
    assert len(raised.value.problems) == 1


def test_what_was_given_under_a_wrong_name_is_told() -> None:
    with pytest.raises(LinkError, match="not imported: frist"):
        load('(component (import "first" (func (param "a" u8))))').instantiate({"frist": print})


def test_function_needs_no_signature_to_be_linked() -> None:
    load('(component (import "first" (func (param "a" u8))))').instantiate({"first": print})
    load('(component (import "first" (func (param "a" u8))))').instantiate({"first": lambda *args, **named: None})


class Store:
    def get(self, key: str) -> str:
        return f"value of {key}"


@pytest.mark.parametrize(
    "provider",
    [Store(), {"get": Store().get}, SimpleNamespace(get=Store().get)],
    ids=["object", "mapping", "namespace"],
)
@pytest.mark.parametrize("name", ["local:app/store@1.2.0", "local:app/store@1.2.7", "local:app/store"])
async def test_interface_is_any_object_with_its_functions(provider: object, name: str) -> None:
    text = component_text(
        imports="""(import "local:app/store@1.2.0" (instance $store
          (export "get" (func (param "key" string) (result string)))))
          (alias export $store "get" (func $get))""",
        canons={"get": ("lower (func $get) (memory $memory) (realloc $realloc)", "(param i32 i32 i32)")},
        code="""(func (export "ask") (param i32 i32) (result i32)
          (call $get (local.get 0) (local.get 1) (i32.const 16)) (i32.const 16))""",
        exports=sync_export("ask", '(param "key" string)', "string", "(memory $memory) (realloc $realloc)"),
    )
    async with load(text).instantiate({name: provider}) as instance:
        assert await instance.exports.ask("a") == "value of a"


async def test_missing_wasi_is_listed_like_any_import() -> None:
    with pytest.raises(LinkError, match=r"wasi:clocks/monotonic-clock@0\.3\.0"):
        Component.load(GUESTS / "go-reactor/go-reactor.wasm").instantiate({"wait": wait, "lookup": wait})


async def test_instance_is_entered_once_and_used_within_its_block() -> None:
    instance = behaviours().instantiate({"wait": wait})
    with pytest.raises(InstanceClosed, match="before its 'async with' block"):
        _ = instance.exports
    async with instance:
        add = instance.exports.add
        assert await add(1, 2) == 3
        with pytest.raises(InstanceClosed, match="once"):
            async with instance:
                pass
        assert await add(1, 2) == 3
    with pytest.raises(InstanceClosed):
        await add(1, 2)


async def test_component_is_instantiated_often_and_instances_share_nothing() -> None:
    component = behaviours()
    async with component.instantiate({"wait": wait}) as one, component.instantiate({"wait": wait}) as other:
        assert await one.exports.nap(5) == 5
        with pytest.raises(Trap, match="unreachable"):
            await one.exports.trap()
        assert await other.exports.nap(6) == 6


async def test_error_of_the_body_comes_as_it_is() -> None:
    error = KeyError("mine")
    with pytest.raises(KeyError) as raised:
        async with behaviours().instantiate({"wait": wait}):
            raise error
    assert raised.value is error
    group = ExceptionGroup("mine", [error])
    with pytest.raises(ExceptionGroup) as raised_group:
        async with behaviours().instantiate({"wait": wait}):
            raise group
    assert raised_group.value is group


async def test_unknown_export_is_told_with_those_that_are_known() -> None:
    async with load(ADD).instantiate() as instance:
        with pytest.raises(AttributeError, match=r"no 'substract'.*add"):
            _ = instance.exports.substract
        with pytest.raises(KeyError, match="substract"):
            _ = instance.exports["substract"]
        assert "add" in instance.exports
        assert "substract" not in instance.exports
        assert list(instance.exports) == ["add"]
        assert "add" in dir(instance.exports)


async def test_export_may_have_any_name() -> None:
    names = ["add", "name", "members", "attributes", "keys", "class", "import", "self"]
    text = component_text(
        code="".join(f'(func (export "{name}") (result i32) (i32.const {i}))' for i, name in enumerate(names)),
        exports="".join(sync_export(name, "", "u32") for name in names),
    )
    async with load(text).instantiate() as instance:
        exports = instance.exports
        by_attribute = (exports.add, exports.name, exports.members, exports.attributes, exports.keys)
        assert [await function() for function in by_attribute] == [0, 1, 2, 3, 4]
        assert [await exports.class_(), await exports.import_(), await exports.self()] == [5, 6, 7]
        assert [await exports[name]() for name in names] == list(range(8))


def test_type_is_printed_as_wit() -> None:
    wit = load(passing_on("", '(param "v" string)', "(result string)")).wit()
    assert "import host: func(v: string) -> string;" in wit
    assert "export echo: func(v: string) -> string;" in wit
    assert "nap: async func(ms: u32) -> u32" in load(BEHAVIOURS).wit()

"""Files that ask for too much, and components with bytes changed: an error, or a guest that runs into one."""

from __future__ import annotations

import keyword
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from guest_text import MEMORY, component_text, imported_func, passing_on, sync_export
from hostile_guests import bystander

from p3host import DecodeError, MachineLimits, P3HostError, Trap
from p3host.component import Component, ExportedFunction, Interface
from p3host.types import (
    EnumType,
    FlagsType,
    FuncType,
    InstanceType,
    PrimitiveType,
    RecordType,
    StreamType,
    ValType,
    VariantType,
)
from p3host.values import value_class

pytestmark = pytest.mark.anyio


def nested_components(depth: int) -> str:
    """Each instantiates the one within twice."""
    text = '(component $c0 (core module $m (func (export "f"))) (core instance (instantiate $m)))'
    for level in range(1, depth + 1):
        inner = f"(instance (instantiate $c{level - 1}))"
        text = f"(component $c{level} {text} {inner} {inner})"
    return f"(component {text} (instance (instantiate $c{depth})))"


def doubled_types(depth: int, kind: str = "tuple", use: int = 2) -> str:
    first = f"(type $t0 ({kind} {' '.join(['u8'] * use)}))"
    rest = [f"(type $t{i} ({kind} {' '.join([f'$t{i - 1}'] * use)}))" for i in range(1, depth + 1)]
    return f'(component {first} {" ".join(rest)} (import "f" (func (param "x" $t{depth}))))'


def core(text: str) -> str:
    return f"(component (core module $m {text}) (core instance (instantiate $m)))"


TOO_MUCH: dict[str, tuple[str, str]] = {
    "instances that double": (nested_components(20), "more than .* instances"),
    "components in components": (nested_components(90), "nest more than"),
    "types that double": (doubled_types(40), "more than .* parts"),
    "lists of lists": (doubled_types(300, "list", 1), "nests more than"),
    "options of options": (doubled_types(300, "option", 1), "nests more than"),
    "memories": (core("(memory 1)" * 101), "101 memories"),
    "labels": (core(f"(func (param i32) (block (br_table {'0 ' * 200_000} (local.get 0))))"), "br_table"),
    "locals": (core(f"(func {'(local i64)' * 50_001})"), "locals"),
}


@pytest.mark.parametrize(("text", "message"), TOO_MUCH.values(), ids=TOO_MUCH)
async def test_file_that_asks_for_too_much_is_refused(text: str, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        Component.load(text)


TOO_MUCH_TO_RUN: dict[str, tuple[str, str]] = {
    "instances": (f"(component (core module $m) {'(core instance (instantiate $m))' * 1100})", "instance count"),
    "memory of 64 bits": (core("(memory i64 281474976710655)"), "memory limits"),
    "table": (core("(table 4000000000 funcref)"), "table limits"),
    "data outside": (core('(memory 1) (data (i32.const 65536) "x")'), "out of bounds"),
    "elements outside": (core("(table 1 funcref) (func $f) (elem (i32.const 1) $f)"), "out of bounds"),
    "stack": (core("(func $f (call $f)) (start $f)"), "stack exhausted"),
}


@pytest.mark.parametrize(("text", "message"), TOO_MUCH_TO_RUN.values(), ids=TOO_MUCH_TO_RUN)
async def test_instantiation_that_asks_for_too_much_traps(text: str, message: str) -> None:
    component = Component.load(text)
    async with bystander():
        with pytest.raises(Trap, match=message):
            async with component.instantiate():
                pytest.fail("the instance must not be entered")


async def test_tables_and_memories_grow_to_their_limits_and_no_further() -> None:
    text = component_text(
        code="""(table $t 1 funcref)
          (func (export "grow-table") (param i32) (result i32) (table.grow $t (ref.null func) (local.get 0)))
          (func (export "grow-memory") (result i32) (local $n i32)
            (loop $on
              (local.set $n (i32.add (local.get $n) (i32.const 1)))
              (br_if $on (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0))))
            (local.get $n))""",
        exports="""
          (func (export "grow-table") (param "n" u32) (result s32) (canon lift (core func $main "grow-table")))
          (func (export "grow-memory") (result u32) (canon lift (core func $main "grow-memory")))""",
    )
    limits = MachineLimits(memory_bytes=16 << 16, table_elements=100)
    async with Component.load(text).instantiate(limits=limits) as instance:
        assert await instance.exports.grow_memory() == 13
        assert await instance.exports.grow_table(99) == 1
        assert await instance.exports.grow_table(1) == -1


async def test_deeply_nested_values_pass_in_and_out() -> None:
    depth = 60
    types = "(type $t0 (list u8))" + "".join(f"(type $t{i} (list $t{i - 1}))" for i in range(1, depth + 1))
    text = component_text(
        imports=types,
        code="""(func (export "echo") (param i32 i32) (result i32)
          (i32.store (i32.const 16) (local.get 0)) (i32.store (i32.const 20) (local.get 1)) (i32.const 16))""",
        exports=f"""(func (export "echo") (param "x" $t{depth}) (result $t{depth})
          (canon lift (core func $main "echo") {MEMORY}))""",
    )
    value: Any = b"x"
    for _ in range(depth):
        value = [value]
    async with Component.load(text).instantiate() as instance:
        assert await instance.exports.echo(value) == value


MEANINGFUL = """self cls mro name value object type int str list dict tuple len range zip c m b p n t x init new names
values items get count index field fields tag cases args flat result match ignore order auto missing ok err some
property slots encode generate-next-value"""
NAMES = sorted({*map(str.lower, keyword.kwlist), *MEANINGFUL.split()})


@pytest.mark.parametrize(
    ("kind", "of"), [("record", "field"), ("variant", "case"), ("enum", ""), ("flags", "")], ids=lambda kind: kind
)
async def test_names_that_mean_something_in_python_are_names(kind: str, of: str) -> None:
    names = NAMES[:32] if kind == "flags" else NAMES
    parts = " ".join(f'({of} "{name}" u8)' if of else f'"{name}"' for name in names)
    text = passing_on(f'(type $raw ({kind} {parts})) (import "t" (type $t (eq $raw)))', '(param "x" $t)', "(result $t)")
    component = Component.load(text)
    t = imported_func(text).result
    assert isinstance(t, RecordType | VariantType | EnumType | FlagsType)
    made: Any = value_class(t)
    if kind == "record":
        values = [made(*range(len(names)))]
    elif kind == "variant":
        values = [case(5) for case in made.cases]
    else:
        values = list(made)
    assert len(values) == (1 if kind == "record" else len(names))
    async with component.instantiate({"host": lambda x: x}) as instance:
        for value in values:
            assert await instance.exports.echo(value) == value


async def test_error_contexts_keep_a_part_of_a_message() -> None:
    text = component_text(
        canons={"new": ("error-context.new (memory $memory)", "(param i32 i32) (result i32)")},
        code='(func (export "error") (result i32) (call $new (i32.const 0) (i32.const 100000)))',
        exports=sync_export("error", "", "error-context"),
    )
    async with Component.load(text).instantiate() as instance:
        assert (await instance.exports.error()).debug_message == "\0" * 1024


GUESTS = Path(__file__).parents[2] / "guests"
CONSTANT, CALL = 0x41, 0x10


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Half of the time changes a constant or a function index, as far as one can tell, else any bits."""
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 4])):
        if chance.random() < 0.5:
            at = chance.choice([i for i in range(8, len(data) - 1) if data[i] in (CONSTANT, CALL)]) + 1
            changed[at] = changed[at] & 0x80 | chance.randrange(128)
        else:
            changed[chance.randrange(8, len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def plain_value(t: ValType | None) -> Any:
    if t is PrimitiveType.STRING:
        return "text"
    if isinstance(t, StreamType):
        return b"bytes"
    return None if t is None else 3


def stand_in(t: Any) -> Any:
    """What is given for an import."""
    if isinstance(t, InstanceType):
        return {name: stand_in(export) for name, export in t.exports.items()}
    if isinstance(t, FuncType):
        return answering(t)
    return object


def answering(t: FuncType) -> Callable[..., Any]:
    async def answer_later(*arguments: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        return plain_value(t.result)

    def answer(*arguments: Any) -> Any:
        return plain_value(t.result)

    return answer_later if t.is_async else answer


def functions(exports: Interface) -> list[ExportedFunction]:
    found: list[ExportedFunction] = []
    for name in exports:
        if isinstance(exports[name], ExportedFunction):
            found.append(exports[name])
        elif isinstance(exports[name], Interface):
            found.extend(functions(exports[name]))
    return found


async def run_all(component: Component, imports: Mapping[str, Any]) -> None:
    limits = MachineLimits(memory_bytes=1 << 24)
    with suppress(P3HostError):
        async with component.instantiate(
            imports, limits=limits, grace_seconds=0.01, max_tasks=500, max_handles=5000
        ) as instance:
            for function in functions(instance.exports):
                with anyio.move_on_after(0.02), suppress(P3HostError, TypeError):  # of an argument, if a type changed
                    await function(*map(plain_value, function.type.param_types))


@pytest.mark.parametrize("name", ["c1", "c2", "c3", "c4", "c-pair"])
async def test_changed_components_are_refused_or_run_into_errors(name: str) -> None:
    data = (GUESTS / name / f"{name}.wasm").read_bytes()
    chance = random.Random(name)
    ran = 0
    for _ in range(12):
        try:
            component = Component.load(mutate(data, chance))
        except DecodeError:
            continue
        await run_all(component, {key: stand_in(t) for key, t in component.type.imports.items()})
        ran += 1
    assert ran

"""Components in text that import all of WASI, with full types, from compact tables of its interfaces.

A table has an interface in each line that isn't indented, and beneath it what is in it:

    use PACKAGE/INTERFACE: NAME, NAME as OTHER
    type NAME = TYPE             record NAME = FIELD: TYPE, ...      variant NAME = CASE, CASE(TYPE), ...
    enum NAME = CASE, ...        flags NAME = LABEL, ...             resource NAME
    FUNCTION(PARAMETER: TYPE, ...) -> TYPE

RESOURCE.FUNCTION is a method, after `static` a static function; `constructor RESOURCE` is one, and `async` stands
before what is async. A line ends in `@VERSION` where that version was the first to have it. Lines go on where the next
one is indented further.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

SCALARS = {"bool", "u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "f32", "f64", "char", "string"}
WORD = re.compile(r"[A-Za-z0-9-]+")
REFERRING = ("type", "record", "variant")
LINE = re.compile(r"(.*?)(?: @([0-9.]+))?")
SIGNATURE = re.compile(r"((?:static|async|constructor) )*([a-z0-9.-]+)\((.*)\)(?: -> (.*))?")


@dataclass
class TypeDefinition:
    keyword: str
    name: str
    body: str


@dataclass
class Function:
    name: str
    """As the component model spells it."""

    is_async: bool
    params: list[tuple[str, str]]
    result: str | None


@dataclass
class Interface:
    name: str
    used: list[tuple[str, str, str]] = field(default_factory=list)
    """Interface, name there, name here."""

    types: dict[str, TypeDefinition] = field(default_factory=dict)
    functions: list[Function] = field(default_factory=list)

    def cases(self, name: str) -> set[str]:
        """Of an enum or a variant."""
        return {part.partition("(")[0] for part in split(self.types[name].body)}


def split(text: str) -> list[str]:
    """The parts between the commas that aren't within brackets."""
    parts, depth = [""], 0
    for char in text:
        depth += char in "<("
        depth -= char in ">)"
        if char == "," and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts if part.strip()]


def read(table: str, version: str) -> dict[str, Interface]:
    """The interfaces of a table as they are in `version`."""
    now = tuple(map(int, version.partition("-")[0].split(".")))
    interfaces: dict[str, Interface] = {}
    interface: Interface | None = None
    for line in re.sub(r"\n {3,}", " ", table).strip().splitlines():
        matched = LINE.fullmatch(line)
        assert matched is not None
        text, since = matched.groups()
        is_there = since is None or now >= tuple(map(int, since.split(".")))
        if not text.startswith(" "):
            interface = Interface(f"wasi:{text}") if is_there else None
            if interface is not None:
                interfaces[interface.name] = interface
        elif interface is not None and is_there:
            read_item(interface, text.strip())
    return interfaces


def read_item(interface: Interface, text: str) -> None:
    keyword, _, rest = text.partition(" ")
    if keyword == "use":
        source, names = rest.split(": ")
        for name in split(names):
            there, _, here = name.partition(" as ")
            interface.used.append((f"wasi:{source}", there, here or there))
    elif keyword in ("type", "record", "variant", "enum", "flags", "resource"):
        name, _, body = rest.partition(" = ")
        interface.types[name] = TypeDefinition(keyword, name, body)
    else:
        interface.functions.append(read_function(text))


def read_function(text: str) -> Function:
    matched = SIGNATURE.fullmatch(text)
    assert matched is not None, text
    _, name, inner, result = matched.groups()
    words = text[: text.index(name)].split()
    params = [(label, t) for label, t in (part.split(": ", 1) for part in split(inner))]
    resource, is_member, _ = name.partition(".")
    if "constructor" in words:
        return Function(f"[constructor]{name}", False, params, name)
    if "static" in words:
        name = f"[static]{name}"
    elif is_member:
        name = f"[method]{name}"
        params.insert(0, ("self", f"borrow<{resource}>"))
    return Function(name, "async" in words, params, result)


def component_text(interfaces: dict[str, Interface], version: str) -> str:
    """A component that imports all of them in this version. An interface comes after those that it uses."""
    resources: set[tuple[str, str]] = set()
    return "\n".join(["(component", *(Import(each, resources).text(version) for each in interfaces.values()), ")"])


class Import:
    """The import of an interface. `resources` are those of the interfaces before, each by its interface and its name
    there; this one's are added."""

    def __init__(self, interface: Interface, resources: set[tuple[str, str]]) -> None:
        self.interface = interface
        self.resources = resources
        self.lines: list[str] = []

    def text(self, version: str) -> str:
        name = self.interface.name
        for source, there, here in self.interface.used:
            if (source, there) in self.resources:
                self.resources.add((name, here))
            self.lines.append(f"(alias outer 1 ${source}.{there} (type ${here}.outer))")
            self.export(here, f"(eq ${here}.outer)")
        for definition in in_order(self.interface.types):
            self.define(definition)
        for function in self.interface.functions:
            params = "".join(f' (param "{label}" {self.type_text(t)})' for label, t in function.params)
            result = "" if function.result is None else f" (result {self.type_text(function.result)})"
            is_async = " async" if function.is_async else ""
            self.lines.append(f'(export "{function.name}" (func{is_async}{params}{result}))')
        declarations = "\n    ".join(self.lines)
        names = [*self.interface.types, *(here for _, _, here in self.interface.used)]
        aliases = "".join(f'\n  (alias export ${name} "{each}" (type ${name}.{each}))' for each in names)
        return f'  (import "{name}@{version}" (instance ${name}\n    {declarations}))\n{aliases}'

    def export(self, name: str, bound: str) -> None:
        self.lines.append(f'(export "{name}" (type ${name} {bound}))')

    def is_resource(self, name: str) -> bool:
        return (self.interface.name, name) in self.resources

    def define(self, definition: TypeDefinition) -> None:
        name, body = definition.name, definition.body
        if definition.keyword == "resource" or self.is_resource(body):
            self.resources.add((self.interface.name, name))
        match definition.keyword:
            case "resource":
                self.export(name, "(sub resource)")
                return
            case "type" if WORD.fullmatch(body) and body not in SCALARS:
                self.export(name, f"(eq ${body})")
                return
            case "type":
                shape = self.type_text(body)
            case "record":
                fields = (part.split(": ", 1) for part in split(body))
                shape = " ".join(f'(field "{label}" {self.type_text(t)})' for label, t in fields)
            case "variant":
                cases = (part.removesuffix(")").partition("(") for part in split(body))
                shape = " ".join(f'(case "{label}" {self.type_text(t) if t else ""})' for label, _, t in cases)
            case _:
                shape = " ".join(f'"{label}"' for label in split(body))
        if definition.keyword != "type":
            shape = f"({definition.keyword} {shape})"
        self.lines.append(f"(type ${name}.shape {shape})")
        self.export(name, f"(eq ${name}.shape)")

    def type_text(self, text: str) -> str:
        if text in SCALARS:
            return text
        head, bracket, inner = text.partition("<")
        if not bracket:
            if head == "result":
                return "(result)"
            return f"(own ${head})" if self.is_resource(head) else f"${head}"
        arguments = split(inner.removesuffix(">"))
        if head == "borrow":
            return f"(borrow ${arguments[0]})"
        types = ["" if each == "_" else self.type_text(each) for each in arguments]
        if head == "result":
            types[1:] = [f"(error {each})" for each in types[1:]]
        written = f"({' '.join([head, *filter(None, types)])})"
        if head not in ("stream", "future"):
            return written
        name = f"$type-{len(self.lines)}"  # the text format has no place for these within others
        self.lines.append(f"(type {name} {written})")
        return name


def in_order(types: dict[str, TypeDefinition]) -> Iterator[TypeDefinition]:
    """Each after those that it refers to."""
    given: set[str] = set()

    def visit(definition: TypeDefinition) -> Iterator[TypeDefinition]:
        if definition.name in given:
            return
        given.add(definition.name)
        for word in WORD.findall(definition.body) if definition.keyword in REFERRING else ():
            if word in types:
                yield from visit(types[word])
        yield definition

    for definition in types.values():
        yield from visit(definition)

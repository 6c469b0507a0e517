"""Values of the types in `interface_text.py`'s tables: such as a guest may pass, and those of a provider checked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from enum import Flag
from random import Random
from types import SimpleNamespace
from typing import Any

from anyio.lowlevel import checkpoint
from interface_text import Interface, TypeDefinition, split
from wasi_fakes import GuestStream

from p3host.errors import Err
from p3host.values import Ok, class_name, python_name

TEXTS = ["", "a.txt", "dir", "dir/b", "..", ".", "/", "a\0b", "x" * 300, "y/" * 3000, "\N{BOMB}", "link", "loop", "a/"]
TEXTS += ["127.0.0.1", "::1", "localhost", "[::1]", "a:b", "user@host", "GET", "content-length", "\r\n", "\xff"]
LOOPBACK = {"ipv4-address": (127, 0, 0, 1), "ipv6-address": (0, 0, 0, 0, 0, 0, 0, 1)}
ENOUGH = 30  # of one resource

Resource = tuple[str, str]
"""The interface that defines it, and its name there."""


class GuestFuture:
    """A `future<result>` that a guest passed."""

    def __init__(self, outcome: Ok | Err) -> None:
        self.outcome = outcome

    def __await__(self) -> Any:
        yield from checkpoint().__await__()
        if isinstance(self.outcome, Err):
            raise self.outcome
        return self.outcome.value

    def watch(self, then: Callable[[Ok | Err], None]) -> None:
        then(self.outcome)

    def close(self) -> None:
        return


class Values:
    """`providers` are those of the interfaces, by name without version."""

    def __init__(self, interfaces: dict[str, Interface], providers: dict[str, Any], random: Random) -> None:
        self.interfaces = interfaces
        self.providers = providers
        self.random = random
        self.resources: dict[Resource, list[Any]] = defaultdict(list)

    def find(self, name: str, interface: str) -> tuple[TypeDefinition, str]:
        """What a name in an interface stands for, and the interface that defines it."""
        for source, there, here in self.interfaces[interface].used:
            if here == name:
                return self.find(there, source)
        return self.interfaces[interface].types[name], interface

    def class_of(self, resource: Resource) -> Any:
        return getattr(self.providers[resource[0]], class_name(resource[1]))

    def keep(self, value: Any) -> None:
        """The resources in a provider's answer are there to be passed from now on."""
        if isinstance(value, list | tuple):
            for each in value:
                self.keep(each)
        for name, interface in self.interfaces.items():
            for definition in interface.types.values():
                if definition.keyword == "resource" and isinstance(value, self.class_of((name, definition.name))):
                    known = self.resources[name, definition.name]
                    if len(known) < ENOUGH:
                        known.append(value)

    def known(self, definition: TypeDefinition, interface: str) -> list[Any]:
        """
        :raises LookupError: there is no resource of the type yet
        """
        known = self.resources[interface, definition.name]
        if not known:
            raise LookupError(definition.name)
        return known

    # Arbitrary values

    def arbitrary(self, t: str, interface: str) -> Any:
        """
        :raises LookupError: there is no resource of the type yet
        """
        head, bracket, inner = t.partition("<")
        if bracket:
            return self.arbitrary_of(head, split(inner.removesuffix(">")), interface)
        random = self.random
        if head[0] in "us" and head[1:].isdigit():
            bits = int(head[1:])
            low, high = (0, 1 << bits) if head[0] == "u" else (-1 << (bits - 1), 1 << (bits - 1))
            return random.choice([low, 0, 1, 2, high // 2, high - 1, random.randrange(low, high)])
        match head:
            case "bool":
                return random.random() < 0.5
            case "string":
                return random.choice(TEXTS)
            case "result":
                return random.choice([Ok(None), Err(None)])
        return self.arbitrary_named(*self.find(head, interface))

    def arbitrary_of(self, head: str, inner: list[str], interface: str) -> Any:
        random = self.random
        match head:
            case "list" if inner == ["u8"]:
                return bytes(random.choice([0, 1, 5, 70_000]))
            case "list":
                return [self.arbitrary(inner[0], interface) for _ in range(random.choice([0, 1, 3]))]
            case "tuple":
                return tuple(self.arbitrary(each, interface) for each in inner)
            case "option":
                return None if random.random() < 0.4 else self.arbitrary(inner[0], interface)
            case "borrow":
                definition, interface = self.find(inner[0], interface)
                return random.choice(self.known(definition, interface))
            case "stream":
                return GuestStream([b"some", b"bytes"])
            case "future":
                return GuestFuture(self.arbitrary(inner[0], interface))
            case "result":
                case, kind = random.choice(list(zip((Ok, Err), inner, strict=True)))
                return case(None if kind == "_" else self.arbitrary(kind, interface))
        raise NotImplementedError(head)

    def arbitrary_named(self, definition: TypeDefinition, interface: str) -> Any:
        random, parts = self.random, split(definition.body)
        match definition.keyword:
            case "resource":  # which is given away
                known = self.known(definition, interface)
                return known.pop(random.randrange(len(known)))
            case "type" if definition.name in LOOPBACK and random.random() < 0.7:
                return LOOPBACK[definition.name]
            case "type":
                return self.arbitrary(definition.body, interface)
            case "record":
                fields = (part.split(": ", 1) for part in parts)
                return SimpleNamespace(**{python_name(name): self.arbitrary(t, interface) for name, t in fields})
            case "enum":
                return random.choice(parts)
            case "flags":
                return Flag("Labels", [python_name(part).upper() for part in parts])(random.randrange(1 << len(parts)))
        label, _, payload = random.choice(parts).removesuffix(")").partition("(")
        return SimpleNamespace(tag=label, value=self.arbitrary(payload, interface) if payload else None)

    # A provider's values

    def check(self, value: Any, t: str, interface: str) -> None:
        """
        :raises AssertionError: the value can't be lowered as one of the type
        """
        head, bracket, inner = t.partition("<")
        if bracket:
            self.check_of(value, head, split(inner.removesuffix(">")), interface)
        elif head[0] in "us" and head[1:].isdigit():
            bits = int(head[1:])
            low, high = (0, 1 << bits) if head[0] == "u" else (-1 << (bits - 1), 1 << (bits - 1))
            assert type(value) is int
            assert low <= value < high
        elif head == "bool":
            assert type(value) is bool
        elif head == "string":
            assert isinstance(value.encode(), bytes)
        elif head == "result":
            assert value is None or isinstance(value, Ok | Err)
        else:
            self.check_named(value, *self.find(head, interface))

    def check_of(self, value: Any, head: str, inner: list[str], interface: str) -> None:
        match head:
            case "list" if inner == ["u8"]:
                assert isinstance(value, bytes)
            case "list":
                for each in value:
                    self.check(each, inner[0], interface)
            case "tuple":
                assert isinstance(value, tuple)
                for each, t in zip(value, inner, strict=True):
                    self.check(each, t, interface)
            case "option":
                if value is not None:
                    self.check(value, inner[0], interface)
            case "result":
                assert isinstance(value, Ok | Err)
                t = [*inner, "_"][isinstance(value, Err)]
                if t != "_":
                    self.check(value.value, t, interface)
            case _:
                assert head in ("stream", "future")

    def check_named(self, value: Any, definition: TypeDefinition, interface: str) -> None:
        parts = split(definition.body)
        match definition.keyword:
            case "resource":
                assert isinstance(value, self.class_of((interface, definition.name)))
            case "type":
                self.check(value, definition.body, interface)
            case "record":
                for name, t in (part.split(": ", 1) for part in parts):
                    self.check(getattr(value, python_name(name)), t, interface)
            case "enum":
                assert value in parts
            case "flags":
                assert value <= set(parts)
            case _:
                cases = {label: payload for label, _, payload in (p.removesuffix(")").partition("(") for p in parts)}
                payload = cases[value if isinstance(value, str) else value.tag]
                if payload:
                    self.check(value.value, payload, interface)

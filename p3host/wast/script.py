"""Runs the directives of a script, one after the other, and says what came of each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import anyio

from ..component import Component, ExportedFunction, Instance
from ..engine import ModuleError, text_to_binary
from ..errors import DecodeError, Err, LinkError, P3HostError, Trap
from ..types import FuncType, ResultType
from ..values import Ok
from .constants import ConstantError, same, value_of
from .core_modules import CoreModule
from .host import script_imports
from .messages import means
from .syntax import Atom, Form, Item, parse, string_bytes, string_text
from .waivers import RETURNS, Waiver, find_waiver

CALL_SECONDS = 60.0  # how long one may take
GRACE_SECONDS = 0.5

Definition = Component | CoreModule


class Unexpected(Exception):
    """A directive has another outcome than the script expects. `got` is the trap's message, or `RETURNS`, if it is an
    outcome that a waiver can allow."""

    def __init__(self, problem: str, got: str | None = None) -> None:
        super().__init__(problem)
        self.got = got


@dataclass(frozen=True)
class Outcome:
    """What came of the directive that begins in `line` (from 1). `problem` is None if it passed or was waived."""

    line: int
    directive: str
    problem: str | None = None
    waiver: Waiver | None = None


@dataclass(frozen=True)
class Running:
    """An instance of a component, or of a core module, whose functions have other names in the component."""

    instance: Instance
    definition: Definition

    def function(self, name: str) -> ExportedFunction:
        if isinstance(self.definition, CoreModule):
            name = self.definition.names.get(name, name)
        exports = self.instance.exports
        if name in exports:
            function: object = exports[name]
            if isinstance(function, ExportedFunction):
                return function
        raise Unexpected(f"the instance exports no function {name!r} that can be invoked")


async def run_script(source: bytes, path: str = "") -> list[Outcome]:
    """Runs a script, and returns what came of its directives, in order of lines. The absolute path of its file, if it
    has one, is what waivers know it by.
    """
    try:
        text = source.decode()
    except UnicodeDecodeError as error:
        return [Outcome(1, "script", f"a script must be UTF-8: {error.reason} at byte {error.start}")]
    try:
        directives = parse(text)
    except DecodeError as error:
        return [Outcome(line_of(text, error.offset), "script", error.message)]
    return await Script(text, "/".join(PurePath(path).parts[-2:])).run(directives)


def line_of(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


class Script:
    """The state of a script while it runs. `name` is what waivers know it by."""

    def __init__(self, text: str, name: str = "") -> None:
        self.text = text
        self.name = name
        self.imports = script_imports()
        self.definitions: dict[str, Definition] = {}
        self.instances: dict[str, Running] = {}
        self.last_definition: Definition | None = None
        self.current: Running | None = None
        self.threads: dict[str, anyio.Event] = {}
        self.outcomes: list[Outcome] = []

    async def run(self, directives: Sequence[Form]) -> list[Outcome]:
        """Runs all directives; one that fails doesn't end the script. Returns their outcomes in order of lines."""
        async with anyio.create_task_group() as threads, AsyncExitStack() as opened:
            self.host_tasks = threads
            self.opened = opened
            for directive in directives:
                await self.run_directive(directive)
        return sorted(self.outcomes, key=lambda outcome: outcome.line)

    async def run_directive(self, directive: Form) -> None:
        line = line_of(self.text, directive.start)
        keyword = directive.keyword or "directive"
        problem, got = None, None
        try:
            await self.perform(keyword, directive)
        except Unexpected as unexpected:
            problem, got = str(unexpected), unexpected.got
        except TimeoutError:
            problem = f"took longer than {CALL_SECONDS:g} s"
        except Trap as trap:
            problem, got = f"trapped: {trap}", trap.message
        except DecodeError as error:
            problem = error.message
        except (P3HostError, ConstantError, TypeError) as error:
            problem = str(error)
        except (LookupError, ValueError) as error:
            problem = f"the directive is malformed: {error}"
        except Exception as error:  # a bug: the other directives have their outcome all the same
            problem = f"p3host failed with {error!r}"
        waiver = None
        if problem is not None:
            waiver = find_waiver(self.name, self.text[directive.start : directive.end], got)
        self.outcomes.append(Outcome(line, keyword, None if waiver else problem, waiver))

    async def perform(self, keyword: str, directive: Form) -> None:
        args = directive.items[1:]
        match keyword:
            case "component" | "module":
                await self.define_or_instantiate(directive)
            case "register":
                running = self.named_instance(args[1] if len(args) > 1 else None)
                self.imports[string_text(args[0])] = running.instance.exports
            case "invoke":
                await self.invoke(directive)
            case "assert_return":
                await self.assert_return(form(args[0]), args[1:])
            case "assert_trap" | "assert_exhaustion":
                await self.assert_trap(form(args[0]), string_text(args[1]))
            case "assert_invalid" | "assert_malformed":
                self.assert_refused(form(args[0]))
            case "assert_unlinkable":
                await self.assert_unlinkable(form(args[0]))
            case "thread":
                self.start_thread(directive)
            case "wait":
                await self.thread(args[0]).wait()
            case _:
                raise Unexpected("unknown directive")

    # Definitions and instances

    async def define_or_instantiate(self, directive: Form) -> None:
        kind, names = kind_and_names(directive)
        if kind == "definition":
            self.last_definition = self.load(directive)
            self.definitions.update((name, self.last_definition) for name in names)
            return
        self.current = None
        if kind == "instance":
            definition = self.definitions.get(names[1]) if len(names) > 1 else self.last_definition
            if definition is None:
                raise Unexpected(f"there is no definition {names[1] if len(names) > 1 else ''}".rstrip())
        else:
            definition = self.load(directive)
        self.current = await self.instantiate(definition)
        for name in names[:1]:
            self.instances[name] = self.current
            self.imports[name.removeprefix("$")] = self.current.instance.exports

    def load(self, directive: Form) -> Definition:
        """:raises DecodeError: if the definition is invalid, or its text is malformed."""
        binary = self.binary(directive)
        if directive.keyword == "component":
            return Component(binary)
        try:
            return CoreModule(binary)
        except ModuleError as error:
            raise DecodeError(error.message, 0) from error

    def binary(self, directive: Form) -> bytes:
        sort = directive.keyword
        first = next((item for item in directive.items[1:] if not is_modifier(item)), None)
        if isinstance(first, Atom) and first.text in ("binary", "quote"):
            pieces = [string_bytes(item) for item in directive.items[directive.items.index(first) + 1 :]]
            if first.text == "binary":
                return b"".join(pieces)
            try:
                text = b"\n".join(pieces).decode()
            except UnicodeDecodeError as error:
                raise DecodeError(f"malformed UTF-8: {error.reason}", error.start) from None
            return text_to_binary(f"({sort} {text})")
        text = self.text[directive.start : directive.end]
        for item in directive.items[1:2]:
            if isinstance(item, Atom) and item.text == "definition":
                text = f"({sort}{self.text[item.end : directive.end]}"
        return text_to_binary(text)

    async def instantiate(self, definition: Definition) -> Running:
        if isinstance(definition, CoreModule):
            component, imports = definition.component, definition.imports
        else:
            component, imports = definition, self.imports
        instance = component.instantiate(imports, grace_seconds=GRACE_SECONDS, detect_deadlock=True)
        await self.opened.enter_async_context(instance)
        instance.run_within_calls_only()
        return Running(instance, definition)

    def named_instance(self, item: Item | None) -> Running:
        if item is None:
            if self.current is None:
                raise Unexpected("there is no current instance")
            return self.current
        name = name_of(item)
        if name not in self.instances:
            raise Unexpected(f"there is no instance {name}")
        return self.instances[name]

    # Invocations

    async def invoke(self, action: Form) -> tuple[FuncType, Any]:
        """The type of the function, and its result; a `result` as Ok or Err."""
        if action.keyword != "invoke":
            raise Unexpected(f"expected an invocation, found ({action.keyword})")
        args = action.items[1:]
        has_name = bool(args) and isinstance(args[0], Atom) and args[0].is_name
        running = self.named_instance(args[0] if has_name else None)
        name, *constants = args[1:] if has_name else args
        function = running.function(string_text(name))
        types = function.type.param_types
        if len(constants) != len(types):
            raise Unexpected(f"{function.name!r} takes {len(types)} arguments, given {len(constants)}")
        values = [value_of(item, t) for item, t in zip(constants, types, strict=True)]
        try:
            with anyio.fail_after(CALL_SECONDS):
                result = await function(*values)
        except Err as error:
            result = error
        else:
            if isinstance(function.type.result, ResultType):
                result = Ok(result)
        return function.type, result

    # Assertions

    async def assert_return(self, action: Form, expected: Sequence[Item]) -> None:
        t, result = await self.invoke(action)
        if t.result is None or not expected:
            if expected:
                raise Unexpected("expected a result, and the function has none", RETURNS)
            if result is not None and result != Ok():
                raise Unexpected(f"returned {result!r}, and nothing was expected", RETURNS)
            return
        value = value_of(expected[0], t.result)
        if not same(result, value):
            raise Unexpected(f"returned {result!r}, expected {value!r}", RETURNS)

    async def assert_trap(self, action: Form, expected: str) -> None:
        try:
            if action.keyword == "invoke":
                await self.invoke(action)
            else:
                await self.instantiate(self.load(action))
        except Trap as trap:
            if not means(trap.message, expected):
                raise Unexpected(f"trapped with {trap.message!r}, expected {expected!r}", trap.message) from None
        else:
            raise Unexpected(f"did not trap, expected {expected!r}", RETURNS)

    def assert_refused(self, definition: Form) -> None:
        try:
            self.load(definition)
        except DecodeError:
            return
        raise Unexpected("was accepted")

    async def assert_unlinkable(self, definition: Form) -> None:
        try:
            await self.instantiate(self.load(definition))
        except LinkError:
            return
        raise Unexpected("was linked")

    # Threads of the script: each is a script of its own, run at the same time

    def start_thread(self, directive: Form) -> None:
        thread_name, *directives = directive.items[1:]
        ended = self.threads[name_of(thread_name)] = anyio.Event()
        script = Script(self.text, self.name)
        script.outcomes = self.outcomes
        forms = [form(item) for item in directives]
        for shared in forms:
            if shared.keyword == "shared":
                name = form(shared.items[1]).items[1]
                script.instances[name_of(name)] = self.named_instance(name)

        async def run() -> None:
            await script.run([directive for directive in forms if directive.keyword != "shared"])
            ended.set()

        self.host_tasks.start_soon(run)

    def thread(self, item: Item) -> anyio.Event:
        name = name_of(item)
        if name not in self.threads:
            raise Unexpected(f"there is no thread {name}")
        return self.threads[name]


def form(item: Item) -> Form:
    if isinstance(item, Atom):
        raise Unexpected(f"expected a form in parentheses, found {item.text}")
    return item


def name_of(item: Item) -> str:
    if isinstance(item, Form) or not item.is_name:
        raise Unexpected("expected a name, as $name")
    return item.text


def is_modifier(item: Item) -> bool:
    return isinstance(item, Atom) and (item.is_name or item.text in ("definition", "instance"))


def kind_and_names(directive: Form) -> tuple[str, list[str]]:
    """Whether a `component` or `module` directive is a definition, an instance or both (the empty string), and the
    names that it gives and uses."""
    modifiers: list[str] = []
    for item in directive.items[1:]:
        if not isinstance(item, Atom) or not is_modifier(item):
            break
        modifiers.append(item.text)
    kind = modifiers[0] if modifiers and not modifiers[0].startswith("$") else ""
    return kind, [modifier for modifier in modifiers if modifier.startswith("$")]

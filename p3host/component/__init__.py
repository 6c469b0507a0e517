"""Components: loaded from a file, bytes or text, linked with Python, instantiated."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..binary.core_modules import module_type
from ..binary.decoder import decode
from ..binary.validate import validate
from ..engine import Engine, MachineLimits, Module, ModuleError, text_to_binary
from ..errors import DecodeError
from ..runtime.store import DEFAULT_MAX_ARGUMENT_BYTES, DEFAULT_MAX_HANDLES, DEFAULT_MAX_TASKS
from ..types import ComponentType, CoreFuncType, InstanceType, ModuleType
from ..wasi.background import LateBackground
from .exports import ExportedFunction, GuestResource, Interface, ResourceClass, interface_of_types
from .imports import Imports, find_imports
from .instance import DEFAULT_GRACE_SECONDS, Instance
from .linked import Linked
from .program import Program
from .program_writer import ProgramWriter
from .versions import resolve

if TYPE_CHECKING:
    from ..host.scheduling import Scheduler
    from ..wasi import Wasi

__all__ = [
    "Component",
    "ExportedFunction",
    "GuestResource",
    "Instance",
    "Interface",
    "ResourceClass",
]


class Component:
    """A component that has been decoded, validated and compiled; it can be instantiated any number of times.

    `type` is what it imports and exports.
    """

    def __init__(self, binary: bytes, *, name: str = "component", engine: Engine | None = None) -> None:
        self.name = name
        self.engine = engine or Engine.default()
        self.definition = decode(binary)
        module_types: dict[int, ModuleType] = {}

        def read_module(data: memoryview, offset: int) -> ModuleType:
            module_types[offset] = module_type(data, offset)
            return module_types[offset]

        signatures: dict[int, CoreFuncType] = {}
        self.type: ComponentType = validate(self.definition, read_module, signatures)
        self.program: Program = ProgramWriter(signatures, module_types).write(self.definition)
        try:
            self.modules: list[Module] = self.engine.compile([module.data for module in self.program.modules])
        except ModuleError as error:
            raise DecodeError(error.message, self.program.modules[error.index].offset) from error
        self.linked: dict[tuple[object, ...], Linked] = {}

    @classmethod
    def load(cls, source: str | os.PathLike[str] | bytes, *, engine: Engine | None = None) -> Component:
        """Loads a component from a path, from bytes, or from its text format (a string that starts with a paren).

        :raises DecodeError: if it is no valid component.
        :raises OSError: if the file can't be read.
        """
        if isinstance(source, bytes | bytearray | memoryview):
            return cls(bytes(source), engine=engine)
        if isinstance(source, str) and source.lstrip().startswith(("(", ";;")):
            return cls(text_to_binary(source), engine=engine)
        path = Path(source)
        data = path.read_bytes()
        if data.lstrip()[:1] in (b"(", b";"):
            try:
                data = text_to_binary(data.decode())
            except UnicodeDecodeError as error:
                raise DecodeError("the text of a component must be UTF-8", error.start) from None
        return cls(data, name=path.stem, engine=engine)

    def wit(self) -> str:
        """The component's imports and exports as a WIT world."""
        from ..binary.wit import print_wit  # few programs print it, and all would wait for its import

        return print_wit(self.type, self.name)

    def types(self, name: str | None = None) -> Interface:
        """The classes of the records, variants, enums and flags of an interface that is imported or exported, for hosts
        to make values of. Without a name, those that stand beside the interfaces.

        A compatible version, or none, will do in the name.

        :raises KeyError: if no interface of that name is imported or exported.
        """
        externs = {**self.type.exports, **self.type.imports}
        if name is None:
            return interface_of_types(self.name, externs)
        interfaces = {n: extern for n, extern in externs.items() if isinstance(extern, InstanceType)}
        found = resolve(name, interfaces)
        if found is None:
            raise KeyError(f"{self.name!r} neither imports nor exports {name!r}, but: {', '.join(interfaces)}")
        return interface_of_types(found, interfaces[found].exports)

    def instantiate(
        self,
        imports: Mapping[str, Any] | None = None,
        *,
        wasi: Wasi | None = None,
        limits: MachineLimits | None = None,
        grace_seconds: float = DEFAULT_GRACE_SECONDS,
        max_handles: int = DEFAULT_MAX_HANDLES,
        max_tasks: int = DEFAULT_MAX_TASKS,
        max_argument_bytes: int = DEFAULT_MAX_ARGUMENT_BYTES,
        scheduler: Scheduler | None = None,
        on_handle: Callable[[object], None] | None = None,
        detect_deadlock: bool = False,
    ) -> Instance:
        """An instance, to be entered with `async with`.

        `imports` gives each import by its name (see the README for what may stand there); `wasi` grants what the guest
        gets of the machine, nothing without it. `grace_seconds` is how long a cancelled call may take to end.
        `limits` bounds memories and tables, `max_handles` what each guest may keep open, `max_tasks` the calls that may
        be in progress within the instance, and those that its guests have started: beyond them a call of the host
        raises `TooManyCalls`, and a guest traps. `max_argument_bytes` bounds what the lists and strings take, about,
        that guests gave to calls of imports that are in progress: beyond them a guest traps.
        With `detect_deadlock`, a call that can never return raises `Deadlock` instead of waiting forever. A `scheduler`
        decides the order of what happens, and `on_handle` is told of each entry of a handle table: both are for tests,
        see `p3host.testing`.

        :raises LinkError: with all imports that are missing or wrong.
        """
        background = LateBackground()
        provided: Mapping[str, object] = {} if wasi is None else wasi.interfaces(self.program.imports, background)
        found = find_imports(self.program, imports or {}, provided)
        return Instance(
            self,
            self.link(found, scheduler is not None),
            found,
            limits=limits,
            grace_seconds=grace_seconds,
            max_handles=max_handles,
            max_tasks=max_tasks,
            max_argument_bytes=max_argument_bytes,
            scheduler=scheduler,
            on_handle=on_handle,
            detect_deadlock=detect_deadlock,
            background=background,
        )

    def link(self, imports: Imports, may_delay: bool = False) -> Linked:
        """What is common to all instances whose imports may wait in the same places. With `may_delay`, each function of
        an async type may."""
        hosts = {
            index: isinstance(target, ExportedFunction) or target.may_wait or (may_delay and target.type.is_async)
            for index, target in imports.functions.items()
        }
        key = (*hosts.values(), *imports.modules)
        linked = self.linked.get(key)
        if linked is None:
            linked = self.linked[key] = Linked(self.program, self.modules, imports.modules, hosts)
        return linked

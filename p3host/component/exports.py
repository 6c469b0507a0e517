"""What an instance exports, as Python objects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ..binary.names import parse_extern_name
from ..errors import Err
from ..host.calls import PENDING, HostCall, RunningCall
from ..host.driver import HostTask
from ..runtime.resource import Resource, RuntimeResource
from ..types import (
    ExternType,
    FuncType,
    FutureType,
    ListType,
    MapType,
    NamedType,
    OptionType,
    OwnType,
    RecordType,
    ResultType,
    StreamType,
    TupleType,
    TypeExtern,
    ValType,
    VariantType,
    contains,
)
from ..values import Ok, Some, class_name, python_name, value_class
from .versions import resolve

if TYPE_CHECKING:
    from ..host.driver import Driver

GIVEN_AWAY = (OwnType, StreamType, FutureType)
"""What a guest gives up with a value that it returns."""


class ExportedFunction:
    """A component function, called with Python values and awaited. Any number of calls can be awaited at once.

    A `result` is returned or, for its error case, raised as `Err`. Cancelling the scope around the call cancels the
    guest's task.

    :raises TypeError: if the arguments don't fit the function's type.
    :raises Trap: if the guest trapped, in this call or in another one meanwhile.
    """

    __slots__ = ("detect_deadlock", "driver", "func", "index", "name", "returns_result", "type")

    def __init__(self, driver: Driver, index: int, name: str, t: FuncType, detect_deadlock: bool = False) -> None:
        self.driver = driver
        self.index = index
        self.func = driver.store.funcs[index]
        self.name = name
        self.type = t
        self.returns_result = isinstance(t.result, ResultType)
        self.detect_deadlock = detect_deadlock

    async def __call__(self, *args: Any, **named: Any) -> Any:
        if named:
            args = self.arrange(args, named)
        call = HostCall(self.driver, self.func, self.name, args)
        call.start()
        if call.outcome is PENDING:
            try:
                await call.wait(self.detect_deadlock)
            except BaseException:
                call.forget(self.give_up_result)
                raise
        value = call.result()
        if self.returns_result:
            if isinstance(value, Err):
                raise value
            assert isinstance(value, Ok)
            return value.value
        return value

    def give_up_result(self, value: Any) -> None:
        """Closes what came with a result that nobody gets, or the guest would wait for whoever has it."""
        t = self.type.result
        if t is not None and contains(t, GIVEN_AWAY) and not self.driver.closing:

            async def close() -> None:
                close_all(self.driver, t, value)

            self.driver.start_task(f"the end of a result of {self.name!r}", close)

    def begin(self, *args: Any, on_ended: Callable[[BaseException | None], None]) -> RunningCall:
        """Begins a call that goes on by itself: see `RunningCall`."""
        call = RunningCall(self.driver, self.func, self.name, args, on_ended)
        call.start()
        return call

    @property
    def background(self) -> Driver:
        """The instance, as far as it runs tasks of the host's."""
        return self.driver

    def arrange(self, args: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[Any, ...]:
        names = [python_name(label) for label, _ in self.type.params]
        rest = names[len(args) :]
        for name in named:
            if name not in rest:
                raise TypeError(f"{self.name}() got an unexpected argument {name!r}; it takes {', '.join(names)}")
        missing = [name for name in rest if name not in named]
        if missing:
            raise TypeError(f"{self.name}() misses the arguments {', '.join(missing)}")
        return args + tuple(named[name] for name in rest)

    def __repr__(self) -> str:
        return f"<exported function {self.name!r}>"


class GuestResource:
    """A resource that a guest implements. Methods are awaited. `drop`, or leaving a `with` block, ends it, and so does
    `close` where the guest has no method of that name."""

    __slots__ = ("handle", "resource_class")

    def __init__(self, resource_class: ResourceClass, handle: Resource) -> None:
        self.resource_class = resource_class
        self.handle = handle

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = self.resource_class.methods.get(name)
        if method is None:
            if name == "close":
                return self.drop
            raise AttributeError(f"the resource {self.resource_class.name!r} has no method {name!r}")
        return partial(method, self)

    def drop(self) -> None:
        """Gives the resource up. Does nothing for one that was given up before or is borrowed.

        :raises ValueError: while a call borrows it.
        """
        handle = self.handle
        if handle.own and handle.alive:
            if handle.num_lends:
                raise ValueError(f"{self!r} can't be dropped: it is lent to a call that has not ended")
            handle.alive = False
            self.resource_class.drop(handle.rep)

    def __enter__(self) -> GuestResource:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.drop()

    def __repr__(self) -> str:
        return repr(self.handle)


class ResourceClass:
    """A resource type that a guest exports: awaited like a call, it is its constructor; its static functions are
    attributes."""

    def __init__(self, name: str, driver: Driver, resource: RuntimeResource) -> None:
        self.name = name
        self.driver = driver
        self.resource = resource
        self.constructor: ExportedFunction | None = None
        self.methods: dict[str, ExportedFunction] = {}
        self.statics: dict[str, ExportedFunction] = {}

    async def __call__(self, *args: Any, **named: Any) -> Any:
        if self.constructor is None:
            raise TypeError(f"the resource {self.name!r} has no constructor")
        return await self.constructor(*args, **named)

    def __getattr__(self, name: str) -> ExportedFunction:
        function = self.__dict__.get("statics", {}).get(name)
        if function is None:
            raise AttributeError(f"the resource {self.name!r} has no static function {name!r}")
        assert isinstance(function, ExportedFunction)
        return function

    def drop(self, rep: int) -> None:
        if self.resource.destructor is not None and not self.driver.closing and self.driver.store.trap is None:
            HostCall(self.driver, self.resource.destructor, f"the destructor of {self.name}", (rep,)).start()


class Interface:
    """The functions, resources and types of an interface (or of the component itself), by attribute in snake_case
    (resources and types in UpperCamelCase) or by item in WIT's spelling.

    The types are the classes of records, variants, enums and flags: `Filter.Some("x")`, `ErrorCode.BUSY`.
    """

    def __init__(self, name: str) -> None:
        # All other attributes are members, whatever their names: WIT knows no leading underscore.
        self._name = name
        self._members: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        known = ", ".join(sorted(attribute for attribute in self.__dict__ if not attribute.startswith("_")))
        raise AttributeError(f"{self.__dict__.get('_name')!r} has no {name!r}; it has: {known}")

    def __getitem__(self, name: str) -> Any:
        found = resolve(name, self._members)
        if found is None:
            raise KeyError(f"{self._name!r} has no {name!r}; it has: {', '.join(self._members)}")
        return self._members[found]

    def __contains__(self, name: str) -> bool:
        return resolve(name, self._members) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __repr__(self) -> str:
        return f"<interface {self._name}: {', '.join(self._members)}>"


def interface_of_types(name: str, externs: Mapping[str, ExternType]) -> Interface:
    """The classes of the types among what is imported or exported."""
    interface = Interface(name)
    for label, extern in externs.items():
        if isinstance(extern, TypeExtern) and isinstance(extern.type, NamedType):
            add_export(interface, label, value_class(extern.type))
    return interface


def add_export(interface: Interface, name: str, value: Any) -> None:
    """Adds an export by its name in WIT."""
    members = interface._members
    members[name] = value
    if isinstance(value, ResourceClass | type):
        setattr(interface, class_name(name), value)
        return
    parts = parse_extern_name(name)
    if parts.kind == "label":
        setattr(interface, python_name(name), value)
        return
    if parts.kind == "interface":
        return
    resource_class = members.get(parts.labels[0])
    if isinstance(resource_class, ResourceClass):
        if parts.kind == "constructor":
            resource_class.constructor = value
        elif parts.kind == "method":
            resource_class.methods[python_name(parts.labels[1])] = value
        else:
            resource_class.statics[python_name(parts.labels[1])] = value


def close_all(driver: Driver, t: ValType | None, value: Any) -> None:
    """Closes all streams, futures and resources in a value of type `t` that a guest has returned."""
    match t:
        case StreamType() | FutureType():
            value.close()
        case OwnType():
            if isinstance(value, GuestResource):
                value.drop()
            else:
                close_resource(driver, value)
        case OptionType(payload=payload):
            if value is not None:
                close_all(driver, payload, value.value if isinstance(value, Some) else value)
        case ResultType():
            close_all(driver, t.ok if isinstance(value, Ok) else t.error, value.value)
        case VariantType(cases=cases):
            close_all(driver, dict(cases)[value.tag], value.value)
        case RecordType(record_fields=fields):
            for label, field_type in fields:
                close_all(driver, field_type, getattr(value, python_name(label)))
        case TupleType(types=types):
            for each_type, each in zip(types, value, strict=True):
                close_all(driver, each_type, each)
        case ListType(elem_type=elem_type) if contains(elem_type, GIVEN_AWAY):
            for each in value:
                close_all(driver, elem_type, each)
        case MapType(value_type=value_type):
            for each in value.values():
                close_all(driver, value_type, each)


def close_resource(driver: Driver, resource: Any) -> None:
    """A host's resource has no owner any more. What its `close` has to wait for is a host task's to await."""
    close = getattr(resource, "close", None)
    closing = None if close is None else close()
    if closing is not None and isinstance(closing, Awaitable):
        driver.start(HostTask(f"the end of a {type(resource).__name__}", lambda: closing, None))

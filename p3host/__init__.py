"""p3host: runs WebAssembly components with WASI 0.3 and 0.2, concurrently, on asyncio and trio.

component = p3host.Component.load("app.wasm")
async with component.instantiate({"wait": wait}, wasi=p3host.Wasi()) as instance:
    print(await instance.exports.greet("world"))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .component import Component, ExportedFunction, GuestResource, Instance, Interface, ResourceClass
    from .engine import Engine, EngineConfig, MachineLimits
    from .errors import (
        CallCancelled,
        Deadlock,
        DecodeError,
        Err,
        Exit,
        InstanceClosed,
        LinkError,
        P3HostError,
        ResponseAborted,
        StreamDropped,
        TooManyCalls,
        Trap,
    )
    from .host.streams import FutureReader, StreamReader
    from .host.tasks import TaskTree
    from .runtime.instance import ErrorContext
    from .values import Ok, Some
    from .wasi import Directory, Http, Network, Stdio, Wasi

__all__ = [
    "Component",
    "Instance",
    "Interface",
    "ExportedFunction",
    "ResourceClass",
    "GuestResource",
    "StreamReader",
    "FutureReader",
    "ErrorContext",
    "TaskTree",
    "Wasi",
    "Directory",
    "Network",
    "Http",
    "Stdio",
    "Engine",
    "EngineConfig",
    "MachineLimits",
    "Ok",
    "Some",
    "Err",
    "P3HostError",
    "DecodeError",
    "LinkError",
    "Trap",
    "Deadlock",
    "CallCancelled",
    "InstanceClosed",
    "ResponseAborted",
    "TooManyCalls",
    "StreamDropped",
    "Exit",
]

HOMES = {
    "component": ("Component", "Instance", "Interface", "ExportedFunction", "ResourceClass", "GuestResource"),
    "host.streams": ("StreamReader", "FutureReader"),
    "host.tasks": ("TaskTree",),
    "runtime.instance": ("ErrorContext",),
    "wasi": ("Wasi", "Directory", "Http", "Network", "Stdio"),
    "engine": ("Engine", "EngineConfig", "MachineLimits"),
    "values": ("Ok", "Some"),
}


def __getattr__(name: str) -> Any:
    """Loads what is asked for when it is: a program that needs one part doesn't wait for the others."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = next((home for home, names in HOMES.items() if name in names), "errors")
    value = globals()[name] = getattr(import_module(f".{home}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

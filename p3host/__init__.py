"""p3host: runs WebAssembly components with WASI 0.3 and 0.2, concurrently, on asyncio and trio.

component = p3host.Component.load("app.wasm")
async with component.instantiate({"wait": wait}, wasi=p3host.Wasi()) as instance:
    print(await instance.exports.greet("world"))
"""

from __future__ import annotations

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
    StreamDropped,
    Trap,
)
from .host.streams import FutureReader, StreamReader
from .runtime.instance import ErrorContext
from .values import Ok, Some
from .wasi import Directory, Stdio, Wasi

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
    "Wasi",
    "Directory",
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
    "StreamDropped",
    "Exit",
]

"""The interfaces by which components answer requests: those of each version of `wasi:http`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from ..component import Component, Interface
from ..component.versions import resolve
from ..errors import LinkError
from ..wasi.http import HttpRequest, HttpResponse, handle

Handler: TypeAlias = Callable[[HttpRequest], AbstractAsyncContextManager[HttpResponse]]
P3 = "wasi:http/handler@0.3"


@dataclass(frozen=True)
class Protocol:
    """`handler` makes of what an instance exports the function that has it answer a request, as
    `p3host.wasi.http.handle` does. `concurrent` says that an instance may have several requests at the same time."""

    interface: str
    handler: Callable[[Interface], Handler]
    concurrent: bool


PROTOCOLS = (Protocol(P3, lambda exports: partial(handle, exports[P3]), concurrent=True),)
"""The preferred one first."""


def protocol_of(component: Component) -> Protocol:
    """
    :raises LinkError: the component exports no interface by which it could be asked
    """
    for protocol in PROTOCOLS:
        if resolve(protocol.interface, component.type.exports) is not None:
            return protocol
    wanted = " or ".join(protocol.interface for protocol in PROTOCOLS)
    exports = ", ".join(component.type.exports) or "nothing"
    raise LinkError([f"it serves no HTTP: it exports no {wanted}, but {exports}"])

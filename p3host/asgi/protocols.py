"""The interfaces by which components answer requests: those of each version of `wasi:http`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from ..component import Component, Interface
from ..component.versions import resolve
from ..errors import LinkError
from ..wasi.http import HttpRequest, HttpResponse, handle


@dataclass(frozen=True)
class Protocol:
    """`answer` has the exports of an instance answer a request: see `p3host.wasi.http.handle`. `concurrent` says that
    an instance may have several requests at the same time."""

    interface: str
    answer: Callable[[Interface, HttpRequest], AbstractAsyncContextManager[HttpResponse]]
    concurrent: bool


def answer_p3(exports: Interface, request: HttpRequest) -> AbstractAsyncContextManager[HttpResponse]:
    return handle(exports["wasi:http/handler@0.3"], request)


PROTOCOLS = (Protocol("wasi:http/handler@0.3", answer_p3, concurrent=True),)
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

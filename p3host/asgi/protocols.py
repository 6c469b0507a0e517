"""The interfaces by which components answer requests: those of each version of `wasi:http`."""

from __future__ import annotations

from dataclasses import dataclass

from ..component import Component
from ..component.versions import resolve
from ..errors import LinkError


@dataclass(frozen=True)
class Protocol:
    """What `p3host.wasi.http.handle` is given of an instance's exports, and whether an instance may have several
    requests at the same time."""

    interface: str
    concurrent: bool


PROTOCOLS = (
    Protocol("wasi:http/handler@0.3", concurrent=True),
    Protocol("wasi:http/incoming-handler@0.2", concurrent=False),
)
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

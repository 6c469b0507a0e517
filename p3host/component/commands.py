"""Commands: components that export `wasi:cli/run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import LinkError
from .exports import ExportedFunction, Interface
from .versions import resolve

if TYPE_CHECKING:
    from . import Component
    from .instance import Instance

RUN_INTERFACES = ("wasi:cli/run@0.3", "wasi:cli/run@0.2")
"""The preferred one first."""


def run_interface(component: Component) -> str:
    """The name of the interface by which a command is run.

    :raises LinkError: if it is no command.
    """
    exports = component.type.exports
    for wanted in RUN_INTERFACES:
        name = resolve(wanted, exports)
        if name is not None:
            return name
    raise LinkError(
        [f"it is no command: it exports no wasi:cli/run of WASI 0.3 or 0.2, but {', '.join(exports) or 'nothing'}"]
    )


def run_function(instance: Instance) -> ExportedFunction:
    """The function `run` of a command.

    :raises LinkError: if it is no command.
    """
    name = run_interface(instance.component)
    interface = instance.exports[name]
    function = interface["run"] if isinstance(interface, Interface) and "run" in interface else None
    if not isinstance(function, ExportedFunction) or function.type.params:
        raise LinkError([f"{name}: it has no function run() as commands have"])
    return function

"""Every exception p3host raises. A caller can catch `P3HostError`, or the kind that says whose fault it was."""

from __future__ import annotations

from typing import Any


class P3HostError(Exception):
    """The base of all of p3host's own errors."""


class DecodeError(P3HostError):
    """A file is no valid component.

    `offset` is the position in bytes, from the start of the file, at which something else was expected.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message, offset)
        self.message = message
        self.offset = offset

    def __str__(self) -> str:
        return f"{self.message} (at offset {self.offset:#x})"


class LinkError(P3HostError):
    """A component can't be linked with what it was given. `problems` names each thing that is missing or wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


class Trap(P3HostError):
    """A guest broke a rule and can't go on: its component instance is poisoned, every later call of it traps too.

    `backtrace` is the wasm backtrace, innermost frame first, or the empty string where there is none. Where a host
    function raised, its exception is the cause (`__cause__`).
    """

    def __init__(self, message: str, backtrace: str = "") -> None:
        super().__init__(message, backtrace)
        self.message = message
        self.backtrace = backtrace

    def __str__(self) -> str:
        return f"{self.message}\n{self.backtrace}" if self.backtrace else self.message


class Deadlock(Trap):
    """Nothing can ever happen again in a store although a call waits; the message says which task waits for what."""


class CallCancelled(P3HostError):
    """The guest's task acknowledged a cancellation that no host scope asked for."""


class InstanceClosed(P3HostError):
    """The instance was used outside its `async with` block."""


class TooManyCalls(P3HostError):
    """As many calls as `max_tasks` allows are in progress in the instance. This one was refused, and has changed
    nothing."""


class StreamDropped(P3HostError):
    """The other end of a stream or future is gone, so the operation can't be completed."""


class ResponseAborted(P3HostError):
    """A response can't be finished although its head has been sent. An ASGI application raises it to have the server
    break the connection, so that the client doesn't take what it has for the whole."""


class Exit(P3HostError):
    """A guest left through `wasi:cli/exit`; `status` is its exit status, 0 to 255."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status

    def __str__(self) -> str:
        return f"the guest exited with status {self.status}"


class Err(P3HostError):
    """The error case of a WIT `result`: raised where a `result` is returned, a value where it is nested.

    `value` has the Python shape of the error's type, and is None where the result carries no error value.
    """

    def __init__(self, value: Any = None) -> None:
        super().__init__(value)
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Err) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash((Err, self.value))

    def __repr__(self) -> str:
        return f"Err({self.value!r})"


def trap_if(condition: object, message: str) -> None:
    """The specification's `trap_if`: raises `Trap` when the guest broke the rule that `message` names."""
    if condition:
        raise Trap(message)

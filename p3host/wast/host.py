"""The imports that scripts may use, the same as with wasmtime's script runner."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel

from ..engine import Engine, text_to_binary

SIMPLE_MODULE = '(module (global (export "g") i32 (i32.const 100)) (func (export "f") (result i32) (i32.const 101)))'


async def echo(value: int) -> int:
    return value


async def echo_slowly(value: int) -> int:
    await anyio.lowlevel.checkpoint()
    return value


async def return_two_slowly() -> int:
    return await echo_slowly(2)


async def never_return() -> None:
    await anyio.sleep_forever()


def script_imports() -> dict[str, Any]:
    """The imports of one script, by name. Its components share one count of dropped resources."""
    dropped: list[int] = []

    class Resource1:
        def __init__(self, rep: int) -> None:
            self.rep = rep

        @staticmethod
        def assert_(resource: Resource1, rep: int) -> None:
            check_rep(resource, rep)

        @staticmethod
        def last_drop() -> int:
            return dropped[-1] if dropped else 0

        @staticmethod
        def drops() -> int:
            return len(dropped)

        def simple(self, rep: int) -> None:
            check_rep(self, rep)

        def take_borrow(self, other: Resource1) -> None:
            check_resource(other)

        def take_own(self, other: Resource1) -> None:
            check_resource(other)

        async def never_return(self) -> None:
            await never_return()

        def close(self) -> None:
            dropped.append(self.rep)

    class Resource2:
        pass

    def check_resource(resource: object) -> None:
        if not isinstance(resource, Resource1):
            raise TypeError(f"expected a resource1, got {resource!r}")

    def check_rep(resource: Resource1, rep: int) -> None:
        check_resource(resource)
        if resource.rep != rep:
            raise ValueError(f"expected the resource {rep}, got {resource.rep}")

    return {
        "host-echo-u32": echo,
        "host-return-two": lambda: 2,
        "host": {
            "return-three": lambda: 3,
            "return-hi": lambda: "hi",
            "nested": {"return-four": lambda: 4},
            "simple-module": Engine.default().compile([text_to_binary(SIMPLE_MODULE)])[0],
            "resource1": Resource1,
            "resource1-again": Resource1,
            "resource2": Resource2,
            "never-return": never_return,
            "return-two-slowly": return_two_slowly,
            "echo-slowly": echo_slowly,
        },
    }

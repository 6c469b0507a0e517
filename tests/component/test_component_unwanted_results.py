"""Results that come when nobody waits for them any more: the streams, futures and resources in them are closed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from guest_text import let_others_run

from p3host import Component, Err
from p3host.component.exports import close_all
from p3host.types import (
    FutureType,
    ListType,
    MapType,
    OptionType,
    OwnType,
    PrimitiveType,
    RecordType,
    ResourceType,
    ResultType,
    StreamType,
    TupleType,
    ValType,
    VariantType,
)
from p3host.values import Ok, Some, record_class, variant_classes

GUESTS = Path(__file__).parents[2] / "guests"
U32, STREAM = PrimitiveType.U32, StreamType(PrimitiveType.U8)
OWN = OwnType(ResourceType("r"))
RECORD = RecordType((("a", U32), ("from", STREAM)))
VARIANT = VariantType((("none", None), ("number", U32), ("data", STREAM)))


class Closable:
    closed = 0

    def close(self) -> None:
        self.closed += 1


VALUES: list[tuple[ValType, Callable[[Closable], Any]]] = [
    (STREAM, lambda it: it),
    (FutureType(U32), lambda it: it),
    (OWN, lambda it: it),
    (OptionType(OWN), lambda it: it),
    (OptionType(OptionType(OWN)), Some),
    (ResultType(STREAM, U32), Ok),
    (ResultType(None, OWN), Err),
    (ResultType(RECORD, None), lambda it: Ok(record_class(RECORD)(1, it))),  # type: ignore[call-arg]
    (VARIANT, lambda it: variant_classes(VARIANT)[1][2](it)),  # type: ignore[call-arg]
    (TupleType((U32, STREAM)), lambda it: (1, it)),
    (ListType(TupleType((OWN,))), lambda it: [(Closable(),), (it,)]),
    (MapType(U32, OWN), lambda it: {1: it}),
]


@pytest.mark.parametrize(("t", "wrap"), VALUES)
def test_what_a_value_carries_is_closed(t: ValType, wrap: Callable[[Closable], Any]) -> None:
    it = Closable()
    close_all(cast(Any, None), t, wrap(it))
    assert it.closed == 1


@pytest.mark.parametrize(
    ("t", "value"),
    [
        (OptionType(OWN), None),
        (OptionType(OptionType(OWN)), Some(None)),
        (ResultType(OWN, None), Err()),
        (ResultType(None, OWN), Ok(None)),
        (VARIANT, variant_classes(VARIANT)[1][0]()),
        (VARIANT, variant_classes(VARIANT)[1][1](5)),  # type: ignore[call-arg]
        (ListType(PrimitiveType.U8), b"bytes"),
        (ListType(OWN), []),
    ],
)
def test_a_value_may_carry_nothing(t: ValType, value: Any) -> None:
    close_all(cast(Any, None), t, value)


@pytest.mark.anyio
@pytest.mark.parametrize("grace_seconds", [0, 10])
async def test_a_future_that_is_returned_to_a_cancelled_call_is_closed(grace_seconds: float) -> None:
    """The guest is told of no cancellation, as it is blocked. Its call ends in the grace period or after it."""
    answer = anyio.Event()

    class Host:
        @staticmethod
        async def work(tag: str, ms: int) -> str:
            await answer.wait()
            return tag

    imports = {"p3host:c-back/host@0.1.0": Host}
    component = Component.load(GUESTS / "c-pair/c-pair.wasm")
    async with (
        component.instantiate(imports, grace_seconds=grace_seconds) as instance,
        anyio.create_task_group() as calls,
    ):
        front = instance.exports["p3host:c-front/guest"]
        for _ in range(8):  # as many as the back lets in at once
            calls.start_soon(front.ask, "tag", 1)
        await let_others_run()
        async with anyio.create_task_group() as cancelled:
            cancelled.start_soon(front.quadruple, Five())
            await let_others_run()
            cancelled.cancel_scope.cancel()
            if grace_seconds:
                answer.set()
        answer.set()
        with anyio.fail_after(20):
            while instance.driver.store.threads:
                await let_others_run()
        assert not [end for end in instance.driver.host_ends if end.shared is not None]


class Five:
    """An awaitable that may be left alone."""

    def __await__(self) -> Any:
        yield from let_others_run().__await__()
        return 5

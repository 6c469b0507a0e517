from __future__ import annotations

import pytest
import wasmtime
from component_bytes import only, vec

from p3host.binary.decoder import decode
from p3host.binary.definitions import CanonBuiltin, CanonKind, CanonOptions, Lift, Lower
from p3host.errors import DecodeError
from p3host.types import PrimitiveType

U32 = PrimitiveType.U32
ASYNC = CanonOptions(is_async=True, present=("async",))


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        (b"\0\0\3\0\4", Lift(3, CanonOptions(), 4)),
        (b"\0\0\3" + vec(b"\6", b"\7\5", b"\3\1") + b"\4",
         Lift(3, CanonOptions(is_async=True, callback=5, memory=1, present=("async", "callback", "memory")), 4)),
        (b"\0\0\3" + vec(b"\0", b"\4\2", b"\5\6") + b"\4",
         Lift(3, CanonOptions("utf8", realloc=2, post_return=6, present=("string-encoding", "realloc", "post-return")),
              4)),
        (b"\1\0\3" + vec(b"\1"), Lower(3, CanonOptions("utf16", present=("string-encoding",)))),
        (b"\1\0\3" + vec(b"\2", b"\1"),
         Lower(3, CanonOptions("utf16", present=("string-encoding", "string-encoding")))),
        (b"\1\0\3" + vec(b"\2"), Lower(3, CanonOptions("latin1+utf16", present=("string-encoding",)))),
    ],
)  # fmt: skip
def test_lift_and_lower(encoded: bytes, expected: object) -> None:
    assert only(8, encoded) == expected


BUILTINS = [
    (b"\x02\5", CanonBuiltin(CanonKind.RESOURCE_NEW, type_index=5)),
    (b"\x03\5", CanonBuiltin(CanonKind.RESOURCE_DROP, type_index=5)),
    (b"\x04\5", CanonBuiltin(CanonKind.RESOURCE_REP, type_index=5)),
    (b"\x05", CanonBuiltin(CanonKind.TASK_CANCEL)),
    (b"\x06\0", CanonBuiltin(CanonKind.SUBTASK_CANCEL)),
    (b"\x06\1", CanonBuiltin(CanonKind.SUBTASK_CANCEL, is_async=True)),
    (b"\x09\1\0\0", CanonBuiltin(CanonKind.TASK_RETURN)),
    (b"\x09\0\x79\1\6", CanonBuiltin(CanonKind.TASK_RETURN, result=U32, options=ASYNC)),
    (b"\x0a\x7f\1", CanonBuiltin(CanonKind.CONTEXT_GET, core_type="i32", immediate=1)),
    (b"\x0b\x7e\0", CanonBuiltin(CanonKind.CONTEXT_SET, core_type="i64", immediate=0)),
    (b"\x0c\0", CanonBuiltin(CanonKind.THREAD_YIELD)),
    (b"\x0c\1", CanonBuiltin(CanonKind.THREAD_YIELD, cancellable=True)),
    (b"\x0d", CanonBuiltin(CanonKind.SUBTASK_DROP)),
    (b"\x0e\5", CanonBuiltin(CanonKind.STREAM_NEW, type_index=5)),
    (b"\x0f\5\1\6", CanonBuiltin(CanonKind.STREAM_READ, type_index=5, options=ASYNC)),
    (b"\x10\5\1\6", CanonBuiltin(CanonKind.STREAM_WRITE, type_index=5, options=ASYNC)),
    (b"\x11\5\0", CanonBuiltin(CanonKind.STREAM_CANCEL_READ, type_index=5)),
    (b"\x12\5\1", CanonBuiltin(CanonKind.STREAM_CANCEL_WRITE, type_index=5, is_async=True)),
    (b"\x13\5", CanonBuiltin(CanonKind.STREAM_DROP_READABLE, type_index=5)),
    (b"\x14\5", CanonBuiltin(CanonKind.STREAM_DROP_WRITABLE, type_index=5)),
    (b"\x15\5", CanonBuiltin(CanonKind.FUTURE_NEW, type_index=5)),
    (b"\x16\5\1\6", CanonBuiltin(CanonKind.FUTURE_READ, type_index=5, options=ASYNC)),
    (b"\x17\5\1\6", CanonBuiltin(CanonKind.FUTURE_WRITE, type_index=5, options=ASYNC)),
    (b"\x18\5\1", CanonBuiltin(CanonKind.FUTURE_CANCEL_READ, type_index=5, is_async=True)),
    (b"\x19\5\0", CanonBuiltin(CanonKind.FUTURE_CANCEL_WRITE, type_index=5)),
    (b"\x1a\5", CanonBuiltin(CanonKind.FUTURE_DROP_READABLE, type_index=5)),
    (b"\x1b\5", CanonBuiltin(CanonKind.FUTURE_DROP_WRITABLE, type_index=5)),
    (b"\x1c\1\6", CanonBuiltin(CanonKind.ERROR_CONTEXT_NEW, options=ASYNC)),
    (b"\x1d\0", CanonBuiltin(CanonKind.ERROR_CONTEXT_DEBUG_MESSAGE)),
    (b"\x1e", CanonBuiltin(CanonKind.ERROR_CONTEXT_DROP)),
    (b"\x1f", CanonBuiltin(CanonKind.WAITABLE_SET_NEW)),
    (b"\x20\0\3", CanonBuiltin(CanonKind.WAITABLE_SET_WAIT, memory=3)),
    (b"\x21\1\3", CanonBuiltin(CanonKind.WAITABLE_SET_POLL, cancellable=True, memory=3)),
    (b"\x22", CanonBuiltin(CanonKind.WAITABLE_SET_DROP)),
    (b"\x23", CanonBuiltin(CanonKind.WAITABLE_JOIN)),
    (b"\x24", CanonBuiltin(CanonKind.BACKPRESSURE_INC)),
    (b"\x25", CanonBuiltin(CanonKind.BACKPRESSURE_DEC)),
    (b"\x26", CanonBuiltin(CanonKind.THREAD_INDEX)),
    (b"\x27\5\3", CanonBuiltin(CanonKind.THREAD_NEW_INDIRECT, type_index=5, immediate=3)),
    (b"\x28", CanonBuiltin(CanonKind.THREAD_RESUME_LATER)),
    (b"\x29\1", CanonBuiltin(CanonKind.THREAD_SUSPEND, cancellable=True)),
    (b"\x2a\0", CanonBuiltin(CanonKind.THREAD_SUSPEND_THEN_RESUME)),
    (b"\x2b\0", CanonBuiltin(CanonKind.THREAD_YIELD_THEN_RESUME)),
    (b"\x2c\0", CanonBuiltin(CanonKind.THREAD_SUSPEND_THEN_PROMOTE)),
    (b"\x2d\1", CanonBuiltin(CanonKind.THREAD_YIELD_THEN_PROMOTE, cancellable=True)),
    (b"\x40\1\5", CanonBuiltin(CanonKind.THREAD_SPAWN_REF, shared=True, type_index=5)),
    (b"\x41\0\5\3", CanonBuiltin(CanonKind.THREAD_SPAWN_INDIRECT, type_index=5, immediate=3)),
    (b"\x42\1", CanonBuiltin(CanonKind.THREAD_AVAILABLE_PARALLELISM, shared=True)),
]


@pytest.mark.parametrize(("encoded", "expected"), BUILTINS)
def test_canonical_builtin(encoded: bytes, expected: CanonBuiltin) -> None:
    assert only(8, encoded) == expected


def test_every_canonical_builtin_has_a_case() -> None:
    assert {expected.kind for _, expected in BUILTINS} == set(CanonKind)


@pytest.mark.parametrize(
    ("encoded", "message"),
    [(bytes([opcode]), "opcode of a canonical definition") for opcode in (0x07, 0x08, 0x2E, 0x3F, 0x43, 0xFF)]
    + [
        (b"\0\1\0\0\0", "canon lift"),
        (b"\1\1\0\0", "canon lower"),
        (b"\1\0\0\1\x08", "canonical option"),
        (b"\1\0\0\1\x0a", "canonical option"),
        (b"\x0c\2", "0x00 or 0x01 for cancellable"),
        (b"\x20\2\0", "0x00 or 0x01 for cancellable"),
        (b"\x06\2", "0x00 or 0x01 for async"),
        (b"\x42\2", "0x00 or 0x01 for shared"),
        (b"\1\0\0\x11" + b"\0" * 17, "supported"),
    ],
)
def test_malformed_canonical_definition(encoded: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        only(8, encoded)


def test_text_with_every_async_builtin_is_decoded() -> None:
    text = """(component
      (canon task.cancel (core func)) (canon backpressure.inc (core func)) (canon waitable.join (core func))
      (canon context.get i32 0 (core func)) (canon thread.yield (core func)) (canon subtask.cancel async (core func))
    )"""
    kinds = [d.kind for d in decode(wasmtime.wat2wasm(text)).definitions if isinstance(d, CanonBuiltin)]
    assert kinds == [
        CanonKind.TASK_CANCEL,
        CanonKind.BACKPRESSURE_INC,
        CanonKind.WAITABLE_JOIN,
        CanonKind.CONTEXT_GET,
        CanonKind.THREAD_YIELD,
        CanonKind.SUBTASK_CANCEL,
    ]

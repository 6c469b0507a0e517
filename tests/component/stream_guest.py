"""A guest whose exports are the built-ins of `stream<u8>` and `future<u8>`, for tests that play its code.

`write` writes the bytes that it is given; `read` reads into a new buffer, of which `bytes-read` gives the first part.
`event` joins an end to a set and polls that; it gives the code, the index and the payload. `hold` calls the import
`gate`, which holds the guest's store until it has answered.
"""

from __future__ import annotations

from guest_text import MEMORY, component_text, load, sync_export

from p3host import Component

BLOCKED = 0xFFFF_FFFF
COMPLETED, DROPPED, CANCELLED = range(3)

COPY = "(param i32 i32 i32) (result i32)"
COPY_ONE = "(param i32 i32) (result i32)"
ASYNC = "async (memory $memory)"
END = '(param "end" u32)'

GUEST = component_text(
    imports='(type $s (stream u8)) (type $f (future u8)) (import "gate" (func $gate (result u32)))',
    canons={
        "gate": ("lower (func $gate)", "(result i32)"),
        "stream-new": ("stream.new $s", "(result i64)"),
        "stream-read": (f"stream.read $s {ASYNC}", COPY),
        "stream-write": (f"stream.write $s {ASYNC}", COPY),
        "stream-cancel-read": ("stream.cancel-read $s async", "(param i32) (result i32)"),
        "stream-cancel-write": ("stream.cancel-write $s async", "(param i32) (result i32)"),
        "stream-drop-readable": ("stream.drop-readable $s", "(param i32)"),
        "stream-drop-writable": ("stream.drop-writable $s", "(param i32)"),
        "future-new": ("future.new $f", "(result i64)"),
        "future-read": (f"future.read $f {ASYNC}", COPY_ONE),
        "future-write": (f"future.write $f {ASYNC}", COPY_ONE),
        "future-cancel-read": ("future.cancel-read $f async", "(param i32) (result i32)"),
        "future-cancel-write": ("future.cancel-write $f async", "(param i32) (result i32)"),
        "future-drop-readable": ("future.drop-readable $f", "(param i32)"),
        "future-drop-writable": ("future.drop-writable $f", "(param i32)"),
        "set-new": ("waitable-set.new", "(result i32)"),
        "poll": ("waitable-set.poll (memory $memory)", "(param i32 i32) (result i32)"),
        "join": ("waitable.join", "(param i32 i32)"),
    },
    code="""
      (global $set (mut i32) (i32.const 0))
      (func (export "hold") (result i32) (call $gate))
      (func (export "take-stream") (param i32) (result i32) (local.get 0))
      (func (export "give-stream") (param i32) (result i32) (local.get 0))
      (func (export "take-future") (param i32) (result i32) (local.get 0))
      (func (export "give-future") (param i32) (result i32) (local.get 0))
      (func (export "stream-new") (result i64) (call $stream-new))
      (func (export "future-new") (result i64) (call $future-new))
      (func $buffer (param $end i32) (param $count i32) (result i32) (local $at i32)
        (local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $count)))
        (i32.store offset=256 (i32.shl (local.get $end) (i32.const 2)) (local.get $at))
        (local.get $at))
      (func (export "stream-read") (param $end i32) (param $count i32) (result i32)
        (call $stream-read (local.get $end) (call $buffer (local.get $end) (local.get $count)) (local.get $count)))
      (func (export "future-read") (param $end i32) (result i32)
        (call $future-read (local.get $end) (call $buffer (local.get $end) (i32.const 1))))
      (func (export "stream-write") (param $end i32) (param $at i32) (param $count i32) (result i32)
        (call $stream-write (local.get $end) (local.get $at) (local.get $count)))
      (func (export "future-write") (param $end i32) (param $at i32) (param $count i32) (result i32)
        (call $future-write (local.get $end) (local.get $at)))
      (func (export "bytes-read") (param $end i32) (param $count i32) (result i32)
        (i32.store offset=16 (i32.const 0) (i32.load offset=256 (i32.shl (local.get $end) (i32.const 2))))
        (i32.store offset=20 (i32.const 0) (local.get $count))
        (i32.const 16))
      (func (export "stream-cancel-read") (param i32) (result i32) (call $stream-cancel-read (local.get 0)))
      (func (export "stream-cancel-write") (param i32) (result i32) (call $stream-cancel-write (local.get 0)))
      (func (export "future-cancel-read") (param i32) (result i32) (call $future-cancel-read (local.get 0)))
      (func (export "future-cancel-write") (param i32) (result i32) (call $future-cancel-write (local.get 0)))
      (func (export "stream-drop-readable") (param i32) (call $stream-drop-readable (local.get 0)))
      (func (export "stream-drop-writable") (param i32) (call $stream-drop-writable (local.get 0)))
      (func (export "future-drop-readable") (param i32) (call $future-drop-readable (local.get 0)))
      (func (export "future-drop-writable") (param i32) (call $future-drop-writable (local.get 0)))
      (func (export "event") (param $end i32) (result i32)
        (if (i32.eqz (global.get $set)) (then (global.set $set (call $set-new))))
        (call $join (local.get $end) (global.get $set))
        (i32.store (i32.const 32) (call $poll (global.get $set) (i32.const 36)))
        (call $join (local.get $end) (i32.const 0))
        (i32.const 32))""",
    exports="\n".join(
        [
            sync_export("hold", "", "u32"),
            sync_export("take-stream", '(param "s" $s)', "u32"),
            sync_export("give-stream", END, "$s"),
            sync_export("take-future", '(param "f" $f)', "u32"),
            sync_export("give-future", END, "$f"),
            sync_export("stream-new", "", "u64"),
            sync_export("future-new", "", "u64"),
            sync_export("stream-read", f'{END} (param "count" u32)', "u32"),
            sync_export("future-read", END, "u32"),
            sync_export("stream-write", f'{END} (param "bytes" (list u8))', "u32", MEMORY),
            sync_export("future-write", f'{END} (param "bytes" (list u8))', "u32", MEMORY),
            sync_export("bytes-read", f'{END} (param "count" u32)', "(list u8)", MEMORY),
            *(
                sync_export(f"{kind}-cancel-{operation}", END, "u32")
                for kind in ("stream", "future")
                for operation in ("read", "write")
            ),
            *(
                sync_export(f"{kind}-drop-{end}", END)
                for kind in ("stream", "future")
                for end in ("readable", "writable")
            ),
            sync_export("event", END, "(tuple u32 u32 u32)", MEMORY),
        ]
    ),
)

TWO_GUESTS = f"""(component
  (import "gate" (func $gate (result u32)))
  (component $Guest {GUEST.removeprefix("(component")}
  (instance $a (instantiate $Guest (with "gate" (func $gate))))
  (instance $b (instantiate $Guest (with "gate" (func $gate))))
  (export "a" (instance $a))
  (export "b" (instance $b)))"""


def stream_guest() -> Component:
    return load(GUEST)


def two_stream_guests() -> Component:
    return load(TWO_GUESTS)

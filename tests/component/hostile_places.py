"""The places where a guest runs on the side, and what each built-in does there.

In realloc and after a return nothing may leave the instance; the built-ins that have no effect outside of it may be
called. Start functions and destructors are like functions that are lifted synchronously.
"""

from __future__ import annotations

from hostile_builtins import BUILTINS, i32
from hostile_components import ACTING, call, call_with_zeros, expect, hostile_component

NO_LEAVING = ("realloc", "post-return")
LIKE_SYNC_LIFTS = ("start", "destructor")

TWO_FILES = ("lend-and-give", "lend-and-give-async", "give-and-lend", "give-twice")  # there is only one
CANNOT_BLOCK = "cannot block: "
# What good operands come to in a function that is lifted synchronously, where that is a trap
IN_SYNC_LIFT: dict[str, str] = {
    **dict.fromkeys((name for name in BUILTINS if name.startswith("return")), "not lifted as async"),
    "cancel": "not lifted as async",
    "subtask-drop": "has not yet resolved",
    "dec": "underflow",
    **dict.fromkeys(("s-read-sync", "s-write-sync", "f-read-sync", "f-write-sync", "wait-sync"), CANNOT_BLOCK),
    **dict.fromkeys(("suspend", "suspend-then-resume", "suspend-then-promote"), CANNOT_BLOCK),
    **dict.fromkeys((name for name in BUILTINS if name.startswith(("s-cancel", "f-cancel"))), "no copy to cancel"),
    "f-drop-writable": "was not written to",
    **dict.fromkeys(TWO_FILES, "handle index"),
}
# There the host's resource was not given yet.
IN_START = dict.fromkeys(("file-drop", "lend", "give-file", "borrow-file", *TWO_FILES), "unknown handle index 0$")
# These leave nothing; they are called with zeros.
STAYING: dict[str, str | None] = {
    "r-rep": "unknown handle index 0$",
    "context-get": None,
    "context-set": None,
    "inc": None,
    "dec": "underflow",
}
# What may be done where nothing may leave, with the handle that `prepare-own` made
ALLOWED = {
    "representation": expect("(call $r-rep (global.get $in))", 7),
    "context": f"{expect('(call $context-get)', 0)} {call('context-set', i32(9))} {expect('(call $context-get)', 9)}",
    "backpressure": "(call $inc) (call $inc) (call $dec) (call $dec)",
}
ACTIONS = {
    **{f"good {name}": call(name) for name in BUILTINS},
    **{f"zeros {name}": call_with_zeros(name) for name in BUILTINS},
    **ALLOWED,
}
NUMBERS = {name: number for number, name in enumerate(ACTIONS)}


def expected(place: str, builtin: str) -> str | None:
    if place in NO_LEAVING:
        return STAYING.get(builtin, r"cannot leave component instance .* from realloc or post-return")
    in_start = IN_START.get(builtin) if place == "start" else None
    return in_start or IN_SYNC_LIFT.get(builtin)


def places_text() -> str:
    """The exports of this component take a mode, which is the number of the action that they are to do on the side. Its
    start function asks the host for one."""
    actions = "\n".join(
        f"(if (i32.eq (global.get $mode) {i32(NUMBERS[name])}) (then {code}))" for name, code in ACTIONS.items()
    )
    code = f"""
      (global $mode (mut i32) (i32.const -1))
      (func $begin (global.set $mode (call $mode)) (call $act) (global.set $mode (i32.const -1)))
      (start $begin)
      (func (export "prepare-own") (param i32) (global.set $mode (local.get 0)) (global.set $in (call $r-new {i32(7)})))
      (func (export "allocate") (param i32 i32 i32 i32) (result i32) (call $act) (i32.const 8192))
      (func (export "realloc") (param i32 i32))
      (func (export "post-return") (result i32) (i64.store (i32.const 8192) (i64.const 0)) (i32.const 8192))
      (func (export "after") (param i32) (call $act))
      (func (export "destructor") (call $d-drop (call $d-new {i32(ACTING)})))"""
    exports = """
      (func (export "prepare-own") (param "mode" u32) (canon lift (core func $main "prepare-own")))
      (func (export "realloc") (param "s" string)
        (canon lift (core func $main "realloc") (memory $memory) (realloc (core func $main "allocate"))))
      (func (export "post-return") (result string)
        (canon lift (core func $main "post-return") (memory $memory) (post-return (core func $main "after"))))
      (func (export "destructor") (canon lift (core func $main "destructor")))"""
    return hostile_component([code], [exports], act=actions)

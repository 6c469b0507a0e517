"""The rows about copies: the states of the ends of streams and futures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hostile_builtins import BUFFER, BUILTINS, END, i32
from hostile_components import IN, OUT, SET, call, expect, function
from hostile_table import ENDS_OF_FUTURE, ENDS_OF_STREAM, Row, passes, traps


@dataclass(frozen=True)
class Side:
    """One end of a stream or future: how the built-ins for it and for the other end are called."""

    letter: str
    copy: str  # read or write
    mine: str
    other_copy: str
    other: str

    def name(self, operation: str) -> str:
        return f"{self.letter}-{operation}"

    @property
    def word(self) -> str:
        return "readable" if self.copy == "read" else "writable"

    @property
    def drop(self) -> str:
        return self.name(f"drop-{self.word}")

    @property
    def drop_other(self) -> str:
        return self.name(f"drop-{'writable' if self.copy == 'read' else 'readable'}")

    @property
    def shared(self) -> str:
        return "stream" if self.letter in "ste" else "future"

    @property
    def ends(self) -> tuple[str, ...]:
        return ENDS_OF_STREAM if self.shared == "stream" else ENDS_OF_FUTURE

    @property
    def other_end(self) -> str:
        return next(end for end in self.ends if not end.startswith(self.word))


SIDES = [Side(letter, *side) for letter in "sf" for side in (("read", IN, "write", OUT), ("write", OUT, "read", IN))]


def copy_rows(side: Side) -> Iterator[Row]:
    copy, sync = side.name(side.copy), side.name(f"{side.copy}-sync")
    cancel, cancel_async = side.name(f"cancel-{side.copy}"), side.name(f"cancel-{side.copy}-async")
    new, mine, ends = f"(call ${side.letter})", side.mine, side.ends
    copying = f"{new} {call(copy, mine)}"
    in_set = f"{new} (global.set $set (call $set-new)) (call $join {mine} {SET})"
    copied = f"{copying} {call(side.name(side.other_copy), side.other)}"
    waited_for = f"{new} (drop (call $with {function(f'{side.copy}-{side.shared}')}))"
    cancelled = f"{copying} {call(cancel, mine)}"

    for name in (copy, sync):
        yield traps(name, "copying", copying, call(name, mine), says="while another is in progress")
        yield traps(name, "copied, not delivered", copied, call(name, mine), says="while another is in progress")
        yield traps(name, "waited for", waited_for, call(name, mine), says="while another is in progress")
    yield passes(copy, "cancelled before", cancelled, call(copy, mine), leaves=ends)
    yield passes(copy, "in a set", in_set, call(copy, mine), leaves=[*ends, "waitable set"])
    yield traps(sync, "in a set", in_set, call(sync, mine), says="synchronously while added to a waitable set")
    yield traps(sync, "in a sync lift", new, call(sync, mine), says="cannot block")
    at_end = (i32(END - 1), i32(1)) if side.shared == "stream" else (i32(END - 1),)
    yield passes(copy, "at the end of memory", new, call(copy, mine, *at_end), leaves=ends)
    for form in (cancel, cancel_async):
        yield traps(form, "nothing to cancel", new, call(form, mine), says="no copy to cancel")
        yield traps(form, "twice", cancelled, call(form, mine), says="no copy to cancel")
        yield traps(form, "waited for", waited_for, call(form, mine), says="that a thread waits for")
        yield passes(form, "copying", copying, expect(f"(call ${form} {mine})", 2), leaves=ends)
        yield passes(form, "copied, not delivered", copied, call(form, mine), leaves=ends)
    yield traps(
        cancel, "in a set", f"{in_set} {call(copy, mine)}", call(cancel, mine), says="synchronously while added"
    )
    yield passes(
        cancel_async,
        "in a set",
        f"{in_set} {call(copy, mine)}",
        expect(f"(call ${cancel_async} {mine})", 2),
        leaves=[*ends, "waitable set"],
    )
    yield traps(side.drop, "copying", copying, call(side.drop, mine), says="while a copy is in progress")
    yield traps(side.drop, "copied, not delivered", copied, call(side.drop, mine), says="while a copy is in progress")
    yield traps(side.drop, "waited for", waited_for, call(side.drop, mine), says="while a copy is in progress")
    yield traps(
        "join",
        f"{side.other_end}'s other end that a thread waits for",
        waited_for,
        call("join", mine, i32(0)),
        says="while a thread waits for it",
    )
    if side.copy == "read":
        give = f"give-{side.shared}"
        yield passes(give, "idle", new, call(give, mine), leaves=[side.other_end])
        yield traps(give, "twice", new, call(give, mine), call(give, mine), says="unknown handle index")
        yield traps(give, "copying", copying, call(give, mine), says="while it is copying")
        yield traps(give, "copied, not delivered", copied, call(give, mine), says="while it is copying")
        yield traps(give, "waited for", waited_for, call(give, mine), says="while it is copying")
        yield traps(give, "in a set", in_set, call(give, mine), says="while it is in a waitable set")
    if (side.shared, side.copy) != ("future", "write"):
        yield passes(side.drop, "idle", new, call(side.drop, mine), leaves=[side.other_end])
        yield passes(
            side.drop, "in a set", in_set, call(side.drop, mine), call("set-drop", SET), leaves=[side.other_end]
        )


def dropped_rows(side: Side) -> Iterator[Row]:
    """Copies on an end of a stream whose other end is gone."""
    copy, drop = side.name(side.copy), side.drop
    mine, end = side.mine, side.ends[side.copy == "write"]
    gone = f"(call $s) {call(side.drop_other, side.other)}"
    told = f"{gone} {expect(f'(call ${copy} {mine} {i32(BUFFER)} {i32(4)})', 1)}"
    for name in (copy, f"{copy}-sync"):
        yield passes(
            name,
            "the other end is gone",
            gone,
            expect(f"(call ${name} {mine} {i32(BUFFER)} {i32(4)})", 1),
            leaves=[end],
        )
        yield traps(name, "done", told, call(name, mine), says="after its other end was dropped or it is done")
        yield passes(
            name, "no elements, anywhere, the other end is gone", gone, call(name, mine, i32(-1), i32(0)), leaves=[end]
        )
    for form in (f"s-cancel-{side.copy}", f"s-cancel-{side.copy}-async"):
        yield traps(form, "done", told, call(form, mine), says="no copy to cancel")
    yield passes(drop, "done", told, call(drop, mine))
    lost = f"(call $s) {call(copy, mine)} {call(side.drop_other, side.other)}"
    yield traps(drop, "gone while it copied", lost, call(drop, mine), says="while a copy is in progress")
    if side.copy == "read":
        yield traps("give-stream", "done", told, call("give-stream", mine), says="was dropped or is done")


READ_FUTURE = f"(call $f) {call('f-read', IN)} {call('f-write', OUT)}"  # the write is over, the read has an event
READ_DONE = f"(call $f) {call('f-write', OUT)} {call('f-read', IN)}"
UNREADABLE = f"(call $f) {call('f-drop-readable', IN)}"
FUTURES = [
    traps("f-write", "written before", READ_FUTURE, call("f-write", OUT), says="or it is done"),
    traps("f-write-sync", "written before", READ_FUTURE, call("f-write-sync", OUT), says="or it is done"),
    traps("f-read", "read before", READ_DONE, call("f-read", IN), says="or it is done"),
    traps("f-read-sync", "read before", READ_DONE, call("f-read-sync", IN), says="or it is done"),
    traps("give-future", "read before", READ_DONE, call("give-future", IN), says="or is done"),
    *(
        traps(name, "done", READ_DONE, call(name, IN), says="no copy")
        for name in ("f-cancel-read", "f-cancel-read-async")
    ),
    *(
        traps(name, "done", READ_FUTURE, call(name, OUT), says="no copy")
        for name in ("f-cancel-write", "f-cancel-write-async")
    ),
    passes(
        "f-write",
        "nobody to read",
        UNREADABLE,
        expect(f"(call $f-write {OUT} {i32(BUFFER)})", 1),
        leaves=["writable end of a future"],
    ),
    traps(
        "f-write", "nobody to read, twice", UNREADABLE, call("f-write", OUT), call("f-write", OUT), says="it is done"
    ),
    traps("f-drop-writable", "not written", "(call $f)", call("f-drop-writable", OUT), says="that was not written to"),
    traps("f-drop-writable", "nobody to read", UNREADABLE, call("f-drop-writable", OUT), says="was not written to"),
    traps(
        "f-drop-writable",
        "cancelled",
        "(call $f)",
        call("f-write", OUT),
        call("f-cancel-write", OUT),
        call("f-drop-writable", OUT),
        says="that was not written to",
    ),
    passes(
        "f-drop-writable", "written", READ_FUTURE, call("f-drop-writable", OUT), leaves=["readable end of a future"]
    ),
    passes("f-drop-writable", "told that nobody reads", UNREADABLE, call("f-write", OUT), call("f-drop-writable", OUT)),
    passes("f-drop-readable", "read", READ_DONE, call("f-drop-readable", IN), leaves=["writable end of a future"]),
]

WITHIN = "within one instance, unless its values are numbers"
ELEMENTS = [
    *(row for side in SIDES for row in copy_rows(side)),
    *(row for side in SIDES if side.shared == "stream" for row in dropped_rows(side)),
    *FUTURES,
    *(
        row
        for name in ("s-read", "s-write", "t-read", "t-write", "e-read", "e-write")
        for row in (
            passes(
                name,
                "no elements, anywhere",
                call(name, BUILTINS[name].operands[0].good, i32(-1), i32(0)),
                leaves=ENDS_OF_STREAM,
            ),
        )
    ),
    *(
        row
        for name, good in (("e-read", "(call $e-in)"), ("e-write", "(call $e-out)"))
        for row in (
            passes(
                name, "2^28 - 1 elements of no size", call(name, good, i32(-1), i32(2**28 - 1)), leaves=ENDS_OF_STREAM
            ),
            traps(name, "2^28 elements of no size", call(name, good, i32(0), i32(2**28)), says="too long"),
            traps(name, "2^32 - 1 elements of no size", call(name, good, i32(0), i32(-1)), says="too long"),
        )
    ),
    passes("g-read", "at the end of memory", call("g-read", "(call $g-in)", i32(END - 8)), leaves=ENDS_OF_FUTURE),
    passes("g-write", "at the end of memory", call("g-write", "(call $g-out)", i32(END - 8)), leaves=ENDS_OF_FUTURE),
    traps(
        "h-read", "copying", "(call $h)", call("h-read", IN), call("h-read", IN), says="while another is in progress"
    ),
    traps("h-write", "copying", "(call $h)", call("h-write", OUT), call("h-write", OUT), says="another is in progress"),
    passes("h-read", "no value, anywhere", call("h-read", "(call $h-in)", i32(-1)), leaves=ENDS_OF_FUTURE),
    passes("h-write", "no value, anywhere", call("h-write", "(call $h-out)", i32(-1)), leaves=ENDS_OF_FUTURE),
    traps("t-write", "strings within one instance", "(call $t)", call("t-read", IN), call("t-write", OUT), says=WITHIN),
    traps("t-read", "strings within one instance", "(call $t)", call("t-write", OUT), call("t-read", IN), says=WITHIN),
    traps("g-write", "string within one instance", "(call $g)", call("g-read", IN), call("g-write", OUT), says=WITHIN),
    traps("g-read", "string within one instance", "(call $g)", call("g-write", OUT), call("g-read", IN), says=WITHIN),
    *(passes(f"{letter}-new", "once", f"(call ${letter})", leaves=ENDS_OF_STREAM) for letter in "ste"),
    *(passes(f"{letter}-new", "once", f"(call ${letter})", leaves=ENDS_OF_FUTURE) for letter in "fgh"),
]

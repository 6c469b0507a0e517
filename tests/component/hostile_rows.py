"""The table of misuses. What can be wrong with an operand whatever else is the case comes from `hostile_builtins`; here
stand the states in which a good operand is a wrong one, and what looks wrong and is not.
"""

from __future__ import annotations

from collections.abc import Iterator

from hostile_builtins import BUFFER, BUILTINS, END, ERROR, READABLE_FUTURE, READABLE_STREAM, Misuse, Pointer, i32
from hostile_builtins import FILE as FILE_OPERAND
from hostile_components import IN, SET, TASK, THREAD, call, expect, function, index_of
from hostile_stream_rows import ELEMENTS
from hostile_table import BORROW_IS_LEFT, ENDS_OF_STREAM, PREPARED, Row, passes, repeat, traps


def or_borrow_is_left(misuse: Misuse) -> str:
    """A borrow that is given as a result is left at the end of the call: either can be told."""
    return f"{misuse.message}|{BORROW_IS_LEFT}" if "$borrowed" in misuse.code else misuse.message


def operand_rows() -> Iterator[Row]:
    """Each thing that can be wrong with each operand, the others being good."""
    for name, builtin in BUILTINS.items():
        good = [operand.good for operand in builtin.operands]
        for position, operand in enumerate(builtin.operands):
            for misuse in operand.misuses():
                code = call(name, *good[:position], misuse.code)
                says = or_borrow_is_left(misuse) if builtin.returns else misuse.message
                yield traps(name, f"{operand.name}: {misuse.what}", code, says=says, returns=builtin.returns or None)


RESULT = Pointer("result", i32(BUFFER), 8, 4)
RESULTS = {
    "(own $file)": (FILE_OPERAND, ()),
    "$s": (READABLE_STREAM, ["writable end of a stream"]),
    "$f": (READABLE_FUTURE, ["writable end of a future"]),
    "error-context": (ERROR, ["error context"]),
    "string": (RESULT, ()),
    "$pair": (RESULT, ()),
}


def result_rows() -> Iterator[Row]:
    """What a function that is lifted synchronously gives back."""
    for lifted, (operand, leaves) in RESULTS.items():
        for misuse in operand.misuses():
            yield Row("lift", f"{lifted}: {misuse.what}", misuse.code, or_borrow_is_left(misuse), lifted=lifted)
        kept = PREPARED if operand is not FILE_OPERAND else PREPARED[1:]
        yield Row("lift", f"{lifted}: good", operand.good, None, (*kept, *leaves), lifted=lifted)
    yield Row("lift", "(own $file): borrow", BORROW, BORROW_IS_LEFT, lifted="(own $file)")
    yield Row("lift", "(own $file): borrow is left", f"(drop {BORROW}) {FILE}", BORROW_IS_LEFT, lifted="(own $file)")
    yield Row("lift", "(own $file): lent out", f"{LENT} {FILE}", "cannot give up the handle", lifted="(own $file)")
    yield Row(
        "lift",
        "string: over the end",
        f"(i64.store {i32(BUFFER)} (i64.const {END - 1 | 2 << 32})) {i32(BUFFER)}",
        "out of bounds",
        lifted="string",
    )
    yield Row(
        "lift",
        "string: at the end of memory",
        f"(i64.store {i32(END - 8)} (i64.const {END - 1 | 1 << 32})) {i32(END - 8)}",
        None,
        PREPARED,
        lifted="string",
    )


def full_rows() -> Iterator[Row]:
    """The built-ins that make a handle, in a table that takes no more."""
    for name in ("r-new", "d-new", "set-new", "error-new", "wait", "lend"):
        yield traps(name, "full table", repeat(call(name), 99), says="handle table is full: 50 ", max_handles=50)
    for letter in "stefgh":  # in turn for the first and the second of their handles
        first = call("set-new") if letter in "seg" else ""
        code = (first, f"(loop $on (call ${letter}) (br $on))")
        yield traps(f"{letter}-new", "full table", *code, says="handle table is full: 50 ", max_handles=50)
    yield traps("thread-new", "full table", repeat(call("thread-new"), 99), says="thread table is full", max_handles=50)


TOO_MANY_CALLS = [
    traps("wait", "too many calls in progress", repeat(call("wait"), 99), says="more than 20 calls", max_tasks=20),
    traps(
        "thread-new", "too many threads", repeat(call("thread-new"), 99), says="more than 20 tasks or thr", max_tasks=20
    ),
]

BORROW = "(global.get $borrowed)"
FILE = "(global.get $file)"
LENT = call("lend", FILE)
RESOURCES = [
    passes("r-new", "any representation", expect(f"(call $r-rep (call $r-new {i32(-1)}))", -1), leaves=["own"]),
    passes("d-new", "any representation", call("d-new", i32(-1)), leaves=["own"]),
    passes(
        "r-rep",
        "twice",
        "(global.set $in (call $r-new (i32.const 5)))",
        expect(f"(call $r-rep {IN})", 5),
        call("r-rep", IN),
        leaves=["own"],
    ),
    passes("r-drop", "once", call("r-drop")),
    passes("d-drop", "once", call("d-drop")),
    passes("file-drop", "own", call("file-drop", FILE), drops=["own"]),
    passes("file-drop", "borrow", call("file-drop", BORROW)),
    traps(
        "file-drop", "borrow, twice", call("file-drop", BORROW), call("file-drop", BORROW), says="unknown handle index"
    ),
    traps("file-drop", "own, twice", call("file-drop", FILE), call("file-drop", FILE), says="unknown handle index"),
    traps("file-drop", "lent out", LENT, call("file-drop", FILE), says=r"cannot drop the handle \d+ while it is lent"),
    traps(
        "file-drop", "lent out by a borrow", call("lend", BORROW), call("file-drop", BORROW), says="while it is lent"
    ),
    traps("file-drop", "borrow is left", f"(drop {BORROW})", says=BORROW_IS_LEFT),
    passes("lend", "lent out already", LENT, LENT, leaves=["subtask", "subtask"]),
    traps("give-file", "lent out", LENT, call("give-file", FILE), says="cannot give up the handle"),
    traps("give-file", "borrow", call("give-file", BORROW), says="borrowed handle \\d+ as an own"),
    traps("give-file", "lent borrow", call("lend", BORROW), call("give-file", BORROW), says="lent out|as an own"),
    traps("give-file", "twice", call("give-file", FILE), call("give-file", FILE), says="unknown handle index"),
    traps(
        "lend-and-give",
        "the same handle",
        call("lend-and-give", FILE, FILE),
        says="cannot give up the handle \\d+ while",
    ),
    traps(
        "lend-and-give-async", "the same handle", call("lend-and-give-async", FILE, FILE), says="cannot give up the h"
    ),
    traps("give-and-lend", "the same handle", call("give-and-lend", FILE, FILE), says="unknown handle index"),
    traps("give-twice", "the same handle", call("give-twice", FILE, FILE), says="unknown handle index"),
    passes("give-file", "once", call("give-file", FILE), drops=["own"]),
    passes("borrow-file", "lent out", LENT, call("borrow-file", FILE), leaves=["subtask"]),
    passes("borrow-file", "borrow", call("borrow-file", BORROW), call("file-drop", BORROW)),
]

RETURN = "(call $return-nothing)"
TASKS = [
    traps("return", "sync lift", call("return"), says="not lifted as async"),
    traps("return-nothing", "sync lift", RETURN, says="not lifted as async"),
    traps("return-string", "sync lift", call("return-string"), says="not lifted as async"),
    traps("return", "result of another type", call("return"), says="invalid task.return signature", returns="s32"),
    traps("return", "result where there is none", call("return"), says="invalid task.return signature", returns=""),
    traps("return-nothing", "no result", RETURN, says="invalid task.return signature", returns="u32"),
    traps("return-utf16", "another encoding", call("return-utf16"), says="invalid task.return opt", returns="string"),
    traps("return-elsewhere", "another memory", call("return-elsewhere"), says="return options", returns="string"),
    traps("return", "twice", call("return"), call("return"), says="after the task was res", returns="u32", late=True),
    traps("return-nothing", "twice", RETURN, RETURN, says="after the task was resolved", returns="", late=True),
    traps(
        "return-nothing",
        "twice, by another thread",
        RETURN,
        f"(drop (call $with {function('returns')}))",
        says="after the task was resolved",
        returns="",
        late=True,
    ),
    traps("return-nothing", "borrow is left", f"(drop {BORROW})", RETURN, says=BORROW_IS_LEFT, returns=""),
    traps("return-nothing", "never", says="without calling task.return", returns=""),
    traps(
        "return-nothing",
        "never, by the last thread",
        "(call $resume-later (call $new-thread))",
        says="without calling task.return",
        returns="",
    ),
    Row("return-nothing", "by another thread", f"(drop (call $with {function('returns')}))", None, PREPARED, ""),
    traps(
        "return-file",
        "borrow is left",
        f"(drop {BORROW})",
        call("return-file", FILE),
        says=BORROW_IS_LEFT,
        returns="(own $file)",
    ),
    traps("return-file", "borrow", call("return-file", BORROW), says=BORROW_IS_LEFT, returns="(own $file)"),
    Row("return-file", "good", call("return-file", FILE), None, PREPARED[1:], "(own $file)"),
    Row("return-stream", "good", call("return-stream"), None, (*PREPARED, "writable end of a stream"), "$s"),
    Row("return", "without the lift's memory", call("return"), None, PREPARED, "u32"),
    Row("return-string", "at the end of memory", call("return-string", i32(END - 1)), None, PREPARED, "string"),
    traps("cancel", "sync lift", "(call $cancel)", says="not lifted as async"),
    traps("cancel", "not asked for", "(call $cancel)", says="without a cancellation delivered", returns=""),
    traps("cancel", "after the result", RETURN, "(call $cancel)", says="without a cancel", returns="", late=True),
]

CONTEXT = [
    passes("context-get", "never set", expect("(call $context-get)", 0)),
    passes("context-set", "all bits", call("context-set", i32(-1)), expect("(call $context-get)", -1)),
    traps("dec", "underflow", "(call $dec)", says="backpressure counter underflow"),
    traps("dec", "more often than inc", "(call $inc) (call $dec) (call $dec)", says="backpressure counter underflow"),
    passes("inc", "2^16 - 1 times", repeat("(call $inc)", 2**16 - 1), repeat("(call $dec)", 2**16 - 1)),
    traps("inc", "2^16 times", repeat("(call $inc)", 2**16), says="backpressure counter overflow"),
    passes("dec", "as often as inc", "(call $inc) (call $dec)"),
]

JOIN = f"(global.set $set (call $set-new)) (call $join {IN} {SET})"
IN_SET = f"(call $s) {JOIN}"
SOON_IN_SET = f"(global.set $set (call $set-new)) (call $join (call $soon-task) {SET})"
SETS = [
    passes("set-new", "once", call("set-new"), leaves=["waitable set"]),
    traps("set-wait", "empty, in a sync lift", call("set-wait", "(call $set-new)"), says="cannot block"),
    traps(
        "set-wait",
        "unaligned, before there is an event",
        SOON_IN_SET,
        call("set-wait", SET, i32(2)),
        says="not aligned to 4",
        returns="",
    ),
    traps(
        "set-wait",
        "over the end, before there is an event",
        SOON_IN_SET,
        call("set-wait", SET, i32(END - 4)),
        says="out of bounds",
        returns="",
    ),
    passes(
        "set-wait",
        "at the end of memory",
        call("set-wait", "(call $set-with-event)", i32(END - 8)),
        leaves=["waitable set", *ENDS_OF_STREAM],
    ),
    passes("set-poll", "empty", expect(f"(call $set-poll (call $set-new) {i32(END - 8)})", 0), leaves=["waitable set"]),
    passes("set-poll", "waited for", "(drop (call $waiting-thread))", call("set-poll", SET), leaves=["waitable set"]),
    traps("set-drop", "with a member", IN_SET, call("set-drop", SET), says="still has members"),
    traps("set-drop", "with a member that has an event", call("set-drop", "(call $set-with-event)"), says="members"),
    traps("set-drop", "waited for", "(drop (call $waiting-thread))", call("set-drop", SET), says="a thread waits for"),
    passes(
        "set-drop", "its member left", IN_SET, call("join", IN, i32(0)), call("set-drop", SET), leaves=ENDS_OF_STREAM
    ),
    passes(
        "set-drop",
        "its member was dropped",
        IN_SET,
        call("s-drop-readable", IN),
        call("set-drop", SET),
        leaves=["writable end of a stream"],
    ),
    passes("join", "no set", "(call $s)", call("join", IN, i32(0)), leaves=ENDS_OF_STREAM),
    passes(
        "join",
        "twice",
        IN_SET,
        call("join", IN, SET),
        call("join", IN, i32(0)),
        call("set-drop", SET),
        leaves=ENDS_OF_STREAM,
    ),
    passes(
        "join",
        "another set",
        IN_SET,
        call("join", IN, "(call $set-new)"),
        call("set-drop", SET),
        leaves=["waitable set", *ENDS_OF_STREAM],
    ),
    passes(
        "join",
        "waited-for set",
        "(drop (call $waiting-thread))",
        call("join", "(call $s-in)", SET),
        leaves=["waitable set", *ENDS_OF_STREAM],
    ),
    traps("join", "set as the waitable, and no set", call("join", "(call $set-new)", i32(0)), says="is no waitable$"),
]

PENDING = "(drop (call $pending))"
SOON_RESOLVED = "(drop (call $soon-task)) (drop (call $yield))"
CANCELLING = f"(drop (call $with {function('cancel-subtask')}))"
SUBTASKS = [
    *(
        row
        for name in ("subtask-cancel", "subtask-cancel-async")
        for row in (
            passes(name, "once", expect(f"(call ${name} (call $idle-task))", 4), leaves=["subtask"]),
            traps(name, "cancelled before", call(name, "(call $cancelled-task)"), says="resolution was delivered"),
            traps(name, "being cancelled", PENDING, call("subtask-cancel-async", TASK), call(name, TASK), says="twice"),
            traps(name, "waited for", PENDING, CANCELLING, call(name, TASK), says="called twice"),
            passes(
                name,
                "resolved, not delivered",
                SOON_RESOLVED,
                expect(f"(call ${name} {TASK})", 2),
                leaves=["subtask"],
                in_async=True,
            ),
        )
    ),
    traps(
        "subtask-cancel", "of the host's, in a sync lift", PENDING, call("subtask-cancel", TASK), says="cannot block"
    ),
    traps(
        "subtask-cancel",
        "in a set",
        call("join", "(call $idle-task)", "(call $set-new)"),
        call("subtask-cancel", TASK),
        says="used synchronously while added to a waitable set",
    ),
    passes(
        "subtask-cancel-async",
        "in a set",
        call("join", "(call $idle-task)", "(call $set-new)"),
        expect(f"(call $subtask-cancel-async {TASK})", 4),
        leaves=["subtask", "waitable set"],
    ),
    traps("subtask-drop", "started", call("subtask-drop", "(call $idle-task)"), says="has not yet resolved"),
    traps(
        "subtask-drop", "of the host's, started", call("subtask-drop", "(call $pending)"), says="has not yet resolved"
    ),
    traps(
        "subtask-drop",
        "resolved, not delivered",
        SOON_RESOLVED,
        call("subtask-drop", TASK),
        says="has not yet resolved",
        returns="",
    ),
    traps("subtask-drop", "waited for", PENDING, CANCELLING, call("subtask-drop", TASK), says="has not yet resolved"),
    traps(
        "subtask-drop",
        "being cancelled",
        PENDING,
        call("subtask-cancel-async", TASK),
        call("subtask-drop", TASK),
        says="has not yet resolved",
    ),
    passes("subtask-drop", "cancelled", call("subtask-drop", "(call $cancelled-task)")),
    passes(
        "subtask-drop",
        "cancelled, in a set",
        "(drop (call $cancelled-task)) (global.set $set (call $set-new))",
        call("join", TASK, SET),
        call("subtask-drop", TASK),
        call("set-drop", SET),
    ),
    traps(
        "join", "subtask that a thread waits for", PENDING, CANCELLING, call("join", TASK, i32(0)), says="waits for it"
    ),
]


ERRORS = [
    passes("error-new", "at the end of memory", call("error-new", i32(END - 1), i32(1)), leaves=["error context"]),
    traps("error-new", "no UTF-8", f"(i32.store8 {i32(BUFFER)} {i32(0xFF)})", call("error-new"), says="invalid utf-8"),
    passes(
        "error-message",
        "at the end of memory",
        call("error-message", ERROR.good, i32(END - 8)),
        leaves=["error context"],
    ),
    passes("error-drop", "once", call("error-drop", ERROR.good)),
    passes(
        "give-error",
        "twice",
        f"(global.set $in {ERROR.good})",
        call("give-error", IN),
        call("give-error", IN),
        leaves=["error context"],
    ),
]

NEW = "(call $new-thread)"
THREADS = [
    passes("thread-index", "twice", expect("(i32.eq (call $thread-index) (call $thread-index))", 1)),
    passes("thread-new", "never resumed", call("thread-new")),
    passes("resume-later", "once", call("resume-later", NEW)),
    traps(
        "resume-later", "twice", "(drop (call $ready-thread))", call("resume-later", THREAD), says="is not suspended"
    ),
    Row("resume-later", "after the result", f"{RETURN} {call('resume-later', NEW)}", None, PREPARED, ""),
    traps("suspend", "in a sync lift", call("suspend"), says="cannot block"),
    passes("yield", "in a sync lift", call("yield")),
    traps("suspend-then-resume", "in a sync lift", call("suspend-then-resume", NEW), says="cannot block"),
    passes("yield-then-resume", "in a sync lift", call("yield-then-resume", NEW)),
    traps(
        "suspend-then-promote",
        "the thread itself",
        call("suspend-then-promote", "(call $thread-index)"),
        says="cannot block",
    ),
    traps("suspend-then-promote", "suspended", call("suspend-then-promote", NEW), says="cannot block"),
    traps("suspend-then-promote", "ready", call("suspend-then-promote", "(call $ready-thread)"), says="cannot block"),
    passes("yield-then-promote", "the thread itself", call("yield-then-promote", "(call $thread-index)")),
    passes("yield-then-promote", "suspended", call("yield-then-promote", NEW)),
    passes("yield-then-promote", "ready", call("yield-then-promote", "(call $ready-thread)")),
    passes(
        "yield-then-promote", "waiting", call("yield-then-promote", "(call $waiting-thread)"), leaves=["waitable set"]
    ),
]

KEPT_OUT = f"(call $keep-out) (call $s) (global.set $task {index_of(f'(call $take {IN})')})"
LOWERS = [
    *(passes(name, "once", call(name), leaves=["writable end of a stream"]) for name in ("take", "take-now")),
    traps("take-sync", "twice", "(call $s)", call("take-sync", IN), call("take-sync", IN), says="unknown handle index"),
    passes("take-sync", "once", call("take-sync"), leaves=["writable end of a stream"]),
    # Its arguments are lifted when the callee lets the call in.
    passes("take", "kept out", KEPT_OUT, leaves=[*ENDS_OF_STREAM, "subtask"]),
    traps(
        "take",
        "kept out, then the handle is dropped",
        KEPT_OUT,
        call("s-drop-readable", IN),
        "(call $let-in) (drop (call $yield))",
        says="unknown handle index",
        returns="",
    ),
    traps(
        "take",
        "kept out, then the end copies",
        KEPT_OUT,
        call("s-read", IN),
        "(call $let-in) (drop (call $yield))",
        says="cannot pass on a readable end of a stream while it is copying",
        returns="",
    ),
    passes(
        "take",
        "kept out, then cancelled",
        KEPT_OUT,
        expect(f"(call $subtask-cancel {TASK})", 3),
        call("subtask-drop", TASK),
        call("s-drop-readable", IN),
        leaves=["writable end of a stream"],
    ),
    traps("subtask-drop", "kept out", KEPT_OUT, call("subtask-drop", TASK), says="has not yet resolved"),
    traps("take-sync", "kept out, in a sync lift", "(call $keep-out)", call("take-sync"), says="cannot block"),
    traps("wait-sync", "in a sync lift", call("wait-sync"), says="cannot block"),
    passes("wait", "in a sync lift", call("wait"), leaves=["subtask"]),
    *(passes(name, "at the end of memory", call(name, i32(END - 68))) for name in ("many", "many-async")),
    *(passes(name, "at the end of memory", call(name, i32(END - 8))) for name in ("pair", "pair-async")),
    passes("list", "at the end of memory", call("list", i32(END - 8), i32(1))),
    traps("list", "2^28", call("list", i32(BUFFER), i32(2**28)), says="longer than"),
    traps("list", "2^32-1", call("list", i32(BUFFER), i32(-1)), says="longer than"),
    passes("string", "at the end of memory", call("string", i32(END - 1), i32(1))),
    passes("string", "empty, at the end of memory", call("string", i32(END), i32(0))),
    traps("string", "empty, after the end of memory", call("string", i32(END + 1), i32(0)), says="out of bounds"),
]

ROWS: list[Row] = [
    *operand_rows(),
    *result_rows(),
    *full_rows(),
    *TOO_MANY_CALLS,
    *RESOURCES,
    *TASKS,
    *CONTEXT,
    *SETS,
    *SUBTASKS,
    *ELEMENTS,
    *ERRORS,
    *THREADS,
    *LOWERS,
]

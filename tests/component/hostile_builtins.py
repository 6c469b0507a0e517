"""Every canonical built-in as a guest gets it, and what can be wrong with each of its operands.

`BUILTINS` is the one place that knows them: the name that the guests' code calls it by, its definition in component
text, and its operands. Its core signature is what validation says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from p3host.binary.definitions import CanonKind

END = 4 * 65536  # of the guests' memory
BUFFER = 1024


def i32(value: int) -> str:
    return f"(i32.const {value})"


@dataclass(frozen=True)
class Misuse:
    """Something wrong that can be given for one operand, and what the trap says."""

    what: str
    code: str
    message: str


@dataclass(frozen=True)
class Operand:
    """`good` is code that makes a value with which the built-in works."""

    name: str
    good: str

    def misuses(self) -> Iterator[Misuse]:
        return iter(())


# Code that makes a handle of each kind. One is new wherever it can be.
HANDLES: Mapping[str, str] = {
    "own": f"(call $r-new {i32(7)})",
    "own with a destructor": f"(call $d-new {i32(7)})",
    "own of the host's": "(global.get $file)",
    "borrow": "(global.get $borrowed)",
    "subtask": "(call $idle-task)",
    "waitable set": "(call $set-new)",
    "readable end of a stream": "(call $s-in)",
    "writable end of a stream": "(call $s-out)",
    "readable end of a future": "(call $f-in)",
    "writable end of a future": "(call $f-out)",
    "error context": f"(call $error-new {i32(0)} {i32(0)})",
}
RESOURCES = ("own", "own with a destructor", "own of the host's", "borrow")
WAITABLES = tuple(kind for kind in HANDLES if kind.startswith(("subtask", "readable", "writable")))
FUNCTIONS = (
    "nothing",
    "wait-in-set",
    "read-stream",
    "write-stream",
    "read-future",
    "write-future",
    "cancel-subtask",
    "returns",
    "destroy",
    "other-type",
    "null",
)
"""What stands in the table that `thread.new-indirect` looks into."""
# What `holder`, another instance, holds at an index that is free in the instance under test
HELD = ("own", "waitable set", *WAITABLES, "error context", "thread")


@dataclass(frozen=True)
class Handle(Operand):
    """A handle to be of one of the kinds `accepted`. `freed` makes one and drops it, `other_type` makes one of the same
    kind that has another type."""

    what: str
    accepted: tuple[str, ...]
    freed: str
    other_type: str = ""
    zero_is_valid: bool = False

    def misuses(self) -> Iterator[Misuse]:
        if not self.zero_is_valid:
            yield Misuse("0", i32(0), "unknown handle index 0$")
        yield Misuse("out of the table", i32(99), "unknown handle index 99")
        yield Misuse("2^32-1", i32(-1), "unknown handle index 4294967295")
        yield Misuse("one after the last", f"(i32.add (call $set-new) {i32(1)})", "unknown handle index")
        yield Misuse("freed", self.freed, "unknown handle index")
        yield Misuse("index of a thread", "(call $many-threads)", "unknown handle index")
        held = next(kind for kind in HELD if kind in self.accepted or (kind == "own" and self.what == "resource"))
        yield Misuse("of another instance", f"(call $hold {i32(HELD.index(held))})", "unknown handle index 4")
        for kind, code in HANDLES.items():
            if kind in self.accepted:
                continue
            if self.what == "resource" and kind in RESOURCES:
                yield Misuse(f"of another type: {kind}", code, r"used with the wrong type: it is a \w+, expected")
            else:
                yield Misuse(kind, code, f"handle index \\d+ is no {self.what}")
        if self.other_type:
            yield Misuse("of another type", self.other_type, "with another type than it has")


@dataclass(frozen=True)
class ThreadIndex(Operand):
    """The index of a thread; `suspended` says that no other state will do."""

    suspended: bool

    def misuses(self) -> Iterator[Misuse]:
        yield Misuse("0", i32(0), "unknown thread index 0$")
        yield Misuse("out of the table", i32(99), "unknown thread index 99")
        yield Misuse("2^32-1", i32(-1), "unknown thread index 4294967295")
        yield Misuse("freed", "(call $ended-thread)", "unknown thread index")
        yield Misuse("handle", "(call $many-sets)", "unknown thread index")
        yield Misuse("of another instance", f"(call $hold {i32(HELD.index('thread'))})", "unknown thread index 4")
        if self.suspended:
            yield Misuse("the thread itself", "(call $thread-index)", "is not suspended")
            yield Misuse("ready", "(call $ready-thread)", "is not suspended")
            yield Misuse("waiting", "(call $waiting-thread)", "is not suspended")


@dataclass(frozen=True)
class FunctionIndex(Operand):
    """An index into the table of the functions that threads can start with."""

    def misuses(self) -> Iterator[Misuse]:
        yield Misuse("null", i32(FUNCTIONS.index("null")), "uninitialized element")
        yield Misuse("of another core type", i32(FUNCTIONS.index("other-type")), "indirect call type mismatch")
        yield Misuse("out of the table", i32(99), "undefined element")
        yield Misuse("2^32-1", i32(-1), "undefined element")


@dataclass(frozen=True)
class Pointer(Operand):
    """Where `size` bytes begin, to be read or written."""

    size: int
    alignment: int = 1

    def misuses(self) -> Iterator[Misuse]:
        for offset in {1, self.alignment // 2} - {0, self.alignment}:
            yield Misuse(f"unaligned by {offset}", i32(BUFFER + offset), "align")
        out = END - self.size + self.alignment
        yield Misuse("over the end", i32(out), f"at {out:#x} .*out of bounds")
        yield Misuse("after the end", i32(END), "out of bounds")
        yield Misuse("wraps around 2^32", i32(-self.alignment), "out of bounds")
        yield Misuse("2^31", i32(-(2**31)), "out of bounds")


@dataclass(frozen=True)
class ElementCount(Operand):
    """Of a stream's buffer: at most 2^28 - 1, and all within memory."""

    def misuses(self) -> Iterator[Misuse]:
        yield Misuse("2^28", i32(2**28), "268435456 elements is too long")
        yield Misuse("2^32-1", i32(-1), "4294967295 elements is too long")
        yield Misuse("2^28-1", i32(2**28 - 1), "268435455 elements is out of bounds")
        yield Misuse("one too many", i32(END - BUFFER + 1), "out of bounds")


@dataclass(frozen=True)
class ByteLength(Operand):
    """Of a string in UTF-8."""

    def misuses(self) -> Iterator[Misuse]:
        yield Misuse("2^28", i32(2**28), "string")
        yield Misuse("2^31", i32(-(2**31)), "longer than")
        yield Misuse("2^32-1", i32(-1), "longer than")
        yield Misuse("one too many", i32(END - BUFFER + 1), "out of bounds")


@dataclass(frozen=True)
class Builtin:
    """`text` is its definition. `returns` is the type of the async function that may call it, for `task.return`."""

    text: str
    operands: tuple[Operand, ...] = ()
    returns: str = ""

    @property
    def kind(self) -> CanonKind | str:
        name = self.text.partition(" ")[0]
        return name if name == "lower" else next(kind for kind in CanonKind if kind.text == name)


def handle(kind: str, what: str = "", freed: str = "", other_type: str = "") -> Handle:
    return Handle("handle", HANDLES[kind], what or kind, (kind,), freed, other_type)


def end(word: str, shared: str, freed: str) -> Handle:
    """An end of a stream or future; the other type is that of its namesake with strings."""
    kind, (letter, other) = f"{word} end of a {shared}", {"stream": "st", "future": "fg"}[shared]
    side = "in" if word == "readable" else "out"
    return handle(kind, freed=freed or f"(call $freed-{letter}-{side})", other_type=f"(call ${other}-{side})")


VALUE = Operand("value", i32(7))
OWN = handle("own", "resource", "(call $freed-own)")
OWN_WITH_DESTRUCTOR = handle("own with a destructor", "resource", "(call $freed-own)")
FILE = Handle("handle", "(global.get $file)", "resource", ("own of the host's", "borrow"), "(call $freed-own)")
SET = handle("waitable set", freed="(call $freed-set)")
SET_WITH_EVENT = replace(SET, good="(call $set-with-event)")
SET_OR_NONE = Handle("set", i32(0), "waitable set", ("waitable set",), "(call $freed-set)", "", True)
WAITABLE = Handle("waitable", "(call $s-in)", "waitable", WAITABLES, "(call $freed-s-in)")
SUBTASK = handle("subtask", freed="(call $freed-subtask)")
ERROR = handle("error context", freed="(call $freed-error)")
READABLE_STREAM, WRITABLE_STREAM = end("readable", "stream", ""), end("writable", "stream", "")
READABLE_FUTURE, WRITABLE_FUTURE = end("readable", "future", ""), end("writable", "future", "(call $freed-f-in)")
EVENT = Pointer("pointer", i32(BUFFER), 8, 4)
LIST = Pointer("pointer", i32(BUFFER), 8, 8)
BYTE, STRING = Pointer("pointer", i32(BUFFER), 1), Pointer("pointer", i32(BUFFER), 8, 4)
COUNT = ElementCount("count", i32(1))
SUSPENDED = ThreadIndex("thread", "(call $new-thread)", True)
PROMOTABLE = ThreadIndex("thread", "(call $new-thread)", False)
FUNCTION = FunctionIndex("function", i32(FUNCTIONS.index("nothing")))
MESSAGE = (Pointer("pointer", i32(BUFFER), 1), ByteLength("length", i32(1)))

IO = "(memory $memory) (realloc $realloc)"

BUILTINS: Mapping[str, Builtin] = {
    "r-new": Builtin("resource.new $r", (VALUE,)),
    "r-rep": Builtin("resource.rep $r", (OWN,)),
    "r-drop": Builtin("resource.drop $r", (OWN,)),
    "d-new": Builtin("resource.new $d", (VALUE,)),
    "d-drop": Builtin("resource.drop $d", (OWN_WITH_DESTRUCTOR,)),
    "file-drop": Builtin("resource.drop $file", (FILE,)),
    "return": Builtin("task.return (result u32)", (VALUE,), "u32"),
    "return-nothing": Builtin("task.return"),
    "return-string": Builtin("task.return (result string) (memory $memory)", MESSAGE, "string"),
    "return-utf16": Builtin(
        "task.return (result string) string-encoding=utf16 (memory $memory)", (VALUE, VALUE), "string"
    ),
    "return-elsewhere": Builtin("task.return (result string) (memory $other-memory)", (VALUE, VALUE), "string"),
    "return-file": Builtin("task.return (result (own $file))", (FILE,), "(own $file)"),
    "return-stream": Builtin("task.return (result $s)", (READABLE_STREAM,), "$s"),
    "cancel": Builtin("task.cancel"),
    "subtask-cancel": Builtin("subtask.cancel", (SUBTASK,)),
    "subtask-cancel-async": Builtin("subtask.cancel async", (SUBTASK,)),
    "subtask-drop": Builtin("subtask.drop", (SUBTASK,)),
    "context-get": Builtin("context.get i32 1"),
    "context-set": Builtin("context.set i32 1", (VALUE,)),
    "inc": Builtin("backpressure.inc"),
    "dec": Builtin("backpressure.dec"),
    "set-new": Builtin("waitable-set.new"),
    "set-wait": Builtin("waitable-set.wait (memory $memory)", (SET_WITH_EVENT, EVENT)),
    "set-poll": Builtin("waitable-set.poll (memory $memory)", (SET, EVENT)),
    "set-drop": Builtin("waitable-set.drop", (SET,)),
    "join": Builtin("waitable.join", (WAITABLE, SET_OR_NONE)),
    # s: u8, t: string, e: no elements
    "s-new": Builtin("stream.new $s"),
    "s-read": Builtin("stream.read $s async (memory $memory)", (READABLE_STREAM, BYTE, COUNT)),
    "s-write": Builtin("stream.write $s async (memory $memory)", (WRITABLE_STREAM, BYTE, COUNT)),
    "s-read-sync": Builtin("stream.read $s (memory $memory)", (READABLE_STREAM, BYTE, COUNT)),
    "s-write-sync": Builtin("stream.write $s (memory $memory)", (WRITABLE_STREAM, BYTE, COUNT)),
    "s-cancel-read": Builtin("stream.cancel-read $s", (READABLE_STREAM,)),
    "s-cancel-write": Builtin("stream.cancel-write $s", (WRITABLE_STREAM,)),
    "s-cancel-read-async": Builtin("stream.cancel-read $s async", (READABLE_STREAM,)),
    "s-cancel-write-async": Builtin("stream.cancel-write $s async", (WRITABLE_STREAM,)),
    "s-drop-readable": Builtin("stream.drop-readable $s", (READABLE_STREAM,)),
    "s-drop-writable": Builtin("stream.drop-writable $s", (WRITABLE_STREAM,)),
    "t-new": Builtin("stream.new $t"),
    "t-read": Builtin(f"stream.read $t async {IO}", (Operand("handle", "(call $t-in)"), STRING, COUNT)),
    "t-write": Builtin(f"stream.write $t async {IO}", (Operand("handle", "(call $t-out)"), STRING, COUNT)),
    "e-new": Builtin("stream.new $e"),
    "e-read": Builtin("stream.read $e async", (Operand("handle", "(call $e-in)"), VALUE, Operand("count", i32(1)))),
    "e-write": Builtin("stream.write $e async", (Operand("handle", "(call $e-out)"), VALUE, Operand("count", i32(1)))),
    # f: u8, g: string, h: no value
    "f-new": Builtin("future.new $f"),
    "f-read": Builtin("future.read $f async (memory $memory)", (READABLE_FUTURE, BYTE)),
    "f-write": Builtin("future.write $f async (memory $memory)", (WRITABLE_FUTURE, BYTE)),
    "f-read-sync": Builtin("future.read $f (memory $memory)", (READABLE_FUTURE, BYTE)),
    "f-write-sync": Builtin("future.write $f (memory $memory)", (WRITABLE_FUTURE, BYTE)),
    "f-cancel-read": Builtin("future.cancel-read $f", (READABLE_FUTURE,)),
    "f-cancel-write": Builtin("future.cancel-write $f", (WRITABLE_FUTURE,)),
    "f-cancel-read-async": Builtin("future.cancel-read $f async", (READABLE_FUTURE,)),
    "f-cancel-write-async": Builtin("future.cancel-write $f async", (WRITABLE_FUTURE,)),
    "f-drop-readable": Builtin("future.drop-readable $f", (READABLE_FUTURE,)),
    "f-drop-writable": Builtin("future.drop-writable $f", (WRITABLE_FUTURE,)),
    "g-new": Builtin("future.new $g"),
    "g-read": Builtin(f"future.read $g async {IO}", (Operand("handle", "(call $g-in)"), STRING)),
    "g-write": Builtin(f"future.write $g async {IO}", (Operand("handle", "(call $g-out)"), STRING)),
    "h-new": Builtin("future.new $h"),
    "h-read": Builtin("future.read $h async", (Operand("handle", "(call $h-in)"), VALUE)),
    "h-write": Builtin("future.write $h async", (Operand("handle", "(call $h-out)"), VALUE)),
    "error-new": Builtin("error-context.new (memory $memory)", MESSAGE),
    "error-message": Builtin(f"error-context.debug-message {IO}", (ERROR, STRING)),
    "error-drop": Builtin("error-context.drop", (ERROR,)),
    "thread-index": Builtin("thread.index"),
    "thread-new": Builtin("thread.new-indirect $start (core table $functions)", (FUNCTION, VALUE)),
    "resume-later": Builtin("thread.resume-later", (SUSPENDED,)),
    "suspend": Builtin("thread.suspend"),
    "yield": Builtin("thread.yield"),
    "suspend-then-resume": Builtin("thread.suspend-then-resume", (SUSPENDED,)),
    "yield-then-resume": Builtin("thread.yield-then-resume", (SUSPENDED,)),
    "suspend-then-promote": Builtin("thread.suspend-then-promote", (PROMOTABLE,)),
    "yield-then-promote": Builtin("thread.yield-then-promote", (PROMOTABLE,)),
    # Calls of the host and (`take`) of another instance: handles as arguments, arguments and results in memory
    "wait": Builtin("lower (func $wait) async (memory $memory)", (VALUE, Operand("out", i32(16)))),
    "wait-sync": Builtin("lower (func $wait)", (VALUE,)),
    "lend": Builtin("lower (func $lend) async", (FILE,)),
    "give-file": Builtin("lower (func $give-file)", (FILE,)),
    "borrow-file": Builtin("lower (func $borrow-file)", (FILE,)),
    "lend-and-give": Builtin("lower (func $lend-and-give)", (FILE, VALUE)),
    "give-and-lend": Builtin("lower (func $give-and-lend)", (FILE, VALUE)),
    "lend-and-give-async": Builtin("lower (func $lend-and-give) async", (FILE, VALUE)),
    "give-twice": Builtin("lower (func $give-twice)", (FILE, VALUE)),
    "give-stream": Builtin("lower (func $give-stream)", (READABLE_STREAM,)),
    "give-future": Builtin("lower (func $give-future)", (READABLE_FUTURE,)),
    "give-error": Builtin("lower (func $give-error)", (ERROR,)),
    "take": Builtin("lower (func $take) async", (READABLE_STREAM,)),
    "take-sync": Builtin("lower (func $take)", (READABLE_STREAM,)),
    "take-now": Builtin("lower (func $take-now)", (READABLE_STREAM,)),
    "many": Builtin("lower (func $many) (memory $memory)", (Pointer("arguments", i32(BUFFER), 68, 4),)),
    "many-async": Builtin("lower (func $many) async (memory $memory)", (Pointer("arguments", i32(BUFFER), 68, 4),)),
    "pair": Builtin("lower (func $pair) (memory $memory)", (Pointer("out", i32(BUFFER), 8, 4),)),
    "pair-async": Builtin("lower (func $pair) async (memory $memory)", (Pointer("out", i32(BUFFER), 8, 4),)),
    "list": Builtin("lower (func $list) (memory $memory)", (LIST, Operand("length", i32(1)))),
    "string": Builtin("lower (func $string) (memory $memory)", MESSAGE),
}

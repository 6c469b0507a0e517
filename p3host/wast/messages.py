"""What the messages of traps mean, whichever host worded them."""

from __future__ import annotations

import re

END = r"an? (readable|writable) end of a (stream|future)"

# Each row is one reason to trap: patterns for what hosts say. An expected message is met by one with a meaning in
# common with it, or by one that contains it.
MEANINGS: tuple[tuple[str, ...], ...] = (
    # Entering, leaving, blocking
    (r"cannot enter component instance", r"cannot enter the instance after it trapped"),
    (r"cannot block a synchronous task", r"cannot block: "),
    (r"deadlock detected", r"cannot make further progress", r"can never return", r"^cannot block: .* no other thread"),
    (r"cannot resume thread which is not suspended", r"^thread \d+ is not suspended"),
    (r"failed to produce a result", r"ended without calling task\.return"),
    (r"invalid `task\.return` signature", r"invalid task\.return (signature|options)"),
    (r"`subtask\.cancel` called after terminal", r"subtask\.cancel called after the subtask's resolution"),
    (r"backpressure counter (over|under)flow",),
    (r"thrown wasm exception", r"uncaught exception propagated", r"uncaught wasm exception"),
    # Handles, streams and futures
    (r"remove owned resource while borrowed", r"the handle \d+ while it is lent out"),
    (r"used with the wrong type, expected", r"used with the wrong type: it is"),
    (r"cannot drop waitable set with waiters", r"cannot drop a waitable set that a thread waits for"),
    (
        r"cannot be used synchronously while added to a waitable set",
        r"is used synchronously while added to a waitable set",
        r"cannot join a waitable to a set while a thread waits for it",
    ),
    (r"cannot (drop|remove) busy (stream|future)", rf"cannot drop {END} while a copy is in progress"),
    (r"drop future write end without first writing", r"cannot drop the writable end of a future that was not written"),
    (r"concurrent operations active on a future/stream", rf"cannot start a copy on {END} while another"),
    (r"cannot read from stream after", r"cannot read after", r"cannot copy on a readable end of a stream after"),
    (r"cannot read from future after", r"cannot read after", r"cannot copy on a readable end of a future after"),
    (r"cannot write to stream after", r"cannot write after", r"cannot copy on a writable end of a stream after"),
    (r"cannot write to future after", r"cannot write after", r"cannot copy on a writable end of a future after"),
    (r"cannot lift stream after", r"cannot pass on a readable end of a stream whose other end"),
    (r"cannot lift future after", r"cannot pass on a readable end of a future whose other end"),
    (r"cannot lift stream while it's in a waitable", r"cannot pass on a readable end of a stream while it is in a "),
    (r"cannot lift future while it's in a waitable", r"cannot pass on a readable end of a future while it is in a "),
    (r"intra-component (future|stream)", r"cannot read and write the same stream or future within one instance"),
    (r"read/write count too large", r"a buffer of \d+ elements is too long"),
    # Values and memory
    (r"invalid variant discriminant", r"discriminant \d+ out of range"),
    (r"invalid `char` bit pattern", r"invalid char 0x"),
    (r"incomplete utf-8 byte sequence", r"invalid utf-8 in a string: unexpected end of data"),
    (r"list content out-of-bounds", r"a list .*(out of bounds|is longer than)", r"result of realloc .* out of bounds"),
    (r"string (content|pointer/length) out.of.bounds", r"a string .*(out of bounds|is longer than)"),
    (r"string pointer not aligned", r"unaligned pointer: a string"),
    (r"realloc return: beyond end of memory", r"the result of realloc .* out of bounds"),
    (r"realloc return: result not aligned", r"unaligned pointer: the result of realloc"),
    (r"invalid debug message pointer", r"a value at 0x[0-9a-f]+ of \d+ bytes is out of bounds"),
    (r"fuel allocated for hostcalls has been exhausted", r"the lifted values take more than"),
)
PATTERNS = tuple(re.compile("|".join(row), re.IGNORECASE) for row in MEANINGS)


def meanings(message: str) -> set[int]:
    return {index for index, pattern in enumerate(PATTERNS) if pattern.search(message)}


def means(actual: str, expected: str) -> bool:
    """Whether a trap's message says what a script expects it to."""
    expected = expected.removeprefix("wasm trap: ")
    return expected in actual or not meanings(actual).isdisjoint(meanings(expected))

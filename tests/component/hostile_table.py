"""What a row in the table of misuses is: what a guest does to a built-in, what the trap says, and what stands in the
guest's handle table where there is none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hostile_builtins import i32
from hostile_components import IN

PREPARED = ("own", "readable end of a stream", "subtask")
"""What stands in the table of every instance under test, and stays there unless a row says otherwise."""
BORROW_IS_LEFT = "borrow handles still remain at the end of the call: 1"
ENDS_OF_STREAM = ("readable end of a stream", "writable end of a stream")
ENDS_OF_FUTURE = ("readable end of a future", "writable end of a future")


@dataclass(frozen=True, eq=False)
class Row:
    """`code` runs in an export of its own. `says` is what the trap's message has to match, None where there is none:
    then the handle table has the kinds `leaves`.

    With `lifted`, the code gives a core result, which is lifted to a result of this type. With `returns`, the function
    is lifted `async` without a callback, and has this result ("" for none). `late` says that the caller has its result
    before the trap.
    """

    builtin: str
    misuse: str
    code: str
    says: str | None
    leaves: tuple[str, ...] = ()
    returns: str | None = None
    late: bool = False
    lifted: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.builtin}: {self.misuse}"

    @property
    def borrows(self) -> bool:
        return "$borrowed" in self.code

    def code_text(self, name: str) -> str:
        param, keep = ("(param i32)", "(global.set $borrowed (local.get 0))") if self.borrows else ("", "")
        result = "(result i32)" if self.lifted else ""
        return f'(func (export "{name}") {param} {result} {keep} {self.code})'

    def export_text(self, name: str) -> str:
        param = '(param "file" (borrow $file))' if self.borrows else ""
        if self.lifted:
            lift = f'(canon lift (core func $main "{name}") (memory $memory))'
            return f'(func (export "{name}") {param} (result {self.lifted}) {lift})'
        if self.returns is None:
            return f'(func (export "{name}") {param} (canon lift (core func $main "{name}")))'
        result = f"(result {self.returns})" if self.returns else ""
        options = "async (memory $memory)"
        return f'(func (export "{name}") async {param} {result} (canon lift (core func $main "{name}") {options}))'


def traps(
    builtin: str, misuse: str, *code: str, says: str, returns: str | None = None, late: bool = False, **settings: Any
) -> Row:
    return Row(builtin, misuse, "\n".join(code), says, (), returns, late, settings=settings)


def passes(
    builtin: str, misuse: str, *code: str, leaves: Iterable[str] = (), drops: Iterable[str] = (), in_async: bool = False
) -> Row:
    """`leaves` comes on top of what was prepared, `drops` is what of that is gone."""
    kept = list(PREPARED)
    for kind in drops:
        kept.remove(kind)
    if in_async:
        code = (*code, "(call $return-nothing)")
    return Row(builtin, misuse, "\n".join(code), None, (*kept, *leaves), "" if in_async else None)


def repeat(code: str, times: int) -> str:
    return f"""(global.set $in {i32(times)})
      (loop $on {code} (global.set $in (i32.sub {IN} {i32(1)})) (br_if $on {IN}))"""

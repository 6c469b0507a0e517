"""`wasi:http/types` 0.2: the resource `fields`, and resources that have children."""

from __future__ import annotations

from typing import ClassVar, Self

from ...errors import trap_if
from ..http.fields import Fields as SharedFields


class Parent:
    """A resource whose children have to be dropped before it."""

    name: ClassVar[str]
    children = 0

    def check_childless(self) -> None:
        trap_if(self.children, f"wasi:http: the {self.name} was given up before its children")


class Fields(SharedFields):
    """The resource `fields`.

    Its `header-error` has no case for fields that are too large: they are `forbidden`.
    """

    too_large: ClassVar[str] = "forbidden"

    def __init__(self) -> None:
        super().__init__()
        self.parent: Parent | None = None

    def entries(self) -> list[tuple[str, bytes]]:
        return self.lines

    def close(self) -> None:
        if self.parent is not None:
            self.parent.children -= 1
            self.parent = None

    # What the WIT does not name

    def child_of(self, parent: Parent) -> Self:
        """The same fields, immutable, as a resource of their own that belongs to another one."""
        child = type(self)().frozen()
        child.lines, child.size = self.lines, self.size
        child.parent = parent
        parent.children += 1
        return child

    def taken(self) -> Self:
        """The fields of a handle that a guest gave away: nobody changes them any more."""
        self.close()
        return self.frozen()

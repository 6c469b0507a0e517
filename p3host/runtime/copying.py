"""How the elements of one stream or future type pass in and out of memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ..abi.context import Context
from ..abi.copy import is_plain
from ..abi.layout import alignment, elem_size
from ..abi.lift import compile_load_elements
from ..abi.lower import compile_store_elements
from ..abi.options import AbiOptions
from ..types import ValType
from .owning import all_or_nothing, pass_all_or_nothing


class ElementCodec:
    """`load(context, pointer, count)` and `store(context, values, pointer)` for ranges that were checked before.

    `plain` says that the bytes of an element are its value, whatever memory they lie in.
    """

    __slots__ = ("alignment", "elem_size", "elem_type", "load", "options", "plain", "store")

    def __init__(self, elem_type: ValType | None, options: AbiOptions) -> None:
        self.elem_type = elem_type
        self.options = options
        self.load: Callable[[Context, int, int], Any]
        self.store: Callable[[Context, Any, int], None]
        if elem_type is None:
            self.alignment, self.elem_size, self.plain = 1, 0, True
            self.load, self.store = load_nothing, store_nothing
        else:
            self.alignment = alignment(elem_type, options.pointer)
            self.elem_size = elem_size(elem_type, options.pointer)
            self.plain = is_plain(elem_type)
            self.load = all_or_nothing(compile_load_elements(elem_type, options), (elem_type,))
            self.store = compile_store_elements(elem_type, options)


@lru_cache(maxsize=1024)
def element_codec(elem_type: ValType | None, options: AbiOptions) -> ElementCodec:
    return ElementCodec(elem_type, options)


def element_passer(
    source: ElementCodec, target: ElementCodec
) -> Callable[[Context, Context, int, int, int], None] | None:
    """The function `(source context, target context, source pointer, target pointer, count)` that passes elements from
    one guest to another, for ranges that were checked before; None where the types differ."""
    if source.elem_type is None or source.elem_type != target.elem_type:
        return None
    from ..abi.passing import compile_pass_elements  # most programs never need it

    passer = compile_pass_elements(source.elem_type, source.options, target.options)
    return pass_all_or_nothing(passer, (source.elem_type,))


def load_nothing(context: Context, pointer: int, count: int) -> int:
    return count


def store_nothing(context: Context, values: Any, pointer: int) -> None:
    pass

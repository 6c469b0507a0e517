"""Component text in which built-ins are `cancellable`.

The specification (Binary.md, `cancel?`) has the immediate, but assemblers have begun to refuse the word. So the text is
assembled without it, and the immediates are set in the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

from p3host.binary.decoder import decode
from p3host.binary.definitions import CanonBuiltin, CanonKind, Component, NestedComponent
from p3host.engine import text_to_binary
from p3host.wast.syntax import Atom, Form, parse

CANCELLABLE = {
    CanonKind.WAITABLE_SET_WAIT,
    CanonKind.WAITABLE_SET_POLL,
    CanonKind.THREAD_YIELD,
    CanonKind.THREAD_SUSPEND,
    CanonKind.THREAD_SUSPEND_THEN_RESUME,
    CanonKind.THREAD_YIELD_THEN_RESUME,
    CanonKind.THREAD_SUSPEND_THEN_PROMOTE,
    CanonKind.THREAD_YIELD_THEN_PROMOTE,
}
NAMES = {kind.text for kind in CANCELLABLE}
WORD = "cancellable"


def assemble(text: str) -> bytes:
    """The binary form of a component or core module in text form."""
    forms = [form for top in parse(text) for form in built_ins(top)]
    words = [atom for form in forms for atom in form.items if isinstance(atom, Atom) and atom.text == WORD]
    for word in reversed(words):
        text = text[: word.start] + " " * len(WORD) + text[word.end :]
    data = bytearray(text_to_binary(text))
    if words:
        definitions = list(builtin_definitions(decode(data)))
        assert len(definitions) == len(forms)
        for form, definition in zip(forms, definitions, strict=True):
            assert data[definition.offset] == definition.kind.value
            data[definition.offset + 1] = any(isinstance(item, Atom) and item.text == WORD for item in form.items)
    return bytes(data)


def built_ins(form: Form) -> Iterator[Form]:
    """The forms in `form` that define built-ins which can be cancellable."""
    if form.keyword == "canon" and isinstance(form.items[1], Atom) and form.items[1].text in NAMES:
        yield form
    for item in form.items:
        if isinstance(item, Form):
            yield from built_ins(item)


def builtin_definitions(component: Component) -> Iterator[CanonBuiltin]:
    for definition in component.definitions:
        if isinstance(definition, NestedComponent):
            yield from builtin_definitions(definition.component)
        elif isinstance(definition, CanonBuiltin) and definition.kind in CANCELLABLE:
            yield definition

"""Whatever the bytes, a component is valid or refused; and where wasmtime can decide, it decides the same."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st
from test_binary_validate import VALID as COMPONENTS
from test_binary_validate_canon import BUILTINS, LIBRARY, LIFTED, builtin, lower
from test_binary_validate_names import VALID as NAMES
from validation_cases import encode, is_limit_of_wasmtime, refusal, wasmtime_refusal

from p3host.binary.core_modules import module_type
from p3host.binary.decoder import decode
from p3host.binary.definitions import Component, CoreModule, NestedComponent
from p3host.binary.validate import validate

TEXTS = [
    *COMPONENTS.values(),
    *(f"(component {definitions})" for definitions in NAMES.values()),
    *(f"(component {LIBRARY} {definitions})" for definitions in LIFTED.values()),
    f"(component {LIBRARY} (core type $start (func (param i32))) {' '.join(map(builtin, list(BUILTINS)[:11]))})",
    f"(component {LIBRARY} {lower('(result string)', '(memory $mem) (realloc $realloc)')})",
]


def core_code(component: Component) -> list[range]:
    """Where core modules lie: whether they are valid is not the component level's to say."""
    found: list[range] = []
    for definition in component.definitions:
        if isinstance(definition, CoreModule):
            found.append(range(definition.offset, definition.offset + len(definition.data)))
        elif isinstance(definition, NestedComponent):
            found += core_code(definition.component)
    return found


def component_level(data: bytes) -> list[int]:
    modules = core_code(decode(data))
    return [i for i in range(8, len(data)) if not any(i in module for module in modules)] or [8]


CORPUS = [(data, component_level(data)) for data in map(encode, TEXTS)]

mutations = st.sampled_from(CORPUS).flatmap(
    lambda entry: st.tuples(
        st.just(entry[0]),
        st.lists(
            st.tuples(st.sampled_from(entry[1]), st.integers(0, 2), st.binary(max_size=2)), min_size=1, max_size=3
        ),
    )
)


@settings(max_examples=400, deadline=None)
@given(mutations)
def test_mutated_component_is_valid_or_refused_as_wasmtime_has_it(
    mutation: tuple[bytes, list[tuple[int, int, bytes]]],
) -> None:
    original, edits = mutation
    data = bytearray(original)
    for at, length, replacement in edits:
        data[at : at + length] = replacement
    ours, theirs = refusal(bytes(data)), wasmtime_refusal(bytes(data))
    if not ours and theirs:
        assert is_limit_of_wasmtime(theirs) or "translation error" in theirs, theirs
    elif ours:
        assert theirs, ours


def test_a_component_of_two_thousand_definitions_is_validated_at_once() -> None:
    methods = "".join(
        f'(export "[method]r.m{i}" (func (param "self" (borrow $r)) (param "x" (list $q)) (result (option string))))'
        for i in range(8)
    )
    interface = f"""(instance (export "r" (type $r (sub resource))) (type $p (record (field "a" u8)))
      (export "q" (type $q (eq $p))) {methods})"""
    imports = "".join(f'(import "i{i}" {interface})' for i in range(60))
    component = decode(encode(f"(component {imports})"))
    fastest = 1.0
    for _ in range(5):
        start = time.perf_counter()
        validate(component, module_type)
        fastest = min(fastest, time.perf_counter() - start)
    assert fastest < 0.25

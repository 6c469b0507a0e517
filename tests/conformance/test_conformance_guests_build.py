"""The built guests are there, small enough to be committed, and decode; the component text encodes. Those that are not
committed are built, where their tools are there, by the tests that run them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import wasmtime

from p3host.binary.decoder import decode
from p3host.binary.definitions import Export, Import

GUESTS = Path(__file__).resolve().parents[2] / "guests"
LARGEST = 3_000_000
CLI_RUN = "wasi:cli/run@0.3.0"
CLI_RUN_P2 = "wasi:cli/run@0.2.12"

EXPORTS = {
    "c-back": {"p3host:c-back/guest@0.1.0"},
    "c-cli": {CLI_RUN},
    "c-front": {"p3host:c-front/guest@0.1.0"},
    "c-pair": {"p3host:c-front/guest@0.1.0"},
    "c-http": {"wasi:http/handler@0.3.0"},
    "c-sockets": {"p3host:c-sockets/guest@0.1.0"},
    "c-sockets-p2": {"p3host:c-sockets-p2/guest@0.1.0"},
    "c-files": {CLI_RUN},
    "c-http-p2": {"wasi:http/incoming-handler@0.2.12"},
    "c-throughput": {CLI_RUN},
    "c-throughput-p2": {"wasi:cli/run@0.2.12"},
    "c-site": {"wasi:http/handler@0.3.0"},
    "c1": {"p3host:c1/guest@0.1.0"},
    "c2": {"p3host:c2/guest@0.1.0"},
    "c3": {"p3host:c3/guest@0.1.0"},
    "c4": {"p3host:c4/guest@0.1.0"},
    "c-command": {CLI_RUN_P2},
    "rust-command": {CLI_RUN_P2},
    "go-command": {CLI_RUN_P2},
    "go-hello": {CLI_RUN},
    "go-http": {"wasi:http/handler@0.3.0"},
    "go-reactor": {
        "sleep-echo",
        "plain-sleep",
        "fan-out",
        "upper",
        "checksum",
        "generate",
        "spin",
        "fail",
    },
}
P2_GUESTS = {"c-http-p2", "c-sockets-p2", "c-throughput-p2", "c-command", "rust-command", "go-command"}
NOT_COMMITTED = {"python-command", "python-cli", "python-http", "python-http-p2", "js-cli", "js-http", "js-http-p2"}
OWN_IMPORTS = {
    "c-back": {"p3host:c-back/host@0.1.0"},
    "c-front": {"p3host:c-back/guest@0.1.0"},
    "c-pair": {"p3host:c-back/host@0.1.0"},
    "c1": {"p3host:c1/host@0.1.0"},
    "c2": {"p3host:c2/host@0.1.0"},
    "c3": {"p3host:c3/host@0.1.0"},
    "c4": {"p3host:c4/host@0.1.0"},
    "go-reactor": {"wait", "lookup"},
}
TEXT_EXPORTS = {
    "account": {"deposit", "withdraw", "balance"},
    "bench": {
        "nop",
        "add",
        "echo",
        "echo-bytes",
        "call-now",
        "sync-nop",
        "sync-add",
        "sync-echo",
        "sync-echo-bytes",
    },
    "hello": {CLI_RUN},
    "stdin": {CLI_RUN},
    "stdout": {CLI_RUN},
    "streams": {"sink", "source"},
}


def names(component: bytes, kind: type[Import] | type[Export]) -> set[str]:
    return {d.name.name for d in decode(component).definitions if isinstance(d, kind)}


def built(guest: str) -> bytes:
    return (GUESTS / guest / f"{guest}.wasm").read_bytes()


def test_every_guest_is_built() -> None:
    sources = {path.parent.name for pattern in ("*/world.wit", "*/main.*") for path in GUESTS.glob(pattern)}
    assert sources == set(EXPORTS) | NOT_COMMITTED


def test_every_guest_is_told_of() -> None:
    told = set(re.findall(r"^\| \[([\w-]+)\]", (GUESTS / "README.md").read_text(), re.MULTILINE))
    assert set(EXPORTS) | NOT_COMMITTED <= told


@pytest.mark.parametrize("guest", EXPORTS)
def test_built_guest_is_small_and_exports_its_world(guest: str) -> None:
    component = built(guest)
    assert len(component) < LARGEST
    assert names(component, Export) == EXPORTS[guest]


@pytest.mark.parametrize("guest", sorted(set(EXPORTS) - P2_GUESTS))
def test_built_guest_imports_its_own_world_and_wasi_0_3_alone(guest: str) -> None:
    imports = names(built(guest), Import)
    own = OWN_IMPORTS.get(guest, set())
    assert own <= imports
    assert [name for name in imports - own if not (name.startswith("wasi:") and name.endswith("@0.3.0"))] == []


@pytest.mark.parametrize("guest", sorted(P2_GUESTS))
def test_guest_of_wasi_0_2_imports_that_alone(guest: str) -> None:
    imports = names(built(guest), Import)
    assert "wasi:io/poll@0.2.12" in imports
    assert [name for name in imports if "@0.2." not in name] == []


def test_pair_holds_its_two_components_as_they_were_built() -> None:
    pair = built("c-pair")
    assert built("c-back") in pair
    assert built("c-front") in pair


@pytest.mark.parametrize("name", TEXT_EXPORTS)
def test_component_text_encodes(name: str) -> None:
    text = (GUESTS / "text" / f"{name}.wat").read_text()
    for word, value in {"@TOTAL@": "1000", "@CHUNK@": "65536", "@BUF@": "131072"}.items():
        text = text.replace(word, value)
    component = bytes(wasmtime.wat2wasm(text))
    assert names(component, Export) == TEXT_EXPORTS[name]

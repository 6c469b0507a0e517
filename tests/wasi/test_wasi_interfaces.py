"""Every interface of WASI, every function of it with its types, against what `Wasi` provides."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

import pytest
from interface_text import Function, Interface, component_text, read
from interfaces_p2 import INTERFACES as P2
from interfaces_p3 import INTERFACES as P3

from p3host import Component, LinkError, Wasi
from p3host.types import InstanceType
from p3host.wasi.http.messages import EMPTY_CASES, OPTIONAL_CASES, RECORD_CASES
from p3host.wasi.p2 import filesystem as p2_filesystem
from p3host.wasi.p2 import sockets as p2_sockets
from p3host.wasi.p2 import tcp as p2_tcp
from p3host.wasi.p3 import cli as p3_cli
from p3host.wasi.p3 import filesystem as p3_filesystem
from p3host.wasi.p3 import sockets as p3_sockets
from p3host.wasi.sockets import name_lookup
from p3host.wasi.sockets.handles import ErrorCodes

VERSIONS = [f"0.2.{patch}" for patch in range(13)] + ["0.3.0-rc-2026-03-15", "0.3.0", "0.3.1"]


def interfaces_of(version: str) -> dict[str, Interface]:
    return read(P3 if version.startswith("0.3") else P2, version)


@pytest.mark.anyio
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_component_that_imports_all_of_it_is_linked(version: str) -> None:
    interfaces = interfaces_of(version)
    component = Component.load(component_text(interfaces, version))
    assert component.type.imports.keys() == {f"{name}@{version}" for name in interfaces}
    for name, interface in interfaces.items():
        imported = component.type.imports[f"{name}@{version}"]
        assert isinstance(imported, InstanceType)
        assert {function.name for function in interface.functions} <= imported.exports.keys()
    async with component.instantiate(wasi=Wasi()):
        pass


def test_nothing_is_provided_but_what_the_tables_have() -> None:
    known = {f"{name}@{world}" for world in ("0.2", "0.3") for name in interfaces_of(f"{world}.12")}
    assert Wasi().interfaces().keys() == known


@pytest.mark.anyio
@pytest.mark.parametrize("world", ["0.2.12", "0.3.0"])
async def test_one_function_that_is_not_there_is_missed(world: str) -> None:
    interfaces = interfaces_of(world)
    interfaces["wasi:random/random"].functions.append(Function("get-dice", False, [], "u8"))
    component = Component.load(component_text(interfaces, world))
    with pytest.raises(LinkError, match=f"wasi:random/random@{world}#get-dice: missing"):
        async with component.instantiate(wasi=Wasi()):
            pass


# Error codes: every errno, and every error of name lookup, is a case of the interface that tells it.

NUMBERS = [*errno.errorcode, 0, 100_000]
LOOKUP_NUMBERS = [number for name, number in vars(socket).items() if name.startswith("EAI_")]


def codes(world: str, interface: str, known: Iterable[object]) -> tuple[set[str], set[str]]:
    """The cases that come of errors, and those that the WIT has."""
    produced = {str(getattr(code, "tag", code)) for code in known}
    return produced, interfaces_of(world)[interface].cases("error-code")


def test_an_error_of_a_file_is_a_case_and_each_case_has_one() -> None:
    for world, version in ("0.2.0", p2_filesystem), ("0.3.0", p3_filesystem):
        produced, cases = codes(world, "wasi:filesystem/types", map(version.Descriptor.error_code, NUMBERS))
        assert produced == cases


def test_an_error_of_a_socket_is_a_case_and_each_case_has_one() -> None:
    def told(errors: ErrorCodes) -> Iterable[object]:
        return (errors.failed(OSError(number, "")).value for number in NUMBERS)

    produced, cases = codes("0.3.0", "wasi:sockets/types", told(p3_sockets.ERRORS))
    assert produced == cases
    produced, cases = codes("0.2.0", "wasi:sockets/network", told(p2_tcp.ERRORS))
    assert cases - produced == {
        "not-in-progress",  # of finishing what was not started
        *("name-unresolvable", "temporary-resolver-failure", "permanent-resolver-failure"),
    }


@pytest.mark.parametrize(
    ("world", "interface", "labels", "other"),
    [
        ("0.2.0", "wasi:sockets/network", p2_sockets.LOOKUP_LABELS, "unknown"),
        ("0.3.0", "wasi:sockets/ip-name-lookup", name_lookup.ERROR_LABELS, "other"),
    ],
)
def test_an_error_of_a_lookup_is_a_case(world: str, interface: str, labels: dict[int, str], other: str) -> None:
    produced, cases = codes(world, interface, (labels.get(number, other) for number in LOOKUP_NUMBERS))
    assert produced <= cases
    assert cases - produced <= interfaces_of("0.2.0")["wasi:sockets/network"].cases("error-code")


def test_an_error_of_a_standard_stream_is_a_case_and_each_case_has_one() -> None:
    produced, cases = codes("0.3.0", "wasi:cli/types", (p3_cli.error_code(OSError(n, "")) for n in NUMBERS))
    assert produced == cases


@pytest.mark.parametrize("world", ["0.2.0", "0.3.0"])
def test_every_error_of_http_can_be_told(world: str) -> None:
    cases = interfaces_of(world)["wasi:http/types"].cases("error-code")
    assert cases == EMPTY_CASES | OPTIONAL_CASES | RECORD_CASES.keys()

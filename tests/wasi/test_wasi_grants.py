"""`Wasi`: the grants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from p3host.errors import Err, LinkError
from p3host.wasi import Directory, Wasi
from p3host.wasi.p2.io import Error

DENIED: list[tuple[str, str, list[Any]]] = [
    ("tcp-create-socket", "create_tcp_socket", ["ipv4"]),
    ("udp-create-socket", "create_udp_socket", ["ipv6"]),
]
DENIED += [("ip-name-lookup", "resolve_addresses", [object(), "localhost"])]


@pytest.mark.parametrize(("interface", "function", "arguments"), DENIED)
def test_no_socket_and_no_name_lookup_is_allowed(interface: str, function: str, arguments: list[Any]) -> None:
    with pytest.raises(Err) as raised:
        getattr(Wasi().interfaces()[f"wasi:sockets/{interface}@0.2"], function)(*arguments)
    assert raised.value.value == "access-denied"


def test_there_is_a_network_that_allows_nothing() -> None:
    interfaces: Any = Wasi().interfaces()
    types = interfaces["wasi:sockets/network@0.2"]
    assert isinstance(interfaces["wasi:sockets/instance-network@0.2"].instance_network(), types.Network)
    assert types.network_error_code(Error(OSError("odd"))) is None


@pytest.mark.parametrize(
    ("grants", "message"),
    [
        ({"args": "prog"}, "not the one string 'prog'"),
        ({"args": ["prog", 1]}, "args must consist of strings, not 1"),
        ({"args": [b"prog"]}, "args must consist of strings"),
        ({"env": {"A": 1}}, "env must consist of strings, not 1"),
        ({"env": {b"A": "1"}}, "env must consist of strings"),
        ({"stdin": "text"}, "stdin must be"),
        ({"stdout": "text"}, "stdout and stderr must be"),
        ({"network": "*"}, "network must be a Network, not '*'"),
        ({"stderr": 2}, "stdout and stderr must be"),
        ({"initial_directory": b"/"}, "initial_directory must consist of strings, not b'/'"),
        ({"directories": ["/tmp"]}, "directories must consist of Directory, not '/tmp'"),
    ],
)
def test_grants_of_the_wrong_kind_are_refused(grants: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Wasi(**grants)


def test_strings_that_no_component_can_get_are_refused() -> None:
    with pytest.raises(LinkError) as raised:
        Wasi(args=["prog", "\udcff"], env={"A": "\ud800", "B": "\U0010ffff"}, initial_directory="/\udfff")
    assert [problem.partition(" ")[0] for problem in raised.value.problems] == ["args", "env", "initial_directory"]
    assert "'\\udcff', which is not UTF-8" in raised.value.problems[0]


def test_each_instantiation_reads_stdin_from_its_start() -> None:
    wasi = Wasi(stdin=b"abc")
    for _ in range(2):
        interfaces: Any = wasi.interfaces()
        assert interfaces["wasi:cli/stdin@0.2"].get_stdin().read(10) == b"abc"


@pytest.mark.anyio
@pytest.mark.parametrize("version", ["0.2", "0.3"])
async def test_open_files_are_as_many_as_are_granted(version: str, tmp_path: Path) -> None:
    wasi = Wasi(directories=[Directory(tmp_path, "/")], max_open_files=2)
    interfaces: Any = wasi.interfaces()
    preopens = interfaces[f"wasi:filesystem/preopens@{version}"]
    opened = [await preopens.get_directories() for _ in range(2)]
    with pytest.raises(OSError, match="Too many open files"):
        await preopens.get_directories()
    opened.pop()[0][0].close()
    assert len(await preopens.get_directories()) == 1

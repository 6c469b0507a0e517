"""`Wasi`: the grants, and that every function of WIT is there."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from p3host.errors import Err, LinkError
from p3host.values import class_name, python_name
from p3host.wasi import Wasi
from p3host.wasi.p2.io import Error

ENVIRONMENT = "get-environment get-arguments"
TCP = """start-bind finish-bind start-connect finish-connect start-listen finish-listen accept local-address
    remote-address is-listening address-family set-listen-backlog-size keep-alive-enabled set-keep-alive-enabled
    keep-alive-idle-time set-keep-alive-idle-time keep-alive-interval set-keep-alive-interval keep-alive-count
    set-keep-alive-count hop-limit set-hop-limit receive-buffer-size set-receive-buffer-size send-buffer-size
    set-send-buffer-size subscribe shutdown"""
UDP = """start-bind finish-bind stream local-address remote-address address-family unicast-hop-limit
    set-unicast-hop-limit receive-buffer-size set-receive-buffer-size send-buffer-size set-send-buffer-size
    subscribe"""
TCP_3 = """create bind connect listen send receive get-local-address get-remote-address get-is-listening
    get-address-family set-listen-backlog-size get-keep-alive-enabled set-keep-alive-enabled get-keep-alive-idle-time
    set-keep-alive-idle-time get-keep-alive-interval set-keep-alive-interval get-keep-alive-count
    set-keep-alive-count get-hop-limit set-hop-limit get-receive-buffer-size set-receive-buffer-size
    get-send-buffer-size set-send-buffer-size"""
UDP_3 = """create bind connect disconnect send receive get-local-address get-remote-address get-address-family
    get-unicast-hop-limit set-unicast-hop-limit get-receive-buffer-size set-receive-buffer-size get-send-buffer-size
    set-send-buffer-size"""
INPUT_STREAM = "read blocking-read skip blocking-skip subscribe"
OUTPUT_STREAM = """check-write write blocking-write-and-flush flush blocking-flush subscribe write-zeroes
    blocking-write-zeroes-and-flush splice blocking-splice"""
FIELDS = "from-list get has set delete get-and-delete append copy-all clone"
REQUEST = """new get-method set-method get-path-with-query set-path-with-query get-scheme set-scheme get-authority
    set-authority get-options get-headers consume-body"""
REQUEST_OPTIONS = """get-connect-timeout set-connect-timeout get-first-byte-timeout set-first-byte-timeout
    get-between-bytes-timeout set-between-bytes-timeout clone"""
RESPONSE = "new get-status-code set-status-code get-headers consume-body"

# Functions as "name", methods as "resource.name", resources as "resource.".
HTTP_P2_RESOURCES = {
    "fields": "from-list get has set delete append entries clone",
    "incoming-request": "method path-with-query scheme authority headers consume",
    "outgoing-request": "body method set-method path-with-query set-path-with-query scheme set-scheme authority"
    " set-authority headers",
    "request-options": "connect-timeout set-connect-timeout first-byte-timeout set-first-byte-timeout"
    " between-bytes-timeout set-between-bytes-timeout",
    "response-outparam": "set send-informational",
    "incoming-response": "status headers consume",
    "incoming-body": "stream finish",
    "future-trailers": "subscribe get",
    "outgoing-response": "status-code set-status-code headers body",
    "outgoing-body": "write finish",
    "future-incoming-response": "subscribe get",
}
HTTP_P2 = [f"{resource}.{name}" for resource, names in HTTP_P2_RESOURCES.items() for name in names.split()]
FUNCTIONS = {
    "wasi:cli/environment@0.2": f"{ENVIRONMENT} initial-cwd",
    "wasi:cli/exit@0.2": "exit exit-with-code",
    "wasi:cli/stdin@0.2": "get-stdin",
    "wasi:cli/stdout@0.2": "get-stdout",
    "wasi:cli/stderr@0.2": "get-stderr",
    "wasi:cli/terminal-input@0.2": "terminal-input.",
    "wasi:cli/terminal-output@0.2": "terminal-output.",
    "wasi:cli/terminal-stdin@0.2": "get-terminal-stdin",
    "wasi:cli/terminal-stdout@0.2": "get-terminal-stdout",
    "wasi:cli/terminal-stderr@0.2": "get-terminal-stderr",
    "wasi:clocks/monotonic-clock@0.2": "now resolution subscribe-instant subscribe-duration",
    "wasi:clocks/wall-clock@0.2": "now resolution",
    "wasi:clocks/timezone@0.2": "display utc-offset",
    "wasi:io/error@0.2": "error.to-debug-string",
    "wasi:io/poll@0.2": "poll pollable.ready pollable.block",
    "wasi:io/streams@0.2": " ".join(
        [f"input-stream.{name}" for name in INPUT_STREAM.split()]
        + [f"output-stream.{name}" for name in OUTPUT_STREAM.split()]
    ),
    "wasi:random/random@0.2": "get-random-bytes get-random-u64",
    "wasi:random/insecure@0.2": "get-insecure-random-bytes get-insecure-random-u64",
    "wasi:random/insecure-seed@0.2": "insecure-seed",
    "wasi:sockets/network@0.2": "network. network-error-code",
    "wasi:sockets/instance-network@0.2": "instance-network",
    "wasi:sockets/ip-name-lookup@0.2": "resolve-addresses resolve-address-stream.resolve-next-address"
    " resolve-address-stream.subscribe",
    "wasi:sockets/tcp@0.2": " ".join(f"tcp-socket.{name}" for name in TCP.split()),
    "wasi:sockets/tcp-create-socket@0.2": "create-tcp-socket",
    "wasi:sockets/udp@0.2": " ".join(
        [f"udp-socket.{name}" for name in UDP.split()]
        + [f"incoming-datagram-stream.{name}" for name in ("receive", "subscribe")]
        + [f"outgoing-datagram-stream.{name}" for name in ("check-send", "send", "subscribe")]
    ),
    "wasi:sockets/udp-create-socket@0.2": "create-udp-socket",
    "wasi:http/types@0.2": " ".join(["http-error-code", *HTTP_P2]),
    "wasi:http/outgoing-handler@0.2": "handle",
    "wasi:cli/environment@0.3": f"{ENVIRONMENT} get-initial-cwd",
    "wasi:cli/exit@0.3": "exit exit-with-code",
    "wasi:cli/types@0.3": "",
    "wasi:cli/stdin@0.3": "read-via-stream",
    "wasi:cli/stdout@0.3": "write-via-stream",
    "wasi:cli/stderr@0.3": "write-via-stream",
    "wasi:cli/terminal-input@0.3": "terminal-input.",
    "wasi:cli/terminal-output@0.3": "terminal-output.",
    "wasi:cli/terminal-stdin@0.3": "get-terminal-stdin",
    "wasi:cli/terminal-stdout@0.3": "get-terminal-stdout",
    "wasi:cli/terminal-stderr@0.3": "get-terminal-stderr",
    "wasi:clocks/types@0.3": "",
    "wasi:clocks/monotonic-clock@0.3": "now get-resolution wait-until wait-for",
    "wasi:clocks/system-clock@0.3": "now get-resolution",
    "wasi:clocks/timezone@0.3": "iana-id utc-offset to-debug-string",
    "wasi:http/types@0.3": " ".join(
        [f"fields.{name}" for name in FIELDS.split()]
        + [f"request.{name}" for name in REQUEST.split()]
        + [f"request-options.{name}" for name in REQUEST_OPTIONS.split()]
        + [f"response.{name}" for name in RESPONSE.split()]
    ),
    "wasi:http/client@0.3": "send",
    "wasi:sockets/types@0.3": " ".join(
        [f"tcp-socket.{name}" for name in TCP_3.split()] + [f"udp-socket.{name}" for name in UDP_3.split()]
    ),
    "wasi:sockets/ip-name-lookup@0.3": "resolve-addresses",
    "wasi:random/random@0.3": "get-random-bytes get-random-u64",
    "wasi:random/insecure@0.3": "get-insecure-random-bytes get-insecure-random-u64",
    "wasi:random/insecure-seed@0.3": "get-insecure-seed",
}


@pytest.mark.parametrize(("interface", "names"), FUNCTIONS.items())
def test_every_function_is_there(interface: str, names: str) -> None:
    provider: Any = Wasi().interfaces()[interface]
    for name in names.split():
        resource, is_method, function = name.rpartition(".")
        place = provider
        if is_method:
            place = getattr(provider, class_name(resource))
            assert inspect.isclass(place)
        assert not function or callable(getattr(place, python_name(function), None))


def test_no_interface_is_left_out_of_the_table() -> None:
    assert {name for name in Wasi().interfaces() if "filesystem" not in name} == set(FUNCTIONS)


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

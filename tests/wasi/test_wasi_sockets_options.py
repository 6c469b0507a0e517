"""The options of sockets, in both versions."""

from __future__ import annotations

from typing import Any

import pytest
from socket_fakes import FAMILIES, LOCALHOST, VERSIONS, Guest, address
from wasi_fakes import finish, outcome

pytestmark = pytest.mark.anyio

SECOND = 10**9
U64 = (1 << 64) - 1
U32 = (1 << 32) - 1

# option, a value that is kept, the smallest and what becomes of it, the largest and what becomes of it
BUFFERS: list[tuple[str, Any, Any, Any]] = [
    ("receive_buffer_size", 65536, (1, range(1, 65536)), (U64, range(65536, U64))),
    ("send_buffer_size", 65536, (1, range(1, 65536)), (U64, range(65536, U64))),
]
TCP: list[tuple[str, Any, Any, Any]] = [
    ("keep_alive_idle_time", 42 * SECOND, (1, [SECOND]), (U64, [32767 * SECOND])),
    ("keep_alive_interval", 42 * SECOND, (1, [SECOND]), (U64, [32767 * SECOND])),
    ("keep_alive_count", 42, (1, [1]), (U32, [127])),
    ("hop_limit", 42, (1, [1]), (255, [255])),
    *BUFFERS,
]
UDP = [("unicast_hop_limit", 42, (1, [1]), (255, [255])), *BUFFERS]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("kind", "option", "kept", "smallest", "largest"),
    [("tcp", *each) for each in TCP] + [("udp", *each) for each in UDP],
)
async def test_option(
    version: str, family: str, kind: str, option: str, kept: int, smallest: Any, largest: Any
) -> None:
    guest = Guest(version)
    opened = getattr(guest, kind)(family)
    change = getattr(opened, f"set_{option}")
    before = guest.get(opened, option)
    assert before > 0
    assert await outcome(change, 0) == "invalid-argument"
    assert guest.get(opened, option) == before
    for value, results in ((kept, [kept]), smallest, largest):
        change(value)
        assert guest.get(opened, option) in results


@pytest.mark.parametrize("version", VERSIONS)
async def test_keep_alive_is_switched(version: str) -> None:
    guest = Guest(version)
    opened = guest.tcp()
    for value in (False, True, False):
        opened.set_keep_alive_enabled(value)
        assert guest.get(opened, "keep_alive_enabled") is value


@pytest.mark.parametrize("version", VERSIONS)
async def test_backlog_is_a_hint(version: str) -> None:
    guest = Guest(version)
    opened = guest.tcp()
    assert await outcome(opened.set_listen_backlog_size, 0) == "invalid-argument"
    opened.set_listen_backlog_size(U64)
    guest.bind(opened, address("127.0.0.1", 0))
    guest.listen(opened)
    opened.set_listen_backlog_size(1)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("version", VERSIONS)
async def test_accepted_sockets_inherit_the_options(version: str, family: str) -> None:
    guest = Guest(version)
    opened, client = guest.tcp(family), guest.tcp(family)
    opened.set_keep_alive_enabled(True)
    for option, value, _, _ in TCP:
        getattr(opened, f"set_{option}")(value)
    guest.bind(opened, address(LOCALHOST[family], 0))
    connections = guest.listen(opened)
    await guest.connect(client, guest.local_address(opened))
    if version == "p3":
        [accepted] = await anext(connections)
    else:
        await finish(opened.subscribe().block())
        accepted, *_ = opened.accept()
    assert guest.get(accepted, "keep_alive_enabled") is True
    assert guest.get(accepted, "address_family") == family
    for option, value, _, _ in TCP:
        assert guest.get(accepted, option) == value

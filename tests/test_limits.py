"""The README's table of limits: the defaults that it tells are those that there are."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import p3host
from p3host.abi.options import AbiOptions
from p3host.asgi import PoolLimits
from p3host.host import sources
from p3host.wasi.byte_streams import PIECE
from p3host.wasi.filesystem import handles as filesystem
from p3host.wasi.filesystem import paths
from p3host.wasi.http import fields as http_fields
from p3host.wasi.p2 import random as p2_random
from p3host.wasi.p3 import cli as p3_cli
from p3host.wasi.p3 import random as p3_random
from p3host.wasi.sockets import name_lookup, tcp, tcp_streams, udp

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()
TABLE = README.split("### Limits")[1].split("|---|---|---|---|\n")[1].split("\n\n")[0]
ROWS = [tuple(cell.strip() for cell in line.strip("|").split("|"))[:3] for line in TABLE.splitlines()]
QUANTITY = re.compile(r"(\d+(?:,\d{3})*) ?(KiB|MiB|GiB)?")
UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def quantities(text: str) -> list[int]:
    return [int(number.replace(",", "")) * UNITS[unit] for number, unit in QUANTITY.findall(text)]


def named(text: str) -> list[tuple[str, str]]:
    """Class and attribute of each option; for an argument of `instantiate`, its name alone."""
    found: list[tuple[str, str]] = []
    for owner, name in re.findall(r"`(?:(\w*)\.)?(\w+)`", text):
        found.append((owner or (found[-1][0] if found else ""), name))
    return found


def default_of(owner: str, name: str) -> object:
    function = getattr(p3host, owner) if owner else p3host.Component.instantiate
    return inspect.signature(function).parameters[name].default


OPTIONS = {name: (default, by) for name, default, by in ROWS if "`" in by and "PoolLimits" not in by}


@pytest.mark.parametrize("bounded", OPTIONS)
def test_the_default_of_an_option_is_as_told(bounded: str) -> None:
    default, by = OPTIONS[bounded]
    assert quantities(default) == [default_of(*option) for option in named(by)]


CONSTANTS = {
    "lists and strings of one call": [AbiOptions.lift_limit],
    "streams and futures of the host that guests have": [sources.MAX_SOURCES],
    "what such a stream has read ahead": [sources.MAX_READ],
    "streams of files": [filesystem.STREAMS_PER_FILE],
    "streams over one of stdin, stdout, stderr in 0.3": [p3_cli.MAX_STREAMS],
    "one read of a file or socket, of anything else": [filesystem.MAX_READ, PIECE],
    "a path, links in it": [paths.MAX_PATH - 1, paths.MAX_LINKS],
    "connections that wait to be accepted": [tcp.DEFAULT_BACKLOG],
    "random bytes at once, in 0.3 and 0.2": [p3_random.LONGEST_READ, p2_random.LONGEST_READ],
    "a datagram": [udp.MAX_DATAGRAM],
    "lookups of names, waits for disks at once": [name_lookup.WORKER_THREADS, filesystem.WORKER_THREADS],
    "fields of an HTTP message": [http_fields.MAX_FIELDS, http_fields.MAX_BYTES],
    "fields and requests of an instance": [http_fields.MAX_HELD],
}


@pytest.mark.parametrize(("bounded", "values"), CONSTANTS.items())
def test_a_limit_without_an_option_is_as_told(bounded: str, values: list[int]) -> None:
    assert [quantities(default) for name, default, _ in ROWS if name == bounded] == [values]


def test_every_row_of_the_table_is_held() -> None:
    assert {name for name, _, _ in ROWS} == OPTIONS.keys() | CONSTANTS.keys() | {"requests that are served"}


def test_limits_whose_numbers_stand_elsewhere_are_as_told() -> None:
    told = {name: quantities(f"{default} {by}") for name, default, by in ROWS}
    assert told["connections that wait to be accepted"][1] == tcp.MAX_BACKLOG
    assert tcp_streams.MAX_READ == filesystem.MAX_READ
    pool = PoolLimits()
    assert told["requests that are served"] == [pool.instances, pool.concurrent_requests, pool.waiting_requests]

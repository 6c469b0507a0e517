"""`wasi:clocks/timezone`, both versions: which zone a guest is told, and what of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any

import pytest
from guest_text import component_text, sync_export

from p3host import Component, LinkError, Wasi
from p3host.wasi import time_zone
from p3host.wasi.clock import NoZone, Timestamp
from p3host.wasi.p2 import clocks as p2
from p3host.wasi.p3 import clocks as p3

HOUR, MINUTE = 3600, 60

Zones = Callable[[Any], tuple[p2.Timezone, p3.Timezone]]


class Midsummer:
    """A time of day that stands still."""

    resolution = 1

    def now(self) -> int:
        return seconds(2026, 6, 21) * 10**9


def seconds(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp())  # type: ignore[arg-type, misc]


def providers(grant: tzinfo | str | None) -> tuple[p2.Timezone, p3.Timezone]:
    interfaces: Any = Wasi(time_zone=grant, system_clock=Midsummer()).interfaces()
    return interfaces["wasi:clocks/timezone@0.2"], interfaces["wasi:clocks/timezone@0.3"]


@pytest.fixture
def set_process_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str | None], None]]:
    def change(name: str | None) -> None:
        monkeypatch.delenv("TZ", raising=False) if name is None else monkeypatch.setenv("TZ", name)
        time.tzset()

    yield change
    monkeypatch.undo()
    time.tzset()


# Each zone, moment in UTC, offset in seconds, abbreviation, daylight saving time
MOMENTS = [
    ("UTC", (2026, 7, 1), 0, "UTC", False),
    ("Europe/Berlin", (2026, 1, 1), HOUR, "CET", False),
    ("Europe/Berlin", (2026, 7, 1), 2 * HOUR, "CEST", True),
    ("Europe/Berlin", (2026, 3, 29, 0, 59, 59), HOUR, "CET", False),  # the second before the change
    ("Europe/Berlin", (2026, 3, 29, 1, 0, 0), 2 * HOUR, "CEST", True),
    ("Europe/Berlin", (2026, 10, 25, 0, 59, 59), 2 * HOUR, "CEST", True),  # an hour that comes twice
    ("Europe/Berlin", (2026, 10, 25, 1, 0, 0), HOUR, "CET", False),
    ("America/New_York", (2026, 7, 1), -4 * HOUR, "EDT", True),
    ("America/St_Johns", (2026, 1, 1), -(3 * HOUR + 30 * MINUTE), "NST", False),
    ("Asia/Kolkata", (1969, 12, 31), 5 * HOUR + 30 * MINUTE, "IST", False),  # before 1970
    ("Australia/Lord_Howe", (2026, 1, 1), 11 * HOUR, "+11", True),  # half an hour of daylight saving time
    ("Pacific/Kiritimati", (2026, 1, 1), 14 * HOUR, "+14", False),
    ("Etc/GMT+12", (2026, 1, 1), -12 * HOUR, "-12", False),
    ("Europe/Berlin", (1800, 1, 1), 53 * MINUTE + 28, "LMT", False),  # the sun's time
    ("Europe/Berlin", (9999, 12, 31), HOUR, "CET", False),
]


@pytest.mark.parametrize(("name", "moment", "offset", "abbreviation", "daylight"), MOMENTS)
def test_a_named_zone_tells_what_holds_at_each_moment(
    name: str, moment: tuple[int, ...], offset: int, abbreviation: str, daylight: bool
) -> None:
    older, newer = providers(name)
    when = Timestamp(seconds(*moment), 999_999_999)
    assert older.display(when) == p2.TimezoneDisplay(offset, abbreviation, daylight)
    assert older.utc_offset(when) == offset
    assert newer.utc_offset(when) == offset * 10**9
    assert newer.iana_id() == newer.to_debug_string() == name


def test_no_zone_is_exposed_unless_it_is_granted() -> None:
    older, newer = providers(None)
    when = Timestamp(0, 0)
    assert (newer.iana_id(), newer.utc_offset(when), newer.to_debug_string()) == (None, None, "UTC")
    assert (older.display(when), older.utc_offset(when)) == (p2.TimezoneDisplay(0, "UTC", False), 0)


@pytest.mark.parametrize(
    ("rules", "offset", "name"),
    [
        (timezone(timedelta(hours=-4)), -4 * HOUR, "UTC-04:00"),
        (timezone(timedelta(hours=1, seconds=1), "ship"), HOUR + 1, "ship"),
        (timezone(timedelta(hours=-24, microseconds=1)), -86400, "UTC-23:59:59.999999"),
    ],
)
def test_a_zone_of_the_application_has_no_name_in_the_database(rules: tzinfo, offset: int, name: str) -> None:
    older, newer = providers(rules)
    assert (newer.iana_id(), newer.to_debug_string()) == (None, name)
    assert older.display(Timestamp(0, 0)) == p2.TimezoneDisplay(offset, name, False)


def test_an_offset_is_exact_to_the_microsecond() -> None:
    _, newer = providers(timezone(timedelta(hours=-24, microseconds=1)))
    assert newer.utc_offset(Timestamp(0, 0)) == -86_399_999_999_000


@pytest.mark.parametrize("when", [2**63 - 1, -(2**63), seconds(9999, 12, 31) + 86400, seconds(1, 1, 1) - 1])
@pytest.mark.parametrize("grant", ["Europe/Berlin", "UTC"])
def test_of_a_time_that_no_calendar_has_nothing_is_told(grant: str, when: int) -> None:
    older, newer = providers(grant)
    assert newer.utc_offset(Timestamp(when, 0)) is None
    if when >= 0:
        assert older.display(Timestamp(when, 0)) == p2.TimezoneDisplay(0, "UTC", False)


@pytest.mark.parametrize(
    ("variable", "name", "offset", "abbreviation"),
    [
        ("Asia/Tokyo", "Asia/Tokyo", 9 * HOUR, "JST"),
        (":Asia/Tokyo", "Asia/Tokyo", 9 * HOUR, "JST"),
        ("/usr/share/zoneinfo/Asia/Tokyo", "Asia/Tokyo", 9 * HOUR, "JST"),
        ("EST5EDT,M3.2.0,M11.1.0", None, -4 * HOUR, "EDT"),  # rules, as POSIX has them
        ("<-03>3", None, -3 * HOUR, "-03"),
        ("", None, 0, "UTC"),
    ],
)
def test_the_zone_of_the_process_goes_by_its_variable(
    set_process_zone: Callable[[str | None], None],
    variable: str,
    name: str | None,
    offset: int,
    abbreviation: str,
) -> None:
    set_process_zone(variable)
    older, newer = providers("local")
    when = Timestamp(seconds(2026, 7, 1), 0)
    assert (newer.iana_id(), newer.utc_offset(when)) == (name, offset * 10**9)
    assert newer.to_debug_string() == (name or abbreviation)
    assert (older.display(when).name, older.utc_offset(when)) == (abbreviation, offset)


def test_the_zone_of_the_process_is_the_systems_where_no_variable_tells_it(
    set_process_zone: Callable[[str | None], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_process_zone(None)
    link = tmp_path / "localtime"
    link.symlink_to(tmp_path / "zoneinfo" / "Asia" / "Tokyo")
    monkeypatch.setattr(time_zone, "LOCALTIME", os.fspath(link))
    assert providers("local")[1].iana_id() == "Asia/Tokyo"


@pytest.mark.parametrize("when", [2**63 - 1, -(2**63)])
def test_the_process_zone_tells_nothing_of_times_beyond_the_c_library(
    set_process_zone: Callable[[str | None], None], when: int
) -> None:
    set_process_zone("EST5EDT,M3.2.0,M11.1.0")
    assert providers("local")[1].utc_offset(Timestamp(when, 0)) is None


@pytest.mark.parametrize("name", ["Nowhere/Atlantis", "", "../etc/passwd", "Europe", "a\0b", "/etc/localtime"])
def test_a_zone_that_nobody_knows_is_refused_before_anything_runs(name: str) -> None:
    with pytest.raises(LinkError, match="no time zone is known as"):
        Wasi(time_zone=name)


def test_what_is_no_zone_is_refused() -> None:
    with pytest.raises(TypeError, match="time_zone must be None, the name of a time zone or a tzinfo, not 5"):
        Wasi(time_zone=5)  # type: ignore[arg-type]


def test_a_wasi_without_a_zone_needs_no_calendar() -> None:
    assert isinstance(Wasi().zone(), NoZone)


GUEST = component_text(
    imports="""(import "wasi:clocks/system-clock@0.3.0" (instance $clock
      (type $record (record (field "seconds" s64) (field "nanoseconds" u32)))
      (export "instant" (type (eq $record)))))
    (alias export $clock "instant" (type $instant))
    (import "wasi:clocks/timezone@0.3.0" (instance $zone
      (alias outer 1 $instant (type $outer)) (export "instant" (type $instant (eq $outer)))
      (export "utc-offset" (func (param "when" $instant) (result (option s64))))))""",
    canons={"utc-offset": ('lower (func $zone "utc-offset") (memory $memory)', "(param i64 i32 i32)")},
    code="""(func (export "offset") (param i64) (result i64)
      (call $utc-offset (local.get 0) (i32.const 0) (i32.const 1024))
      (if (i32.eqz (i32.load8_u (i32.const 1024))) (then (unreachable)))
      (i64.load (i32.const 1032)))""",
    exports=sync_export("offset", '(param "seconds" s64)', "s64"),
)


@pytest.mark.anyio
async def test_a_guest_is_told_the_zone_that_it_was_granted() -> None:
    async with Component.load(GUEST).instantiate(wasi=Wasi(time_zone="America/New_York")) as guest:
        assert await guest.exports.offset(seconds(2026, 1, 1)) == -5 * HOUR * 10**9
        assert await guest.exports.offset(seconds(2026, 7, 1)) == -4 * HOUR * 10**9

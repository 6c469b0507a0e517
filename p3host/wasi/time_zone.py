"""The time zone that a guest is told, from what `Wasi.time_zone` grants."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..errors import LinkError
from .clock import LocalTime, Zone

PROCESS = "local"
LOCALTIME = "/etc/localtime"
DATABASE = "/zoneinfo/"  # what stands before a zone's name, wherever the system has its database
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CalendarZone:
    """A zone with Python's rules for it."""

    def __init__(self, rules: tzinfo) -> None:
        self.rules = rules
        self.iana_id: str | None = getattr(rules, "key", None)

    def at(self, seconds: int) -> LocalTime | None:
        try:
            local = (EPOCH + timedelta(seconds=seconds)).astimezone(self.rules)
        except OverflowError:  # outside of the years 1 to 9999
            return None
        offset = local.utcoffset()
        if offset is None:
            return None
        name = local.tzname() or timezone(offset).tzname(None)
        return LocalTime(offset // timedelta(microseconds=1) * 1000, name, bool(local.dst()))


class ProcessZone:
    """The zone of this process, as the C library knows it."""

    iana_id = None

    def at(self, seconds: int) -> LocalTime | None:
        try:
            local = time.localtime(seconds)
        except (OverflowError, OSError, ValueError):
            return None
        return LocalTime(local.tm_gmtoff * 10**9, local.tm_zone, local.tm_isdst > 0)


def zone_of(grant: tzinfo | str) -> Zone:
    """
    :raises LinkError: there is no zone of this name
    :raises TypeError: it is no zone
    """
    if isinstance(grant, tzinfo):
        return CalendarZone(grant)
    if not isinstance(grant, str):
        raise TypeError(f"time_zone must be None, the name of a time zone or a tzinfo, not {grant!r}")
    if grant == PROCESS:
        return process_zone()
    zone = named_zone(grant)
    if zone is None:
        raise LinkError([f"no time zone is known as {grant!r}: give a name such as 'Europe/Berlin', or {PROCESS!r}"])
    return zone


def named_zone(name: str) -> Zone | None:
    try:
        return CalendarZone(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def process_zone() -> Zone:
    """By its name in the database, where the environment or the system tells one."""
    name = os.environ.get("TZ")
    if name is None:
        name = os.path.realpath(LOCALTIME)
    name = name.removeprefix(":")
    _, _, beneath = name.partition(DATABASE)
    return named_zone(beneath or name) or ProcessZone()

"""Clocks that tests give to guests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import anyio
import pytest
from guest_text import let_others_run

from p3host.testing import ManualClock
from p3host.testing.clocks import LoopTimeOfDay, nanoseconds_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("moment", "nanoseconds"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), 0),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), -1000),
        (datetime(2026, 11, 25, 12, tzinfo=UTC), 1_795_608_000 * 10**9),
    ],
)
def test_moments_are_nanoseconds_since_1970(moment: datetime, nanoseconds: int) -> None:
    assert nanoseconds_of(moment) == nanoseconds


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        nanoseconds_of(datetime(2000, 1, 1))


@pytest.mark.virtual_time
async def test_a_time_of_day_goes_on_with_the_loop() -> None:
    clock = LoopTimeOfDay(datetime(1970, 1, 2, tzinfo=UTC))
    assert clock.now() == 86400 * 10**9
    await anyio.sleep(60)
    assert clock.now() == pytest.approx(86460 * 10**9, abs=1000)


async def test_a_manual_clock_wakes_those_whose_sleep_is_over() -> None:
    clock, woken = ManualClock(), []

    async def sleep(name: str, seconds: int) -> None:
        await clock.sleep_until(clock.now() + seconds * 10**9)
        woken.append(name)

    async with anyio.create_task_group() as group:
        for name, seconds in (("long", 10), ("short", 1), ("none", 0)):
            group.start_soon(sleep, name, seconds)
        await let_others_run()
        assert woken == ["none"]
        clock.advance(1.5)
        await let_others_run()
        assert woken == ["none", "short"]
        clock.advance(8.5)
    assert woken == ["none", "short", "long"]
    assert clock.sleepers == {}


def test_a_manual_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="does not go back"):
        ManualClock().advance(-1)

"""Runs a test under many schedules, and makes the one that fails as simple as it can."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType

import anyio

from ..errors import Deadlock
from .schedule import Schedule, current_schedule, departures, from_picks, from_seed, picks_text
from .virtual_time import current_virtual_time, virtual_time

DEFAULT_SCHEDULES = 100
SHRINKING_RUNS = 200  # at most
PASSED_ON: tuple[type[BaseException], ...] = (KeyboardInterrupt, SystemExit)

Test = Callable[[], Awaitable[object]]


def explore(
    test: Test,
    *,
    schedules: int = DEFAULT_SCHEDULES,
    seed: int = 0,
    backend: str = "asyncio",
    passed_on: tuple[type[BaseException], ...] = (),
) -> None:
    """Runs `test()` under `schedules` schedules, those of `seed` and of the numbers after it, each in an event loop of
    its own and in virtual time. Instances have to be made within the test, by `Testbed.instantiate` or with
    `scheduler=current_schedule()`; all that happens in them is up to the schedule. The schedule of seed 0 is the order
    in which things happen without one.

    The first failure ends it. What failed is raised with a note that tells the seed, the simplest schedule that was
    found to fail in the same way, and a trace of it.

    `passed_on` are exceptions that are no failures, and end the exploration.

    :raises ValueError: if it is to run under no schedule at all.
    """
    __tracebackhide__ = True
    if schedules < 1:
        raise ValueError(f"a test that runs under {schedules} schedules shows nothing: give at least 1")
    for number in range(seed, seed + schedules):
        schedule = from_seed(number)
        failure = run(test, schedule, backend, passed_on)
        if failure is not None:
            raise explained(test, failure, departures(schedule.picks), f"seed {number}", backend, passed_on)


def replay(
    test: Test, picks: Mapping[int, int], *, backend: str = "asyncio", passed_on: tuple[type[BaseException], ...] = ()
) -> None:
    """Runs `test()` under one schedule, as an explanation of a failure has named it: `parse_picks("3:1 7:2")`."""
    __tracebackhide__ = True
    schedule = from_picks(picks, tracing=True)
    failure = run(test, schedule, backend, passed_on)
    if failure is not None:
        schedule.explain(failure, f"The schedule {picks_text(picks)!r} fails.")
        raise failure


def run(
    test: Test, schedule: Schedule, backend: str, passed_on: tuple[type[BaseException], ...] = ()
) -> BaseException | None:
    """Runs a test under one schedule, and returns what it raised. Where a thread has an event loop already, as pytest's
    has as long as it keeps async fixtures, it runs in another one."""
    if not has_event_loop():
        return run_here(test, schedule, backend, passed_on)
    with ThreadPoolExecutor(1, "p3host exploration") as thread:
        return thread.submit(run_here, test, schedule, backend, passed_on).result()


def has_event_loop() -> bool:
    """Whether one runs, or has been set aside, in this thread."""
    try:
        anyio.get_cancelled_exc_class()
    except anyio.NoEventLoopError:
        return False
    return True


def run_here(
    test: Test, schedule: Schedule, backend: str, passed_on: tuple[type[BaseException], ...]
) -> BaseException | None:
    name, options = virtual_time(backend)
    order: AbstractContextManager[None] = nullcontext()
    if backend == "trio":
        from .virtual_trio import fixed_order

        order = fixed_order()
    try:
        with order:
            anyio.run(run_test, test, schedule, backend=name, backend_options=options)
    except BaseException as error:
        found = list(parts(error))
        ending = [part for part in found if isinstance(part, PASSED_ON)]
        if not ending and all(isinstance(part, passed_on) for part in found):
            ending = found
        if error in ending:
            raise
        if ending:
            raise ending[0] from error
        return error.with_traceback(from_the_test_on(error.__traceback__))
    return None


def parts(failure: BaseException) -> Iterator[BaseException]:
    """The exceptions of a group and of the groups in it; else the failure itself."""
    if isinstance(failure, BaseExceptionGroup):
        for part in failure.exceptions:
            yield from parts(part)
    else:
        yield failure


def from_the_test_on(trace: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that is the test's own."""
    rest = trace
    while rest is not None:
        if rest.tb_frame.f_code is run_test.__code__:
            return rest.tb_next
        rest = rest.tb_next
    return trace


async def run_test(test: Test, schedule: Schedule) -> None:
    __tracebackhide__ = True
    current_schedule.set(schedule)
    now = current_virtual_time()
    assert now is not None
    with now.until_stuck() as scope:
        await test()
    if scope.cancel_called:
        raise Deadlock("the test waits for what can never happen: every task waits, and no timer is left")


def explained(
    test: Test,
    failure: BaseException,
    picks: Mapping[int, int],
    name: str,
    backend: str,
    passed_on: tuple[type[BaseException], ...],
) -> BaseException:
    """The failure under the simplest schedule that was found, with a note that tells all of it."""

    def fails(picks: Mapping[int, int]) -> bool:
        return kinds(run(test, from_picks(picks), backend)) == kinds(failure)

    simplest = shrink(picks, fails)
    schedule = from_picks(simplest, tracing=True)
    again = run(test, schedule, backend, passed_on)
    if again is None:
        failure.add_note(f"The schedule of {name} fails, but not each time: the test depends on more than the schedule")
        return failure
    again_text = picks_text(simplest)
    schedule.explain(
        again,
        f"The schedule of {name} fails: it departs {times(len(picks))} from the usual order. The simplest one found "
        f"that fails departs {times(len(simplest))}.\nTo replay: {name.replace(' ', '=')}, or schedule={again_text!r}, "
        "as arguments of `explore`.",
    )
    return again


def times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def kinds(failure: BaseException | None) -> list[str]:
    """The types of what failed, by which two failures are taken for the same."""
    return [] if failure is None else sorted(type(part).__qualname__ for part in parts(failure))


def shrink(picks: Mapping[int, int], fails: Callable[[Mapping[int, int]], bool]) -> dict[int, int]:
    """Leaves out of the departures from the usual order what the failure doesn't need, in ever smaller blocks."""
    kept = dict(picks)
    runs = 0

    def still_fails(candidate: Mapping[int, int]) -> bool:
        nonlocal runs
        runs += 1
        return runs <= SHRINKING_RUNS and fails(candidate)

    size = len(kept)
    while size:
        numbers = sorted(kept, reverse=True)  # from the end: what comes after the failure is needed least
        changed = False
        for start in range(0, len(numbers), size):
            block = numbers[start : start + size]
            rest = {number: picked for number, picked in kept.items() if number not in block}
            if still_fails(rest):
                kept, changed = rest, True
        if size == 1 and changed:
            continue
        size = min(size // 2, len(kept))
    for number, picked in sorted(kept.items()):
        if picked > 1 and still_fails(kept | {number: 1}):
            kept[number] = 1
    return kept

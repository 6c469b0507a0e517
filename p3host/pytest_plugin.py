"""The pytest plugin: the fixture `testbed`, the markers `virtual_time` and `explore`, and the options for these.

It needs no configuration. Tests run on asyncio and, where it is installed, on trio, by anyio's own plugin.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from inspect import isasyncgenfunction, iscoroutinefunction, unwrap
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .testing import Testbed

MARKERS = (
    "virtual_time(backends=...): run the async test, and its async fixtures, on a simulated clock that jumps ahead "
    "when nothing else can happen. `backends` are of asyncio and trio; both that are installed without it.",
    "explore(schedules=100, seed=0, schedule=None, backends=...): run the async test under many schedules of all that "
    "happens in its instances, or under the one `schedule` that an explanation of a failure has named.",
)
EXPLORE_ARGUMENTS = {"schedules", "seed", "schedule", "backends"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("p3host", "exploration of schedules")
    group.addoption("--p3host-seed", type=int, help="run tests marked `explore` under the schedule of this seed alone")
    group.addoption("--p3host-schedules", type=int, help="under how many schedules to run tests marked `explore`")


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.fixture(scope="session")
def testbed(request: pytest.FixtureRequest) -> Testbed:
    """Where components are loaded, relative to the root of the tests, and run: see `p3host.testing.Testbed`."""
    from .testing import Testbed

    return Testbed(request.config.rootpath)


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, name: str, obj: object) -> None:
    """Gives tests with one of the markers their backends, before pytest collects them."""
    if not collector.istestfunction(obj, name) or not iscoroutinefunction(innermost(obj)):
        return
    own = {mark.name: mark for mark in getattr(obj, "pytestmark", ())}
    marks = [own.get(name) or collector.get_closest_marker(name) for name in ("explore", "virtual_time")]
    mark = next((mark for mark in marks if mark is not None), None)
    if mark is None:
        return
    backends = mark.kwargs.get("backends") or [b for b in ("asyncio", "trio") if find_spec(b) is not None]
    if mark.name == "virtual_time":
        from .testing import virtual_time

        values: list[Any] = [virtual_time(backend) for backend in backends]
    else:
        values = list(backends)
    pytest.mark.anyio(obj)
    pytest.mark.usefixtures("anyio_backend")(obj)
    pytest.mark.parametrize("anyio_backend", values, ids=list(backends))(obj)


def innermost(obj: Any) -> Any:
    """The function that a test is about, within what hypothesis makes of it."""
    return obj.hypothesis.inner_test if hasattr(obj, "hypothesis") else obj


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        mark = item.get_closest_marker("explore")
        if mark is not None and isinstance(item, pytest.Function):
            item.obj = explored(item, mark, config)


def explored(item: pytest.Function, mark: pytest.Mark, config: pytest.Config) -> Callable[..., None]:
    """The test as a plain function, which runs it under one schedule after the other."""
    test = item.obj
    unknown = sorted(mark.kwargs.keys() - EXPLORE_ARGUMENTS)
    if unknown or mark.args:
        raise pytest.UsageError(f"{item.nodeid}: the marker `explore` takes no {(unknown or mark.args)[0]!r}")
    if not iscoroutinefunction(test):
        raise pytest.UsageError(f"{item.nodeid}: only async tests without hypothesis can be explored")

    def run_explored(**fixtures: Any) -> None:
        __tracebackhide__ = True
        from .testing import explore, parse_picks, replay

        refuse_async_fixtures(item)
        backend = str(item.funcargs["anyio_backend"])
        passed_on = (pytest.skip.Exception, pytest.exit.Exception)
        bound = partial(test, **fixtures)
        if mark.kwargs.get("schedule") is not None:
            replay(bound, parse_picks(mark.kwargs["schedule"]), backend=backend, passed_on=passed_on)
            return
        schedules, seed = mark.kwargs.get("schedules", 100), mark.kwargs.get("seed", 0)
        if config.getoption("--p3host-schedules") is not None:
            schedules = config.getoption("--p3host-schedules")
        if config.getoption("--p3host-seed") is not None:
            schedules, seed = 1, config.getoption("--p3host-seed")
        explore(bound, schedules=schedules, seed=seed, backend=backend, passed_on=passed_on)

    return run_explored


def refuse_async_fixtures(item: pytest.Function) -> None:
    """Each schedule has an event loop of its own, so that what a fixture has made in another is of no use in it."""
    for name, definitions in item._fixtureinfo.name2fixturedefs.items():
        function = unwrap(definitions[-1].func)
        if iscoroutinefunction(function) or isasyncgenfunction(function):
            pytest.fail(
                f"an explored test runs many times, each time in a new event loop, and can't use the async fixture "
                f"{name!r}: make what it makes within the test",
                pytrace=False,
            )

"""The pytest plugin: the fixture `testbed`, the markers `virtual_time` and `explore`, and the options for these.

It needs no configuration. Tests run on asyncio and, where it is installed, on trio, by anyio's own plugin.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
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
ARGUMENTS = {"virtual_time": {"backends"}, "explore": {"schedules", "seed", "schedule", "backends"}}


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
    """Has tests with one of the markers run by anyio's plugin."""
    if not collector.istestfunction(obj, name) or not iscoroutinefunction(innermost(obj)):
        return
    own = {mark.name for mark in getattr(obj, "pytestmark", ())}
    if own & ARGUMENTS.keys() or any(collector.get_closest_marker(marker) for marker in ARGUMENTS):
        pytest.mark.anyio(obj)
        pytest.mark.usefixtures("anyio_backend")(obj)


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives tests with one of the markers their backends. They come from here and not from a mark of the function, as
    one function is several tests where classes inherit it."""
    test = metafunc.definition
    mark = closest_mark(test)
    if mark is None or not iscoroutinefunction(innermost(metafunc.function)):
        return
    refuse_arguments(test, mark)
    backends = mark.kwargs.get("backends") or [b for b in ("asyncio", "trio") if find_spec(b) is not None]
    values = list(map(virtual_backend, backends)) if mark.name == "virtual_time" else list(backends)
    # With this scope, async fixtures may have it too.
    test.add_marker(pytest.mark.parametrize("anyio_backend", values, ids=list(backends), scope="module"))


@cache
def virtual_backend(name: str) -> object:
    """The same object each time, so that a module's tests share their async fixtures."""
    from .testing import virtual_time

    return virtual_time(name)


def closest_mark(test: pytest.Item) -> pytest.Mark | None:
    """The marker that counts: the one that is closest to the test, and of several there `explore`."""
    found: tuple[object, pytest.Mark] | None = None
    for node, mark in test.iter_markers_with_node():
        if mark.name in ARGUMENTS and (found is None or (node is found[0] and mark.name == "explore")):
            found = node, mark
    return None if found is None else found[1]


def refuse_arguments(test: pytest.Item, mark: pytest.Mark) -> None:
    """
    :raises pytest.UsageError: if the marker has arguments that it doesn't take.
    """
    unknown = [*mark.args, *sorted(mark.kwargs.keys() - ARGUMENTS[mark.name])]
    if unknown:
        raise pytest.UsageError(f"{test.nodeid}: the marker `{mark.name}` takes no {unknown[0]!r}")


def innermost(obj: Any) -> Any:
    """The function that a test is about, within what hypothesis makes of it."""
    return obj.hypothesis.inner_test if hasattr(obj, "hypothesis") else obj


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        mark = closest_mark(item)
        if mark is not None and mark.name == "explore" and isinstance(item, pytest.Function):
            item.obj = explored(item, mark, config)


def explored(item: pytest.Function, mark: pytest.Mark, config: pytest.Config) -> Callable[..., None]:
    """The test as a plain function, which runs it under one schedule after the other."""
    test = item.obj
    refuse_arguments(item, mark)
    if not iscoroutinefunction(test):
        raise pytest.UsageError(f"{item.nodeid}: only async tests without hypothesis can be explored")

    def run_explored(**fixtures: Any) -> None:
        __tracebackhide__ = True
        from .testing import explore, parse_picks, replay

        refuse_async_fixtures(item)
        backend = str(item.funcargs["anyio_backend"])
        passed_on = (pytest.skip.Exception, pytest.xfail.Exception, pytest.exit.Exception)
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

"""The pytest plugin, as a project of a user sees it: nothing is configured but p3host and anyio are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GUESTS = Path(__file__).parents[2] / "guests"

HEAD = """
import anyio
import pytest
from p3host.testing import Testbed, double
"""

RACE = """
@pytest.mark.explore(schedules=30)
async def test_race(testbed):
    async with testbed.instantiate("account.wat", {"record": double()}) as guest:
        async with anyio.create_task_group() as calls:
            calls.start_soon(guest.exports.deposit, 1)
            calls.start_soon(guest.exports.deposit, 1)
        assert await guest.exports.balance() == 2
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    shutil.copy(GUESTS / "text/account.wat", pytester.path)
    return pytester


def run(project: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    project.makepyfile(HEAD + source)
    return project.runpytest_subprocess("-p", "no:cacheprovider", *options)


def test_tests_marked_virtual_time_run_on_both_backends_with_their_async_fixtures(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
        @pytest.fixture
        async def guest(testbed):
            async with testbed.instantiate("account.wat", {"record": double(after=3600)}) as guest:
                yield guest

        @pytest.mark.virtual_time
        async def test_one(guest):
            started = anyio.current_time()
            await guest.exports.deposit(1)
            assert await guest.exports.balance() == 1
            assert anyio.current_time() - started == pytest.approx(3600)

        class TestClass:
            pytestmark = pytest.mark.virtual_time

            async def test_method(self, guest):
                await guest.exports.deposit(1)

            def test_plain_method(self):
                assert True

        @pytest.mark.virtual_time(backends=["trio"])
        async def test_on_trio(guest):
            import sniffio
            assert sniffio.current_async_library() == "trio"

        @pytest.mark.anyio
        async def test_in_real_time(testbed):
            from p3host.testing import current_virtual_time
            assert current_virtual_time() is None
        """.replace("\n        ", "\n"),
        "-v",
    )
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(["*::test_one[[]asyncio[]] PASSED*", "*::test_one[[]trio[]] PASSED*"])


def test_a_race_is_found_and_explained(project: pytest.Pytester) -> None:
    result = run(project, RACE)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "E * assert 1 == 2",
            "E * The schedule of seed * fails: *",
            "E * To replay: seed=*, or schedule='*', as arguments of `explore`.",
            "E * What happens, turn by turn:",
            "E * call 1 of 'deposit' begins",
        ]
    )
    assert "anyio/_core" not in result.stdout.str()


def test_a_race_is_replayed_by_option_and_by_argument(project: pytest.Pytester) -> None:
    run(project, RACE, "--p3host-seed", "0").assert_outcomes(passed=2)
    run(project, RACE, "--p3host-schedules", "1").assert_outcomes(passed=2)
    run(project, RACE.replace("schedules=30", "schedule='2:1'")).assert_outcomes(failed=2)
    run(project, RACE.replace("schedules=30", "schedule=''")).assert_outcomes(passed=2)


def test_outcomes_that_are_no_failures_end_the_exploration(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
        @pytest.mark.explore
        async def test_skipped():
            pytest.skip("not today")

        @pytest.mark.explore(backends=["asyncio"])
        @pytest.mark.xfail(strict=True)
        async def test_expected():
            pytest.fail("as expected")
        """.replace("\n        ", "\n"),
    )
    result.assert_outcomes(skipped=2, xfailed=1)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            """
            @pytest.fixture
            async def guest(testbed):
                yield 1

            @pytest.mark.explore
            async def test_one(guest):
                pass
            """,
            "*can't use the async fixture 'guest'*",
        ),
        (
            """
            @pytest.mark.explore(schedule="nonsense")
            async def test_one(testbed):
                pass
            """,
            "*'nonsense' is no schedule*",
        ),
        (
            """
            @pytest.mark.explore(schedulse=3)
            async def test_one(testbed):
                pass
            """,
            "*the marker `explore` takes no 'schedulse'*",
        ),
        (
            """
            @pytest.mark.explore
            def test_one(testbed):
                pass
            """,
            "*only async tests*can be explored*",
        ),
    ],
)
def test_what_can_not_be_explored_says_why(project: pytest.Pytester, source: str, message: str) -> None:
    result = run(project, source.replace("\n            ", "\n"))
    assert result.ret != 0
    (result.stdout if "no schedule" in message or "fixture" in message else result.stderr).fnmatch_lines([message])


def test_hypothesis_drives_schedules_and_explains_what_it_found(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
        from hypothesis import given, settings
        from p3host.testing.strategies import schedules

        @pytest.mark.virtual_time
        @given(schedule=schedules())
        @settings(max_examples=50, deadline=None, database=None, derandomize=True)
        async def test_race(testbed, schedule):
            async with testbed.instantiate("account.wat", {"record": double()}, schedule=schedule) as guest:
                async with anyio.create_task_group() as calls:
                    calls.start_soon(guest.exports.deposit, 1)
                    calls.start_soon(guest.exports.deposit, 1)
                assert await guest.exports.balance() == 2
        """.replace("\n        ", "\n"),
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["* What happens, turn by turn:", "*answer: record: later   <- choice 2*"])


def test_the_plugin_loads_no_more_than_pytest_needs() -> None:
    """An engine that was made before pytest enables faulthandler would turn traps into crashes."""
    code = "import sys, p3host.pytest_plugin; print({'wasmtime', 'anyio', 'trio', 'p3host.testing'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"

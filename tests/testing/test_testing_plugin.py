"""The pytest plugin, as a project of a user sees it: nothing is configured but p3host and anyio are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
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


def test_async_fixtures_of_a_module_are_shared_and_tests_are_explored_beside_them(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
        made = []

        @pytest.fixture(scope="module")
        async def guest(anyio_backend, testbed):
            async with testbed.instantiate("account.wat", {"record": double(after=3600)}) as guest:
                made.append(guest)
                yield guest

        @pytest.mark.virtual_time
        async def test_one(guest):
            await guest.exports.deposit(1)

        @pytest.mark.explore(schedules=3)
        async def test_explored(testbed):
            async with testbed.instantiate("account.wat", {"record": double(after=3600)}) as guest:
                await guest.exports.deposit(1)
                assert anyio.current_time() == pytest.approx(1000 + 3600)

        @pytest.mark.virtual_time
        async def test_two(guest):
            assert await guest.exports.balance() == 1

        def test_count():
            assert len(made) == 2
        """.replace("\n        ", "\n"),
    )
    result.assert_outcomes(passed=7)


def test_classes_inherit_tests_and_each_test_has_its_own_state(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
        class Base:
            @pytest.fixture(autouse=True)
            def state(self):
                self.count = 0

            @pytest.mark.virtual_time
            async def test_inherited(self, testbed):
                self.count += 1
                assert self.count == 1

            @pytest.mark.explore(schedules=3)
            @pytest.mark.parametrize("amount", [1, 2])
            async def test_explored(self, testbed, amount):
                async with testbed.instantiate("account.wat", {"record": double()}) as guest:
                    await guest.exports.deposit(amount)
                    assert await guest.exports.balance() == amount
                self.count += 1
                assert self.count <= 3

        class TestOne(Base):
            pass

        class TestTwo(Base):
            pass
        """.replace("\n        ", "\n"),
    )
    result.assert_outcomes(passed=12)


@pytest.mark.parametrize(
    "fixture",
    ["return 'asyncio'", "return ('trio', {})"],
)
def test_the_markers_come_before_the_projects_own_backends(project: pytest.Pytester, fixture: str) -> None:
    project.makeconftest(f"import pytest\n@pytest.fixture\ndef anyio_backend():\n    {fixture}\n")
    result = run(
        project,
        """
        @pytest.mark.virtual_time
        async def test_one(anyio_backend_name):
            from p3host.testing import current_virtual_time
            assert current_virtual_time() is not None

        @pytest.mark.virtual_time(backends=["asyncio"])
        async def test_two(anyio_backend_name):
            assert anyio_backend_name == "asyncio"

        @pytest.mark.anyio
        async def test_three():
            pass
        """.replace("\n        ", "\n"),
    )
    result.assert_outcomes(passed=4)


def test_the_closest_marker_counts(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
        runs = []

        @pytest.mark.explore(schedules=5, backends=["asyncio"])
        class TestClass:
            async def test_explored(self):
                runs.append(1)

            @pytest.mark.virtual_time(backends=["asyncio"])
            async def test_once(self):
                runs.append(2)

            @pytest.mark.virtual_time
            @pytest.mark.explore(schedules=3, backends=["asyncio"])
            async def test_both(self):
                runs.append(3)

        def test_count():
            assert sorted(runs) == [1] * 5 + [2] + [3] * 3
        """.replace("\n        ", "\n"),
    )
    result.assert_outcomes(passed=4)


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

        runs = []

        @pytest.mark.explore(backends=["asyncio"])
        async def test_gives_up():
            runs.append(1)
            async with anyio.create_task_group():
                pytest.xfail("not yet")

        def test_count():
            assert len(runs) == 1
        """.replace("\n        ", "\n"),
    )
    result.assert_outcomes(skipped=2, xfailed=2, passed=1)


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
            @pytest.mark.explore(5)
            async def test_one(testbed):
                pass
            """,
            "*the marker `explore` takes no 5*",
        ),
        (
            """
            @pytest.mark.virtual_time(backend="trio")
            async def test_one(testbed):
                pass
            """,
            "*the marker `virtual_time` takes no 'backend'*",
        ),
        (
            """
            @pytest.mark.virtual_time(backends=["curio"])
            async def test_one(testbed):
                pass
            """,
            "*there is no backend 'curio'*",
        ),
        (
            """
            @pytest.mark.explore(schedules=0)
            async def test_one(testbed):
                pass
            """,
            "*under 0 schedules shows nothing*",
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
    said = [*result.outlines, *result.errlines]
    assert any(fnmatchcase(line, message) for line in said), said


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

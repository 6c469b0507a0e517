"""What a guest has written, and waiting for it."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from guest_text import let_others_run

from p3host import Deadlock
from p3host.testing import Output, Testbed

pytestmark = pytest.mark.virtual_time

C_FILES = Path(__file__).parents[2] / "guests/c-files/c-files.wasm"


@pytest.mark.parametrize(
    ("data", "text", "lines"),
    [
        (b"", "", []),
        (b"one\ntwo", "one\ntwo", ["one", "two"]),
        (b"one\r\n\ntwo\n", "one\r\n\ntwo\n", ["one", "", "two"]),
        ("a\u2028b\x0cc\n".encode(), "a\u2028b\x0cc\n", ["a\u2028b\x0cc"]),
        (b"\xff\n", "\ufffd\n", ["\ufffd"]),
    ],
)
def test_output_is_bytes_text_and_lines(data: bytes, text: str, lines: list[str]) -> None:
    output = Output()
    for number in range(len(data)):  # characters may come in pieces
        output.write(data[number : number + 1])
    assert output.bytes == data
    assert output.text == text
    assert output.lines == lines
    assert repr(output) == f"<output {text!r}>"


async def test_text_can_be_waited_for_across_pieces() -> None:
    output, found = Output(), []

    async def wait(text: str) -> None:
        await output.wait_for(text)
        found.append(text)

    async with anyio.create_task_group() as group:
        for text in ("r\nt", "two", "", "other"):
            group.start_soon(wait, text)
        await let_others_run()
        assert found == [""]
        for piece in (b"other", b"\n", b"tw"):
            output.write(piece)
            await let_others_run()
        assert sorted(found) == ["", "other", "r\nt"]
        output.write(b"o")
    assert found[-1] == "two"


async def test_what_is_there_already_is_not_waited_for() -> None:
    output = Output()
    output.write("grüße".encode())
    await output.wait_for("üß")


async def test_text_that_never_comes_can_be_waited_for_with_a_time_out() -> None:
    started = anyio.current_time()
    with anyio.move_on_after(5.0) as scope:
        await Output().wait_for("never")
    assert scope.cancelled_caught
    assert anyio.current_time() - started == pytest.approx(5.0)


async def test_waiting_ends_when_nothing_can_ever_write_the_text(testbed: Testbed) -> None:
    completed = await testbed.run(C_FILES, "env", "A", env={"A": "some text"})
    with pytest.raises(Deadlock, match=r"'never' will never be written.*<output 'some text\\n'>"):
        await completed.stdout.wait_for("never")


async def test_each_of_several_that_wait_in_vain_is_told() -> None:
    output, told = Output(), []

    async def wait(text: str) -> None:
        with pytest.raises(Deadlock, match=text):
            await output.wait_for(text)
        told.append(text)

    async with anyio.create_task_group() as group:
        group.start_soon(wait, "one")
        group.start_soon(wait, "two")
    assert sorted(told) == ["one", "two"]


@pytest.mark.anyio
async def test_in_real_time_it_is_waited_for_too(testbed: Testbed) -> None:
    async with (
        testbed.instantiate(C_FILES, args=("c-files", "sleep", "20", "env", "A"), env={"A": "late"}) as guest,
        anyio.create_task_group() as calls,
    ):
        calls.start_soon(guest.exports["wasi:cli/run@0.3"].run)
        with anyio.fail_after(30):
            await guest.stdout.wait_for("late\n")
    assert guest.stdout.text == "late\n"

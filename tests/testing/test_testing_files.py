"""Files: what the test gives, what the guest does with it, and what is left."""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from p3host import LinkError
from p3host.testing import Completed, Files, Guest, Testbed, read_only
from p3host.testing.files import MEMORY

pytestmark = pytest.mark.virtual_time

C_FILES = Path(__file__).parents[2] / "guests/c-files/c-files.wasm"


def place(files: Files, name: str) -> Path:
    """Where a file is, or would be, on this machine."""
    directory, inner = files.find(name)
    return Path(directory.host_path, inner)


# What guests do


async def test_a_guest_reads_and_writes_files(testbed: Testbed) -> None:
    done = await testbed.run(C_FILES, "copy", "/data/in.txt", "/data/out.txt", files={"/data": {"in.txt": "grüße"}})
    assert dict(done.files) == {"/data/in.txt": "grüße".encode(), "/data/out.txt": "GRüßE".encode()}
    assert (done.status, done.stdout.text, done.stderr.text) == (0, "", "")


async def test_a_guest_writes_what_is_longer_than_any_buffer(testbed: Testbed) -> None:
    content = bytes(range(97, 123)) * 40_000
    done = await testbed.run(C_FILES, "copy", "/a/in", "/b/out", files={"/a": {"in": content}, "/b": {}})
    assert done.files["/b/out"] == content.upper()


async def test_a_guest_overwrites_files(testbed: Testbed) -> None:
    files = {"/": {"in": "short", "out": "something longer"}}
    assert (await testbed.run(C_FILES, "copy", "/in", "/out", files=files)).files["/out"] == b"SHORT"


async def test_a_guest_lists_and_makes_directories(testbed: Testbed) -> None:
    files = {"/data": {"a": b"", "sub/b": b"", "empty/": b""}}
    done = await testbed.run(C_FILES, "make", "/data/made", "list", "/data", "list", "/data/sub", files=files)
    assert sorted(done.stdout.lines[:-1]) == ["a", "empty/", "made/", "sub/"]
    assert done.stdout.lines[-1] == "b"
    assert sorted(done.files) == ["/data/a", "/data/sub/b"]


async def test_a_guest_removes_files(testbed: Testbed) -> None:
    done = await testbed.run(C_FILES, "remove", "/data/a", "remove", "/data/a", files={"/data": {"a": "1", "b": "2"}})
    assert dict(done.files) == {"/data/b": b"2"}
    assert (done.status, done.stderr.text) == (1, "c-files: /data/a: no-entry\n")


async def test_without_files_a_guest_has_none(testbed: Testbed) -> None:
    done = await testbed.run(C_FILES, "list", "/")
    assert (done.status, done.stderr.text, dict(done.files)) == (1, "c-files: /: no-entry\n", {})


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (["copy", "/data/in", "/data/out"], "/data/out: read-only"),
        (["copy", "/data/in", "/data/in"], "/data/in: read-only"),
        (["make", "/data/sub"], "/data/sub: read-only"),
        (["remove", "/data/in"], "/data/in: read-only"),
    ],
)
async def test_what_is_read_only_can_not_be_written_to(testbed: Testbed, command: list[str], error: str) -> None:
    done = await testbed.run(C_FILES, *command, files={"/data": read_only({"in": "text"})})
    assert (done.status, done.stderr.text) == (1, f"c-files: {error}\n")
    assert dict(done.files) == {"/data/in": b"text"}


async def test_what_is_read_only_can_be_read_and_lies_beside_what_is_not(testbed: Testbed) -> None:
    files: Mapping[str, Any] = {"/in": read_only({"a": "text"}), "/out": {}}
    done = await testbed.run(C_FILES, "copy", "/in/a", "/out/a", files=files)
    assert dict(done.files) == {"/in/a": b"text", "/out/a": b"TEXT"}


@pytest.mark.anyio
async def test_in_real_time_it_is_the_same(testbed: Testbed) -> None:
    done = await testbed.run(C_FILES, "copy", "/data/a", "/data/b", files={"/data": {"a": "x"}})
    assert done.files["/data/b"] == b"X"


# While the guest runs


async def steps(testbed: Testbed, *steps: Any, **options: Any) -> Completed:
    """Runs the guest's commands, and between them, while it sleeps, what the test does."""
    args = ["c-files"]
    for step in steps:
        args += ["sleep", "10000"] if callable(step) else step.split()
    async with (
        testbed.instantiate(C_FILES, args=args, allow_leaks={"own<descriptor>"}, **options) as guest,
        anyio.create_task_group() as calls,
    ):
        calls.start_soon(guest.exports["wasi:cli/run@0.3"].run)
        await anyio.sleep(5)
        for step in filter(callable, steps):
            step(guest)
            await anyio.sleep(10)
    return Completed(0, guest.stdout, guest.stderr, guest.files)


async def test_the_test_reads_and_writes_files_while_the_guest_runs(testbed: Testbed) -> None:
    def change(guest: Guest) -> None:
        assert guest.files["/data/out"] == b"OLD"
        assert dict(guest.files) == {"/data/in": b"old", "/data/out": b"OLD"}
        guest.files["/data/in"] = "new"
        guest.files["/data/sub/more"] = b"more"
        del guest.files["/data/out"]
        assert "/data/out" not in guest.files
        assert len(guest.files) == 2

    done = await steps(
        testbed,
        "copy /data/in /data/out",
        change,
        "copy /data/in /data/out list /data/sub",
        files={"/data": {"in": "old"}},
    )
    assert done.stdout.lines == ["more"]
    assert dict(done.files) == {"/data/in": b"new", "/data/out": b"NEW", "/data/sub/more": b"more"}


async def test_the_test_changes_what_is_read_only_for_the_guest(testbed: Testbed) -> None:
    def change(guest: Guest) -> None:
        guest.files["/in/a"] = "new"

    done = await steps(testbed, change, "copy /in/a /out/a", files={"/in": read_only({"a": "old"}), "/out": {}})
    assert done.files["/out/a"] == b"NEW"


async def test_what_the_guest_removes_is_gone_at_once(testbed: Testbed) -> None:
    def look(guest: Guest) -> None:
        assert dict(guest.files) == {}
        with pytest.raises(KeyError):
            guest.files["/data/a"]

    await steps(testbed, "remove /data/a", look, files={"/data": {"a": "1"}})


# The mapping itself


def test_paths_are_the_guests_and_sorted() -> None:
    with Files({"/data": {"b": "2", "a/c": "3"}, "/": {"d": "4"}, "/x/": {"e": "5"}}) as files:
        assert list(files) == ["/d", "/data/a/c", "/data/b", "/x/e"]
        assert [files[name] for name in files] == [b"4", b"3", b"2", b"5"]
        assert repr(files) == "<files /d, /data/a/c, /data/b, /x/e>"


def test_the_innermost_directory_is_meant() -> None:
    with Files({"/": {}, "/data": {}, "/data/sub": {}}) as files:
        files["/data/sub/a"] = "1"
        files["/data/b"] = "2"
        assert [directory.guest_path for directory in (files.find(name)[0] for name in files)] == [
            "/data",
            "/data/sub",
        ]
        assert files["/data/sub/a"] == b"1"


@pytest.mark.parametrize("name", ["/other/a", "data/a", "/data", "/database/a", ""])
def test_what_lies_in_no_directory_can_not_be_set_and_is_not_there(name: str) -> None:
    with Files({"/data": {"a": "1"}}) as files:
        for use in (files.__getitem__, files.__delitem__, lambda name: files.__setitem__(name, b"")):
            with pytest.raises(KeyError):
                use(name)
        assert name not in files


@pytest.mark.parametrize("name", ["/data/", "/data/b", "/data/sub", "/data/../0/a", "/data/a/b"])
def test_what_is_no_file_is_not_there(name: str) -> None:
    with Files({"/data": {"a": "1", "sub/c": "2"}}) as files:
        with pytest.raises(KeyError):
            files[name]
        with pytest.raises(KeyError):
            del files[name]
        assert dict(files) == {"/data/a": b"1", "/data/sub/c": b"2"}


@pytest.mark.parametrize("path", ["/etc/a", "../a", "a/../../b", ".", "", "a//b", "./a", "a\0b", "//", "/"])
def test_paths_that_are_none_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="give each file by its path below the directory"):
        Files({"/data": {path: "text"}})
    with Files({"/data": {}}) as files, pytest.raises(ValueError, match="give each file by its path"):
        files[f"/data/{path}"] = "text"


@pytest.mark.parametrize("contents", [{"a": "1", "a/b": "2"}, {"a/b": "1", "a": "2"}, {"a/": "", "a": "2"}])
def test_a_file_in_the_place_of_a_directory_is_refused(contents: Mapping[str, str]) -> None:
    with pytest.raises(ValueError, match="there is a file in the place of a directory, or the reverse"):
        Files({"/data": contents})


@pytest.mark.parametrize(
    ("directories", "kind", "message"),
    [
        ({"data": {}}, ValueError, "'data': give each directory as an absolute path"),
        ({"": {}}, ValueError, "'': give each directory as an absolute path"),
        ({"/a\0": {}}, ValueError, "give each directory as an absolute path"),
        ({"/data/in.txt": "text"}, TypeError, "'/data/in.txt': give directories, each with its files"),
        ({"/data": {"sub": {"a": "text"}}}, TypeError, "'sub': the content of a file is bytes or text"),
        ({"/data": {"a": None}}, TypeError, "'a': the content of a file is bytes or text, not None"),
    ],
)
def test_contents_of_the_wrong_kind_are_refused(directories: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Files(directories)


async def test_what_is_refused_makes_no_instance_and_leaves_nothing(testbed: Testbed) -> None:
    before = leftovers()
    with pytest.raises(ValueError, match="below the directory"):
        await testbed.run(C_FILES, files={"/data": {"a": "1", "../b": "2"}})
    gc.collect()  # a directory that is forgotten warns
    assert leftovers() == before


def leftovers() -> set[str]:
    return {name for name in os.listdir(MEMORY) if name.startswith("p3host-")} if os.path.isdir(MEMORY) else set()


@pytest.mark.parametrize("failure", [None, ZeroDivisionError])
async def test_the_directories_are_gone_after_the_block(testbed: Testbed, failure: type[Exception] | None) -> None:
    roots = []

    async def use() -> Files:
        async with testbed.instantiate(C_FILES, files={"/data": {"a": "1"}}) as guest:
            roots.append(place(guest.files, "/data/a").parents[1])
            assert roots[0].exists()
            if failure is not None:
                raise failure
        return guest.files

    if failure is None:
        assert dict(await use()) == {"/data/a": b"1"}
    else:
        with pytest.raises(failure):
            await use()
    assert not roots[0].exists()


async def test_the_directories_are_gone_when_it_can_not_be_linked(testbed: Testbed) -> None:
    before = leftovers()
    with pytest.raises(LinkError):
        async with testbed.instantiate('(component (import "f" (func)))', files={"/data": {}}):
            pass
    assert leftovers() == before


def test_after_the_end_files_are_as_they_were_left_and_stay_so() -> None:
    with Files({"/data": {"a": "1"}}) as files:
        files["/data/b"] = "2"
    assert dict(files) == {"/data/a": b"1", "/data/b": b"2"}
    with pytest.raises(KeyError, match="of an instance that runs"):
        files["/data/c"] = "3"
    with pytest.raises(KeyError, match="of an instance that runs"):
        del files["/data/a"]


# Links, which guests can make


def test_links_within_a_directory_are_what_they_lead_to() -> None:
    with Files({"/data": {"a": "1"}}) as files:
        place(files, "/data/link").symlink_to("a")
        assert files["/data/link"] == b"1"
        files["/data/link"] = "2"
        assert files["/data/a"] == b"2"
        del files["/data/link"]
    assert dict(files) == {"/data/a": b"2"}


def test_links_out_of_a_directory_show_nothing_of_the_machine(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("secret")
    with Files({"/data": {}, "/other": {"b": "2"}}) as files:
        place(files, "/data/link").symlink_to(outside)
        place(files, "/data/directory").symlink_to(tmp_path)
        place(files, "/data/other").symlink_to(place(files, "/other/b"))
        place(files, "/data/nowhere").symlink_to("nowhere")
        place(files, "/data/loop").symlink_to("loop")
        for name in ("link", "directory/outside", "other", "nowhere"):
            with pytest.raises(KeyError):
                files[f"/data/{name}"]
        for name in ("link", "directory/outside", "directory/new"):
            with pytest.raises(ValueError, match="a link leads out of the directory"):
                files[f"/data/{name}"] = "changed"
            with pytest.raises(KeyError):
                del files[f"/data/{name}"]
    assert dict(files) == {"/other/b": b"2"}
    assert [path.read_text() for path in tmp_path.iterdir()] == ["secret"]

"""`wasi:filesystem` 0.3: streams of bytes and of directory entries."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import anyio
import pytest
from filesystem_fakes import READ, WRITE, open_path, open_root, outcome
from wasi_fakes import GuestStream, finish

from p3host.wasi.filesystem import handles as filesystem
from p3host.wasi.p3 import filesystem as p3

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[True, False], ids=["cached", "cold"])
def cached(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the kernel has the files at hand."""
    if not request.param:

        def nothing_at_hand(*arguments: object) -> int:
            raise OSError(errno.EAGAIN, "not at hand")

        monkeypatch.setattr(os, "preadv", nothing_at_hand)
    return bool(request.param)


async def open_file(root: Path, data: bytes = b"", flags: Any = READ | WRITE, **limits: int) -> Any:
    (root / "file").write_bytes(data)
    return await open_path(await open_root(p3, root, **limits), "file", flags=flags)


@pytest.mark.parametrize(("offset", "expected"), [(0, b"hello"), (3, b"lo"), (5, b""), (99, b"")])
async def test_read_via_stream(tmp_path: Path, cached: bool, offset: int, expected: bytes) -> None:
    stream, future = (await open_file(tmp_path, b"hello")).read_via_stream(offset)
    assert b"".join([piece async for piece in stream]) == expected
    assert await future is None


async def test_a_read_takes_no_more_than_asked_for(tmp_path: Path, cached: bool) -> None:
    stream, future = (await open_file(tmp_path, bytes(1 << 20))).read_via_stream(0)
    assert len(await stream.receive(3)) == 3
    assert 0 < len(await stream.receive(1 << 60)) <= filesystem.MAX_READ
    await stream.aclose()
    await future


async def test_a_read_sees_what_was_written_before_it(tmp_path: Path, cached: bool) -> None:
    file = await open_file(tmp_path, b"hello")
    stream, future = file.read_via_stream(0)
    assert await stream.receive(2) == b"he"
    await file.write_via_stream(GuestStream([b"LLO"]), 2)
    assert await stream.receive(9) == b"LLO"
    await stream.aclose()
    await future


async def test_the_future_waits_for_the_stream(tmp_path: Path) -> None:
    stream, future = (await open_file(tmp_path, b"hello")).read_via_stream(0)
    settled: list[object] = []

    async def wait() -> None:
        settled.append(await outcome(lambda: future))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await stream.receive()
        await anyio.wait_all_tasks_blocked()
        assert settled == []
        await stream.aclose()
    assert settled == [None]
    with pytest.raises(anyio.EndOfStream):
        await stream.receive()


@pytest.mark.parametrize(
    ("flags", "offset", "expected"),
    [(READ, 1 << 63, "invalid"), (READ, (1 << 64) - 1, "invalid"), (WRITE, 0, "bad-descriptor")],
)
async def test_a_failing_read_ends_the_stream_and_tells_the_future(
    tmp_path: Path, cached: bool, flags: Any, offset: int, expected: str
) -> None:
    stream, future = (await open_file(tmp_path, b"hello", flags)).read_via_stream(offset)
    assert [piece async for piece in stream] == []
    assert await outcome(lambda: future) == expected


async def test_a_directory_has_no_bytes(tmp_path: Path) -> None:
    stream, future = (await open_root(p3, tmp_path)).read_via_stream(0)
    assert [piece async for piece in stream] == []
    assert await outcome(lambda: future) == "is-directory"


async def test_write_via_stream(tmp_path: Path) -> None:
    file = await open_file(tmp_path, b"hello")
    data = GuestStream([b"LL", b"O W", b"ORLD"])
    assert await file.write_via_stream(data, 2) is None
    assert (tmp_path / "file").read_bytes() == b"heLLO WORLD"
    assert data.closed
    await file.write_via_stream(GuestStream([b"!"]), 13)
    assert (tmp_path / "file").read_bytes() == b"heLLO WORLD\0\0!"


async def test_writing_goes_on_after_a_partial_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = await open_file(tmp_path)
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:3], offset))
    await file.write_via_stream(GuestStream([b"hello world"]), 0)
    assert (tmp_path / "file").read_bytes() == b"hello world"


async def test_append_via_stream(tmp_path: Path) -> None:
    file = await open_file(tmp_path, b"hello")
    await file.append_via_stream(GuestStream([b" one", b" two"]))
    await file.append_via_stream(GuestStream([b" three"]))
    assert (tmp_path / "file").read_bytes() == b"hello one two three"


@pytest.mark.parametrize(
    ("flags", "offset", "expected"),
    [(READ, 0, "bad-descriptor"), (READ, None, "bad-descriptor"), (WRITE, 1 << 63, "invalid")],
)
async def test_a_failing_write_closes_the_stream(tmp_path: Path, flags: Any, offset: int | None, expected: str) -> None:
    file = await open_file(tmp_path, b"hello", flags)
    data = GuestStream([b"x", b"y"])
    if offset is None:
        assert await outcome(file.append_via_stream, data) == expected
    else:
        assert await outcome(file.write_via_stream, data, offset) == expected
    assert data.closed
    assert (tmp_path / "file").read_bytes() == b"hello"


async def test_streams_outlive_their_descriptor(tmp_path: Path, cached: bool) -> None:
    file = await open_file(tmp_path, b"hello")
    stream, future = file.read_via_stream(0)
    writing = file.append_via_stream(GuestStream([b"!"]))
    file.close()
    await writing
    assert b"".join([piece async for piece in stream]) == b"hello!"
    await future
    assert file.handle.users == 0


async def test_a_cancelled_write_closes_its_stream(tmp_path: Path) -> None:
    file = await open_file(tmp_path)

    class Endless(GuestStream):
        async def read(self, max_count: int) -> bytes:
            await anyio.sleep_forever()
            raise AssertionError

    data = Endless([])
    with anyio.move_on_after(0.01):
        await file.write_via_stream(data, 0)
    assert data.closed
    assert file.handle.users == 1


async def test_read_directory(tmp_path: Path) -> None:
    for name in ["a", "b"]:
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("..")
    d = await open_root(p3, tmp_path)
    for _ in range(2):
        stream, future = d.read_directory()
        entries = {entry.name: entry.type async for part in stream for entry in part}
        assert entries == {"a": "regular-file", "b": "regular-file", "link": "symbolic-link"}
        assert await future is None
    assert d.handle.filesystem.open_count == 1


async def test_read_directory_can_be_left_early(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    d = await open_root(p3, tmp_path)
    stream, future = d.read_directory()
    await anext(stream)
    await stream.aclose()
    assert await future is None
    assert [entry async for entry in stream] == []
    unread, future = d.read_directory()
    await unread.aclose()
    assert await future is None
    assert d.handle.filesystem.open_count == 1


async def test_read_directory_of_a_file_fails(tmp_path: Path) -> None:
    stream, future = (await open_file(tmp_path)).read_directory()
    assert await outcome(lambda: future) == "not-directory"
    assert [entry async for entry in stream] == []


@pytest.mark.parametrize("at_once", [1, 3, 256])
async def test_a_name_that_is_no_text_fails_the_listing_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(filesystem, "ENTRIES_AT_ONCE", at_once)
    for name in b"\xff", b"\xc3", *(b"%d" % number for number in range(10)):
        os.close(os.open(os.fsencode(tmp_path) + b"/" + name, os.O_CREAT))
    stream, future = (await open_root(p3, tmp_path)).read_directory()
    names = [entry.name async for part in stream for entry in part]
    assert sorted(names) == sorted(str(number) for number in range(10))
    assert await outcome(lambda: future) == "illegal-byte-sequence"


async def test_a_listing_counts_as_open(tmp_path: Path) -> None:
    d = await open_root(p3, tmp_path, max_open=1)
    stream, future = d.read_directory()
    assert [entry async for entry in stream] == []
    assert await outcome(lambda: future) == "insufficient-memory"


async def test_streams_of_a_file_are_limited_and_given_back(tmp_path: Path) -> None:
    file = await open_file(tmp_path, b"hello", max_open=2)
    (kept, kept_result), *others = [file.read_via_stream(0) for _ in range(5)]
    writing = file.write_via_stream(GuestStream([b"j"]), 0), file.append_via_stream(GuestStream([b"!"]))
    others.append(file.read_via_stream(0))

    refused, result = file.read_via_stream(0)
    with pytest.raises(anyio.EndOfStream):
        await refused.receive()
    assert await outcome(lambda: result) == "insufficient-memory"
    data = GuestStream([b"never written"])
    assert await outcome(file.write_via_stream, data, 0) == "insufficient-memory"
    assert data.closed
    assert await outcome(file.append_via_stream, GuestStream([])) == "insufficient-memory"

    for each in writing:  # those that were there go on
        await each
    assert await kept.receive() == b"jello!"
    for stream, future in [(kept, kept_result), *others]:
        await stream.aclose()
        await future
    for _ in range(20):
        stream, future = file.read_via_stream(0)
        assert await stream.receive() == b"jello!"
        await stream.aclose()
        await future


async def test_closing_a_listing_while_it_is_read_waits_for_the_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    d = await open_root(p3, tmp_path)
    reader = filesystem.DirectoryReader(d.handle)
    entry_type = filesystem.entry_type
    (tmp_path / "a").touch()

    def closing(entry: Any) -> int:
        reader.close()
        assert reader.handle is not None
        assert reader.handle.users == 1
        return entry_type(entry)

    monkeypatch.setattr(filesystem, "entry_type", closing)
    assert len(reader.read()) == 1
    assert reader.handle is not None
    assert reader.handle.users == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        reader.read()


async def test_times_before_1970_are_negative(tmp_path: Path) -> None:
    file = await open_file(tmp_path)
    os.utime(tmp_path / "file", ns=(-1, -1_500_000_000))
    found = await finish(file.stat())
    assert (found.data_access_timestamp.seconds, found.data_access_timestamp.nanoseconds) == (-1, 999_999_999)
    assert (found.data_modification_timestamp.seconds, found.data_modification_timestamp.nanoseconds) == (
        -2,
        500_000_000,
    )

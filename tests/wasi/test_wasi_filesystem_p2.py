"""`wasi:filesystem` 0.2: reading, writing and listing."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from filesystem_fakes import CREATE, READ, WRITE, open_path, open_root, outcome
from wasi_fakes import finish, running

from p3host.errors import Err
from p3host.wasi.filesystem import handles as filesystem
from p3host.wasi.filesystem.handles import MAX_FILESIZE
from p3host.wasi.p2 import filesystem as p2
from p3host.wasi.p2.io import Error, LastOperationFailed

pytestmark = pytest.mark.anyio

PIECE = 65536


@pytest.fixture(params=[True, False], ids=["cached", "cold"])
def cached(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the kernel has the files at hand."""
    if not request.param:

        def nothing_at_hand(*arguments: object) -> int:
            raise OSError(errno.EOPNOTSUPP, "not supported")

        monkeypatch.setattr(os, "preadv", nothing_at_hand)
        monkeypatch.setattr(filesystem, "is_local", lambda fd: False)
    return bool(request.param)


async def open_file(root: Path, data: bytes = b"", flags: Any = READ | WRITE, **limits: int) -> Any:
    (root / "file").write_bytes(data)
    return await open_path(await open_root(p2, root, **limits), "file", flags=flags)


async def read_stream(stream: Any, length: int = PIECE) -> bytes:
    data = b""
    while (piece := await outcome(stream.blocking_read, length)) != "closed":
        data += piece
    return data


async def test_read(tmp_path: Path, cached: bool) -> None:
    file = await open_file(tmp_path, b"hello")
    assert await finish(file.read(3, 1)) == (b"ell", False)
    assert await finish(file.read(100, 2)) == (b"llo", False)
    assert await finish(file.read(100, 5)) == (b"", True)
    assert await finish(file.read(100, 500)) == (b"", True)
    assert await finish(file.read(0, 0)) == (b"", False)
    assert await outcome(file.read, 1, 1 << 63) == "invalid"


async def test_read_allocates_no_more_than_a_piece(tmp_path: Path, cached: bool) -> None:
    file = await open_file(tmp_path, bytes(1 << 20))
    data, ended = await finish(file.read((1 << 64) - 1, 0))
    assert 0 < len(data) <= filesystem.MAX_READ
    assert not ended


async def test_write(tmp_path: Path) -> None:
    file = await open_file(tmp_path, b"hello")
    assert await file.write(b"EL", 1) == 2
    assert await file.write(b"!", 7) == 1
    assert (tmp_path / "file").read_bytes() == b"hELlo\0\0!"
    assert await file.write(b"", 3) == 0
    assert await outcome(file.write, b"x", 1 << 63) == "invalid"
    assert await outcome(file.write, b"xx", (1 << 63) - 1) in ("invalid", "file-too-large")


async def test_reading_and_writing_need_their_flags(tmp_path: Path) -> None:
    assert await outcome((await open_file(tmp_path, b"x", READ)).write, b"y", 0) == "bad-descriptor"
    file = await open_file(tmp_path, b"x", WRITE)
    assert await outcome(file.read, 1, 0) == "bad-descriptor"
    reader = await open_file(tmp_path, b"x", READ)
    assert await outcome(reader.write_via_stream, 0) == "bad-descriptor"
    assert await outcome(reader.append_via_stream) == "bad-descriptor"


async def test_directories_are_no_files(tmp_path: Path) -> None:
    d = await open_root(p2, tmp_path)
    assert await outcome(d.read, 1, 0) == "is-directory"
    assert await outcome(d.read_via_stream, 0) == "is-directory"
    assert await outcome(d.write_via_stream, 0) == "bad-descriptor"
    file = await open_path(d, "file", CREATE, WRITE)
    assert await outcome(file.read_directory) == "not-directory"


@pytest.mark.parametrize(("offset", "expected"), [(0, b"hello"), (3, b"lo"), (5, b""), (99, b"")])
@pytest.mark.parametrize("length", [1, 2, 100])
async def test_read_via_stream(tmp_path: Path, cached: bool, offset: int, length: int, expected: bytes) -> None:
    stream = (await open_file(tmp_path, b"hello")).read_via_stream(offset)
    assert await read_stream(stream, length) == expected


async def test_a_long_file_is_read_in_pieces(tmp_path: Path, cached: bool) -> None:
    data = os.urandom(3 * PIECE + 17)
    stream = (await open_file(tmp_path, data)).read_via_stream(0)
    assert len(await finish(stream.blocking_read((1 << 64) - 1))) <= PIECE
    stream = (await open_file(tmp_path, data)).read_via_stream(1)
    assert await read_stream(stream) == data[1:]


async def test_a_cold_stream_is_not_ready_until_waited_for(tmp_path: Path, cached: bool) -> None:
    (tmp_path / "file").write_bytes(b"hello")
    async with running() as background:
        await check_cold_stream(await open_path(await open_root(p2, tmp_path, background), "file"), cached)


async def check_cold_stream(file: Any, cached: bool) -> None:
    stream = file.read_via_stream(0)
    pollable = stream.subscribe()
    assert pollable.ready() is cached
    if not cached:
        assert stream.read(5) == b""
        async with anyio.create_task_group() as tasks:  # two waiters, one answer
            tasks.start_soon(finish, pollable.block())
            tasks.start_soon(finish, stream.subscribe().block())
        assert pollable.ready()
    assert stream.read(2) + await finish(stream.blocking_read(5)) == b"hello"


async def test_a_cold_stream_comes_to_who_never_waits_for_it(tmp_path: Path, cached: bool) -> None:
    (tmp_path / "file").write_bytes(b"hello")
    async with running() as background:
        stream = (await open_path(await open_root(p2, tmp_path, background), "file")).read_via_stream(0)
        data = b""
        for _ in range(5000):
            if data := stream.read(9):
                break
            await anyio.sleep(0.001)
        assert data == b"hello"
        stream.close()


async def test_streams_of_one_file_do_not_interfere(tmp_path: Path, cached: bool) -> None:
    file = await open_file(tmp_path, b"hello")
    first, second = file.read_via_stream(0), file.read_via_stream(2)
    assert await finish(first.blocking_read(2)) == b"he"
    assert await finish(second.blocking_read(2)) == b"ll"
    assert await finish(first.blocking_read(2)) == b"ll"


@pytest.mark.parametrize("flags", [WRITE])
async def test_a_failing_read_tells_its_error_code(tmp_path: Path, cached: bool, flags: Any) -> None:
    stream = (await open_file(tmp_path, b"hello", flags)).read_via_stream(0)
    with pytest.raises(Err) as caught:
        await finish(stream.blocking_read(1))
    failure = caught.value.value
    assert isinstance(failure, LastOperationFailed)
    assert p2.Types.filesystem_error_code(failure.value) == "bad-descriptor"
    assert await outcome(stream.blocking_read, 1) == "closed"


def test_other_errors_have_no_error_code() -> None:
    assert p2.Types.filesystem_error_code(Error(OSError("odd"))) is None


async def test_an_offset_past_all_files_fails_the_stream(tmp_path: Path, cached: bool) -> None:
    stream = (await open_file(tmp_path, b"hello")).read_via_stream(1 << 63)
    assert await outcome(stream.blocking_read, 1) == "last-operation-failed"


async def test_write_via_stream(tmp_path: Path) -> None:
    stream = (await open_file(tmp_path, b"hello")).write_via_stream(2)
    assert stream.check_write() > 0
    await finish(stream.write(b"LL"))
    await finish(stream.write(b"O W"))
    await finish(stream.blocking_write_and_flush(b"ORLD"))
    await finish(stream.blocking_flush())
    assert (tmp_path / "file").read_bytes() == b"heLLO WORLD"


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Writes to files wait for this."""
    go_on = threading.Event()
    pwrite = os.pwrite

    def slow_pwrite(fd: int, data: Any, offset: int) -> int:
        go_on.wait(5)
        return pwrite(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", slow_pwrite)
    yield go_on
    go_on.set()


async def test_a_write_that_waits_for_the_disk_leaves_the_loop_running(
    tmp_path: Path, slow_disk: threading.Event
) -> None:
    stream = (await open_file(tmp_path)).write_via_stream(0)
    written: list[None] = []

    async def write(data: bytes) -> None:
        written.append(await finish(stream.blocking_write_and_flush(data)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write, b"slow ")
        await anyio.sleep(0.01)
        assert not written
        slow_disk.set()
    for _ in range(p2.WARY_WRITES):
        later = stream.blocking_write_and_flush(b"wary ")
        assert later is not None
        await later
    await write(b"fast")
    assert (tmp_path / "file").read_bytes() == b"slow " + b"wary " * p2.WARY_WRITES + b"fast"


async def test_a_late_failure_of_a_write_is_told(tmp_path: Path, slow_disk: threading.Event) -> None:
    file = await open_file(tmp_path, flags=READ | WRITE)
    stream = file.write_via_stream(MAX_FILESIZE)
    failures: list[int] = []

    async def write() -> None:
        with pytest.raises(Err) as caught:
            await finish(stream.blocking_write_and_flush(b"xx"))
        failures.append(caught.value.value.value.cause.errno)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        await anyio.sleep(0.01)
        assert not failures
        slow_disk.set()
    assert failures == [errno.EINVAL]
    assert await outcome(stream.check_write) == "closed"


async def test_a_stream_that_is_dropped_while_it_writes_has_written(tmp_path: Path, slow_disk: threading.Event) -> None:
    file = await open_file(tmp_path)
    stream = file.write_via_stream(0)
    writing = stream.blocking_write_and_flush(b"all of it")
    writing.close()
    stream.close()
    file.close()
    slow_disk.set()
    await stream.sink.writing.wait()
    assert file.handle.users == 0
    assert (tmp_path / "file").read_bytes() == b"all of it"


async def test_append_via_stream(tmp_path: Path) -> None:
    file = await open_file(tmp_path, b"hello")
    stream, other = file.append_via_stream(), file.append_via_stream()
    await finish(stream.blocking_write_and_flush(b" one"))
    await finish(other.blocking_write_and_flush(b" two"))
    await finish(stream.blocking_write_and_flush(b" three"))
    assert (tmp_path / "file").read_bytes() == b"hello one two three"


async def test_a_failing_write_tells_its_error_code(tmp_path: Path) -> None:
    stream = (await open_file(tmp_path)).write_via_stream(1 << 63)
    with pytest.raises(Err) as caught:
        await finish(stream.blocking_write_and_flush(b"x"))
    assert p2.Types.filesystem_error_code(caught.value.value.value) == "invalid"


async def test_streams_outlive_their_descriptor(tmp_path: Path, cached: bool) -> None:
    file = await open_file(tmp_path, b"hello")
    reader, writer = file.read_via_stream(0), file.append_via_stream()
    file.close()
    await finish(writer.blocking_write_and_flush(b"!"))
    assert await read_stream(reader) == b"hello!"
    reader.close()
    writer.close()
    assert file.handle.users == 0


async def list_directory(d: Any) -> dict[str, Any]:
    stream = d.read_directory()
    entries = {}
    while (entry := await finish(stream.read_directory_entry())) is not None:
        entries[entry.name] = entry.type
    assert await finish(stream.read_directory_entry()) is None
    stream.close()
    return entries


async def test_read_directory(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("directory")
    os.mkfifo(tmp_path / "fifo")
    d = await open_root(p2, tmp_path)
    expected = {"a file": "regular-file", "directory": "directory", "link": "symbolic-link", "fifo": "fifo"}
    assert await list_directory(d) == expected
    assert await list_directory(d) == expected
    assert d.handle.filesystem.open_count == 1


async def test_large_directories_come_in_parts(tmp_path: Path) -> None:
    names = {f"file{index}" for index in range(2 * filesystem.ENTRIES_AT_ONCE + 1)}
    for name in names:
        (tmp_path / name).touch()
    d = await open_root(p2, tmp_path)
    first, second = d.read_directory(), d.read_directory()
    assert await finish(first.read_directory_entry()) == await finish(second.read_directory_entry())
    first.close()
    second.close()
    assert set(await list_directory(d)) == names


async def test_a_name_that_is_no_text_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "good").touch()
    os.close(os.open(os.fsencode(tmp_path) + b"/\xff", os.O_CREAT))
    stream = (await open_root(p2, tmp_path)).read_directory()
    results = [await outcome(stream.read_directory_entry) for _ in range(3)]
    assert sorted(getattr(r, "name", str(r)) for r in results) == ["None", "good", "illegal-byte-sequence"]
    stream.close()


async def test_times_before_1970_are_none(tmp_path: Path) -> None:
    file = await open_file(tmp_path)
    os.utime(tmp_path / "file", ns=(-1, 5))
    found = await finish(file.stat())
    assert found.data_access_timestamp is None
    assert found.data_modification_timestamp.nanoseconds == 5


async def test_streams_of_a_file_are_limited_and_given_back(tmp_path: Path) -> None:
    file = await open_file(tmp_path, b"hello", max_open=2)
    streams = [file.read_via_stream(0) for _ in range(6)] + [file.write_via_stream(0), file.append_via_stream()]
    for refused in (
        await outcome(file.read_via_stream, 0),
        await outcome(file.write_via_stream, 0),
        await outcome(file.append_via_stream),
    ):
        assert refused == "insufficient-memory"
    assert await finish(streams[0].blocking_read(9)) == b"hello"
    for stream in streams:
        stream.close()
    for _ in range(20):
        stream = file.read_via_stream(0)
        assert await finish(stream.blocking_read(9)) == b"hello"
        stream.close()

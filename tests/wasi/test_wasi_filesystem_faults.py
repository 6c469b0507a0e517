"""What guests are told when disks are full, files vanish and numbers are absurd; nothing hangs, and nothing leaks."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest
from filesystem_fakes import (
    CREATE,
    DIRECTORY,
    FOLLOW,
    MUTATE,
    NO_OPEN_FLAGS,
    NOFOLLOW,
    READ,
    TRUNCATE,
    WRITE,
    open_path,
    open_root,
    outcome,
)
from wasi_fakes import GuestStream, finish

from p3host.errors import Err
from p3host.wasi.filesystem.types import ERROR_LABELS
from p3host.wasi.p2 import filesystem as p2
from p3host.wasi.p3 import filesystem as p3

pytestmark = pytest.mark.anyio

MIB = 1 << 20


@pytest.fixture(params=[p2, p3], ids=["0.2", "0.3"])
def version(request: pytest.FixtureRequest) -> ModuleType:
    module = request.param
    assert isinstance(module, ModuleType)
    return module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture(autouse=True)
async def nothing_leaks(root: Path) -> AsyncIterator[None]:
    """When a test has closed what it opened, nothing beneath the root is open."""
    yield
    for _ in range(2000):
        if not open_beneath(root):
            return
        await anyio.sleep(0.001)
    assert open_beneath(root) == []


def open_beneath(root: Path) -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:
            continue  # the listing's own
    return [path for path in found if path.startswith(str(root))]


@contextmanager
def mounted(path: Path, *options: str) -> Iterator[None]:
    """A filesystem in memory at `path`; the test is skipped where it can't be mounted."""
    mount = ["mount", "-t", "tmpfs", "-o", ",".join(("mode=755", *options)), "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no filesystem can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextmanager
def limited(kind: int, soft: int) -> Iterator[None]:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


async def write(file: Any, data: bytes, offset: int | None = 0) -> object:
    """Writes all, at the end where `offset` is None; gives None or the error code."""
    if isinstance(file, p3.Descriptor):
        stream = GuestStream([data])
        writing = file.append_via_stream(stream) if offset is None else file.write_via_stream(stream, offset)
        result = await outcome(lambda: writing)
        assert stream.closed
        return result
    if offset is None:
        try:
            output = file.append_via_stream()
        except Err as failure:
            return failure.value
        try:
            for start in range(0, len(data), 4096):
                await finish(output.blocking_write_and_flush(data[start : start + 4096]))
        except Err as failure:
            return ERROR_LABELS[failure.value.value.cause.errno]
        finally:
            output.close()
        return None
    done = 0
    while done < len(data):
        count = await outcome(file.write, data[done:], offset + done)
        if not isinstance(count, int):
            return count
        assert 0 < count <= len(data) - done
        done += count
    return None


async def read(file: Any, length: int = 1 << 62, offset: int = 0) -> object:
    """The first piece that is read, or the error code."""
    if isinstance(file, p3.Descriptor):
        stream, future = file.read_via_stream(offset)
        try:
            return await stream.receive(length)
        except anyio.EndOfStream:
            return await outcome(lambda: future) or b""
        finally:
            await stream.aclose()
    found = await outcome(file.read, length, offset)
    return found[0] if isinstance(found, tuple) else found


async def names(directory: Any) -> list[str]:
    """The names in a directory, in any order."""
    if isinstance(directory, p3.Descriptor):
        stream, future = directory.read_directory()
        found = [entry.name async for part in stream for entry in part]
        await future
        return found
    entries = directory.read_directory()
    found = []
    while (entry := await finish(entries.read_directory_entry())) is not None:
        found.append(entry.name)
    entries.close()
    return found


# Space


async def test_a_full_disk_is_insufficient_space(version: ModuleType, root: Path) -> None:
    with mounted(root, "size=64k", "nr_inodes=4"):
        d = await open_root(version, root)
        file = await open_path(d, "file", CREATE, READ | WRITE)
        assert await write(file, bytes(MIB)) == "insufficient-space"
        assert await write(file, b"x" * MIB, None) == "insufficient-space"
        assert (root / "file").stat().st_size == 64 << 10
        assert await outcome(d.create_directory_at, "one") is None
        assert await outcome(d.create_directory_at, "two") is None
        assert await outcome(d.create_directory_at, "three") == "insufficient-space"
        assert await outcome(d.open_at, FOLLOW, "four", CREATE, WRITE) == "insufficient-space"
        assert await outcome(d.symlink_at, "one", "five") == "insufficient-space"
        assert await outcome(file.set_size, 0) is None
        assert await write(file, b"text") is None
        assert await read(file) == b"text"
        file.close()
        d.close()


async def test_a_disk_that_fills_up_within_a_write_tells_how_much_was_written(root: Path) -> None:
    with mounted(root, "size=64k"):
        d = await open_root(p2, root)
        file = await open_path(d, "file", CREATE, WRITE)
        assert await file.write(bytes(MIB), 0) == 64 << 10
        file.close()
        d.close()


async def test_a_file_beyond_its_limit_is_too_large(version: ModuleType, root: Path) -> None:
    d = await open_root(version, root)
    file = await open_path(d, "file", CREATE, READ | WRITE)
    with limited(resource.RLIMIT_FSIZE, 1000):
        assert await write(file, bytes(2000)) == "file-too-large"
        assert await write(file, b"x", 1000) == "file-too-large"
        assert await write(file, b"x", None) == "file-too-large"
        assert await outcome(file.set_size, 1001) == "file-too-large"
        assert await write(file, b"text", 990) is None
    assert (root / "file").stat().st_size == 1000
    file.close()
    d.close()


async def test_a_full_device_is_insufficient_space(version: ModuleType, root: Path) -> None:
    d = await open_root(version, Path("/dev"))
    file = await open_path(d, "full", flags=WRITE)
    assert file.get_type() == "character-device"
    for offset in (0, 100):
        assert await write(file, b"text", offset) == "insufficient-space"
    assert await write(file, b"text", None) == "unsupported"  # a device has no end
    file.close()
    d.close()


async def test_devices_are_read_and_written(version: ModuleType, root: Path) -> None:
    d = await open_root(version, Path("/dev"))
    zero, null = await open_path(d, "zero"), await open_path(d, "null", flags=READ | WRITE)
    assert await read(zero, 10) == bytes(10)
    assert await read(null) == b""
    assert await write(null, bytes(MIB)) is None
    for file in (zero, null, d):
        file.close()


@pytest.mark.parametrize(("name", "number"), [("quota", errno.EDQUOT), ("io", errno.EIO), ("busy", errno.EBUSY)])
async def test_what_a_disk_answers_is_passed_on(
    version: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    d = await open_root(version, root)
    file = await open_path(d, "file", CREATE, WRITE)

    def fail(*arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    for system_call in ("pwrite", "pwritev", "fsync"):
        monkeypatch.setattr(os, system_call, fail)
    assert await write(file, b"text") == name
    assert await write(file, b"text", None) == name
    assert await outcome(file.sync) == name
    file.close()
    d.close()


async def test_a_device_that_takes_nothing_is_an_error(
    version: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    d = await open_root(version, root)
    file = await open_path(d, "file", CREATE, WRITE)
    monkeypatch.setattr(os, "pwrite", lambda *arguments: 0)
    assert await write(file, b"text") == "io"
    file.close()
    d.close()


# What vanishes, shrinks, or can't be changed


async def test_a_file_that_was_removed_goes_on(version: ModuleType, root: Path) -> None:
    (root / "file").write_text("text")
    d = await open_root(version, root)
    file = await open_path(d, "file", flags=READ | WRITE)
    assert await outcome(d.unlink_file_at, "file") is None
    assert (await finish(file.stat())).link_count == 0
    assert await write(file, b"T") is None
    assert await read(file) == b"Text"
    assert await outcome(d.open_at, FOLLOW, "file", NO_OPEN_FLAGS, READ) == "no-entry"
    file.close()
    d.close()


async def test_a_directory_that_was_removed_has_nothing_and_takes_nothing(version: ModuleType, root: Path) -> None:
    (root / "dir").mkdir()
    (root / "file").touch()
    d = await open_root(version, root)
    removed = await open_path(d, "dir", DIRECTORY, READ | MUTATE)
    (root / "dir").rmdir()
    assert (await finish(removed.stat())).link_count == 0
    assert await names(removed) == []
    assert await outcome(removed.stat_at, FOLLOW, ".") not in ("no-entry", None)
    for operation, arguments in {
        "stat_at": (FOLLOW, "file"),
        "open_at": (FOLLOW, "file", CREATE, WRITE),
        "create_directory_at": ("new",),
        "symlink_at": ("target", "new"),
        "unlink_file_at": ("file",),
        "remove_directory_at": ("dir",),
        "readlink_at": ("link",),
    }.items():
        assert await outcome(getattr(removed, operation), *arguments) == "no-entry"
    assert await outcome(d.rename_at, "file", removed, "file") == "no-entry"
    assert await outcome(d.link_at, NOFOLLOW, "file", removed, "file") == "no-entry"
    removed.close()
    d.close()


async def test_a_directory_that_was_moved_is_still_that_directory(version: ModuleType, root: Path) -> None:
    """Also the granted one: what is at its path now is not what was granted."""
    (root / "granted" / "dir").mkdir(parents=True)
    d = await open_root(version, root / "granted")
    directory = await open_path(d, "dir", DIRECTORY, READ | MUTATE)
    (root / "granted" / "dir").rename(root / "granted" / "moved")
    (root / "granted").rename(root / "elsewhere")
    (root / "granted" / "dir").mkdir(parents=True)
    assert await outcome(directory.create_directory_at, "in moved") is None
    assert await outcome(d.create_directory_at, "in elsewhere") is None
    assert await outcome(directory.stat_at, FOLLOW, "..") == "not-permitted"
    assert (root / "elsewhere" / "moved" / "in moved").is_dir()
    assert (root / "elsewhere" / "in elsewhere").is_dir()
    assert list((root / "granted").rglob("*")) == [root / "granted" / "dir"]
    directory.close()
    d.close()


async def test_a_read_only_filesystem_can_not_be_changed(version: ModuleType, root: Path) -> None:
    with mounted(root, "size=64k"):
        (root / "file").write_text("text")
        (root / "dir").mkdir()
        await anyio.run_process(["mount", "-o", "remount,ro", str(root)])
        d = await open_root(version, root)
        for operation, arguments in {
            "open_at": (FOLLOW, "file", NO_OPEN_FLAGS, WRITE),
            "create_directory_at": ("new",),
            "symlink_at": ("target", "new"),
            "unlink_file_at": ("file",),
            "remove_directory_at": ("dir",),
            "rename_at": ("file", d, "new"),
            "link_at": (NOFOLLOW, "file", d, "new"),
            "set_times_at": (FOLLOW, "file", "now", "now"),
        }.items():
            assert await outcome(getattr(d, operation), *arguments) == "read-only"
        assert await outcome(d.open_at, FOLLOW, "new", CREATE, WRITE) == "read-only"
        assert await outcome(d.open_at, FOLLOW, "file", TRUNCATE, WRITE) == "read-only"
        file = await open_path(d, "file")
        assert await read(file) == b"text"
        file.close()
        d.close()


async def test_a_file_that_shrinks_while_it_is_read_ends_earlier(root: Path) -> None:
    (root / "file").write_bytes(bytes(MIB))
    d = await open_root(p3, root)
    file = await open_path(d, "file")
    stream, future = file.read_via_stream(0)
    size = len(await stream.receive(1000))
    os.truncate(root / "file", 1500)
    size += sum([len(piece) async for piece in stream])
    assert size == 1500
    assert await future is None
    source = (await open_path(await open_root(p2, root), "file")).read_via_stream(0)
    assert len(await finish(source.blocking_read(1000))) == 1000
    os.truncate(root / "file", 0)
    assert await outcome(source.blocking_read, 1000) == "closed"
    source.close()
    file.close()
    d.close()


# Pipes, names, links


async def test_a_pipe_of_the_filesystem_holds_nobody_up(version: ModuleType, root: Path) -> None:
    os.mkfifo(root / "fifo")
    d = await open_root(version, root)
    with anyio.fail_after(10):
        reading = await open_path(d, "fifo")
        assert await read(reading) == "invalid-seek"
        writing = await open_path(d, "fifo", flags=WRITE)
        both = await open_path(d, "fifo", flags=READ | WRITE)
        for file in (writing, both):
            assert await write(file, b"text") == "invalid-seek"
            assert await write(file, b"text", None) == "invalid-seek"
            assert await outcome(file.set_size, 0) == "invalid"
        assert await read(both) == "invalid-seek"
        assert await names(d) == ["fifo"]
    for file in (reading, writing, both, d):
        file.close()


LONG_NAMES = {
    "x" * 255: "no-entry",
    "x" * 256: "name-too-long",
    "é" * 128: "name-too-long",
    "dir/" + "x" * 256: "name-too-long",
    "./" * 2047 + "x": "no-entry",
    "./" * 2047 + "xx": "name-too-long",
    "x" * 100_000: "name-too-long",
    "a\0b": "invalid",
    "loop": "loop",
    "loop/x": "loop",
    "one": "loop",
    "dir/two/x": "loop",
}


@pytest.mark.parametrize("path", LONG_NAMES, ids=lambda path: f"{path[:12]!r} {len(path)}")
async def test_long_names_and_loops_are_refused_by_every_operation(version: ModuleType, root: Path, path: str) -> None:
    (root / "dir").mkdir()
    (root / "file").touch()
    (root / "loop").symlink_to("loop")
    (root / "one").symlink_to("dir/two")
    (root / "dir" / "two").symlink_to("../one")
    expected = LONG_NAMES[path]
    d = await open_root(version, root)
    for operation, arguments in {
        "stat_at": (FOLLOW, path),
        "open_at": (FOLLOW, path, NO_OPEN_FLAGS, READ),
        "set_times_at": (FOLLOW, path, "now", "now"),
        "metadata_hash_at": (FOLLOW, path),
        "link_at": (FOLLOW, path, d, "new"),
    }.items():
        assert await outcome(getattr(d, operation), *arguments) == expected
    if expected in ("name-too-long", "invalid") or path in ("loop/x", "dir/two/x"):
        for operation, arguments in {
            "readlink_at": (path,),
            "unlink_file_at": (path,),
            "remove_directory_at": (path,),
            "create_directory_at": (path,),
            "symlink_at": ("target", path),
            "rename_at": ("file", d, path),
            "link_at": (NOFOLLOW, "file", d, path),
        }.items():
            assert await outcome(getattr(d, operation), *arguments) == expected
        assert await outcome(d.rename_at, path, d, "new") == expected
        assert await outcome(d.open_at, FOLLOW, path, CREATE, WRITE) == expected
    assert sorted(os.listdir(root)) == ["dir", "file", "loop", "one"]
    d.close()


# Numbers

TOP = (1 << 64) - 1
LAST = (1 << 63) - 1


@pytest.mark.parametrize(
    ("length", "offset", "expected"),
    [
        (0, 0, b""),
        (TOP, 0, b"text"),
        (TOP, 3, b"t"),
        (1, LAST - 1, b""),
        (TOP, 4096, b""),
        (1, 1 << 63, "invalid"),
        (TOP, TOP, "invalid"),
    ],
)
async def test_reads_of_any_length_anywhere(
    version: ModuleType, root: Path, length: int, offset: int, expected: object
) -> None:
    (root / "file").write_text("text")
    d = await open_root(version, root)
    file = await open_path(d, "file")
    if length or version is p2:
        assert await read(file, length, offset) == expected
    file.close()
    d.close()


@pytest.mark.parametrize("offset", [LAST, 1 << 63, TOP])
async def test_absurd_offsets_are_invalid(version: ModuleType, root: Path, offset: int) -> None:
    d = await open_root(version, root)
    file = await open_path(d, "file", CREATE, WRITE)
    assert await write(file, b"text", offset) == "invalid"
    assert (root / "file").stat().st_size == 0
    file.close()
    d.close()


# Numbers of things


async def test_a_directory_of_thousands_is_listed_whole(version: ModuleType, root: Path) -> None:
    made = {f"entry {number}" for number in range(5000)}
    for name in made:
        (root / name).touch()
    d = await open_root(version, root)
    found = await names(d)
    assert len(found) == 5000
    assert set(found) == made
    d.close()


async def test_a_directory_whose_entries_vanish_is_listed_to_its_end(root: Path) -> None:
    for number in range(2000):
        (root / f"entry {number}").touch()
    d = await open_root(p3, root)
    stream, future = d.read_directory()
    found = len(await anext(stream))
    for entry in os.listdir(root):
        os.unlink(root / entry)
    found += sum([len(part) async for part in stream])
    assert await future is None
    assert 0 < found <= 2000
    d.close()


async def test_thousands_of_descriptors_are_refused_and_nothing_else_fails(version: ModuleType, root: Path) -> None:
    (root / "file").write_text("text")
    d = await open_root(version, root, max_open=300)
    opened = []
    for _ in range(3000):
        file = await outcome(d.open_at, FOLLOW, "file", NO_OPEN_FLAGS, READ)
        if file == "insufficient-memory":
            continue
        opened.append(file)
    assert len(opened) == 299
    assert (await finish(d.stat_at(FOLLOW, "file"))).size == 4
    for file in opened:
        file.close()
    (await open_path(d, "file")).close()
    d.close()


async def test_a_process_without_file_descriptors_is_insufficient_memory(version: ModuleType, root: Path) -> None:
    (root / "dir").mkdir()
    (root / "file").touch()
    d = await open_root(version, root)
    await outcome(d.set_times_at, FOLLOW, "file", "now", "now")  # there is a worker thread
    free = os.dup(0)
    os.close(free)
    with limited(resource.RLIMIT_NOFILE, free):
        for operation, arguments in {
            "open_at": (FOLLOW, "file", NO_OPEN_FLAGS, READ),
            "stat_at": (FOLLOW, "file"),
            "unlink_file_at": ("dir/file",),
            "set_times_at": (FOLLOW, "file", "now", "now"),
        }.items():
            assert await outcome(getattr(d, operation), *arguments) == "insufficient-memory"
    assert d.handle.filesystem.open_count == 1
    d.close()


# Mounts


async def test_a_mount_beneath_a_directory_is_a_part_of_it(version: ModuleType, root: Path) -> None:
    (root / "mount").mkdir()
    (root / "file").touch()
    with mounted(root / "mount", "size=64k"):
        (root / "mount" / "inner").write_text("inner")
        d = await open_root(version, root)
        file = await open_path(d, "mount/inner")
        assert await read(file) == b"inner"
        assert (await finish(d.stat_at(FOLLOW, "mount/../file"))).size == 0
        assert await outcome(d.rename_at, "file", d, "mount/file") == "cross-device"
        assert await outcome(d.link_at, NOFOLLOW, "file", d, "mount/file") == "cross-device"
        assert await outcome(d.remove_directory_at, "mount") == "busy"
        assert await outcome(d.rename_at, "mount", d, "moved") == "busy"
        mount = await open_path(d, "mount", DIRECTORY)
        assert await outcome(mount.stat_at, FOLLOW, "..") == "not-permitted"
        for opened in (file, mount, d):
            opened.close()


# The loop


@pytest.mark.parametrize("deleted", [False, True])
async def test_what_a_deleted_file_took_is_freed_in_a_thread(
    root: Path, monkeypatch: pytest.MonkeyPatch, deleted: bool
) -> None:
    closing: list[threading.Thread] = []
    d = await open_root(p3, root)
    file = await open_path(d, "file", CREATE, WRITE)
    if deleted:
        assert await outcome(d.unlink_file_at, "file") is None
    close = os.close

    def tell(fd: int) -> None:
        if fd == file.handle.fd:
            closing.append(threading.current_thread())
        close(fd)

    monkeypatch.setattr(os, "close", tell)
    file.close()
    for _ in range(2000):
        if closing:
            break
        await anyio.sleep(0.001)
    assert (closing[0] is threading.main_thread()) == (d.handle.local and not deleted)
    d.close()

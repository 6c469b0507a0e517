"""What `wasi:filesystem` 0.2 and 0.3 do alike."""

from __future__ import annotations

import errno
import inspect
import os
import re
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import anyio
import pytest
from filesystem_fakes import (
    CREATE,
    DIRECTORY,
    EXCLUSIVE,
    FOLLOW,
    MUTATE,
    NO_FLAGS,
    NO_OPEN_FLAGS,
    NOFOLLOW,
    READ,
    TRUNCATE,
    WRITE,
    open_all,
    open_path,
    open_root,
    outcome,
    populate,
    preopens,
)
from wasi_fakes import finish

from p3host.errors import Err, LinkError
from p3host.wasi.filesystem import handles as filesystem
from p3host.wasi.filesystem.handles import Directory
from p3host.wasi.filesystem.types import ERROR_LABELS, DescriptorFlags
from p3host.wasi.p2 import filesystem as p2
from p3host.wasi.p3 import filesystem as p3

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[p2, p3], ids=["0.2", "0.3"])
def version(request: pytest.FixtureRequest) -> ModuleType:
    module = request.param
    assert isinstance(module, ModuleType)
    return module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    populate(path)
    return path


@pytest.fixture(params=[True, False], ids=["prompt", "threads"])
def local(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether descriptors may answer on the event loop."""
    if not request.param:
        monkeypatch.setattr(filesystem, "is_local", lambda fd: False)
    return bool(request.param)


def timestamp(seconds: int, nanoseconds: int = 0) -> Any:
    return SimpleNamespace(tag="timestamp", value=SimpleNamespace(seconds=seconds, nanoseconds=nanoseconds))


def snapshot(root: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in root.rglob("*")}


def exists(path: Path) -> bool:
    return os.path.lexists(path)


def open_beneath_root(root: Path) -> list[str]:
    """What this process has open there."""
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return [path for path in (os.readlink(link) for link in links if exists(Path(link))) if path.startswith(str(root))]


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(5000):
        if condition():
            return
        await anyio.sleep(0.001)
    pytest.fail("it never happened")


# Grants


async def test_nothing_granted_is_no_preopen(version: ModuleType) -> None:
    assert await open_all(version, []) == []


async def test_preopens_have_their_guest_paths_and_rights(version: ModuleType, root: Path) -> None:
    opened = await open_all(version, [Directory(root, "/data", True), Directory(str(root / "dir"), "sub")])
    assert [path for _, path in opened] == ["/data", "sub"]
    assert [d.get_flags() for d, _ in opened] == [{"read", "mutate-directory"}, {"read"}]
    assert await outcome(opened[1][0].create_directory_at, "new") == "read-only"


async def test_preopens_are_opened_anew_for_each_call(version: ModuleType, root: Path) -> None:
    provider = preopens(version, [Directory(root, "/")])
    [(first, _)], [(second, _)] = await finish(provider.get_directories()), await finish(provider.get_directories())
    first.close()
    assert await finish(second.stat())


@pytest.mark.parametrize(
    ("name", "guest_path"), [("missing", "/"), ("a.txt", "/"), ("dir", ""), ("dir", "a\0b"), ("dir", "\udcff")]
)
def test_a_grant_that_cannot_work_is_a_link_error(root: Path, name: str, guest_path: str) -> None:
    with pytest.raises(LinkError, match=re.escape(str(root / name))):
        Directory(root / name, guest_path)


def test_a_relative_grant_is_of_the_working_directory_then(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    granted = Directory("dir", "/")
    monkeypatch.chdir("/")
    assert granted.host_path == str(root / "dir")


# Path resolution: (path, following, error or content)

RESOLUTIONS = [
    ("a.txt", FOLLOW, "hello"),
    ("./dir//../a.txt", FOLLOW, "hello"),
    ("dir/.//nested/../../dir/b.txt", NOFOLLOW, "b"),
    ("link", FOLLOW, "hello"),
    ("link", NOFOLLOW, "loop"),
    ("dir/up", FOLLOW, "hello"),
    ("dirlink/b.txt", NOFOLLOW, "b"),
    ("dirlink/../a.txt", FOLLOW, "hello"),
    ("", FOLLOW, "no-entry"),
    ("/", FOLLOW, "not-permitted"),
    ("/a.txt", FOLLOW, "not-permitted"),
    ("..", FOLLOW, "not-permitted"),
    ("../root/a.txt", FOLLOW, "not-permitted"),
    ("dir/../../root/a.txt", FOLLOW, "not-permitted"),
    ("parent", FOLLOW, "not-permitted"),
    ("parent/root/a.txt", NOFOLLOW, "not-permitted"),
    ("parent/secret.txt", FOLLOW, "not-permitted"),
    ("out", FOLLOW, "not-permitted"),
    ("out", NOFOLLOW, "loop"),
    ("absolute", FOLLOW, "not-permitted"),
    ("detour", FOLLOW, "not-permitted"),
    ("dangling", FOLLOW, "no-entry"),
    ("loop", FOLLOW, "loop"),
    ("a.txt/", FOLLOW, "not-directory"),
    ("a.txt///", FOLLOW, "not-directory"),
    ("a.txt/x", FOLLOW, "not-directory"),
    ("a.txt/..", FOLLOW, "not-directory"),
    ("missing/../a.txt", FOLLOW, "no-entry"),
    ("a.txt\0", FOLLOW, "invalid"),
    ("a\0/../../secret.txt", FOLLOW, "invalid"),
    ("x" * 256, FOLLOW, "name-too-long"),
    ("d/" * 3000, FOLLOW, "name-too-long"),
]


@pytest.mark.parametrize(("path", "follow", "expected"), RESOLUTIONS)
async def test_open_at_resolves_beneath_the_directory(
    version: ModuleType, root: Path, local: bool, path: str, follow: Any, expected: str
) -> None:
    directory = await open_root(version, root)
    opened = await outcome(directory.open_at, follow, path, NO_OPEN_FLAGS, READ)
    if isinstance(opened, version.Descriptor):
        size = (await finish(opened.stat())).size
        assert size == len(expected)
        opened.close()
    else:
        assert opened == expected


@pytest.mark.parametrize("path", ["..", "/", "../root", "parent/x", "parent/", "dir/../..", "dir/../../root/x"])
async def test_no_operation_leaves_the_directory(version: ModuleType, root: Path, local: bool, path: str) -> None:
    d = await open_root(version, root)
    for function, *arguments in [
        (d.stat_at, FOLLOW, path),
        (d.metadata_hash_at, FOLLOW, path),
        (d.readlink_at, path),
        (d.create_directory_at, path),
        (d.remove_directory_at, path),
        (d.unlink_file_at, path),
        (d.symlink_at, "a.txt", path),
        (d.rename_at, "a.txt", d, path),
        (d.rename_at, path, d, "new"),
        (d.link_at, NOFOLLOW, "a.txt", d, path),
        (d.link_at, NOFOLLOW, path, d, "new"),
        (d.set_times_at, FOLLOW, path, "now", "now"),
        (d.open_at, FOLLOW, path, NO_OPEN_FLAGS, READ),
        (d.open_at, FOLLOW, path.rstrip("/") or "/", CREATE, WRITE),
    ]:
        assert await outcome(function, *arguments) == "not-permitted"
    assert sorted(p.name for p in root.parent.iterdir()) == ["root", "secret.txt"]


async def test_a_child_directory_does_not_reach_its_parent(version: ModuleType, root: Path) -> None:
    d = await open_root(version, root)
    child = await open_path(d, "dir", DIRECTORY, MUTATE)
    for path in ["..", "../a.txt", "../dir/b.txt", "up", "nested/../../a.txt"]:
        assert await outcome(child.stat_at, FOLLOW, path) == "not-permitted"
    await child.create_directory_at("new")
    assert (root / "dir" / "new").is_dir()


async def test_links_at_the_end_are_followed_only_when_asked(version: ModuleType, root: Path, local: bool) -> None:
    d = await open_root(version, root)
    assert (await finish(d.stat_at(NOFOLLOW, "out"))).type == "symbolic-link"
    assert (await finish(d.stat_at(NOFOLLOW, "link"))).size == len("a.txt")
    assert await finish(d.stat_at(FOLLOW, "link")) == await finish(d.stat_at(NOFOLLOW, "a.txt"))
    assert await finish(d.stat_at(NOFOLLOW, ".")) == await finish(d.stat())


async def test_paths_beneath_a_file_are_refused(version: ModuleType, root: Path) -> None:
    file = await open_path(await open_root(version, root), "a.txt")
    for path in [".", "z.txt", "/"]:
        assert await outcome(file.stat_at, NOFOLLOW, path) == "not-directory"
        assert await outcome(file.create_directory_at, path) == "not-directory"


# Opening


@pytest.mark.parametrize(
    ("path", "how", "flags", "expected"),
    [
        ("a.txt", NO_OPEN_FLAGS, NO_FLAGS, {"read"}),
        ("a.txt", EXCLUSIVE, NO_FLAGS, {"read"}),
        ("a.txt", NO_OPEN_FLAGS, WRITE, {"write"}),
        ("a.txt", NO_OPEN_FLAGS, READ | WRITE | MUTATE, {"read", "write"}),
        ("a.txt", TRUNCATE, READ, {"read", "write"}),
        ("a.txt", NO_OPEN_FLAGS, WRITE | DescriptorFlags.DATA_INTEGRITY_SYNC, {"write", "data-integrity-sync"}),
        ("new", CREATE | EXCLUSIVE, NO_FLAGS, {"read", "write"}),
        ("new", CREATE | EXCLUSIVE, READ, {"read", "write"}),
        ("new", CREATE | EXCLUSIVE, WRITE, {"write"}),
        ("new", CREATE, READ | WRITE, {"read", "write"}),
        ("dangling", CREATE, WRITE, {"write"}),
        (".", NO_OPEN_FLAGS, NO_FLAGS, {"read"}),
        ("dir", DIRECTORY, READ | MUTATE, {"read", "mutate-directory"}),
        ("dir/", NO_OPEN_FLAGS, MUTATE, {"read", "mutate-directory"}),
    ],
)
async def test_open_at_gives_flags(
    version: ModuleType, root: Path, local: bool, path: str, how: Any, flags: Any, expected: set[str]
) -> None:
    opened = await open_path(await open_root(version, root), path, how, flags)
    assert opened.get_flags() == expected
    assert opened.get_type() == ("directory" if path in (".", "dir", "dir/") else "regular-file")


@pytest.mark.parametrize(
    ("path", "how", "flags", "expected"),
    [
        ("a.txt", CREATE | EXCLUSIVE, WRITE, "exist"),
        ("link", CREATE | EXCLUSIVE, WRITE, "exist"),
        ("dangling", CREATE | EXCLUSIVE, WRITE, "exist"),
        ("out", CREATE, WRITE, "not-permitted"),
        ("out", TRUNCATE, WRITE, "not-permitted"),
        ("a.txt", DIRECTORY, READ, "not-directory"),
        ("link", DIRECTORY, READ, "not-directory"),
        ("dir", NO_OPEN_FLAGS, WRITE, "is-directory"),
        ("dir", TRUNCATE, READ, "is-directory"),
        ("new/", CREATE, WRITE, "is-directory"),
        ("new", DIRECTORY | CREATE, WRITE, "invalid"),
        ("dir", DIRECTORY | TRUNCATE, WRITE, "invalid"),
    ],
)
async def test_open_at_fails(version: ModuleType, root: Path, path: str, how: Any, flags: Any, expected: str) -> None:
    d = await open_root(version, root)
    assert await outcome(d.open_at, FOLLOW, path, how, flags) == expected
    assert (root.parent / "secret.txt").read_text() == "secret"


async def test_a_pipe_or_socket_holds_nobody_up(
    version: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(root / "fifo")
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("socket")
    d = await open_root(version, root)
    with anyio.fail_after(5):
        assert (await open_path(d, "fifo")).get_type() == "fifo"
        for path in ["fifo", "socket"]:
            assert await outcome(d.open_at, FOLLOW, path, NO_OPEN_FLAGS, WRITE) == "no-such-device"
    assert (await finish(d.stat_at(FOLLOW, "socket"))).type == "socket"


# Rights

CHANGES: list[Callable[[Any], Any]] = [
    lambda d: d.open_at(FOLLOW, "a.txt", NO_OPEN_FLAGS, WRITE),
    lambda d: d.open_at(FOLLOW, "a.txt", TRUNCATE, READ),
    lambda d: d.open_at(FOLLOW, "new", CREATE, READ),
    lambda d: d.open_at(FOLLOW, "dir", DIRECTORY, MUTATE),
    lambda d: d.create_directory_at("new"),
    lambda d: d.remove_directory_at("dir/nested"),
    lambda d: d.unlink_file_at("a.txt"),
    lambda d: d.symlink_at("a.txt", "new"),
    lambda d: d.rename_at("a.txt", d, "new"),
    lambda d: d.link_at(NOFOLLOW, "a.txt", d, "new"),
    lambda d: d.set_times_at(FOLLOW, "a.txt", timestamp(1), timestamp(1)),
    lambda d: d.set_times(timestamp(1), timestamp(1)),
]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_read_only_grant_changes_nothing(version: ModuleType, root: Path, change: Callable[[Any], Any]) -> None:
    before = snapshot(root)
    d = await open_root(version, root, writable=False)
    assert await outcome(change, d) == "read-only"
    assert await outcome(change, await open_path(d, ".")) == "read-only"
    assert snapshot(root) == before


async def test_files_of_a_read_only_grant_keep_their_size_and_times(version: ModuleType, root: Path) -> None:
    file = await open_path(await open_root(version, root, writable=False), "a.txt")
    assert await outcome(file.set_times, "now", "now") == "read-only"
    assert await outcome(file.set_size, 0) == "invalid"
    assert (root / "a.txt").read_text() == "hello"


@pytest.mark.parametrize("operation", ["link", "rename"])
async def test_nothing_moves_between_grants_of_different_rights(
    version: ModuleType, root: Path, operation: str
) -> None:
    readable, writable = (
        d for d, _ in await open_all(version, [Directory(root, "/r"), Directory(root / "dir", "/w", True)])
    )
    for old, new, path in [(readable, writable, "a.txt"), (writable, readable, "b.txt")]:
        link, rename = (old.link_at, NOFOLLOW, path, new, "moved"), (old.rename_at, path, new, "moved")
        assert await outcome(*(link if operation == "link" else rename)) == "read-only"


async def test_a_descriptor_without_write_does_not_truncate(version: ModuleType, root: Path) -> None:
    d = await open_root(version, root)
    file = await open_path(d, "a.txt", NO_OPEN_FLAGS, READ)
    assert await outcome(file.set_size, 0) == "invalid"
    (root / "a.txt").chmod(0o444)
    if os.geteuid() != 0:
        assert await outcome(d.open_at, FOLLOW, "a.txt", TRUNCATE, READ) == "access"
    assert (root / "a.txt").read_text() == "hello"


# Entries


@pytest.mark.parametrize(
    ("operation", "path", "expected"),
    [
        ("create_directory_at", "new", None),
        ("create_directory_at", "new///", None),
        ("create_directory_at", "dir/../new", None),
        ("create_directory_at", "", "no-entry"),
        ("create_directory_at", ".", "exist"),
        ("create_directory_at", "dir/..", "exist"),
        ("create_directory_at", "a.txt", "exist"),
        ("create_directory_at", "dangling", "exist"),
        ("create_directory_at", "missing/new", "no-entry"),
        ("remove_directory_at", "dir/nested", None),
        ("remove_directory_at", "dir/nested//", None),
        ("remove_directory_at", "dir", "not-empty"),
        ("remove_directory_at", ".", "invalid"),
        ("remove_directory_at", "a.txt", "not-directory"),
        ("remove_directory_at", "a.txt/", "not-directory"),
        ("remove_directory_at", "parent", "not-directory"),
        ("remove_directory_at", "dirlink/", "not-directory"),
        ("remove_directory_at", "missing", "no-entry"),
        ("unlink_file_at", "a.txt", None),
        ("unlink_file_at", "parent", None),
        ("unlink_file_at", "absolute", None),
        ("unlink_file_at", "a.txt/", "not-directory"),
        ("unlink_file_at", "dir", "is-directory"),
        ("unlink_file_at", "dir/", "is-directory"),
        ("unlink_file_at", ".", "is-directory"),
        ("unlink_file_at", "", "no-entry"),
        ("unlink_file_at", "missing", "no-entry"),
    ],
)
async def test_making_and_removing_entries(
    version: ModuleType, root: Path, operation: str, path: str, expected: str | None
) -> None:
    d = await open_root(version, root)
    assert await outcome(getattr(d, operation), path) == expected
    if expected is None:
        assert exists(root / path) == (operation == "create_directory_at")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("a.txt", "new", None),
        ("a.txt", "a.txt", None),
        ("a.txt", "link", None),
        ("a.txt", "out", None),
        ("parent", "new", None),
        ("dir/nested/", "new/", None),
        ("a.txt", "new/", "not-directory"),
        ("a.txt/", "new", "not-directory"),
        ("a.txt", "dir", "is-directory"),
        ("dir", "dir/nested/x", "invalid"),
        (".", "new", "busy"),
        ("a.txt", ".", "busy"),
        ("missing", "new", "no-entry"),
        ("a.txt", "", "no-entry"),
    ],
)
async def test_rename_at(version: ModuleType, root: Path, old: str, new: str, expected: str | None) -> None:
    d = await open_root(version, root)
    identity = os.lstat(root / old.rstrip("/")).st_ino if expected is None else None
    assert await outcome(d.rename_at, old, d, new) == expected
    if identity is not None:
        assert os.lstat(root / new.rstrip("/")).st_ino == identity
    assert (root.parent / "secret.txt").read_text() == "secret"


@pytest.mark.parametrize(
    ("follow", "old", "new", "expected"),
    [
        (NOFOLLOW, "a.txt", "new", "a.txt"),
        (NOFOLLOW, "link", "new", "link"),
        (NOFOLLOW, "out", "new", "out"),
        (NOFOLLOW, "dangling", "new", "dangling"),
        (NOFOLLOW, "a.txt", "dirlink/new", "a.txt"),
        (FOLLOW, "link", "new", "a.txt"),
        (FOLLOW, "dir/up", "new", "a.txt"),
        (FOLLOW, "out", "new", "not-permitted"),
        (FOLLOW, "absolute", "new", "not-permitted"),
        (FOLLOW, "loop", "new", "loop"),
        (FOLLOW, "dangling", "new", "no-entry"),
        (FOLLOW, "parent", "new", "not-permitted"),
        (FOLLOW, "dirlink", "new", "not-permitted"),
        (NOFOLLOW, "dir", "new", "not-permitted"),
        (NOFOLLOW, ".", "new", "not-permitted"),
        (NOFOLLOW, "dir/", "new", "not-permitted"),
        (NOFOLLOW, "link/", "new", "not-directory"),
        (NOFOLLOW, "a.txt", "a.txt", "exist"),
        (NOFOLLOW, "a.txt", "dangling", "exist"),
        (NOFOLLOW, "a.txt", "new/", "no-entry"),
        (NOFOLLOW, "", "new", "no-entry"),
        (NOFOLLOW, "a.txt", "", "no-entry"),
    ],
)
async def test_link_at(version: ModuleType, root: Path, follow: Any, old: str, new: str, expected: str) -> None:
    d = await open_root(version, root)
    result = await outcome(d.link_at, follow, old, d, new)
    if result is None:
        assert os.lstat(root / new).st_ino == os.lstat(root / expected).st_ino
    else:
        assert result == expected


@pytest.mark.parametrize(
    ("target", "path", "expected"),
    [
        ("..", "new", None),
        ("missing/x", "dir/new", None),
        ("/etc", "new", "not-permitted"),
        ("", "new", "no-entry"),
        ("a\0", "new", "invalid"),
        ("a.txt", "dangling", "exist"),
        ("a.txt", "new/", "no-entry"),
        ("a.txt", "dir/", "exist"),
    ],
)
async def test_symlink_at(version: ModuleType, root: Path, target: str, path: str, expected: str | None) -> None:
    d = await open_root(version, root)
    assert await outcome(d.symlink_at, target, path) == expected
    if expected is None:
        assert os.readlink(root / path) == target
        assert await outcome(d.readlink_at, path) == target


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("link", "a.txt"),
        ("parent", ".."),
        ("dirlink/up", "../a.txt"),
        ("absolute", "not-permitted"),
        ("a.txt", "invalid"),
        ("dir", "invalid"),
        ("missing", "no-entry"),
        ("", "no-entry"),
    ],
)
async def test_readlink_at(version: ModuleType, root: Path, local: bool, path: str, expected: str) -> None:
    assert await outcome((await open_root(version, root)).readlink_at, path) == expected


async def test_a_link_that_is_no_text_is_an_illegal_byte_sequence(version: ModuleType, root: Path) -> None:
    os.symlink(b"\xff", os.fsencode(root / "strange"))
    assert await outcome((await open_root(version, root)).readlink_at, "strange") == "illegal-byte-sequence"


# Attributes


async def test_stat_tells_what_the_system_knows(version: ModuleType, root: Path, local: bool) -> None:
    os.link(root / "a.txt", root / "second")
    os.utime(root / "a.txt", ns=(1_000_000_007, 2_000_000_009))
    found = await finish((await open_root(version, root)).stat_at(NOFOLLOW, "a.txt"))
    assert (found.type, found.link_count, found.size) == ("regular-file", 2, 5)
    times = [found.data_access_timestamp, found.data_modification_timestamp, found.status_change_timestamp]
    assert [(t.seconds, t.nanoseconds) for t in times[:2]] == [(1, 7), (2, 9)]
    assert times[2].seconds == os.stat(root / "a.txt").st_ctime_ns // 10**9


@pytest.mark.parametrize("path", ["a.txt", "link", "dir", "dirlink", "dirlink/", "."])
async def test_set_times_at_follows_links(version: ModuleType, root: Path, path: str) -> None:
    d = await open_root(version, root)
    await d.set_times_at(FOLLOW, path, timestamp(42), timestamp(69, 999_999_999))
    found = (root / path).stat()
    assert (found.st_atime_ns, found.st_mtime_ns) == (42 * 10**9, 69 * 10**9 + 999_999_999)


async def test_set_times_at_changes_a_link_itself_without_follow(version: ModuleType, root: Path) -> None:
    before = (root.parent / "secret.txt").stat()
    await (await open_root(version, root)).set_times_at(NOFOLLOW, "out", timestamp(42), timestamp(69))
    assert os.lstat(root / "out").st_mtime == 69
    assert (root.parent / "secret.txt").stat() == before


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (("no-change", timestamp(3)), (1, 3)),
        ((timestamp(3), "no-change"), (3, 2)),
        (("no-change", "no-change"), (1, 2)),
        ((timestamp(3), SimpleNamespace(tag="no-change", value=None)), (3, 2)),
        ((timestamp(0, 10**9), timestamp(3)), "invalid"),
        ((timestamp(0, (1 << 30) - 1), timestamp(3)), "invalid"),
        ((timestamp(1 << 63), timestamp(3)), "overflow"),
    ],
)
async def test_set_times(version: ModuleType, root: Path, times: Any, expected: Any) -> None:
    os.utime(root / "a.txt", (1, 2))
    file = await open_path(await open_root(version, root), "a.txt")
    result = await outcome(file.set_times, *times)
    found = os.stat(root / "a.txt")
    assert (result or (found.st_atime, found.st_mtime)) == expected
    if result is not None:
        assert (found.st_atime, found.st_mtime) == (1, 2)


async def test_set_times_to_now(version: ModuleType, root: Path) -> None:
    os.utime(root / "a.txt", (1, 2))
    file = await open_path(await open_root(version, root), "a.txt")
    await file.set_times("now", "no-change")
    assert os.stat(root / "a.txt").st_atime > 1_000_000_000
    assert os.stat(root / "a.txt").st_mtime == 2


@pytest.mark.parametrize(("size", "expected"), [(0, b""), (3, b"hel"), (7, b"hello\0\0"), ((1 << 64) - 1, "invalid")])
async def test_set_size(version: ModuleType, root: Path, size: int, expected: Any) -> None:
    file = await open_path(await open_root(version, root), "a.txt", flags=WRITE)
    result = await outcome(file.set_size, size)
    assert (result or (root / "a.txt").read_bytes()) == expected


@pytest.mark.parametrize("advice", ["normal", "sequential", "random", "will-need", "dont-need", "no-reuse"])
async def test_advise(version: ModuleType, root: Path, advice: str) -> None:
    d = await open_root(version, root)
    assert await outcome(d.advise, 0, 0, advice) == "bad-descriptor"
    file = await open_path(d, "a.txt")
    assert await outcome(file.advise, 1, 4096, SimpleNamespace(value=advice)) is None
    assert await outcome(file.advise, 1 << 63, 0, advice) == "invalid"


@pytest.mark.parametrize("flags", [READ, WRITE])
async def test_sync(version: ModuleType, root: Path, flags: Any) -> None:
    d = await open_root(version, root)
    for target in [d, await open_path(d, "a.txt", flags=flags)]:
        assert await outcome(target.sync) is None
        assert await outcome(target.sync_data) is None


async def test_same_objects_and_hashes(version: ModuleType, root: Path, local: bool) -> None:
    os.link(root / "a.txt", root / "second")
    d = await open_root(version, root)
    a, second, b = [await open_path(d, path) for path in ["a.txt", "second", "dir/b.txt"]]
    assert await finish(a.is_same_object(second))
    assert not await finish(a.is_same_object(b))
    assert await finish(d.is_same_object(await open_path(d, ".")))
    before = await finish(a.metadata_hash())
    assert before == await finish(second.metadata_hash()) == await finish(d.metadata_hash_at(FOLLOW, "link"))
    assert before != await finish(b.metadata_hash())
    assert 0 <= before.lower < 1 << 64
    assert 0 <= before.upper < 1 << 64
    (root / "a.txt").write_text("changed")
    assert await finish(a.metadata_hash()) != before


# Limits and lifetimes


async def test_open_descriptors_are_limited_and_given_back(version: ModuleType, root: Path, local: bool) -> None:
    d = await open_root(version, root, max_open=3)
    opened = [await open_path(d, "a.txt"), await open_path(d, "a.txt")]
    assert await outcome(d.open_at, FOLLOW, "a.txt", NO_OPEN_FLAGS, READ) == "insufficient-memory"
    assert await outcome(d.open_at, FOLLOW, "missing", NO_OPEN_FLAGS, READ) == "insufficient-memory"
    opened.pop().close()
    await until(lambda: d.handle.filesystem.open_count < 3)
    for _ in range(5):
        assert await outcome(d.open_at, FOLLOW, "missing", NO_OPEN_FLAGS, READ) == "no-entry"
    assert await open_path(d, "a.txt")


async def test_closing_gives_back_every_file_descriptor(version: ModuleType, root: Path) -> None:
    d = await open_root(version, root)
    for path, _, _ in RESOLUTIONS:
        opened = await outcome(d.open_at, FOLLOW, path, NO_OPEN_FLAGS, READ)
        if isinstance(opened, version.Descriptor):
            opened.close()
            opened.close()
    d.close()
    assert d.handle.filesystem.open_count == 0
    assert open_beneath_root(root) == []


async def test_a_closed_descriptor_is_bad_whoever_has_its_number(version: ModuleType, root: Path) -> None:
    d = await open_root(version, root)
    file = await open_path(d, "a.txt", flags=WRITE)
    file.close()
    other = os.open(root / "dir" / "b.txt", os.O_RDWR)
    os.dup2(other, file.handle.fd)
    assert await outcome(file.set_size, 0) == "bad-descriptor"
    for fd in {other, file.handle.fd}:
        os.close(fd)
    assert (root / "dir" / "b.txt").read_text() == "b"


async def test_an_abandoned_descriptor_is_closed(version: ModuleType, root: Path) -> None:
    d = await open_root(version, root)
    count = d.handle.filesystem.open_count
    file = await open_path(d, "a.txt")
    fd = file.handle.fd
    del file
    assert d.handle.filesystem.open_count == count
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


async def test_a_slow_disk_holds_neither_the_loop_nor_the_descriptor(
    version: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    d = await open_root(version, root)
    file = await open_path(d, "a.txt", flags=WRITE)
    started, going_on = threading.Event(), threading.Event()
    truncate = os.ftruncate

    def slow(fd: int, size: int) -> None:
        started.set()
        assert going_on.wait(5)
        truncate(fd, size)

    monkeypatch.setattr(os, "ftruncate", slow)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(finish, file.set_size(1))
        await until(started.is_set)
        file.close()
        assert stat.S_ISREG(os.fstat(file.handle.fd).st_mode)
        going_on.set()
    assert (root / "a.txt").read_text() == "h"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file.handle.fd)


def is_prompt(function: Callable[..., Any], *arguments: Any) -> bool:
    """Whether one of a few calls is answered at once; any of them can be disturbed by what else the system does."""
    for _ in range(100):
        answer = function(*arguments)
        if not inspect.iscoroutine(answer):
            return True
        answer.close()
    return False


async def test_what_the_kernel_has_at_hand_is_answered_at_once(version: ModuleType, root: Path) -> None:
    d = await open_root(version, root)
    if not d.handle.local:
        pytest.skip("the temporary directory is on a remote filesystem")
    await outcome(d.stat_at, FOLLOW, "dir/b.txt")
    assert is_prompt(d.stat)
    assert is_prompt(d.stat_at, FOLLOW, "dir/b.txt")
    assert is_prompt(d.open_at, FOLLOW, "dir/b.txt", NO_OPEN_FLAGS, READ)
    assert not is_prompt(d.open_at, FOLLOW, "dir/b.txt", CREATE, WRITE)


async def test_what_a_server_keeps_is_never_asked_for_on_the_loop(
    version: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "LOCAL_FILESYSTEMS", set())
    d = await open_root(version, root)
    assert not is_prompt(d.stat)
    assert not is_prompt(d.stat_at, FOLLOW, "dir/b.txt")
    assert not is_prompt(d.open_at, FOLLOW, "dir/b.txt", NO_OPEN_FLAGS, READ)


async def test_the_other_object_is_asked_for_on_no_loop_either(version: ModuleType, root: Path) -> None:
    d = await open_root(version, root)
    here, there = await open_path(d, "a.txt"), await open_path(d, "a.txt")
    here.handle.local, there.handle.local = True, False
    for one, other in (here, there), (there, here):
        assert not is_prompt(one.is_same_object, other)
        assert await finish(one.is_same_object(other))


# Errors


class HiddenEntry:
    """A device, say, in a directory that may be listed and not entered."""

    name = "hidden"

    def is_symlink(self) -> bool:
        return False

    def is_dir(self, *, follow_symlinks: bool) -> bool:
        return False

    def is_file(self, *, follow_symlinks: bool) -> bool:
        return False

    def stat(self, *, follow_symlinks: bool) -> os.stat_result:
        raise PermissionError(errno.EACCES, "permission denied")


def test_an_entry_may_be_of_a_type_that_nobody_may_know(version: ModuleType) -> None:
    entry: Any = HiddenEntry()
    found = version.Descriptor.descriptor_type(filesystem.entry_type(entry))
    assert found == ("unknown" if version is p2 else p3.Other())


@pytest.mark.parametrize("number", [*errno.errorcode, 0, 100_000])
def test_every_errno_has_an_error_code(version: ModuleType, number: int) -> None:
    code = version.Descriptor.error_code(number)
    label = ERROR_LABELS.get(number)
    if number == errno.EAGAIN:
        label = "would-block" if version is p2 else None
    if label is None:
        assert code == ("io" if version is p2 else p3.Other())
    else:
        assert code == label


@pytest.mark.parametrize(
    "failure",
    [OSError("no number"), OSError(12345, "odd"), OverflowError(), UnicodeDecodeError("utf-8", b"", 0, 1, "")],
)
async def test_failures_of_the_disk_are_error_codes(
    version: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    file = await open_path(await open_root(version, root), "a.txt", flags=WRITE)

    def fail(*arguments: object) -> None:
        raise failure

    monkeypatch.setattr(os, "ftruncate", fail)
    with pytest.raises(Err) as caught:
        await file.set_size(1)
    assert caught.value.__cause__ is failure

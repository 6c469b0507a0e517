"""Paths are resolved beneath a directory, by the kernel and by steps alike, whatever others rename meanwhile."""

from __future__ import annotations

import errno
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filesystem_fakes import populate
from hypothesis import given, settings
from hypothesis import strategies as st

from p3host.wasi.filesystem import paths
from p3host.wasi.filesystem.paths import encode, entry_beneath, link_target, open_beneath, open_by_steps, parent_beneath


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    populate(path)
    return path


@pytest.fixture(params=["kernel", "steps"])
def resolver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, bytes, int], int]:
    if request.param == "steps":
        monkeypatch.setattr(paths, "kernel_resolves", lambda resolve: False)
        return open_by_steps
    if not paths.kernel_resolves(paths.RESOLVE_BENEATH | paths.RESOLVE_NO_MAGICLINKS):
        pytest.skip("this kernel has no openat2")
    return open_beneath


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    os.close(fd)
    return found.st_dev, found.st_ino


def result(resolver: Callable[[int, bytes, int], int], directory: int, path: bytes, flags: int) -> object:
    try:
        return identity(resolver(directory, path, flags))
    except OSError as failure:
        return failure.errno


OUTSIDE = errno.EPERM
NOFOLLOW = os.O_NOFOLLOW | os.O_PATH

CASES: list[tuple[str, int, str | int]] = [
    (".", os.O_RDONLY, "."),
    ("./", os.O_RDONLY, "."),
    ("a.txt", os.O_RDONLY, "a.txt"),
    ("dir/../a.txt", os.O_RDONLY, "a.txt"),
    ("dir/..", os.O_RDONLY, "."),
    ("dir/nested/../..", os.O_RDONLY, "."),
    ("dir/nested/../../..", os.O_RDONLY, OUTSIDE),
    ("link", os.O_RDONLY, "a.txt"),
    ("link", NOFOLLOW, "link"),
    ("link", os.O_NOFOLLOW, errno.ELOOP),
    ("link/", NOFOLLOW, errno.ENOTDIR),
    ("dirlink", NOFOLLOW, "dirlink"),
    ("dirlink/", NOFOLLOW, "dir"),
    ("dirlink/.", NOFOLLOW, "dir"),
    ("dirlink", os.O_DIRECTORY, "dir"),
    ("dirlink", os.O_DIRECTORY | os.O_NOFOLLOW, errno.ENOTDIR),
    ("dirlink/up", os.O_RDONLY, "a.txt"),
    ("dirlink/..", os.O_RDONLY, "."),
    ("..", os.O_RDONLY, OUTSIDE),
    ("../root", os.O_RDONLY, OUTSIDE),
    ("parent", os.O_RDONLY, OUTSIDE),
    ("parent", NOFOLLOW, "parent"),
    ("parent/", NOFOLLOW, OUTSIDE),
    ("parent/root/a.txt", os.O_RDONLY, OUTSIDE),
    ("out", os.O_RDONLY, OUTSIDE),
    ("absolute", os.O_RDONLY, OUTSIDE),
    ("absolute/x", os.O_RDONLY, OUTSIDE),
    ("detour", os.O_RDONLY, OUTSIDE),
    ("loop", os.O_RDONLY, errno.ELOOP),
    ("loop/x", os.O_RDONLY, errno.ELOOP),
    ("dangling", os.O_RDONLY, errno.ENOENT),
    ("missing/..", os.O_RDONLY, errno.ENOENT),
    ("a.txt/", os.O_RDONLY, errno.ENOTDIR),
    ("a.txt/.", os.O_RDONLY, errno.ENOTDIR),
    ("a.txt/..", os.O_RDONLY, errno.ENOTDIR),
    ("a.txt", os.O_WRONLY | os.O_CREAT | os.O_EXCL, errno.EEXIST),
    ("dangling", os.O_WRONLY | os.O_CREAT | os.O_EXCL, errno.EEXIST),
    ("out", os.O_WRONLY | os.O_CREAT, OUTSIDE),
    ("new/", os.O_WRONLY | os.O_CREAT, errno.EISDIR),
    (".", os.O_WRONLY | os.O_CREAT, errno.EISDIR),
    ("dir", os.O_WRONLY, errno.EISDIR),
]


@pytest.mark.parametrize(("path", "flags", "expected"), CASES)
def test_paths_are_resolved_beneath(
    root: Path, resolver: Callable[[int, bytes, int], int], path: str, flags: int, expected: str | int
) -> None:
    if isinstance(expected, str):
        found = os.lstat(root / expected)
        with opened(root) as directory:
            assert result(resolver, directory, path.encode(), flags) == (found.st_dev, found.st_ino)
    else:
        with opened(root) as directory:
            assert result(resolver, directory, path.encode(), flags) == expected


def test_a_dangling_link_is_where_a_file_is_made(root: Path, resolver: Callable[[int, bytes, int], int]) -> None:
    with opened(root) as directory:
        os.close(resolver(directory, b"dangling", os.O_WRONLY | os.O_CREAT))
    assert (root / "missing").is_file()


@pytest.mark.parametrize("count", [40, 41])
def test_links_are_followed_forty_times(root: Path, resolver: Callable[[int, bytes, int], int], count: int) -> None:
    for index in range(count):
        (root / f"l{index}").symlink_to(f"l{index + 1}" if index + 1 < count else "a.txt")
    with opened(root) as directory:
        found = result(resolver, directory, b"l0", os.O_RDONLY)
    assert (found == errno.ELOOP) == (count > 40)


def test_magic_links_are_refused(resolver: Callable[[int, bytes, int], int]) -> None:
    with opened(Path("/proc/self")) as directory:
        assert result(resolver, directory, b"cwd", os.O_RDONLY) in (errno.ELOOP, OUTSIDE)
        assert result(resolver, directory, b"root/etc", os.O_RDONLY) in (errno.ELOOP, OUTSIDE)


def test_steps_hold_few_directories_open(root: Path) -> None:
    deep = root
    for _ in range(paths.MAX_DEPTH + 1):
        deep /= "d"
        deep.mkdir()
    path = b"/".join([b"d"] * paths.MAX_DEPTH)
    with opened(root) as directory:
        before = len(os.listdir("/proc/self/fd"))
        os.close(open_by_steps(directory, path, os.O_RDONLY))
        with pytest.raises(OSError, match="File name too long"):
            open_by_steps(directory, path + b"/d/.", os.O_RDONLY)
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_resolution_that_is_disturbed_for_ever_goes_by_steps(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = 0

    def disturbed(*arguments: object) -> int:
        nonlocal attempts
        attempts += 1
        raise BlockingIOError(errno.EAGAIN, "disturbed")

    monkeypatch.setattr(paths, "kernel_resolves", lambda resolve: True)
    monkeypatch.setattr(paths, "openat2", disturbed)
    with opened(root) as directory:
        os.close(open_beneath(directory, b"dir/../a.txt", os.O_RDONLY))
        assert 1 < attempts <= 100
        with pytest.raises(BlockingIOError):
            open_beneath(directory, b"a.txt", os.O_RDONLY, cached=True)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG])
def test_kernels_without_openat2_are_recognised(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refused(*arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(paths, "openat2", refused)
    assert paths.kernel_resolves.__wrapped__(0) is False


def test_cached_opening_never_makes_or_truncates(root: Path) -> None:
    with opened(root) as directory:
        for flags in [os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_TRUNC]:
            with pytest.raises(BlockingIOError):
                open_beneath(directory, b"a.txt", flags, cached=True)
    assert (root / "a.txt").read_text() == "hello"


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("", errno.ENOENT),
        ("/x", errno.EPERM),
        ("x\0", errno.EINVAL),
        ("x" * 4096, errno.ENAMETOOLONG),
        ("é" * 2048, errno.ENAMETOOLONG),
    ],
)
def test_paths_that_can_be_of_no_entry_are_refused(path: str, number: int) -> None:
    with pytest.raises(OSError, match=re.escape(os.strerror(number))):
        encode(path)


def test_nothing_is_left_open(root: Path, resolver: Callable[[int, bytes, int], int]) -> None:
    before = os.listdir("/proc/self/fd")
    with opened(root) as directory:
        for path, flags, _ in CASES:
            result(resolver, directory, path.encode(), flags)
            for manager in [
                lambda path=path: parent_beneath(directory, path.encode()),
                lambda path=path: entry_beneath(directory, path.encode(), follow=True),
            ]:
                try:
                    with manager():
                        pass
                except OSError:
                    pass
    assert os.listdir("/proc/self/fd") == before


# Races. One thread changes the tree while another resolves: all that it gets lies beneath the root.

NAMES = ["a", "b", "c"]
TARGETS = ["a", "b", "c", "..", "../..", "../outside", "../outside/secret", ".", "a/../..", "b/c", "../root/a", "/"]
changes = st.one_of(
    st.tuples(st.just("link"), st.sampled_from(NAMES), st.sampled_from(TARGETS)),
    st.tuples(st.just("directory"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("move"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("out"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
)
components = st.sampled_from([*NAMES, "..", ".", "secret", ""])
paths_to_try = st.lists(components, min_size=1, max_size=6).map("/".join).filter(lambda path: path.strip("/") != "")


def change(base: Path, kind: str, name: str, other: str) -> None:
    """One change of the tree; names may be anywhere in it."""
    here, there = base / "root" / name, base / "root" / other
    try:
        if kind == "link":
            (base / "fresh").symlink_to(other)
            os.replace(base / "fresh", here)
        elif kind == "directory":
            (here / other).mkdir(parents=True)
        elif kind == "move":
            os.rename(here, there / name)
        else:
            os.rename(here, base / "outside" / name)
            os.rename(base / "outside" / name, here)
    except OSError:
        (base / "fresh").unlink(missing_ok=True)


@pytest.mark.parametrize("by_steps", [False, True], ids=["kernel", "steps"])
@settings(max_examples=25, deadline=None)
@given(script=st.lists(changes, min_size=1, max_size=8), tried=st.lists(paths_to_try, min_size=1, max_size=8))
def test_renames_and_links_let_nothing_out(
    by_steps: bool, script: list[tuple[str, str, str]], tried: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        (base / "outside").mkdir()
        (base / "root" / "a" / "b").mkdir(parents=True)
        (base / "root" / "c").symlink_to("a/b")
        (base / "outside" / "secret").write_text("secret")
        (base / "secret").write_text("secret")
        forbidden = {
            (found.st_dev, found.st_ino)
            for found in (
                os.stat(p) for p in [base, base / "outside", base / "outside" / "secret", base / "secret", "/"]
            )
        }
        done = threading.Event()

        def disturb() -> None:
            while not done.is_set():
                for step in script:
                    change(base, *step)

        disturber = threading.Thread(target=disturb)
        with opened(base / "root") as directory:
            disturber.start()
            try:
                for path in tried * 10:
                    if path.startswith("/"):
                        continue
                    for flags in [os.O_RDONLY, os.O_PATH, NOFOLLOW]:
                        resolve = open_by_steps if by_steps else open_beneath
                        assert result(resolve, directory, path.encode(), flags) not in forbidden
                    try:
                        with parent_beneath(directory, path.encode()) as (fd, _):
                            assert identity(os.dup(fd)) not in forbidden
                        with entry_beneath(directory, path.encode(), follow=True) as (fd, entry):
                            assert identity(os.dup(fd)) not in forbidden
                            assert entry not in (b".", b"..")
                            assert b"/" not in entry
                        link_target(directory, path.encode())
                    except OSError:
                        pass
            finally:
                done.set()
                disturber.join()
        assert (base / "outside" / "secret").read_text() == (base / "secret").read_text() == "secret"


def test_a_directory_that_becomes_a_link_lets_nothing_out(
    root: Path, resolver: Callable[[int, bytes, int], int]
) -> None:
    """Exchanging the two is atomic, so that one who checks a path and then uses it finds another."""
    (root.parent / "outside").mkdir()
    (root.parent / "outside" / "name").write_text("outside")
    (root / "x").mkdir()
    (root / "x" / "name").write_text("inside")
    (root / "y").symlink_to("../outside")
    exchanges = 0
    done = threading.Event()

    def exchange() -> None:
        nonlocal exchanges
        while not done.is_set():
            exchanges += 1
            paths.libc.renameat2(directory, b"x", directory, b"y", 2)

    found: dict[object, int] = {}
    with opened(root) as directory:
        disturber = threading.Thread(target=exchange)
        disturber.start()
        try:
            deadline = time.monotonic() + 0.3
            while time.monotonic() < deadline:
                got = result(resolver, directory, b"x/name", os.O_RDONLY)
                found[got] = found.get(got, 0) + 1
        finally:
            done.set()
            disturber.join()
    outside = os.stat(root.parent / "outside" / "name")
    assert exchanges > 10
    assert (outside.st_dev, outside.st_ino) not in found
    assert len(found) > 1  # it was disturbed

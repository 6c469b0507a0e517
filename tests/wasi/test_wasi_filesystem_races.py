"""Whatever is renamed and linked meanwhile, no operation of a guest reaches anything outside of what it was granted.

Beside the granted directories lies a *canary*: a tree that nobody touches, so that whatever changes in it, or is told
of it, was done by a guest. `P3HOST_RACES` sets how many scripts are tried.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anyio
import pytest
from filesystem_fakes import (
    CREATE,
    FOLLOW,
    MUTATE,
    NO_OPEN_FLAGS,
    NOFOLLOW,
    READ,
    TRUNCATE,
    WRITE,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from wasi_fakes import GuestStream, finish

from p3host.errors import Err
from p3host.wasi import Directory
from p3host.wasi.filesystem import paths
from p3host.wasi.filesystem.descriptors import hash_of
from p3host.wasi.filesystem.handles import Filesystem
from p3host.wasi.p3 import filesystem as p3

EXAMPLES = int(os.environ.get("P3HOST_RACES", "8"))
CANARY_TIME = 1_234_567_890_123_456_789  # no other file has it

NAMES = ["a", "b", "c", "d"]
LEADING_OUT = [
    "..",
    "../..",
    "../canary",
    "../canary/canary-file",
    "../../canary",
    "../canary/canary-dir",
    "@/canary",
    "/",
]
LEADING_INSIDE = ["a", "b", "c", ".", "a/b", "b/..", "../one/a", "./"]

names = st.sampled_from(NAMES)
targets = st.sampled_from(LEADING_OUT + LEADING_INSIDE)
changes = st.one_of(
    st.tuples(st.just("link"), names, targets),
    st.tuples(st.just("directory"), names, names),
    st.tuples(st.just("directory within"), names, names),
    st.tuples(st.just("file within"), names, names),
    st.tuples(st.just("move"), names, names),
    st.tuples(st.just("take out"), names, names),
    st.tuples(st.just("replace root"), names, names),
)
COMPONENTS = [*NAMES, *NAMES, "new", "new", "..", "..", ".", "canary-file", "canary-dir", "canary", ""]
ENDS = ["", "", "", "", "/", "//", "/.", "/.."]

OPERATIONS = (
    *("read", "write", "make", "truncate", "list", "stat", "stat link", "hash", "set times", "set times of link"),
    *("read link", "make directory", "remove directory", "remove", "symlink", "rename", "link", "link followed"),
    "open granted",
)
OPERATIONS_OF_A_TASK = 60
ATTEMPTS = 4  # of each operation
DISPUTED = ["c", "c", "c/", "a", "a/canary-file", "a/canary-file", "a/canary-dir", "a/x", "a/.", "a/x/y"]


def some_path(chance: random.Random) -> str:
    if chance.random() < 0.6:
        return chance.choice(DISPUTED)
    return "/".join(chance.choices(COMPONENTS, k=chance.choice([1, 1, 2, 2, 3, 5]))) + chance.choice(ENDS)


def some_operation(chance: random.Random) -> tuple[str, str, str, bool, bool]:
    kind = chance.choice(OPERATIONS)
    other = chance.choice(LEADING_OUT if kind == "symlink" else ["new", "new", "a/new", some_path(chance)])
    return kind, some_path(chance), other, chance.random() < 0.2, chance.random() < 0.2


# `a` and `c` are inside one moment and lead out the next, so that who looks first and acts then is wrong. They are
# exchanged by a process of its own, as threads of Python rarely meet within a microsecond.
ALWAYS = [
    ("directory", "a", ""),
    ("file within", "a", "canary-file"),
    ("link", "b", "../canary"),
    ("file", "c", ""),
    ("link", "d", "../canary/canary-file"),
]
EXCHANGING = """
import ctypes, os, sys
rename = ctypes.CDLL(None).renameat2
pairs = [[(sys.argv[1] + "/one/" + name).encode() for name in pair] for pair in ("ab", "cd")]
parent = os.getppid()
print("begun", flush=True)
while os.getppid() == parent:
    for one, other in pairs:
        rename(-100, one, -100, other, 2)
"""


class Tree:
    """Two granted directories, `one` and `two`, beside a canary."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.canary = base / "canary"
        for granted in ("one", "two"):
            (base / granted / "a" / "canary-dir").mkdir(parents=True)
        (base / "elsewhere").mkdir()
        (self.canary / "canary-dir").mkdir(parents=True)
        for path in ("canary-file", "canary-dir/canary-file"):
            (self.canary / path).write_text("canary")
        (self.canary / "canary-link").symlink_to("canary-file")
        for path in [*self.canary.rglob("*"), self.canary]:
            os.utime(path, ns=(CANARY_TIME, CANARY_TIME), follow_symlinks=False)
        self.statuses = [os.lstat(path) for path in [*self.canary.rglob("*"), self.canary]]
        self.identities = {(status.st_dev, status.st_ino) for status in self.statuses}
        self.hashes = {hash_of(status) for status in self.statuses}
        for above in (base, Path("/")):
            status = above.stat()
            self.identities.add((status.st_dev, status.st_ino))

    def look(self) -> dict[str, object]:
        """All that there is to know of the canary; the times of access are not, as listing it sets them."""
        found: dict[str, object] = {}
        for path in [self.canary, *sorted(self.canary.rglob("*"))]:
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else None
            found[str(path)] = (
                *(
                    status.st_ino,
                    status.st_mode,
                    status.st_nlink,
                    status.st_size,
                    status.st_mtime_ns,
                    status.st_ctime_ns,
                ),
                content,
            )
        return found

    def change(self, kind: str, name: str, other: str) -> None:
        """What somebody else does within the granted directories, or to them. It follows no link of a guest either."""
        one, elsewhere = self.base / "one", self.base / "elsewhere"
        fresh = elsewhere / "fresh"
        try:
            match kind:
                case "link":
                    fresh.symlink_to(other.replace("@", str(self.base)))
                    os.replace(fresh, one / name)
                case "directory":
                    os.mkdir(one / name)
                case "file":
                    fresh.write_text("inside")
                    os.replace(fresh, one / name)
                case "directory within":
                    with opened(one / name) as here:
                        os.mkdir(other, dir_fd=here)
                case "file within":
                    with opened(one / name) as here:
                        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
                        fd = os.open(other, flags, dir_fd=here)
                        os.write(fd, b"inside")
                        os.close(fd)
                case "move":
                    with opened(one / other) as there:
                        os.rename(one / name, name, dst_dir_fd=there)
                case "take out":
                    os.rename(one / name, elsewhere / name)
                    os.rename(elsewhere / name, one / other)
                case "replace root":
                    os.rename(one, elsewhere / "one")
                    one.symlink_to("canary")
                    one.unlink()
                    os.rename(elsewhere / "one", one)
        except OSError:
            fresh.unlink(missing_ok=True)


@contextmanager
def opened(directory: Path) -> Iterator[int]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield fd
    finally:
        os.close(fd)


class Guest:
    """Does operations, and fails where one of them tells of the canary."""

    def __init__(self, tree: Tree, preopens: Any) -> None:
        self.tree = tree
        self.preopens = preopens
        self.granted: list[Any] = []

    async def do(self, kind: str, path: str, other: str, first: bool, second: bool) -> None:
        here, there = self.granted[first], self.granted[second]
        work: Callable[[], Any] = {
            "read": partial(self.read, here, path, NO_OPEN_FLAGS, READ),
            "write": partial(self.read, here, path, NO_OPEN_FLAGS, READ | WRITE),
            "make": partial(self.read, here, path, CREATE, READ | WRITE),
            "truncate": partial(self.read, here, path, TRUNCATE, READ | WRITE),
            "list": partial(self.list, here, path),
            "stat": partial(self.stat, here, FOLLOW, path),
            "stat link": partial(self.stat, here, NOFOLLOW, path),
            "hash": partial(self.hash, here, path),
            "set times": partial(here.set_times_at, FOLLOW, path, "now", "now"),
            "set times of link": partial(here.set_times_at, NOFOLLOW, path, "now", "now"),
            "read link": partial(here.readlink_at, path),
            "make directory": partial(here.create_directory_at, path),
            "remove directory": partial(here.remove_directory_at, path),
            "remove": partial(here.unlink_file_at, path),
            "symlink": partial(here.symlink_at, other, path),
            "rename": partial(here.rename_at, path, there, other),
            "link": partial(here.link_at, NOFOLLOW, path, there, other),
            "link followed": partial(here.link_at, FOLLOW, path, there, other),
            "open granted": self.open_granted,
        }[kind]
        try:
            await finish(work())
        except Err:
            pass  # what it is depends on who was first

    def check_identity(self, status: os.stat_result) -> None:
        assert (status.st_dev, status.st_ino) not in self.tree.identities

    async def open_granted(self) -> list[Any]:
        try:
            opened = [descriptor for descriptor, _ in await finish(self.preopens.get_directories())]
        except OSError:
            return []
        for descriptor in opened:
            self.check_identity(os.fstat(descriptor.handle.fd))
        return opened

    async def read(self, directory: Any, path: str, how: Any, flags: Any) -> None:
        file = await finish(directory.open_at(FOLLOW, path, how, flags))
        try:
            self.check_identity(os.fstat(file.handle.fd))
            if WRITE in flags:
                await file.write_via_stream(GuestStream([b"by the guest"]), 0)
            stream, _ = file.read_via_stream(0)
            assert b"canary" not in b"".join([piece async for piece in stream])
        finally:
            file.close()

    async def list(self, directory: Any, path: str) -> None:
        opened = await finish(directory.open_at(FOLLOW, path, NO_OPEN_FLAGS, READ | MUTATE))
        try:
            self.check_identity(os.fstat(opened.handle.fd))
            entries, _ = opened.read_directory()
            assert not [e.name async for part in entries for e in part if e.name == "canary-link"]
        finally:
            opened.close()

    async def stat(self, directory: Any, path_flags: Any, path: str) -> None:
        found = (await finish(directory.stat_at(path_flags, path))).data_modification_timestamp
        assert found.seconds * 10**9 + found.nanoseconds != CANARY_TIME

    async def hash(self, directory: Any, path: str) -> None:
        assert await finish(directory.metadata_hash_at(FOLLOW, path)) not in self.tree.hashes


@contextmanager
def disturbed(tree: Tree, script: list[tuple[str, str, str]]) -> Iterator[None]:
    """In the block, a thread and a process do changes again and again."""
    done = threading.Event()
    command = [sys.executable, "-S", "-c", EXCHANGING, str(tree.base)]
    exchanger = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert exchanger.stdout is not None
    exchanger.stdout.readline()

    def disturb() -> None:
        while not done.is_set():
            for step in (*ALWAYS, *script):
                tree.change(*step)

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        yield
    finally:
        done.set()
        disturber.join()
        exchanger.kill()
        exchanger.communicate()


@contextmanager
def resolving(by_steps: bool) -> Iterator[None]:
    """Paths are resolved by the kernel, or by steps."""
    if by_steps:
        with patch.object(paths, "kernel_resolves", lambda resolve: False):
            yield
    elif paths.kernel_resolves(paths.RESOLVE_BENEATH | paths.RESOLVE_NO_MAGICLINKS):
        yield
    else:
        pytest.skip("this kernel has no openat2")


@pytest.mark.parametrize("by_steps", [False, True], ids=["kernel", "steps"])
@settings(max_examples=EXAMPLES, deadline=None)
@given(
    script=st.lists(changes, max_size=4),
    seed=st.integers(0, 2**32),
    backend=st.sampled_from(["asyncio", "trio"]),
)
def test_no_operation_reaches_what_was_not_granted(
    by_steps: bool,
    script: list[tuple[str, str, str]],
    seed: int,
    backend: str,
) -> None:
    async def main(tree: Tree) -> None:
        granted = [Directory(tree.base / name, f"/{name}", writable=True) for name in ("one", "two")]
        guest = Guest(tree, p3.interfaces(Filesystem(granted, max_open=10_000))["wasi:filesystem/preopens"])
        guest.granted = await guest.open_granted()
        with disturbed(tree, script):
            async with anyio.create_task_group() as tasks:  # races of its own with itself

                async def do_some(chance: random.Random) -> None:
                    for _ in range(OPERATIONS_OF_A_TASK):
                        operation = some_operation(chance)
                        for _ in range(ATTEMPTS):
                            await guest.do(*operation)

                for number in range(3):
                    tasks.start_soon(do_some, random.Random(seed + number))

    with tempfile.TemporaryDirectory() as name, resolving(by_steps):
        tree = Tree(Path(name))
        before = tree.look()
        anyio.run(main, tree, backend=backend)
        assert tree.look() == before

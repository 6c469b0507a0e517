"""A granted directory, and short ways to call its descriptors."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import wasi_fakes
from wasi_fakes import outcome as outcome

from p3host.wasi.background import Background, LateBackground
from p3host.wasi.filesystem.handles import Directory, Filesystem
from p3host.wasi.filesystem.types import DescriptorFlags, OpenFlags, PathFlags
from p3host.wasi.p2 import filesystem as p2

NOFOLLOW = PathFlags(0)
FOLLOW = PathFlags.SYMLINK_FOLLOW
READ = DescriptorFlags.READ
WRITE = DescriptorFlags.WRITE
MUTATE = DescriptorFlags.MUTATE_DIRECTORY
CREATE = OpenFlags.CREATE
DIRECTORY = OpenFlags.DIRECTORY
EXCLUSIVE = OpenFlags.EXCLUSIVE
TRUNCATE = OpenFlags.TRUNCATE
NO_OPEN_FLAGS = OpenFlags(0)
NO_FLAGS = DescriptorFlags(0)


def populate(root: Path) -> None:
    """`a.txt`, `dir/b.txt`, links inside and links that lead out; beside the root lies `secret.txt`."""
    (root.parent / "secret.txt").write_text("secret")
    (root / "a.txt").write_text("hello")
    (root / "dir" / "nested").mkdir(parents=True)
    (root / "dir" / "b.txt").write_text("b")
    for name, target in {
        "link": "a.txt",
        "dir/up": "../a.txt",
        "dirlink": "dir",
        "dangling": "missing",
        "loop": "loop",
        "parent": "..",
        "out": "../secret.txt",
        "absolute": str(root / "a.txt"),
        "detour": "dir/../../root/a.txt",
    }.items():
        (root / name).symlink_to(target)


async def open_root(
    version: ModuleType, root: Path, background: Background | None = None, *, writable: bool = True, **limits: int
) -> Any:
    """The descriptor of the one granted directory, of `wasi/p2` or `wasi/p3`."""
    [(root_descriptor, _)] = await open_all(version, [Directory(root, "/", writable)], background, **limits)
    return root_descriptor


async def open_all(
    version: ModuleType, directories: Iterable[Directory], background: Background | None = None, **limits: int
) -> Any:
    return await wasi_fakes.finish(preopens(version, directories, background, **limits).get_directories())


def preopens(
    version: ModuleType, directories: Iterable[Directory], background: Background | None = None, **limits: int
) -> Any:
    arguments = [background or LateBackground()] if version is p2 else []
    provided = version.interfaces(Filesystem(list(directories), **limits), *arguments)
    return provided["wasi:filesystem/preopens"]


async def open_path(
    directory: Any, path: str, how: OpenFlags = NO_OPEN_FLAGS, flags: DescriptorFlags = READ, follow: PathFlags = FOLLOW
) -> Any:
    return await wasi_fakes.finish(directory.open_at(follow, path, how, flags))

"""Directories for guests that live in memory as long as a test's instance does."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from ..wasi import Directory

Contents: TypeAlias = Mapping[str, bytes | str]
"""Files by their paths below a directory; text is UTF-8. A path that ends with a slash is an empty directory."""

MEMORY = "/dev/shm"  # a file system in memory, where Linux has one


class Files(Mapping[str, bytes]):
    """The files that a guest can reach, by the paths that it knows them by: `files["/data/out.txt"]` is the content of
    one now, and can be set. After the instance has ended they are as it left them.

    Real files in a file system in memory, so that all that guests do with files means what it usually does.
    """

    def __init__(self, directories: Mapping[str, Contents]) -> None:
        for guest_path in directories:
            if not guest_path.startswith("/"):
                raise ValueError(f"{guest_path!r}: give each directory as an absolute path, such as '/data'")
        place = MEMORY if os.access(MEMORY, os.W_OK) else None
        self.root: tempfile.TemporaryDirectory[str] | None = None
        self.last: dict[str, bytes] = {}
        self.directories: list[Directory] = []
        if not directories:
            return
        self.root = tempfile.TemporaryDirectory(prefix="p3host-", dir=place)
        for number, (guest_path, contents) in enumerate(directories.items()):
            host_path = Path(self.root.name, str(number))
            host_path.mkdir()
            self.directories.append(Directory(host_path, guest_path, writable=True))
            for path, content in contents.items():
                self.put(host_path, path, content)

    def put(self, host_path: Path, path: str, content: bytes | str) -> None:
        if path.startswith("/") or ".." in PurePosixPath(path).parts:
            raise ValueError(f"{path!r}: give each file by its path below the directory")
        target = host_path / path
        if path.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)

    def present(self) -> dict[str, Path]:
        """The host's path of each file, by the guest's."""
        found = {}
        for directory in self.directories:
            for path in sorted(Path(directory.host_path).rglob("*")):
                if path.is_file():
                    inner = path.relative_to(directory.host_path).as_posix()
                    found[f"{directory.guest_path.rstrip('/')}/{inner}"] = path
        return found

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.root is not None:
            self.last = {name: path.read_bytes() for name, path in self.present().items()}
            self.root.cleanup()
            self.root = None

    def __getitem__(self, name: str) -> bytes:
        if self.root is None:
            return self.last[name]
        return self.present()[name].read_bytes()

    def __setitem__(self, name: str, content: bytes | str) -> None:
        for directory in self.directories:
            prefix = f"{directory.guest_path.rstrip('/')}/"
            if self.root is not None and name.startswith(prefix):
                self.put(Path(directory.host_path), name.removeprefix(prefix), content)
                return
        raise KeyError(f"{name!r} lies in no directory of an instance that runs")

    def __iter__(self) -> Iterator[str]:
        return iter(self.last if self.root is None else self.present())

    def __len__(self) -> int:
        return len(self.last if self.root is None else self.present())

    def __repr__(self) -> str:
        return f"<files {', '.join(self)}>"

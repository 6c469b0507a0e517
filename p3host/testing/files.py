"""Directories for guests that live in memory as long as a test's instance does."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import TypeAlias

from ..wasi import Directory

Contents: TypeAlias = Mapping[str, bytes | str]
"""Files by their paths below a directory; text is UTF-8. A path that ends with a slash is an empty directory."""

MEMORY = "/dev/shm"  # a file system in memory, where Linux has one


class ReadOnly(dict[str, bytes | str]):
    """What `read_only` makes."""


def read_only(contents: Contents) -> ReadOnly:
    """The files of a directory to which the guest can't write (the test still can)."""
    return ReadOnly(contents)


class Files(MutableMapping[str, bytes]):
    """The files that a guest can reach, by the paths that it knows them by: `files["/data/out.txt"]` is the content of
    one now, and can be set (to bytes, or to text) and deleted. After the instance has ended they are as it left them,
    and stay so.

    Real files in a file system in memory, so that all that guests do with files means what it usually does. A link is
    the file that it leads to, if it leads to one in the same directory.

    :raises ValueError: for paths that are none of a directory, or of a file below one.
    :raises TypeError: for contents that are neither bytes nor text.
    """

    def __init__(self, directories: Mapping[str, Contents]) -> None:
        for guest_path, contents in directories.items():
            check_directory(guest_path, contents)
        self.root: tempfile.TemporaryDirectory[str] | None = None
        self.last: dict[str, bytes] = {}
        self.directories: list[Directory] = []
        if not directories:
            return
        place = MEMORY if os.access(MEMORY, os.W_OK) else None
        self.root = tempfile.TemporaryDirectory(prefix="p3host-", dir=place)
        try:
            for number, (guest_path, contents) in enumerate(directories.items()):
                host_path = Path(self.root.name, str(number))
                host_path.mkdir()
                self.directories.append(Directory(host_path, guest_path, writable=not isinstance(contents, ReadOnly)))
                for path, content in contents.items():
                    put(host_path, path, content)
        except BaseException:
            self.root.cleanup()
            raise

    def present(self) -> dict[str, Path]:
        """The host's path of each file, by the guest's."""
        found = {}
        for directory in self.directories:
            for folder, _, names in os.walk(directory.host_path):
                for path in (Path(folder, name) for name in names):
                    if is_file_below(path, directory):
                        inner = path.relative_to(directory.host_path).as_posix()
                        found[f"{prefix_of(directory)}{inner}"] = path
        return dict(sorted(found.items()))

    def find(self, name: str) -> tuple[Directory, str]:
        """The directory that a path lies in, and the path below it.

        :raises KeyError: if it lies in none.
        """
        around = [directory for directory in self.directories if name.startswith(prefix_of(directory))]
        if not around or self.root is None:
            raise KeyError(f"{name!r} lies in no directory of an instance that runs")
        directory = max(around, key=lambda directory: len(prefix_of(directory)))
        return directory, name.removeprefix(prefix_of(directory))

    def existing(self, name: str) -> Path:
        """
        :raises KeyError: if there is no such file.
        """
        directory, inner = self.find(name)
        path = Path(directory.host_path, inner)
        if not is_plain(inner) or not is_file_below(path, directory):
            raise KeyError(name)
        return path

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.root is None:
            return
        try:
            self.last = {name: path.read_bytes() for name, path in self.present().items()}
        finally:
            self.root.cleanup()
            self.root = None

    def __getitem__(self, name: str) -> bytes:
        if self.root is None:
            return self.last[name]
        try:
            return self.existing(name).read_bytes()
        except FileNotFoundError:  # gone meanwhile
            raise KeyError(name) from None

    def __setitem__(self, name: str, content: bytes | str) -> None:
        directory, inner = self.find(name)
        put(Path(directory.host_path), inner, content)

    def __delitem__(self, name: str) -> None:
        self.existing(name).unlink()

    def __iter__(self) -> Iterator[str]:
        return iter(self.last if self.root is None else self.present())

    def __len__(self) -> int:
        return len(self.last if self.root is None else self.present())

    def __repr__(self) -> str:
        return f"<files {', '.join(self)}>"


def check_directory(guest_path: str, contents: Contents) -> None:
    if not isinstance(contents, Mapping):
        raise TypeError(
            f"{guest_path!r}: give directories, each with its files, such as {{'/data': {{'in.txt': 'text'}}}}"
        )
    if not guest_path.startswith("/") or "\0" in guest_path:
        raise ValueError(f"{guest_path!r}: give each directory as an absolute path, such as '/data'")


def put(host_path: Path, path: str, content: bytes | str) -> None:
    """Makes a file, or with a slash at the end of its path an empty directory, and the directories around it."""
    if not isinstance(content, (bytes, bytearray, memoryview, str)):
        raise TypeError(f"{path!r}: the content of a file is bytes or text, not {content!r}")
    if not is_plain(path.removesuffix("/")):
        raise ValueError(f"{path!r}: give each file by its path below the directory, such as 'in.txt' or 'sub/in.txt'")
    target = host_path / path
    if not target.resolve().is_relative_to(host_path.resolve()):
        raise ValueError(f"{path!r}: a link leads out of the directory there")
    try:
        folder = target if path.endswith("/") else target.parent
        folder.mkdir(parents=True, exist_ok=True)
        if folder is not target:
            target.write_bytes(content.encode() if isinstance(content, str) else content)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise ValueError(f"{path!r}: there is a file in the place of a directory, or the reverse") from error


def is_plain(path: str) -> bool:
    """Whether it is a path below a directory, spelled in the one way that a file has."""
    return not {"", ".", ".."} & set(path.split("/")) and "\0" not in path


def prefix_of(directory: Directory) -> str:
    return f"{directory.guest_path.rstrip('/')}/"


def is_file_below(path: Path, directory: Directory) -> bool:
    """Whether it is a file, or a link to one that the guest could follow."""
    return path.is_file() and path.resolve().is_relative_to(Path(directory.host_path).resolve())

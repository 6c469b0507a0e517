"""Granted directories: how they are found, and that no guest can put another in their place."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import pytest
from filesystem_fakes import FOLLOW, open_all, outcome, preopens
from wasi_fakes import finish

from p3host.wasi.filesystem import paths
from p3host.wasi.filesystem.handles import Directory
from p3host.wasi.p2 import filesystem as p2
from p3host.wasi.p3 import filesystem as p3

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[p2, p3], ids=["0.2", "0.3"])
def version(request: pytest.FixtureRequest) -> ModuleType:
    module = request.param
    assert isinstance(module, ModuleType)
    return module


@pytest.mark.parametrize("by_kernel", [True, False])
@pytest.mark.parametrize("inner", ["public", "public/files"])
async def test_a_guest_that_may_write_above_a_grant_leads_it_nowhere_else(
    version: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: str, by_kernel: bool
) -> None:
    if not by_kernel:
        monkeypatch.setattr(paths, "kernel_resolves", lambda resolve: False)
    (tmp_path / "secret" / "files").mkdir(parents=True)
    (tmp_path / "data" / "public" / "files").mkdir(parents=True)
    grants = [Directory(tmp_path / "data", "/data", True), Directory(tmp_path / "data" / inner, "/public")]
    provider = preopens(version, grants)
    [(data, _), (public, _)] = await finish(provider.get_directories())
    await finish(data.rename_at("public", data, "old"))
    await finish(data.symlink_at("../secret", "public"))
    with pytest.raises(OSError, match=r"Too many levels of symbolic links|Not a directory"):
        await finish(provider.get_directories())
    assert await finish(public.stat())
    await finish(data.unlink_file_at("public"))
    await finish(data.rename_at("old", data, "public"))
    _, (again, _) = await finish(provider.get_directories())
    assert await finish(again.is_same_object(public))


async def test_links_to_a_granted_directory_are_followed_when_it_is_granted(
    version: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    (tmp_path / "current").symlink_to("first")
    granted = Directory(tmp_path / "current", "/")
    os.unlink(tmp_path / "current")
    (tmp_path / "current").symlink_to("second")
    (tmp_path / "first" / "here").touch()
    [(opened, _)] = await open_all(version, [granted])
    assert await outcome(opened.stat_at, FOLLOW, "second") == "no-entry"
    assert await finish(opened.stat_at(FOLLOW, "here"))


@pytest.mark.parametrize("by_kernel", [True, False])
async def test_the_root_can_be_granted(
    version: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_kernel: bool
) -> None:
    if not by_kernel:
        monkeypatch.setattr(paths, "kernel_resolves", lambda resolve: False)
    [(opened, _)] = await open_all(version, [Directory("/", "/")])
    assert await finish(opened.stat_at(FOLLOW, str(tmp_path).removeprefix("/")))

"""Where processes that work side by side keep their metrics."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import time

PREFIX = "p3host-metrics-"
JUST_MADE = 60  # seconds, in which a directory may be found that its maker has not locked yet


@contextmanager
def metrics_directory() -> Iterator[str]:
    """A directory that is there within the block, whose processes keep it locked. A server that was killed leaves its
    directory behind: those are removed here."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if is_abandoned(path):
            shutil.rmtree(path, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=PREFIX) as directory:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield directory
        finally:
            os.close(descriptor)


def is_abandoned(path: Path) -> bool:
    """Whether no process has it locked any more. Other users' are not ours to judge."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        status = os.stat(descriptor)
        if status.st_uid != os.geteuid() or time() - status.st_mtime < JUST_MADE:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True

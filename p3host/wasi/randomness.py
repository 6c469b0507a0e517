"""Random bytes for `wasi:random`, in both worlds."""

from __future__ import annotations

import os
from typing import Protocol


class Random(Protocol):
    """A `random.Random` is one; so is anything else with its `randbytes`."""

    def randbytes(self, n: int, /) -> bytes: ...


def random_u64(source: Random) -> int:
    return int.from_bytes(source.randbytes(8), "little")


class InsecureSeed:
    """`wasi:random/insecure-seed`: the same 128 bits at each call."""

    def __init__(self, source: Random) -> None:
        self.seed = (random_u64(source), random_u64(source))

    def get_insecure_seed(self) -> tuple[int, int]:
        return self.seed

    insecure_seed = get_insecure_seed  # its name in WASI 0.2


class SystemRandom:
    """The operating system's."""

    def randbytes(self, n: int, /) -> bytes:
        return os.urandom(n)


SYSTEM_RANDOM: Random = SystemRandom()

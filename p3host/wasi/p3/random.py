"""`wasi:random` 0.3."""

from __future__ import annotations

from collections.abc import Mapping

from ..randomness import InsecureSeed, Random, random_u64

LONGEST_READ = 65536  # the package allows short reads


class SecureRandom:
    """`wasi:random/random`."""

    def __init__(self, source: Random) -> None:
        self.source = source

    def get_random_bytes(self, max_length: int) -> bytes:
        return self.source.randbytes(min(max_length, LONGEST_READ))

    def get_random_u64(self) -> int:
        return random_u64(self.source)


class InsecureRandom:
    """`wasi:random/insecure`."""

    def __init__(self, source: Random) -> None:
        self.source = source

    def get_insecure_random_bytes(self, max_length: int) -> bytes:
        return self.source.randbytes(min(max_length, LONGEST_READ))

    def get_insecure_random_u64(self) -> int:
        return random_u64(self.source)


def interfaces(source: Random) -> Mapping[str, object]:
    """The providers of the package's interfaces, by name without version."""
    return {
        "wasi:random/random": SecureRandom(source),
        "wasi:random/insecure": InsecureRandom(source),
        "wasi:random/insecure-seed": InsecureSeed(source),
    }

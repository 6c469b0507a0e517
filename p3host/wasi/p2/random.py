"""`wasi:random` 0.2."""

from __future__ import annotations

from collections.abc import Mapping

from anyio.lowlevel import checkpoint

from ...errors import trap_if
from ..byte_streams import PIECE
from ..later import MaybeLater
from ..randomness import InsecureSeed, Random, random_u64

LONGEST_READ = 16 << 20


def random_bytes(source: Random, length: int) -> MaybeLater[bytes]:
    """The package has no short reads: what is too long traps. In the midst of what is long others get their turn."""
    trap_if(length > LONGEST_READ, f"{length} random bytes asked for at once: at most {LONGEST_READ}")
    return source.randbytes(length) if length <= PIECE else random_bytes_later(source, length)


async def random_bytes_later(source: Random, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        data += source.randbytes(min(length - len(data), PIECE))
        await checkpoint()
    return bytes(data)


class SecureRandom:
    """`wasi:random/random`."""

    def __init__(self, source: Random) -> None:
        self.source = source

    def get_random_bytes(self, length: int) -> MaybeLater[bytes]:
        return random_bytes(self.source, length)

    def get_random_u64(self) -> int:
        return random_u64(self.source)


class InsecureRandom:
    """`wasi:random/insecure`."""

    def __init__(self, source: Random) -> None:
        self.source = source

    def get_insecure_random_bytes(self, length: int) -> MaybeLater[bytes]:
        return random_bytes(self.source, length)

    def get_insecure_random_u64(self) -> int:
        return random_u64(self.source)


def interfaces(source: Random) -> Mapping[str, object]:
    """The providers of the package's interfaces, by name without version."""
    return {
        "wasi:random/random": SecureRandom(source),
        "wasi:random/insecure": InsecureRandom(source),
        "wasi:random/insecure-seed": InsecureSeed(source),
    }

"""`wasi:random`, both versions."""

from __future__ import annotations

import random
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from wasi_fakes import finish

from p3host.errors import Trap
from p3host.wasi import Wasi
from p3host.wasi.p2.random import LONGEST_READ

pytestmark = pytest.mark.anyio

READERS = [("random", "get_random_bytes", "get_random_u64")]
READERS += [("insecure", "get_insecure_random_bytes", "get_insecure_random_u64")]


@pytest.mark.parametrize("version", ["0.2", "0.3"])
@pytest.mark.parametrize(("interface", "get_bytes", "get_u64"), READERS)
def test_random_numbers_are_fresh(version: str, interface: str, get_bytes: str, get_u64: str) -> None:
    provider = Wasi().interfaces()[f"wasi:random/{interface}@{version}"]
    read, number = getattr(provider, get_bytes), getattr(provider, get_u64)
    assert [len(read(length)) for length in (0, 1, 100, 65536)] == [0, 1, 100, 65536]
    assert read(16) != read(16)
    numbers = [number() for _ in range(100)]
    assert len(set(numbers)) == 100
    assert 2**60 < max(numbers) < 2**64


@pytest.mark.parametrize("length", [65537, 2**64 - 1])
@pytest.mark.parametrize(("interface", "get_bytes", "_"), READERS)
def test_a_long_read_is_short_in_0_3(length: int, interface: str, get_bytes: str, _: str) -> None:
    assert len(getattr(Wasi().interfaces()[f"wasi:random/{interface}@0.3"], get_bytes)(length)) == 65536


@pytest.mark.parametrize("length", [10 * 65536 + 1, LONGEST_READ])
@pytest.mark.parametrize(("interface", "get_bytes", "_"), READERS)
async def test_a_long_read_of_0_2_leaves_others_their_turn(length: int, interface: str, get_bytes: str, _: str) -> None:
    class Counting:
        """Gives the number of turns that others have had."""

        turns = 0

        def randbytes(self, n: int) -> bytes:
            return bytes([self.turns % 256]) * n

        async def others(self) -> None:
            while True:
                await anyio.lowlevel.checkpoint()
                self.turns += 1

    source = Counting()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(source.others)
        read = getattr(Wasi(random=source).interfaces()[f"wasi:random/{interface}@0.2"], get_bytes)(length)
        data = await finish(read)
        tasks.cancel_scope.cancel()
    assert len(data) == length
    assert len(set(data)) > 1


@pytest.mark.parametrize("length", [LONGEST_READ + 1, 2**64 - 1])
@pytest.mark.parametrize(("interface", "get_bytes", "_"), READERS)
def test_a_read_that_is_too_long_traps_in_0_2(length: int, interface: str, get_bytes: str, _: str) -> None:
    with pytest.raises(Trap, match="at most 16777216"):
        getattr(Wasi().interfaces()[f"wasi:random/{interface}@0.2"], get_bytes)(length)


@pytest.mark.parametrize(("version", "name"), [("0.2", "insecure_seed"), ("0.3", "get_insecure_seed")])
def test_the_seed_stays_the_same_within_an_instantiation(version: str, name: str) -> None:
    seeds = []
    for _ in range(2):
        seed: Any = getattr(Wasi().interfaces()[f"wasi:random/insecure-seed@{version}"], name)
        assert seed() == seed()
        assert all(0 <= half < 2**64 for half in seed())
        seeds.append(seed())
    assert seeds[0] != seeds[1]


def test_a_seeded_source_repeats() -> None:
    first, second = (Wasi(random=random.Random(7)).interfaces() for _ in range(2))
    for name, function in ("random", "get_random_u64"), ("insecure-seed", "get_insecure_seed"):
        key = f"wasi:random/{name}@0.3"
        assert getattr(first[key], function)() == getattr(second[key], function)()

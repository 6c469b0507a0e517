from __future__ import annotations

from collections.abc import Iterator

import pytest
from engine_guests import BLOCK, BLOCKER, instantiate

from p3host.engine import CoreInstance, Engine, Machine


@pytest.fixture
def machine() -> Iterator[Machine]:
    machine = Machine(Engine.default(), state=[])
    yield machine
    machine.close()


@pytest.fixture
def blocker(machine: Machine) -> CoreInstance:
    return instantiate(machine, BLOCKER, [BLOCK])

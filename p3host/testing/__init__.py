"""Tests of components: fast, the same each time, and able to find the interleaving that breaks them.

The pytest plugin that comes with p3host has the fixture `testbed` and the markers `virtual_time` and `explore`. All of
it works without pytest, too.
"""

from __future__ import annotations

from ..host.tasks import TaskTree
from .clocks import ManualClock
from .doubles import After, Double, double
from .exploration import explore, replay
from .files import Files, read_only
from .http_peers import HttpPeers
from .leaks import Leak, LeakError
from .output import Output
from .schedule import Schedule, current_schedule, from_picks, from_seed, parse_picks
from .testbed import Completed, Guest, Testbed
from .virtual_time import VirtualTime, current_virtual_time, virtual_time

__all__ = [
    "Testbed",
    "Guest",
    "Completed",
    "Output",
    "Files",
    "HttpPeers",
    "read_only",
    "Leak",
    "LeakError",
    "TaskTree",
    "double",
    "Double",
    "After",
    "ManualClock",
    "VirtualTime",
    "virtual_time",
    "current_virtual_time",
    "explore",
    "replay",
    "Schedule",
    "current_schedule",
    "from_seed",
    "from_picks",
    "parse_picks",
]

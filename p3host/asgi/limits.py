"""How many instances and requests an application has at once, and how long they may take."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PoolLimits:
    """What an `Application` keeps within.

    - `instances`: how many there are at most at the same time.
    - `concurrent_requests`: of one instance at the same time. Components of WASI 0.2 have one at a time.
    - `requests_per_instance`: an instance that has had so many is not used again.
    - `idle_seconds`: an instance that has had no request for so long is given up.
    - `request_seconds`: within which a request has to be answered to its end; `math.inf` for any time.
    - `request_bytes`: which the body of a request has at most; None for any number. What is larger is answered by 413.
    - `waiting_requests`, `waiting_seconds`: how many requests wait when all instances are busy, and for how long.

    :raises ValueError: a limit that lets no request through
    """

    instances: int = 16
    concurrent_requests: int = 32
    requests_per_instance: int = 1000
    idle_seconds: float = 60
    request_seconds: float = 300
    request_bytes: int | None = None
    waiting_requests: int = 512
    waiting_seconds: float = 10

    def __post_init__(self) -> None:
        for name in ("instances", "concurrent_requests", "requests_per_instance"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        for name in ("idle_seconds", "waiting_requests", "waiting_seconds"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        if self.request_bytes is not None and self.request_bytes < 0:
            raise ValueError(f"request_bytes must be 0 or more, not {self.request_bytes}")
        if not self.request_seconds > 0 or math.isnan(self.request_seconds):
            raise ValueError(f"request_seconds must be more than 0, not {self.request_seconds}")

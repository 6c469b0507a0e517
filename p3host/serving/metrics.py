"""Metrics in the text format of Prometheus, served on an address of their own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from .settings import Address

if TYPE_CHECKING:
    from ..asgi.pool import Pool

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"))


class Metrics:
    """Those of this process. Where several work side by side, they leave theirs in the directory that the environment
    names (`PROMETHEUS_MULTIPROC_DIR`), and whoever serves them adds them up."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        gauge = partial(Gauge, registry=self.registry, multiprocess_mode="livesum")
        self.requests = Counter(
            "p3host_requests", "Requests that have ended.", ("method", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "p3host_request_seconds", "How long requests took, to the end of the response.", registry=self.registry
        )
        self.sent = Counter("p3host_response_bytes", "Bytes of bodies that were sent.", registry=self.registry)
        self.trapped = Counter("p3host_trapped_instances", "Instances that have trapped.", registry=self.registry)
        self.instances = gauge("p3host_instances", "Instances that live.")
        self.waiting = gauge("p3host_waiting_requests", "Requests that wait for an instance.")
        self.known_traps = 0

    def count(self, method: str, status: int, body_bytes: int, seconds: float) -> None:
        """A request has ended; status 0 is that of one that had no response."""
        self.requests.labels(method if method in METHODS else "other", str(status or "none")).inc()
        self.seconds.observe(seconds)
        self.sent.inc(body_bytes)

    def watch(self, pool: Pool) -> None:
        def changed() -> None:
            self.instances.set(len(pool.members))
            self.waiting.set(len(pool.waiting))
            self.trapped.inc(pool.trapped - self.known_traps)
            self.known_traps = pool.trapped

        pool.on_change = changed


def start_server(address: Address, metrics: Metrics | None) -> Address:
    """Serves metrics, in a thread, and returns the address. Without any of this process, those that others leave.

    :raises OSError: nobody can listen there
    """
    registry = CollectorRegistry() if metrics is None else metrics.registry
    if metrics is None:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    host, port = address
    server, _ = prometheus_client.start_http_server(port, host, registry)
    return host, server.server_port


def forget_process(pid: int) -> None:
    """A process that left metrics has ended: its gauges count no more."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]

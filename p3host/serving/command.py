"""What `p3host serve` does once its options are understood."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ..asgi import Application
from ..component import Component
from .listening import address_of, allow_many_connections, listening
from .metrics_directory import metrics_directory
from .observed import Observed
from .servers import missing_package, serve
from .settings import Address, Settings, url_of
from .stopping import ignore
from .workers import Workers, holding_signals

if TYPE_CHECKING:
    from .metrics import Metrics


@dataclass(frozen=True)
class Console:
    """The command line: `say` prints a line for people, `fail` ends the process with one, and so does within a block of
    `failures` what is wrong with the component of a path. `load` loads it, or ends the process."""

    say: Callable[[str], None]
    fail: Callable[[str], NoReturn]
    failures: Callable[[str], AbstractContextManager[None]]
    load: Callable[[str], Component]


def run(settings: Settings, console: Console) -> int:
    """Serves until SIGINT or SIGTERM, and returns the exit status. The first line that it says names the URL."""
    package = missing_package(settings)
    if package is not None:
        console.fail(f"this needs {package}, which is not installed: pip install 'p3host[serve]'")
    allow_many_connections()
    with ExitStack() as stack:
        try:
            listener = stack.enter_context(listening(settings.address))
        except (OSError, UnicodeError) as error:
            console.fail(f"can't serve on {url_of(settings.address, settings.scheme)}: {reason_of(error)}")
        if settings.workers > 1:
            stack.enter_context(holding_signals())
            directory = None if settings.metrics is None else stack.enter_context(metrics_directory())
            return run_workers(settings, listener, console, directory)
        return run_alone(settings, listener, console)


def run_alone(settings: Settings, listener: socket.socket, console: Console) -> int:
    """Serves in this process."""
    lines = [serving_line(settings, listener)]
    metrics = None
    if settings.metrics is not None:
        from .metrics import Metrics

        metrics = Metrics()
        lines.append(serve_metrics(settings.metrics, metrics, console))

    def on_started() -> None:
        for line in lines:
            console.say(line)

    work(settings, listener, console, metrics, on_started)
    return 0


def work(
    settings: Settings,
    listener: socket.socket,
    console: Console,
    metrics: Metrics | None,
    on_started: Callable[[], None],
) -> None:
    """Serves until it is told to stop."""
    start_logging()
    with console.failures(settings.path):
        application = Application(console.load(settings.path), wasi=settings.wasi, pool=settings.pool)
        observed = Observed(application, on_started, settings.log, metrics)
        try:
            serve(observed, listener, settings)
        except (Exception, SystemExit):
            if observed.failure is None:
                raise
        if observed.failure is not None:
            raise observed.failure


def run_workers(settings: Settings, listener: socket.socket, console: Console, directory: str | None) -> int:
    """Serves in processes of their own, and the metrics of all, in files of `directory`, in one more."""
    announced = multiprocessing.get_context("fork").Event()
    line = serving_line(settings, listener)

    def announce() -> None:
        if not announced.is_set():
            console.say(line)
            announced.set()

    def work_as(number: int) -> None:
        metrics = None
        if settings.metrics is not None:
            from .metrics import Metrics

            metrics = Metrics()
        work(settings, listener, console, metrics, announce if number == 0 else ignore)

    def serve_metrics_of_all(address: Address) -> None:
        signal.signal(signal.SIGINT, ignore)  # SIGTERM ends this process when the others have been told
        metrics_line = serve_metrics(address, None, console)
        announced.wait()
        console.say(metrics_line)
        while True:
            signal.pause()

    def forget(pid: int) -> None:
        from .metrics import forget_process

        forget_process(pid)

    workers = Workers(work_as, settings.workers, settings.grace_seconds, console.say)
    workers.on_stop = listener.close  # or clients would wait for a server that has gone
    if settings.metrics is not None and directory is not None:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory  # prometheus-client looks for it when it is imported
        workers.aside = partial(serve_metrics_of_all, settings.metrics)
        workers.on_end = forget
    return workers.run()


def serving_line(settings: Settings, listener: socket.socket) -> str:
    return f"serving {Path(settings.path).name} on {url_of(address_of(listener), settings.scheme)}"


def serve_metrics(address: Address, metrics: Metrics | None, console: Console) -> str:
    """Serves metrics in a thread, and returns the line to say about it."""
    from .metrics import start_server

    try:
        return f"metrics on {url_of(start_server(address, metrics))}metrics"
    except (OSError, UnicodeError) as error:
        console.fail(f"can't serve metrics on {url_of(address)}: {reason_of(error)}")


def reason_of(error: OSError | UnicodeError) -> str:
    """Why an address can't be used. A UnicodeError says that it can be no host's name."""
    if isinstance(error, UnicodeError):
        return str(error)
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)  # to which `socket.create_server` would add the address
    return error.strerror or str(error)


def start_logging() -> None:
    """Lines of requests have nothing before them."""
    logging.basicConfig(stream=sys.stderr, format="p3host: %(message)s", level=logging.WARNING)
    access = logging.getLogger("p3host.access")
    if not access.handlers:
        access.setLevel(logging.INFO)
        access.propagate = False
        access.addHandler(logging.StreamHandler(sys.stderr))

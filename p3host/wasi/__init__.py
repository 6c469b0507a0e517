"""WASI 0.3 and 0.2: what a guest is granted, and the providers of the interfaces over it.

Each module of `p2/` and `p3/` is one WASI package; its `interfaces(...)` gives the providers by interface name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import LinkError
from . import command
from .background import LateBackground
from .clock import LoopClock, MonotonicClock, NoZone, RealTime, SystemClock, Zone
from .filesystem.directory import Directory, is_unicode
from .http_transport.grant import Http
from .p3 import cli as p3_cli
from .p3 import clocks as p3_clocks
from .p3 import random as p3_random
from .randomness import SYSTEM_RANDOM, Random
from .sockets.network import Network
from .stdio import STDERR, STDIN, STDOUT, Input, Output, Stdio, input_source, is_terminal, output_sink

if TYPE_CHECKING:
    from datetime import tzinfo

    from .http.messages import HttpClient

__all__ = [
    "Wasi",
    "Directory",
    "Http",
    "Network",
    "Stdio",
    "MonotonicClock",
    "SystemClock",
    "LoopClock",
    "RealTime",
    "Random",
]


@dataclass(frozen=True, kw_only=True)
class Wasi:
    """What a guest is granted; nothing unless it is named here. Clocks and random numbers are always there.

    - `args`: the command line, the program's name first; `env`: the environment variables.
    - `stdin`: bytes, an anyio receive stream, `Stdio.PROCESS`, or None for an empty one.
    - `stdout`, `stderr`: an object with `write(bytes)` such as a binary file or `io.BytesIO` (it is called on the
      event loop), an anyio send stream, `Stdio.PROCESS`, or None to discard.
    - `directories`: the directories that the guest can open; `initial_directory`: its working directory, if any.
    - `max_open_files`: how many files and directories an instance may have open; `insufficient-memory` beyond them.
    - `http`: the servers that HTTP requests may go to, as `Http(["https://api.example.com"])`; or what else they are
      sent to, an object with `async def send(request) -> response` (see `p3host.wasi.http`); or None to deny them all.
    - `network`: what the guest may reach of the network.
    - `time_zone`: the zone that `wasi:clocks/timezone` tells: a name such as "Europe/Berlin", "local" for this
      process's own (by its variable TZ, or the system's), a `tzinfo`, or None to expose none. Clocks go by UTC anyway.
    - `monotonic_clock`, `system_clock`, `random`: other sources of time and chance, for tests. A `random.Random` with
      a seed will do.

    :raises TypeError: a grant of the wrong kind
    :raises LinkError: no time zone has the name given, or, naming each, there are strings that are not UTF-8, as those
        of `sys.argv` or `os.environ` can be
    """

    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: Input = None
    stdout: Output = None
    stderr: Output = None
    directories: Sequence[Directory] = ()
    initial_directory: str | None = None
    max_open_files: int = 256
    http: HttpClient | None = None
    network: Network = field(default_factory=Network)
    time_zone: tzinfo | str | None = None
    monotonic_clock: MonotonicClock = field(default_factory=LoopClock)
    system_clock: SystemClock = field(default_factory=RealTime)
    random: Random = SYSTEM_RANDOM

    def __post_init__(self) -> None:
        if isinstance(self.args, str):
            raise TypeError(f"args must be a sequence of strings, not the one string {self.args!r}")
        initial_directory = [] if self.initial_directory is None else [self.initial_directory]
        texts = {
            "args": self.args,
            "env": [*self.env.keys(), *self.env.values()],
            "initial_directory": initial_directory,
        }
        for name, strings in texts.items():
            for string in strings:
                if not isinstance(string, str):
                    raise TypeError(f"{name} must consist of strings, not {string!r}")
        problems = [
            f"{name} has {string!r}, which is not UTF-8, as all strings of a component are"
            for name, strings in texts.items()
            for string in strings
            if not is_unicode(string)
        ]
        if problems:
            raise LinkError(problems)
        for directory in self.directories:
            if not isinstance(directory, Directory):
                raise TypeError(f"directories must consist of Directory, not {directory!r}")
        if self.http is not None and not callable(getattr(self.http, "send", None)):
            raise TypeError(f"http must be None or an object with 'async def send(request)', not {self.http!r}")
        if not isinstance(self.network, Network):
            raise TypeError(f"network must be a Network, not {self.network!r}")
        input_source(self.stdin)
        output_sink(self.stdout, STDOUT)
        output_sink(self.stderr, STDERR)
        self.zone()

    def zone(self) -> Zone:
        """What `time_zone` grants, as it is now."""
        if self.time_zone is None:
            return NoZone()
        from .time_zone import zone_of  # most programs grant no time zone

        return zone_of(self.time_zone)

    def interfaces(
        self, imports: Collection[str] | None = None, background: LateBackground | None = None
    ) -> Mapping[str, object]:
        """The providers for one instantiation, by interface name and major version: "wasi:cli/exit@0.3". `imports` are
        the names that the component imports; what none of them needs may be left out, so that it starts sooner.
        `background` runs the providers' tasks."""
        background = background or LateBackground()
        needs_p2 = imports is None or any(name.startswith("wasi:") and "@0.3" not in name for name in imports)
        needs_files = needs_p2 or imports is None or any(name.startswith("wasi:filesystem/") for name in imports)
        environment = command.Environment(self.args, self.env, self.initial_directory)
        terminals = command.Terminals(
            is_terminal(self.stdin, STDIN), is_terminal(self.stdout, STDOUT), is_terminal(self.stderr, STDERR)
        )
        shared = command.interfaces(environment, terminals)
        clocks = self.monotonic_clock, self.system_clock, self.zone()
        stdin = input_source(self.stdin)
        stdout = output_sink(self.stdout, STDOUT)
        stderr = output_sink(self.stderr, STDERR)
        p3: dict[str, object] = {
            **shared,
            **p3_cli.interfaces(stdin, stdout, stderr, background.finishing),
            **p3_clocks.interfaces(*clocks),
            **p3_random.interfaces(self.random),
        }
        p2_interfaces: dict[str, object] = {}
        if needs_files:
            from .filesystem.handles import Filesystem
            from .p3 import filesystem as p3_filesystem

            filesystem = Filesystem(self.directories, max_open=self.max_open_files, finishing=background.finishing)
            p3 |= p3_filesystem.interfaces(filesystem)
        if imports is None or any(name.startswith("wasi:http/") and "@0.3" in name for name in imports):
            from .p3 import http as p3_http

            p3 |= p3_http.interfaces(self.http)
        if needs_p2:
            from . import p2

            p2_interfaces = {
                **shared,
                **p2.interfaces((stdin, stdout, stderr), clocks, filesystem, self.random, background),
            }
        if imports is None or any(name.startswith("wasi:sockets/") for name in imports):
            from .sockets.handles import Sockets

            sockets = Sockets(self.network)
            if imports is None or any(name.startswith("wasi:sockets/") and "@0.3" in name for name in imports):
                from .p3 import sockets as p3_sockets

                p3 |= p3_sockets.interfaces(sockets)
            if needs_p2:
                from .p2 import sockets as p2_sockets

                p2_interfaces |= p2_sockets.interfaces(sockets)
        if imports is None or any(name.startswith("wasi:http/") and "@0.3" not in name for name in imports):
            from .p2 import http as p2_http

            p2_interfaces |= p2_http.interfaces(self.http, background)
        return {f"{name}@0.3": provider for name, provider in p3.items()} | {
            f"{name}@0.2": provider for name, provider in p2_interfaces.items()
        }

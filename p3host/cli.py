"""The command line: `p3host run`, `p3host serve`, `p3host inspect` and `p3host wast`.

Exit statuses of `run`: the guest's own (0 or 1 for the result of `run`, or what it gave to `wasi:cli/exit`); 2 for a
mistake in what p3host was given; 134 for a trap or a deadlock; 124 at the end of `--timeout`; 130 after Ctrl-C (SIGINT)
and 143 after SIGTERM.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any, NoReturn

import anyio

from .binary import definitions
from .component import Component
from .errors import DecodeError, LinkError, Trap
from .running import run_command, stopping_on_signals
from .wasi import Directory, Http, Network, Stdio, Wasi

try:
    import click
except ImportError:
    sys.exit("p3host's command line needs click: pip install 'p3host[cli]'")

USAGE, INTERRUPTED, TRAPPED = 2, 130, 134


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="p3host", prog_name="p3host")
def main() -> None:
    """Runs WebAssembly components with WASI 0.3."""


def parse_env(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    env = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not name:
            raise click.BadParameter(f"{text!r}: give NAME=VALUE, or NAME to pass on the variable of this process")
        if equals:
            env[name] = value
        elif name in os.environ:
            env[name] = os.environ[name]
    for string in (*env, *env.values()):
        check_text(string)
    return env


def parse_directories(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[Directory]:
    directories = []
    for text in values:
        host, *rest = text.split("::")
        guest = rest[0] if rest else host
        if not host or not guest or len(rest) > 2 or (len(rest) == 2 and rest[1] != "ro"):
            raise click.BadParameter(f"{text!r}: give HOST::GUEST, or HOST::GUEST::ro for one that can't be written to")
        try:
            directories.append(Directory(host, guest, writable=len(rest) < 2))
        except LinkError as error:
            raise click.BadParameter(str(error)) from None
    return directories


PROTOCOLS = ("tcp", "udp")


def parse_endpoints(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, list[str]]:
    """The patterns for each protocol."""
    patterns: dict[str, list[str]] = {protocol: [] for protocol in PROTOCOLS}
    for text in values:
        protocol, colon, rest = text.partition(":")
        if colon and protocol in PROTOCOLS:
            patterns[protocol].append(rest)
        else:
            for each in PROTOCOLS:
                patterns[each].append(text)
    try:
        Network(tcp_connect=patterns["tcp"], udp_send=patterns["udp"])
    except LinkError as error:
        raise click.BadParameter("; ".join(dict.fromkeys(error.problems))) from None
    return patterns


def network_of(net: dict[str, list[str]], listen: dict[str, list[str]], lookup: tuple[str, ...]) -> Network:
    return Network(
        tcp_connect=net["tcp"], tcp_bind=listen["tcp"], udp_send=net["udp"], udp_bind=listen["udp"], lookup=lookup
    )


def parse_names(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    try:
        Network(lookup=values)
    except LinkError as error:
        raise click.BadParameter("; ".join(error.problems)) from None
    return values


def parse_http(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> Http | None:
    try:
        return Http(values) if values else None
    except (LinkError, ImportError) as error:
        raise click.BadParameter(str(error)) from None


def parse_time_zone(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    try:
        Wasi(time_zone=value)
    except LinkError as error:
        raise click.BadParameter("; ".join(error.problems)) from None
    return value


def parse_args(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for string in values:
        check_text(string)
    return values


def check_text(string: str) -> None:
    try:
        string.encode()
    except UnicodeEncodeError:
        raise click.BadParameter(f"{string!r} is not UTF-8, as all strings of a component are") from None


def program_name(path: str) -> str:
    """What a component at `path` is told as the first of its arguments."""
    return Path(path).name.encode(errors="replace").decode()


def parse_backend(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if value == "trio" and find_spec("trio") is None:
        raise click.BadParameter("trio is not installed: pip install trio")
    return value


backend_option = click.option(
    "--backend",
    type=click.Choice(["asyncio", "trio"]),
    default="asyncio",
    show_default=True,
    callback=parse_backend,
    help="The event loop.",
)


http_option = click.option(
    "--http",
    multiple=True,
    metavar="[SCHEME://]HOST[:PORT]",
    callback=parse_http,
    help="A server that HTTP requests may go to, such as https://api.example.com, 'http://localhost:*', '*.example.com'"
    " or '*'. Can be repeated.",
)


env_option = click.option(
    "--env",
    multiple=True,
    metavar="NAME[=VALUE]",
    callback=parse_env,
    help="An environment variable for the guest; NAME alone passes on this process's. Can be repeated.",
)
directories_option = click.option(
    "--dir",
    "directories",
    multiple=True,
    metavar="HOST[::GUEST[::ro]]",
    callback=parse_directories,
    help="A directory that the guest gets as GUEST, to read and write, or with ::ro to read only. Can be repeated.",
)
net_option = click.option(
    "--net",
    multiple=True,
    metavar="[tcp:|udp:]HOST[:PORTS]",
    callback=parse_endpoints,
    help="Where the guest may connect and send to: an address, a network as 10.0.0.0/8, [::1] for IPv6, localhost, or "
    "*; and a port or a range as 80-89. Can be repeated.",
)
listen_option = click.option(
    "--listen",
    multiple=True,
    metavar="[tcp:|udp:]HOST[:PORTS]",
    callback=parse_endpoints,
    help="An address of this machine that the guest may bind sockets to, as for --net. Can be repeated.",
)
lookup_option = click.option(
    "--lookup",
    multiple=True,
    metavar="NAME",
    callback=parse_names,
    help="A host name that the guest may look up, as *.example.com, or *. Can be repeated.",
)
time_zone_option = click.option(
    "--time-zone",
    metavar="NAME",
    callback=parse_time_zone,
    help="The time zone that the guest is told, as Europe/Berlin, or local for that of this process. None by default.",
)


def grant_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options that grant a guest something."""
    for option in reversed(
        (env_option, directories_option, net_option, listen_option, lookup_option, http_option, time_zone_option)
    ):
        function = option(function)
    return function


def parse_timeout(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not 0 < value < inf:  # a comparison that "nan" fails too
        raise click.BadParameter("give a number of seconds above 0")
    return value


@main.command(context_settings={"allow_interspersed_args": False})
@grant_options
@backend_option
@click.option("--timeout", type=float, metavar="SECONDS", callback=parse_timeout,
              help="How long the guest may run; after that it is cancelled, and the exit status is 124.")  # fmt: skip
@click.argument("path", metavar="COMPONENT")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, callback=parse_args)
def run(
    env: dict[str, str],
    directories: list[Directory],
    net: dict[str, list[str]],
    listen: dict[str, list[str]],
    lookup: tuple[str, ...],
    http: Http | None,
    time_zone: str | None,
    backend: str,
    timeout: float | None,
    path: str,
    args: tuple[str, ...],
) -> None:
    """Runs the command COMPONENT (a file in binary or text form) with this terminal's input and output.

    Options stand before COMPONENT; everything after it goes to the guest. The guest gets nothing else of the machine
    than what the options name.

    The exit status is the guest's; 134 if it traps or can never end, 2 if it can't be started, 124 if the time that
    --timeout gives it was over, 130 after Ctrl-C, 143 after SIGTERM. Ctrl-C, SIGTERM and the time-out ask the guest to
    cancel, and end it a second later; a second Ctrl-C or SIGTERM does so at once. SIGUSR1 makes it print who waits for
    what, and go on.
    """
    wasi = Wasi(
        args=[program_name(path), *args],
        env=env,
        stdin=Stdio.PROCESS,
        stdout=Stdio.PROCESS,
        stderr=Stdio.PROCESS,
        directories=directories,
        network=network_of(net, listen, lookup),
        http=http,
        time_zone=time_zone,
    )
    with stopping_on_signals(), failures(path):
        status = anyio.run(run_command, load(path), wasi, timeout, say, backend=backend)
    gc.freeze()  # all that is left ends with the process: no collection needs to go through it
    sys.exit(status)


def parse_addr(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, int] | None:
    from .serving.settings import parse_address

    try:
        return None if value is None else parse_address(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


POOL_OPTIONS = (
    ("instances", 16, "Instances at the same time."),
    ("concurrent_requests", 32, "Requests of one instance at the same time; one, if it is of WASI 0.2."),
    ("requests_per_instance", 1000, "Requests after which an instance is not used again."),
    ("idle_seconds", 60.0, "Seconds without a request after which an instance is given up."),
    ("request_seconds", 300.0, "Seconds within which a request has to be answered, to the end of the response."),
    ("request_bytes", None, "Bytes of a request's body at most; a larger one gets 413. Left out, any number."),
    ("waiting_requests", 512, "Requests that may wait when all instances are busy; others get 503."),
    ("waiting_seconds", 10.0, "Seconds after which one that waits gets 503."),
)
"""The limits of `p3host.asgi.PoolLimits` with their defaults, so that help need not wait for its import."""


def pool_options(function: Callable[..., None]) -> Callable[..., None]:
    for name, default, text in reversed(POOL_OPTIONS):
        kind = click.FloatRange(min=0) if isinstance(default, float) else click.IntRange(min=0)
        option = f"--{name.replace('_', '-')}"
        function = click.option(option, type=kind, default=default, show_default=True, help=text)(function)
    return function


@main.command()
@click.option("--addr", "address", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT",
              callback=parse_addr,
              help="Where to serve: all addresses without HOST, any free port with 0; or unix:PATH.")  # fmt: skip
@click.option(
    "--tls-cert", metavar="FILE", help="Serves HTTPS with this chain of certificates (PEM), the server's own first."
)
@click.option("--tls-key", metavar="FILE", help="The certificate's key (PEM), if it is not in the same file.")
@grant_options
@backend_option
@click.option("--http2", is_flag=True, help="HTTP/2 too, on the same port. Without TLS, clients have to know of it.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="How many processes serve.")
@click.option("--metrics", metavar="HOST:PORT", callback=parse_addr, help="Where to serve metrics for Prometheus.")
@click.option("--log/--no-log", default=True, show_default=True, help="Whether to print a line for each request.")
@click.option("--grace", "grace_seconds", type=click.FloatRange(min=0), default=10, show_default=True,
              metavar="SECONDS", help="How long requests may take to end when the server is told to stop.")  # fmt: skip
@click.option("--head-seconds", type=click.FloatRange(min=0, min_open=True), default=30, show_default=True,
              help="Seconds within which the head of a request has to come, the first and the next.")  # fmt: skip
@pool_options
@click.argument("path", metavar="COMPONENT")
def serve(
    path: str,
    env: dict[str, str],
    directories: list[Directory],
    net: dict[str, list[str]],
    listen: dict[str, list[str]],
    lookup: tuple[str, ...],
    http: Http | None,
    time_zone: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    **options: Any,
) -> None:
    """Has COMPONENT (a file in binary or text form) answer HTTP requests: it exports wasi:http/handler
    of WASI 0.3 (preferred), or wasi:http/incoming-handler of 0.2.

    The guest gets nothing else of the machine than what the options name, and standard output and standard error. The
    first line on standard error names the URL. SIGINT and SIGTERM stop it once the requests that it has are answered.
    """
    from .asgi import PoolLimits
    from .serving import command
    from .serving.settings import Settings
    from .serving.tls import BadCertificate, server_context

    wasi = Wasi(
        args=[program_name(path)],
        env=env,
        stdout=Stdio.PROCESS,
        stderr=Stdio.PROCESS,
        directories=directories,
        network=network_of(net, listen, lookup),
        http=http,
        time_zone=time_zone,
    )
    try:
        pool = PoolLimits(**{name: options.pop(name) for name, _, _ in POOL_OPTIONS})
    except ValueError as error:
        fail(str(error))
    tls = None
    if tls_cert is not None:
        try:
            tls = server_context(tls_cert, tls_key, http2=options["http2"])
        except BadCertificate as error:
            fail(str(error))
    elif tls_key is not None:
        fail("--tls-key needs a certificate too: --tls-cert FILE")
    settings = Settings(path=path, wasi=wasi, pool=pool, tls=tls, **options)
    try:
        sys.exit(command.run(settings, command.Console(say, fail, failures, load)))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


@main.command()
@click.argument("path", metavar="COMPONENT")
def inspect(path: str) -> None:
    """Prints what COMPONENT imports and exports, as WIT, and how it uses the Canonical ABI."""
    component = load(path)
    usage = "".join(f"// {line}\n" for line in describe_usage(component.definition))
    try:
        click.echo(f"{component.wit()}\n{usage}", nl=False)
    except BrokenPipeError:
        raise  # click ends the process quietly
    except OSError as error:
        fail(f"can't write: {error.strerror}")


def describe_usage(component: definitions.Component) -> Iterator[str]:
    """The core modules, ABI forms and built-ins of a component and those nested in it, each with its count."""
    lifts = Counter({"sync": 0, "async with callback": 0, "async stackful": 0})
    lowers = Counter({"sync": 0, "async": 0})
    builtins: Counter[str] = Counter()
    modules = size = 0
    for definition in all_definitions(component):
        match definition:
            case definitions.CoreModule():
                modules += 1
                size += len(definition.data)
            case definitions.Lift(options=options):
                form = "async stackful" if options.callback is None else "async with callback"
                lifts[form if options.is_async else "sync"] += 1
            case definitions.Lower(options=options):
                lowers["async" if options.is_async else "sync"] += 1
            case definitions.CanonBuiltin(kind=kind):
                builtins[kind.text] += 1
    yield f"core modules: {modules}, {size} bytes"
    yield "lifts: " + ", ".join(f"{count} {form}" for form, count in lifts.items())
    yield "lowers: " + ", ".join(f"{count} {form}" for form, count in lowers.items())
    yield "built-ins: " + (", ".join(f"{name} ({builtins[name]})" for name in sorted(builtins)) or "none")


def all_definitions(component: definitions.Component) -> Iterator[definitions.AnyDefinition]:
    for definition in component.definitions:
        yield definition
        if isinstance(definition, definitions.NestedComponent):
            yield from all_definitions(definition.component)


@main.command()
@backend_option
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
def wast(backend: str, paths: tuple[Path, ...]) -> None:
    """Runs WebAssembly scripts that test components.

    Prints each directive that failed, and how many passed and failed. The exit status is 0 if none failed, else 1; 2 if
    a file can't be read.
    """
    # Published scripts have core items without the sort of the item (`(memory $m "mem")`) as well as with it.
    os.environ.setdefault("WAST_STRICT_COMPONENT_INDICES", "0")
    scripts = [(path, os.path.abspath(path), read(path)) for path in paths]
    sys.exit(min(anyio.run(run_scripts, scripts, backend=backend), 1))


async def run_scripts(scripts: Sequence[tuple[Path, str, bytes]]) -> int:
    """Prints what came of each script, and returns how many directives failed."""
    from .wast import run_script  # commands need not wait for its import

    passed = failed = 0
    for path, absolute_path, source in scripts:
        for outcome in await run_script(source, absolute_path):
            if outcome.problem is not None:
                failed += 1
                click.echo(f"{path}:{outcome.line}: {outcome.directive}: {outcome.problem}")
            elif outcome.waiver is not None:
                click.echo(f"{path}:{outcome.line}: waived: {outcome.waiver.reason}")
            else:
                passed += 1
    click.echo(f"{passed} passed, {failed} failed")
    return failed


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        fail(f"can't read {path}: {error.strerror or error}")


def load(path: str) -> Component:
    """A component from a file; ends the process if there is none."""
    try:
        return Component.load(Path(path))
    except OSError as error:
        fail(f"can't read {path}: {error.strerror or error}")
    except DecodeError as error:
        fail(f"{path} is no valid component: {error}")


@contextmanager
def failures(path: str) -> Iterator[None]:
    """Within the block, what is wrong with a component ends the process."""
    try:
        yield
    except Trap as trap:
        fail(f"{path} trapped: {trap}", TRAPPED)
    except LinkError as error:
        fail(f"{path} can't be linked:\n" + "\n".join(f"  {problem}" for problem in error.problems))


def fail(message: str, status: int = USAGE) -> NoReturn:
    say(message)
    sys.exit(status)


def say(line: str) -> None:
    try:
        click.echo(f"p3host: {line}", err=True)
    except OSError:
        pass  # it can't be written, and there is no other place to tell that

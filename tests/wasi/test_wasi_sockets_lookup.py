"""Name lookup in both versions, with a resolver of the test's own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from socket_fakes import VERSIONS, Guest
from wasi_fakes import finish, outcome

from p3host.wasi.sockets import name_lookup
from p3host.wasi.sockets.addresses import ip_to_wit
from p3host.wasi.sockets.network import Network

pytestmark = pytest.mark.anyio


@pytest.fixture(params=VERSIONS)
def guest(request: pytest.FixtureRequest) -> Guest:
    return Guest(request.param)


class Resolver:
    """Answers each name with the addresses, or the error, that the test gives it, once `may_answer`."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.asked: list[str] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.running = self.most_at_once = 0
        self.lock = threading.Lock()

    def getaddrinfo(self, host: bytes, port: None, *, type: int) -> list[Any]:
        name = host.decode()
        with self.lock:
            self.asked.append(name)
            self.running += 1
            self.most_at_once = max(self.most_at_once, self.running)
        self.may_answer.wait()
        with self.lock:
            self.running -= 1
        answer = self.names.get(name, socket.gaierror(socket.EAI_NONAME, "unknown"))
        if isinstance(answer, Exception):
            raise answer
        return [
            (socket.AF_INET6 if ":" in ip else socket.AF_INET, type, 6, "", (ip, 0, 0, 0) if ":" in ip else (ip, 0))
            for ip in answer
        ]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver.getaddrinfo)
    yield resolver
    resolver.may_answer.set()


def wit(*addresses: str) -> list[Any]:
    return [ip_to_wit(ip_address(address)) for address in addresses]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (["192.0.2.1"], ["192.0.2.1"]),
        (["2001:db8::1", "192.0.2.1", "2001:db8::1"], ["2001:db8::1", "192.0.2.1"]),
        (["::ffff:192.0.2.1", "fe80::1%lo"], ["192.0.2.1", "fe80::1"]),
        (["192.0.2.1", "::ffff:192.0.2.1"], ["192.0.2.1"]),
    ],
)
async def test_addresses_come_in_the_order_of_preference(
    guest: Guest, resolver: Resolver, answer: list[str], expected: list[str]
) -> None:
    resolver.names["example.com"] = answer
    assert await guest.look_up("example.com") == wit(*expected)
    assert resolver.asked == ["example.com"]


ERRORS: list[tuple[Any, dict[str, str]]] = [
    (socket.gaierror(socket.EAI_NONAME, ""), {"": "name-unresolvable"}),
    (socket.gaierror(socket.EAI_NODATA, ""), {"": "name-unresolvable"}),
    (socket.gaierror(socket.EAI_ADDRFAMILY, ""), {"": "name-unresolvable"}),
    (socket.gaierror(socket.EAI_AGAIN, ""), {"": "temporary-resolver-failure"}),
    (socket.gaierror(socket.EAI_FAIL, ""), {"": "permanent-resolver-failure"}),
    (socket.gaierror(socket.EAI_MEMORY, ""), {"p2": "out-of-memory", "p3": "other"}),
    (socket.gaierror(socket.EAI_SYSTEM, ""), {"p2": "unknown", "p3": "other"}),
    (OSError("odd"), {"p2": "unknown", "p3": "other"}),
    (UnicodeError("odd"), {"p2": "unknown", "p3": "other"}),
    ([], {"": "name-unresolvable"}),
]


@pytest.mark.parametrize(("answer", "codes"), ERRORS)
async def test_failures_have_their_codes(guest: Guest, resolver: Resolver, answer: Any, codes: dict[str, str]) -> None:
    resolver.names["example.com"] = answer
    assert await outcome(guest.look_up, "example.com") == codes.get("", codes.get(guest.version))


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com."),  # which the resolver looks up nowhere else
        ("bücher.example.", "xn--bcher-kva.example."),
        ("BÜCHER。example", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),  # which strasse.example may not belong to
        ("☕.example", "xn--53h.example"),
        ("_dmarc.bücher.example", "_dmarc.xn--bcher-kva.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("_dmarc.example.com", "_dmarc.example.com"),
        ("a" * 63 + ".com", "a" * 63 + ".com"),
    ],
)
async def test_names_are_asked_for_in_ascii(guest: Guest, resolver: Resolver, name: str, asked: str) -> None:
    resolver.names[asked] = ["192.0.2.1"]
    assert await guest.look_up(name) == wit("192.0.2.1")
    assert resolver.asked == [asked]


@pytest.mark.parametrize(
    "name",
    ["", ".", "a..b", ".a", "a b", "a\0b", "a:80", "[::1]", "http://a", "fe80::1%lo", "a/b", "*", "*.a", "a" * 64,
     ".".join(["a"] * 128), "é" * 300, "a\u2028b.example"],
)  # fmt: skip
async def test_what_is_no_name_is_an_invalid_argument(guest: Guest, resolver: Resolver, name: str) -> None:
    assert await outcome(guest.look_up, name) == "invalid-argument"
    assert not resolver.asked


@pytest.mark.parametrize(
    ("text", "address"),
    [("192.0.2.1", "192.0.2.1"), ("::1", "::1"), ("2001:DB8::1", "2001:db8::1"), ("::ffff:192.0.2.1", "192.0.2.1")],
)
@pytest.mark.parametrize("version", VERSIONS)
async def test_addresses_need_no_lookup_and_no_grant(version: str, resolver: Resolver, text: str, address: str) -> None:
    assert await Guest(version, Network()).look_up(text) == wit(address)
    assert not resolver.asked


@pytest.mark.parametrize("version", VERSIONS)
async def test_names_without_a_grant_are_not_asked_for(version: str, resolver: Resolver) -> None:
    resolver.names["www.example.com"] = ["192.0.2.1"]
    guest = Guest(version, Network(tcp_connect=["*"], udp_send=["*"], lookup=["*.example.com"]))
    assert await guest.look_up("www.example.com") == wit("192.0.2.1")
    for name in ("example.com", "localhost", "example.org", "127.1"):
        assert await outcome(guest.look_up, name) == "access-denied"
    assert resolver.asked == ["www.example.com"]


async def test_the_loop_goes_on_meanwhile(guest: Guest, resolver: Resolver) -> None:
    resolver.names["example.com"] = ["192.0.2.1"]
    resolver.may_answer.clear()
    answers: list[Any] = []

    async def look_up() -> None:
        answers.append(await guest.look_up("example.com"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look_up)
        await anyio.wait_all_tasks_blocked()
        assert not answers
        resolver.may_answer.set()
    assert answers == [wit("192.0.2.1")]


async def test_a_lookup_that_is_waited_for_no_more_ends_alone(guest: Guest, resolver: Resolver) -> None:
    resolver.may_answer.clear()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outcome, guest.look_up, "example.com")
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert name_lookup.thread_limiter().borrowed_tokens == 1
    resolver.may_answer.set()
    while name_lookup.thread_limiter().borrowed_tokens:
        await anyio.lowlevel.checkpoint()


async def test_lookups_at_once_are_bounded_and_all_are_answered(guest: Guest, resolver: Resolver) -> None:
    count = 2 * name_lookup.WORKER_THREADS + 1
    resolver.may_answer.clear()
    answers: list[Any] = []

    async def look_up(name: str) -> None:
        resolver.names[name] = ["192.0.2.1"]
        answers.append(await guest.look_up(name))

    async with anyio.create_task_group() as tasks:
        for number in range(count):
            tasks.start_soon(look_up, f"{number}.example.com")
        await anyio.wait_all_tasks_blocked()
        resolver.may_answer.set()
    assert answers == [wit("192.0.2.1")] * count
    assert resolver.most_at_once <= name_lookup.WORKER_THREADS


async def test_addresses_of_02_come_one_by_one(resolver: Resolver) -> None:
    resolver.names["example.com"] = ["192.0.2.1", "2001:db8::1"]
    resolver.may_answer.clear()
    provider: Any = Guest("p2").interfaces["wasi:sockets/ip-name-lookup"]
    stream = provider.resolve_addresses(None, "example.com")
    pollable = stream.subscribe()
    assert not pollable.ready()
    assert await outcome(stream.resolve_next_address) == "would-block"
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(finish, stream.subscribe().block())
        await anyio.wait_all_tasks_blocked()
        resolver.may_answer.set()
    assert pollable.ready()
    assert [stream.resolve_next_address() for _ in range(4)] == [*wit("192.0.2.1", "2001:db8::1"), None, None]


async def test_a_lookup_of_02_goes_on_while_nobody_waits(resolver: Resolver) -> None:
    resolver.names["example.com"] = ["192.0.2.1"]
    provider: Any = Guest("p2").interfaces["wasi:sockets/ip-name-lookup"]
    stream = provider.resolve_addresses(None, "example.com")
    while await outcome(stream.resolve_next_address) == "would-block":
        await anyio.lowlevel.checkpoint()
    assert stream.resolve_next_address() is None


async def test_a_lookup_of_02_that_had_to_wait_begins_while_nobody_waits(resolver: Resolver) -> None:
    resolver.names["example.com"] = ["192.0.2.1"]
    resolver.may_answer.clear()
    provider: Any = Guest("p2").interfaces["wasi:sockets/ip-name-lookup"]
    before = [provider.resolve_addresses(None, f"{n}.example.com") for n in range(name_lookup.WORKER_THREADS)]
    stream = provider.resolve_addresses(None, "example.com")
    assert await outcome(stream.resolve_next_address) == "would-block"
    resolver.may_answer.set()
    for each in before:
        await finish(each.subscribe().block())
    with anyio.fail_after(10):
        while (answer := await outcome(stream.resolve_next_address)) == "would-block":
            await anyio.lowlevel.checkpoint()
    assert [answer] == wit("192.0.2.1")


@pytest.mark.parametrize("failure", [RuntimeError("can't start new thread"), OSError("too many open files")])
async def test_a_lookup_without_a_thread_is_a_failure_for_now(
    guest: Guest, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def start(thread: threading.Thread) -> None:
        raise failure

    monkeypatch.setattr(name_lookup.Thread, "start", start)
    assert await outcome(guest.look_up, "example.com") == "temporary-resolver-failure"
    assert name_lookup.thread_limiter().borrowed_tokens == 0


def test_a_loop_that_is_gone_is_no_fault(resolver: Resolver) -> None:
    resolver.may_answer.clear()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outcome, Guest("p3").look_up, "example.com")
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()

    for backend in ("asyncio", "trio"):
        anyio.run(main, backend=backend)
    threads = [thread for thread in threading.enumerate() if thread.name == "p3host lookup"]
    resolver.may_answer.set()
    for thread in threads:
        thread.join()

"""Host names to addresses, by the system's resolver in a worker thread."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address, ip_address
from threading import Thread

import anyio
from anyio.lowlevel import RunVar, current_token

from ...errors import Err
from .addresses import IpAddress
from .network import MAX_NAME, Network, is_host_name

WORKER_THREADS = 8

ERROR_LABELS = {
    socket.EAI_NONAME: "name-unresolvable",
    socket.EAI_NODATA: "name-unresolvable",
    socket.EAI_ADDRFAMILY: "name-unresolvable",
    socket.EAI_AGAIN: "temporary-resolver-failure",
    socket.EAI_FAIL: "permanent-resolver-failure",
}

threads: RunVar[anyio.CapacityLimiter] = RunVar("p3host lookup threads")


def thread_limiter() -> anyio.CapacityLimiter:
    limiter = threads.get(None)
    if limiter is None:
        limiter = anyio.CapacityLimiter(WORKER_THREADS)
        threads.set(limiter)
    return limiter


def literal(name: str) -> IpAddress | None:
    """The address that `name` is the text of, if it is one."""
    try:
        ip = ip_address(name)
    except ValueError:
        return None
    if isinstance(ip, IPv6Address):
        if ip.scope_id is not None:
            return None
        return ip.ipv4_mapped or ip
    return ip


def ascii_name(name: str) -> str:
    """The name in lower case and ASCII.

    :raises Err: `invalid-argument`: it is no host name
    """
    if not name.isascii() and len(name) <= MAX_NAME:
        name = to_ascii(name)
    if not is_host_name(name):
        raise Err("invalid-argument")
    return name.lower()


def to_ascii(name: str) -> str:
    """By UTS #46, nontransitional and with the symbols that it knows, as browsers do it. The standard library's codec
    is of the older IDNA 2003, by which some names are another's.

    :raises Err: `invalid-argument`
    """
    from idna import IDNAError, uts46_remap  # most names are in ASCII

    try:
        labels = uts46_remap(name, std3_rules=False).split(".")
    except IDNAError as failure:
        raise Err("invalid-argument") from failure
    return ".".join(label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in labels)


class Lookup:
    """A lookup that goes on, once it has begun, whether anyone waits for it or not.

    :raises Err: `invalid-argument` or `access-denied`; no lookup begins then
    """

    def __init__(self, network: Network, name: str) -> None:
        self.answer: Sequence[IpAddress] | Exception | None = None
        self.ended = anyio.Event()
        self.beginning = anyio.Lock()
        self.has_begun = False
        address = literal(name)
        if address is not None:  # nobody has to be asked
            self.end([address])
            return
        self.name = ascii_name(name)
        if not network.allows_lookup(self.name.removesuffix(".")):
            raise Err("access-denied")
        self.has_ended()

    def has_ended(self) -> bool:
        """Whether `result` can be called. One that had to wait for its turn may begin now."""
        if not self.has_begun and self.answer is None and not self.beginning.locked():
            try:
                limiter = thread_limiter()
                limiter.acquire_on_behalf_of_nowait(self)
                self.begin(limiter)
            except anyio.WouldBlock:
                pass
        return self.ended.is_set()

    async def wait(self) -> None:
        """Waits until `ended`. Can be cancelled, and then loses nothing."""
        if self.answer is None:
            async with self.beginning:
                if not self.has_begun:
                    limiter = thread_limiter()
                    await limiter.acquire_on_behalf_of(self)
                    self.begin(limiter)
        await self.ended.wait()

    def begin(self, limiter: anyio.CapacityLimiter) -> None:
        token = current_token()

        def end(answer: Sequence[IpAddress] | Exception) -> None:
            limiter.release_on_behalf_of(self)
            self.end(answer)

        def work() -> None:
            answer = look_up(self.name)
            try:
                from_thread.run_sync(end, answer, token=token)
            except (anyio.RunFinishedError, RuntimeError):
                pass  # the event loop is gone, and who asked too

        self.has_begun = True
        try:
            from anyio import from_thread  # most guests look no name up

            Thread(target=work, name="p3host lookup", daemon=True).start()
        except (RuntimeError, OSError):  # no thread can be had, or no file descriptor
            end(socket.gaierror(socket.EAI_AGAIN, "there are too many"))

    def end(self, answer: Sequence[IpAddress] | Exception) -> None:
        self.answer = answer
        self.ended.set()

    def result(self, labels: Mapping[int, str], other: object) -> Sequence[IpAddress]:
        """At least one address, the one to prefer first. To be called once it has ended.

        :raises Err: why there is none: by `labels`, which are for the numbers of `gaierror`, or else `other`
        """
        failure = self.answer
        if isinstance(failure, socket.gaierror):
            raise Err(labels.get(failure.errno or 0, other)) from failure
        if isinstance(failure, Exception):
            raise Err(other) from failure
        assert failure is not None
        return failure


def look_up(name: str) -> Sequence[IpAddress] | Exception:
    try:
        found = socket.getaddrinfo(name.encode(), None, type=socket.SOCK_STREAM)
    except Exception as failure:
        return failure
    texts = (str(sockaddr[0]).partition("%")[0] for _, _, _, _, sockaddr in found)
    addresses = dict.fromkeys(ip for text in texts if (ip := literal(text)) is not None)
    return list(addresses) or socket.gaierror(socket.EAI_NONAME, "there is no address")

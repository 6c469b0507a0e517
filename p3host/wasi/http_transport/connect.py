"""Connections for HTTP: addresses of a name, TCP to the first that answers, TLS."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Sequence

import anyio
from anyio.abc import ByteStream, SocketStream
from anyio.streams.tls import TLSStream

from ...errors import Err
from ..byte_streams import PIECE
from ..http.messages import OUTSIDE_FAILURES, ErrorCode, TlsAlertReceivedPayload, error_code
from ..sockets.addresses import IpAddress
from ..sockets.name_lookup import Lookup
from ..sockets.network import Network
from .patterns import Origin, is_public

ANY_NAME = Network(lookup=["*"])
MAX_ADDRESSES = 8  # of one name, that are tried
HEAD_START = 0.25  # seconds that an address has before the next one is tried too


async def connect(
    origin: Origin, anywhere: bool, tls_context: Callable[[], Awaitable[ssl.SSLContext]], seconds: float | None
) -> ByteStream:
    """Connects to an address of the origin's host within `seconds`; to one that is not of the internet only if it may
    be `anywhere`.

    :raises Err: with an `ErrorCode`
    """
    too_late = "DNS-timeout"
    try:
        with anyio.move_on_after(seconds):
            addresses = await resolve(origin.host)
            if not anywhere:
                addresses = [address for address in addresses if is_public(address)]
            if not addresses:
                raise Err(ErrorCode("destination-IP-prohibited"))
            too_late = "connection-timeout"
            raw = await connect_first(addresses[:MAX_ADDRESSES], origin.port)
            if origin.scheme == "http":
                return raw
            return await secure(raw, origin.host, tls_context)
    except (*OUTSIDE_FAILURES, anyio.EndOfStream) as failure:
        raise failed(failure) from failure
    raise Err(ErrorCode(too_late))


async def resolve(host: str) -> Sequence[IpAddress]:
    """The addresses of a host that a pattern has named."""
    unknown = ErrorCode("DNS-error")
    try:
        lookup = Lookup(ANY_NAME, host)
    except Err as failure:
        raise Err(unknown) from failure
    await lookup.wait()
    return lookup.result({}, unknown)


async def connect_first(addresses: Sequence[IpAddress], port: int) -> SocketStream:
    """Tries the addresses in turn, the next one when one has failed or is slow.

    :raises OSError: all have failed
    """
    winner: SocketStream | None = None
    failures: list[OSError] = []

    async def attempt(address: IpAddress, failed: anyio.Event) -> None:
        nonlocal winner
        try:
            stream = await anyio.connect_tcp(str(address), port)
        except OSError as failure:
            cause = failure.__cause__
            failures.append(cause if isinstance(cause, OSError) else failure)
            failed.set()
            return
        if winner is None:
            winner = stream
            attempts.cancel_scope.cancel()
        else:
            await anyio.aclose_forcefully(stream)

    try:
        async with anyio.create_task_group() as attempts:
            for address in addresses:
                failed = anyio.Event()
                attempts.start_soon(attempt, address, failed)
                with anyio.move_on_after(HEAD_START):
                    await failed.wait()
    except BaseException:
        if winner is not None:
            await anyio.aclose_forcefully(winner)
        raise
    if winner is None:
        raise failures[0]
    return winner


async def secure(raw: SocketStream, host: str, tls_context: Callable[[], Awaitable[ssl.SSLContext]]) -> ByteStream:
    try:
        context = await tls_context()
        return await TLSStream.wrap(OneWriter(raw), hostname=host, ssl_context=context)
    except BaseException:
        await anyio.aclose_forcefully(raw)
        raise


def default_tls_context() -> ssl.SSLContext:
    """Verifies certificates by those that the system trusts."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)  # a body that is cut off must not pass for whole
    return context


class OneWriter(ByteStream):
    """Lets writers wait for each other: TLS may have to write when it reads, while a body is being sent."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.writing = anyio.Lock(fast_acquire=True)

    async def receive(self, max_bytes: int = PIECE) -> bytes:
        return await self.stream.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        async with self.writing:
            await self.stream.send(item)

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def aclose(self) -> None:
        await self.stream.aclose()


def failed(failure: Exception) -> Err:
    """What a guest is told of a connection that has failed."""
    match failure:
        case ssl.SSLCertVerificationError():
            return Err(ErrorCode("TLS-certificate-error"))
        case ssl.SSLError(reason=str(reason)) if "_ALERT_" in reason:
            message = reason.partition("_ALERT_")[2].replace("_", " ").lower()
            return Err(ErrorCode("TLS-alert-received", TlsAlertReceivedPayload(alert_message=message)))
        case ssl.SSLError():
            return Err(ErrorCode("TLS-protocol-error"))
        case anyio.EndOfStream():
            return Err(ErrorCode("connection-terminated"))
        case _:
            return Err(error_code(failure))

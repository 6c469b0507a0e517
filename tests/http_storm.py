"""Clients of an HTTP server, well-behaved ones and others at the same time, on connections of their own. A seed says
what each of them does; in which order they get to it, the machine decides.

The server's guest is that of `asgi_guests`.
"""

from __future__ import annotations

import errno
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from random import Random

import anyio
import h11
from anyio.abc import SocketStream
from http_servers import reset

SECONDS = 60  # that a client has
PIECE = 1 << 14
LOST = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)

LENGTH, CHUNKED = "content-length", "transfer-encoding"
HEAD = b"POST /bounce HTTP/1.1\r\nhost: example.com\r\n"

MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "line ends alone": b"\r\n" * 50,
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "no version": b"GET /count\r\n\r\n",
    "a version of its own": b"GET /count HTTP/7.9\r\nhost: a\r\n\r\n",
    "HTTP/2 that nobody has asked for": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "no host": b"GET /count HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /count HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    "a host that is none": b"GET /count HTTP/1.1\r\nhost: a b@c/d\r\n\r\n",
    "a header without a name": b"GET /count HTTP/1.1\r\nhost: a\r\n: b\r\n\r\n",
    "a header without a colon": b"GET /count HTTP/1.1\r\nhost: a\r\nb\r\n\r\n",
    "a space before the colon": b"GET /count HTTP/1.1\r\nhost: a\r\nb : c\r\n\r\n",
    "a folded header": b"GET /count HTTP/1.1\r\nhost: a\r\nb: c\r\n d\r\n\r\n",
    "NUL in a header": b"GET /count HTTP/1.1\r\nhost: a\r\nb: \0\r\n\r\n",
    "NUL in a name": b"GET /count HTTP/1.1\r\nhost: a\r\nb\0: c\r\n\r\n",
    "control characters in a header": b"GET /count HTTP/1.1\r\nhost: a\r\nb: \x01\x02\x1b\x7f\r\n\r\n",
    "a bare line feed": b"GET /count HTTP/1.1\nhost: a\n\n",
    "a bare carriage return": b"GET /count HTTP/1.1\r\nhost: a\rb: c\r\n\r\n",
    "NUL in the target": b"GET /co\0unt HTTP/1.1\r\nhost: a\r\n\r\n",
    "control characters in the target": b"GET /co\x01\x1bunt HTTP/1.1\r\nhost: a\r\n\r\n",
    "the end of a line in the target": b"GET /count%0d%0aa:%20b HTTP/1.1\r\nhost: a\r\n\r\n",
    "bytes beyond ASCII in the target": b"GET /\xff\xfe\xc3\xa4 HTTP/1.1\r\nhost: a\r\n\r\n",
    "no target": b"GET  HTTP/1.1\r\nhost: a\r\n\r\n",
    "a target that is a URL": b"GET http://elsewhere.example/count HTTP/1.1\r\nhost: a\r\n\r\n",
    "a target that is an authority": b"CONNECT elsewhere.example:443 HTTP/1.1\r\nhost: a\r\n\r\n",
    "a long target": b"GET /" + b"c" * 300_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
    "a long query": b"GET /count?" + b"c" * 40_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
    "a long method": b"G" * 100_000 + b" /count HTTP/1.1\r\nhost: a\r\n\r\n",
    "a long header": b"GET /count HTTP/1.1\r\nhost: a\r\nb: " + b"c" * 300_000 + b"\r\n\r\n",
    "a long name": b"GET /count HTTP/1.1\r\nhost: a\r\n" + b"b" * 300_000 + b": c\r\n\r\n",
    "many headers": b"GET /count HTTP/1.1\r\nhost: a\r\n" + b"b: c\r\n" * 3000 + b"\r\n",
    "very many headers": b"GET /count HTTP/1.1\r\nhost: a\r\n" + b"b: c\r\n" * 100_000 + b"\r\n",
    "headers that never end": b"GET /count HTTP/1.1\r\nhost: a\r\n" + b"b: c\r\n" * 100,
    "a length that is none": HEAD + b"content-length: x\r\n\r\nabc",
    "a negative length": HEAD + b"content-length: -1\r\n\r\nabc",
    "a length with a sign": HEAD + b"content-length: +3\r\n\r\nabc",
    "a huge length": HEAD + b"content-length: " + b"9" * 40 + b"\r\n\r\nabc",
    "a length with many digits": HEAD + b"content-length: " + b"0" * 5000 + b"3\r\n\r\nabc",
    "two lengths": HEAD + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    "two lengths in one": HEAD + b"content-length: 3, 4\r\n\r\nabcd",
    "a length twice": HEAD + b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc",
    "a length and chunks": HEAD + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and a length": HEAD + b"transfer-encoding: chunked\r\ncontent-length: 30\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "an unknown coding": HEAD + b"transfer-encoding: gzip\r\n\r\nabc",
    "two codings": HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, then another": HEAD + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked with a tab": HEAD + b"transfer-encoding:\tchunked\r\n\r\n0\r\n\r\n",
    "chunked with a vertical tab": HEAD + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"POST /bounce HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "fewer bytes than announced": HEAD + b"content-length: 10\r\n\r\nabc",
    "more bytes than announced": HEAD + b"content-length: 3\r\n\r\nabcdef",
    "a chunk's size that is none": HEAD + b"transfer-encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n",
    "a chunk's size with a sign": HEAD + b"transfer-encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
    "a chunk's size in another notation": HEAD + b"transfer-encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
    "a huge chunk": HEAD + b"transfer-encoding: chunked\r\n\r\nffffffffffffffffffff\r\nabc",
    "a chunk that goes on": HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
    "a chunk that ends early": HEAD + b"transfer-encoding: chunked\r\n\r\n30\r\nabc\r\n0\r\n\r\n",
    "a chunk with an extension": HEAD + b"transfer-encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n",
    "a chunk with a long extension": HEAD + b"transfer-encoding: chunked\r\n\r\n3;" + b"a" * 300_000 + b"\r\nabc",
    "many small chunks": HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 3000 + b"0\r\n\r\n",
    "chunks without an end": HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "many trailers": HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"b: c\r\n" * 50_000 + b"\r\n",
    "trailers that are none": HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\nb\0\r\n\r\n",
    "another request in the body": HEAD + b"content-length: 3\r\n\r\nabcGET /trap HTTP/9\r\n\r\n",
    "many requests at once": b"GET /count HTTP/1.1\r\nhost: a\r\n\r\n" * 30,
    "requests without a body that announce one": (HEAD + b"expect: 100-continue\r\ncontent-length: 5\r\n\r\n"),
    "an expectation that is none": HEAD + b"expect: the worst\r\ncontent-length: 3\r\n\r\nabc",
    "an upgrade": b"GET /count HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    "an upgrade to HTTP/2": b"GET /count HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n"
    b"http2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
}

FAILING = {"/trap": 500, "/error": 500, "/wait": 504, "/informational": 500}
BREAKING = ("/open", "/late", "/fewer", "/more")


class Storm:
    """`faults` are the paths of requests that the guest fails to answer well. While it traps, other requests of its
    instance may be lost too, unless `alone` says that it has one at a time; and so may one that took `request_seconds`.
    `seen` counts what became of requests."""

    def __init__(
        self,
        port: int,
        seed: int = 0,
        *,
        faults: tuple[str, ...] = (),
        alone: bool = True,
        request_seconds: float = math.inf,
    ) -> None:
        self.port = port
        self.seed = seed
        self.faults = faults
        self.request_seconds = request_seconds
        self.instance_may_trap = bool({"/trap", "/late"} & {*faults}) and not alone
        self.seen: Counter[str] = Counter()

    async def run(self, count: int, at_once: int = 32, first: int = 0) -> None:
        """Has `count` clients, at most `at_once` at the same time, and waits until all have ended."""
        room = anyio.Semaphore(at_once)

        async def client(number: int) -> None:
            async with room:
                random = Random(f"{self.seed} {number}")
                kinds: list[Callable[[Random], Awaitable[None]]] = [self.behave, self.leave, self.talk_nonsense]
                if self.faults:
                    kinds.append(self.meet_a_fault)
                kind = random.choice(kinds)
                try:
                    with anyio.fail_after(SECONDS):
                        await kind(random)
                except Exception as failure:
                    failure.add_note(f"in client {number} of the storm {self.seed}, {kind.__name__}")
                    raise

        async with anyio.create_task_group() as clients:
            for number in range(first, first + count):
                clients.start_soon(client, number)

    async def connect(self) -> SocketStream:
        while True:
            try:
                return await anyio.connect_tcp("127.0.0.1", self.port)
            except OSError as failure:
                if failure.errno != errno.ECONNREFUSED:  # the backlog overflows
                    raise

    # Who behaves well

    async def behave(self, random: Random) -> None:
        async with await self.connect() as stream:
            for _ in range(random.randint(1, 3)):
                started = anyio.current_time()
                try:
                    if not await self.ask(stream, random):
                        return
                except h11.RemoteProtocolError:
                    self.check_lost(started)
                    return

    async def ask(self, stream: SocketStream, random: Random) -> bool:
        """One request. Returns whether the connection is good for another."""
        protocol = h11.Connection(h11.CLIENT)
        method, path, body = random.choice(
            [("GET", "/count", False), ("HEAD", "/count", False), ("POST", "/bounce", True)]
        )
        content = random.randbytes(random.choice([0, 1, 1000, 100_000])) if body else b""
        started = anyio.current_time()
        response, received = await exchange(stream, protocol, method, path, content, random)
        if response.status_code in (500, 504):
            self.check_lost(started)
        elif body:
            assert (response.status_code, received) == (200, content)
            self.seen["right"] += 1
        else:
            assert 200 <= response.status_code < 300, response.status_code
            assert received == b""
            self.seen["right"] += 1
        return protocol.our_state is h11.DONE and protocol.their_state is h11.DONE

    def check_lost(self, started: float) -> None:
        """A request that was sent then has had no answer, or an error."""
        assert self.instance_may_trap or anyio.current_time() - started >= self.request_seconds
        self.seen["lost"] += 1

    # Who leaves

    async def leave(self, random: Random) -> None:
        stream = await self.connect()
        message = request_bytes(random, "/bounce", random.randbytes(random.choice([0, 10, 50_000])))
        head = message.index(b"\r\n\r\n") + 4
        cut = random.choice([0, random.randint(1, head - 1), head, random.randint(head, len(message)), len(message)])
        way = random.choice([self.reset, self.close, self.half_close, self.stall])
        try:
            await stream.send(message[:cut])
            if cut == len(message):
                for _ in range(random.randint(0, 4)):  # of the response
                    await stream.receive(random.choice([1, 30, 10_000]))
        except LOST:
            pass  # the server was faster
        stage = (
            "nothing" if not cut else "in the head" if cut < head else "in the body" if cut < len(message) else "after"
        )
        self.seen[f"{way.__name__} {stage}"] += 1
        await way(stream, random)

    async def reset(self, stream: SocketStream, random: Random) -> None:
        await reset(stream)

    async def close(self, stream: SocketStream, random: Random) -> None:
        await stream.aclose()

    async def half_close(self, stream: SocketStream, random: Random) -> None:
        await read_to_the_end(stream)

    async def stall(self, stream: SocketStream, random: Random) -> None:
        await anyio.sleep(random.random() / 5)
        await reset(stream)

    # Who talks nonsense

    async def talk_nonsense(self, random: Random) -> None:
        name = random.choice([*MALFORMED])
        answer = await self.say(MALFORMED[name], random.choice([1 << 20, 1 << 20, 1000, 7]))
        self.seen["refused" if answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")) else "taken"] += 1

    async def say(self, message: bytes, piece: int = 1 << 20) -> bytes:
        """Sends what may be no request, as it is, and returns what comes until the connection ends."""
        stream = await self.connect()
        try:
            pieces = [message[start : start + piece] for start in range(0, len(message), piece)]
            for each in pieces[:50]:
                await stream.send(each)
            await stream.send(b"".join(pieces[50:]))
        except LOST:
            pass
        return await read_to_the_end(stream)

    async def say_all(self, messages: Sequence[bytes]) -> Sequence[bytes]:
        """What `say` returns for each of several messages, all at the same time."""
        answers: dict[int, bytes] = {}

        async def say(number: int) -> None:
            with anyio.fail_after(SECONDS):
                answers[number] = await self.say(messages[number])

        async with anyio.create_task_group() as clients:
            for number in range(len(messages)):
                clients.start_soon(say, number)
        return list(answers.values())

    # Whose request the guest does not answer well

    async def meet_a_fault(self, random: Random) -> None:
        path = random.choice(self.faults)
        started = anyio.current_time()
        protocol = h11.Connection(h11.CLIENT)
        async with await self.connect() as stream:
            try:
                response, _ = await exchange(stream, protocol, "POST", path, b"a body", random)
            except h11.RemoteProtocolError:
                if path not in BREAKING:
                    self.check_lost(started)
                self.seen["broken"] += 1
                return
        if response.status_code != FAILING.get(path):
            assert response.status_code in (500, 504)
            self.check_lost(started)
        self.seen["failed"] += 1


def request_bytes(random: Random, path: str, body: bytes, method: str = "POST") -> bytes:
    framing = random.choice([LENGTH, CHUNKED]) if body else LENGTH
    head = f"{method} {path} HTTP/1.1\r\nhost: example.com\r\n"
    if framing == LENGTH:
        return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    pieces = [body[start : start + PIECE] for start in range(0, len(body), PIECE)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return f"{head}transfer-encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n\r\n"


async def exchange(
    stream: SocketStream, protocol: h11.Connection, method: str, path: str, body: bytes, random: Random
) -> tuple[h11.Response, bytes]:
    """A whole request and a whole response.

    :raises h11.RemoteProtocolError: the response is malformed or does not come whole
    """
    headers = [("host", "example.com")]
    if body or method == "POST":
        headers.append((LENGTH, str(len(body))) if random.random() < 0.5 else (CHUNKED, "chunked"))
    response: h11.Response | None = None
    received = b""

    async def send() -> None:
        try:
            await stream.send(protocol.send(h11.Request(method=method, target=path, headers=headers)) or b"")
            for start in range(0, len(body), PIECE):
                await stream.send(protocol.send(h11.Data(body[start : start + PIECE])) or b"")
            await stream.send(protocol.send(h11.EndOfMessage()) or b"")
        except LOST:
            pass  # there may be a response all the same

    async with anyio.create_task_group() as sending:
        sending.start_soon(send)
        failure: h11.RemoteProtocolError | None = None
        while True:
            try:
                event = protocol.next_event()
            except h11.RemoteProtocolError as error:
                failure = error
                break
            if event is h11.NEED_DATA:
                try:
                    protocol.receive_data(await stream.receive())
                except LOST:
                    protocol.receive_data(b"")
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                received += event.data
            else:
                break
        sending.cancel_scope.cancel()
    if failure is None and response is None:
        failure = h11.RemoteProtocolError("there was no response")
    if failure is not None:
        raise failure
    assert response is not None
    return response, received


async def read_to_the_end(stream: SocketStream) -> bytes:
    """Sends no more, and reads until the server ends the connection."""
    received = b""
    async with stream:
        try:
            await stream.send_eof()
            while True:
                received += await stream.receive()
        except (*LOST, OSError):
            return received

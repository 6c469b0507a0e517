"""Whatever a guest makes of a request, it is refused or one well-formed request goes over the wire, and it is told."""

from __future__ import annotations

import random
from typing import Any

import anyio
import h11
import pytest
from http_fakes import Err, Fields, GuestStream, guest_request, resolved
from http_servers import ServedConnection, loopback, serving

from p3host.wasi.http.heads import Case
from p3host.wasi.p3.http import Client, Request

pytestmark = pytest.mark.anyio

REQUESTS = 100  # of each seed
PARTS = list("aB1:/?#%@[];,=* \t\r\n\0\x0b\x7f\x80\x85é\u2028")
PARTS += ["%0d%0a", "http://x/", "GET", "content-length", "\r\n", " HTTP/1.1\r\n\r\n", "\r\nhost: x\r\n"]
NAMES = ["content-length", "Content-Length", "te", "expect", "trailer", "x"]
VALUES = [b"3", b"0", b" 3 ", b"3, 3", b"+3", b"100-continue", b"trailers"]


class Guest:
    """Makes requests of what it should and should not."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def text(self) -> str:
        return "".join(self.random.choices(PARTS, k=self.random.randrange(6)))

    def fields(self) -> Fields:
        fields = Fields()
        for _ in range(self.random.randrange(4)):
            name = self.random.choice([self.text(), *NAMES])
            self.attempt(fields.append, name, self.random.choice([self.text().encode(), *VALUES]))
        return fields

    def request(self, authority: str) -> tuple[Request, Any]:
        contents = self.random.choice([None, GuestStream([]), GuestStream([b"abc"]), GuestStream([b"a", b"bc"])])
        trailers = resolved(self.random.choice([None, self.fields()]))
        request, sent = guest_request(contents=contents, trailers=trailers)
        request.headers = self.fields().frozen()
        self.attempt(request.set_method, Case("other", self.random.choice([self.text(), "GET", "POST", "HEAD", "get"])))
        self.attempt(request.set_path_with_query, self.random.choice(["/", "?"]) + self.text())
        self.attempt(request.set_authority, self.text())
        request.set_authority(authority)
        return request, sent

    def attempt(self, function: Any, *arguments: Any) -> None:
        try:
            function(*arguments)
        except Err:
            pass


async def read_strictly(connection: ServedConnection) -> None:
    """Takes one request, and nothing that is another's."""
    head = await connection.read_until(b"\r\n\r\n")
    protocol = h11.Connection(h11.SERVER)
    protocol.receive_data(head)
    request = protocol.next_event()
    assert isinstance(request, h11.Request)
    request_line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert request_line.count(b" ") == 2
    assert not {*b"\r\n\0"} & {*request_line, *b"".join(lines)}
    headers = dict(request.headers)
    assert len({*headers} & {b"content-length", b"transfer-encoding"}) <= 1
    assert headers[b"host"] == connection.server.authority.encode()
    await connection.read_exactly(int(headers.get(b"content-length", b"0")))
    if b"transfer-encoding" in headers:
        while (line := await connection.read_until(b"\r\n")) != b"0\r\n":
            await connection.read_exactly(int(line, 16) + 2)
        while (line := await connection.read_until(b"\r\n")) != b"\r\n":
            name, _, _ = line.partition(b":")
            assert name.lower() not in (b"content-length", b"transfer-encoding", b"host", b"te", b"trailer")
    assert connection.data == b""


@pytest.mark.parametrize("seed", range(5))
async def test_what_a_guest_makes_of_a_request_is_one_request_or_none(seed: int) -> None:
    answered = refused = 0

    async def script(connection: ServedConnection) -> None:
        while True:
            await read_strictly(connection)
            await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    http = loopback()
    guest = Guest(seed)
    async with serving(script) as server:
        for _ in range(REQUESTS):
            request, sent = guest.request(server.authority)
            with anyio.fail_after(20):
                try:
                    response = await Client(http).send(request)
                    await response.body.aclose()
                    answered += 1
                except Err:
                    refused += 1
                try:
                    await sent
                except Err:
                    pass
        await http.aclose()
    assert answered > REQUESTS / 10
    assert refused > REQUESTS / 10

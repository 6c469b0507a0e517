"""HTTP peers for guests, without a network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

from ..errors import Err
from ..wasi.http import ErrorCode, HttpRequest, HttpResponse

Answer: TypeAlias = "HttpResponse | bytes | str | int | BaseException"
"""A response, its body, its status, or what is raised in its place."""
Peer: TypeAlias = "Answer | Callable[[HttpRequest], Answer | Awaitable[Answer]]"
"""What stands behind an address: an answer, or a function that gives one, such as `double` makes."""


class HttpPeers:
    """What a guest's HTTP requests reach:

    HttpPeers({"https://api.test/items": b"[]", "POST https://api.test/*": 201})

    An address is a URL, after a method if it is for that alone; a `*` at its end stands for anything. The first one
    that fits a request answers it. A function is given the request before its body is read; for any other answer the
    body is read first. An authority that no address names can't be found (`DNS-error`); other paths of one that is
    named have the status 404.

    `requests` has all requests, in order; where the peer is no function, with the whole body as bytes.
    """

    def __init__(self, peers: Mapping[str, Peer]) -> None:
        self.peers = {split(address): peer for address, peer in peers.items()}
        self.requests: list[HttpRequest] = []

    async def send(self, request: HttpRequest) -> HttpResponse:
        url = f"{request.scheme}://{request.authority}{request.path_with_query or ''}"
        peer = next((peer for address, peer in self.peers.items() if fits(address, request.method, url)), None)
        if peer is None and not self.knows(f"{request.scheme}://{request.authority}"):
            self.requests.append(request)
            raise Err(ErrorCode("DNS-error"))
        if callable(peer):
            self.requests.append(request)
            answer = peer(request)
            return response_of(await answer if isinstance(answer, Awaitable) else answer)
        self.requests.append(replace(request, body=await request.read(), trailers=await request.read_trailers()))
        return response_of(404 if peer is None else peer)

    def knows(self, origin: str) -> bool:
        return any(url == origin or url.startswith((f"{origin}/", f"{origin}*")) for _, url in self.peers)


def split(address: str) -> tuple[str | None, str]:
    """The method, if any, and the URL.

    :raises ValueError: if it is no such address.
    """
    method, _, url = address.rpartition(" ")
    if "://" not in url:
        raise ValueError(f"{address!r}: give a URL, or a method and a URL, such as 'GET https://api.test/items'")
    return method or None, url


def fits(address: tuple[str | None, str], method: str, url: str) -> bool:
    wanted_method, wanted = address
    if wanted_method not in (None, method):
        return False
    return url.startswith(wanted[:-1]) if wanted.endswith("*") else url == wanted


def response_of(answer: Answer) -> HttpResponse:
    match answer:
        case HttpResponse():
            return answer
        case bytes():
            return HttpResponse(body=answer)
        case str():
            return HttpResponse(body=answer.encode())
        case int():
            return HttpResponse(answer)
        case BaseException():
            raise answer
    raise TypeError(f"a peer answers with a response, bytes, text, a status or an exception, not {answer!r}")

"""The grant of HTTP."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from anyio.lowlevel import RunVar

if TYPE_CHECKING:
    import ssl

    from ..http.messages import HttpRequest, HttpResponse
    from .pool import HttpTransport


class Http:
    """Grants HTTP requests to the servers that a pattern of `origins` names, and sends them:

        Wasi(http=Http(["https://api.example.com", "http://localhost:*"]))

    A pattern is `[SCHEME://]HOST[:PORT]`, or `*` for every server. SCHEME is `http` or `https`, both where it is left
    out. HOST is a name or an address as the guest writes it, `*.example.com` for all names beneath `example.com`, or
    `*`. PORT is a number or `*`, and the scheme's own where it is left out. Each request is checked; one to elsewhere
    fails with `HTTP-request-denied`. Redirects are the guest's to follow, as requests of their own.

    Addresses that are not of the internet (this machine's, private networks') are reached only under a HOST that is
    written out, so that neither `*` nor whoever answers for a name can lead a guest into the host's own network; others
    fail with `destination-IP-prohibited`. `private_addresses=True` allows them for all patterns.

    Certificates are verified by those that the system trusts, unless an `ssl_context` says otherwise (which should not
    have `OP_IGNORE_UNEXPECTED_EOF`: a response without a length that is cut off would pass for whole). At most
    `max_connections` are open at once (`connection-limit-reached`). One that is not used any more is kept for half a
    minute, for the next request to the same server, by whichever guest; `aclose` closes these at once. Bodies of
    requests and responses that have more than `max_body_bytes` fail (`HTTP-request-body-size`,
    `HTTP-response-body-size`); they may be of any size unless it is given, as no more of them is kept than is on its
    way.

    :raises LinkError: naming each pattern that is none
    :raises TypeError: a string in place of a sequence of strings
    :raises ImportError: h11 is not installed
    """

    def __init__(
        self,
        origins: Sequence[str],
        *,
        private_addresses: bool = False,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int = 256,
        max_body_bytes: int | None = None,
    ) -> None:
        if isinstance(origins, str):
            raise TypeError(f"origins must be a sequence of strings, not the one string {origins!r}")
        if find_spec("h11") is None:
            raise ImportError("HTTP needs h11: pip install 'p3host[http]'")
        from .patterns import parse_patterns  # most programs grant no HTTP

        self.patterns = parse_patterns(origins)
        self.private_addresses = private_addresses
        self.ssl_context = ssl_context
        self.max_connections = max_connections
        self.max_body_bytes = math.inf if max_body_bytes is None else max_body_bytes
        self.transport: RunVar[HttpTransport] = RunVar("the HTTP connections of p3host")

    async def send(self, request: HttpRequest) -> HttpResponse:
        """As `HttpClient.send`."""
        return await self.transport_of_loop().send(request)

    async def aclose(self) -> None:
        """Closes the connections of this event loop that wait for another request. There may be new ones afterwards."""
        transport = self.transport.get(None)
        if transport is not None:
            await transport.close_idle()

    def transport_of_loop(self) -> HttpTransport:
        transport = self.transport.get(None)
        if transport is None:
            from .pool import HttpTransport

            transport = HttpTransport(self)
            self.transport.set(transport)
        return transport

    async def tls_context(self) -> ssl.SSLContext:
        if self.ssl_context is None:
            from ..filesystem.handles import in_thread
            from .connect import default_tls_context

            self.ssl_context = await in_thread(default_tls_context)  # it reads files
        return self.ssl_context

"""A certificate for a server on this machine, and clients that trust it."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


class Certificate:
    """`chain` and `key` are files in a folder, `both` has both in one; `authority` is that of whoever issued it."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        issued = self.authority.issue_cert("localhost", "127.0.0.1", "::1")
        self.authority_file = folder / "authority.pem"
        self.chain, self.key, self.both = folder / "chain.pem", folder / "key.pem", folder / "both.pem"
        self.authority.cert_pem.write_to_path(str(self.authority_file))
        self.chain.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(self.key))
        issued.private_key_and_cert_chain_pem.write_to_path(str(self.both))

    @property
    def options(self) -> list[str]:
        return ["--tls-cert", str(self.chain), "--tls-key", str(self.key)]

    def trusting(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

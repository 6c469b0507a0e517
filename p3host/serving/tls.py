"""The certificate by which a server is known."""

from __future__ import annotations

import ssl

HTTP1, HTTP2 = "http/1.1", "h2"


class BadCertificate(Exception):
    """There is no serving with these files; the message says why."""


def server_context(certificate: str, key: str | None, *, http2: bool) -> ssl.SSLContext:
    """For servers with the chain of certificates in the file `certificate`, the server's own first, and its key in the
    file `key`, or in the same one. Both are in PEM form.

    :raises BadCertificate: they can't be used
    """
    check(certificate, "CERTIFICATE-----", "certificate")
    check(key or certificate, "PRIVATE KEY-----", "private key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION  # HTTP/2 demands both
    context.set_alpn_protocols([HTTP2, HTTP1] if http2 else [HTTP1])
    try:
        context.load_cert_chain(certificate, key, password=refuse_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise BadCertificate(f"the key in {key or certificate} is not that of {certificate}") from error
        raise BadCertificate(f"{certificate} or its key is damaged: {error.reason or error}") from error
    except NeedsPassword:
        raise BadCertificate(
            f"the key in {key or certificate} is encrypted, and there is no way to decrypt it"
        ) from None
    return context


def check(path: str, mark: str, content: str) -> None:
    try:
        with open(path, encoding="latin-1") as file:
            if mark not in file.read():
                raise BadCertificate(f"{path} has no {content} in PEM form")
    except OSError as error:
        raise BadCertificate(f"can't read {path}: {error.strerror or error}") from error


class NeedsPassword(Exception):
    pass


def refuse_password() -> str:
    raise NeedsPassword

"""`p3host serve --tls-cert`, over real connections on the loopback interface."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from asgi_guests import ANSWERS
from serve_certificates import Certificate
from serve_process import C_HTTP, SECONDS, serving

from p3host.serving.tls import server_context

SERVERS = {
    "uvicorn": [],
    "hypercorn-asyncio": ["--http2"],
    "hypercorn-trio": ["--backend", "trio"],
    "hypercorn-trio-http2": ["--backend", "trio", "--http2"],
    "uvicorn-workers": ["--workers", "2"],
    "hypercorn-asyncio-workers": ["--http2", "--workers", "2"],
    "hypercorn-trio-workers": ["--backend", "trio", "--workers", "2"],
}
parametrize_servers = pytest.mark.parametrize("options", SERVERS.values(), ids=SERVERS)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("certificate"))


@parametrize_servers
def test_requests_are_answered_by_https(options: list[str], certificate: Certificate) -> None:
    with serving(*certificate.options, *options) as server:
        assert server.url.startswith("https://127.0.0.1:")
        with httpx.Client(base_url=server.url, verify=certificate.trusting(), http2=True) as client:
            body = bytes(range(256)).replace(b"a", b"A") * 2000
            answers = [client.post("/echo", content=body) for _ in range(3)]
        assert [answer.content for answer in answers] == [body.upper()] * 3
        assert {answer.http_version for answer in answers} == {"HTTP/2" if "--http2" in options else "HTTP/1.1"}
        assert [server.line().partition(" B ")[0] for _ in answers] == [f"POST /echo 200 {len(body)}"] * 3
        assert server.stop() == 0
        assert server.line() == ""


@pytest.mark.parametrize("options", [["--http2"], ["--backend", "trio", "--http2"]], ids=["asyncio", "trio"])
def test_clients_that_speak_no_http2_are_answered_too(options: list[str], certificate: Certificate) -> None:
    with serving(*certificate.options, *options) as server:
        answer = httpx.post(f"{server.url}/echo", content=b"old", verify=certificate.trusting())
        assert (answer.http_version, answer.content) == ("HTTP/1.1", b"OLD")


@pytest.mark.parametrize("options", [[], ["--http2"], ["--backend", "trio"]], ids=["uvicorn", "asyncio", "trio"])
def test_who_does_not_speak_tls_is_turned_away_quietly(options: list[str], certificate: Certificate) -> None:
    with serving(*certificate.options, *options) as server:
        host, _, port = server.url.removeprefix("https://").rpartition(":")
        with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
            try:
                assert not connection.recv(100).startswith(b"HTTP")
            except ConnectionResetError:
                pass
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(server.url)
        assert httpx.post(server.url, content=b"still", verify=certificate.trusting()).content == b"STILL"
        assert server.line().startswith("POST / 200")
        assert server.stop() == 0
        assert server.line() == ""


@pytest.mark.parametrize("options", [[], ["--http2"], ["--backend", "trio"]], ids=["uvicorn", "asyncio", "trio"])
def test_the_guest_sees_the_scheme(options: list[str], certificate: Certificate, tmp_path: Path) -> None:
    component = tmp_path / "answers.wat"
    component.write_text(ANSWERS)
    for tls, status in ([], 200), (certificate.options, 201):
        with serving(*tls, *options, component=component) as server:
            assert httpx.get(f"{server.url}/protocol", verify=certificate.trusting()).status_code == status


def test_curl_speaks_http2_where_both_do(certificate: Certificate) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    with serving(*certificate.options, "--http2") as server:
        command = [
            "curl",
            "-sS",
            "--cacert",
            certificate.authority_file,
            "-w",
            "%{http_version}",
            "-d",
            "x",
            server.url,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        assert (done.returncode, done.stdout, done.stderr) == (0, "X2", "")


def test_the_key_may_be_in_the_file_of_the_certificate(certificate: Certificate) -> None:
    with serving("--tls-cert", str(certificate.both)) as server:
        assert httpx.post(server.url, content=b"x", verify=certificate.trusting()).content == b"X"


def test_old_versions_and_compression_are_off(certificate: Certificate) -> None:
    context = server_context(str(certificate.chain), str(certificate.key), http2=True)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_COMPRESSION


def test_mistakes_are_told(certificate: Certificate, tmp_path: Path) -> None:
    other = Certificate(tmp_path)
    chain, key = str(certificate.chain), str(certificate.key)
    junk, damaged, encrypted = (tmp_path / f"{name}.pem" for name in ("junk", "damaged", "encrypted"))
    junk.write_text("junk")
    damaged.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    encrypted.write_text(ENCRYPTED_KEY)
    for options, message in [
        (["--tls-cert", str(tmp_path / "nowhere.pem")], "can't read "),
        (["--tls-cert", str(tmp_path)], "Is a directory"),
        (["--tls-cert", chain], f"{chain} has no private key in PEM form"),
        (["--tls-key", key], "--tls-key needs a certificate too"),
        (["--tls-cert", chain, "--tls-key", str(other.key)], f"the key in {other.key} is not that of {chain}"),
        (["--tls-cert", str(junk), "--tls-key", key], f"{junk} has no certificate in PEM form"),
        (["--tls-cert", str(damaged), "--tls-key", key], f"{damaged} or its key is damaged"),
        (["--tls-cert", chain, "--tls-key", str(encrypted)], f"the key in {encrypted} is encrypted"),
    ]:
        command = [sys.executable, "-m", "p3host", "serve", "--addr", "127.0.0.1:0", *options, str(C_HTTP)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert "Traceback" not in done.stderr


ENCRYPTED_KEY = """-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAi6SNl+0AjmqwICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEECE+8RqFn2ALG6++2bEqsBYEgZDj
44Oy0XPSN2zwddzQRACk1UV/b8DjZdFOZyQizlOpROSPPtu+u04eElv4KA06wQ6l
rFN0+geDWCN+HwYDyVkgp5P5hLyuyBPQReDiVUh0hBMOKPpVzVVHIIk9TenFRryY
R7nseUkV9N7VVb8yxN1vMz0B+Jmvi0628jpCxNDQGKaKsz+GyO1CO5Ql0sDvh30=
-----END ENCRYPTED PRIVATE KEY-----
"""

"""A browser's view of the guest c-site, as `p3host serve` serves it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, missing_programs, started_browser
from serve_certificates import Certificate
from serve_process import Server, serving

pytestmark = pytest.mark.skipif(
    bool(missing_programs()), reason=f"needs {' and '.join(missing_programs())} (Debian's chromium and chromium-driver)"
)

C_SITE = Path(__file__).resolve().parents[2] / "guests/c-site/c-site.wasm"
TLS = "tls"
SERVERS = {
    "uvicorn": ([], "http/1.1"),
    "uvicorn-tls": ([TLS], "http/1.1"),
    "hypercorn-trio": (["--backend", "trio"], "http/1.1"),
    "hypercorn-asyncio-http2": ([TLS, "--http2"], "h2"),
    "hypercorn-trio-http2": ([TLS, "--http2", "--backend", "trio"], "h2"),
}

FETCH_TOGETHER = """
    const names = ["", "style.css", "script.js", "logo.svg"];
    const answers = await Promise.all(Array.from({length: 40}, async (_, i) => {
        const answer = await fetch(`${names[i % 4]}?${i}`, {cache: "no-store"});
        return [answer.status, Number(answer.headers.get("content-length")), (await answer.arrayBuffer()).byteLength];
    }));
    return answers.map(([status, told, sent]) => [status, told === sent && sent > 0]);
"""
READ_PIECES = """
    const reader = (await fetch("ticks")).body.getReader();
    const pieces = [];
    while (pieces.length < 3) pieces.push(new TextDecoder().decode((await reader.read()).value));
    await reader.cancel();
    return pieces;
"""
ECHO = """
    const sent = crypto.getRandomValues(new Uint8Array(65536));
    const answer = await fetch("echo", {method: "POST", body: new Blob(Array(48).fill(sent))});
    const received = new Uint8Array(await answer.arrayBuffer());
    return [received.length, received.every((byte, i) => byte === sent[i % sent.length])];
"""
SUM = """
    const answer = await fetch("sum", {method: "POST", body: JSON.stringify(given[0])});
    return [answer.status, answer.headers.get("content-type"), await answer.json()];
"""
PROTOCOLS = """
    const entries = performance.getEntries().filter((entry) => entry.nextHopProtocol);
    return [...new Set(entries.map((entry) => entry.nextHopProtocol))];
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with started_browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(params=SERVERS)
def served(browser: Browser, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, str]]:
    """A server, and the protocol that the browser has to speak with it."""
    options, protocol = SERVERS[request.param]
    tls = Certificate(tmp_path).options if TLS in options else []
    with serving(*tls, *(option for option in options if option != TLS), component=C_SITE) as server:
        yield server, protocol
        browser.open("about:blank")  # what the page was reading has to end before the server
        browser.console()


def test_a_browser_shows_the_page_and_runs_its_script(browser: Browser, served: tuple[Server, str]) -> None:
    server, protocol = served
    browser.open(f"{server.url}/")
    browser.until(lambda: browser.text("ticks").startswith("tick "))
    browser.until(lambda: browser.text("sum") == "10")
    browser.until(lambda: browser.text("echo").startswith("200000 bytes came back in "))
    seen = browser.text("ticks")
    browser.until(lambda: browser.text("ticks") != seen)
    assert browser.run("return getComputedStyle(document.querySelector('dl')).borderRadius") == "8px"
    assert browser.run("return document.images[0].naturalWidth") > 0
    browser.click("stop")
    browser.until(lambda: browser.text("ticks").endswith(", then it was stopped"))
    assert browser.run(PROTOCOLS) == [protocol]
    assert browser.console() == []
    lines = [server.line()]
    while not lines[-1].startswith("GET /ticks 200 "):
        lines.append(server.line())
    assert lines[-1].endswith(" aborted")
    assert {"GET / 200", "POST /sum 200", "POST /echo 200"} <= {" ".join(line.split()[:3]) for line in lines}


def test_a_browser_streams_and_asks_for_many_things_at_once(browser: Browser, served: tuple[Server, str]) -> None:
    server, _ = served
    browser.open(f"{server.url}/")
    assert browser.run(FETCH_TOGETHER) == [[200, True]] * 40
    pieces = browser.run(READ_PIECES)  # of a response that does not end
    assert "".join(pieces).startswith("tick 1\ntick 2\ntick 3\n")
    assert browser.run(ECHO) == [48 * 65536, True]
    assert browser.run(SUM, [40, 2]) == [200, "application/json", {"count": 2, "sum": 42}]
    assert browser.console() == []
    assert browser.run(SUM, ["forty"]) == [400, "application/json", {"error": "no list of whole numbers"}]

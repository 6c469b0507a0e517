"""A browser without a window, driven by the WebDriver protocol."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any

import httpx

SECONDS = 60
CHROMIUM, DRIVER = "chromium", "chromedriver"
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-features=BackForwardCache",  # which goes on with what a page that was left was reading
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
)


def missing_programs() -> list[str]:
    return [program for program in (CHROMIUM, DRIVER) if shutil.which(program) is None]


class Browser:
    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def ask(self, path: str, **parameters: Any) -> Any:
        answer = self.client.post(path, json=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["value"]

    def open(self, url: str) -> None:
        self.ask("url", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of an async function with this body in the page."""
        body = f"return (async (...given) => {{ {script} }})(...arguments)"
        return self.ask("execute/sync", script=body, args=arguments)

    def text(self, element: str) -> str:
        """What the element with this id shows."""
        return str(self.run("return document.getElementById(given[0]).value", element))

    def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            sleep(0.05)

    def console(self) -> list[str]:
        """What it has complained about since it was asked last."""
        return [entry["message"] for entry in self.ask("se/log", type="browser")]

    def click(self, element: str) -> None:
        self.run("document.getElementById(given[0]).click()", element)


@contextmanager
def started_browser(folder: Path) -> Iterator[Browser]:
    """A browser of its own, whose profile is in `folder`; it takes any certificate."""
    driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        assert driver.stdout is not None
        started = next(line for line in driver.stdout if " successfully on port " in line)
        port = started.rpartition(" ")[2].strip(".\n")
        chrome = {"args": [*OPTIONS, f"--user-data-dir={folder}"], "binary": shutil.which(CHROMIUM)}
        wanted = {
            "acceptInsecureCerts": True,
            "goog:chromeOptions": chrome,
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"script": SECONDS * 1000},
        }
        url = f"http://127.0.0.1:{port}/session"
        with httpx.Client(timeout=SECONDS) as client:
            answer = client.post(url, json={"capabilities": {"alwaysMatch": wanted}})
            assert answer.status_code == 200, answer.text
            client.base_url = f"{url}/{answer.json()['value']['sessionId']}/"
            try:
                yield Browser(client)
            finally:
                client.delete("")
    finally:
        driver.terminate()
        driver.wait(SECONDS)
        assert driver.stdout is not None
        driver.stdout.close()

"""The server's page in a real browser."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    program = next(found, None)
    if program is None:
        missing = "no Chromium is installed: apt-get install chromium"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    # Chromium's sandbox refuses to work for root, which is who runs tests in a container.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of `xtalk serve` with the embedded default, ready, on a free port."""
    command = [sys.executable, "-m", "xtalk.cli", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield address_when_ready(process)
        finally:
            process.terminate()


def address_when_ready(process: subprocess.Popen[str]) -> str:
    """The address that the server's log names, once it says that the models are built."""
    log = ""
    assert process.stderr is not None
    for line in process.stderr:
        log += line
        if "ready:" in line and (address := re.search(r"http://[\d.]+:\d+", log)):
            return address[0]
    pytest.fail(f"the server ended before it was ready:\n{log}")


def test_the_page_says_what_is_running(browser: Browser, server: str) -> None:
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    answer = page.goto(server)
    assert answer is not None and answer.ok
    shown = page.inner_text("body")
    for model in ("SileroVAD", "PocketSphinx", "RuleAgent", "Espeak"):
        assert model in shown
    assert errors == []

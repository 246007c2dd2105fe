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
    program = shutil.which("chromium") or shutil.which("chromium-browser")
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
    """The address of `xtalk serve` with the embedded default, on a free port."""
    command = [sys.executable, "-m", "xtalk.cli", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        yield address_in(process)
        process.terminate()


def address_in(process: subprocess.Popen[str]) -> str:
    """The first address that the server's log names."""
    seen = []
    assert process.stderr is not None
    for line in process.stderr:
        if address := re.search(r"http://[\d.]+:\d+", line):
            return address[0]
        seen.append(line)
    pytest.fail("the server ended before it named its address:\n" + "".join(seen))


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

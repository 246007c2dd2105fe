"""The browser, the embedded default behind it, and pages that are watched."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Playwright, sync_playwright

sys.path.insert(0, str(Path(__file__).parent))  # for what the tests share
from browsing import Served, Visit, Watched, launched, serving, spoken, watch
from shown import Show

CONFIG = """
vad = "SileroVAD"
asr = "PocketSphinx"
llm_agent = "RuleAgent"
tts = "Espeak"

[service_config]
recording = "{folder}"
session_log = "{folder}"

[server]
downloads = true
"""
MISSING = (
    "no Chromium is installed; with apt: `apt-get install chromium`, with Homebrew: "
    "`brew install --cask chromium`, or put any Chrome or Chromium on the PATH"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--screenshots", type=Path, metavar="FOLDER", help="write pictures of the page here"
    )
    parser.addoption(
        "--load", type=int, default=0, metavar="N", help="so many busy processes while they talk"
    )


FIGURES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for figure in terminalreporter.config.stash[FIGURES]:
        terminalreporter.write_line(figure)


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Notes a measured figure, for the end of the run."""
    return request.config.stash[FIGURES].append


@pytest.fixture(scope="session")
def show(request: pytest.FixtureRequest) -> Show:
    """Pictures, where they are asked for, and barriers."""
    folder: Path | None = request.config.getoption("--screenshots")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return Show(folder)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def chromium() -> str:
    found = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    if (program := next(found, None)) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    return program


@pytest.fixture(scope="session")
def silent(
    playwright: Playwright, chromium: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    """A browser that hears nothing."""
    path = spoken(tmp_path_factory.mktemp("microphone") / "silence.wav", 60.0)
    with launched(playwright, chromium, path) as browser:
        yield browser


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The embedded default, which also keeps recordings and logs and gives them away."""
    folder = tmp_path_factory.mktemp("kept")
    config = folder / "xtalk.toml"
    config.write_text(CONFIG.format(folder=folder), "utf-8")
    with serving(config=config) as url:
        yield Served(url, folder)


@pytest.fixture
def visit(silent: Browser, server: Served) -> Iterator[Visit]:
    """Opens the page in a context of its own: visit(viewport=..., locale=...)."""
    contexts: list[BrowserContext] = []

    def visit(url: str | None = None, path: str = "/", **options: Any) -> Watched:
        home = url or server.url
        context = silent.new_context(**options)
        contexts.append(context)
        watched = watch(context.new_page(), home)
        watched.page.goto(home + path)
        return watched

    yield visit
    for context in contexts:
        context.close()

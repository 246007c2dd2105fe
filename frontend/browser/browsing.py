"""A headless Chromium with a microphone that plays a file, real servers, and watched pages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, WebSocketRoute

from xtalk.testing.recordings import recording

RATE = 16_000


@contextmanager
def launched(
    playwright: Playwright, chromium: str, microphone: Path, *options: str
) -> Iterator[Browser]:
    """A browser whose microphone is this WAV file, once, from when it is opened."""
    arguments = [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}%noloop",
        "--autoplay-policy=no-user-gesture-required",
        "--disable-background-networking",
        *options,
        # Chromium's sandbox refuses to work for root, which is who runs tests in a container.
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
    ]
    browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
    try:
        yield browser
    finally:
        browser.close()


def spoken(path: Path, *parts: float | str) -> Path:
    """A WAV file of the shipped recordings, by name, and of pauses in seconds."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        for part in parts:
            pause = isinstance(part, (int, float))
            file.writeframes(bytes(2 * round(part * RATE)) if pause else recording(str(part)).pcm)
    return path


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes that do nothing but compute."""
    command = [sys.executable, "-c", "while True: pass"]
    running = [subprocess.Popen(command) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Served:
    url: str
    folder: Path
    """Where it keeps recordings and logs."""


@contextmanager
def serving(*options: str, config: Path | None = None) -> Iterator[str]:
    """The address of `xtalk serve`, ready."""
    chosen = ["--config", str(config)] if config else []
    command = [sys.executable, "-m", "xtalk.cli", "serve", "--port=0", *chosen, *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield address_when_ready(process)
        finally:
            process.terminate()
            process.communicate()


def address_when_ready(process: subprocess.Popen[str]) -> str:
    """The address that the server's log names, once it says that the models are built."""
    log = ""
    assert process.stderr is not None
    for line in process.stderr:
        log += line
        if "ready:" in line and (address := re.search(r"https?://[\d.]+:\d+", log)):
            return address[0]
    pytest.fail(f"the server ended before it was ready:\n{log}")


@dataclass
class Watched:
    """What goes wrong on a page, and what it asks other hosts for."""

    page: Page
    console: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def nothing(self) -> None:
        """Fail unless nothing went wrong."""
        assert (self.console, self.failed, self.foreign) == ([], [], [])


WORTH_A_LOOK = ("error", "warning")


def watch(page: Page, home: str) -> Watched:
    """Note errors and warnings; let no request through to another host."""
    watched = Watched(page)
    page.on("pageerror", lambda error: watched.console.append(str(error)))
    page.on("console", lambda m: m.type in WORTH_A_LOOK and watched.console.append(m.text))
    page.on("requestfailed", lambda r: watched.failed.append(f"{r.url} {r.failure}"))
    page.on("response", lambda r: r.status >= 400 and watched.failed.append(f"{r.url} {r.status}"))

    def block(route: Any) -> None:
        watched.foreign.append(route.request.url)
        route.abort()

    page.context.route(lambda url: not url.startswith(home), block)
    return watched


class Puppet:
    """A server in the hands of the test: behind the page's WebSocket instead of the real one."""

    def __init__(self, page: Page, *, admits: bool = True) -> None:
        self._admits = admits
        page.route_web_socket("**/ws", self._opened)

    def _opened(self, socket: WebSocketRoute) -> None:
        self._socket = socket
        if self._admits:
            self.admit()

    def admit(self) -> None:
        """Begin a session: at once, unless it was made not to."""
        self.say("session_info", {"session_id": "of-the-test"})

    def say(self, action: str, data: Any, **beside: Any) -> None:
        """Send a message with this in its `data`, and these beside it."""
        self._socket.send(json.dumps({"action": action, "data": data, **beside}))


Visit = Callable[..., Watched]

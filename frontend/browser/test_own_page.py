"""Pages of others: the example of thirty lines, a plain script tag, and the detector's models."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browsing import launched, serving, spoken
from playwright.sync_api import Page, Playwright

pytestmark = pytest.mark.real_time

EXAMPLE = Path(__file__).parents[2] / "examples" / "minimal_page" / "index.html"

CONFIG = """
vad = "SileroVAD"
asr = "PocketSphinx"
llm_agent = "RuleAgent"
tts = "Espeak"

[server]
allowed_origins = ["{origin}"]
"""

PLAIN = """<!doctype html>
<html lang="en">
<title>A plain script tag</title>
<script src="http://localhost:7635/static/js/index.iife.js"></script>
<script>
const conversation = xtalk.createConversation("ws://localhost:7635/ws");
conversation.subscribe(({ connection }) => { document.body.dataset.connection = connection; });
</script>
"""


DETECTING = """<!doctype html>
<html lang="en">
<title>Silero in the browser</title>
<button type="button">Start</button>
<script type="module">
import { createConversation } from "http://localhost:7635/xtalk/index.js";
const vadAssets = new URL("./vad/", location.href).href;
window.seen = [];
window.conversation = createConversation("ws://localhost:7635/ws", { vadAssets });
conversation.subscribe(({ detector, userSpeech, playback }) => {
  const now = `${detector} ${userSpeech} ${playback}`;
  if (seen.at(-1) !== now) seen.push(now);
});
document.querySelector("button").onclick = () => conversation.toggleStreaming();
</script>
"""


class _Quiet(SimpleHTTPRequestHandler):
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript"}

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def origin(folder: Path) -> Iterator[str]:
    """Another web server, whose pages are in the folder."""
    with ThreadingHTTPServer(("localhost", 0), partial(_Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def page(playwright: Playwright, chromium: str, folder: Path, origin: str) -> Iterator[Page]:
    """A browser tab whose user asks for the time; the two pages name the server that runs."""
    config = folder / "xtalk.toml"
    config.write_text(CONFIG.format(origin=origin), "utf-8")
    microphone = spoken(folder / "microphone.wav", 6.0, "what-time-is-it", 20.0)
    with serving(config=config) as url, launched(playwright, chromium, microphone) as browser:
        pages = {
            "index.html": EXAMPLE.read_text("utf-8"),
            "plain.html": PLAIN,
            "detecting.html": DETECTING,
        }
        for name, text in pages.items():
            (folder / name).write_text(text.replace("localhost:7635", urlsplit(url).netloc))
        page = browser.new_page()
        page.set_default_timeout(20_000)
        yield page


def test_the_page_of_thirty_lines_holds_a_conversation(page: Page, origin: str) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(origin)
    page.get_by_text("open", exact=True).wait_for()
    page.get_by_role("button", name="Start").click()
    page.get_by_text("user: what time is it").wait_for()
    page.get_by_text("speaking", exact=True).wait_for()
    page.get_by_text("idle", exact=True).wait_for()
    answer = page.locator("li", has_text="assistant: It is")
    assert answer.locator("i").text_content() == ""  # heard to its end
    page.get_by_role("button", name="Stop").click()
    assert errors == []


def test_the_example_is_thirty_lines() -> None:
    assert len(EXAMPLE.read_text("utf-8").splitlines()) <= 30


def test_the_library_works_from_a_plain_script_tag(page: Page, origin: str) -> None:
    page.goto(f"{origin}/plain.html")
    page.locator("body[data-connection=open]").wait_for(state="attached")


@pytest.fixture
def assets(folder: Path) -> None:
    """The detector's files, beside the pages."""
    source = os.environ.get("XTALK_VAD_ASSETS")
    if source is None:
        pytest.skip("XTALK_VAD_ASSETS names no folder; `python tools/frontend.py vad` makes one")
    shutil.copytree(source, folder / "vad", dirs_exist_ok=True)


@pytest.mark.usefixtures("assets")
def test_silero_in_the_browser_marks_the_turn_and_measures_it(page: Page, origin: str) -> None:
    page.goto(f"{origin}/detecting.html")
    page.get_by_role("button").click()
    page.wait_for_function("conversation.state.traces.some(({ total }) => total !== null)")
    (trace,) = page.evaluate("conversation.state.traces")
    assert trace["source"] == "measured"
    assert 150 < trace["stages"]["silence"] < 500  # the end mark comes after 200 ms
    stages = sum(filter(None, trace["stages"].values()))
    assert trace["total"] == pytest.approx(stages, abs=10)  # each is rounded
    seen = page.evaluate("seen")
    assert "silero candidate idle" in seen
    assert "silero confirmed idle" in seen

"""The page, the library and what a session leaves on disk, over a real socket."""

from __future__ import annotations

import json
import re
import threading
from html import unescape
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from xtalk.hookspecs import Model, hookimpl
from xtalk.pipeline import DefaultPipeline
from xtalk.speech.interfaces import TTS
from xtalk_server.app import _application
from xtalk_server.config import ServerConfig
from xtalk_server.testing import Running, running

pytestmark = pytest.mark.real_time


class Moody(TTS):
    emotions = ("calm", "<b>")

    def synthesize(self, text: str) -> bytes:
        return bytes(96)

    def clone(self) -> Moody:
        return Moody()


class Cards:
    @hookimpl
    def xtalk_tts(self) -> list[Model]:
        return [Model("Moody", "somewhere.else:Moody", languages=("en", "zh"))]


def told(html: str) -> dict[str, Any]:
    """What the page is told of the server, in its own HTML."""
    found = re.search(r'<meta name="xtalk-server" content="(.*?)"', html, re.DOTALL)
    assert found
    answer: dict[str, Any] = json.loads(unescape(found[1]))
    return answer


# --- the page and its files ---------------------------------------------------------------------


def test_both_addresses_of_the_original_give_the_page(server: Running) -> None:
    pages = [httpx.get(server.http + path) for path in ("/", "/modern")]
    assert {page.status_code for page in pages} == {200}
    assert pages[0].text == pages[1].text
    assert pages[0].headers["content-type"].startswith("text/html")


def test_the_page_may_load_nothing_from_elsewhere(server: Running) -> None:
    answer = httpx.get(server.http + "/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert not re.search(r"https?:|\*", policy)
    assert "http" not in answer.text.replace("http-equiv", "")


def test_everything_that_the_page_names_is_there(server: Running) -> None:
    html = httpx.get(server.http + "/").text
    named = re.findall(r'(?:src|href)="\./([^"]+)"', html)
    assert len(named) >= 3
    for path in named:
        assert httpx.get(f"{server.http}/{path}").status_code == 200, path


def test_the_page_is_told_what_the_server_can_do(server: Running, scripted: Any) -> None:
    scripted.service_prototype.pipeline = DefaultPipeline(tts=Moody())
    scripted.plugins.register(Cards(), "cards")
    about = told(httpx.get(server.http + "/").text)
    assert about == httpx.get(server.http + "/api/page").json()
    assert about["status"] == "ok"
    assert about["models"] == {"tts": "Moody"}
    assert about["languages"] == {"tts": ["en", "zh"]}
    assert about["emotions"] == ["calm", "<b>"]
    assert about["detector"] is False
    assert about["downloads"] == {}


def test_what_the_page_is_told_cannot_break_out_of_it(server: Running, scripted: Any) -> None:
    scripted.service_prototype.pipeline = DefaultPipeline(tts=Moody())
    assert "<b>" not in httpx.get(server.http + "/").text


@pytest.mark.parametrize("path", ["/static/js/index.js", "/xtalk/index.js"])
def test_the_library_is_where_the_original_has_it(server: Running, path: str) -> None:
    answer = httpx.get(server.http + path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "createConversation" in answer.text
    assert answer.headers["access-control-allow-origin"] == "*"


def test_a_file_is_asked_for_anew_and_sent_when_it_changed(server: Running) -> None:
    first = httpx.get(server.http + "/xtalk/index.js")
    assert first.headers["cache-control"] == "no-cache"
    again = {"If-None-Match": first.headers["etag"]}
    assert httpx.get(server.http + "/xtalk/index.js", headers=again).status_code == 304


@pytest.mark.parametrize("path", ["/static/%2e%2e/app.py", "/static/..%2fapp.py", "/xtalk/none"])
def test_no_other_file_is_served(server: Running, path: str) -> None:
    assert httpx.get(server.http + path).status_code == 404


def test_a_page_that_is_allowed_may_read_the_answers(scripted: Any) -> None:
    config = ServerConfig(allowed_origins=["https://example.org"])
    with running(_application(lambda: scripted, config)) as server:
        for origin, allowed in (("https://example.org", True), ("https://evil.example", False)):
            answer = httpx.get(server.http + "/api/voices", headers={"Origin": origin})
            assert (answer.headers.get("access-control-allow-origin") == origin) is allowed


# --- recordings and logs ------------------------------------------------------------------------

SESSION = str(uuid4())


@pytest.fixture
def keeping(scripted: Any, tmp_path: Path) -> Any:
    """An Xtalk whose sessions are recorded and logged."""
    config = {"recording": str(tmp_path), "session_log": str(tmp_path)}
    scripted.service_prototype.service_config.update(config)
    (tmp_path / f"{SESSION}.wav").write_bytes(b"RIFF sound")
    (tmp_path / f"{SESSION}.jsonl").write_bytes(b"{}\n")
    (tmp_path / "other.wav").write_bytes(b"not for you")
    return scripted


def fetch(xtalk: Any, path: str, **server: Any) -> httpx.Response:
    with running(_application(lambda: xtalk, ServerConfig(**server))) as running_server:
        return httpx.get(f"{running_server.http}/api/sessions/{path}")


@pytest.mark.parametrize(("kind", "content"), [("recording", b"RIFF sound"), ("log", b"{}\n")])
def test_who_knows_a_session_gets_what_it_left(keeping: Any, kind: str, content: bytes) -> None:
    answer = fetch(keeping, f"{SESSION}/{kind}", downloads=True)
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-disposition"].startswith('attachment; filename="xtalk-')
    assert answer.headers["cache-control"] == "no-store"


def test_who_knows_a_session_is_told_what_there_is(keeping: Any) -> None:
    assert fetch(keeping, SESSION, downloads=True).json() == {"recording": 10, "log": 3}
    assert fetch(keeping, str(uuid4()), downloads=True).json() == {"recording": 0, "log": 0}
    assert fetch(keeping, "other", downloads=True).status_code == 404
    assert fetch(keeping, SESSION).status_code == 403


def test_nothing_is_given_away_unless_the_operator_says_so(keeping: Any) -> None:
    assert fetch(keeping, f"{SESSION}/recording").status_code == 403


@pytest.mark.parametrize("session", [str(uuid4()), "other", "..%2fother", "%2e%2e"])
def test_only_files_of_sessions_are_found(keeping: Any, session: str) -> None:
    assert fetch(keeping, f"{session}/recording", downloads=True).status_code == 404


def test_a_server_that_keeps_nothing_has_nothing(scripted: Any) -> None:
    assert fetch(scripted, f"{SESSION}/log", downloads=True).status_code == 404
    assert fetch(scripted, f"{SESSION}/secrets", downloads=True).status_code == 422


def test_the_page_offers_what_can_be_had(keeping: Any) -> None:
    with running(_application(lambda: keeping, ServerConfig(downloads=True))) as server:
        about = httpx.get(server.http + "/api/page").json()
    assert about["downloads"] == {"recording": True, "log": True}


def test_what_grows_while_it_is_sent_is_sent_as_it_was(keeping: Any, tmp_path: Path) -> None:
    log = tmp_path / f"{SESSION}.jsonl"
    log.write_bytes(b"x" * 1_000_000)
    app = _application(lambda: keeping, ServerConfig(downloads=True))
    with running(app) as server, httpx.Client(base_url=server.http) as client:
        with client.stream("GET", f"/api/sessions/{SESSION}/log") as answer:
            pieces = answer.iter_bytes()
            size = len(next(pieces))
            with log.open("ab") as file:
                file.write(b"y" * 1000)
            size += sum(map(len, pieces))
        assert size == 1_000_000
        assert client.get("/health").status_code == 200  # the connection is as good as before


def test_before_the_models_are_there_the_page_is_told_so(scripted: Any) -> None:
    may_go_on = threading.Event()

    def build() -> Any:
        may_go_on.wait(10)
        return scripted

    with running(_application(build, ServerConfig()), wait=False) as server:
        about = told(httpx.get(server.http + "/").text)
        may_go_on.set()
    assert about["status"] == "starting"
    assert "models" not in about

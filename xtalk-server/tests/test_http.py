"""The small HTTP interface over a real socket."""

from __future__ import annotations

import socket
import threading
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from xtalk.agent import Agent
from xtalk.errors import ConfigError, NotAvailable
from xtalk.hookspecs import hookimpl
from xtalk.pipeline import DefaultPipeline
from xtalk.settings import Choice
from xtalk.speech.interfaces import TTS
from xtalk_server.app import _application, create_app
from xtalk_server.config import ServerConfig
from xtalk_server.testing import Running, running

pytestmark = pytest.mark.real_time


class Voice(TTS):
    voices = ("low", "high")

    def synthesize(self, text: str) -> bytes:
        return bytes(96)

    def clone(self) -> Voice:
        return Voice()


class Silent(Agent):
    def generate(self, input: str | dict[str, Any]) -> str:
        return ""

    def clone(self) -> Silent:
        return Silent()


@pytest.fixture
def scripted(scripted: Any) -> Any:
    scripted.plugins.register(SimpleNamespace(), "sound").fail("ImportError: /secret/path/lib.so")
    scripted.service_prototype.pipeline = DefaultPipeline(tts=Voice(), llm_agent=Silent())
    return scripted


def get(server: Running, path: str) -> Any:
    return httpx.get(server.http + path).raise_for_status().json()


def test_health(server: Running) -> None:
    body = get(server, "/health")
    assert body.pop("version")
    assert body == {"status": "ok", "sessions": 0, "queued": 0, "limit": None}


def test_voices_have_names_and_nothing_else(server: Running, scripted: Any) -> None:
    assert get(server, "/api/voices") == {"audios": [{"name": "low"}, {"name": "high"}]}
    configured = [{"name": "Ann", "path": "/secret/ann.wav"}, "Bob", 3]
    scripted.config = SimpleNamespace(models={"tts": Choice("Voice", {"voices": configured})})
    assert get(server, "/api/voices") == {"audios": [{"name": "Ann"}, {"name": "Bob"}]}


def test_models_are_listed_without_keys_and_addresses(server: Running, scripted: Any) -> None:
    silent = {"model": "Silent", "display_name": "Silent", "base_url": "", "extra_body": None}
    assert get(server, "/api/available-llm-models") == {"models": [silent]}
    voice = {"type": "Voice", "name": "Voice", "config": {}}
    assert get(server, "/api/available-tts-models") == {"models": [voice]}
    secret = {"model": "gpt-x", "api_key": "sk-secret", "base_url": "http://intern"}
    agent = Choice("DefaultAgent", {"model": secret})
    scripted.config = SimpleNamespace(models={"llm_agent": agent})
    answer = httpx.get(server.http + "/api/available-llm-models").text
    assert "gpt-x" in answer
    assert "sk-secret" not in answer
    assert "intern" not in answer


def test_plugins_are_listed_without_paths(server: Running) -> None:
    answer = httpx.get(server.http + "/api/plugins")
    (row,) = answer.json()["plugins"]
    assert row["name"] == "sound"
    assert row["works"] is False
    assert "secret" not in answer.text


def test_the_plain_page_says_what_runs_and_loads_nothing(server: Running) -> None:
    answer = httpx.get(server.http + "/status")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    html = answer.text
    for needed in ('<html lang="en">', "<title>", "<main>", "<h1>", 'scope="col"', "Voice"):
        assert needed in html
    assert f"--url {server.ws}" in html
    for forbidden in ("<script", "src=", "https://", "secret"):
        assert forbidden not in html


def test_no_page_loads_scripts_from_elsewhere(server: Running) -> None:
    for path in ("/docs", "/redoc"):
        assert httpx.get(server.http + path).status_code == 404


def test_the_page_escapes_what_a_client_says(server: Running) -> None:
    html = httpx.get(server.http + "/status", headers={"Host": "a<b>c"}).text
    assert "<b>" not in html


def test_a_plugin_adds_routes(scripted: Any) -> None:
    class Hooks:
        @hookimpl
        def xtalk_routes(self, app: Any, xtalk: Any) -> None:
            @app.get("/api/motto")  # type: ignore[untyped-decorator]
            async def motto() -> dict[str, str]:
                return {"motto": "speak"}

    scripted.plugins.register(Hooks(), "motto")
    with running(scripted) as server:
        assert get(server, "/api/motto") == {"motto": "speak"}


def test_the_life_of_the_process_is_that_of_the_server(scripted: Any) -> None:
    with running(scripted):
        pass
    assert scripted.life == ["begun", "drained", "ended"]


# --- uploads ------------------------------------------------------------------------------------


def post(server: Running, **parts: Any) -> httpx.Response:
    return httpx.post(server.http + "/api/upload", **parts)


def text_file(content: bytes = b"caf\xc3\xa9", kind: str = "text/plain") -> dict[str, Any]:
    return {"file": ("a.txt", content, kind)}


def test_an_upload_reaches_its_session(server: Running, scripted: Any) -> None:
    answer = post(server, data={"session_id": "s1"}, files=text_file())
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert scripted.uploads == [("s1", "café")]


@pytest.mark.parametrize(
    ("error", "status"),
    [(NotAvailable("there is no retrieval here"), 501), (ValueError("no session 's1'"), 404)],
)
def test_an_upload_that_cannot_be_taken(
    server: Running, scripted: Any, error: Exception, status: int
) -> None:
    scripted.upload_error = error
    answer = post(server, data={"session_id": "s1"}, files=text_file())
    assert answer.status_code == status
    assert answer.json()["detail"]


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/json", "audio/x-mod"])
def test_text_is_taken_whatever_the_client_guesses_that_it_is(
    server: Running, scripted: Any, kind: str
) -> None:
    answer = post(server, data={"session_id": "s1"}, files=text_file(kind=kind))
    assert answer.status_code == 200
    assert scripted.uploads == [("s1", "café")]


@pytest.mark.parametrize("kind", ["application/octet-stream", "text/plain"])
def test_only_text_is_taken(server: Running, scripted: Any, kind: str) -> None:
    answer = post(server, data={"session_id": "s1"}, files=text_file(b"\x7fELF\1\0\0", kind))
    assert answer.status_code == 400
    assert answer.json() == {"detail": "Only text files are supported."}
    assert scripted.uploads == []


def test_a_foreign_page_cannot_upload(server: Running, scripted: Any) -> None:
    for origin, status in (("http://evil.example", 403), (server.http, 200)):
        data, headers = {"session_id": "s1"}, {"Origin": origin}
        assert post(server, data=data, files=text_file(), headers=headers).status_code == status
    assert len(scripted.uploads) == 1


@pytest.mark.parametrize(
    "parts",
    [
        {"data": {"session_id": "s1"}},
        {"files": text_file()},
        {"data": {"session_id": "s1", "file": "a text, not a file"}},
        {"json": {"session_id": "s1"}},
    ],
)
def test_a_missing_field_is_422(server: Running, parts: dict[str, Any]) -> None:
    assert post(server, **parts).status_code == 422


def test_a_huge_upload_is_refused_before_it_is_read(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(b"POST /api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 413 ")


def form(content: bytes) -> tuple[bytes, dict[str, str]]:
    built = httpx.Request(
        "POST", "http://x", data={"session_id": "s1"}, files={"file": ("a.txt", content)}
    )
    return built.read(), {"Content-Type": built.headers["Content-Type"]}


@pytest.mark.parametrize(("size", "status"), [(1000, 200), (1001, 413), (10**6, 413)])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_is_read_up_to_the_limit(
    scripted: Any, size: int, status: int, chunked: bool
) -> None:
    app = _application(lambda: scripted, ServerConfig(upload_bytes=1000))
    with running(app) as server:
        body, headers = form(b"a" * size)
        content = (body[i : i + 500] for i in range(0, len(body), 500)) if chunked else body
        try:
            answer = httpx.post(f"{server.http}/api/upload", content=content, headers=headers)
        except httpx.WriteError:
            assert status == 413  # it hangs up on those who go on sending
        else:
            assert answer.status_code == status
        assert scripted.uploads == [("s1", "a" * size)] * (status == 200)


def test_an_upload_without_an_end_is_refused_at_the_limit(scripted: Any) -> None:
    body, headers = form(b"a" * 20_000)
    head = (
        "POST /api/upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        f"Content-Type: {headers['Content-Type']}\r\n\r\n{len(body):x}\r\n"
    )
    with (
        running(_application(lambda: scripted, ServerConfig(upload_bytes=1000))) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw,
    ):
        raw.sendall(head.encode() + body + b"\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_an_upload_of_any_size_stays_off_the_disk(
    scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **keywords: Any) -> Any:
        raise AssertionError("a file was made")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with running(_application(lambda: scripted, ServerConfig(upload_bytes=3 << 20))) as server:
        body, headers = form(b"a" * (3 << 20))
        assert post(server, content=body, headers=headers).status_code == 200


@pytest.mark.parametrize("content", [b"caf\xe9", "text".encode("utf-16")])
def test_what_is_not_utf_8_is_refused_in_a_sentence(
    server: Running, scripted: Any, content: bytes
) -> None:
    body, headers = form(content)
    answer = post(server, content=body, headers=headers)
    assert answer.status_code == 400
    assert "not UTF-8 text: byte" in answer.json()["detail"]
    assert scripted.uploads == []


def test_a_form_that_is_none_is_refused(server: Running) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert post(server, content=b"nonsense", headers=headers).status_code == 400
    assert post(
        server, content=b"", headers={"Content-Type": "multipart/form-data"}
    ).is_client_error


# --- before and without the models --------------------------------------------------------------


def test_while_the_models_are_built(scripted: Any) -> None:
    may_go_on = threading.Event()

    def build() -> Any:
        may_go_on.wait(10)
        return scripted

    with running(_application(build, ServerConfig()), wait=False) as server:
        answer = httpx.get(server.http + "/health")
        assert (answer.status_code, answer.json()["status"]) == (503, "starting")
        assert "starting" in httpx.get(server.http + "/status").text
        assert httpx.get(server.http + "/api/voices").status_code == 503
        may_go_on.set()


def test_a_wrong_configuration_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match=r"server\.prot"):
        create_app({"server": {"prot": 1}})

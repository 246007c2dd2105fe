"""The page in a browser: what a visitor sees, can do, and is told when something is in the way."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from browsing import Puppet, Served, Visit, launched, serving, spoken, watch
from playwright.sync_api import Browser, Page, Playwright, WebSocketRoute, expect
from shown import Show
from xtalk_example.asr import FixedASR
from xtalk_example.tts import ToneTTS

from xtalk.api import Xtalk
from xtalk.pipeline import DefaultPipeline
from xtalk.service import DefaultService
from xtalk.testing.fakes import LoudnessVAD, ScriptedAgent
from xtalk_server.app import _application
from xtalk_server.config import DEFAULT, ServerConfig
from xtalk_server.testing import running

pytestmark = pytest.mark.real_time

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
STATIC = DEFAULT.parent / "static"


def start(page: Page) -> None:
    """In a session: who starts before there is one is heard, and asked what they want, later."""
    expect(page.locator("#upload")).to_be_enabled()
    page.click("#start")
    expect(page.locator(".start.stop")).to_be_visible()


# --- the first visit ----------------------------------------------------------------------------


def test_a_first_visit_explains_itself(visit: Visit, show: Show) -> None:
    watched = visit()
    page = watched.page
    expect(page.get_by_role("heading", level=1)).to_have_text("Talk with this server")
    expect(page.get_by_text("It understands English only.")).to_be_visible()
    expect(page.locator(".sayings li")).to_have_count(6)
    expect(page.get_by_role("button", name="Start talking")).to_be_enabled()
    expect(page.locator("p.connection")).to_have_text("Connected")
    show(page, "welcome")
    watched.nothing()


def test_it_speaks_chinese_and_says_that_the_agent_does_not(visit: Visit, show: Show) -> None:
    page = visit(locale="zh-CN", color_scheme="dark", **PHONE).page
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    expect(page.get_by_text("它只能听懂英语")).to_be_visible()
    expect(page.locator(".sayings q").first).to_have_attribute("lang", "en")
    show(page, "welcome-chinese-phone-dark")


def test_the_second_page_of_the_original_is_this_one(visit: Visit) -> None:
    watched = visit(path="/modern")
    expect(watched.page.get_by_role("button", name="Start talking")).to_be_enabled()
    watched.nothing()


def test_it_works_with_every_other_host_blocked(visit: Visit) -> None:
    watched = visit()
    start(watched.page)
    watched.page.click("#settings")
    expect(watched.page.get_by_label("Voice")).to_be_visible()
    watched.nothing()


def test_the_page_s_own_code_is_small() -> None:
    """Everything that a visit loads, without the runtime of the optional detector."""
    files = [STATIC / "index.html", STATIC / "js" / "worklet.js", *(STATIC / "page").glob("*.*s")]
    size = sum(len(gzip.compress(file.read_bytes())) for file in files)
    assert len(files) == 4
    assert size <= 60_000, f"{size} bytes"


# --- settings -----------------------------------------------------------------------------------


def test_settings_outlive_the_visit(visit: Visit, show: Show) -> None:
    page = visit().page
    start(page)
    page.click("#settings")
    page.get_by_label("Voice").select_option("British")
    page.get_by_label("Speed").fill("1.2")
    page.get_by_label("Appearance").select_option("dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    show(page, "settings-dark")
    page.get_by_label("Language of this page").select_option("zh")
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.click("#settings")
    expect(page.get_by_label("嗓音")).to_have_value("British")
    expect(page.get_by_label("语速")).to_have_value("1.2")


def test_what_was_chosen_is_asked_of_the_next_session(visit: Visit) -> None:
    page = visit().page
    start(page)
    page.click("#settings")
    page.get_by_label("Voice").select_option("Scottish")
    asked: list[str] = []
    page.on("websocket", lambda ws: ws.on("framesent", lambda f: asked.append(str(f))))
    page.reload()
    expect(page.locator("p.connection")).to_have_text("Connected")
    page.wait_for_function("() => document.querySelector('#upload:not(:disabled)')")
    assert any("change_voice" in frame and "Scottish" in frame for frame in asked)


def test_the_voice_can_be_left_to_the_server_again(visit: Visit) -> None:
    page = visit().page
    start(page)
    page.click("#settings")
    voice = page.locator("select[name=voice]")
    voice.select_option("British")
    voice.select_option("The server’s choice")
    expect(page.get_by_text("From the next conversation on.")).to_be_visible()
    page.reload()
    page.click("#settings")
    expect(page.locator("select[name=voice]")).to_have_value("")
    expect(page.get_by_text("From the next conversation on.")).to_have_count(0)


def test_a_voice_that_the_server_does_not_have_is_forgotten(visit: Visit) -> None:
    page = visit(path="/status").page
    kept = {"language": "en", "settings": {"voice": "Ann of another server"}}
    page.evaluate("kept => { localStorage['xtalk.preferences'] = kept }", json.dumps(kept))
    page.goto(page.url.replace("/status", "/"))
    expect(page.get_by_role("alert")).to_contain_text("cannot change its voice")
    page.click("#settings")
    expect(page.locator("select[name=voice]")).to_have_value("")
    page.reload()
    expect(page.locator("#upload")).to_be_enabled()
    page.wait_for_timeout(300)  # for an alert that does not come
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_speed_that_was_asked_for_in_words_is_the_slider_s(visit: Visit) -> None:
    page = visit(path="/status").page
    server = Puppet(page)
    page.goto(page.url.replace("/status", "/"))
    start(page)
    page.click("#settings")
    server.say("speed_changed", {"speed": 1.2})
    expect(page.get_by_label("Speed")).to_have_value("1.2")


def test_a_loudspeaker_that_fails_is_told_and_not_kept(visit: Visit) -> None:
    watched = visit()
    page = watched.page
    start(page)
    page.evaluate(
        "() => void (AudioContext.prototype.setSinkId = async () => {"
        " throw new DOMException('gone', 'NotFoundError'); })"
    )
    page.click("#settings")
    loudspeakers = page.locator("select[name=loudspeaker]")
    loudspeakers.select_option(index=1)
    expect(page.locator(".notice.problem")).to_contain_text("the one before goes on")
    expect(loudspeakers).to_have_value("")
    watched.nothing()


def test_a_microphone_can_be_chosen_while_it_listens(visit: Visit) -> None:
    page = visit().page
    start(page)
    page.click("#settings")
    microphones = page.locator("select[name=microphone]")
    expect(microphones.locator("option")).not_to_have_count(1)
    name = microphones.locator("option").last.get_attribute("value")
    microphones.select_option(name)
    page.keyboard.press("Escape")
    expect(page.locator(".start.stop")).to_be_visible()
    page.click("#settings")
    expect(microphones).to_have_value(name or "")


class Moody(ToneTTS):
    """Beeps that can be glad."""

    emotions = ("calm", "glad")

    def clone(self) -> Moody:
        return Moody()

    def set_emotion(self, emotion: str | list[float]) -> None:
        if emotion not in self.emotions:
            raise ValueError(f"no emotion {emotion}")


def test_emotions_and_models_can_be_chosen_where_there_are_some(visit: Visit) -> None:
    pipeline = DefaultPipeline(FixedASR("go on"), ScriptedAgent(["Yes."]), Moody())
    service = DefaultService(pipeline=pipeline)
    service.alternatives = {"llm_agent": {"one": pipeline.llm_agent, "two": ScriptedAgent(["No."])}}
    with running(Xtalk(service_prototype=service)) as server:
        watched = visit(server.http, path="/status")
        page, sent = watched.page, []
        page.on("websocket", lambda ws: ws.on("framesent", lambda f: sent.append(str(f))))
        page.goto(server.http)
        start(page)
        page.click("#settings")
        page.get_by_label("Emotion").select_option("glad")
        page.get_by_label("Language model").select_option("two")
        expect(page.get_by_label("Emotion")).to_have_value("glad")
        expect(page.get_by_label("Language model")).to_have_value("two")
        assert any('"change_llm_model"' in frame and '"two"' in frame for frame in sent)
        expect(page.get_by_role("alert")).to_have_count(0)
        watched.nothing()
        page.context.close()


class Unclonable(ScriptedAgent):
    """An agent that no session can have."""

    def clone(self) -> Unclonable:
        raise RuntimeError("out of order")


def test_a_model_that_is_refused_is_not_shown_as_chosen(visit: Visit) -> None:
    pipeline = DefaultPipeline(FixedASR("go on"), ScriptedAgent(["Yes."]), Moody())
    service = DefaultService(pipeline=pipeline)
    service.alternatives = {"llm_agent": {"one": pipeline.llm_agent, "two": Unclonable(["No."])}}
    with running(Xtalk(service_prototype=service)) as server:
        page = visit(server.http).page
        start(page)
        page.click("#settings")
        model = page.get_by_label("Language model")
        model.select_option("two")
        expect(page.locator(".notice.problem")).to_contain_text("no agent of that name")
        expect(model).to_have_value("")
        expect(model.locator("option")).to_have_text(["The server’s choice", "one", "two"])
        page.context.close()


def test_what_only_a_session_has_can_be_chosen_in_one_only(visit: Visit) -> None:
    pipeline = DefaultPipeline(FixedASR("go on"), ScriptedAgent(["Yes."]), Moody())
    service = DefaultService(pipeline=pipeline)
    service.alternatives = {"llm_agent": {"one": pipeline.llm_agent, "two": ScriptedAgent(["No."])}}
    with running(Xtalk(service_prototype=service)) as server:
        page = visit(server.http, path="/status").page
        puppet = Puppet(page, admits=False)
        page.goto(server.http)
        page.click("#settings")
        for label in ("Emotion", "Language model"):
            expect(page.get_by_label(label)).to_be_disabled()
        puppet.admit()
        for label in ("Emotion", "Language model"):
            expect(page.get_by_label(label)).to_be_enabled()
        page.context.close()


def test_the_settings_are_a_dialog_for_the_keyboard(visit: Visit) -> None:
    page = visit().page
    page.locator("#settings").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Settings")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Settings")).to_be_hidden()
    expect(page.locator("#settings")).to_be_focused()


# --- talking ------------------------------------------------------------------------------------


def test_it_starts_and_stops_by_the_keyboard_alone(visit: Visit) -> None:
    page = visit().page
    expect(page.locator("#start")).to_be_enabled()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "start":
            break
    page.keyboard.press("Enter")
    expect(page.locator(".start.stop")).to_be_focused()
    page.keyboard.press("Space")
    expect(page.locator("#start")).to_have_class("start start")


def test_whose_turn_it_is_is_shown(visit: Visit, show: Show) -> None:
    page = visit(path="/status", viewport={"width": 1000, "height": 820}).page
    server = Puppet(page)
    page.goto(page.url.replace("/status", "/"))
    start(page)
    turn = page.locator(".turn")
    expect(turn).to_contain_text("Your turn. Go ahead.")
    said = {"confidence": 0, "turn_id": 1}
    server.say("update_asr", {**said, "text": "what time", "is_final": False})
    expect(turn).to_contain_text("Listening to you")
    show(page, "listening")
    server.say("finish_asr", {**said, "text": "what time is it", "is_final": True})
    expect(turn).to_contain_text("Thinking")
    show(page, "thinking")
    server.say("invalid_asr_result", "")
    expect(turn).to_contain_text("Thinking")
    server.say("invalid_asr_result", "", turn_id=1)
    expect(turn).to_contain_text("Your turn. Go ahead.")
    page.click("#mute")
    expect(turn).to_contain_text("Muted.")
    show(page, "muted")


def test_muting_is_shown_and_told(visit: Visit) -> None:
    page = visit().page
    sent: list[str] = []
    page.on("websocket", lambda ws: ws.on("framesent", lambda f: sent.append(str(f))))
    page.reload()
    start(page)
    mute = page.get_by_role("button", name="Mute")
    mute.click()
    expect(mute).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".turn")).to_contain_text("It does not hear you")
    assert any('"reason":"muted"' in frame for frame in sent)
    mute.click()
    expect(mute).to_have_attribute("aria-pressed", "false")


def test_a_text_is_given_and_its_arrival_said(visit: Visit) -> None:
    watched = visit()
    page = watched.page
    start(page)
    give(page, "note.txt", b"The door code is 4711.")
    expect(page.locator(".said.agent").last).to_contain_text("has arrived", timeout=10_000)
    watched.nothing()


def test_a_text_can_be_given_before_the_start(visit: Visit) -> None:
    page = visit().page
    give(page, "note.txt", b"The door code is 4711.")
    expect(page.locator(".said.agent").last).to_contain_text("has arrived", timeout=10_000)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"x" * (1 << 21), "too large"), (b"\xff\xfe", "UTF-8")],
)
def test_a_text_that_cannot_be_taken_is_told_in_words(
    visit: Visit, content: bytes, words: str
) -> None:
    page = visit().page
    give(page, "note.txt", content)
    expect(page.get_by_role("alert")).to_contain_text(words)
    page.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_role("alert")).to_have_count(0)


def give(page: Page, name: str, content: bytes) -> None:
    expect(page.locator("#upload")).to_be_enabled()
    file: Any = {"name": name, "mimeType": "text/plain", "buffer": content}
    page.locator("input[type=file]").set_input_files(file)


def served(agent: ScriptedAgent, voice: ToneTTS) -> Any:
    """A server with these, whose recogniser understands the same whatever is said."""
    pipeline = DefaultPipeline(FixedASR("go on"), agent, voice, vad=LoudnessVAD())
    return running(Xtalk(service_prototype=DefaultService(pipeline=pipeline)))


def test_an_answer_that_fails_leaves_nobody_thinking(
    playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    microphone = spoken(tmp_path / "microphone.wav", 2.0, "what-time-is-it", 20.0)
    with (
        served(ScriptedAgent([RuntimeError("broken")]), ToneTTS()) as server,
        launched(playwright, chromium, microphone) as browser,
    ):
        page = browser.new_page()
        page.goto(server.http)
        start(page)
        expect(page.locator(".said.user")).to_have_text("Yougo on", timeout=10_000)
        expect(page.get_by_role("alert")).to_contain_text("The server says:")
        expect(page.locator(".turn")).to_contain_text("Your turn.")


class Dumb(ToneTTS):
    """A voice that fails."""

    def clone(self) -> Dumb:
        return Dumb()

    def synthesize_stream(self, text: str, **kwargs: Any) -> Iterator[bytes]:
        raise RuntimeError("no voice")
        yield b""


def test_what_could_not_be_spoken_is_there_to_be_read(visit: Visit, show: Show) -> None:
    with served(ScriptedAgent([]), Dumb()) as server:
        page = visit(server.http).page
        start(page)
        give(page, "note.txt", b"Anything.")
        expect(page.get_by_role("alert")).to_contain_text("The server says:")
        expect(page.locator(".said .unspoken")).to_have_text("Your text has arrived.")
        expect(page.locator(".turn")).to_contain_text("Your turn.")
        show.barriers(page)
        page.context.close()


def test_a_stop_in_mid_reply_leaves_nothing_still_to_come(visit: Visit) -> None:
    with served(ScriptedAgent([]), ToneTTS(character_ms=300)) as server:
        page = visit(server.http).page
        start(page)
        give(page, "note.txt", b"Anything.")
        expect(page.locator(".turn")).to_contain_text("Speaking.")
        page.click("#start")
        expect(page.locator(".said.agent del")).to_have_count(1)
        expect(page.locator(".said .coming")).to_have_count(0)
        page.context.close()


def test_the_end_stays_in_sight_until_the_reader_goes_up(visit: Visit) -> None:
    page = visit(path="/status", **PHONE).page
    server = Puppet(page)
    page.goto(page.url.replace("/status", "/"))
    start(page)
    for turn in range(1, 31):
        asked = {"text": "what can you do for me today, please tell me", "confidence": 0}
        server.say("finish_asr", {**asked, "is_final": True, "turn_id": turn})
        page.wait_for_timeout(turn % 3 * 8)  # a second bubble within the frame, and behind it
        server.say("update_resp", {"text": "I can tell you the time. " * 6, "turn_id": turn})
        page.wait_for_timeout(60)
    expect(page.locator(".said")).to_have_count(60)
    messages = page.locator(".messages")
    left = "e => e.scrollHeight - e.scrollTop - e.clientHeight"
    assert messages.evaluate(left) < 2
    messages.hover()
    page.mouse.wheel(0, -10_000)
    page.wait_for_function("() => document.querySelector('.messages').scrollTop < 400")
    before = messages.evaluate(left)
    server.say("update_resp", {"text": "And the date. " * 12, "turn_id": 31})
    expect(page.locator(".said")).to_have_count(61)
    assert messages.evaluate(left) > before


def test_the_recording_and_the_log_can_be_kept(visit: Visit) -> None:
    page = visit().page
    start(page)
    links = [
        page.get_by_role("link", name=name) for name in ("Recording (WAV)", "Log (JSON lines)")
    ]
    for _ in range(20):  # they are some seconds behind
        page.click("#settings")
        expect(page.get_by_text("Keep a copy")).to_be_visible()
        page.wait_for_timeout(300)
        if all(link.is_visible() for link in links):
            break
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
    for link, begins in zip(links, (b"RIFF", b'{"xtalk_session_log"'), strict=True):
        with page.expect_download() as download:
            link.click()
        assert download.value.path().read_bytes().startswith(begins)


def test_a_new_conversation_begins_with_an_empty_page(visit: Visit) -> None:
    page = visit().page
    give(page, "note.txt", b"Anything.")
    expect(page.locator(".said.agent")).to_have_count(1, timeout=10_000)
    page.get_by_role("button", name="New conversation").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator("p.connection")).to_have_text("Connected")


NOTICED = {
    "thought_updated": {"text": "They sound <b>glad</b> &amp; calm", "is_final": False},
    "caption_updated": {"text": "a dog barks", "is_final": False, "reason": "refresh"},
    "retrieval_updated": {"text": "The door code is 4711.", "is_final": True},
    "tool_called": {"name": "local_search", "args": {"query": "door", "k": 2}},
    "speaker_updated": {"speaker_id": "Speaker 2", "reason": "recognized"},
}


def test_thoughts_are_shown_as_they_were_written(visit: Visit, show: Show) -> None:
    """And captions, passages, tools and the speaker: the server's messages, put in by the test."""

    def noticing(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def pass_on(frame: str | bytes) -> None:
            socket.send(frame)
            if isinstance(frame, str) and "session_info" in frame:
                for action, data in NOTICED.items():
                    socket.send(json.dumps({"action": action, "data": data}))

        server.on_message(pass_on)

    page = visit(path="/status").page
    page.route_web_socket("**/ws", noticing)
    page.goto(page.url.replace("/status", "/"))
    insights = page.locator(".insights")
    for text in ("They sound <b>glad</b> &amp; calm", "a dog barks", "4711", "Speaker 2"):
        expect(insights.get_by_text(text)).to_be_visible()
    expect(insights.get_by_text("query=door")).to_be_visible()
    show.barriers(page)


# --- what stands in the way ---------------------------------------------------------------------


def test_a_refused_microphone_is_told_with_the_way_out(visit: Visit) -> None:
    page = visit().page
    without_microphone(page, "NotAllowedError")
    page.click("#start")
    expect(page.get_by_role("alert")).to_contain_text("Allow it beside the address")
    expect(page.get_by_role("button", name="Start talking")).to_be_enabled()
    page.evaluate("() => delete navigator.mediaDevices.getUserMedia")
    start(page)
    expect(page.get_by_role("alert")).to_have_count(0)


def without_microphone(page: Page, error: str) -> None:
    page.evaluate(
        "error => void (navigator.mediaDevices.getUserMedia = async () => {"
        " throw new DOMException('no', error); })",
        error,
    )


def test_what_fails_is_told_in_chinese_on_a_chinese_page(visit: Visit, show: Show) -> None:
    page = visit(locale="zh-CN", viewport={"width": 1000, "height": 820}).page
    start(page)
    give(page, "note.txt", b"Anything.")
    expect(page.locator(".said.agent")).to_have_count(1, timeout=10_000)
    page.click("#start")
    without_microphone(page, "NotFoundError")
    page.click("#start")
    expect(page.get_by_role("alert")).to_contain_text("没有找到麦克风")
    page.route("**/api/upload", lambda route: route.abort())
    give(page, "note.txt", b"Anything.")
    expect(page.get_by_role("alert")).to_have_text("文本未能发送。")
    expect(page.locator(".info")).to_contain_text(["没有找到麦克风", "文本未能发送。"])
    show(page, "problem-chinese")


def test_a_refused_text_is_told_until_the_next_is_given(visit: Visit) -> None:
    page = visit().page
    give(page, "note.txt", b"\xff\xfe\xff")
    expect(page.get_by_role("alert")).to_contain_text("The text could not be given")
    give(page, "note.txt", b"Anything.")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_plain_http_from_another_machine_is_told_with_the_way_out(
    playwright: Playwright, chromium: str, server: Served, tmp_path: Path, show: Show
) -> None:
    microphone = spoken(tmp_path / "silence.wav", 1.0)
    port = server.url.rsplit(":", 1)[1]
    home = f"http://talk.example:{port}"
    mapped = "--host-resolver-rules=MAP talk.example 127.0.0.1"
    with launched(playwright, chromium, microphone, mapped) as browser:
        page = browser.new_page(viewport={"width": 1000, "height": 820})
        watched = watch(page, home)
        page.goto(home)
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("There is no microphone here")
        expect(alert).to_contain_text(f"ssh -L {port}:localhost:{port} talk.example")
        expect(alert).to_contain_text("--ssl-certfile")
        expect(page.locator("#start")).to_be_disabled()
        show(page, "insecure")
        watched.nothing()


def test_it_comes_back_after_the_server_was_away(silent: Browser, show: Show) -> None:
    port = free_port()
    context = silent.new_context(viewport={"width": 1000, "height": 820})
    page = context.new_page()
    with serving("--port", str(port)) as url:
        page.goto(url)
        page.evaluate("window.same = true")
        start(page)
        give(page, "note.txt", b"Anything.")
        expect(page.locator(".said.agent")).to_have_count(1, timeout=10_000)
    expect(page.locator("p.connection")).to_have_text("Reconnecting", timeout=10_000)
    expect(page.locator(".notice.lost")).to_contain_text("No connection to the server")
    expect(page.locator(".turn")).to_contain_text("Nobody hears you")
    expect(page.locator(".info.connection")).to_have_count(1)
    show(page, "reconnecting")
    with serving("--port", str(port)):
        expect(page.locator("p.connection")).to_have_text("Connected", timeout=20_000)
        expect(page.locator(".notice.lost")).to_have_count(0)
        expect(page.locator(".start.stop")).to_be_visible()
        assert page.evaluate("window.same") is True, "without a reload"
    context.close()


def free_port() -> int:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_the_place_in_the_queue_is_told(silent: Browser, tmp_path: Path, show: Show) -> None:
    config = tmp_path / "xtalk.toml"
    config.write_text(DEFAULT.read_text("utf-8") + "\nmax_connections = 1\n", "utf-8")
    with serving(config=config) as url:
        contexts = [silent.new_context(viewport={"width": 1000, "height": 820}) for _ in range(2)]
        first, second = (context.new_page() for context in contexts)
        first.goto(url)
        expect(first.locator("#upload")).to_be_enabled()
        second.goto(url)
        notice = second.locator(".notice.queue")
        expect(notice).to_contain_text("You are number 1 in the queue. Press Start")
        second.click("#start")
        expect(notice).to_contain_text("it begins by itself")
        expect(second.locator(".turn")).to_contain_text("Nobody hears you yet.")
        show(second, "queue")
        contexts[0].close()
        expect(notice).to_have_count(0)
        expect(second.locator(".turn")).to_contain_text("Your turn")
        contexts[1].close()


def test_a_server_that_is_not_ready_yet_is_told_and_waited_for(visit: Visit) -> None:
    ready = threading.Event()

    def build() -> Xtalk:
        ready.wait(30)
        pipeline = DefaultPipeline(FixedASR("go on"), ScriptedAgent(["Yes."]), ToneTTS())
        return Xtalk(service_prototype=DefaultService(pipeline=pipeline))

    with running(_application(build, ServerConfig()), wait=False) as server:
        watched = visit(server.http)
        page = watched.page
        expect(page.get_by_text("still building its models")).to_be_visible()
        page.click("#start")
        expect(page.locator(".turn")).to_have_attribute("data-whose", "nobody")
        expect(page.locator(".turn")).to_contain_text("Nobody hears you yet.")
        ready.set()
        expect(page.get_by_text("still building its models")).to_have_count(0, timeout=10_000)
        expect(page.locator(".turn")).to_contain_text("Your turn. Go ahead.")
        watched.nothing()
        page.context.close()


def test_an_end_by_the_server_is_told_with_the_way_on(
    silent: Browser, tmp_path: Path, show: Show
) -> None:
    config = tmp_path / "xtalk.toml"
    limit = "\n[service_config]\nsession_limit_sec = 10\n"
    config.write_text(DEFAULT.read_text("utf-8") + limit, "utf-8")
    with serving(config=config) as url:
        page = silent.new_page(viewport={"width": 1000, "height": 820})
        page.goto(url)
        give(page, "note.txt", b"Anything.")
        expect(page.locator(".said.agent")).to_have_count(1)
        alert = page.locator(".notice.ended")
        expect(alert).to_contain_text("The conversation is over.", timeout=15_000)
        expect(page.locator(".info.connection")).to_have_text(
            "The server ended the connection. The server says: time is up"
        )
        show(page, "ended")
        alert.get_by_role("button", name="New conversation").click()
        expect(page.locator("p.connection")).to_have_text("Connected")
        page.close()


# --- for everybody ------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", [{}, PHONE], ids=["desktop", "phone"])
def test_no_serious_barrier(visit: Visit, scheme: str, device: dict[str, Any], show: Show) -> None:
    page = visit(color_scheme=scheme, **device).page
    expect(page.locator("#upload")).to_be_enabled()
    show.barriers(page)
    start(page)
    give(page, "note.txt", b"Anything.")
    expect(page.locator(".said.agent")).to_have_count(1, timeout=10_000)
    show.barriers(page)
    if device:
        page.locator(".show-details").click()
        expect(page.get_by_role("heading", name="Timing")).to_be_visible()
        show.barriers(page)
    page.click("#settings")
    expect(page.get_by_role("dialog")).to_be_visible()
    show.barriers(page)


def test_a_narrow_phone_needs_no_scrolling_sideways(visit: Visit) -> None:
    page = visit(viewport={"width": 320, "height": 568}).page
    start(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(page.locator("#start")).to_be_in_viewport()

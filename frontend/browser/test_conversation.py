"""Three turns with an interruption: what was heard is what was sent, when the log says so."""

from __future__ import annotations

import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import Served, Watched, busy, launched, spoken, watch
from playwright.sync_api import Page, Playwright, TimeoutError, expect
from shown import Show
from tap import RATE, Heard, Placed, Wire, heard, tapped

from xtalk import session_log
from xtalk.testing.stalls import StallWatch
from xtalk.wav import read_wav

SCRIPT = (2.0, "what-can-you-do", 3.0, "what-time-is-it", 4.0, "two-plus-three", 20.0)
HELP, TIME, SUM = range(3)
FADE = RATE // 100  # a stop dies away within 3 ms
MINUTE_MS = 60_000
ATTEMPTS = 6
STALL_S = 0.06
LATE_MS = 60  # an acknowledgement that is later makes a gap in the recording
Figure = Callable[[str], None]
NOTE_TURNS = """() => {
  window.turns = [];
  const note = () => {
    const turn = document.querySelector(".turn").dataset.turn;
    if (window.turns.at(-1) !== turn) window.turns.push(turn);
  };
  new MutationObserver(note).observe(document.body, { attributes: true, subtree: true });
}"""


@dataclass
class Talk:
    watched: Watched
    wire: Wire
    heard: Heard
    log: session_log.Log
    recording: Path
    turns: list[str]
    """What the page said of whose turn it was, in order."""
    loaded: bool = False
    """Whether the machine was kept busy on purpose."""

    @property
    def page(self) -> Page:
        return self.watched.page

    def places(self, reply: int) -> list[Placed]:
        return self.heard.place(self.wire.replies[reply])

    def gaps_ms(self) -> list[float]:
        """Between the chunks of its replies."""
        placed = [place for reply in (HELP, TIME, SUM) for place in self.places(reply)]
        return [1000 * place.gap / RATE for place in placed if place.gap]

    def late_ms(self) -> float:
        """How much longer than another an acknowledgement was on its way to the server."""
        wall = self.log.header.wall_ms
        acks = logged(self, "received", "tts_chunk_played")
        ways = [wall + 1000 * ack.t - ack.message["timestamp"] for ack in acks]
        return max(ways) - min(ways)

    def undisturbed(self) -> bool:
        return not self.gaps_ms() and self.late_ms() < LATE_MS


@pytest.fixture(scope="module")
def talk(
    playwright: Playwright,
    chromium: str,
    server: Served,
    tmp_path_factory: pytest.TempPathFactory,
    show: Show,
    request: pytest.FixtureRequest,
) -> Iterator[Talk]:
    """The conversation, held once for all tests; the page is still open, and stopped.

    It is held again when the machine stood still in it or was late, for then what was heard, or
    what the server recorded of it by the acknowledgements, has real gaps.
    """
    load = request.config.getoption("--load")
    for attempt in range(1, ATTEMPTS + 1):
        microphone = spoken(tmp_path_factory.mktemp("talk") / "microphone.wav", *SCRIPT)
        with (
            launched(playwright, chromium, microphone) as browser,
            busy(load),
            StallWatch() as watch,
        ):
            # The recorder of the test is no script of the server's; the policy is tested elsewhere.
            context = browser.new_context(viewport={"width": 1280, "height": 800}, bypass_csp=True)
            try:
                talk = held(context.new_page(), server, show)
            except TimeoutError:
                if attempt == ATTEMPTS or watch.worst_s < STALL_S:
                    raise
                continue
            talk.loaded = load > 0
            if attempt == ATTEMPTS or load or (watch.worst_s < STALL_S and talk.undisturbed()):
                yield talk
                return


def held(page: Page, server: Served, show: Show) -> Talk:
    watched, wire = watch(page, server.url), tapped(page)
    page.goto(server.url)
    page.evaluate(NOTE_TURNS)
    page.wait_for_selector("#upload:enabled")  # there is a session
    page.click("#start")
    page.wait_for_function("document.querySelector('.heard')?.textContent.length > 30")
    show(page, "speaking")
    page.wait_for_selector(".turn[data-turn=turn_ducked], .turn[data-turn=turn_paused]")
    show(page, "interrupting")
    page.wait_for_function(
        "document.querySelectorAll('.said.agent').length === 3"
        " && document.querySelector('.turn').dataset.turn === 'turn_idle'",
        timeout=MINUTE_MS,
    )
    played = heard(page)
    show(page, "timing")
    turns = page.evaluate("window.turns")
    page.click("#start")
    expect(page.locator("#start")).to_have_class("start start")
    (session,) = wire.data("session_info")
    log = server.folder / f"{session['session_id']}.jsonl"
    assert len(played) == 1, "one AudioContext for the whole conversation"
    wait_for_its_end(page, log)
    return Talk(watched, wire, played[0], session_log.read(log), log.with_suffix(".wav"), turns)


def wait_for_its_end(page: Page, log: Path) -> None:
    """The log is written once a second."""
    for _ in range(100):
        if "conversation_end" in log.read_text("utf-8"):
            return
        page.wait_for_timeout(100)
    pytest.fail("the log does not tell of the end of the conversation")


def texts(page: Page, who: str) -> list[str]:
    return [text.strip() for text in page.locator(f".said.{who} p").all_inner_texts()]


def test_both_sides_are_shown_as_they_spoke(talk: Talk) -> None:
    """The recogniser is a real one, and may hear a word more."""
    said = texts(talk.page, "user")
    asked = ("what can you do", "time is it", "two plus three")
    assert len(said) == len(asked)
    assert all(words in text for words, text in zip(asked, said, strict=True))
    answers = texts(talk.page, "agent")
    assert answers[HELP].startswith("I can tell you the time")
    assert answers[TIME].startswith("It is ")
    assert answers[SUM] == "2 plus 3 is 5."


def test_the_interruption_is_seen_as_it_happens(talk: Talk) -> None:
    ours = [turn.removeprefix("turn_") for turn in talk.turns]
    assert "ducked" in ours, "it lowers its voice first"
    after = ours[ours.index("ducked") :]
    before = after[: after.index("speaking")]
    assert "paused" in before or "listening" in before, "then it listens, and answers"
    assert after[-1] == "idle"


def test_nothing_went_wrong_on_the_page(talk: Talk) -> None:
    talk.watched.nothing()


def test_replies_are_played_without_a_lost_sample_or_a_gap(talk: Talk, figure: Figure) -> None:
    gaps = talk.gaps_ms()
    figure(f"gaps between chunks: {len(gaps)}, the longest {max(gaps, default=0):.1f} ms")
    for index in (TIME, SUM):
        reply = talk.wire.replies[index]
        assert reply.finished
        placed = [place.chunk for place in talk.places(index)]
        assert placed == reply.chunks, "every sample, in order"
    assert not gaps or (talk.loaded and max(gaps) < 200)


def test_the_interrupted_reply_is_lowered_and_then_cut_off(talk: Talk) -> None:
    reply, places = talk.wire.replies[HELP], talk.places(HELP)
    assert not reply.finished
    assert places[-1].end - places[0].at > RATE, "as it was sent, until the user was heard"
    at, rest = places[-1].end, np.concatenate([c.pcm for c in reply.chunks[len(places) :]])
    played = talk.heard.samples[at : at + len(rest)]
    changed = int(np.flatnonzero(played != rest)[0])
    lowered = slice(changed + RATE // 20, int(np.flatnonzero(played)[-1]) - FADE)
    was, became = rest[lowered].astype(float), played[lowered].astype(float)
    assert len(was), "it was heard more softly for a while"
    assert np.corrcoef(was, became)[0, 1] >= 0.99
    assert np.abs(became).sum() < 0.3 * np.abs(was).sum()


def test_acknowledgements_agree_with_what_was_played(talk: Talk, figure: Figure) -> None:
    off = [
        abs(talk.wire.acks[place.chunk.index] - talk.heard.wall_ms(place.end))
        for reply in (HELP, TIME, SUM)
        for place in talk.places(reply)
    ]
    middle, most = np.median(off), max(off)
    figure(f"acknowledgements: off by {middle:.1f} ms in the median, at most {most:.1f} ms")
    assert len(off) > 20
    assert most <= 10


def test_the_log_tells_the_same_at_the_same_times(talk: Talk) -> None:
    """Each chunk left the server before it was heard, and was acknowledged right after it."""
    sent = {f.message["data"]["chunk_index"]: f.t for f in logged(talk, "sent", "tts_chunk_meta")}
    acked = {f.message["chunk_index"]: f.t for f in logged(talk, "received", "tts_chunk_played")}
    wall = talk.log.header.wall_ms
    for place in [*talk.places(TIME), *talk.places(SUM)]:
        begins, ends = talk.heard.wall_ms(place.at), talk.heard.wall_ms(place.end)
        assert wall + 1000 * sent[place.chunk.index] <= begins + 2
        assert ends - 10 <= wall + 1000 * acked[place.chunk.index] <= ends + 500


def logged(talk: Talk, side: str, action: str) -> list[Any]:
    return [f for f in getattr(talk.log, side) if f.message and f.message["action"] == action]


def test_the_recording_has_both_sides(talk: Talk) -> None:
    """As far as it has been written: it is behind, for what may still be interrupted."""
    with wave.open(str(talk.recording)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, RATE)
        user, agent = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2).T
    assert np.abs(user).max() > 1000
    reply = talk.wire.replies[TIME].pcm
    at, correlation = Heard(agent, []).find(reply)
    assert correlation >= 0.99
    assert at > 0


def test_what_was_never_heard_is_crossed_out(talk: Talk) -> None:
    reply = talk.page.locator(".said.agent").nth(HELP)
    said, lost = reply.locator(".heard").inner_text(), reply.locator("del").inner_text()
    whole = talk.wire.data("finish_resp")[HELP]["text"]
    assert said and lost
    assert f"{said.strip()} {lost.strip()}" == whole.strip()
    history = next(e for e in talk.log.events if e.name == "ReplyOver").fields["heard"]
    assert abs(len(said) - len(history)) <= 25, "the server remembers the same, within a chunk"


def test_all_words_of_a_whole_reply_were_heard(talk: Talk) -> None:
    for index in (TIME, SUM):
        reply = talk.page.locator(".said.agent").nth(index)
        assert reply.locator(".coming, del").count() == 0


def test_each_turn_has_a_waterfall_that_adds_up(talk: Talk) -> None:
    page = talk.page
    assert page.locator(".turns li").count() == 3
    rows = page.locator(".waterfall tbody tr")
    shown = dict(
        zip(
            rows.locator("th").all_inner_texts(),
            rows.locator("td:nth-of-type(2)").all_inner_texts(),
            strict=True,
        )
    )
    assert len(shown) == 8
    stages = [int(ms) for ms in shown.values() if ms.isdigit()]
    assert len(stages) >= 7
    total = int(page.locator(".figure strong").inner_text())
    assert abs(sum(stages) - total) <= len(stages)
    assert page.locator(".whole dd").all_inner_texts()[0].isdigit()


def test_the_figure_is_the_time_from_the_end_of_speech_to_the_first_sound(
    talk: Talk, figure: Figure
) -> None:
    shown = int(talk.page.locator(".figure strong").inner_text())
    first = talk.places(SUM)[0]
    begins = talk.heard.wall_ms(first.at + int(np.flatnonzero(first.chunk.pcm)[0]))
    frames = [f for f in talk.log.received if f.audio]
    microphone = read_wav(frames[0].audio.path)
    before = [f for f in frames if talk.log.header.wall_ms + 1000 * f.t < begins]
    loud = np.abs(np.frombuffer(microphone.pcm, "<i2")[: before[-1].audio.offset]) > 500
    end = int(np.flatnonzero(loud)[-1])
    (ended,) = (f for f in frames if 0 <= end - f.audio.offset < f.audio.samples)
    true = begins - (talk.log.header.wall_ms + 1000 * ended.t)
    figure(f"end of speech to first sound: {true:.0f} ms, shown as {shown} ms")
    assert abs(shown - true) <= 150


def test_decisions_have_their_reasons(talk: Talk) -> None:
    why = talk.page.locator(".decisions li").all_inner_texts()
    assert sum("Answered" in line and "reason=" in line for line in why) == 3

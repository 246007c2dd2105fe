"""The ten rules of the wire protocol's section 1.9, with a model of the original's page."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from browser import Browser, FlushingTransport, talk, wait
from coded import COUGH, QUIET, Book, CodedAgent, CodedASR, CodedTTS, counted, word_frames
from original_page import OriginalPage

from xtalk import events
from xtalk.limiter import SessionLimiter
from xtalk.pipeline import DefaultPipeline
from xtalk.plugins import Plugins
from xtalk.service import DefaultService, Host
from xtalk.testing.fakes import LoudnessVAD

LONG = ("One two three four five six. ", "Seven eight nine ten and so on. ", "That was all of it.")
RTTS = (0.002, 0.04, 0.18)


def says(*parts: Any) -> Any:
    return lambda turn_id: (0.1, *parts)


def models(book: Book, script: Any = None, *, asr: Any = None, **tts: Any) -> DefaultPipeline:
    return DefaultPipeline(
        asr=asr or CodedASR(),
        llm_agent=CodedAgent(book, script or says(*LONG)),
        tts=CodedTTS(book, **tts),
    )


def words(*said: str) -> list[bytes]:
    return [frame for word in said for frame in word_frames(word)]


def played(page: OriginalPage) -> bytes:
    """What has sounded, without the silence that the server adds."""
    return b"".join(piece.pcm.rstrip(b"\0") for piece in page.played)


def whole(book: Book, turn_id: int = 1) -> bytes:
    return counted(turn_id, 0, book.replies[turn_id].samples)


# --- 1: session_info first, anything may come before it, pings are answered also in the queue ----


def test_rule_1_session_info_is_first_whatever_the_client_sent_before(run: Any) -> None:
    async def main() -> None:
        host = Host(DefaultService(pipeline=models(Book())), plugins=Plugins())
        transport = FlushingTransport()
        for item in (QUIET, '{"action":"ping","timestamp":5}', "nonsense", "[]", b"\1", b""):
            transport.push(item)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(host.connect, transport)
            await anyio.sleep(1)
            sent = [json.loads(item) for _, item in transport.sent if isinstance(item, str)]
            assert sent[0]["action"] == "session_info" and sent[0]["data"]["session_id"]
            assert [s["client_timestamp"] for s in sent if s["action"] == "pong"] == [5]
            transport.vanish()

    run(main)


def test_rule_1_the_heartbeat_of_a_queued_page_is_answered(run: Any) -> None:
    async def main() -> None:
        service = DefaultService(pipeline=models(Book()))
        host = Host(service, SessionLimiter(1), Plugins())
        first, second = FlushingTransport(), FlushingTransport(latency_s=0.05)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(host.connect, first)
            await anyio.sleep(1)
            tasks.start_soon(host.connect, second)
            async with Browser(second, OriginalPage()) as browser:
                await anyio.sleep(100)
                assert len(browser.data("pong")) == 6
                assert len(browser.data("queue_status")) == 20
                first.vanish()
                await browser.until("session_info")
                assert browser.actions().index("queue_granted") < browser.actions().index(
                    "session_info"
                )
                await browser.say(words("yes", "why"))
                assert await browser.until("finish_asr") == (1, "yes why")
            second.vanish()

    run(main)


# --- 2: queue_granted only to those who were queued -----------------------------------------------


def test_rule_2_who_gets_in_at_once_is_not_told_that_it_is_their_turn(run: Any) -> None:
    async def main() -> None:
        async with talk(models(Book())) as (browser, _):
            await anyio.sleep(1)
            assert browser.actions() == ["session_info"]

    run(main)


# --- 3 and 4: chunks ------------------------------------------------------------------------------

VOICES: dict[str, dict[str, Any]] = {
    "whole sentences": {"pieces": (10**9,)},
    "10 ms": {"pieces": (480,), "wait_s": 0.001},
    "odd sizes": {"pieces": (7, 4099, 1, 12_345), "wait_s": 0.005},
    "slower than speech": {"pieces": (4800,), "wait_s": 0.15},
    "in bursts": {"pieces": (24_000,), "wait_s": 0.9},
    "almost nothing": {"char_s": 0.0004},
}


@pytest.mark.parametrize("voice", VOICES)
@pytest.mark.parametrize("rtt", RTTS)
def test_rules_3_and_4_a_reply_is_framed_and_ends_with_its_last_chunk(
    run: Any, voice: str, rtt: float
) -> None:
    book = Book()

    async def main() -> None:
        async with talk(models(book, **VOICES[voice]), rtt=rtt) as (browser, server):
            await browser.say(words("yes"))
            await browser.until("tts_finished")
            await browser.idle()
            await anyio.sleep(2)
            assert played(browser.page) == whole(book)
            items = [item for _, item in server.transport.sent]
            for index, item in enumerate(items):
                if isinstance(item, bytes):
                    assert json.loads(items[index - 1])["action"] == "tts_chunk_meta"
                    assert len(item) % 960 == 0 and 960 <= len(item) <= 19_200
            flow = [a for a in browser.actions() if a in ("start_tts", "chunk", "tts_finished")]
            assert flow[0] == "start_tts" and flow[-1] == "tts_finished"
            assert set(flow[1:-1]) == {"chunk"}
            _ends_in_one_flush(server.transport)

    run(main)
    assert [(r.outcome, r.heard) for r in book.records] == [("done", book.replies[1].text)]


def _ends_in_one_flush(transport: FlushingTransport) -> None:
    flush = next(f for f in transport.flushes if any("tts_finished" in str(i) for i in f))
    finished = next(i for i, item in enumerate(flush) if "tts_finished" in str(item))
    before = [i for i, item in enumerate(flush[:finished]) if isinstance(item, bytes)]
    assert before, "the end came without a chunk beside it"
    last = flush[before[-1]]
    assert isinstance(last, bytes) and len(last) >= 5760, "60 ms, or the flag comes too late"


def test_rule_4_each_reply_has_its_own_start_and_end(run: Any) -> None:
    async def main() -> None:
        async with talk(models(Book())) as (browser, _):
            for _ in range(3):
                await browser.say(words("yes", "two"))
                await browser.until("finish_asr")
                await anyio.sleep(1)
                await browser.idle()
            flow = [a for a in browser.actions() if a in ("start_tts", "tts_finished")]
            assert flow == ["start_tts", "tts_finished"] * 3

    run(main)


# --- 5: one answer to every start mark ------------------------------------------------------------

SEGMENTS: dict[str, list[bytes]] = {
    "speech": words("why", "because", "tomorrow"),
    "a cough": [COUGH] * 6,
    "silence": [QUIET] * 10,
    "a backchannel": words("uh-huh"),
}
PHASES = ("idle", "think", "talk", "drain")


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("segment", SEGMENTS)
@pytest.mark.parametrize("rtt", RTTS)
def test_rule_5_every_start_mark_has_exactly_one_answer(
    run: Any, segment: str, phase: str, rtt: float
) -> None:
    book = Book()

    def script(turn_id: int) -> Any:
        return (3.0 if phase == "think" else 0.1, *LONG)

    async def main() -> None:
        async with talk(models(book, script), rtt=rtt) as (browser, server):
            if phase != "idle":
                await browser.say(words("one"))
                await browser.until(
                    {"think": "finish_asr", "talk": "start_tts"}.get(phase, "tts_finished")
                )
            if phase == "talk":
                await anyio.sleep(0.3)
            before = len(browser.log)
            verdicts = server.watch(events.VerificationResult)
            await browser.say(SEGMENTS[segment])
            await wait(lambda: verdicts)
            await anyio.sleep(rtt + 0.01)
            answers = [
                a
                for a in browser.actions(before)
                if a in ("stop_tts", "resume_tts", "invalid_asr_result")
            ]
            accepted = verdicts[0].is_valid
            assert accepted is (segment == "speech")
            if accepted:
                assert answers[0] == "stop_tts" and "resume_tts" not in answers
            elif phase in ("talk", "drain"):
                assert answers == ["resume_tts"]
            else:
                assert "invalid_asr_result" in answers and "stop_tts" not in answers[:1]
            await browser.idle()
            await anyio.sleep(5)
            await browser.idle()
            if not accepted and phase in ("talk", "drain"):
                assert played(browser.page) == whole(book)
            assert len(verdicts) == 1
            if not accepted and phase != "idle":  # what was on its way is heard to its end
                await wait(lambda: book.records)
                assert [r.outcome for r in book.records] == ["done"]

    run(main)


@pytest.mark.parametrize("final_s", [0.05, 9.0], ids=["fails", "comes too late"])
@pytest.mark.parametrize("phase", ["idle", "talk"])
def test_rule_5_a_segment_that_cannot_be_decoded_is_answered_too(
    run: Any, final_s: float, phase: str
) -> None:
    book = Book()

    class Slow(CodedASR):
        def clone(self) -> Slow:
            return Slow(final_s=self.final_s, fails=self.fails)

        async def transcribe(self, frames: Any) -> Any:
            if self.segments == 1:
                self.final_s = final_s
            async for transcript in super().transcribe(frames):
                if transcript.final or self.segments == 1:
                    yield transcript

    async def main() -> None:
        asr = Slow(fails=(1,) if final_s < 1 else ())
        async with talk(models(book, asr=asr)) as (browser, _):
            await browser.say(words("one"))
            if phase == "idle":
                await browser.until("tts_finished")
                await browser.idle()
                await anyio.sleep(1)
            else:
                await browser.until("start_tts")
                await anyio.sleep(0.5)
            before = len(browser.log)
            await browser.say(words("two"))
            answer = "resume_tts" if phase == "talk" else "invalid_asr_result"
            await browser.until(answer, after=before)
            assert "stop_tts" not in browser.actions(before)
            await browser.idle()
            await anyio.sleep(8)
            assert browser.page.state == "idle"
            assert played(browser.page) == whole(book)

    run(main)


def test_rule_5_with_the_servers_detector_a_misfire_is_answered_early(run: Any) -> None:
    book = Book()
    pipeline = models(book)
    pipeline.vad_model = LoudnessVAD()

    async def main() -> None:
        async with talk(pipeline) as (browser, _):
            await browser.say(words("one", "two"))
            await browser.until("start_tts")
            await anyio.sleep(0.5)
            before, at = len(browser.log), browser.now
            browser.mark(True)
            await browser.until("resume_tts", after=before)
            assert browser.now - at < 0.6  # the page's own end mark comes 1.6 s after a click
            await anyio.sleep(1.1)
            browser.mark(False)
            await browser.idle()
            assert played(browser.page) == whole(book)

    run(main)


# --- 6: tts_playback_finished is advice, stray acknowledgements do no harm ------------------------


def test_rule_6_an_early_end_of_playback_does_not_end_the_reply(run: Any) -> None:
    book = Book()

    async def main() -> None:
        async with talk(models(book)) as (browser, _):
            await browser.say(words("one"))
            await browser.until("start_tts")
            await anyio.sleep(0.2)
            browser.tell("tts_playback_finished")
            for index in (0, -1, 999, 10**12):
                browser.tell("tts_chunk_played", chunk_index=index)
            await browser.until("tts_finished")
            await browser.idle()
            await anyio.sleep(1)

    run(main)
    assert [r.outcome for r in book.records] == ["done"]
    assert book.records[0].heard == book.replies[1].text


def test_rule_6_a_page_that_runs_dry_hears_the_whole_reply_after_a_barge_in(run: Any) -> None:
    """The page's flag of the reply that was interrupted survives: its next underrun looks final."""
    book = Book()

    def script(turn_id: int) -> Any:
        return (0.1, "One two three.") if turn_id == 1 else (0.1, LONG[0], 4.0, LONG[1])

    async def main() -> None:
        async with talk(models(book, script)) as (browser, _):
            await browser.say(words("one"))
            await browser.until("tts_finished")
            await browser.say(words("stop", "two", "three", "four"))
            await browser.until("finish_resp", after=len(browser.log))
            await anyio.sleep(8)
            await browser.idle()

    run(main)
    assert [r.outcome for r in book.records] == ["interrupted", "done"]


def test_a_voice_that_breaks_in_a_sentence_is_not_heard_beyond_it(run: Any) -> None:
    book = Book()

    class Breaking(CodedTTS):
        async def async_synthesize_stream(self, text: str, **kwargs: Any) -> Any:
            async for piece in super().async_synthesize_stream(text):
                yield piece
                if self.book.latest.samples > 30_000:
                    raise RuntimeError("the voice broke")

    async def main() -> None:
        pipeline = DefaultPipeline(
            asr=CodedASR(), llm_agent=CodedAgent(book, says(*LONG)), tts=Breaking(book)
        )
        async with talk(pipeline) as (browser, _):
            await browser.say(words("one"))
            await browser.until("tts_finished")
            await browser.idle()
            await anyio.sleep(1)

    run(main)
    assert book.records[0].outcome == "failed"
    assert "One two three".startswith(book.records[0].heard)


# --- 7 and 8: turn ids and their order ------------------------------------------------------------


@pytest.mark.parametrize("rtt", RTTS)
def test_rules_7_and_8_user_and_reply_have_one_id_and_come_in_order(run: Any, rtt: float) -> None:
    book = Book()

    async def main() -> None:
        asr = CodedASR(final_s=0.4)
        async with talk(models(book, says("Yes. "), asr=asr), rtt=rtt) as (browser, server):
            for said in (words("one", "two"), [COUGH] * 8, words("three"), [QUIET] * 5):
                await browser.say(said)
                await anyio.sleep(3)
            server.session.post(events.TurnLLMAgentStartRequested(text="something was uploaded"))
            await anyio.sleep(3)
            await browser.say(words("four"))
            await anyio.sleep(4)
            assert [t for t, _ in browser.data("finish_asr")] == [1, 2, 4]
            assert [t for t, _ in browser.data("finish_resp")] == [1, 2, 3, 4]
            assert min(t for t, _ in browser.data("update_asr")) == 1
            finished: set[int] = set()
            for action, data in browser.log:
                if action == "finish_asr":
                    finished.add(data[0])
                elif action == "update_asr":
                    assert data[0] not in finished
                elif action == "update_resp" and data[0] != 3:
                    assert data[0] in finished

    run(main)


# --- 9: pre-roll ----------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [0.1, 0.3, 0.5])
def test_rule_9_words_before_the_start_mark_are_heard(run: Any, late: float) -> None:
    async def main() -> None:
        async with talk(models(Book())) as (browser, _):
            await anyio.sleep(1)
            await browser.say(words("three", "two", "one"), onset=late)
            assert await browser.until("finish_asr") == (1, "three two one")

    run(main)


def test_rule_9_a_click_just_before_speech_costs_no_word(run: Any) -> None:
    """The server's detector ends the click's segment when the user has begun already."""
    pipeline = models(Book())
    pipeline.vad_model = LoudnessVAD()

    async def main() -> None:
        async with talk(pipeline) as (browser, _):
            await anyio.sleep(1)
            browser.mark(True)
            await anyio.sleep(0.2)
            browser.plan(0.0, words("three", "two", "one"))
            await anyio.sleep(2)
            browser.mark(False)
            assert await browser.until("finish_asr") == (1, "three two one")

    run(main)


# --- 10: the latency client -----------------------------------------------------------------------


@pytest.mark.parametrize("burst", [False, True], ids=["by the clock", "in a burst"])
def test_rule_10_the_latency_client_gets_its_figures(run: Any, burst: bool) -> None:
    """Frames, then nothing for half a second, then the end mark; no acks, no pings."""
    book = Book()

    async def main() -> None:
        host = Host(DefaultService(pipeline=models(book)), plugins=Plugins())
        transport = FlushingTransport(latency_s=0.01)

        def send(action: str, **fields: Any) -> None:
            stamp = int(1000 * anyio.current_time())
            transport.push(json.dumps({"action": action, "timestamp": stamp, **fields}))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(host.connect, transport)
            send("conversation_start")
            with anyio.move_on_after(5):  # it waits for a queue_granted that never comes
                while True:
                    item = await transport.next()
                    assert isinstance(item, str) and json.loads(item)["action"] == "session_info"
            send("vad_speech_start", turn_id=1)
            began = anyio.current_time()
            for number, frame in enumerate(words("why", "because", "tomorrow"), 1):
                if not burst:
                    await anyio.sleep_until(began + 0.032 * number)
                transport.push(frame)
            await anyio.sleep(0.5)
            send("vad_speech_end", turn_id=1)
            metrics = None
            with anyio.fail_after(60):
                while metrics is None:
                    item = await transport.next()
                    if isinstance(item, str) and "latency_metrics" in item:
                        metrics = json.loads(item)["data"]
            assert {
                "network_latency_ms",
                "asr_latency_ms",
                "llm_first_token_ms",
                "llm_sentence_ms",
                "tts_first_chunk_ms",
            } <= set(metrics)
            assert metrics["asr_latency_ms"] == pytest.approx(50, abs=3)
            assert metrics["llm_first_token_ms"] == pytest.approx(100, abs=3)
            send("conversation_end")
            transport.vanish()

    run(main)
    assert len(book.records) == 1


def test_rule_10_an_error_is_a_plain_text(run: Any) -> None:
    async def main() -> None:
        script = says(RuntimeError("key sk-123"))
        async with talk(models(Book(), script)) as (browser, _):
            await browser.say(words("one"))
            assert await browser.until("error") == "The agent failed to answer."
            await browser.idle()

    run(main)

"""Whole conversations in virtual time: clean turns, barge-in, coughs, failures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from xtalk.agent import ToolCall
from xtalk.audio import AudioFrame, leading_silence
from xtalk.errors import ModelError
from xtalk.pipeline import DefaultPipeline
from xtalk.speech.interfaces import SpeechChunk, SpeechSpeedController, Word
from xtalk.testing.fakes import LoudnessVAD, ScriptedAgent, ScriptedASR, ScriptedTTS, tone
from xtalk.wire import messages as m

LONG = ("The first sentence is here. ", "The second sentence follows it. ", "And a third one ends.")


def test_a_clean_turn_in_exact_times(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk(config={"vad_redemption_ms": 300, "vad_min_speech_ms": 100}) as call:
            await call.say(1.0)
            end = anyio.current_time()
            await call.client.wait_until_heard()
            chunk = next(e for e in call.client.timeline if isinstance(e.message, m.TtsChunk))
            # endpoint 300 ms, recognition 50, first token 100, first audio 80
            assert chunk.at - end == pytest.approx(0.53, abs=0.035)
            assert call.actions() == [
                "update_asr",
                "update_asr",
                "finish_asr",
                "update_resp",
                "update_resp",
                "finish_resp",
                "start_tts",
                "tts_finished",
            ]

    run(main)


def test_what_is_heard_is_what_was_synthesised(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk(agent=ScriptedAgent(LONG)) as call:
            await call.say()
            await call.client.wait_until_heard()
            made = b"".join(tone(0.05 * len(text.strip())) for text in LONG)
            assert call.heard()[: len(made)] == made

    run(main)


def test_latency_figures_are_those_of_the_script(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk() as call:
            await call.say()
            figures = await call.client.wait_for(m.LatencyMetrics)
            assert figures.asr_latency_ms == pytest.approx(50, abs=2)
            assert figures.llm_first_token_ms == pytest.approx(100, abs=2)
            assert figures.tts_first_chunk_ms == pytest.approx(80, abs=2)
            assert figures.silence_ms == pytest.approx(500, abs=35)
            assert figures.e2e_latency_ms == pytest.approx(figures.silence_ms + 230, abs=4)

    run(main)


def test_an_interruption_stops_the_reply_and_history_holds_what_was_heard(
    talk: Any, run: Any
) -> None:
    agent = ScriptedAgent(LONG)

    async def main() -> None:
        asr = ScriptedASR(["tell me something", "stop that please now"])
        async with talk(asr=asr, agent=agent) as call:
            await call.say()
            await call.client.wait_for(m.StartTts)
            await anyio.sleep(1.0)
            before = len(call.client.timeline)
            await call.say()
            await call.client.wait_for(m.FinishAsr, after=before)
            told = call.actions(before)
            assert told.index("pause_tts") < told.index("stop_tts") < told.index("finish_asr")
            await call.client.wait_until_heard(after=before)

    run(main)
    first, second = agent.records
    assert (first.outcome, second.outcome) == ("interrupted", "done")
    assert first.heard and "".join(LONG).startswith(first.heard)
    assert len(first.heard) < len("".join(LONG)) / 2
    assert second.heard == "".join(LONG)


@pytest.mark.parametrize("pauses_itself", [False, True])
def test_a_cough_costs_no_sample_of_the_reply(talk: Any, run: Any, pauses_itself: bool) -> None:
    agent = ScriptedAgent(LONG)

    async def main() -> None:
        asr = ScriptedASR(["tell me something", "", ""])
        marks = {"vad": None} if pauses_itself else {}
        async with talk(asr=asr, agent=agent, pauses_itself=pauses_itself, **marks) as call:

            async def speak(seconds: float) -> None:
                pcm = tone(seconds, rate=16_000, level=8000)
                if pauses_itself:
                    await call.client.say_with_marks(pcm, end_delay_s=0.5)
                else:
                    await call.client.say(pcm)

            await speak(1.0)
            await call.client.wait_for(m.StartTts)
            await anyio.sleep(1.0)
            before = len(call.client.timeline)
            await speak(0.4)
            await call.client.wait_for(m.ResumeTts, after=before)
            assert "stop_tts" not in call.actions(before)
            await call.client.wait_until_heard()
            heard = call.heard()
            made = b"".join(tone(0.05 * len(text.strip())) for text in LONG)
            assert made in heard or heard.replace(bytes(5760), b"").startswith(made[:48000])
            await anyio.sleep(3)

    run(main)
    assert [record.outcome for record in agent.records] == ["done"]
    assert agent.records[0].heard == "".join(LONG)


def test_speech_while_the_agent_thinks_replaces_the_turn(talk: Any, run: Any) -> None:
    agent = ScriptedAgent(first_s=3.0)

    async def main() -> None:
        asr = ScriptedASR(["first question", "second question"])
        async with talk(asr=asr, agent=agent) as call:
            await call.say()
            await call.client.wait_for(m.FinishAsr)
            await call.say()
            await call.client.wait_until_heard()
            assert [f.text for f in call.client.received(m.FinishAsr)] == [
                "first question",
                "second question",
            ]

    run(main)
    assert [(r.user, r.outcome) for r in agent.records] == [
        ("first question", "interrupted"),
        ("second question", "done"),
    ]
    assert len(agent.closings) == 2


def test_a_recogniser_that_fails_is_told_and_the_next_turn_works(talk: Any, run: Any) -> None:
    async def main() -> None:
        asr = ScriptedASR([RuntimeError("key sk-123 refused"), "hello again"])
        async with talk(asr=asr) as call:
            await call.say()
            error = await call.client.wait_for(m.Error)
            assert error.message == "Speech recognition failed."
            await call.client.wait_for(m.InvalidAsrResult)
            assert call.actions() == ["error", "invalid_asr_result"]
            await call.say()
            assert (await call.client.wait_for(m.FinishAsr)).text == "hello again"

    run(main)


@pytest.mark.parametrize("parts", [[RuntimeError("boom")], ["It starts well. ", RuntimeError("x")]])
def test_an_agent_that_fails_is_told_and_the_next_turn_works(
    talk: Any, run: Any, parts: list[Any]
) -> None:
    replies = iter([parts, ["All is well."]])
    agent = ScriptedAgent(lambda _: next(replies))

    async def main() -> None:
        async with talk(agent=agent) as call:
            await call.say()
            error = await call.client.wait_for(m.Error)
            assert error.message == "The agent failed to answer."
            await anyio.sleep(3)
            before = len(call.client.timeline)
            await call.say()
            await call.client.wait_until_heard(after=before)
            starts, ends = call.client.received(m.StartTts), call.client.received(m.TtsFinished)
            assert len(starts) == len(ends)

    run(main)
    assert [record.outcome for record in agent.records] == ["failed", "done"]


def test_a_voice_that_fails_is_told_and_the_conversation_goes_on(talk: Any, run: Any) -> None:
    agent = ScriptedAgent()

    async def main() -> None:
        async with talk(
            agent=agent, tts=ScriptedTTS(error=ModelError("The voice is down."))
        ) as call:
            for _ in range(2):
                before = len(call.client.timeline)
                await call.say()
                error = await call.client.wait_for(m.Error, after=before)
                assert error.message == "The voice is down."
                await call.client.wait_for(m.InvalidAsrResult, after=before)
                await anyio.sleep(1)

    run(main)
    assert [record.outcome for record in agent.records] == ["failed", "failed"]


def test_an_agent_that_says_nothing_leaves_nobody_waiting(talk: Any, run: Any) -> None:
    agent = ScriptedAgent(())

    async def main() -> None:
        async with talk(agent=agent) as call:
            await call.say()
            await call.client.wait_for(m.InvalidAsrResult)
            assert "start_tts" not in call.actions()

    run(main)
    assert [record.outcome for record in agent.records] == ["done"]


def test_a_tool_changes_the_voice_and_only_success_is_acknowledged(talk: Any, run: Any) -> None:
    replies = iter(
        [
            [ToolCall("set_voice", {"name": "high"}), "Like this."],
            [ToolCall("set_voice", {"name": "nobody"}), "Or this."],
        ]
    )

    async def main() -> None:
        async with talk(agent=ScriptedAgent(lambda _: next(replies))) as call:
            await call.say()
            assert (await call.client.wait_for(m.VoiceChanged)).name == "high"
            await call.client.wait_until_heard()
            assert tone(0.5, hertz=440) in call.heard()
            before = len(call.client.timeline)
            await call.say()
            await call.client.wait_for(m.Error, after=before)
            assert not call.client.received(m.VoiceChanged, after=before)
            assert len(call.client.received(m.ToolCalled)) == 2

    run(main)


@pytest.mark.parametrize("speed", ["fast", None, [], float("nan")])
def test_a_speed_that_is_no_number_is_refused(talk: Any, run: Any, speed: Any) -> None:
    class Quick(ScriptedTTS):
        def set_speed(self, speed: float) -> None:
            pytest.fail("that is no speed")

    agent = ScriptedAgent([ToolCall("set_speed", {"speed": speed}), "Like this."])

    async def main() -> None:
        async with talk(agent=agent, tts=Quick()) as call:
            await call.say()
            error = await call.client.wait_for(m.Error)
            assert error.message == "This voice cannot change its speed to that."
            await call.client.wait_until_heard()

    run(main)


def test_a_speed_outlives_the_voice_that_was_asked_for_it(talk: Any, run: Any) -> None:
    """Where a controller changed the pace before, a voice that can do it itself takes over."""

    class Pace(SpeechSpeedController):
        def process(self, audio: bytes, speed: float) -> bytes:
            return audio

    class Quick(ScriptedTTS):
        speeds: list[float] = []  # noqa: RUF012 - of all copies

        def set_speed(self, speed: float) -> None:
            self.speeds.append(speed)

    pipeline = DefaultPipeline(
        asr=ScriptedASR(),
        llm_agent=ScriptedAgent(),
        tts=ScriptedTTS(),
        vad=LoudnessVAD(),
        speech_speed_controller=Pace(),
    )

    def service(blueprint: Any) -> None:
        blueprint.alternatives = {"tts": {"quick": Quick()}}

    async def main() -> None:
        async with talk(pipeline=pipeline, service=service) as call:
            call.client.send(m.ChangeTtsSpeed(speed=1.2))
            call.client.send(m.ChangeTtsModel(model_type="quick"))
            await anyio.sleep(0.1)
            assert Quick.speeds == [1.2]
            call.client.send(m.ChangeTtsSpeed(speed=9))
            await anyio.sleep(0.1)
            assert Quick.speeds == [1.2, 1.5]

    run(main)


@pytest.mark.parametrize("acknowledges", [True, False])
def test_the_least_audio_that_may_be_ahead_is_enough(
    talk: Any, run: Any, acknowledges: bool
) -> None:
    async def main() -> None:
        config = {"ahead_sec": 0.2}
        async with talk(config=config, acknowledges=acknowledges, latency_s=0.05) as call:
            await call.say()
            await call.client.wait_until_heard()
            assert call.actions()[-1] == "tts_finished"

    run(main)


def test_a_client_changes_voice_and_speed(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk() as call:
            call.client.send(m.ChangeVoice(voice_name="high"))
            assert (await call.client.wait_for(m.VoiceChanged)).name == "high"
            call.client.send(m.ChangeTtsSpeed(speed=1.2))
            assert "speed" in (await call.client.wait_for(m.Error)).message

    run(main)


def test_conversation_end_stops_the_reply(talk: Any, run: Any) -> None:
    agent = ScriptedAgent(LONG)

    async def main() -> None:
        async with talk(agent=agent) as call:
            await call.say()
            await call.client.wait_for(m.StartTts)
            call.client.send(m.ConversationEnd())
            await anyio.sleep(0.3)
            before = len(call.client.timeline)
            await anyio.sleep(5)
            assert call.client.timeline[before:] == []
            assert len(agent.records) == 1

    run(main)
    assert agent.records[0].outcome == "interrupted"


def test_a_client_that_vanishes_ends_everything(talk: Any, run: Any) -> None:
    agent = ScriptedAgent(LONG)

    async def main() -> None:
        async with talk(agent=agent) as call:
            await call.say()
            await call.client.wait_for(m.StartTts)
            call.transport.vanish()
            await anyio.sleep(0.01)
            assert not call.host.sessions

    run(main)
    assert [record.outcome for record in agent.records] == ["interrupted"]
    assert len(agent.closings) == 1


@pytest.mark.parametrize("microphone", [True, False])
def test_an_idle_client_is_sent_away_with_a_word(talk: Any, run: Any, microphone: bool) -> None:
    """Whatever its microphone and its heartbeat go on sending."""

    async def main() -> None:
        began = anyio.current_time()
        async with talk(config={"idle_timeout_sec": 40}, microphone=microphone) as call:
            error = await call.client.wait_for(m.Error, timeout=41)
            assert anyio.current_time() - began == pytest.approx(40, abs=0.1)
            assert error.message == "Nothing was heard for 40 s; good-bye."
            await anyio.sleep(1)
            assert call.transport.closed == (1000, "idle")

    run(main)


def test_who_speaks_listens_or_asks_for_something_is_not_idle(talk: Any, run: Any) -> None:
    long = ScriptedAgent(["A sentence that takes a while to be spoken. "] * 10)

    async def main() -> None:
        async with talk(agent=long, config={"idle_timeout_sec": 10}) as call:
            await anyio.sleep(8)
            await call.say()
            await call.client.wait_until_heard(timeout=60)
            await anyio.sleep(8)
            call.client.send(m.ChangeTtsSpeed(speed=1.2))
            await anyio.sleep(8)
            assert call.transport.closed is None
            await anyio.sleep(3)
            assert call.transport.closed == (1000, "idle")

    run(main)


def test_a_client_that_does_not_read_loses_only_its_own_session(talk: Any, run: Any) -> None:
    async def main() -> None:
        endless = ScriptedAgent(["word " * 2000 + ". "] * 400, interval_s=0.06)
        async with talk(agent=endless) as call:
            await call.say()
            await call.client.wait_for(m.FinishAsr)
            call.transport.stall()
            await anyio.sleep(60)
            assert not call.host.sessions

    run(main)


@pytest.mark.parametrize(("lead_s", "left_s"), [(0.0, 0.0), (0.3, 0.0), (2.0, 1.5)])
def test_silence_in_front_of_a_sentence_is_trimmed_unless_it_is_meant(
    talk: Any, run: Any, lead_s: float, left_s: float
) -> None:
    class Slow(ScriptedTTS):
        def synthesize(self, text: str) -> bytes:
            return bytes(2 * round(lead_s * 48_000)) + tone(0.5)

    async def main() -> None:
        async with talk(agent=ScriptedAgent(["One sentence."]), tts=Slow()) as call:
            await call.say()
            await call.client.wait_until_heard()
            begins = leading_silence(call.heard()) / 48_000
            assert begins == pytest.approx(left_s, abs=0.011)

    run(main)


def test_words_are_said_earlier_by_the_silence_that_was_trimmed(talk: Any, run: Any) -> None:
    class Timed(ScriptedTTS):
        async def async_synthesize_stream(self, text: str, **kwargs: Any) -> AsyncIterator[Any]:
            words = (
                Word(text="One", start=0.4, end=0.9),
                Word(text="two.", start=1.4, end=1.9),
            )
            yield SpeechChunk(audio=AudioFrame(bytes(38_400) + tone(1.5), 48_000), words=words)

    async def main() -> None:
        async with talk(agent=ScriptedAgent(["One two."]), tts=Timed()) as call:
            await call.say()
            await call.client.wait_until_heard()
            sent_s, ends = 0.0, {}
            for chunk in call.client.received(m.TtsChunk):
                sent_s += len(chunk.pcm) / 96_000
                ends.setdefault(chunk.text_end, sent_s)
            assert ends[len("One")] == pytest.approx(0.5, abs=0.2), "a chunk is 0.2 s at most"

    run(main)


@pytest.mark.parametrize("policy", ["heard", "full", "marked"])
def test_the_policy_decides_what_is_remembered_of_a_cut_reply(
    talk: Any, run: Any, policy: str
) -> None:
    agent = ScriptedAgent(LONG)

    async def main() -> None:
        async with talk(agent=agent, config={"history": policy}) as call:
            await call.say()
            await call.client.wait_for(m.StartTts)
            await anyio.sleep(1.5)
            await call.say()
            await call.client.wait_until_heard(after=len(call.client.timeline))

    run(main)
    cut, whole = agent.records
    reply = "".join(LONG)
    assert whole.remembered == reply
    assert 0 < len(cut.heard) < len(reply)
    assert (
        cut.remembered
        == {
            "heard": cut.heard,
            "full": reply,
            "marked": f"{cut.heard.rstrip()} [interrupted]",
        }[policy]
    )


@pytest.mark.parametrize("round_trip_s", [-900, 900])
def test_an_absurd_round_trip_is_not_believed(talk: Any, run: Any, round_trip_s: float) -> None:
    """Of a client that tells nothing of its playing it says what was heard of a reply."""
    agent = ScriptedAgent(LONG)

    async def main() -> float:
        async with talk(agent=agent, acknowledges=False) as call:
            call.client.send(m.ClockSync(client_send_ts=0, client_recv_ts=round_trip_s))
            await call.say()
            await call.client.wait_for(m.StartTts)
            await anyio.sleep(1.5)
            await call.say()
            await call.client.wait_for(m.StopTts)
            return len(call.heard()) / 96_000

    played_s = run(main)
    assert 0 < 0.05 * len(agent.records[0].heard) <= played_s


def test_a_recogniser_that_is_late_again_and_again_is_told_of_once(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk(asr=ScriptedASR(final_s=2.5)) as call:
            told = []
            for _ in range(5):
                before = len(call.client.timeline)
                await call.say()
                await call.client.wait_until_heard(after=before)
                told.append([e.message for e in call.client.received(m.Error, after=before)])
            slow = ["Speech recognition is slower than speech here."]
            assert told == [[], [], slow, [], []]

    run(main)


def test_a_conversation_may_have_a_longest_length(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk(config={"session_limit_sec": 30}) as call:
            await call.client.wait_for(m.Error, timeout=40)
            await anyio.sleep(0.1)
            assert call.transport.closed == (1000, "time is up")

    run(main)


def test_an_agent_or_a_voice_that_falls_silent_fails_its_turn_in_time(
    talk: Any, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Stuck(ScriptedTTS):
        async def async_synthesize_stream(self, text: str, **kwargs: Any) -> Any:
            yield tone(0.3)
            await anyio.sleep_forever()

    waits = {"agent_timeout_sec": 5, "tts_timeout_sec": 3}

    async def main() -> None:
        async with talk(agent=ScriptedAgent(first_s=1e5), config=waits) as call:
            await call.say()
            await call.client.wait_for(m.FinishAsr)
            asked = anyio.current_time()
            error = await call.client.wait_for(m.Error, timeout=20)
            assert error.message == "The agent took too long to answer."
            assert anyio.current_time() - asked == pytest.approx(5, abs=0.1)
            await call.client.wait_for(m.InvalidAsrResult)
        async with talk(tts=Stuck(), config=waits) as call:
            await call.say()
            error = await call.client.wait_for(m.Error, timeout=20)
            assert error.message == "A model was silent for 3 s."
            assert "Stuck was silent for 3 s" in caplog.messages
            await call.client.wait_for(m.TtsFinished)

    run(main)

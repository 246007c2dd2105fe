"""What the latency figures say, and when nothing is said at all."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from xtalk import events
from xtalk.testing.fakes import ScriptedAgent, ScriptedASR, tone
from xtalk.wire import messages as m

LONG = ("The first sentence is here. ", "The second sentence follows it. ", "And a third one ends.")


def test_the_silence_that_ended_the_speech_is_part_of_the_figures(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk(config={"vad_redemption_ms": 700, "min_silence_ms": 700}) as call:
            await call.say(1.0)
            end = anyio.current_time()  # the last voiced frame has left
            await call.client.wait_until_heard()
            first, second = call.client.received(m.LatencyMetrics)
            chunk = next(e for e in call.client.timeline if isinstance(e.message, m.TtsChunk))
            assert first.silence_ms == pytest.approx(700, abs=35)
            assert first.e2e_latency_ms == pytest.approx(1000 * (chunk.at - end), abs=45)
            assert first.playout_ms is None
            assert first.turn_id == second.turn_id == 1
            assert second.playout_ms == pytest.approx(first.e2e_latency_ms, abs=2)

    run(main)


def test_the_way_to_the_ear_is_part_of_the_playout(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk(latency_s=0.15) as call:
            await call.say(1.0)
            await call.client.wait_until_heard()
            await anyio.sleep(1)
            last = call.client.received(m.LatencyMetrics)[-1]
            # There and back: what the user waits for longer than the server sees.
            assert last.playout_ms - last.e2e_latency_ms == pytest.approx(300, abs=5)

    run(main)


def test_of_a_client_that_marks_the_mark_is_the_end(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk(vad=None, pauses_itself=True) as call:
            await call.client.say_with_marks(tone(1.0, rate=16_000), end_delay_s=0.1)
            figures = await call.client.wait_for(m.LatencyMetrics)
            assert figures.silence_ms is None
            assert figures.e2e_latency_ms == pytest.approx(230, abs=4)

    run(main)


@pytest.mark.parametrize(("tag", "waited_ms"), [("<complete>", 0), ("<incomplete>", 500)])
def test_the_wait_for_the_rest_of_half_a_sentence_is_the_decisions(
    talk: Any, run: Any, tag: str, waited_ms: int
) -> None:
    async def main() -> None:
        async with talk(asr=ScriptedASR([f"book a table {tag}"])) as call:
            await call.say(1.0)
            figures = await call.client.wait_for(m.LatencyMetrics)
            assert figures.decision_ms == pytest.approx(waited_ms, abs=5)
            assert figures.asr_latency_ms >= figures.decision_ms

    run(main)


def test_what_is_unknown_is_not_on_the_wire() -> None:
    data = json.loads(m.LatencyMetrics(asr_latency_ms=5).to_json())["data"]
    assert list(data) == [
        "network_latency_ms",
        "asr_latency_ms",
        "llm_first_token_ms",
        "llm_sentence_ms",
        "tts_first_chunk_ms",
        "e2e_latency_ms",
    ]


def test_a_false_barge_in_is_no_turn_and_brings_no_report(talk: Any, run: Any) -> None:
    """Trap 16: the original then sent a report of zeros."""

    async def main() -> None:
        async with talk(
            asr=ScriptedASR(["tell me something", "", ""]), agent=ScriptedAgent(LONG)
        ) as call:
            await call.say(1.0)
            await call.client.wait_for(m.StartTts)
            await anyio.sleep(1.0)
            before = len(call.client.received(m.LatencyMetrics))
            assert before == 2
            mark = len(call.client.timeline)
            await call.say(0.4)
            await call.client.wait_for(m.ResumeTts, after=mark)
            await call.client.wait_until_heard()
            assert len(call.client.received(m.LatencyMetrics)) == before

    run(main)


def test_a_cough_while_the_agent_thinks_moves_no_stamp(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk(
            asr=ScriptedASR(["tell me something", "", ""]), agent=ScriptedAgent(first_s=3.0)
        ) as call:
            await call.say(1.0)
            end = anyio.current_time()
            await call.client.wait_for(m.FinishAsr)
            await call.say(0.4)
            await call.client.wait_until_heard()
            chunk = next(e for e in call.client.timeline if isinstance(e.message, m.TtsChunk))
            (figures, _) = call.client.received(m.LatencyMetrics)
            assert figures.e2e_latency_ms == pytest.approx(1000 * (chunk.at - end), abs=45)
            assert figures.asr_latency_ms == pytest.approx(50, abs=4)

    run(main)


def test_the_mark_that_comes_after_the_servers_own_end_moves_no_stamp(talk: Any, run: Any) -> None:
    """The original's page marks the end half a second late."""

    async def main() -> None:
        async with talk(asr=ScriptedASR(final_s=0.4), pauses_itself=True) as call:
            await call.client.say_with_marks(tone(1.0, rate=16_000, level=8000), end_delay_s=0.6)
            figures = await call.client.wait_for(m.LatencyMetrics)
            assert figures.silence_ms == pytest.approx(500, abs=35)
            assert figures.asr_latency_ms == pytest.approx(400, abs=4)

    run(main)


def test_a_pause_within_the_first_chunk_leaves_the_playout_unknown(talk: Any, run: Any) -> None:
    """The acknowledgement then comes late and no longer tells when the chunk began to sound."""

    async def main() -> None:
        async with talk(agent=ScriptedAgent(LONG)) as call:
            await call.say(1.0)
            await call.client.wait_for(m.StartTts)
            await anyio.sleep(0.01)
            call.session.post(events.TurnTTSPauseRequested())
            await anyio.sleep(0.5)
            call.session.post(events.TurnTTSResumeRequested())
            await call.client.wait_until_heard()
            assert [f.playout_ms for f in call.client.received(m.LatencyMetrics)] == [None]

    run(main)


def test_an_answer_to_no_speech_has_no_report(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk() as call:
            await call.say(1.0)
            await call.client.wait_until_heard()
            await anyio.sleep(5)
            before = len(call.client.timeline)
            for event in (
                events.ASRResultFinal(text="typed, not said", turn_id=9),
                events.LLMFirstChunk(turn_id=9),
                events.LLMFirstSentence(turn_id=9),
                events.TTSStarted(turn_id=9),
                events.TTSChunkGenerated(chunk_index=1000, audio_chunk=bytes(960)),
            ):
                call.session.post(event)
            await anyio.sleep(1)
            assert call.client.received(m.LatencyMetrics, after=before) == []

    run(main)


def test_a_turn_that_a_timer_ended_does_not_take_the_mark_of_the_one_before(
    talk: Any, run: Any
) -> None:
    async def main() -> None:
        asr = ScriptedASR(["one", "two", ""])  # and so nothing more is said
        async with talk(asr=asr, vad=None, pauses_itself=True, config={"segment_sec": 3}) as call:
            await call.client.say_with_marks(tone(1.0, rate=16_000))
            await call.client.wait_until_heard()
            before = len(call.client.timeline)
            call.client.send(m.VadSpeechStart(timestamp=1))  # and no end
            figures = await call.client.wait_for(m.LatencyMetrics, after=before, timeout=20)
            assert figures.silence_ms is None
            assert figures.e2e_latency_ms == pytest.approx(230, abs=4)

    run(main)

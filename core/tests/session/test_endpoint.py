"""Adaptive endpointing through the whole session, in exact times."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from xtalk import events
from xtalk.audio import AudioFrame
from xtalk.pipeline import DefaultPipeline
from xtalk.speech.interfaces import EndOfTurn, Transcript, TurnDetector
from xtalk.testing.fakes import (
    LoudnessVAD,
    ScriptedAgent,
    ScriptedASR,
    ScriptedTTS,
    loud,
    quiet,
    tone,
)
from xtalk.wire import messages as m

from .conftest import watch


@pytest.mark.parametrize(
    ("text", "silence_s"), [("please stop", 0.2), ("two plus three", 0.5), ("two plus a", 1.2)]
)
def test_the_words_set_the_silence_that_ends_a_turn(
    talk: Any, run: Any, text: str, silence_s: float
) -> None:
    async def main() -> None:
        async with talk(asr=ScriptedASR([text], final_s=0.0)) as call:
            await call.say(1.5)
            said = anyio.current_time()
            await call.client.wait_for(m.FinishAsr)
            assert anyio.current_time() - said == pytest.approx(silence_s, abs=0.05)

    run(main)


def test_a_pause_in_an_open_sentence_does_not_split_it(talk: Any, run: Any) -> None:
    async def main() -> None:
        asr = ScriptedASR(["give me the blue one"], word_s=0.45)
        async with talk(asr=asr) as call:
            # At the pause "give me the" has been understood: an article ends no turn.
            await call.client.say(b"".join(loud(1.4) + quiet(0.9) + loud(1.0)))
            await call.client.wait_until_heard()
            assert [final.text for final in call.client.received(m.FinishAsr)] == [
                "give me the blue one"
            ]

    run(main)


class LengthASR(ScriptedASR):
    """Says how many seconds it has heard of each segment."""

    async def transcribe(self, frames: AsyncIterator[AudioFrame]) -> AsyncIterator[Transcript]:
        seconds = 0.0
        async for frame in frames:
            seconds += frame.seconds
            yield Transcript(text=f"{seconds:.1f} seconds")
        yield Transcript(text=f"{seconds:.1f} seconds", final=True)


def test_who_speaks_for_a_minute_is_heard_to_the_end_and_not_interrupted(
    talk: Any, run: Any
) -> None:
    async def main() -> None:
        async with talk(asr=LengthASR()) as call:
            decisions = watch(call.session, events.Decision)
            began = anyio.current_time()
            # The pause lies in the last fifth of the 30 s that a piece has at most.
            await call.client.say(b"".join(loud(26.0) + quiet(0.3) + loud(33.7)))
            final = await call.client.wait_for(m.FinishAsr)
            assert anyio.current_time() - began == pytest.approx(60.5, abs=0.1)
            pieces = [float(number) for number in final.text.split()[::2]]
            assert pieces == pytest.approx([26.1, 30.0, 60.5 - 56.1], abs=0.1)
            assert not {"start_tts", "invalid_asr_result"} & set(call.actions())
            assert [d.rule for d in decisions] == ["5b", "5b", "5", "6c"]
            assert decisions[2].evidence["by"] == "detector"
            assert decisions[2].evidence["silence_ms"] == 500

    run(main)


def test_the_log_says_why_but_not_what_was_said(talk: Any, run: Any, caplog: Any) -> None:
    caplog.set_level("DEBUG", "xtalk.turn_taking")

    async def main() -> None:
        async with talk(asr=ScriptedASR(["my secret"])) as call:
            await call.say(1.0)
            await call.client.wait_for(m.FinishAsr)

    run(main)
    lines = [record.message for record in caplog.records if record.name == "xtalk.turn_taking"]
    assert lines[0].startswith("turn 1: end of speech (rule 5: silence_ms 500, by detector, ")
    assert lines[1].startswith("turn 1: answer (rule 6c: verdict complete, reason words, ")
    assert "secret" not in caplog.text


def test_an_open_sentence_between_marks_waits_for_its_other_half(talk: Any, run: Any) -> None:
    async def main() -> None:
        asr = ScriptedASR(["turn left and", "then go on"])
        async with talk(asr=asr, vad=None) as call:
            await call.client.say_with_marks(b"".join(loud(1.0)))
            await anyio.sleep(0.5)
            await call.client.say_with_marks(b"".join(loud(1.0)))
            final = await call.client.wait_for(m.FinishAsr)
            assert final.text == "turn left and then go on"

    run(main)


@pytest.mark.parametrize(
    ("noise", "marked_after_s", "final_s", "waits_s"),
    [
        (0, 0.0, 0.05, 1.2),
        (0, 0.3, 0.05, 1.2),
        (200, 0.3, 0.4, 1.2),
        (0, 1.3, 0.05, 1.35),  # it has waited for long enough
        (2000, 0.3, 0.05, 0.3 + 1.2),  # as loud as that no end of the voice is heard
    ],
)
def test_what_a_client_waited_before_its_mark_is_heard_and_not_waited_for_again(
    talk: Any, run: Any, noise: int, marked_after_s: float, final_s: float, waits_s: float
) -> None:
    async def main() -> None:
        asr = ScriptedASR(["turn left and"], final_s=final_s)
        async with talk(asr=asr, vad=None) as call:
            pause = tone(marked_after_s, rate=16_000, level=noise)
            began = anyio.current_time()
            await call.client.say_with_marks(b"".join(loud(1.0)) + pause)
            await call.client.wait_for(m.FinishAsr)
            assert anyio.current_time() - began - 1.0 == pytest.approx(waits_s, abs=0.03)

    run(main)


class Slow(TurnDetector):
    """Takes `seconds` to find that everything is unfinished, or raises."""

    inline = False

    def __init__(self, seconds: float = 0.0, error: Exception | None = None) -> None:
        self.seconds = seconds
        self.error = error
        self.asked: list[str] = []

    def judge(self, text: str, *, silence_ms: float, agent_speaking: bool) -> EndOfTurn:
        self.asked.append(text)
        if self.error is not None:
            raise self.error
        return EndOfTurn(kind="incomplete", wait_ms=1000, reason="a whim")

    async def async_judge(self, text: str, **how: Any) -> EndOfTurn:
        await anyio.sleep(self.seconds)
        return self.judge(text, **how)

    def clone(self) -> Slow:
        return self


class InThread(Slow):
    async_judge = TurnDetector.async_judge


class Inline(Slow):
    inline = True


def pipeline(detector: TurnDetector, texts: list[str], **more: Any) -> DefaultPipeline:
    return DefaultPipeline(
        asr=ScriptedASR(texts, final_s=0.0),
        llm_agent=ScriptedAgent(),
        tts=ScriptedTTS(),
        turn_detector=detector,
        **more,
    )


@pytest.mark.parametrize(
    ("detector", "wait_s"),
    [
        (Slow(0.1), 0.1 + 1.0),
        (Slow(0.19), 0.19 + 1.0),
        (Slow(0.3), 0.2),
        (InThread(), 1.0),
        (Inline(), 1.0),
        (Slow(0.1, ValueError("no idea")), 0.1),
        (InThread(error=ValueError("no idea")), 0.0),
        (Inline(error=ValueError("no idea")), 0.0),
    ],
)
def test_a_detector_has_200_ms_and_then_the_turn_is_complete(
    talk: Any, run: Any, detector: Slow, wait_s: float, caplog: Any
) -> None:
    async def main() -> None:
        async with talk(pipeline=pipeline(detector, ["two plus three"])) as call:
            await call.client.say_with_marks(b"".join(loud(1.0)))
            said = anyio.current_time()
            final = await call.client.wait_for(m.FinishAsr)
            assert anyio.current_time() - said == pytest.approx(wait_s, abs=0.01)
            assert final.text == "two plus three"
            assert "error" not in call.actions()
            await call.client.wait_until_heard()

    run(main)
    assert ("the turn detector failed" in caplog.text) is (detector.error is not None)


def test_a_slow_detector_sets_the_silence_too(talk: Any, run: Any) -> None:
    async def main() -> None:
        made = pipeline(Slow(0.05), ["two plus three"], vad=LoudnessVAD())
        async with talk(pipeline=made) as call:
            await call.say(1.5)
            said = anyio.current_time()
            await call.client.wait_for(m.FinishAsr)
            assert anyio.current_time() - said == pytest.approx(1.0, abs=0.05)

    run(main)


def test_what_is_said_while_the_detector_thinks_joins_what_it_thinks_of(
    talk: Any, run: Any
) -> None:
    async def main() -> None:
        async with talk(pipeline=pipeline(Slow(0.15), ["turn left", "then go on"])) as call:
            await call.client.say_with_marks(b"".join(loud(1.0)))
            await anyio.sleep(0.05)
            await call.client.say_with_marks(b"".join(loud(1.0)))
            final = await call.client.wait_for(m.FinishAsr)
            assert final.text == "turn left then go on"

    run(main)


def test_a_segment_that_is_dropped_while_the_detector_thinks_leaves_nothing(
    talk: Any, run: Any
) -> None:
    async def main() -> None:
        asr = ["turn left", "now right"]
        async with talk(pipeline=pipeline(Slow(0.15), asr)) as call:
            await call.client.say_with_marks(b"".join(loud(1.0)))
            await anyio.sleep(0.05)
            call.session.post(events.TurnASRResetRequested())
            await call.client.say_with_marks(b"".join(loud(0.05)))
            final = await call.client.wait_for(m.FinishAsr)
            assert final.text == "now right"

    run(main)


@pytest.mark.parametrize("logged", [False, True])
def test_a_detector_that_is_async_by_nature_is_asked_so(
    talk: Any, run: Any, tmp_path: Path, logged: bool
) -> None:
    class Remote(LoudnessVAD):
        inline = False

        def is_speech(self, frame: bytes) -> bool:
            raise AssertionError("the blocking method was called")

        async def async_is_speech(self, frame: bytes) -> bool:
            await anyio.sleep(0.001)
            return LoudnessVAD().is_speech(frame)

    async def main() -> None:
        config = {"session_log": str(tmp_path)} if logged else {}
        async with talk(vad=Remote(), config=config) as call:
            await call.say()
            await call.client.wait_until_heard()
            assert not call.client.received(m.Error)

    run(main)

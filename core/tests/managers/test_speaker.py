"""Speakers: named before the agent answers, or the turn goes on without a name."""

from __future__ import annotations

from typing import Any

import anyio
import numpy as np
import pytest

from xtalk.serving.module_types import SpeakerManager
from xtalk.speech.interfaces import EndOfTurn, SpeakerEncoder, SpeechEnhancer, TurnDetector
from xtalk.testing.fakes import ScriptedAgent, ScriptedASR, tone
from xtalk.wire import messages as m


class Pitch(SpeakerEncoder):
    """A voice is its pitch: a unit vector whose direction is the number of zero crossings."""

    def __init__(self, wait_s: float = 0.0, error: Exception | None = None) -> None:
        self.wait_s = wait_s
        self.error = error
        self.lengths: list[float] = []

    def extract(self, audio: bytes) -> Any:
        samples = np.frombuffer(audio, dtype=np.int16).astype(np.float32)
        self.lengths.append(len(samples) / 16_000)
        voiced = samples[np.abs(samples) > 0]
        crossings = np.count_nonzero(np.diff(np.sign(voiced))) / max(len(voiced), 1) * 8000
        angle = crossings / 1000 * np.pi / 2
        return np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)


class Slow(Pitch):
    async def async_extract(self, audio: bytes) -> Any:
        await anyio.sleep(self.wait_s)
        if self.error is not None:
            raise self.error
        return self.extract(audio)


STRICT = {"similarity_threshold": 0.95}
LOW, HIGH = 200.0, 900.0


def test_voices_are_told_apart_before_the_agent_answers(
    converse: Any, run: Any, noting: Any
) -> None:

    async def main() -> None:
        async with converse(speaker_encoder=Pitch(), llm_agent=noting, config=STRICT) as call:
            for hertz in (LOW, HIGH, LOW, HIGH):
                await call.turn(hertz=hertz)
            told = call.client.received(m.SpeakerUpdated)
            assert [(t.speaker_id, t.reason) for t in told] == [
                ("Speaker 1", "recognized"),
                ("Speaker 2", "recognized"),
                ("Speaker 1", "recognized"),
                ("Speaker 2", "recognized"),
            ]

    run(main)
    assert [i.speaker for i in noting.seen] == ["Speaker 1", "Speaker 2"] * 2
    assert [i.context["speaker_id"] for i in noting.seen][-1] == "Speaker 2"
    assert all(i.speaker_age_s < 0.05 for i in noting.seen[-1:])


def test_a_profile_follows_its_voice(converse: Any, run: Any) -> None:
    async def names(alpha: float) -> list[str | None]:
        config = {"similarity_threshold": 0.97, "embedding_update_alpha": alpha}
        async with converse(speaker_encoder=Pitch(), config=config) as call:
            for hertz in (200, 300, 400, 500):
                await call.turn(hertz=hertz)
            return [t.speaker_id for t in call.client.received(m.SpeakerUpdated)]

    assert run(lambda: names(1.0)) == ["Speaker 1"] * 4
    assert run(lambda: names(0.0)) == ["Speaker 1", "Speaker 1", "Speaker 2", "Speaker 2"]


def test_only_speech_is_measured_and_too_little_of_it_names_nobody(
    converse: Any, run: Any, noting: Any
) -> None:
    encoder = Pitch()

    async def main() -> None:
        config = {"min_audio_length_sec": 0.6}
        async with converse(speaker_encoder=encoder, llm_agent=noting, config=config) as call:
            await call.turn(1.0)
            await call.turn(0.4)
            told = call.client.received(m.SpeakerUpdated)
            assert [(t.speaker_id, t.reason) for t in told] == [
                ("Speaker 1", "recognized"),
                (None, "too_short"),
            ]

    run(main)
    # The second that was said, without the half second of silence that ended it.
    assert encoder.lengths == [pytest.approx(1.0, abs=0.07)]
    assert [i.speaker for i in noting.seen] == ["Speaker 1", None]


@pytest.mark.parametrize(("wait_s", "delay_s", "speaker"), [
    (0.03, 0.0, "Speaker 1"),  # ready before the recogniser is
    (0.15, 0.1, "Speaker 1"),
    (2.0, 0.15, None),
    (1e6, 0.15, None),
])  # fmt: skip
def test_a_turn_waits_for_the_name_only_so_long(
    converse: Any, run: Any, noting: Any, wait_s: float, delay_s: float, speaker: str | None
) -> None:
    """The encoder works while the recogniser does (50 ms); the deadline is 150 ms."""

    async def main(encoder: Any) -> float:
        async with converse(speaker_encoder=encoder, llm_agent=noting) as call:
            await call.say()
            end = anyio.current_time()
            await call.client.wait_for(m.StartTts)
            return anyio.current_time() - end

    without = run(lambda: main(None))
    took = run(lambda: main(Slow(wait_s)))
    assert took - without == pytest.approx(delay_s, abs=0.005)
    assert noting.seen[1].speaker == speaker


def test_a_name_that_comes_late_is_not_taken_for_the_next_speaker(
    converse: Any, run: Any, noting: Any
) -> None:
    async def main() -> None:
        encoder = Slow(1.0)
        async with converse(speaker_encoder=encoder, llm_agent=noting, config=STRICT) as call:
            await call.turn(hertz=LOW)
            assert call.session.pipeline.context["speaker_id"] == "Speaker 1"
            await call.turn(hertz=HIGH)
            assert call.session.pipeline.context["speaker_id"] == "Speaker 2"

    run(main)
    assert [i.speaker for i in noting.seen] == [None, None]


def test_what_is_rejected_leaves_no_profile_and_no_sound(converse: Any, run: Any) -> None:
    async def main() -> None:
        asr = ScriptedASR(["hello there", "", "hello there"])
        async with converse(speaker_encoder=Pitch(), asr=asr, config=STRICT) as call:
            await call.turn(hertz=LOW)
            await call.say(hertz=HIGH)
            await call.client.wait_for(m.InvalidAsrResult)
            for hertz in (LOW, HIGH):
                await call.turn(hertz=hertz)
            told = [t.speaker_id for t in call.client.received(m.SpeakerUpdated)]
            assert told == ["Speaker 1", "Speaker 1", "Speaker 2"]

    run(main)


def test_a_cough_in_the_middle_of_a_sentence_is_not_its_speaker(converse: Any, run: Any) -> None:
    class Patient(TurnDetector):
        def judge(self, text: str, **heard: Any) -> EndOfTurn:
            unfinished = text.endswith("and")
            return EndOfTurn(
                kind="reject" if not text else "incomplete" if unfinished else "complete"
            )

    encoder = Pitch()

    async def main() -> None:
        models = {
            "asr": ScriptedASR(["I would like to go and", "", "sleep"]),
            "turn_detector": Patient(),
            "speaker_encoder": encoder,
            "vad": None,
        }
        config = {**STRICT, "semantic_timeout_sec": 1.2}
        async with converse(**models, config=config) as call:
            for seconds, hertz in ((1.0, LOW), (0.6, HIGH), (1.0, LOW)):
                await call.client.say_with_marks(
                    tone(seconds, hertz=hertz, rate=16_000, level=8000)
                )
                await anyio.sleep(0.3)
            told = await call.client.wait_for(m.SpeakerUpdated)
            assert told.speaker_id == "Speaker 1"
            assert call.client.received(m.FinishAsr)[0].text == "I would like to go and sleep"

    run(main)
    assert encoder.lengths[-1] == pytest.approx(2.0, abs=0.15)


def test_an_encoder_that_fails_costs_the_name_only(
    converse: Any, run: Any, noting: Any, caplog: Any
) -> None:

    async def main() -> None:
        encoder = Slow(error=OSError("down"))
        async with converse(speaker_encoder=encoder, llm_agent=noting) as call:
            await call.turn()
            await call.turn()
            assert [t.reason for t in call.client.received(m.SpeakerUpdated)] == ["error"] * 2
            assert not call.client.received(m.Error)

    run(main)
    assert [i.speaker for i in noting.seen] == [None, None]
    assert [r for r in caplog.records if r.exc_info]


def test_marks_of_a_client_and_an_enhancer_in_a_thread(converse: Any, run: Any) -> None:
    class Thin(SpeechEnhancer):
        def enhance(self, audio: bytes) -> bytes:
            return audio

        def clone(self) -> SpeechEnhancer:
            return Thin()

    encoder = Pitch()

    async def main() -> None:
        async with converse(speaker_encoder=encoder, speech_enhancer=Thin(), vad=None) as call:
            await call.client.say_with_marks(tone(1.0, rate=16_000, level=8000))
            assert (await call.client.wait_for(m.SpeakerUpdated)).speaker_id == "Speaker 1"

    run(main)
    assert encoder.lengths == [pytest.approx(1.0, abs=0.07)]


def test_only_so_many_voices_are_remembered(converse: Any, run: Any) -> None:
    class Strangers(SpeakerEncoder):
        count = 0

        def extract(self, audio: bytes) -> Any:
            self.count += 1
            return np.eye(50, dtype=np.float32)[self.count % 50]

    async def main() -> None:
        async with converse(speaker_encoder=Strangers(), llm_agent=ScriptedAgent([])) as call:
            for _ in range(40):
                before = len(call.client.timeline)
                await call.say()
                await call.client.wait_for(m.SpeakerUpdated, after=before)
            manager = call.session.find(SpeakerManager)
            assert len(manager._profiles) == 32
            assert call.client.received(m.SpeakerUpdated)[-1].speaker_id == "Speaker 40"

    run(main)

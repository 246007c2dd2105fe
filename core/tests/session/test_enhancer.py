"""The enhancer: in order, flushed at the end of an utterance, in line or in a lane of its own."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from xtalk.pipeline import DefaultPipeline
from xtalk.speech.interfaces import SpeechEnhancer
from xtalk.testing.fakes import LoudnessVAD, ScriptedAgent, ScriptedASR, ScriptedTTS, loud
from xtalk.wire import messages as m


class Late(SpeechEnhancer):
    """Holds 100 ms back."""

    HELD = 3200

    def __init__(self) -> None:
        self.held = b""

    def enhance(self, audio: bytes) -> bytes:
        self.held += audio
        ready, self.held = self.held[: -self.HELD], self.held[-self.HELD :]
        return ready

    def flush(self) -> bytes:
        rest, self.held = self.held, b""
        return rest

    def clone(self) -> Late:
        return type(self)()


class Heard(ScriptedASR):
    """All its clones write down the seconds that they were given."""

    def clone(self) -> Heard:
        twin = Heard()
        twin.heard = self.heard
        return twin


class Inline(Late):
    inline = True


class Remote(Late):
    async def async_enhance(self, audio: bytes) -> bytes:
        await anyio.sleep(0.005)
        return self.enhance(audio)

    async def async_flush(self) -> bytes:
        return self.flush()


@pytest.mark.parametrize("kind", [Late, Inline, Remote])
def test_no_sample_of_an_utterance_stays_in_the_enhancer(talk: Any, run: Any, kind: Any) -> None:
    asr = Heard()
    pipeline = DefaultPipeline(
        asr=asr,
        llm_agent=ScriptedAgent(),
        tts=ScriptedTTS(),
        speech_enhancer=kind(),
    )

    async def main() -> None:
        async with talk(pipeline=pipeline, microphone=False, config={"pre_roll_ms": 0}) as call:
            call.client.mark_start()
            for frame in loud(1.0):
                call.client.send(frame)
            call.client.mark_end()
            await call.client.wait_for(m.FinishAsr)

    run(main)
    assert asr.heard == [pytest.approx(1.0, abs=0.021)]


class Stalling(SpeechEnhancer):
    """Passes everything on; the next call takes as long as it was told."""

    def __init__(self) -> None:
        self.stall_s = 0.0

    def enhance(self, audio: bytes) -> bytes:
        raise AssertionError("there is an async one")

    def clone(self) -> Stalling:
        return self

    async def async_enhance(self, audio: bytes) -> bytes:
        stall_s, self.stall_s = self.stall_s, 0.0
        await anyio.sleep(stall_s)
        return audio

    async def async_flush(self) -> bytes:
        return b""


@pytest.mark.parametrize("ends", ["a misfire", "a conversation that is over"])
def test_what_was_rejected_before_the_enhancer_was_through_opens_nothing(
    talk: Any, run: Any, ends: str
) -> None:
    enhancer, asr = Stalling(), Heard()
    pipeline = DefaultPipeline(
        asr=asr,
        llm_agent=ScriptedAgent(),
        tts=ScriptedTTS(),
        speech_enhancer=enhancer,
        vad=LoudnessVAD(),
    )

    async def main() -> None:
        async with talk(pipeline=pipeline, pauses_itself=True) as call:
            await anyio.sleep(1)
            enhancer.stall_s = 1.2
            await anyio.sleep(0.1)
            call.client.mark_start()
            if ends == "a misfire":
                await call.client.wait_for(m.InvalidAsrResult)
                call.client.mark_end()
            else:
                call.client.send(m.ConversationEnd())
            await anyio.sleep(20)
            await call.say(1.0)
            await call.client.wait_for(m.FinishAsr)

    run(main)
    assert asr.heard == [pytest.approx(2.0, abs=0.3)]  # with pre-roll, and the silence that ends it


def test_what_the_detector_hears_late_begins_where_it_was_said(talk: Any, run: Any) -> None:
    enhancer, asr = Stalling(), Heard()
    pipeline = DefaultPipeline(
        asr=asr,
        llm_agent=ScriptedAgent(),
        tts=ScriptedTTS(),
        speech_enhancer=enhancer,
        vad=LoudnessVAD(),
    )

    async def main() -> None:
        async with talk(pipeline=pipeline) as call:
            await anyio.sleep(1)
            enhancer.stall_s = 1.2
            await call.say(1.0)
            await call.client.wait_for(m.FinishAsr)

    run(main)
    assert asr.heard == [pytest.approx(1.8, abs=0.1)]  # 0.3 before it, and the silence that ends it


class Holding(Late):
    """Holds 400 ms back."""

    HELD = 12_800


class HoldingInline(Holding):
    inline = True


@pytest.mark.parametrize("kind", [Holding, HoldingInline])
def test_a_short_word_that_the_detector_hears_only_at_its_end_is_answered(
    talk: Any, run: Any, kind: Any
) -> None:
    asr = Heard()
    pipeline = DefaultPipeline(
        asr=asr,
        llm_agent=ScriptedAgent(),
        tts=ScriptedTTS(),
        speech_enhancer=kind(),
        vad=LoudnessVAD(),
    )

    async def main() -> None:
        async with talk(pipeline=pipeline, pauses_itself=True) as call:
            await anyio.sleep(1)
            await call.client.say_with_marks(b"".join(loud(0.28)))
            await call.client.wait_for(m.FinishAsr)
            assert not call.client.received(m.Error)

    run(main)
    assert asr.heard
